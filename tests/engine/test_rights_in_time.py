"""Rights that change while statements run: what is read was its reader's to read at that moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

import memql
from memql.engine import session
from memql.engine.rights import Rights, rights_hold
from memql.engine.run import definitions
from memql.errors import Error, OperationalError, ProgrammingError
from memql.storage import governance
from memql.storage.store import Store
from tests.engine.governed import Connect, _quick_hashes, ann, bob, connect, founder, refused, root

pytestmark = pytest.mark.slow

__all__ = ["_quick_hashes", "ann", "bob", "connect", "founder", "root"]  # fixtures, by name


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


def overtaken(
    connection: memql.Connection, patch: pytest.MonkeyPatch, overtake: Callable[[], object]
) -> None:
    """Let something happen between the plan of the next statement and its run."""
    planned = connection._session.planned

    def slowly(*arguments: Any) -> Any:
        plan = planned(*arguments)
        patch.setattr(connection._session, "planned", planned)
        overtake()
        return plan

    patch.setattr(connection._session, "planned", slowly)


READ = (
    "SELECT s FROM carol.q",
    "CREATE TABLE kept AS SELECT s FROM carol.q",
    "CREATE TYPE kept AS ENUM (SELECT s FROM carol.q)",
    "CREATE TABLE kept AS SELECT s::INT FROM carol.q",
    "COPY (SELECT s FROM carol.q) TO 'kept.csv'",
    "FROM bob.v",
)


@pytest.mark.parametrize("text", READ)
def test_without_a_second_look_at_the_rights_it_would_be_read(
    founder: memql.Connection,
    connect: Connect,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
) -> None:
    for name in ("carol", "dave SUPERUSER"):
        founder.execute(f"CREATE USER {name} PASSWORD 'x'")
    carol, bob = connect("carol", "x"), connect("bob", token="bob-token")
    dave = connect("dave", "x", allowed_folders=[tmp_path])
    text = text.replace("kept.csv", str(tmp_path / "kept.csv"))

    def grant() -> None:
        carol.execute("CREATE OR REPLACE TABLE q AS SELECT 'public' AS s")
        if "bob" in text:
            carol.execute("GRANT SELECT ON q TO bob WITH GRANT OPTION")
            bob.execute("CREATE OR REPLACE VIEW v AS SELECT s FROM carol.q")
            bob.execute("GRANT SELECT ON v TO dave")
        else:
            carol.execute("GRANT SELECT ON TABLE q TO dave")

    def replace() -> None:
        carol.execute("CREATE OR REPLACE TABLE q AS SELECT 'SECRET' AS s")

    grant()
    overtaken(dave, monkeypatch, replace)
    with pytest.raises(ProgrammingError, match=r"unknown table|view bob.v cannot be read") as error:
        dave.execute(text)
    assert "SECRET" not in str(error.value)
    for table in ("kept", f"'{tmp_path / 'kept.csv'}'"):
        with pytest.raises(Error):
            dave.execute(f"FROM {table}")
    grant()
    overtaken(dave, monkeypatch, replace)
    for module in (session, definitions):
        monkeypatch.setattr(module, "rights_hold", lambda *rights: True)
    assert "SECRET" in kept(dave, text, tmp_path / "kept.csv")


def kept(dave: memql.Connection, text: str, file: Path) -> str:
    """Return what a statement gives out or keeps."""
    try:
        cursor = dave.execute(text)
    except Error as error:
        return str(error)
    if cursor.description:
        return str(cursor.fetchall())
    if file.exists():
        return file.read_text("utf-8")
    query = "SELECT enum_range(NULL::kept)" if "TYPE" in text else "FROM kept"
    return str(dave.execute(query).fetchall())


OLD = ("was hushed", "was deleted", "is of high sensitivity")


@pytest.mark.parametrize("narrowed", [True, False])
def test_what_is_granted_later_is_not_read_in_an_older_snapshot(
    root: memql.Connection,
    ann: memql.Connection,
    bob: memql.Connection,
    monkeypatch: pytest.MonkeyPatch,
    narrowed: bool,
) -> None:
    root.execute(
        "CREATE POLICY low ON memories AS RESTRICTIVE FOR SELECT USING (sensitivity IS NULL)"
    )
    ann.execute("GRANT READ ON MEMORIES TO bob WHERE (kind = 'open')")
    insert = "INSERT INTO memories (content, kind, sensitivity) VALUES (?, ?, ?)"
    ann.executemany(insert, [(OLD[0], None, None), (OLD[1], None, None), (OLD[2], "open", "high")])
    ann.execute(insert, ["is open", "open", None])
    if not narrowed:
        monkeypatch.setattr(Rights, "moments", property(lambda rights: (rights,)))
    query = "SELECT content FROM memories"
    bob.begin()
    bob.execute("SELECT 1")  # the snapshot is made here, before anything is read
    ann.execute(
        "UPDATE memories SET content = 'is open too', kind = 'open' WHERE content = ?", OLD[:1]
    )
    ann.execute("DELETE FROM memories WHERE content = ?", OLD[1:2])
    ann.execute("GRANT READ, WRITE ON MEMORIES TO bob")
    root.execute("DROP POLICY low ON memories")
    read = {content for (content,) in bob.execute(query).fetchall()}
    assert read == ({"is open"} if narrowed else {*OLD, "is open"})
    if narrowed:
        assert bob.execute("UPDATE memories SET kind = 'x'").rowcount == 0
    ann.execute("REVOKE READ ON MEMORIES FROM bob")
    assert bob.execute(query).fetchall() == []
    bob.rollback()
    ann.execute("GRANT READ ON MEMORIES TO bob")
    assert {content for (content,) in bob.execute(query).fetchall()} == {
        "is open",
        "is open too",
        OLD[2],
    }


def test_what_a_transaction_wrote_by_a_right_stays(
    ann: memql.Connection, bob: memql.Connection
) -> None:
    insert = "INSERT INTO memories (owner, content) VALUES ('ann', ?)"
    ann.execute("GRANT WRITE ON MEMORIES TO bob")
    bob.begin()
    bob.execute(insert, ["early"])
    ann.execute("REVOKE WRITE ON MEMORIES FROM bob")
    refused(bob, insert, "42501", ["late"])
    bob.commit()
    assert ann.execute("SELECT content FROM memories").fetchall() == [("early",)]


def test_the_first_statement_of_a_transaction_reads_by_rights_of_its_snapshot(
    ann: memql.Connection, bob: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann.execute("GRANT READ ON MEMORIES TO bob")

    def revoke() -> None:
        ann.execute("REVOKE READ ON MEMORIES FROM bob")
        ann.execute("INSERT INTO memories (content) VALUES ('hushed')")

    bob.begin()
    overtaken(bob, monkeypatch, revoke)
    assert bob.execute("SELECT content FROM memories").fetchall() == []
    bob.rollback()


def test_a_transaction_that_an_error_ended_is_rolled_back_where_rights_changed(
    ann: memql.Connection, bob: memql.Connection
) -> None:
    bob.execute("CREATE TABLE t (i INTEGER PRIMARY KEY)")
    bob.begin()
    bob.execute("INSERT INTO t VALUES (1)")
    refused(bob, "INSERT INTO t VALUES (1)", "23505")
    ann.execute("GRANT READ ON MEMORIES TO bob")
    refused(bob, "SELECT content FROM memories", "25P02")
    bob.execute("ROLLBACK")
    assert bob.execute("SELECT content FROM memories").fetchall() == []


def test_a_right_that_is_given_back_before_the_end_was_gone_all_the_same(
    ann: memql.Connection, bob: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "SELECT content FROM memories"
    given_back: list[int] = []

    def take() -> None:
        ann.execute("REVOKE READ ON MEMORIES FROM bob")
        ann.execute("INSERT INTO memories (content) VALUES ('hushed')")

    def give_back(rights: Rights, store: Store) -> bool:
        if rights.user == "bob" and not given_back:
            given_back.append(1)
            ann.execute("DELETE FROM memories")
            ann.execute("GRANT READ ON MEMORIES TO bob")
        return rights_hold(rights, store)

    ann.execute("GRANT READ ON MEMORIES TO bob")
    overtaken(bob, monkeypatch, take)
    monkeypatch.setattr(session, "rights_hold", give_back)
    assert bob.execute(query).fetchall() == []
    given_back.clear()
    overtaken(bob, monkeypatch, take)
    # By what the grants come to alone it would be read.
    monkeypatch.setattr(Rights, "all_there_is", property(lambda rights: rights.reaches("READ")))
    assert bob.execute(query).fetchall() == [("hushed",)]


def test_nothing_is_read_where_the_rights_of_a_snapshot_cannot_be(
    ann: memql.Connection, bob: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(cursor: duckdb.DuckDBPyConnection) -> Any:
        raise duckdb.IOException("IO Error: the disk is gone")

    ann.execute("CREATE TABLE t (i INT)")
    bob.begin()
    bob.execute("SELECT 1")
    ann.execute("GRANT READ ON MEMORIES TO bob")
    ann.execute("FROM t")  # the rights of now are known
    with monkeypatch.context() as patch:
        patch.setattr(governance, "read", fail)
        with pytest.raises(OperationalError, match="cannot read who may read what"):
            bob.execute("SELECT content FROM memories")
    assert bob.execute("SELECT content FROM memories").fetchall() == []
    bob.rollback()


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
