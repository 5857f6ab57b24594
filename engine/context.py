"""What one statement knows about itself: who asks, when, and how to stop it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING

from memql.engine.settings import Settings
from memql.errors import OperationalError

if TYPE_CHECKING:
    from memql.engine.files import Door

DEFAULT_OWNER = "local"


@dataclass(frozen=True)
class StatementContext:
    """The values that hold for the whole of one statement.

    Args:
        user: who asks; None is the administrator of an embedded store.
        now: the one timestamp of the statement, with time zone.
        text: the statement's text, for error positions.
        cancel: set to stop the statement at its next safe place.
        progress: called with (tokens done, tokens in all) while a model computes.
        settings: the connection's settings when the statement began.
        door: through which files are read and written; None where there are none.
    """

    user: str | None
    now: datetime
    text: str
    cancel: Event = field(default_factory=Event)
    progress: Callable[[int, int], None] | None = None
    settings: Settings = Settings()
    door: Door | None = None

    @property
    def owner(self) -> str:
        """The owner of what this statement creates."""
        return self.user if self.user is not None else DEFAULT_OWNER

    def check_cancel(self) -> None:
        """Raise OperationalError if somebody asked to stop."""
        if self.cancel.is_set():
            raise OperationalError("the statement was interrupted", code="57014")
