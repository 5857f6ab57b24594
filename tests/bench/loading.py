"""Bytes on disk to a ready cache, against reading the same bytes from a plain file."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import DynamicCache

from memql.engine.model.prefix import Prefix
from memql.engine.model.runtime import Runtime
from memql.engine.reuse import load_chain

from .first_token import new_store, put_node
from .measure import Times, in_turns, print_table, timed
from .shapes import fill_randomly, random_runtime

ROUNDS = 15
MODEL = "Qwen3-0.6B"
# Nodes and the tokens of each.
CHAINS = ((1, 1024), (50, 20))


def run(rounds: int | None) -> None:
    """Time all ways to a ready cache and print them."""
    runtime = random_runtime(MODEL)
    for nodes, tokens in CHAINS:
        _one_chain(runtime, nodes, tokens, rounds or ROUNDS)


def _one_chain(runtime: Runtime, nodes: int, node_tokens: int, rounds: int) -> None:
    tokens = nodes * node_tokens
    source = runtime.prefix(tokens)
    fill_randomly(source, tokens)
    with new_store() as store, tempfile.TemporaryDirectory() as folder:
        key = None
        for number in range(nodes):
            start = number * node_tokens
            key = put_node(store, source, start, start + node_tokens, key)
        assert key is not None
        boundary = key
        runs = {"plain file": _plain(source, Path(folder)), **_others(source, Path(folder))}

        def from_store() -> None:
            load_chain(boundary, runtime.prefix(tokens + 96), store.activations)

        runs["memql"] = from_store
        times = in_turns({name: timed(one) for name, one in runs.items()}, rounds, warm_up=2)
        size = source.bytes
    print(f"{nodes} nodes of {node_tokens} tokens, {size / 1e6:.0f} MB\n")
    plain = times.pop("plain file")
    print_table(
        ("", "time", "GB/s", "of the plain file"),
        [
            ("plain file into memory that is there", plain, f"{size / plain.median / 1e9:.2f}", 1),
            *((name, one, f"{size / one.median / 1e9:.2f}", _share(plain, one))
              for name, one in times.items()),
        ],
    )  # fmt: skip
    print()


def _share(plain: Times, other: Times) -> str:
    return f"{plain.median / other.median:.2f}"


def _plain(source: Prefix, folder: Path) -> Callable[[], object]:
    path = folder / "plain"
    path.write_bytes(
        b"".join(bytes(part) for layer in source.payload(0, source.tokens) for part in layer)
    )
    room = np.zeros(path.stat().st_size, dtype=np.uint8)

    def read() -> None:
        view, done = room.data.cast("B"), 0
        with path.open("rb", buffering=0) as file:
            while done < len(view):
                done += file.readinto(view[done:]) or 0

    return read


def _others(source: Prefix, folder: Path) -> dict[str, Callable[[], object]]:
    """Return other ways to a cache that can be used, none of which checks a digest."""
    cache = source.to_cache()
    filled: Any = cache.layers
    layers = [states for layer in filled for states in (layer.keys, layer.values)]
    tensors = {f"{number:03}": states.contiguous() for number, states in enumerate(layers)}
    save_file(tensors, folder / "safetensors")
    torch.save(tensors, folder / "torch")
    (folder / "pickle").write_bytes(pickle.dumps(cache))

    def rebuilt(found: dict[str, torch.Tensor]) -> DynamicCache:
        made = DynamicCache()
        names = sorted(found)
        for number, (keys, values) in enumerate(zip(names[0::2], names[1::2], strict=True)):
            made.update(found[keys], found[values], number)
        return made

    return {
        "safetensors, update()": lambda: rebuilt(load_file(folder / "safetensors")),
        "torch.load, update()": lambda: rebuilt(torch.load(folder / "torch")),
        "a pickled cache": lambda: pickle.loads((folder / "pickle").read_bytes()),
    }
