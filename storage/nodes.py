"""Nodes of the activation tree, as values."""

from __future__ import annotations

import json
from dataclasses import dataclass

from memql.errors import OperationalError

Key = bytes  # of a boundary; also keeps `bytes`, the size of a node, apart from the type
Digest = bytes


class DamagedNode(OperationalError):
    """The stored bytes of a node are not those that were written.

    Args:
        node_id: which node.
        found: what is wrong with it.
    """

    def __init__(self, node_id: int, found: str) -> None:
        super().__init__(
            f"node {node_id} of the activation tree is damaged: {found}",
            hint="It is rebuilt from text; check the disk.",
            code="XX001",
        )
        self.node_id = node_id


class NodeGone(OperationalError):
    """A node was dropped, or cannot be reached any more, while a query was about to use it.

    Args:
        what: which node or boundary.
    """

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} of the activation tree is no longer there",
            hint="Run the statement again: it is computed from text.",
            code="40001",
        )


@dataclass(frozen=True)
class LayerHeader:
    """The shape of one layer's part of a node.

    Args:
        kind: what the layer is to the model's cache, such as "full" or "sliding".
        key_shape: of K: kv heads, tokens, head dimension.
        value_shape: of V, likewise.
    """

    kind: str
    key_shape: tuple[int, int, int]
    value_shape: tuple[int, int, int]


@dataclass(frozen=True)
class NodeHeader:
    """What a reader needs to know before the bytes of a node mean anything.

    Args:
        model: digest of the model, everything that decides its numbers included.
        dtype: of each number, such as "bfloat16".
        layout: version of the order of the numbers.
        tokens: the node's own tokens, without those of its parents.
        layers: one for each layer of the model, in order.
    """

    model: str
    dtype: str
    layout: int
    tokens: int
    layers: tuple[LayerHeader, ...]

    def to_json(self) -> str:
        """The one text of this header: equal headers give equal texts, and digests."""
        return json.dumps(
            {
                "model": self.model,
                "dtype": self.dtype,
                "layout": self.layout,
                "tokens": self.tokens,
                "layers": [
                    [layer.kind, list(layer.key_shape), list(layer.value_shape)]
                    for layer in self.layers
                ],
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> NodeHeader:
        """Read back what `to_json` wrote.

        Args:
            text: the text of a header.
        """
        found = json.loads(text)
        layers = tuple(
            LayerHeader(kind, (k[0], k[1], k[2]), (v[0], v[1], v[2]))
            for kind, k, v in found["layers"]
        )
        return cls(found["model"], found["dtype"], found["layout"], found["tokens"], layers)


@dataclass(frozen=True)
class Node:
    """One node of the activation tree: the KV of one or more consecutive segments.

    Args:
        id: its number in the catalog.
        parent: key of the boundary it continues; None at the root.
        start_tokens: tokens before its first one, the head included.
        header: shapes and model.
        bytes: of K and V of all layers.
        digests: one for each layer, over header, layer number, K and V.
    """

    id: int
    parent: Key | None
    start_tokens: int
    header: NodeHeader
    bytes: int
    digests: tuple[Digest, ...]


@dataclass(frozen=True)
class Boundary:
    """The end of a segment inside a node.

    Args:
        key: the boundary key.
        node: the node's number.
        offset_tokens: the node's own tokens up to and including the segment.
    """

    key: Key
    node: int
    offset_tokens: int


@dataclass(frozen=True)
class NodeSlice:
    """The first tokens of a node, as one link of a chain.

    Args:
        node: the node.
        take_tokens: how many of its own tokens belong to the chain.
    """

    node: Node
    take_tokens: int
