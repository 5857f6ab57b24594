"""Writes that are tried again: one key is one memory."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest

import memql
from memql.errors import DataError, IntegrityError, OperationalError, ProgrammingError
from memql.storage.idempotency import Written, add

INSERT = "INSERT INTO memories (content, kind, idempotency_key) VALUES (?, ?, ?) RETURNING id"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.memql"


def write(con: memql.Connection, *values: object) -> UUID:
    return con.execute(INSERT, values).fetchall()[0][0]  # type: ignore[no-any-return]


def test_the_same_key_twice_is_one_memory(path: Path) -> None:
    with memql.connect(path, user="alice") as con:
        first = write(con, "Alice lives in Lisbon.", "home", "k1")
        again = con.execute(INSERT, ["Alice lives in Lisbon.", "home", "k1"])
        assert again.rowcount == 0
        assert again.fetchall() == [(first,)]
        assert write(con, "Alice lives in Lisbon.", "home", "k2") != first
        assert write(con, "Alice lives in Lisbon.", "home", None) != first
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(3,)]
    with memql.connect(path, user="alice") as con:
        assert write(con, "Alice lives in Lisbon.", "home", "k1") == first
        # It is the memory that was written, whatever became of it.
        con.execute("UPDATE memories SET content = 'Alice lives in Porto.' WHERE id = ?", [first])
        assert write(con, "Alice lives in Lisbon.", "home", "k1") == first
        con.execute("DELETE FROM memories WHERE id = ?", [first])
        assert write(con, "Alice lives in Lisbon.", "home", "k1") == first
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(2,)]


def test_other_content_under_a_key_is_refused(path: Path) -> None:
    with memql.connect(path) as con:
        write(con, "one", "a", "k")
        for values in (("two", "a", "k"), ("one", "b", "k"), ("one", None, "k")):
            with pytest.raises(IntegrityError, match="'k' was used for another memory") as error:
                write(con, *values)
            assert error.value.code == "23505"
        con.begin()
        write(con, "fresh", "a", "new")
        with pytest.raises(IntegrityError, match="row 2"):
            con.execute(
                "INSERT INTO memories (content, idempotency_key) VALUES ('x', 'y'), ('z', 'y')"
            )
        con.rollback()
        with pytest.raises(DataError, match="cannot be empty"):
            write(con, "one", "a", "")
        assert con.execute("SELECT content FROM memories").fetchall() == [("one",)]
        # The time of writing is no content: it is computed anew when a statement is tried again.
        for _ in range(2):
            con.execute(
                "INSERT INTO memories (content, expires_at, idempotency_key) "
                "VALUES ('soon gone', now() + INTERVAL 1 DAY, 'timed')"
            )
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(2,)]


def test_which_columns_a_statement_names_is_no_content(path: Path) -> None:
    with memql.connect(path) as con:
        first = write(con, "one", None, "k")
        bare = "INSERT INTO memories (content, idempotency_key) VALUES (?, ?) RETURNING id"
        assert con.execute(bare, ["one", "k"]).fetchall() == [(first,)]
        wide = (
            "INSERT INTO memories (content, kind, tags, hold, owner, idempotency_key) "
            "VALUES ('one', NULL, NULL, NULL, 'local', 'k'), ('two', 'b', ['t'], true, 'o', 'l')"
        )
        assert con.execute(wide).rowcount == 1
        assert con.execute(wide).rowcount == 0
        with pytest.raises(IntegrityError):
            con.execute(
                "INSERT INTO memories (content, hold, idempotency_key) VALUES ('one', true, 'k')"
            )


def test_keys_are_their_owners(path: Path) -> None:
    with memql.connect(path, user="alice") as alice, memql.connect(path, user="bob") as bob:
        hers, his = write(alice, "mine", None, "k"), write(bob, "other", None, "k")
        assert hers != his
        # Who writes for another has keys of its own: they tell nothing of the other's.
        alice.execute("GRANT WRITE ON MEMORIES TO bob")
        given = "INSERT INTO memories (owner, content, idempotency_key) VALUES ('alice', ?, ?)"
        assert bob.execute(given, ["mine", "k2"]).rowcount == 1
        assert bob.execute(given, ["mine", "k2"]).rowcount == 0
        assert write(alice, "another", None, "k2") is not None
        with pytest.raises(IntegrityError):
            bob.execute(given, ["mine", "k"])  # the key of his own memory


def test_a_key_shows_no_memory_that_may_not_be_read(path: Path) -> None:
    with memql.connect(path, user="alice") as alice, memql.connect(path, user="bob") as bob:
        alice.execute("GRANT WRITE ON MEMORIES TO bob WHERE (kind = 'b')")
        text = (
            "INSERT INTO memories (owner, content, kind, idempotency_key) "
            "VALUES ('alice', 'y', 'b', 'k') RETURNING id, content"
        )
        first = bob.execute(text).fetchall()
        assert first[0][1] == "y"
        alice.execute("UPDATE memories SET content = 'SECRET', kind = 'private'")
        again = bob.execute(text)
        assert (again.rowcount, again.fetchall()) == (0, [])
        alice.execute("GRANT READ ON MEMORIES TO bob")
        assert bob.execute(text).fetchall() == [(first[0][0], "SECRET")]


def test_many_rows_at_once(path: Path) -> None:
    rows = [[f"content {i % 60}", f"k{i % 60}"] for i in range(100)]
    with memql.connect(path) as con:
        text = "INSERT INTO memories (content, idempotency_key) VALUES (?, ?)"
        assert con.executemany(text, rows).rowcount == 60
        assert con.executemany(text, rows).rowcount == 0
        assert (
            con.execute(
                "INSERT INTO memories (content, idempotency_key) "
                "SELECT 'content ' || i, 'k' || i FROM range(70) AS t(i)"
            ).rowcount
            == 10
        )
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(70,)]


def test_a_rolled_back_key_is_free(path: Path) -> None:
    with memql.connect(path) as con:
        con.begin()
        write(con, "one", None, "k")
        con.rollback()
        write(con, "two", None, "k")
        assert con.execute("SELECT content FROM memories").fetchall() == [("two",)]


def test_two_transactions_with_one_key(path: Path) -> None:
    with memql.connect(path) as one, memql.connect(path) as two:
        one.begin()
        two.begin()
        two.execute("SELECT count(*) FROM memories").fetchall()
        first = write(one, "same", None, "k")
        one.commit()
        with pytest.raises(OperationalError) as error:
            write(two, "same", None, "k")
        assert error.value.code == "40001"
        two.rollback()
        assert write(two, "same", None, "k") == first


def test_threads_with_one_key(path: Path) -> None:
    ids = []

    def run() -> None:
        with memql.connect(path, user="alice") as con:
            for number in range(10):
                ids.append((number, write(con, f"content {number}", None, f"k{number}")))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 40 and len(set(ids)) == 10


def test_the_key_is_for_writing_only(path: Path) -> None:
    with memql.connect(path) as con:
        write(con, "one", None, "k")
        for text in (
            "SELECT idempotency_key FROM memories",
            "SELECT * FROM memories WHERE idempotency_key = 'k'",
            "UPDATE memories SET idempotency_key = 'x'",
            "INSERT INTO memories (content) VALUES ('x') RETURNING idempotency_key",
        ):
            with pytest.raises(ProgrammingError):
                con.execute(text)
        shown = con.execute("SELECT * FROM memories")
        assert shown.description is not None
        assert "idempotency_key" not in [column[0] for column in shown.description]


def test_rows_of_every_type_through_executemany(path: Path) -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    text = (
        "INSERT INTO memories (content, importance, tags, attributes, created_at, hold, "
        "superseded_by) VALUES (?, ?, ?, ?, ?, ?, ?)"
    )
    plain = ["a", 0.5, ["x"], '{"n": 1}', now, True, UUID(int=1)]
    nulls = ["b", None, None, None, now, False, None]
    odd = ["c", True, ["y", None], {"n": 2}, now.replace(tzinfo=None), False, str(UUID(int=2))]
    query = (
        "SELECT content, importance, tags, attributes, created_at, hold, superseded_by "
        "FROM memories ORDER BY content"
    )
    with memql.connect(path) as con:
        con.executemany(text, [plain, nulls])  # through Arrow
        con.executemany(text, [odd, ["d", *odd[1:]]])  # as VALUES
        found = con.execute(query).fetchall()
        single = memql.connect(":memory:")
        for row in (plain, nulls, odd, ["d", *odd[1:]]):
            single.execute(text, row)
        assert found == single.execute(query).fetchall()
        with pytest.raises(DataError, match="importance"):
            con.executemany(text, [plain, ["e", 2, *plain[2:]]])
        with pytest.raises(IntegrityError, match="content"):
            con.executemany(text, [plain, [None, *plain[1:]]])
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(4,)]


def test_a_failing_disk_is_an_error_of_the_store() -> None:
    class Failing:
        def execute(self, sql: str, values: object) -> None:
            raise duckdb.IOException("IO Error: no space left")

    cursor: Any = Failing()
    written = {("alice", "k"): Written("00000000-0000-7000-8000-000000000000", b"")}
    with pytest.raises(OperationalError, match="keep idempotency keys"):
        add(cursor, written, datetime.now(UTC))
