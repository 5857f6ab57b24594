"""The protocol with one of its parts missing: the harness must notice each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING
from uuid import UUID

from memql.storage import payload as payloads
from memql.storage import transaction
from memql.storage.activations import Activations, Node, NodeHeader
from memql.storage.store import Store
from tests.storage.crash.steps import Patch

if TYPE_CHECKING:
    import duckdb
    from typing_extensions import Buffer

_POINTER = "a live pointer without its payload"
_LEFT = "intents and tombstones"
_ROWS = "the nodes in Lance"

# Each mutant with the steps at which a crash shows it, and what then is wrong.
MUTANTS: dict[str, dict[str, str]] = {
    "pointer first": {"put.writing": _POINTER, "put.unsynced": _POINTER},
    "no recovery": {
        "put.unsynced": _LEFT,
        "put.publishing": _LEFT,
        "drop.tombstoned": _LEFT,
        "compact.synced": _LEFT,
    },
    "no tombstone": {"drop.tombstoned": _ROWS, "drop.synced": "the data files"},
    "no intent": {"put.unsynced": _ROWS, "put.publishing": _ROWS},
    "no versions": {"write.noted": "the versions of memories"},
}


def break_protocol(mutant: str, patch: Patch) -> None:
    """Leave one part of the protocol out.

    Args:
        mutant: a key of MUTANTS.
        patch: sets an attribute of an object; `setattr`, or what undoes it later.
    """
    if mutant == "pointer first":
        patch(Activations, "put", _pointer_first)
    elif mutant == "no recovery":
        patch(Store, "_recover", lambda store: None)
    elif mutant == "no tombstone":
        patch(Activations, "drop", _without_tombstone)
    elif mutant == "no intent":
        patch(Activations, "_intend", _without_intent)
    elif mutant == "no versions":
        patch(transaction, "_COPY_VERSIONS", f"{transaction._COPY_VERSIONS} AND false")
    else:
        raise KeyError(mutant)


def _pointer_first(
    self: Activations,
    header: NodeHeader,
    parent: bytes | None,
    start_tokens: int,
    boundaries: Sequence[tuple[bytes, int]],
    lineage: Sequence[tuple[UUID, int]],
    payload: Sequence[tuple[Buffer, Buffer]],
    owner: str,
) -> int | None:
    digests: list[bytes] = []
    blobs = list(payloads.blobs(header, payload, digests))
    with closing(self._store.cursor()) as cursor:
        node_id = self._intend(cursor, "put", "keep an activation")
        size = sum(map(len, blobs))
        node = Node(node_id, parent, start_tokens, header, size, tuple(digests))
        published = self._publish(cursor, node, -1, boundaries, lineage, owner)
        first_row = self._tensors.append(node_id, blobs)
        cursor.execute("UPDATE _memql.nodes SET first_row = ? WHERE id = ?", [first_row, node_id])
        self._details.pop(node_id)
    return node_id if published else None


def _without_tombstone(self: Activations, node_ids: Sequence[int]) -> None:
    with self._store.commit_lock, closing(self._store.cursor()) as cursor:
        tree = self.tree
        dropped = tree.descendants(node_ids)
        cursor.execute("BEGIN")
        for table, column in (("nodes", "id"), ("boundaries", "node"), ("lineage", "node")):
            cursor.execute(
                f"DELETE FROM _memql.{table} WHERE {column} IN (SELECT unnest($1::BIGINT[]))",
                [dropped],
            )
        cursor.execute("COMMIT")
        self._forget(tree, dropped)
        self._tensors.purge(dropped)


def _without_intent(
    self: Activations, cursor: duckdb.DuckDBPyConnection, kind: str, asked: str
) -> int:
    found = cursor.execute("SELECT nextval('_memql.node_ids')").fetchall()
    return int(found[0][0])
