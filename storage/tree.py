"""The activation tree in memory: a mirror of `nodes` and `boundaries` for lookups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memql.storage.nodes import Boundary

_NOWHERE = b""  # no boundary has an empty key


class Tree:
    """Which boundary leads to which node, and which node continues which boundary.

    Lookups need no lock; whoever changes the tree holds the store's commit lock.

    Args:
        nodes: (id, parent key, bytes) of every live node.
        boundaries: all boundaries of those nodes.
    """

    def __init__(
        self, nodes: Iterable[tuple[int, bytes | None, int]], boundaries: Iterable[Boundary]
    ) -> None:
        self._parents: dict[int, bytes | None] = {}
        self._bytes: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._children: dict[bytes, set[int]] = {}
        self._boundaries: dict[bytes, Boundary] = {}
        self._keys: dict[int, list[bytes]] = {}
        for node_id, parent, size in nodes:
            self._add_node(node_id, parent, size)
        for boundary in boundaries:
            self._add_boundary(boundary)

    def __contains__(self, key: bytes) -> bool:
        """Whether a boundary has this key, reachable or not."""
        return key in self._boundaries

    def find(self, key: bytes) -> Boundary | None:
        """The boundary of a key, if its whole chain is there.

        Args:
            key: the boundary key.
        """
        return self._boundaries.get(key) if self.chain(key) else None

    def continues(self, key: bytes) -> bool:
        """Whether a segment behind a boundary is stored, in its node or in one that continues it.

        Args:
            key: the boundary key.
        """
        boundary = self._boundaries.get(key)
        if boundary is None:
            return False
        return key in self._children or boundary.offset_tokens < self._ends.get(boundary.node, 0)

    def chain(self, key: bytes) -> list[Boundary]:
        """The boundaries whose nodes make up a prefix, root first; empty if it is not whole.

        Args:
            key: key of the prefix's last boundary.
        """
        found: list[Boundary] = []
        at: bytes | None = key
        while at is not None:
            boundary = self._boundaries.get(at)
            if boundary is None:
                return []
            found.append(boundary)
            # Another thread may drop the node right here: then the key leads nowhere either.
            at = self._parents.get(boundary.node, _NOWHERE)
        found.reverse()
        return found

    def links(self, key: bytes) -> list[tuple[Boundary, int]]:
        """The chain of a key, each boundary with the bytes of its node.

        Args:
            key: key of the prefix's last boundary.
        """
        return [(link, self._bytes.get(link.node, 0)) for link in self.chain(key)]

    def is_live(self, node_id: int) -> bool:
        """Whether a node is neither quarantined nor dropped.

        Args:
            node_id: which.
        """
        return node_id in self._parents

    def descendants(self, node_ids: Iterable[int]) -> list[int]:
        """Some nodes and all that continue them, each once.

        Args:
            node_ids: where to begin; may be quarantined ones.
        """
        found = dict.fromkeys(node_ids)
        waiting = list(found)
        while waiting:
            for key in self._keys.get(waiting.pop(), ()):
                for child in self._children.get(key, ()):
                    if child not in found:
                        found[child] = None
                        waiting.append(child)
        return list(found)

    def add(
        self, node_id: int, parent: bytes | None, size: int, boundaries: Sequence[Boundary]
    ) -> None:
        """Put a node into the tree.

        Args:
            node_id: the node.
            parent: key of the boundary it continues; None at the root.
            size: its bytes.
            boundaries: those that lead to it.
        """
        self._add_node(node_id, parent, size)
        for boundary in boundaries:
            self._add_boundary(boundary)

    def remove(self, node_id: int) -> None:
        """Take a node and its boundaries out; what continues it cannot be reached until the same
        boundary is there again.

        Args:
            node_id: the node; nothing happens if it is not there.
        """
        for key in self._keys.pop(node_id, ()):
            self._boundaries.pop(key, None)
        self._bytes.pop(node_id, None)
        self._ends.pop(node_id, None)
        parent = self._parents.pop(node_id, None)
        if parent is not None:
            self._children[parent].discard(node_id)
            if not self._children[parent]:
                del self._children[parent]

    def _add_node(self, node_id: int, parent: bytes | None, size: int) -> None:
        self._parents[node_id] = parent
        self._bytes[node_id] = size
        if parent is not None:
            self._children.setdefault(parent, set()).add(node_id)

    def _add_boundary(self, boundary: Boundary) -> None:
        self._boundaries[boundary.key] = boundary
        self._keys.setdefault(boundary.node, []).append(boundary.key)
        end = self._ends.get(boundary.node, 0)
        self._ends[boundary.node] = max(end, boundary.offset_tokens)
