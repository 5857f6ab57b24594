"""Layers of a cache that one thread loads while another computes with them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class LoadingFailed(Exception):
    """A pass waited for tokens that could not be loaded."""


class Arrival:
    """Layers that one thread loads and another waits for.

    Args:
        layers: how many.

    Attributes:
        seconds: how long loading took, from when this was made; 0 before it has ended.
        waited_seconds: how long passes have waited for it.
        error: why it failed, None where it did not.
    """

    def __init__(self, layers: int) -> None:
        self.seconds = 0.0
        self.waited_seconds = 0.0
        self.error: BaseException | None = None
        self._started = time.perf_counter()
        self._arrived = [threading.Event() for _ in range(layers)]

    def run(self, load: Callable[[], None]) -> None:
        """Load; whatever comes of it, nobody waits afterwards."""
        try:
            load()
        except BaseException as error:  # raised where it was asked for: see Prefix.arriving
            self.error = error
        self.seconds = time.perf_counter() - self._started
        for number in range(len(self._arrived)):
            self.note(number)

    def note(self, number: int) -> None:
        """Say that a layer has arrived."""
        self._arrived[number].set()

    def wait(self, number: int) -> None:
        """Return once a layer has arrived.

        Raises:
            LoadingFailed: it never will.
        """
        started = time.perf_counter()
        self._arrived[number].wait()
        self.waited_seconds += time.perf_counter() - started
        if self.error is not None:
            raise LoadingFailed
