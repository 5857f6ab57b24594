"""The errors of MemQL: the tree of PEP 249 and what every error carries.

::

    Warning
    Error
    ├── InterfaceError          the connector was used wrongly
    └── DatabaseError
        ├── DataError           a value is out of range or of the wrong kind
        ├── OperationalError    the store or the machine: locked, damaged, no memory, not a store
        ├── IntegrityError      a constraint of the data
        ├── InternalError       a bug in MemQL
        ├── ProgrammingError    the statement: syntax, names, options
        └── NotSupportedError   valid, but not something MemQL does
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """A place in the text of a statement.

    Args:
        line: line number, counted from 1.
        column: character in that line, counted from 1.
    """

    line: int
    column: int


class Warning(Exception):  # PEP 249 fixes the name
    """An important warning, such as data that was cut."""


class Error(Exception):
    """The base of all errors that MemQL raises.

    Args:
        message: what was asked, what was found.
        hint: what to do, if there is something to do.
        position: where in the statement, if it is about one place.
        statement: the statement's text; with ``position`` it draws a caret under the place.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        position: Position | None = None,
        statement: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.position = position
        self.statement = statement

    def __str__(self) -> str:
        lines = [self.message]
        if self.position is not None:
            lines[0] += f" (line {self.position.line}, column {self.position.column})"
            if self.statement is not None:
                source = self.statement.splitlines() or [""]
                if self.position.line <= len(source):
                    lines.append("  " + source[self.position.line - 1].replace("\t", " "))
                    lines.append("  " + " " * (self.position.column - 1) + "^")
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class InterfaceError(Error):
    """The connector was used wrongly: a closed connection, a missing parameter."""


class DatabaseError(Error):
    """The base of errors that concern the database."""


class DataError(DatabaseError):
    """A value is out of range, too long or of the wrong kind."""


class OperationalError(DatabaseError):
    """The store or the machine: locked by another process, damaged, not a store."""


class IntegrityError(DatabaseError):
    """A constraint of the data would not hold."""


class InternalError(DatabaseError):
    """A bug in MemQL."""


class ProgrammingError(DatabaseError):
    """The statement is wrong: syntax, an unknown name or option, a missing right."""


class NotSupportedError(DatabaseError):
    """A valid request for something that MemQL does not do."""
