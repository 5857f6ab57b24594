"""A statement's time limit: what runs too long is interrupted, by a thread that watches it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread

import duckdb

from memql.engine.settings import show_milliseconds
from memql.errors import OperationalError

# DuckDB forgets an interruption that comes between two of its queries, so it is repeated.
_AGAIN_SECONDS = 0.02


class Deadline:
    """The time that one statement may still take, fetching its rows included.

    The time in which a program does something else between two fetches does not count.

    Args:
        limit_ms: milliseconds in all; 0 is no limit.
    """

    def __init__(self, limit_ms: int) -> None:
        self._limit_ms = limit_ms
        self._left_seconds = limit_ms / 1000
        self._expired = False

    @contextmanager
    def running(self, stop: Callable[[], None]) -> Iterator[None]:
        """Watch what runs inside.

        Args:
            stop: interrupts it; called from another thread, perhaps several times.

        Raises:
            OperationalError: it was interrupted because the time is over.
        """
        if not self._limit_ms:
            yield
            return
        done, lock = Event(), Lock()

        def watch() -> None:
            done.wait(max(self._left_seconds, 0))
            while True:
                with lock:  # never interrupts what runs after this
                    if done.is_set():
                        return
                    self._expired = True
                    stop()
                done.wait(_AGAIN_SECONDS)

        started = time.monotonic()
        watcher = Thread(target=watch, name="memql-statement-timeout", daemon=True)
        watcher.start()
        try:
            yield
        except (OperationalError, duckdb.InterruptException) as error:
            if not self._expired:
                raise
            raise OperationalError(
                f"the statement took longer than {show_milliseconds(self._limit_ms)}, "
                "the limit of memql.statement_timeout",
                hint="SET memql.statement_timeout = 0 takes the limit away",
                code="57014",
            ) from error
        finally:
            with lock:
                done.set()
            watcher.join()
            self._left_seconds -= time.monotonic() - started
