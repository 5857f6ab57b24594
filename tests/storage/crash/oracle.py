"""Whether a store that was opened again holds what was acknowledged, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import lance

import memql
from memql.storage import audit
from memql.storage.store import Store
from memql.storage.tensors import Tensors
from tests.storage.crash.work import Expected, Operation, Version, payload


class Violation(AssertionError):
    """A store does not hold what was acknowledged."""


@dataclass
class Read:
    """What was read to find out.

    Args:
        rows: of memories and of their versions.
        nodes: of the activation tree.
        bytes: of nodes.
    """

    rows: int = 0
    nodes: int = 0
    bytes: int = 0

    def add(self, other: Read) -> None:
        """Count another one in.

        Args:
            other: it.
        """
        self.rows += other.rows
        self.nodes += other.nodes
        self.bytes += other.bytes


def settle(
    folder: Path, expected: Expected, pending: Iterable[Operation], check_nodes: bool = True
) -> Read:
    """Open a store after a crash, check it, and note which pending operations it holds.

    Args:
        folder: the store.
        expected: what was acknowledged; operations that turn out to be done are added.
        pending: those that had begun, at most one of each lane: done as a whole, or not at all.
        check_nodes: whether the nodes are known one by one, too.

    Raises:
        Violation: it does not hold what it should.
    """
    try:
        store = Store.open(folder)
    except memql.Error as error:
        raise Violation(f"the store does not open: {error}") from error
    try:
        with memql.connect(folder) as connection:
            answers = connection.execute("SELECT source, content FROM memories").fetchall()
        with closing(store.cursor()) as cursor:
            if (broken := audit.first_broken(cursor)) is not None:
                raise Violation(f"row {broken} of the audit is broken")
        read = Read()
        _settle_memories(store, expected, pending, read)
        active = {name: expected.memories[name][-1][0] for name in expected.alive()}
        _same("what a query answers", dict(answers), active)
        if len(answers) != len(active):
            raise Violation(f"{len(answers)} rows where {len(active)} memories are")
        if check_nodes:
            _settle_nodes(store, expected, pending)
        _check_payloads(store, read, known=check_nodes)
        _check_leftovers(store, expected)
        return read
    except memql.Error as error:
        raise Violation(f"what is there cannot be read: {error}") from error
    finally:
        store.close()


def _settle_memories(
    store: Store, expected: Expected, pending: Iterable[Operation], read: Read
) -> None:
    with closing(store.cursor()) as cursor:
        rows = cursor.execute(
            "SELECT source, content, state, version FROM _memql.versions ORDER BY version"
        ).fetchall()
        newest = cursor.execute(
            "SELECT source, content, state FROM _memql.memories ORDER BY id"
        ).fetchall()
        numbers = cursor.execute("SELECT number FROM _memql.commits ORDER BY number").fetchall()
    found: dict[str, list[Version]] = {}
    for name, content, state, _ in rows:
        found.setdefault(name, []).append((content, state))
    for operation in pending:
        if operation.lane == "memories":
            after = copy.deepcopy(expected)
            after.apply(operation)
            if found == after.memories:
                expected.apply(operation)
    _same("the versions of memories", found, expected.memories)
    last = {name: (content, state) for name, content, state in newest}
    _same("the newest versions", last, {name: each[-1] for name, each in found.items()})
    _same("the commits", [number for (number,) in numbers], list(range(1, expected.commits + 1)))
    _same("the commits of versions", {row[3] for row in rows}, {number for (number,) in numbers})
    read.rows += len(rows) + len(newest)


def _settle_nodes(store: Store, expected: Expected, pending: Iterable[Operation]) -> None:
    activations = store.activations
    found = {
        node.header.model and _key_of(store, node.id): node.parent.decode() if node.parent else None
        for node in activations.nodes()
    }
    for operation in pending:
        if operation.lane == "nodes":
            after = copy.deepcopy(expected)
            after.apply(operation)
            if found == after.nodes:
                expected.apply(operation)
            elif operation.puts:
                expected.dropped.add(operation.puts[0])
    _same("the nodes", found, expected.nodes)
    for key in found:
        if activations.tree.find(key.encode()) is None:
            raise Violation(f"node {key} is not found")


def _key_of(store: Store, node_id: int) -> str:
    with closing(store.cursor()) as cursor:
        keys = cursor.execute(
            "SELECT key FROM _memql.boundaries WHERE node = ?", [node_id]
        ).fetchall()
    if len(keys) != 1:
        raise Violation(f"node {node_id} has {len(keys)} boundaries")
    return str(keys[0][0].decode())


def _check_payloads(store: Store, read: Read, *, known: bool) -> None:
    activations = store.activations
    for node, problem in activations.verify():
        if problem is not None:
            raise Violation(f"a live pointer without its payload: {problem}")
        if known:
            key = _key_of(store, node.id)
            found = [(bytes(k), bytes(v)) for k, v in activations.read(node)]
            if found != payload(key):
                raise Violation(f"node {key} has other bytes than were put")
        read.nodes += 1
        read.bytes += node.bytes
    with closing(store.cursor()) as cursor:
        lost = cursor.execute(
            "SELECT count(*) FROM _memql.lineage ANTI JOIN _memql.versions"
            " ON memory_id = id AND lineage.version = versions.version"
        ).fetchall()
    _same("lineage without its version", lost, [(0,)])


def _check_leftovers(store: Store, expected: Expected) -> None:
    with closing(store.cursor()) as cursor:
        unfinished = cursor.execute(
            "SELECT (SELECT count(*) FROM _memql.intents), (SELECT count(*) FROM _memql.tombstones)"
        ).fetchall()
        nodes = {row[0] for row in cursor.execute("SELECT id FROM _memql.nodes").fetchall()}
    _same("intents and tombstones", unfinished, [(0, 0)])
    folder = store.folder / "activations.lance"
    _same("the nodes in Lance", Tensors(folder, False).node_ids(), nodes)
    files = {path for path in folder.rglob("*") if path.is_file()}
    made = Tensors(folder, False).exists
    fragments = lance.dataset(str(folder)).get_fragments() if made else []
    named = {folder / "data" / file.path for each in fragments for file in each.data_files()}
    _same("the data files", {path for path in files if path.suffix == ".lance"}, named)
    whole = b"".join(path.read_bytes() for path in files)
    for key in expected.dropped:
        if any(part in whole for layer in payload(key) for part in layer):
            raise Violation(f"the bytes of {key}, which is gone, are still there")


def _same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Violation(f"{what}: found {found}, where {wanted} was acknowledged")
