"""Time for each token over a long activation, against a StaticCache of the same length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import DynamicCache, StaticCache

from memql.engine.model.runtime import Runtime

from .measure import Ratio, in_turns, print_table, timed
from .shapes import SHAPES, fill_randomly, random_ids, random_runtime

ROUNDS = 5
MODEL = "Qwen3-0.6B"
TOKENS = 4096
STEPS = 8


def run(rounds: int | None) -> None:
    """Time the steps over three kinds of cache and print them."""
    runtime = random_runtime(MODEL)
    ids = random_ids(STEPS, SHAPES[MODEL].vocabulary)
    times = in_turns(
        {
            "memql": timed(_in_place(runtime, ids)),
            "StaticCache": timed(_static(runtime, ids)),
            "DynamicCache": timed(_dynamic(runtime, ids)),
        },
        rounds or ROUNDS,
    )
    print(f"{MODEL} shape, bfloat16, {STEPS} tokens after {TOKENS:,}\n")
    print_table(("", f"{STEPS} tokens"), list(times.items()))
    for other in ("StaticCache", "DynamicCache"):
        print(f"memql / {other}: {Ratio.of(times['memql'], times[other])}")


def _in_place(runtime: Runtime, ids: list[int]) -> Callable[[], None]:
    prefix = runtime.prefix(TOKENS + STEPS)
    fill_randomly(prefix, TOKENS)

    def steps() -> None:
        with prefix.lent() as (cache, _):
            for token in ids:
                runtime.feed(prefix, cache, [token])

    return steps


@torch.inference_mode()
def _steps(runtime: Runtime, cache: Any, ids: list[int]) -> None:
    model: Any = runtime.model
    for number, token in enumerate(ids):
        positions = torch.tensor([[TOKENS + number]])
        model(torch.tensor([[token]]), past_key_values=cache, position_ids=positions)


def _filled(runtime: Runtime, cache: Any) -> Any:
    shape = SHAPES[MODEL]
    for number in range(shape.layers):
        size = (1, shape.kv_heads, TOKENS, shape.head_dim)
        cache.update(torch.rand(size).bfloat16(), torch.rand(size).bfloat16(), number)
    return cache


def _static(runtime: Runtime, ids: list[int]) -> Callable[[], None]:
    cache = _filled(runtime, StaticCache(runtime.model.config, max_cache_len=TOKENS + STEPS))

    def steps() -> None:
        _steps(runtime, cache, ids)
        for layer in cache.layers:  # back to where it was
            layer.cumulative_length.fill_(TOKENS)
            layer.cumulative_length_int = TOKENS

    return steps


def _dynamic(runtime: Runtime, ids: list[int]) -> Callable[[], None]:
    cache = _filled(runtime, DynamicCache(config=runtime.model.config))

    def steps() -> None:
        _steps(runtime, cache, ids)
        cache.crop(-STEPS)

    return steps
