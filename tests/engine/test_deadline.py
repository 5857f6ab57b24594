"""The statement timeout: what runs too long ends, wherever it is, and nothing else does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

import memql
from memql.engine.deadline import Deadline
from memql.engine.model.runtime import Runtime
from memql.errors import OperationalError

# About 10^13 rows: no machine ends it before a timeout of milliseconds.
ENDLESS = "SELECT i FROM range(10000000000000) AS t(i)"


@pytest.fixture
def limited(con: memql.Connection) -> memql.Connection:
    con.execute("SET memql.statement_timeout = '20ms'")
    return con


@pytest.mark.parametrize(
    "text",
    [
        f"SELECT count(*) FROM ({ENDLESS} WHERE i % 3 = 5)",
        f"SELECT content FROM memories WHERE id::VARCHAR IN (SELECT i::VARCHAR FROM ({ENDLESS}))",
        f"{ENDLESS} WHERE i % 3 = 5 LIMIT 10 TOKENS",
        f"SELECT generate('Who?', i::VARCHAR) FROM ({ENDLESS} WHERE i % 3 = 5) AS t",
        f"{ENDLESS} WHERE i % 3 = 5 MATERIALIZE AS PLAINTEXT",
        f"EXPLAIN {ENDLESS} WHERE i % 3 = 5",
        f"UPDATE memories SET source = 'x' WHERE 5 IN (SELECT i % 3 FROM ({ENDLESS}))",
        f"DELETE FROM memories WHERE 5 IN (SELECT i % 3 FROM ({ENDLESS}))",
    ],
)
def test_what_runs_too_long_ends(limited: memql.Connection, text: str) -> None:
    with pytest.raises(memql.OperationalError, match="took longer than 20ms") as caught:
        limited.execute(text).fetchall()
    assert caught.value.code == "57014"
    limited.execute("SET memql.statement_timeout = 0")
    assert limited.execute("SELECT count(*), count(source) FROM memories").fetchone() == (4, 0)


def test_executemany_ends_and_writes_nothing(limited: memql.Connection) -> None:
    text = f"INSERT INTO memories (content) SELECT ? FROM ({ENDLESS} WHERE i % 3 = 5)"
    with pytest.raises(memql.OperationalError, match="took longer than 20ms"):
        limited.executemany(text, [["a"], ["b"]])
    assert not limited.in_transaction
    limited.execute("SET memql.statement_timeout = 0")
    assert limited.execute("SELECT count(*) FROM memories").fetchone() == (4,)


def test_fetching_is_a_part_of_the_statement(limited: memql.Connection) -> None:
    # The first rows come at once; the last would never.
    cursor = limited.execute(ENDLESS)
    with pytest.raises(memql.OperationalError, match="took longer than 20ms"):
        cursor.fetchall()


def test_the_time_between_two_fetches_is_the_programs_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("memql.engine.deadline.time.monotonic", lambda: now)
    deadline, stopped = Deadline(60_000), threading.Event()
    with deadline.running(stopped.set):
        pass
    now += 3600
    with deadline.running(stopped.set):
        now += 59.9
    assert not stopped.is_set()
    with pytest.raises(OperationalError), deadline.running(stopped.set):
        assert stopped.wait(60)  # a tenth of a second is left
        raise OperationalError("interrupted")


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM memories",
        "CREATE MATERIALIZED VIEW v AS SELECT content FROM memories WITH NO DATA",
        "DROP MODEL IF EXISTS m",
    ],
)
def test_waiting_for_another_commit_ends(limited: memql.Connection, text: str) -> None:
    taken, enough = threading.Event(), threading.Event()

    def commit_for_long() -> None:
        with limited._session._store.commit_lock:
            taken.set()
            enough.wait(60)

    other = threading.Thread(target=commit_for_long)
    other.start()
    assert taken.wait(60)
    try:
        with pytest.raises(memql.OperationalError, match="took longer than 20ms"):
            limited.execute(text)
    finally:
        enough.set()
        other.join()
    limited.execute("SET memql.statement_timeout = 0")
    limited.execute(text)


def test_executemany_waits_for_another_commit_no_longer_than_its_time(
    limited: memql.Connection,
) -> None:
    taken, enough = threading.Event(), threading.Event()

    def commit_for_long() -> None:
        with limited._session._store.commit_lock:
            taken.set()
            enough.wait(60)

    other = threading.Thread(target=commit_for_long)
    other.start()
    assert taken.wait(60)
    insert = "INSERT INTO memories (content) VALUES (?)"
    try:
        with pytest.raises(memql.OperationalError, match="took longer than 20ms"):
            limited.executemany(insert, [["a"], ["b"]])
    finally:
        enough.set()
        other.join()
    limited.execute("SET memql.statement_timeout = 0")
    assert not limited.in_transaction
    assert limited.execute("SELECT count(*) FROM memories").fetchone() == (4,)
    assert limited.executemany(insert, [["a"], ["b"]]).rowcount == 2


def test_an_interruption_of_nothing_does_not_hit_a_later_commit(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = con._session._store
    take = store.take_commit_lock

    def waits(check_cancel: Callable[[], None]) -> None:
        check_cancel()  # as if another transaction were committing
        take(check_cancel)

    monkeypatch.setattr(store, "take_commit_lock", waits)
    con.begin()
    con.execute("DELETE FROM memories")
    con.interrupt()
    con.commit()
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (0,)


def test_a_model_is_stopped(limited: memql.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(runtime: Runtime, *args: Any, check_cancel: Any, **kwargs: Any) -> None:
        while True:
            check_cancel()

    monkeypatch.setattr(Runtime, "generate", endless)
    with pytest.raises(memql.OperationalError, match="took longer than 20ms"):
        limited.execute("SELECT generate('Who?') FROM memories").fetchall()


def test_without_a_limit_an_interruption_is_told_as_one(con: memql.Connection) -> None:
    timer = threading.Timer(0.05, con.interrupt)
    timer.start()
    with pytest.raises(memql.OperationalError) as caught:
        con.execute(f"SELECT count(*) FROM ({ENDLESS} WHERE i % 3 = 5)")
    timer.join()
    assert "memql.statement_timeout" not in str(caught.value)


def test_a_statement_within_its_time_is_left_alone(con: memql.Connection) -> None:
    con.execute("SET memql.statement_timeout = '1h'")
    threads = threading.active_count()
    for _ in range(20):
        assert con.execute("SELECT count(*) FROM memories").fetchone() == (4,)
    assert threading.active_count() == threads  # no watcher stays behind


def test_a_transaction_that_was_stopped_is_rolled_back(con: memql.Connection) -> None:
    con.execute("BEGIN")
    con.execute("DELETE FROM memories")
    con.execute("SET memql.statement_timeout = '20ms'")
    with pytest.raises(memql.OperationalError, match="took longer than 20ms"):
        con.execute(f"SELECT count(*) FROM ({ENDLESS} WHERE i % 3 = 5)")
    con.execute("SET memql.statement_timeout = 0")
    con.execute("ROLLBACK")
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (4,)


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO memories (content) VALUES ('x')",
        "SELECT content FROM memories LIMIT 100 TOKENS",
        "CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT content FROM memories WITH NO DATA",
    ],
)
def test_an_interruption_that_hits_begin_leaves_no_transaction(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    class Interrupted:
        """A cursor on which BEGIN is done, and is interrupted all the same; ROLLBACK too, once."""

        def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
            self._cursor = cursor
            self._left = 2

        def _interrupt(self, word: str) -> None:
            if self._left and word in ("BEGIN", "ROLLBACK"):
                self._left -= 1
                if word == "BEGIN":
                    self._cursor.begin()
                raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")

        def begin(self) -> None:
            self._interrupt("BEGIN")
            self._cursor.begin()

        def execute(self, sql: str, *others: Any) -> Any:
            self._interrupt(sql)
            return self._cursor.execute(sql, *others)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._cursor, name)

    session = con._session
    broken: Any = Interrupted(session._cursor)
    with monkeypatch.context() as patched:
        patched.setattr(session, "_cursor", broken)
        patched.setattr(session._transaction, "_cursor", broken)
        patched.setattr(session._changes, "_cursor", broken)
        patched.setattr(session, "_own_cursor", lambda: broken)
        with pytest.raises(memql.OperationalError):
            con.execute(text).fetchall()
        assert not broken._left
    assert not con.in_transaction
    con.execute("INSERT INTO memories (content) VALUES ('afterwards')")
    con.execute(text)


def test_another_error_stays_what_it_is() -> None:
    deadline = Deadline(1)
    stopped = threading.Event()
    with pytest.raises(ValueError, match="its own"), deadline.running(stopped.set):
        assert stopped.wait(60)
        raise ValueError("its own")


def test_time_used_up_before_counts() -> None:
    deadline = Deadline(1)
    stopped = threading.Event()
    with deadline.running(stopped.set):
        assert stopped.wait(60)
    with pytest.raises(OperationalError, match="took longer than 1ms"):
        with deadline.running(stopped.set):
            stopped.clear()
            assert stopped.wait(60)
            raise duckdb.InterruptException("Interrupted!")
