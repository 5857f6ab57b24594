"""Transactions: numbers, versions, snapshots, conflicts."""

from __future__ import annotations

import datetime
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from memql.errors import IntegrityError, InternalError, OperationalError, ProgrammingError
from memql.storage import memories, transaction
from memql.storage.store import Store
from memql.storage.transaction import PROVISIONAL, Transaction

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture
def store() -> Iterator[Store]:
    opened = Store.open(":memory:")
    yield opened
    opened.close()


class _Session:
    """A user's session in miniature."""

    def __init__(self, store: Store) -> None:
        self.cursor = store.cursor()
        self.transaction = Transaction(store, self.cursor)

    def insert(self, *contents: str) -> list[uuid.UUID]:
        ids = memories.new_ids(len(contents))
        count = len(contents)
        table = pa.table(
            {
                "id": [str(one) for one in ids],
                "owner": ["a"] * count,
                "content": list(contents),
                "created_at": [NOW] * count,
                "updated_at": [NOW] * count,
                "version": [self.transaction.version] * count,
            }
        )
        memories.insert(self.cursor, table)
        return ids

    def update(self, content: str, memory_id: uuid.UUID) -> None:
        self.transaction.execute(
            "UPDATE _memql.memories SET content = ?, tags = ['new'], version = ? WHERE id = ?",
            [content, self.transaction.version, memory_id],
            "update memories",
        )

    def write(self, *contents: str) -> list[uuid.UUID]:
        self.transaction.begin(explicit=False, write=True)
        ids = self.insert(*contents)
        assert self.transaction.commit("a") is not None
        return ids

    def rows(self, table: str = "memories") -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = self.cursor.execute(
            f"SELECT content, version FROM _memql.{table} ORDER BY version, content"
        ).fetchall()
        return found

    def commits(self) -> list[tuple[int, str]]:
        found: list[tuple[int, str]] = self.cursor.execute(
            "SELECT number, user_name FROM _memql.commits ORDER BY number"
        ).fetchall()
        return found


def test_write_statements_take_consecutive_numbers(store: Store) -> None:
    session = _Session(store)
    session.write("one", "uno")
    session.write("two")
    session.transaction.begin(explicit=False, write=True)
    assert session.transaction.version == 3
    assert session.transaction.active and not session.transaction.explicit
    assert session.transaction.dirty
    session.insert("three")
    assert session.transaction.commit("bob") == 3
    expected = [("one", 1), ("uno", 1), ("two", 2), ("three", 3)]
    assert session.rows() == session.rows("versions") == expected
    assert session.commits() == [(1, "a"), (2, "a"), (3, "bob")]
    assert not session.transaction.active and not session.transaction.dirty


def test_numbers_go_on_after_reopening(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s")
    _Session(store).write("one")
    store.close()
    store = Store.open(tmp_path / "s")
    assert store.last_commit == 1
    _Session(store).write("two")
    assert _Session(store).rows() == [("one", 1), ("two", 2)]
    store.close()


def test_a_statement_that_writes_nothing_uses_no_number(store: Store) -> None:
    session = _Session(store)
    for explicit in (False, True):
        session.transaction.begin(explicit=explicit, write=True)
        session.cursor.execute("UPDATE _memql.memories SET version = 99 WHERE false")
        assert session.transaction.commit("a") is None
    session.transaction.begin(explicit=False, write=False)
    with pytest.raises(InternalError, match="outside a write transaction"):
        _ = session.transaction.version
    assert session.transaction.commit("a") is None
    assert session.commits() == [] and store.last_commit == 0
    session.write("one")
    assert session.commits() == [(1, "a")]


def test_an_explicit_transaction_is_seen_at_its_commit(store: Store) -> None:
    one, two = _Session(store), _Session(store)
    (first,) = two.write("old")
    one.transaction.begin(explicit=True, write=False)
    assert one.transaction.explicit and one.transaction.version < 0
    one.insert("new")
    one.update("changed", first)
    one.update("changed again", first)
    one.transaction.mark_dirty()
    assert one.transaction.dirty
    assert [row[0] for row in one.rows()] == ["changed again", "new"]
    assert two.rows() == [("old", 1)]
    two.write("between")
    assert one.transaction.commit("a") == 3
    assert two.rows() == [("between", 2), ("changed again", 3), ("new", 3)]
    assert two.rows("versions") == [("old", 1), ("between", 2), ("changed again", 3), ("new", 3)]


def test_the_version_of_an_open_transaction_tells_of_no_other(store: Store) -> None:
    one, two = _Session(store), _Session(store)
    one.transaction.begin(explicit=True, write=True)
    two.transaction.begin(explicit=True, write=True)
    assert one.transaction.version == two.transaction.version == PROVISIONAL
    assert one.transaction.number != two.transaction.number
    one.insert("one")
    two.insert("two")
    assert two.transaction.commit("b") == 1
    assert one.transaction.commit("a") == 2
    assert one.rows("versions") == [("two", 1), ("one", 2)]


@pytest.mark.parametrize("explicit", [True, False])
def test_rollback_leaves_nothing(store: Store, explicit: bool) -> None:
    session = _Session(store)
    session.transaction.begin(explicit=explicit, write=True)
    session.insert("gone")
    session.transaction.rollback()
    session.transaction.rollback()
    assert session.rows() == session.rows("versions") == []
    assert session.commits() == []
    _Session(store).write("kept")
    assert session.rows("versions") == [("kept", 1)]


def test_a_reader_sees_one_snapshot(store: Store) -> None:
    reader, writer = _Session(store), _Session(store)
    writer.write("one")
    reader.transaction.begin(explicit=False, write=False)
    assert reader.rows() == [("one", 1)]
    writer.write("two")
    assert reader.rows() == [("one", 1)]
    reader.transaction.commit("a")
    assert reader.rows() == [("one", 1), ("two", 2)]


def test_a_conflict_rolls_back_and_says_to_try_again(store: Store) -> None:
    one, two = _Session(store), _Session(store)
    (first,) = one.write("old")
    one.transaction.begin(explicit=True, write=True)
    two.transaction.begin(explicit=True, write=True)
    one.update("by one", first)
    with pytest.raises(OperationalError, match="another transaction changed the same rows") as lost:
        two.update("by two", first)
    assert "run it again" in str(lost.value)
    assert not two.transaction.active
    assert one.transaction.commit("a") == 2
    two.transaction.begin(explicit=True, write=True)
    two.update("by two", first)
    assert two.transaction.commit("b") == 3
    assert two.rows("versions") == [("old", 1), ("by one", 2), ("by two", 3)]


def test_a_conflict_at_commit_gives_the_lock_back(store: Store) -> None:
    one, two = _Session(store), _Session(store)
    for session in (one, two):
        session.transaction.begin(explicit=True, write=True)
        session.cursor.execute("INSERT INTO _memql.settings VALUES ('k', 'v')")
        session.insert("x")
    assert one.transaction.commit("a") == 1
    with pytest.raises(OperationalError, match="run it again"):
        two.transaction.commit("b")
    assert not two.transaction.active
    assert two.rows("versions") == [("x", 1)]
    thread = threading.Thread(target=lambda: _Session(store).write("y"))
    thread.start()
    thread.join(10)
    assert not thread.is_alive() and two.rows() == [("x", 1), ("y", 2)]


def test_any_other_error_leaves_the_transaction_to_be_rolled_back(store: Store) -> None:
    session = _Session(store)
    (first,) = session.write("x")
    session.transaction.begin(explicit=True, write=True)
    with pytest.raises(IntegrityError, match="cannot add a memory"):
        session.transaction.execute(
            "INSERT INTO _memql.memories SELECT * FROM _memql.memories", [], "add a memory"
        )
    assert session.transaction.active
    with pytest.raises(OperationalError, match="ROLLBACK"):
        session.update("y", first)
    session.transaction.rollback()
    assert session.rows() == [("x", 1)]


class _FullDisk:
    """A cursor whose COMMIT reports an error after it was durable."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor
        self.fetchone = cursor.fetchone

    def execute(self, sql: str, parameters: list[object] | None = None) -> None:
        self._cursor.execute(sql, parameters or [])
        if sql == "COMMIT":
            raise duckdb.IOException("no space left on device")


def test_an_error_after_a_durable_commit_does_not_reuse_its_number(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = _Session(store)
    session.transaction.begin(explicit=False, write=True)
    session.insert("durable")
    monkeypatch.setattr(session.transaction, "_cursor", _FullDisk(session.cursor))
    with pytest.raises(OperationalError, match="no space left"):
        session.transaction.commit("a")
    monkeypatch.undo()
    assert store.last_commit == 1
    session.write("next")
    assert session.rows("versions") == [("durable", 1), ("next", 2)]


def test_begin_and_commit_are_used_in_pairs(store: Store) -> None:
    session = _Session(store)
    with pytest.raises(ProgrammingError, match="no transaction is open"):
        session.transaction.commit("a")
    session.transaction.begin(explicit=True, write=True)
    with pytest.raises(ProgrammingError, match="open already"):
        session.transaction.begin(explicit=False, write=True)
    session.transaction.rollback()


def test_commit_times_never_go_back(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    session = _Session(store)
    session.write("one")
    monkeypatch.setattr("time.time_ns", lambda: 0)
    session.write("two")
    monkeypatch.undo()
    session.write("three")
    times = session.cursor.execute(
        'SELECT epoch_us("at") FROM _memql.commits ORDER BY number'
    ).fetchall()
    assert times == sorted(times) and times[0][0] > 0


def test_sixteen_threads_write_every_version_once(store: Store) -> None:
    failures: list[BaseException] = []

    def work(explicit: bool) -> None:
        try:
            session = _Session(store)
            for number in range(5):
                session.transaction.begin(explicit=explicit, write=True)
                session.insert(f"{threading.get_ident()} {number}", "more")
                assert session.transaction.commit("a") is not None
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n % 2 == 0,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    session = _Session(store)
    assert [number for number, _ in session.commits()] == list(range(1, 81))
    assert session.rows() == session.rows("versions")
    per_commit = session.cursor.execute(
        "SELECT DISTINCT count(*) FROM _memql.versions GROUP BY version"
    ).fetchall()
    assert per_commit == [(2,)]


def test_a_lost_copy_to_versions_would_be_seen(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The control of the checks above: without the copy the two tables differ.
    broken = transaction._COPY_VERSIONS.replace("version = ?", "version = ? AND content <> 'b'")
    monkeypatch.setattr(transaction, "_COPY_VERSIONS", broken)
    session = _Session(store)
    session.write("a", "b")
    assert session.rows() != session.rows("versions")


def test_a_closed_database_is_an_error_of_memql(store: Store) -> None:
    session = _Session(store)
    session.cursor.close()
    with pytest.raises(Exception, match="begin a transaction") as failed:
        session.transaction.begin(explicit=False, write=True)
    assert not isinstance(failed.value, duckdb.Error)
    _Session(store).write("the lock was given back")
