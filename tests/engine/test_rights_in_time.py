"""Rights that change while statements run: what is read was its reader's to read at that moment."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import memql
from memql.engine import session
from memql.errors import Error, OperationalError, ProgrammingError


def test_a_replaced_table_is_never_read_by_a_right_on_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "race.memql"
    read: list[object] = []
    stop = threading.Event()
    seen = threading.Event()

    def run() -> None:
        with memql.connect(path, user="dave") as dave:
            while not stop.is_set():
                for text in (
                    "SUMMARIZE carol.q",
                    "EXPLAIN ANALYZE SELECT s FROM carol.q",
                    "SELECT s FROM carol.q",
                    "INSERT INTO memories (content) SELECT s FROM carol.q RETURNING content",
                ):
                    try:
                        found = dave.execute(text).fetchall()
                    except Error as error:
                        read.append(error.message)
                        continue
                    read.extend(found)
                    if ("public",) in found:
                        seen.set()

    with memql.connect(path, user="carol") as carol:
        carol.execute("CREATE TABLE q AS SELECT 'public' AS s")
        reader = threading.Thread(target=run)
        reader.start()
        try:
            for number in range(40):
                carol.execute("CREATE OR REPLACE TABLE q AS SELECT 'public' AS s")
                seen.clear()
                carol.execute("GRANT SELECT ON TABLE q TO dave")
                # All rounds could pass between two statements of a slow reader: in half of them
                # the table is replaced only while it reads.
                if number % 4 < 2:
                    assert seen.wait(60), read[-4:]
                if number % 2:
                    carol.begin()
                carol.execute("CREATE OR REPLACE TABLE q AS SELECT 'SECRET' AS s")
                if number % 2:
                    carol.commit()
        finally:
            stop.set()
            reader.join()
    assert ("public",) in read
    assert not any("SECRET" in str(one) for one in read)
    assert not [one for one in read if isinstance(one, str) and "unknown table" not in one]


def test_without_a_second_look_at_the_rights_it_would_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "race.memql"
    with memql.connect(path, user="carol") as carol, memql.connect(path, user="dave") as dave:
        carol.execute("CREATE TABLE q AS SELECT 'public' AS s")
        carol.execute("GRANT SELECT ON TABLE q TO dave")
        planned = dave._session.planned

        def slowly(*arguments: Any) -> Any:
            plan = planned(*arguments)
            monkeypatch.setattr(dave._session, "planned", planned)
            carol.execute("CREATE OR REPLACE TABLE q AS SELECT 'SECRET' AS s")
            return plan

        monkeypatch.setattr(dave._session, "planned", slowly)
        with pytest.raises(ProgrammingError, match="unknown table"):
            dave.execute("SELECT s FROM carol.q")
        carol.execute("GRANT SELECT ON TABLE q TO dave")
        monkeypatch.setattr(dave._session, "planned", slowly)
        monkeypatch.setattr(session, "rights_hold", lambda *rights: True)
        assert dave.execute("SELECT s FROM carol.q").fetchall() == [("SECRET",)]


def test_changes_that_do_not_bear_on_a_user_make_nothing_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s"
    with memql.connect(path, user="alice") as alice, memql.connect(path, user="bob") as bob:
        planned = alice._session.planned
        times = []

        def slowly(*arguments: Any) -> Any:
            times.append(1)
            bob.execute(f"GRANT READ ON MEMORIES TO carol WHERE (kind = '{len(times)}')")
            bob.execute(f"CREATE TABLE t{len(times)} (a INT)")
            return planned(*arguments)

        monkeypatch.setattr(alice._session, "planned", slowly)
        alice.execute("SELECT count(*) FROM memories").fetchall()
        alice.execute("INSERT INTO memories (content) VALUES ('x')")
        assert len(times) == 2
        with pytest.raises(Error, match="nosuch"):
            alice.execute("SELECT nosuch FROM memories")
        assert len(times) == 3


def test_a_statement_that_is_overtaken_each_time_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with memql.connect(tmp_path / "s", user="alice") as alice:
        monkeypatch.setattr(session, "rights_hold", lambda *rights: False)
        for run in (
            lambda: alice.execute("SELECT 1"),
            lambda: alice.execute("INSERT INTO memories (content) VALUES ('x')"),
            lambda: alice.executemany("INSERT INTO memories (content) VALUES (?)", [["x"], ["y"]]),
        ):
            with pytest.raises(OperationalError, match="was changed each time") as error:
                run()  # type: ignore[no-untyped-call]
            assert error.value.code == "40001"
        monkeypatch.undo()
        assert alice.execute("SELECT count(*) FROM memories").fetchall() == [(0,)]
