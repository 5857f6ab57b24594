"""The bytes of a node: their sizes, their digests, and how K and V lie in a blob."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING

from memql.errors import InternalError
from memql.storage.nodes import DamagedNode, LayerHeader, Node, NodeHeader

if TYPE_CHECKING:
    from typing_extensions import Buffer

DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2, "int8": 1, "uint8": 1}


def layer_bytes(header: NodeHeader, layer: LayerHeader) -> tuple[int, int]:
    """The sizes of K and of V of one layer.

    Args:
        header: of the node.
        layer: one of its layers.

    Raises:
        InternalError: the header's dtype is not one that a node may have.
    """
    if header.dtype not in DTYPE_BYTES:
        raise InternalError(
            f"a node of dtype {header.dtype!r} was asked for",
            hint=f"Known are {', '.join(DTYPE_BYTES)}.",
        )
    each = DTYPE_BYTES[header.dtype]
    return prod(layer.key_shape) * each, prod(layer.value_shape) * each


def check(header: NodeHeader, boundaries: Sequence[tuple[bytes, int]]) -> None:
    """Refuse a node whose parts do not fit each other.

    Args:
        header: shapes and dtype.
        boundaries: (key, offset in tokens), in the order of their offsets.

    Raises:
        InternalError: they do not.
    """
    for index, layer in enumerate(header.layers):
        if not layer.key_shape[1] == layer.value_shape[1] == header.tokens:
            raise InternalError(f"layer {index} of a node has not its {header.tokens} tokens")
        layer_bytes(header, layer)
    offsets = [offset for _, offset in boundaries]
    if not offsets or offsets != sorted(set(offsets)) or offsets[0] < 1:
        raise InternalError(f"the boundaries of a node are at {offsets}: they must ascend from 1")
    if offsets[-1] != header.tokens:
        raise InternalError(
            f"the last boundary of a node of {header.tokens} tokens is at {offsets[-1]}"
        )


def blobs(
    header: NodeHeader, payload: Iterable[tuple[Buffer, Buffer]], digests: list[bytes]
) -> Iterator[bytes]:
    """K and V of each layer in one piece, a layer at a time.

    Args:
        header: of the node.
        payload: K and V of each layer; asked for one by one, so that not all are copied at once.
        digests: each layer's digest is added to it when the layer is taken.

    Raises:
        InternalError: a layer is missing, left over, or not of the size that the header says.
    """
    text = header.to_json().encode()
    for number, (key, value) in enumerate(payload):
        if number == len(header.layers):
            raise InternalError(f"a node of {number} layers came with more of payload")
        found = memoryview(key).nbytes, memoryview(value).nbytes
        expected = layer_bytes(header, header.layers[number])
        if found != expected:
            raise InternalError(
                f"layer {number} of a node came with {found} bytes of K and V; its shapes and "
                f"{header.dtype} make {expected}"
            )
        blob = b"".join((memoryview(key).cast("B"), memoryview(value).cast("B")))
        digests.append(digest(text, number, blob))
        yield blob
    if len(digests) < len(header.layers):
        raise InternalError(
            f"a node of {len(header.layers)} layers came with {len(digests)} of payload"
        )


def is_sound(node: Node, header: bytes, layer: int, blob: Buffer) -> bool:
    """Tell whether the bytes of a layer are what was written.

    Args:
        node: the node.
        header: its header's JSON.
        layer: which layer.
        blob: what was read.
    """
    return digest(header, layer, blob) == node.digests[layer]


def verify(node: Node, header: bytes, layer: int, blob: Buffer) -> None:
    """Refuse bytes of a layer that are not what was written; arguments as of `is_sound`.

    Raises:
        DamagedNode: the digest is another one.
    """
    if not is_sound(node, header, layer, blob):
        raise DamagedNode(node.id, f"the digest of layer {layer} does not match its bytes")


def halves(header: NodeHeader, layer: int, blob: memoryview) -> tuple[memoryview, memoryview]:
    """K and V of a layer, read-only.

    Args:
        header: of the node.
        layer: which layer.
        blob: the bytes of both.
    """
    key_bytes, _ = layer_bytes(header, header.layers[layer])
    view = blob.toreadonly()
    return view[:key_bytes], view[key_bytes:]


def digest(header: bytes, layer: int, blob: Buffer) -> bytes:
    """xxh3_128 over header, layer number, K and V: 16 bytes.

    Args:
        header: the header's JSON: the same bytes in other shapes are another payload.
        layer: swapped layers are noticed by it.
        blob: K and V.
    """
    import xxhash

    state = xxhash.xxh3_128(header)
    state.update(layer.to_bytes(4, "little"))
    state.update(blob)
    return state.digest()
