"""Nodes of the activation tree: published, found, read, quarantined, dropped."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import lance
import pytest

from memql.errors import InternalError, OperationalError
from memql.storage import audit, durable, tensors
from memql.storage.activations import (
    Activations,
    Boundary,
    LayerHeader,
    Node,
    NodeGone,
    NodeHeader,
    NodeSlice,
)
from memql.storage.store import Store
from memql.storage.tensors import Row, Tensors, TensorsFailed

HEADS, HEAD_DIM, LAYERS = 2, 8, 3

Payload = list[tuple[bytes, bytes]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "s")
    yield opened
    opened.close()


@pytest.fixture(params=["folder", "memory"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "s" if request.param == "folder" else ":memory:")
    yield opened
    opened.close()


def _header(tokens: int, dtype: str = "bfloat16") -> NodeHeader:
    shape = (HEADS, tokens, HEAD_DIM)
    kinds = ("full", "sliding", "full")
    return NodeHeader("model", dtype, 1, tokens, tuple(LayerHeader(k, shape, shape) for k in kinds))


def _payload(name: str, tokens: int) -> Payload:
    """Bytes that follow from a name; every bit pattern of bfloat16 may be among them."""
    size = HEADS * tokens * HEAD_DIM * 2

    def part(kind: str, layer: int) -> bytes:
        return hashlib.shake_128(f"{name} {kind} {layer}".encode()).digest(size)

    return [(part("k", layer), part("v", layer)) for layer in range(LAYERS)]


def _put(
    store: Store,
    name: str,
    parent: str | None = None,
    tokens: int = 4,
    boundaries: Sequence[tuple[str, int]] | None = None,
    lineage: Sequence[tuple[uuid.UUID, int]] = (),
) -> int | None:
    keys = boundaries if boundaries is not None else [(name, tokens)]
    return store.activations.put(
        _header(tokens),
        parent.encode() if parent else None,
        0,
        [(key.encode(), offset) for key, offset in keys],
        lineage,
        _payload(name, tokens),
        "alice",
    )


def _kept(store: Store, name: str, parent: str | None = None, tokens: int = 4) -> int:
    node_id = _put(store, name, parent, tokens)
    assert node_id is not None
    return node_id


def _bytes(store: Store, key: str) -> list[Payload]:
    """For each link of a chain its layers."""
    chain = store.activations.chain(key.encode())
    layers = [
        [(bytes(keys), bytes(values)) for keys, values in layer]
        for layer in store.activations.read_chain(chain)
    ]
    return [[layer[link] for layer in layers] for link in range(len(chain))]


def _left(store: Store) -> tuple[int, int, int]:
    """Intents, tombstones, and nodes that have rows in Lance but not in the catalog."""
    cursor = store.cursor()
    counts = cursor.execute(
        "SELECT (SELECT count(*) FROM _memql.intents), (SELECT count(*) FROM _memql.tombstones)"
    ).fetchone()
    assert counts is not None
    rows = Tensors(store.folder / "activations.lance", False).node_ids()
    known = {row[0] for row in cursor.execute("SELECT id FROM _memql.nodes").fetchall()}
    assert known <= rows
    return counts[0], counts[1], len(rows - known)


def test_a_node_is_read_as_it_was_put(any_store: Store) -> None:
    store = any_store
    activations = store.activations
    assert activations.tree.find(b"a") is None
    assert activations.nodes() == []
    node_id = _kept(store, "a", tokens=5)
    assert activations.tree.find(b"a") == Boundary(b"a", node_id, 5)
    (link,) = activations.chain(b"a")
    assert link.take_tokens == 5
    assert link.node.header == _header(5)
    assert link.node.bytes == LAYERS * 2 * HEADS * 5 * HEAD_DIM * 2
    assert [(bytes(k), bytes(v)) for k, v in activations.read(link.node)] == _payload("a", 5)
    assert all(k.readonly and v.readonly for k, v in activations.read(link.node))
    assert [problem for _, problem in activations.verify()] == [None]
    assert _left(store) == (0, 0, 0)


def test_large_layers_are_read_as_they_were_put(store: Store) -> None:
    # Past the size at which layers are read one by one, and in several batches.
    size = 3 * 1024 * 1024
    shape = (1, size, 1)
    header = NodeHeader("m", "uint8", 1, size, (LayerHeader("full", shape, shape),) * 3)
    payload = [(os.urandom(size), os.urandom(size)) for _ in range(3)]
    assert store.activations.put(header, None, 0, [(b"k", size)], [], payload, "a")
    (link,) = store.activations.chain(b"k")
    assert [(bytes(k), bytes(v)) for k, v in store.activations.read(link.node)] == payload


def test_keys_and_values_may_have_shapes_of_their_own(store: Store) -> None:
    header = NodeHeader("m", "float32", 1, 3, (LayerHeader("mla", (1, 3, 4), (2, 3, 5)),))
    payload = [(memoryview(os.urandom(48)).cast("f"), bytearray(os.urandom(120)))]
    assert store.activations.put(header, None, 0, [(b"k", 3)], [], payload, "a")
    ((key, value),) = store.activations.read(store.activations.chain(b"k")[0].node)
    assert (bytes(key), bytes(value)) == (payload[0][0].tobytes(), bytes(payload[0][1]))


def test_a_chain_runs_through_inner_boundaries(store: Store) -> None:
    root = _put(store, "root", tokens=6, boundaries=[("r2", 2), ("r5", 5), ("r6", 6)])
    child = _kept(store, "child", "r5", tokens=3)
    grand = _kept(store, "grand", "child", tokens=1)
    chain = store.activations.chain(b"grand")
    assert [(link.node.id, link.take_tokens) for link in chain] == [
        (root, 5),
        (child, 3),
        (grand, 1),
    ]
    assert _bytes(store, "grand") == [
        _payload("root", 6),
        _payload("child", 3),
        _payload("grand", 1),
    ]
    assert store.activations.chain(b"r2")[0].take_tokens == 2
    assert list(store.activations.read_chain([])) == []
    with pytest.raises(NodeGone, match="no longer there"):
        store.activations.chain(b"nothing")


def test_nodes_are_found_by_another_process(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s")
    _kept(store, "root")
    _kept(store, "child", "root")
    store.close()
    script = """
import sys
from memql.storage.store import Store
store = Store.open(sys.argv[1])
chain = store.activations.chain(b"child")
child = b"".join(bytes(k) + bytes(v) for layer in store.activations.read_chain(chain)
    for k, v in layer[1:])
print([link.node.id for link in chain], child.hex())
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "s")],
        capture_output=True,
        text=True,
        check=True,
    )
    child = b"".join(k + v for k, v in _payload("child", 4)).hex()
    assert done.stdout.split("] ") == ["[1, 2", child + "\n"]


def test_a_known_boundary_stays_with_its_first_node(store: Store) -> None:
    first = _put(store, "one", tokens=4, boundaries=[("a", 2), ("b", 4)])
    assert _put(store, "two", tokens=4, boundaries=[("a", 2), ("b", 4)]) is None
    second = _put(store, "three", tokens=6, boundaries=[("a", 2), ("c", 6)])
    assert store.activations.tree.find(b"a") == Boundary(b"a", first or 0, 2)
    assert store.activations.tree.find(b"c") == Boundary(b"c", second or 0, 6)
    assert _left(store) == (0, 0, 0)


def test_a_node_without_its_parent_is_not_kept(store: Store) -> None:
    assert _put(store, "orphan", "nowhere") is None
    assert store.activations.tree.find(b"orphan") is None
    assert _left(store) == (0, 0, 0)


def test_lineage_must_be_committed(store: Store) -> None:
    one, two = uuid.uuid4(), uuid.uuid4()
    cursor = store.cursor()
    cursor.execute(
        "INSERT INTO _memql.versions (id, version) SELECT unnest($1::UUID[]), unnest([1, 2, 1])",
        [[one, one, two]],
    )
    old = _put(store, "old", lineage=[(one, 1), (two, 1), (one, 1)])
    assert old is not None
    assert store.activations.lineage_of(old) == tuple(sorted([(one, 1), (two, 1)]))
    for gone in ((one, 3), (two, -1), (uuid.uuid4(), 1)):
        assert _put(store, "new", lineage=[(one, 2), gone]) is None
    cursor.execute("BEGIN")
    cursor.execute("INSERT INTO _memql.versions (id, version) VALUES (?, 3)", [one])
    assert _put(store, "new", lineage=[(one, 3)]) is None
    cursor.execute("COMMIT")
    assert _put(store, "new", lineage=[(one, 3)]) is not None
    assert _left(store) == (0, 0, 0)


def test_publishing_waits_for_the_commit_lock(store: Store) -> None:
    # FORGET removes versions under this lock: a put that has not published sees it.
    one = uuid.uuid4()
    cursor = store.cursor()
    cursor.execute("INSERT INTO _memql.versions (id, version) VALUES (?, 1)", [one])
    found: list[int | None] = []
    _kept(store, "first")
    with store.commit_lock:
        thread = threading.Thread(target=lambda: found.append(_put(store, "x", lineage=[(one, 1)])))
        thread.start()
        thread.join(0.2)
        assert found == []
        cursor.execute("DELETE FROM _memql.versions")
    thread.join()
    assert found == [None] and store.activations.tree.find(b"x") is None
    assert _left(store) == (0, 0, 0)


def test_quarantine_cuts_off_what_continues_a_node(store: Store) -> None:
    root, child = _kept(store, "root"), _kept(store, "child", "root")
    other = _kept(store, "other")
    activations = store.activations
    activations.quarantine(root, "flipped bits")
    activations.quarantine(root, "flipped bits")
    assert activations.tree.find(b"root") is None and activations.tree.find(b"child") is None
    assert activations.tree.find(b"other") is not None
    assert [node.id for node in activations.nodes()] == [child, other]
    cursor = store.cursor()
    rows = cursor.execute("SELECT action, target, detail FROM _memql.audit").fetchall()
    assert rows == [("quarantine", f"node {root}", '{"reason": "flipped bits"}')]
    assert audit.first_broken(cursor) is None
    assert _put(store, "late", "root") is None
    # Computed again from text, the same boundary makes its continuation good again.
    rebuilt = _kept(store, "root")
    assert [link.node.id for link in activations.chain(b"child")] == [rebuilt, child]
    activations.drop([root])
    assert activations.tree.find(b"child") is not None
    assert _left(store) == (0, 0, 0)


def test_quarantine_outlives_reopening(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s")
    root = _kept(store, "root")
    _kept(store, "child", "root")
    store.activations.quarantine(root, "x")
    store.close()
    store = Store.open(tmp_path / "s")
    assert (
        store.activations.tree.find(b"root") is None
        and store.activations.tree.find(b"child") is None
    )
    store.close()


def test_drop_takes_descendants_and_their_bytes(any_store: Store) -> None:
    store = any_store
    ids = {
        name: _kept(store, name, parent)
        for name, parent in (("a", None), ("b", "a"), ("c", "b"), ("d", "a"), ("e", None))
    }
    chain = store.activations.chain(b"c")
    secret = _payload("b", 4)[1][0]
    folder = store.folder / "activations.lance"

    def on_disk(part: bytes) -> bool:
        return any(part in path.read_bytes() for path in folder.rglob("*") if path.is_file())

    assert on_disk(secret)
    store.activations.drop([ids["b"], 12345])
    assert not on_disk(secret)
    assert {node.id for node in store.activations.nodes()} == {ids["a"], ids["d"], ids["e"]}
    assert _bytes(store, "d") == [_payload("a", 4), _payload("d", 4)]
    assert store.activations.tree.find(b"b") is None and store.activations.tree.find(b"c") is None
    with pytest.raises(NodeGone):
        list(store.activations.read_chain(chain))
    with pytest.raises(NodeGone):
        list(store.activations.read(chain[2].node))
    assert store.activations.lineage_of(ids["b"]) == ()
    assert _left(store) == (0, 0, 0)
    store.activations.drop([])
    _kept(store, "b", "a")
    assert _bytes(store, "b")[1] == _payload("b", 4)


def test_a_node_dropped_in_the_middle_of_a_read(store: Store) -> None:
    node_id = _kept(store, "a")
    other = _kept(store, "b")
    node = store.activations.chain(b"a")[0].node
    layers = store.activations.read(node)
    late = store.activations.read_chain(store.activations.chain(b"a"))
    first = next(layers)
    assert bytes(first[0]) == _payload("a", 4)[0][0]
    store.activations.drop([other])
    store.activations.drop([node_id])
    # Its file is open: whoever has begun to read it reads it to its end.
    assert [bytes(values) for _, values in layers] == [v for _, v in _payload("a", 4)[1:]]
    with pytest.raises(NodeGone):
        next(late)


def test_a_node_dropped_before_its_file_is_opened(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    node_id = _kept(store, "a")
    activations = store.activations
    chain = activations.chain(b"a")

    def dropped(rows: Sequence[Row]) -> list[None]:
        activations.drop([node_id])
        return [None] * len(rows)

    monkeypatch.setattr(activations, "_places", dropped)
    with pytest.raises(NodeGone):
        next(activations.read_chain(chain))


def test_reads_survive_compaction_and_drops_erase_after_it(store: Store) -> None:
    names = ["a", "b", "c", "d"]
    ids = [_kept(store, name) for name in names]
    path = store.folder / "activations.lance"
    lance.dataset(str(path)).optimize.compact_files()
    fresh = Tensors(path, False)
    assert len(lance.dataset(str(path)).get_fragments()) == 1
    store.activations.drop([ids[1]])
    secret = _payload("b", 4)[0][0]
    assert not any(secret in file.read_bytes() for file in path.rglob("*.lance"))
    for name in ("a", "c", "d"):
        assert _bytes(store, name) == [_payload(name, 4)]
    assert fresh.node_ids() == {ids[0], ids[2], ids[3]}


def test_old_manifests_do_not_pile_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "_APPENDS_PER_CLEANUP", 4)
    for number in range(9):
        _kept(store, f"n{number}")
    assert len(list((store.folder / "activations.lance" / "_versions").glob("*.manifest"))) <= 4
    assert [problem for _, problem in store.activations.verify()] == [None] * 9


def test_everything_is_synced_before_the_pointer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(tmp_path / "s")
    synced: list[Path] = []
    file, publish = durable.sync_file, Activations._publish
    missing: list[set[Path]] = []

    def sync_file(path: Path) -> None:
        synced.append(path)
        file(path)

    def published(self: Activations, *arguments: object) -> bool:
        there = {p for p in (tmp_path / "s" / "activations.lance").rglob("*") if p.is_file()}
        missing.append(there - set(synced))
        return publish(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(durable, "sync_file", sync_file)
    monkeypatch.setattr(Activations, "_publish", published)
    _kept(store, "a")
    _kept(store, "b", "a")
    assert missing == [set(), set()]
    # The control: without the step the same check finds files that never reached the disk.
    monkeypatch.setattr(Tensors, "_sync", lambda self: None)
    _kept(store, "c")
    assert missing[2]
    store.close()


@pytest.mark.parametrize("step", ["append", "publish"])
def test_an_error_in_the_middle_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    _kept(store, "before")

    def full_disk(*arguments: object) -> None:
        raise OSError("no space left on device")

    broken = {
        "append": ("memql.storage.payload.digest", full_disk),
        "publish": ("memql.storage.activations._all_committed", full_disk),
    }[step]
    with monkeypatch.context() as patch:
        patch.setattr(*broken)
        with pytest.raises((OSError, OperationalError), match="no space left"):
            _put(store, "x")
    assert store.activations.tree.find(b"x") is None
    assert _left(store) == (0, 0, 0)
    _kept(store, "x")
    assert [problem for _, problem in store.activations.verify()] == [None, None]


def test_a_disk_that_fails_twice_leaves_it_to_the_next_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(tmp_path / "s")
    _kept(store, "before")

    def fail(path: Path) -> None:
        raise OSError("input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("memql.storage.durable.sync_file", fail)
        with pytest.raises(TensorsFailed, match="input/output"):
            _put(store, "x")
    assert store.activations.tree.find(b"x") is None
    assert _left(store)[0] == 1
    store.close()
    store = Store.open(tmp_path / "s")
    assert _left(store) == (0, 0, 0)
    _kept(store, "x")
    store.close()


def test_an_error_after_a_durable_publish_keeps_the_node(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    _kept(store, "before")
    publish = Activations._publish

    def published(self: Activations, *arguments: object) -> bool:
        publish(self, *arguments)  # type: ignore[arg-type]
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Activations, "_publish", published)
        with pytest.raises(OSError, match="no space left"):
            _put(store, "x")
    assert _bytes(store, "x") == [_payload("x", 4)]
    assert _left(store) == (0, 0, 0)


def test_threads_put_read_and_drop_together(store: Store) -> None:
    _kept(store, "root")
    failures: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for number in range(4):
                name = f"{thread} {number}"
                node_id = _kept(store, name, "root")
                assert _bytes(store, name) == [_payload("root", 4), _payload(name, 4)]
                _put(store, f"shared {number}", "root")
                if number % 2:
                    store.activations.drop([node_id])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(store.activations.nodes()) == 1 + 6 * 2 + 4
    assert {problem for _, problem in store.activations.verify()} == {None}
    assert _left(store) == (0, 0, 0)


def test_a_slice_of_another_model_is_a_bug(store: Store) -> None:
    _kept(store, "a")
    node = store.activations.chain(b"a")[0].node
    header = NodeHeader("other", "bfloat16", 1, 4, node.header.layers[:1])
    odd = Node(node.id, None, 0, header, 0, ())
    with pytest.raises(InternalError, match="different numbers of layers"):
        list(store.activations.read_chain([NodeSlice(node, 4), NodeSlice(odd, 4)]))
