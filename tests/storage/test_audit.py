"""The audit is a chain: a row that is changed or taken out shows."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from memql.storage import audit
from memql.storage.store import Store


@pytest.fixture
def store() -> Iterator[Store]:
    opened = Store.open(":memory:")
    yield opened
    opened.close()


def _write(store: Store, count: int) -> None:
    for number in range(count):
        with store.commit_lock:
            cursor = store.cursor()
            cursor.execute("BEGIN")
            audit.append(cursor, "alice", "forget", f"memory {number}", {"rows": 2, "why": "ask"})
            cursor.execute("COMMIT")


def test_a_whole_chain_has_no_broken_row(store: Store) -> None:
    assert audit.first_broken(store.cursor()) is None
    _write(store, 4)
    assert audit.first_broken(store.cursor()) is None
    rows = store.cursor().execute(
        "SELECT seq, user_name, action, target, detail FROM _memql.audit ORDER BY seq"
    )
    assert rows.fetchmany(1) == [(1, "alice", "forget", "memory 0", '{"rows": 2, "why": "ask"}')]


@pytest.mark.parametrize(
    ("damage", "broken"),
    [
        ("UPDATE _memql.audit SET target = 'memory 9' WHERE seq = 2", 2),
        ('UPDATE _memql.audit SET "at" = "at" + INTERVAL 1 SECOND WHERE seq = 3', 3),
        ("UPDATE _memql.audit SET user_name = 'bob' WHERE seq = 4", 4),
        ("DELETE FROM _memql.audit WHERE seq = 2", 3),
        ("DELETE FROM _memql.audit WHERE seq = 1", 2),
        ("UPDATE _memql.audit SET hash = prev_hash WHERE seq = 1", 1),
    ],
)
def test_tampering_is_found_at_its_row(store: Store, damage: str, broken: int) -> None:
    _write(store, 4)
    cursor = store.cursor()
    cursor.execute(damage)
    assert audit.first_broken(cursor) == broken


def test_writers_in_several_threads_make_one_chain(store: Store) -> None:
    threads = [threading.Thread(target=_write, args=(store, 5)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cursor = store.cursor()
    assert cursor.execute("SELECT max(seq), count(*) FROM _memql.audit").fetchone() == (20, 20)
    assert audit.first_broken(cursor) is None
