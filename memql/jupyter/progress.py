"""A bar in a notebook while a model computes."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from memql.cli.progress import PATIENCE_SECONDS

_BETWEEN_SECONDS = 0.1  # each change is a message to the page


class NotebookBar:
    """Shows in the output of a cell how far a model is, once it has computed for a while.

    Args:
        title: what is being done.
        unit: what is counted.
    """

    def __init__(self, title: str, unit: str) -> None:
        self._title = title
        self._unit = unit
        self._began = self._drawn = time.monotonic()
        self._handle: Any = None

    def report(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` units are done."""
        now = time.monotonic()
        if self._handle is None:
            if now - self._began < PATIENCE_SECONDS:
                return
            from IPython.display import display

            self._handle = display(self._bar(done, total), display_id=True)
        elif now - self._drawn < _BETWEEN_SECONDS and done < total:
            return
        self._handle.update(self._bar(done, total))
        self._drawn = now

    def close(self) -> None:
        """Take the bar away."""
        if self._handle is not None:
            from IPython.display import HTML

            self._handle.update(HTML(""))
            self._handle = None

    def _bar(self, done: int, total: int) -> Any:
        from IPython.display import HTML

        return HTML(
            f'<progress value="{done}" max="{total}"></progress> '
            f"{self._title} {done:,} of {total:,} {self._unit}"
        )

    def __enter__(self) -> NotebookBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
