"""A dataset whose newest versions did not reach the disk goes back to the last that did."""

from __future__ import annotations

from pathlib import Path

import pytest

from memql.storage.activations import LayerHeader, NodeHeader
from memql.storage.store import Store
from memql.storage.tensors import Tensors, TensorsFailed

SHAPE = (1, 2, 4)
HEADER = NodeHeader("m", "float32", 1, 2, (LayerHeader("full", SHAPE, SHAPE),))


def _put(store: Store, name: bytes) -> int:
    payload = [((name * 32)[:32], (name * 32)[:32])]
    node_id = store.activations.put(HEADER, None, 0, [(name, 2)], [], payload, "a")
    assert node_id is not None
    return node_id


def _unfinished(folder: Path, names: list[bytes]) -> Path:
    """A store with nodes, rows of nobody and an intent; its dataset."""
    store = Store.open(folder)
    for name in names:
        _put(store, name)
    Tensors(folder / "activations.lance", True).append(99, [b"nobody's", b"nothing"])
    store.cursor().execute("INSERT INTO _memql.intents VALUES (99, 'put', now())")
    store.close()
    return folder / "activations.lance"


def _manifests(dataset: Path) -> list[Path]:
    """Newest first."""
    return sorted((dataset / "_versions").glob("*.manifest"))


@pytest.mark.parametrize("size", [0, 7, None])
def test_a_torn_version_is_left_for_the_one_before_it(tmp_path: Path, size: int | None) -> None:
    dataset = _unfinished(tmp_path / "s", [b"a", b"b"])
    newest = _manifests(dataset)[0]
    whole = newest.read_bytes()
    newest.write_bytes(bytes(len(whole)) if size is None else whole[:size])
    store = Store.open(tmp_path / "s")
    assert [problem for _, problem in store.activations.verify()] == [None, None]
    assert Tensors(dataset, False).node_ids() == {1, 2}
    _put(store, b"c")
    assert [problem for _, problem in store.activations.verify()] == [None] * 3
    store.close()


def test_a_torn_data_file_takes_its_version_with_it(tmp_path: Path) -> None:
    dataset = _unfinished(tmp_path / "s", [b"a", b"b"])
    torn = max((dataset / "data").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    torn.write_bytes(torn.read_bytes()[:100])
    store = Store.open(tmp_path / "s")
    assert [problem for _, problem in store.activations.verify()] == [None, None]
    assert Tensors(dataset, False).node_ids() == {1, 2}
    store.close()


def test_a_first_version_that_is_torn_is_removed(tmp_path: Path) -> None:
    dataset = _unfinished(tmp_path / "s", [])
    (only,) = _manifests(dataset)
    only.write_bytes(b"")
    store = Store.open(tmp_path / "s")
    assert not dataset.exists()
    assert _put(store, b"a")
    assert [problem for _, problem in store.activations.verify()] == [None]
    store.close()


def test_where_no_version_can_be_read_all_are_left(tmp_path: Path) -> None:
    dataset = _unfinished(tmp_path / "s", [b"a"])
    kept = {manifest: manifest.read_bytes() for manifest in _manifests(dataset)}
    for manifest in kept:
        manifest.write_bytes(b"?" * 100)
    with pytest.raises(TensorsFailed, match="cannot read version 1 of"):
        Tensors(dataset, False).repair()
    # The memories are there, and the damage is told of each node.
    store = Store.open(tmp_path / "s")
    assert [problem is None for _, problem in store.activations.verify()] == [False]
    store.close()
    for manifest, whole in kept.items():
        manifest.write_bytes(whole)
    store = Store.open(tmp_path / "s")
    assert [problem for _, problem in store.activations.verify()] == [None]
    assert Tensors(dataset, False).node_ids() == {1}
    store.close()


def test_a_whole_dataset_is_not_changed_by_repair(tmp_path: Path) -> None:
    dataset = _unfinished(tmp_path / "s", [b"a"])
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    Tensors(dataset, True).repair()
    Tensors(tmp_path / "none", True).repair()
    Tensors(tmp_path / "none", True).remove()
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before
