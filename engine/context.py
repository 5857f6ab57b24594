"""What one statement knows about itself: who asks, when, and how to stop it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING

from memql.engine.rights import Rights
from memql.engine.settings import Settings
from memql.errors import OperationalError

if TYPE_CHECKING:
    from memql.engine.files import Door


@dataclass
class Progress:
    """How far the model is with the prompt of a statement.

    Args:
        report: called with (tokens done, tokens in all) after each step; None calls nothing.
    """

    report: Callable[[int, int], None] | None = None
    done_tokens: int = field(default=0, init=False)
    total_tokens: int = field(default=0, init=False)

    def begin(self) -> None:
        """Forget the statement before."""
        self.done_tokens = self.total_tokens = 0

    def __call__(self, done_tokens: int, total_tokens: int) -> None:
        """Note a step."""
        self.done_tokens, self.total_tokens = done_tokens, total_tokens
        if self.report is not None:
            self.report(done_tokens, total_tokens)


@dataclass(frozen=True)
class StatementContext:
    """The values that hold for the whole of one statement.

    Args:
        rights: of who asks.
        now: the one timestamp of the statement, with time zone.
        text: the statement's text, for error positions.
        cancel: set to stop the statement at its next safe place.
        progress: called with (tokens done, tokens in all) while a model computes.
        settings: the connection's settings when the statement began.
        door: through which files are read and written; None where there are none.
    """

    rights: Rights
    now: datetime
    text: str
    cancel: Event = field(default_factory=Event)
    progress: Callable[[int, int], None] | None = None
    settings: Settings = Settings()
    door: Door | None = None

    @property
    def user(self) -> str | None:
        """Who asks, or the role they put on; None is the administrator of an embedded store."""
        return self.rights.name

    @property
    def owner(self) -> str:
        """The owner of what this statement creates."""
        return self.rights.owner

    def check_cancel(self) -> None:
        """Raise OperationalError if somebody asked to stop."""
        check_cancel(self.cancel)


def check_cancel(cancel: Event) -> None:
    """Raise OperationalError if an event asks to stop."""
    if cancel.is_set():
        raise OperationalError("the statement was interrupted", code="57014")
