"""A bar for work that takes a while; nothing where there is no terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


# Work that ends sooner shows no bar: it would only flicker, and drawing it costs time.
PATIENCE_SECONDS = 0.5


class Bar:
    """Shows how far a piece of work is, once it has lasted a while.

    Args:
        console: where to; the bar is only drawn if it is a terminal.
        title: what is being done.
        unit: what is counted.
        keep: draw it from the first report on, and leave it on the screen.
    """

    def __init__(self, console: Console, title: str, unit: str, *, keep: bool = False) -> None:
        self._console = console
        self._title = title
        self._unit = unit
        self._keep = keep
        self._began = time.monotonic()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def report(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` units are done; a new count begins a new bar."""
        if not self._console.is_terminal:
            return
        if self._progress is None or self._task is None:
            if not self._keep and time.monotonic() - self._began < PATIENCE_SECONDS:
                return
            self._progress = self._begun()
            self._task = self._progress.add_task(self._title, total=total)
        self._progress.update(self._task, completed=done, total=total)
        if done >= total:
            self.close()

    def close(self) -> None:
        """Take the bar off the screen, unless it is to stay."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = self._task = None

    def _begun(self) -> Progress:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(self._unit, markup=False),
            console=self._console,
            transient=not self._keep,
        )
        progress.start()
        return progress

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
