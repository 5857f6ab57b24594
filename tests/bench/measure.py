"""Times in turns, their medians and spreads, and how they are printed."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """The times of one thing that was run several times.

    Args:
        seconds: one for each round, in order.
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median in seconds."""
        return statistics.median(self.seconds)

    def percentile(self, percent: int) -> float:
        """Return the time in seconds that so many percent of the rounds do not exceed."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]

    def __str__(self) -> str:
        low, high = min(self.seconds), max(self.seconds)
        return f"{self.median * 1000:.2f} ms ({low * 1000:.2f} to {high * 1000:.2f})"


@dataclass(frozen=True)
class Ratio:
    """How many times one took as long as another, round by round."""

    rounds: tuple[float, ...]

    @classmethod
    def of(cls, slow: Times, fast: Times) -> Ratio:
        """Return the ratio of two things that took turns."""
        return cls(tuple(a / b for a, b in zip(slow.seconds, fast.seconds, strict=True)))

    @property
    def median(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.rounds)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({min(self.rounds):.2f} to {max(self.rounds):.2f})"


def timed(run: Callable[[], object]) -> Callable[[], float]:
    """Return a function that runs ``run`` and returns the seconds that it took."""

    def clock() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    return clock


def cpu_timed(run: Callable[[], object]) -> Callable[[], float]:
    """Return a function that runs ``run`` and returns the seconds of CPU that it took."""

    def clock() -> float:
        started = time.process_time()
        run()
        return time.process_time() - started

    return clock


def in_turns(
    runs: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = 1
) -> dict[str, Times]:
    """Run several things in turns, so that a slow moment of the machine hits all alike.

    Args:
        runs: by name, what runs once and returns its seconds.
        rounds: how often each runs.
        warm_up: rounds before that, which do not count.
    """
    found: dict[str, list[float]] = {name: [] for name in runs}
    gc.collect()
    for number in range(-warm_up, rounds):
        for name, run in runs.items():
            seconds = run()
            if number >= 0:
                found[name].append(seconds)
    return {name: Times(tuple(seconds)) for name, seconds in found.items()}


def load_average() -> str:
    """Return the load average of the last 1, 5 and 15 minutes."""
    return " ".join(f"{load:.2f}" for load in os.getloadavg())


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under a head, numbers on the right."""
    texts = [[str(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]
    for line in [list(head), ["-" * width for width in widths], *texts]:
        first, *others = zip(line, widths, strict=True)
        print("  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]))


def check(right: bool, what: str) -> None:
    """End the benchmark if a result is wrong: a fast wrong answer is no figure.

    Raises:
        SystemExit: it is wrong.
    """
    if not right:
        raise SystemExit(f"wrong: {what}")
