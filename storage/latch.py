"""A latch: many readers or one writer, inside one process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Latch:
    """Lets any number of threads share a thing, or one have it alone.

    A waiting writer goes before new readers, so that a stream of reads cannot starve a purge.
    Neither side may be taken again by a thread that holds it.
    """

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._readers = 0
        self._writing = False
        self._writers_waiting = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the latch together with other readers."""
        with self._turn:
            self._turn.wait_for(lambda: not self._writing and not self._writers_waiting)
            self._readers += 1
        try:
            yield
        finally:
            with self._turn:
                self._readers -= 1
                self._turn.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the latch alone."""
        with self._turn:
            self._writers_waiting += 1
            try:
                self._turn.wait_for(lambda: not self._writing and not self._readers)
                self._writing = True
            finally:
                self._writers_waiting -= 1
        try:
            yield
        finally:
            with self._turn:
                self._writing = False
                self._turn.notify_all()
