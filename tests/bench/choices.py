"""Load, load a part, or compute: the plan that is chosen, against all others, measured."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from memql.engine.calibrations import measure
from memql.engine.choice import Match, Way, describe_way, ways
from memql.engine.model.runtime import Runtime, load_runtime
from memql.engine.model.spec import LAYOUT, describe
from memql.engine.prompt import Prompt, Row, Segment
from memql.engine.reuse import arriving_chain, load_chain
from memql.storage.nodes import LayerHeader, NodeHeader
from memql.storage.places import OpenFiles, Place
from memql.storage.store import Store
from tests.model.conftest import make_tokenizer

from .measure import check, print_table

ROUNDS = 3
CONTEXTS = (64, 256, 1024, 4096)
# Bytes a second; None is the disk as it is.
BANDWIDTHS = (None, 500e6, 50e6, 5e6)
NODES = 4
SEGMENTS = 8
QUESTION_TOKENS = 32
WITHIN = 1.2

SHAPES: dict[str, dict[str, Any]] = {
    "narrow": {
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 5,
        "num_attention_heads": 6,
        "num_key_value_heads": 3,
    },
    "wide": {
        "hidden_size": 320,
        "intermediate_size": 896,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
    },
}


@dataclass(frozen=True)
class _Cell:
    chosen: Way
    best: Way
    ratio: float
    right: bool


def run(rounds: int | None) -> None:
    """Print for each cell of the grid what was chosen, what was best, and by how much it lost."""
    rounds = rounds or ROUNDS
    cells: list[_Cell] = []
    rows, at_once = [], []
    with tempfile.TemporaryDirectory() as folder:
        for shape in SHAPES:
            runtime = load_runtime(describe(shape, str(_model(Path(folder), shape)), {}))
            for bandwidth in BANDWIDTHS:
                with _throttled(bandwidth):
                    store = Store.open(Path(folder) / f"{shape}-{bandwidth}.memql")
                    calibration = measure(runtime.spec, store)
                    for tokens in CONTEXTS:
                        prompt = _stored(runtime, store, tokens)
                        found = Match(prompt.segments[NODES - 1].key, NODES, tokens // 2)
                        all_ways = ways(prompt, found, store, calibration)
                        times = _measured(all_ways, prompt, runtime, store, rounds)
                        cell = _judged(all_ways, times)
                        cells.append(cell)
                        name = "disk" if bandwidth is None else f"{bandwidth / 1e6:,.0f} MB/s"
                        if tokens == CONTEXTS[-1]:
                            deepest = next(way for way in all_ways if way.match == found)
                            for rest in (tokens // 2, QUESTION_TOKENS):
                                one = _at_once(deepest, rest, prompt, runtime, store, rounds)
                                at_once.append([f"{shape}, {name}, {rest:,} tokens", *one])
                        mark = "" if cell.right else "wrong"
                        rows.append(
                            [
                                f"{shape}, {name}, {tokens:,} tokens",
                                describe_way(cell.chosen),
                                _ms(cell.chosen.seconds or 0.0),
                                _ms(statistics.median(times[all_ways.index(cell.chosen)])),
                                describe_way(cell.best),
                                f"{cell.ratio:.2f} {mark}",
                            ]
                        )
                    store.close()
    head = ["", "chosen", "estimated", "measured", "best", "chosen / best"]
    print_table(head, rows)
    right = sum(cell.right for cell in cells)
    print(
        f"\nThe chosen plan is within {WITHIN} times the best, or the measured spread, in {right} "
        f"of {len(cells)} cells ({right / len(cells):.0%})."
    )
    print(
        f"\n{CONTEXTS[-1] // 2:,} tokens are loaded while those behind them are computed; "
        f"{torch.get_num_threads()} threads of torch, {os.cpu_count()} cores\n"
    )
    print_table(["", "loading", "one by one", "at once", "at once / one by one"], at_once)


def _judged(all_ways: tuple[Way, ...], times: list[list[float]]) -> _Cell:
    """Compare the first way, which is the chosen one, with the fastest."""
    medians = [statistics.median(one) for one in times]
    best = medians.index(min(medians))
    ratio = medians[0] / medians[best]
    overlap = min(times[0]) <= max(times[best])
    return _Cell(all_ways[0], all_ways[best], ratio, ratio <= WITHIN or overlap)


def _at_once(
    way: Way, tokens: int, prompt: Prompt, runtime: Runtime, store: Store, rounds: int
) -> list[str]:
    """Return how long loading and computing take one after the other, and at once, in turns.

    Args:
        tokens: how many are computed behind what is loaded.
    """
    assert way.match.key is not None
    rest = prompt.ids[way.match.tokens :][:tokens]
    loading, behind, beside = [], [], []
    for _ in range(rounds):
        prefix = runtime.prefix(prompt.tokens)
        started = time.perf_counter()
        load_chain(way.match.key, prefix, store.activations)
        loading.append(time.perf_counter() - started)
        runtime.extend(prefix, rest)
        behind.append(time.perf_counter() - started)
        prefix = runtime.prefix(prompt.tokens)
        started = time.perf_counter()
        with arriving_chain(way.match.key, prefix, store.activations):
            runtime.extend(prefix, rest)
        beside.append(time.perf_counter() - started)
    times = [statistics.median(one) for one in (loading, behind, beside)]
    return [*map(_ms, times), f"{times[2] / times[1]:.2f}"]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _model(folder: Path, shape: str) -> Path:
    """Save a model of random weights and return its folder."""
    torch.manual_seed(7)
    config = transformers.LlamaConfig(vocab_size=400, max_position_embeddings=8192, **SHAPES[shape])
    path = folder / shape
    bar: Any = transformers.utils.logging  # without annotations
    bar.disable_progress_bar()
    from_config: Any = transformers.AutoModelForCausalLM.from_config
    from_config(config).save_pretrained(path)
    make_tokenizer(path)
    return path


@contextmanager
def _throttled(bytes_a_second: float | None) -> Iterator[None]:
    """Let the store's disk read no faster than that."""
    read_into = OpenFiles.read_into

    def slow(self: OpenFiles, place: Place, target: memoryview) -> bool:
        started = time.perf_counter()
        read = read_into(self, place, target)
        if bytes_a_second is not None:
            least = place.bytes / bytes_a_second
            time.sleep(max(0.0, started + least - time.perf_counter()))
        return read

    OpenFiles.read_into = slow  # type: ignore[method-assign]
    try:
        yield
    finally:
        OpenFiles.read_into = read_into  # type: ignore[method-assign]


def _stored(runtime: Runtime, store: Store, tokens: int) -> Prompt:
    """Return a prompt of segments of one length, the first half of which are stored nodes."""
    each = tokens // SEGMENTS
    segments = []
    for number in range(SEGMENTS):
        ids = tuple((number * each + i) % 390 + 6 for i in range(each))
        segments.append(Segment(Row(str(number), ()), ids, f"{tokens} {number}".encode()))
    prompt = Prompt((), f"root {tokens}".encode(), tuple(segments))
    prefix = runtime.prefix(tokens)
    runtime.extend(prefix, prompt.ids[: NODES * each])
    parent = None
    for number in range(NODES):
        start = number * each
        layers = tuple(LayerHeader(*one) for one in prefix.layer_shapes(start, start + each))
        store.activations.put(
            NodeHeader(runtime.spec.model_digest, runtime.spec.dtype, LAYOUT, each, layers),
            parent,
            start,
            [(segments[number].key, each)],
            [],
            prefix.payload(start, start + each),
            "bench",
        )
        parent = segments[number].key
    return prompt


def _measured(
    all_ways: tuple[Way, ...], prompt: Prompt, runtime: Runtime, store: Store, rounds: int
) -> list[list[float]]:
    """Return the seconds of each way in each round, in turns."""
    found: list[list[float]] = [[] for _ in all_ways]
    for number in range(-1, rounds):
        for way, seconds in zip(all_ways, found, strict=True):
            prefix = runtime.prefix(prompt.tokens)
            started = time.perf_counter()
            if way.match.key is not None:
                load_chain(way.match.key, prefix, store.activations)
            runtime.extend(prefix, prompt.ids[way.match.tokens :])
            if number >= 0:
                seconds.append(time.perf_counter() - started)
            check(prefix.tokens == prompt.tokens, "a prompt was not brought whole")
    return found
