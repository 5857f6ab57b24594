"""Two stores side by side: what one user is told by each must be the same.

Rows and their order to the last bit, types, counts, texts of errors, plans. Timing is not compared.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from uuid import UUID

import argon2
import pytest

import memql
from memql.engine import session
from memql.engine.govern import passwords
from memql.engine.run import executor
from memql.storage import audit, memories

PASSWORD = "open sesame"
START = datetime(2026, 1, 1, tzinfo=UTC)

# -- one moment, and the same new ids, for both ----------------------------------------------------


@dataclass
class Moment:
    """What would differ between two runs of one statement: the time, new ids and numbers."""

    number: int = 0
    _ids: Iterator[int] = field(default_factory=itertools.count)

    def set(self, number: int) -> None:
        """Go to the moment of a number."""
        self.number = number
        self._ids = itertools.count()

    def now(self, zone: tzinfo) -> datetime:
        """Return the time."""
        return (START + timedelta(seconds=self.number)).astimezone(zone)

    def time_ns(self) -> int:
        """Return the time in nanoseconds since 1970."""
        return int(self.now(UTC).timestamp()) * 10**9

    def uuid(self) -> UUID:
        """Return an id that nothing has."""
        return UUID(f"01990000-0000-7000-8000-{self.number:06x}{next(self._ids):06x}")

    def new_ids(self, count: int) -> list[str]:
        """Return ids of new memories."""
        return [str(self.uuid()) for _ in range(count)]


@contextmanager
def one_moment() -> Iterator[Moment]:
    """Give all statements inside the time and the ids of a moment that the caller sets."""
    moment = Moment()
    # argon2's own figures make each password take its time.
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "datetime", moment)
        patch.setattr(memories, "new_id_texts", moment.new_ids)
        patch.setattr(executor, "uuid4", moment.uuid)
        patch.setattr(audit, "time", moment)
        patch.setattr(passwords, "_hasher", lambda: quick)
        yield moment


# -- what a statement says -------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """All that a user learns from one statement, but for how long it took."""

    columns: tuple[tuple[str, str], ...] = ()
    rows: tuple[str, ...] = ()
    rowcount: int = -1
    error: str = ""


def difference(one: Said, other: Said) -> str | None:
    """Say where two answers are not the same, None if nowhere."""
    for name in ("error", "columns", "rowcount"):
        if getattr(one, name) != getattr(other, name):
            return f"{name}: {_apart(str(getattr(one, name)), str(getattr(other, name)))}"
    if len(one.rows) != len(other.rows):
        return f"{len(one.rows)} and {len(other.rows)} rows"
    for number, (a, b) in enumerate(zip(one.rows, other.rows, strict=True), 1):
        if a != b:
            return f"row {number} of {len(one.rows)}: {_apart(a, b)}"
    return None


def _apart(one: str, other: str) -> str:
    """Return the parts of two texts around the first place where they differ."""
    place = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    first = max(place - 100, 0)
    return f"\n  {one[first : place + 150]!r}\n  {other[first : place + 150]!r}"


def connect(path: Path, user: str | None) -> memql.Connection:
    """Open a store with one thread: more give rows without ORDER BY in an order of the moment."""
    try:
        return memql.connect(path, user=user, threads=1)
    except memql.OperationalError:
        return memql.connect(path, user=user, password=PASSWORD, threads=1)


def said(connection: memql.Connection, text: str, *parameters: Any) -> Said:
    """Run a statement and return what it says."""
    try:
        cursor = connection.execute(text, parameters or None)
        rows = cursor.fetchall() if cursor.description else []
    except memql.Error as error:
        return Said(error=f"{type(error).__name__} {error.code}: {error}")
    columns = tuple((column[0], str(column[1])) for column in cursor.description or ())
    return Said(columns, tuple(map(_row, rows)), cursor.rowcount)


def _row(row: Sequence[Any]) -> str:
    return " | ".join(map(_exact, row))


def _exact(value: Any) -> str:
    """Return a text that is equal only where values are, floats to the last bit."""
    if isinstance(value, memql.Answer):
        kept = {name: one for name, one in vars(value).items() if not name.endswith("seconds")}
        return f"{str(value)!r} {kept}"
    if isinstance(value, memql.Prompt):
        return f"{value.text!r} {value.memory_ids}"
    if isinstance(value, memql.Activation):
        return f"{value.token_ids} {value.memory_ids} {value.reused_tokens} {value.bytes}"
    return _SECONDS.sub(r"\1 ...", repr(value))


# In plans: with COSTS on they tell how long something took.
_SECONDS = re.compile(r"(seconds\"?:) [0-9.e-]+( ms)?")


# A text, or a text and the values of its parameters.
Statement = str | tuple[Any, ...]

# -- pairs -----------------------------------------------------------------------------------------


@dataclass
class Pair:
    """Two stores and the user's connections to them.

    Args:
        user: who asks.
        moment: of both.
    """

    paths: tuple[Path, Path]
    user: str
    moment: Moment
    connections: tuple[memql.Connection, ...] = ()
    _number: int = 100

    def open(self) -> None:
        """Connect the user to both."""
        self.connections = tuple(connect(path, self.user) for path in self.paths)

    def close(self) -> None:
        """Close both."""
        for connection in self.connections:
            connection.close()

    def ask(self, text: str, *parameters: Any) -> tuple[Said, Said]:
        """Return what both say to one statement at one moment."""
        self._number += 1
        found = []
        for connection in self.connections:
            self.moment.set(self._number)
            found.append(said(connection, text, *parameters))
        return found[0], found[1]

    def interference(self, statements: Sequence[Statement]) -> str | None:
        """Run statements and say where the answers are not the same, None if nowhere."""
        odd = None
        for statement in statements:
            asked = (statement,) if isinstance(statement, str) else statement
            found = difference(*self.ask(*asked))
            if odd is None and found is not None:
                odd = f"{asked}\n{found}"
        return odd
