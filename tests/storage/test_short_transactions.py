"""The engine's own transactions, and what the mirror of the tree knows after they failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pytest

from memql.errors import OperationalError
from memql.storage import activations as module
from memql.storage import transaction
from memql.storage.activations import LayerHeader, NodeHeader
from memql.storage.store import Store
from memql.storage.tensors import Tensors, TensorsFailed

SHAPE = (1, 2, 4)
HEADER = NodeHeader("m", "float32", 1, 2, (LayerHeader("full", SHAPE, SHAPE),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "s")
    yield opened
    opened.close()


def _put(store: Store, name: bytes, parent: bytes | None = None) -> int:
    payload = [((name * 32)[:32], (name * 32)[:32])]
    node_id = store.activations.put(HEADER, parent, 0, [(name, 2)], [], payload, "a")
    assert node_id is not None
    return node_id


@contextmanager
def _durable_but_failing(cursor: duckdb.DuckDBPyConnection, asked: str) -> Iterator[None]:
    with transaction.short_transaction(cursor, asked):
        yield
    raise OperationalError(f"cannot {asked}: no space left on device")


def test_a_commit_that_failed_is_told_and_not_its_rollback() -> None:
    database = duckdb.connect()
    database.execute("CREATE TABLE t (i INTEGER PRIMARY KEY)")
    mine, other = database.cursor(), database.cursor()
    with pytest.raises(OperationalError, match="cannot add: another transaction") as failed:
        with transaction.short_transaction(mine, "add"):
            mine.execute("INSERT INTO t VALUES (1)")
            other.execute("INSERT INTO t VALUES (1)")
    assert failed.value.code == "40001"
    with transaction.short_transaction(mine, "add"):
        mine.execute("INSERT INTO t VALUES (2)")


@pytest.mark.parametrize("change", ["drop", "quarantine"])
def test_an_error_after_a_durable_change_is_seen_by_the_mirror(
    store: Store, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    node_id = _put(store, b"root")
    with monkeypatch.context() as patch:
        patch.setattr(module, "short_transaction", _durable_but_failing)
        with pytest.raises(OperationalError, match="no space left"):
            if change == "drop":
                store.activations.drop([node_id])
            else:
                store.activations.quarantine(node_id, "flipped bits")
    assert store.activations.tree.find(b"root") is None
    assert store.activations.nodes() == []
    # And the same boundary may be computed again.
    assert _put(store, b"root") > node_id


def test_compaction_makes_one_file_of_many(store: Store) -> None:
    names = [b"a", b"b", b"c"]
    ids = [_put(store, name) for name in names]
    files = store.folder / "activations.lance" / "data"
    assert len(list(files.iterdir())) == 3
    store.activations.drop([ids[1]])
    store.activations.compact()
    assert len(list(files.iterdir())) == 1
    assert [problem for _, problem in store.activations.verify()] == [None, None]
    ((key, _),) = store.activations.read(store.activations.chain(b"c")[0].node)
    assert bytes(key) == b"c" * 32
    _put(store, b"d", b"c")
    assert [problem for _, problem in store.activations.verify()] == [None] * 3
    counts = (
        "SELECT (SELECT count(*) FROM _memql.intents) + (SELECT count(*) FROM _memql.tombstones)"
    )
    assert store.cursor().execute(counts).fetchone() == (0,)


def test_a_compaction_that_fails_is_swept_at_the_next_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(tmp_path / "s")
    store.activations.compact()  # of nothing
    for name in (b"a", b"b"):
        _put(store, name)

    def fail(self: Tensors, dataset: object) -> None:
        raise OSError("input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Tensors, "_clean", fail)
        with pytest.raises(TensorsFailed, match="cannot compact .*input/output error"):
            store.activations.compact()
    files = store.folder / "activations.lance" / "data"
    assert len(list(files.iterdir())) == 3
    store.close()
    store = Store.open(tmp_path / "s")
    assert [problem for _, problem in store.activations.verify()] == [None, None]
    assert len(list(files.iterdir())) == 1
    store.close()
