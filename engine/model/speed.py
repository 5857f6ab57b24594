"""How fast a loaded model computes: timed passes, and what fits them."""

from __future__ import annotations

import time

import numpy as np

from memql.engine.model.prefix import Prefix
from memql.engine.model.runtime import Runtime

# A short pass shows what a pass costs at all, a longer one what each token adds, and a pass behind
# many tokens what attention adds. Powers of two that double until a pass takes long enough.
SHORT_TOKENS = 8
LONGEST_TOKENS = 256
BEHIND_TOKENS = 2048
LONG_ENOUGH_SECONDS = 0.1
REPEATS = 3


def time_passes(runtime: Runtime) -> tuple[float, float, float]:
    """Return seconds of a pass, for each of its tokens, and for each pair of tokens.

    Takes about a second on a slow machine: nothing is computed for the tokens behind which a
    pass is timed, their keys and values are zeros.

    Args:
        runtime: the loaded model, one whose layers keep the K and V of single tokens.
    """
    room = runtime.spec.context_tokens
    long = SHORT_TOKENS
    passes = [_passed(runtime, min(SHORT_TOKENS, room), 0)]
    while passes[-1][2] < LONG_ENOUGH_SECONDS and 2 * long <= min(LONGEST_TOKENS, room):
        long *= 2
        passes.append(_passed(runtime, long, 0))
    behind = min(BEHIND_TOKENS, room - long)
    if behind > 0:
        passes.append(_passed(runtime, long, behind))
    return fit(passes)


def _passed(runtime: Runtime, tokens: int, behind_tokens: int) -> tuple[int, int, float]:
    """Return tokens, tokens before them, and the fewest seconds of some passes."""
    ids = [number % 100 for number in range(tokens)]
    best = float("inf")
    prefix = runtime.prefix(behind_tokens + tokens)
    fill(prefix, behind_tokens)
    for number in range(REPEATS):
        started = time.perf_counter()
        runtime.extend(prefix, ids)
        seconds = time.perf_counter() - started
        prefix.truncate(behind_tokens)
        best = min(best, seconds)
        if number and seconds > LONG_ENOUGH_SECONDS:
            break
    return tokens, behind_tokens, best


def fill(prefix: Prefix, tokens: int) -> None:
    """Let an empty prefix hold tokens whose keys and values are zeros."""
    if tokens:
        size = tokens * prefix.dtype.itemsize
        layers = (
            [(_zeros(key[0] * key[2] * size), _zeros(value[0] * value[2] * size))]
            for _, key, value in prefix.layer_shapes(0, 0)
        )
        prefix.load([(tokens, tokens)], layers)


def _zeros(size: int) -> memoryview:
    return memoryview(bytes(size))


def fit(passes: list[tuple[int, int, float]]) -> tuple[float, float, float]:
    """Return what explains the seconds of passes best, none of it less than zero.

    Args:
        passes: (tokens, tokens before them, seconds) of each.
    """
    tokens = np.array([one[0] for one in passes], dtype=float)
    pairs = tokens * (np.array([one[1] for one in passes]) + tokens / 2)
    seconds = np.array([one[2] for one in passes])
    # Relative errors: a pass of 8 tokens counts as much as one of 256.
    columns = np.stack([np.ones_like(tokens), tokens, pairs], axis=1) / seconds[:, None]
    kept = [0, 1, 2]
    while True:
        found = np.linalg.lstsq(columns[:, kept], np.ones_like(seconds), rcond=None)[0]
        if (found >= 0).all():
            break
        del kept[int(found.argmin())]
    result = [0.0, 0.0, 0.0]
    for number, value in zip(kept, found, strict=True):
        result[number] = float(value)
    return result[0], result[1], result[2]
