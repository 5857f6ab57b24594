"""A process that dies at any step of a put or a drop leaves a store that opens and is right."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from memql.storage import durable
from memql.storage.activations import LayerHeader, NodeHeader
from memql.storage.store import Store
from memql.storage.tensors import Tensors, TensorsFailed

pytestmark = pytest.mark.slow

# Each step is a place where the child ends at once, as by SIGKILL: no handler runs.
_PUT_STEPS = ["intent", "appended", "synced", "publishing", "published"]
_DROP_STEPS = ["tombstone", "purged", "dropped"]

_CHILD = """
import os, sys
from pathlib import Path
import duckdb, lance, pyarrow
from memql.storage import activations, durable, tensors
from memql.storage.activations import Activations, LayerHeader, NodeHeader
from memql.storage.store import Store
from memql.storage.tensors import Tensors

shape = (1, 2, 4)
header = NodeHeader("m", "float32", 1, 2, (LayerHeader("full", shape, shape),) * 2)

def put(store, name, parent):
    payload = [((name * 32)[:32], (name.upper() * 32)[:32])] * 2
    return store.activations.put(header, parent, 0, [(name, 2)], [], payload, "a")

def die(*arguments, **named):
    os._exit(9)

def die_after(function):
    def wrapped(*arguments, **named):
        function(*arguments, **named)
        os._exit(9)
    return wrapped

def run(folder, step):
    store = Store.open(folder)
    root = put(store, b"root", None)
    child = put(store, b"child", b"root")
    if step == "intent":
        Tensors.append = die
    elif step == "appended":
        durable.sync_tree = die
    elif step == "synced":
        durable.sync_tree = die_after(durable.sync_tree)
    elif step == "publishing":
        activations._all_committed = die
    elif step == "published":
        Activations._publish = die_after(Activations._publish)
    elif step == "tombstone":
        Tensors.purge = die
    elif step == "purged":
        Tensors.purge = die_after(Tensors.purge)
    elif step == "dropped":
        Activations._purge = die_after(Activations._purge)
    if step in ("tombstone", "purged", "dropped"):
        store.activations.drop([child])
    else:
        put(store, b"other", None)

for step in sys.argv[2:]:
    pid = os.fork()
    if pid == 0:
        try:
            run(Path(sys.argv[1]) / step, step)
        finally:
            os._exit(1)
    status = os.waitpid(pid, 0)[1]
    assert os.waitstatus_to_exitcode(status) == 9, (step, status)
"""


@pytest.fixture(scope="module")
def crashes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one store for each step at which its process ended."""
    folder = tmp_path_factory.mktemp("crashed")
    subprocess.run(
        [sys.executable, "-c", _CHILD, str(folder), *_PUT_STEPS, *_DROP_STEPS], check=True
    )
    return folder


@pytest.fixture
def crashed(crashes: Path, tmp_path: Path) -> Path:
    """A copy of it: opening a store recovers it."""
    return Path(shutil.copytree(crashes, tmp_path / "crashed"))


def _found(store: Store) -> tuple[set[bytes], set[int], set[int], int]:
    """Known keys, nodes of the catalog, nodes of Lance, rows of unfinished work."""
    cursor = store.cursor()
    keys = {row[0] for row in cursor.execute("SELECT key FROM _memql.boundaries").fetchall()}
    nodes = {row[0] for row in cursor.execute("SELECT id FROM _memql.nodes").fetchall()}
    unfinished = cursor.execute(
        "SELECT (SELECT count(*) FROM _memql.intents) + (SELECT count(*) FROM _memql.tombstones)"
    ).fetchone()
    assert unfinished is not None
    rows = Tensors(store.folder / "activations.lance", False).node_ids()
    return keys, nodes, rows, unfinished[0]


def _whole(store: Store) -> bool:
    return all(problem is None for _, problem in store.activations.verify())


@pytest.mark.parametrize("step", _PUT_STEPS)
def test_a_put_that_crashed_is_there_whole_or_not_at_all(crashed: Path, step: str) -> None:
    store = Store.open(crashed / step)
    keys, nodes, rows, unfinished = _found(store)
    # Published is the one step after the pointer: the payload was on the disk before it.
    assert keys == {b"root", b"child"} | ({b"other"} if step == "published" else set())
    assert nodes == rows and unfinished == 0
    assert _whole(store)
    # The store goes on: the same node can be put again.
    store.activations.drop([node.id for node in store.activations.nodes()])
    assert _found(store) == (set(), set(), set(), 0)
    store.close()


@pytest.mark.parametrize("step", _DROP_STEPS)
def test_a_drop_that_crashed_is_finished(crashed: Path, step: str) -> None:
    store = Store.open(crashed / step)
    keys, nodes, rows, unfinished = _found(store)
    assert keys == {b"root"}
    assert nodes == rows and len(nodes) == 1 and unfinished == 0
    assert _whole(store)
    dropped = b"child" * 6
    folder = store.folder / "activations.lance"
    assert not any(dropped in path.read_bytes() for path in folder.rglob("*.lance"))
    store.close()


@pytest.mark.parametrize("step", ["intent", "appended", "synced", "publishing", "tombstone"])
def test_without_recovery_the_same_checks_fail(
    crashed: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(Store, "_recover", lambda self: None)
    store = Store.open(crashed / step)
    _, nodes, rows, unfinished = _found(store)
    assert unfinished == 1
    assert (nodes == rows) == (step == "intent")
    store.close()


def test_recovery_that_crashes_is_repeated(crashed: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def fail(self: Tensors, node_ids: list[int]) -> None:
        raise OSError("input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Tensors, "purge", fail)
        with pytest.raises(OSError, match="input/output"):
            Store.open(crashed / "synced")
    store = Store.open(crashed / "synced")
    keys, nodes, rows, unfinished = _found(store)
    assert keys == {b"root", b"child"} and nodes == rows and unfinished == 0
    store.close()


def test_what_lance_cannot_finish_now_does_not_keep_the_store_shut(
    crashed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def fail(self: Tensors, node_ids: list[int]) -> None:
        raise TensorsFailed("input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(Tensors, "purge", fail)
        store = Store.open(crashed / "synced")
        keys, _, _, unfinished = _found(store)
        assert keys == {b"root", b"child"} and unfinished == 1
        store.close()
    store = Store.open(crashed / "synced")
    assert _found(store)[3] == 0
    store.close()


def test_a_dataset_that_was_never_finished_is_removed(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s")
    store.cursor().execute("INSERT INTO _memql.intents VALUES (1, 'put', now())")
    store.close()
    half = tmp_path / "s" / "activations.lance" / "data"
    half.mkdir(parents=True)
    (half / "x.lance").write_bytes(b"half a file")
    store = Store.open(tmp_path / "s")
    assert not half.exists()
    assert _found(store) == (set(), set(), set(), 0)
    store.close()


def test_a_purge_is_on_the_disk_before_its_tombstone_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(tmp_path / "s")
    shape = (1, 2, 4)
    header = NodeHeader("m", "float32", 1, 2, (LayerHeader("full", shape, shape),))
    payload = [(bytes(32), bytes(32))]
    node_id = store.activations.put(header, None, 0, [(b"k", 2)], [], payload, "a")
    assert node_id is not None
    tombstones: list[int] = []
    sync_tree = durable.sync_tree

    def recorded(root: Path, synced: dict[Path, durable.Stamp]) -> None:
        sync_tree(root, synced)
        tombstones.append(_found(store)[3])

    monkeypatch.setattr(durable, "sync_tree", recorded)
    store.activations.drop([node_id])
    assert tombstones == [1, 1]  # before the old versions are removed, and after
    assert _found(store) == (set(), set(), set(), 0)
    store.close()


def test_recovery_sweeps_rows_of_unknown_origin(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s")
    data = Tensors(store.folder / "activations.lance", True)
    data.append(99, [b"nobody's"])
    store.cursor().execute("INSERT INTO _memql.intents VALUES (1, 'put', now())")
    assert _found(store)[2] == {99}
    store.close()
    store = Store.open(tmp_path / "s")
    assert _found(store) == (set(), set(), set(), 0)
    store.close()
