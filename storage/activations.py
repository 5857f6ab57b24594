"""The activation tree on disk: nodes are published, read, quarantined and dropped here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from memql.errors import InternalError, OperationalError
from memql.storage import audit
from memql.storage import payload as payloads
from memql.storage.nodes import (
    Boundary,
    DamagedNode,
    LayerHeader,
    Node,
    NodeGone,
    NodeHeader,
    NodeSlice,
)
from memql.storage.places import OpenFiles, Place
from memql.storage.tensors import Row, Tensors, TensorsFailed
from memql.storage.transaction import short_transaction
from memql.storage.tree import Tree

if TYPE_CHECKING:
    import duckdb
    from typing_extensions import Buffer

    from memql.storage.store import Store

__all__ = [
    "Activations",
    "Boundary",
    "DamagedNode",
    "LayerHeader",
    "Node",
    "NodeGone",
    "NodeHeader",
    "NodeSlice",
]

DATASET = "activations.lance"

# The engine acts here, not a user; the audit needs a name.
_ENGINE = "memql"


class Activations:
    """The nodes of one store's activation tree. Its methods may be called from any thread.

    Args:
        store: the store.
        folder: the store's folder.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._tensors = Tensors(folder / DATASET, store.durable)
        self._tree: Tree | None = None
        # Nodes in full, with their first Lance row, as they are asked for: parsing the headers
        # of all would make opening slow.
        self._details: dict[int, tuple[Node, int]] = {}

    def chain(self, key: bytes) -> tuple[NodeSlice, ...]:
        """The parts of nodes that make up the prefix which ends at a boundary, root first.

        Args:
            key: the boundary key.

        Raises:
            NodeGone: the tree does not find the key (any more).
        """
        links = self.tree.chain(key)
        if not links:
            raise NodeGone(f"boundary {key.hex()[:16]}")
        details = self._load([link.node for link in links])
        return tuple(NodeSlice(details[link.node][0], link.offset_tokens) for link in links)

    def nodes(self) -> list[Node]:
        """All live nodes, by their numbers."""
        with closing(self._store.cursor()) as cursor:
            rows = cursor.execute(f"{_SELECT_NODES} WHERE state = 'live' ORDER BY id").fetchall()
        return [_node(row)[0] for row in rows]

    def lineage_of(self, node_id: int) -> tuple[tuple[UUID, int], ...]:
        """The (memory id, version) pairs that a node was computed from.

        Args:
            node_id: the node.
        """
        with closing(self._store.cursor()) as cursor:
            rows = cursor.execute(
                "SELECT memory_id, version FROM _memql.lineage WHERE node = ? ORDER BY ALL",
                [node_id],
            ).fetchall()
        return tuple((memory_id, version) for memory_id, version in rows)

    def put(
        self,
        header: NodeHeader,
        parent: bytes | None,
        start_tokens: int,
        boundaries: Sequence[tuple[bytes, int]],
        lineage: Sequence[tuple[UUID, int]],
        payload: Iterable[tuple[Buffer, Buffer]],
        owner: str,
    ) -> int | None:
        """Keep a node for good: when this returns a number, the node outlives a crash.

        Args:
            header: shapes and model.
            parent: key of the boundary that the node continues; None at the root.
            start_tokens: tokens before its first one.
            boundaries: (key, offset in the node's own tokens) of each segment that ends in it.
            lineage: (memory id, version) of all rows that it was computed from.
            payload: K and V of each layer, contiguous, in the header's shapes and dtype; asked for
                one layer at a time.
            owner: whom it is charged to.

        Returns:
            the node's number; None if it may not or need not be kept: a row version of its
            lineage is not committed or was forgotten, its parent is gone, or all its
            boundaries are known already.

        Raises:
            OperationalError: the disk or the catalog failed; nothing of the node is kept.
            InternalError: payload or boundaries do not fit the header.
        """
        import duckdb

        payloads.check(header, boundaries)
        digests: list[bytes] = []
        with closing(self._store.cursor()) as cursor:
            node_id = self._intend(cursor, "put", "keep an activation")
            try:
                first_row = self._tensors.append(node_id, payloads.blobs(header, payload, digests))
                size = sum(sum(payloads.layer_bytes(header, layer)) for layer in header.layers)
                node = Node(node_id, parent, start_tokens, header, size, tuple(digests))
                published = self._publish(cursor, node, first_row, boundaries, lineage, owner)
            except BaseException:
                # If undoing fails too, the intent stays and the next opening rolls it back.
                with suppress(OperationalError, duckdb.Error):
                    self._withdraw(cursor, node_id)
                raise
            if not published:
                self._withdraw(cursor, node_id)
        return node_id if published else None

    def read(self, node: Node) -> Iterator[tuple[memoryview, memoryview]]:
        """K and V of a node's layers, in order, each verified before it is given out.

        Args:
            node: the node.

        Returns:
            for each layer read-only bytes of K and of V, in the header's shapes.

        Raises:
            DamagedNode: the stored bytes are not those that were written.
            NodeGone: the node was dropped.
        """
        for layer in self.read_chain([NodeSlice(node, node.header.tokens)]):
            yield layer[0]

    def read_chain(
        self, slices: Sequence[NodeSlice]
    ) -> Iterator[tuple[tuple[memoryview, memoryview], ...]]:
        """K and V of several nodes, layer by layer, each verified before it is given out.

        A slice's bytes are those of its whole node: its tokens lie apart in each head, and the
        digest covers them all.

        Args:
            slices: a chain, root first, as `chain` gives it.

        Returns:
            for each layer: read-only bytes of K and of V of each slice in order. They lie in memory
            that the next layer is read into.

        Raises:
            DamagedNode: the stored bytes of a node are not those that were written.
            NodeGone: a node was dropped.
        """
        if not slices:
            return
        nodes = [part.node for part in slices]
        details = self._load([node.id for node in nodes])
        headers = [node.header.to_json().encode() for node in nodes]
        layers = len(nodes[0].header.layers)
        if any(len(node.header.layers) != layers for node in nodes):
            raise InternalError("a chain has nodes of models with different numbers of layers")
        rows = [
            Row(details[node.id][1] + layer, sum(payloads.layer_bytes(node.header, shape)))
            for node in nodes
            for layer, shape in enumerate(node.header.layers)
        ]
        places = self._places(rows)
        size = max(sum(row.bytes for row in rows[layer::layers]) for layer in range(layers))
        with OpenFiles() as files:
            room = memoryview(bytearray(size))
            for layer in range(layers):
                found, start = [], 0
                for number, node in enumerate(nodes):
                    row, place = rows[number * layers + layer], places[number * layers + layer]
                    blob = room[start : start + row.bytes]
                    start += row.bytes
                    read = place is not None and files.read_into(place, blob)
                    if not read or not payloads.is_sound(node, headers[number], layer, blob):
                        # The files may have been replaced. Lance knows, and what it gives counts.
                        blob = memoryview(self._read_row(node, row))
                        payloads.verify(node, headers[number], layer, blob)
                    found.append(payloads.halves(node.header, layer, blob))
                yield tuple(found)

    def verify(self) -> Iterator[tuple[Node, str | None]]:
        """Read every live node and say what is wrong with it; None if nothing is."""
        for node in self.nodes():
            try:
                for _ in self.read(node):
                    continue
            except NodeGone:
                continue
            except DamagedNode as error:
                yield node, error.message
            else:
                yield node, None

    def stored(self) -> set[int]:
        """The numbers of all nodes that have bytes, live or not."""
        return self._tensors.node_ids()

    def quarantine(self, node_id: int, reason: str) -> None:
        """Take a damaged node out of use; nodes that continue it cannot be reached until the
        same boundary has been computed again.

        Args:
            node_id: the node; nothing happens if it is not live (any more).
            reason: for the audit.
        """
        with self._store.commit_lock, closing(self._store.cursor()) as cursor:
            tree = self.tree
            if not tree.is_live(node_id):
                return
            with self._mirrored(), short_transaction(cursor, f"quarantine node {node_id}"):
                cursor.execute(
                    "UPDATE _memql.nodes SET state = 'quarantined', reason = ? WHERE id = ?",
                    [reason, node_id],
                )
                cursor.execute("DELETE FROM _memql.boundaries WHERE node = ?", [node_id])
                audit.append(cursor, _ENGINE, "quarantine", f"node {node_id}", {"reason": reason})
            self._forget(tree, [node_id])

    def drop(self, node_ids: Sequence[int]) -> None:
        """Remove nodes and all that continue them, bytes included.

        Args:
            node_ids: which; those that are not there are passed over.

        Raises:
            OperationalError: the disk or the catalog failed; the next opening finishes it.
        """
        with closing(self._store.cursor()) as cursor:
            with self._store.commit_lock:
                tree = self.tree
                dropped = tree.descendants(node_ids)
                with self._mirrored(), short_transaction(cursor, f"drop {len(dropped)} nodes"):
                    cursor.execute(
                        "INSERT INTO _memql.tombstones SELECT id, 'drop', now() FROM _memql.nodes"
                        " WHERE id IN (SELECT unnest($1::BIGINT[])) RETURNING node",
                        [dropped],
                    )
                    # Only nodes: a number may also be that of a put under way.
                    dropped = [row[0] for row in cursor.fetchall()]
                    for table, column in _NODE_TABLES:
                        cursor.execute(
                            f"DELETE FROM _memql.{table} WHERE {column} IN"
                            " (SELECT unnest($1::BIGINT[]))",
                            [dropped],
                        )
                self._forget(tree, dropped)
            if dropped:
                self._purge(cursor, dropped)

    def compact(self) -> None:
        """Merge the small files that single puts have left into large ones.

        Raises:
            OperationalError: the disk or the catalog failed; the next opening sweeps what is left.
        """
        with self._store.commit_lock, closing(self._store.cursor()) as cursor:
            number = self._intend(cursor, "compact", "compact the activations")
            self._tensors.compact()
            self._finish(cursor, [number])

    def recover(self) -> None:
        """Finish what a crash left: roll back intents, finish tombstones, sweep orphans.

        Called at opening, before anything else uses the store. Every write to Lance lies between
        an intent or a tombstone and its removal, so without them there is nothing to sweep.

        Raises:
            OperationalError: the disk or the catalog failed.
        """
        with closing(self._store.cursor()) as cursor:
            left = cursor.execute(
                "SELECT node FROM _memql.intents UNION SELECT node FROM _memql.tombstones"
            ).fetchall()
            kept = {row[0] for row in cursor.execute("SELECT id FROM _memql.nodes").fetchall()}
            if kept:
                self._tensors.repair()
            else:
                # Its only version may be one that never reached the disk.
                self._tensors.remove()
            orphans = self._tensors.node_ids() - kept
            self._purge(cursor, sorted(orphans.union(row[0] for row in left)))

    @contextmanager
    def _mirrored(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            # An error can follow a commit that was durable all the same (a full disk).
            self._tree = None
            raise

    @property
    def tree(self) -> Tree:
        """The mirror of all nodes in memory."""
        tree = self._tree
        if tree is None:
            # Under the commit lock no node can be published between the query and the mirror.
            with self._store.commit_lock:
                if self._tree is None:
                    self._tree = self._load_tree()
                tree = self._tree
        return tree

    def _load_tree(self) -> Tree:
        with closing(self._store.cursor()) as cursor:
            nodes = cursor.execute(
                "SELECT id, parent, bytes FROM _memql.nodes WHERE state = 'live'"
            ).fetchall()
            boundaries = cursor.execute(
                "SELECT key, node, offset_tokens FROM _memql.boundaries"
            ).fetchall()
        return Tree(nodes, (Boundary(*row) for row in boundaries))

    def _load(self, node_ids: Sequence[int]) -> dict[int, tuple[Node, int]]:
        found = {n: self._details[n] for n in node_ids if n in self._details}
        missing = [n for n in node_ids if n not in found]
        if missing:
            with closing(self._store.cursor()) as cursor:
                rows = cursor.execute(
                    f"{_SELECT_NODES} WHERE state = 'live' AND id IN (SELECT unnest($1::BIGINT[]))",
                    [missing],
                ).fetchall()
            found.update({row[0]: _node(row) for row in rows})
            self._details.update({n: found[n] for n in missing if n in found})
        for node_id in node_ids:
            if node_id not in found or not self.tree.is_live(node_id):
                self._details.pop(node_id, None)
                raise NodeGone(f"node {node_id}")
        return found

    def _places(self, rows: Sequence[Row]) -> list[Place | None]:
        try:
            return self._tensors.places(rows)
        except TensorsFailed:
            return [None] * len(rows)  # each is read, and told about, by itself

    def _read_row(self, node: Node, row: Row) -> bytes:
        try:
            return self._tensors.read(row)
        except TensorsFailed as error:
            if not self.tree.is_live(node.id):
                raise NodeGone(f"node {node.id}") from error
            raise DamagedNode(node.id, error.message) from error

    def _intend(self, cursor: duckdb.DuckDBPyConnection, kind: str, asked: str) -> int:
        with short_transaction(cursor, asked):
            row = cursor.execute(
                "INSERT INTO _memql.intents SELECT nextval('_memql.node_ids'), ?, now()"
                " RETURNING node",
                [kind],
            ).fetchone()
        assert row is not None, "RETURNING gives a row"
        return int(row[0])

    def _publish(
        self,
        cursor: duckdb.DuckDBPyConnection,
        node: Node,
        first_row: int,
        boundaries: Sequence[tuple[bytes, int]],
        lineage: Sequence[tuple[UUID, int]],
        owner: str,
    ) -> bool:
        with self._store.commit_lock:
            tree = self.tree
            # One that another node answers already stays there: both hold the same numbers.
            new = [Boundary(key, node.id, at) for key, at in boundaries if key not in tree]
            if not new or (node.parent is not None and tree.find(node.parent) is None):
                return False
            pairs = list(dict.fromkeys(lineage))
            with short_transaction(cursor, f"publish node {node.id}"):
                if not _all_committed(cursor, pairs):
                    return False
                cursor.execute(
                    "INSERT INTO _memql.nodes (id, parent, start_tokens, header, first_row,"
                    " bytes, digests, owner, state, created_at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?::BLOB[], ?, 'live', now())",
                    [
                        node.id,
                        node.parent,
                        node.start_tokens,
                        node.header.to_json(),
                        first_row,
                        node.bytes,
                        list(node.digests),
                        owner,
                    ],
                )
                cursor.execute(
                    "INSERT INTO _memql.boundaries SELECT unnest($1::BLOB[]), $2,"
                    " unnest($3::INTEGER[])",
                    [[b.key for b in new], node.id, [b.offset_tokens for b in new]],
                )
                cursor.execute(
                    "INSERT INTO _memql.lineage SELECT $1, unnest($2::UUID[]),"
                    " unnest($3::BIGINT[])",
                    [node.id, [pair[0] for pair in pairs], [pair[1] for pair in pairs]],
                )
                cursor.execute("DELETE FROM _memql.intents WHERE node = ?", [node.id])
            self._details[node.id] = (node, first_row)
            tree.add(node.id, node.parent, node.bytes, new)
            return True

    def _withdraw(self, cursor: duckdb.DuckDBPyConnection, node_id: int) -> None:
        with self._store.commit_lock:
            intent = cursor.execute(
                "SELECT 1 FROM _memql.intents WHERE node = ?", [node_id]
            ).fetchone()
            if intent is None:
                # An error followed a commit that was durable all the same (a full disk): the
                # node is live, and the mirror does not know it.
                self._tree = None
                return
        self._purge(cursor, [node_id])

    def _purge(self, cursor: duckdb.DuckDBPyConnection, node_ids: Sequence[int]) -> None:
        self._tensors.purge(node_ids)
        self._finish(cursor, node_ids)

    def _finish(self, cursor: duckdb.DuckDBPyConnection, node_ids: Sequence[int]) -> None:
        with short_transaction(cursor, f"finish the work on {len(node_ids)} nodes"):
            for table in ("intents", "tombstones"):
                cursor.execute(
                    f"DELETE FROM _memql.{table} WHERE node IN (SELECT unnest($1::BIGINT[]))",
                    [list(node_ids)],
                )

    def _forget(self, tree: Tree, node_ids: Sequence[int]) -> None:
        for node_id in node_ids:
            tree.remove(node_id)
            self._details.pop(node_id, None)


_SELECT_NODES = (
    "SELECT id, parent, start_tokens, header, bytes, digests, first_row FROM _memql.nodes"
)

_NODE_TABLES = (("nodes", "id"), ("boundaries", "node"), ("lineage", "node"))


def _node(row: tuple[int, bytes | None, int, str, int, list[bytes], int]) -> tuple[Node, int]:
    node_id, parent, start_tokens, header, size, digests, first_row = row
    parsed = NodeHeader.from_json(header)
    return Node(node_id, parent, start_tokens, parsed, size, tuple(digests)), first_row


def _all_committed(cursor: duckdb.DuckDBPyConnection, pairs: Sequence[tuple[UUID, int]]) -> bool:
    missing = cursor.execute(
        """
        SELECT count(*) FROM (
            SELECT unnest($1::UUID[]) AS id, unnest($2::BIGINT[]) AS version
        ) AS asked ANTI JOIN _memql.versions USING (id, version)
        """,
        [[pair[0] for pair in pairs], [pair[1] for pair in pairs]],
    ).fetchone()
    return missing == (0,)
