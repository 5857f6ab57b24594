"""Memory for the keys and values of requests, used again by the next one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import prod

import torch

from memql.engine.model.layer import InPlaceLayer, LayerShape

# Touching new memory for the first time costs more than reading the bytes that go into it: on a
# virtual machine 117 MB took 80 ms to touch and 13 ms to read from the page cache.
_MOST_SPARE_BYTES = 1 << 30

_ALIGNMENT_BYTES = 64

_lock = threading.Lock()
_spare: list[torch.Tensor] = []


class Room:
    """The memory of one request's layers; given back when nothing refers to the room any more.

    On a GPU torch keeps freed memory itself; on a CPU it returns it to the system, which hands it
    out again zeroed and page by page.

    Args:
        size_bytes: how much.
        device: where.
    """

    def __init__(self, size_bytes: int, device: torch.device) -> None:
        self.memory = _take(size_bytes) if device.type == "cpu" else None
        if self.memory is None:
            self.memory = torch.empty(size_bytes, dtype=torch.uint8, device=device)

    def __del__(self) -> None:
        memory = getattr(self, "memory", None)
        if memory is not None and memory.device.type == "cpu":
            _give(memory)


def _take(size_bytes: int) -> torch.Tensor | None:
    """Return spare memory of at least so many bytes, and not many more, or None."""
    with _lock:
        fitting = [one for one in _spare if size_bytes <= one.numel() <= 2 * size_bytes]
        if not fitting:
            return None
        chosen = min(fitting, key=torch.Tensor.numel)
        _spare[:] = [one for one in _spare if one is not chosen]
        return chosen


def _give(memory: torch.Tensor) -> None:
    with _lock:
        _spare.append(memory)
        while sum(one.numel() for one in _spare) > _MOST_SPARE_BYTES:
            _spare.pop(0)


def make_layers(
    shapes: Sequence[LayerShape],
    capacity_tokens: int,
    dtype: torch.dtype,
    device: torch.device,
    sequences: int = 1,
) -> list[InPlaceLayer]:
    """Return empty cache layers with room for so many tokens each.

    Args:
        shapes: what each keeps for a token.
        capacity_tokens: most tokens that each can hold.
        dtype: of keys and values.
        device: where they are.
        sequences: how many share a layer.
    """
    sizes = [
        (sequences, shape.heads, capacity_tokens, dim)
        for shape in shapes
        for dim in (shape.key_dim, shape.value_dim)
    ]
    starts = [0]
    for size in sizes:
        used = starts[-1] + prod(size) * dtype.itemsize
        starts.append(-(-used // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES)
    room = Room(starts[-1], device)
    assert room.memory is not None
    states = []
    for start, size in zip(starts, sizes, strict=False):
        part = room.memory[start : start + prod(size) * dtype.itemsize]
        states.append(part.view(dtype).view(size))
    return [
        InPlaceLayer(shape, states[2 * number], states[2 * number + 1], room)
        for number, shape in enumerate(shapes)
    ]
