"""Ids of memories, and the insert of rows."""

from __future__ import annotations

import datetime
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from memql.errors import DataError, IntegrityError, OperationalError
from memql.storage import memories
from memql.storage.store import Store

NOW = datetime.datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=datetime.UTC)


@pytest.fixture
def store() -> Iterator[Store]:
    opened = Store.open(":memory:")
    yield opened
    opened.close()


def _table(ids: list[uuid.UUID], **more: object) -> pa.Table:
    count = len(ids)
    columns: dict[str, object] = {
        "id": [str(one) for one in ids],
        "owner": ["a"] * count,
        "content": ["x"] * count,
        "created_at": [NOW] * count,
        "updated_at": [NOW] * count,
        "version": [1] * count,
    }
    return pa.table(columns | more)


def test_ids_are_uuid_7_of_now() -> None:
    before = time.time_ns() // 1_000_000
    ids = memories.new_ids(3)
    for one in ids:
        assert one.version == 7 and one.variant == uuid.RFC_4122
        assert 0 <= (one.int >> 80) - before < 60_000
    assert memories.new_ids(0) == []


def test_ids_ascend_in_a_batch_and_between_batches() -> None:
    # More than the 4,096 that one millisecond has room for.
    ids = memories.new_ids(10_000) + memories.new_ids(1) + memories.new_ids(10_000)
    assert ids == sorted(ids) and len(set(ids)) == 20_001
    assert [str(one) for one in ids] == sorted(str(one) for one in ids)


def test_ids_ascend_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    (before,) = memories.new_ids(1)
    monkeypatch.setattr("time.time_ns", lambda: 0)
    during = memories.new_ids(2)
    monkeypatch.undo()
    (after,) = memories.new_ids(1)
    assert before < during[0] < during[1] < after


def test_ids_ascend_in_eight_threads() -> None:
    found: list[list[uuid.UUID]] = []
    threads = [
        threading.Thread(
            target=lambda: found.append([one for _ in range(200) for one in memories.new_ids(3)])
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(ids == sorted(ids) for ids in found)
    # The time and sequence part alone is unique: order never rests on the random part.
    assert len({one.int >> 64 for ids in found for one in ids}) == 8 * 200 * 3


def test_rows_come_back_as_they_were_inserted(store: Store) -> None:
    first, second = memories.new_ids(2)
    table = _table(
        [first, second],
        tags=[["a", "b"], None],
        attributes=['{"n": 1}', None],
        derived_from=[None, [str(first)]],
        importance=[0.5, None],
        hold=[True, False],
    )
    cursor = store.cursor()
    assert memories.insert(cursor, table) == 2
    rows = cursor.execute(
        "SELECT id, tags, attributes, derived_from, importance, hold, state, epoch_us(created_at)"
        " FROM _memql.memories ORDER BY id"
    ).fetchall()
    micros = int(NOW.timestamp()) * 1_000_000 + NOW.microsecond
    assert rows == [
        (first, ["a", "b"], '{"n": 1}', None, 0.5, True, "active", micros),
        (second, None, None, [first], None, False, "active", micros),
    ]


def test_one_row_is_kept_as_it_is_among_others(store: Store) -> None:
    far = datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=datetime.UTC)
    rows: list[dict[str, Any]] = [
        {
            "tags": ["a", None],
            "attributes": '{"n": [1, "\u00fc"]}',
            "importance": 0.1,
            "hold": True,
        },
        {"tags": [], "attributes": "{}", "importance": 1e-300, "hold": False},
        {"tags": None, "content": "\x00\n'\"?$1 \U0001f642", "created_at": far},
        {"derived_from": [], "superseded_by": str(uuid.UUID(int=7)), "content": ""},
        {"derived_from": [str(uuid.UUID(int=5)), None], "created_at": NOW.replace(year=1)},
    ]
    cursor = store.cursor()
    query = "SELECT * EXCLUDE (id) FROM _memql.memories WHERE id IN (SELECT unnest($1)) ORDER BY id"
    for row in rows:
        alone, first, second = memories.new_ids(3)
        memories.insert(cursor, _table([alone], **{name: [row[name]] for name in row}))
        memories.insert(cursor, _table([first, second], **{name: [row[name]] * 2 for name in row}))
        (found,) = cursor.execute(query, [[alone]]).fetchall()
        assert cursor.execute(query, [[first, second]]).fetchall() == [found] * 2


def test_rows_are_let_go_of_before_their_transaction_ends(store: Store) -> None:
    cursor = store.cursor()
    cursor.execute("BEGIN")
    before = pa.total_allocated_bytes()
    sizes = []
    for _ in range(10):
        table = _table(memories.new_ids(1000), content=["x" * 1000] * 1000)
        sizes.append(table.nbytes)
        memories.insert(cursor, table)
    del table
    assert pa.total_allocated_bytes() - before < 2 * max(sizes)
    cursor.execute("ROLLBACK")


@pytest.mark.parametrize("count", [1, 2])
def test_ids_may_be_strings_bytes_or_arrow_uuids(store: Store, count: int) -> None:
    cursor = store.cursor()
    ids = memories.new_ids(3 * count)
    texts, others = [str(one) for one in ids], [one.bytes for one in ids]
    for number, column in enumerate(
        (pa.array(texts), pa.array(others, pa.binary(16)), pa.array(others, pa.uuid()))
    ):
        start = number * count
        part = ids[start : start + count]
        memories.insert(cursor, _table(part, id=column.slice(start, count)))
    assert cursor.execute("SELECT id FROM _memql.memories ORDER BY id").fetchall() == [
        (one,) for one in ids
    ]


def test_what_does_not_fit_is_an_error_and_nothing_is_kept(store: Store) -> None:
    cursor = store.cursor()
    (one,) = memories.new_ids(1)
    memories.insert(cursor, _table([one]))
    with pytest.raises(IntegrityError, match="cannot insert 1 memories: .*Duplicate key"):
        memories.insert(cursor, _table([one]))
    with pytest.raises(IntegrityError, match="content"):
        memories.insert(cursor, _table(memories.new_ids(2), content=["x", None]))
    with pytest.raises(DataError, match="cannot insert 1 memories"):
        memories.insert(cursor, _table(memories.new_ids(1), importance=["much"]))
    assert cursor.execute("SELECT count(*) FROM _memql.memories").fetchone() == (1,)
    # The Arrow table does not stay behind as a name that SQL can reach.
    names = cursor.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    assert names == []


def test_the_same_id_from_two_transactions_is_a_conflict(store: Store) -> None:
    one, two = store.cursor(), store.cursor()
    ids = memories.new_ids(1)
    one.execute("BEGIN")
    two.execute("BEGIN")
    memories.insert(one, _table(ids))
    memories.insert(two, _table(ids))
    one.execute("COMMIT")
    with pytest.raises(duckdb.TransactionException):
        two.execute("COMMIT")
    two.execute("BEGIN")
    with pytest.raises(IntegrityError):
        memories.insert(two, _table(ids))
    with pytest.raises(OperationalError, match="ROLLBACK"):
        memories.insert(two, _table(memories.new_ids(1)))
    two.execute("ROLLBACK")
    names = two.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    assert names == []


def test_sixteen_threads_insert_all_their_rows(store: Store) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            cursor = store.cursor()
            for _ in range(5):
                memories.insert(cursor, _table(memories.new_ids(20)))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.cursor().execute(
        "SELECT count(*), count(DISTINCT id) FROM _memql.memories"
    ).fetchone() == (1600, 1600)
