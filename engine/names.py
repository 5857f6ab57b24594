"""Names in statements: where they stand, what was probably meant, how to quote them."""

from __future__ import annotations

import difflib
import re
import string
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlglot import exp

from memql.errors import NotSupportedError, Position, ProgrammingError

if TYPE_CHECKING:
    from memql.engine.context import StatementContext

# A name in double quotes, a value or the name of a function in single ones, or a bare name.
_QUOTED = re.compile(r"\"([^\"]+)\"|'([^'(]+)['(]|\bname (\w+) does not exist")
_ASCII_LOWER = str.maketrans({letter: letter.lower() for letter in string.ascii_uppercase})


def fold(name: str) -> str:
    """Return a name as DuckDB compares names: without case, in ASCII only.

    ``str.lower`` folds more (the Kelvin sign to k), and two names that are one to MemQL and two
    to DuckDB would open a way around what MemQL checks.

    >>> fold("Memories")
    'memories'
    """
    return name.translate(_ASCII_LOWER)


def quote(name: str) -> str:
    """Return ``name`` as a quoted SQL identifier.

    >>> print(quote("order"))
    "order"
    """
    return '"' + name.replace('"', '""') + '"'


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known name that is most like ``name``, if any is at least ``cutoff`` like it.

    >>> nearest("contnt", ["content", "kind"])
    'content'
    """
    folded = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), sorted(folded), n=1, cutoff=cutoff)
    return folded[matches[0]] if matches else None


# By what is unknown; an option is 42704 too, of whatever it is.
_CODES = {
    "column": "42703",
    "table": "42P01",
    "parameter": "42P02",
    "materialized view": "42P01",
    "view": "42P01",
    "model": "42704",
}


def unknown(
    what: str, name: str, known: Iterable[str], context: StatementContext, node: exp.Expr | None
) -> ProgrammingError:
    """Return the error for a name that is not there, with the nearest one that is."""
    known = sorted(set(known))
    guess = nearest(name, known)
    if guess is not None:
        hint = f"did you mean {guess}?"
    elif known:
        hint = f"known here: {', '.join(known[:20])}"
    else:
        hint = None
    return ProgrammingError(
        f"unknown {what} '{name}'",
        hint=hint,
        position=position(context.text, node),
        statement=context.text,
        code=_CODES.get(what, "42704"),
    )


def not_possible(
    what: str, context: StatementContext, place: Position | None, *, code: str | None = None
) -> NotSupportedError | ProgrammingError:
    """Return the error for something that is not possible: NotSupportedError without a code."""
    kind = NotSupportedError if code is None else ProgrammingError
    return kind(f"{what} is not possible", position=place, statement=context.text, code=code)


def unreadable(view: str, place: Position | None, text: str) -> ProgrammingError:
    """Return the error for a view of another's that fails; what it reads is its owner's to know.

    Args:
        view: its name, with its owner's.
    """
    return ProgrammingError(
        f"the view {view} cannot be read: it fails on what it reads, or its owner may not give it",
        hint="its owner sees why",
        position=place,
        statement=text,
        code="42P01",
    )


def position(text: str, node: exp.Expr | None) -> Position | None:
    """Return where a node begins in the statement, if the parser recorded it."""
    starts = [part.meta.get("start") for part in node.walk()] if node is not None else []
    offset = min((start for start in starts if start is not None), default=None)
    if offset is None or offset > len(text):
        return None
    return place(text, offset)


def position_of_word(text: str, word: str) -> Position | None:
    """Return where a word stands in the statement, if it stands there once.

    DuckDB names what is wrong, but its places are those of the SQL that MemQL printed.

    >>> position_of_word("SELECT sum(a), b", "b")
    Position(line=1, column=16)
    """
    found = list(re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE))
    return place(text, found[0].start()) if len(found) == 1 else None


def position_of_quoted(text: str, message: str) -> Position | None:
    """Return where the first name or value that a message quotes stands in the statement.

    >>> position_of_quoted("SELECT 'x'::INT", "Could not convert string 'x' to INT32")
    Position(line=1, column=9)
    """
    for match in _QUOTED.finditer(message):
        found = position_of_word(text, next(part for part in match.groups() if part))
        if found is not None:
            return found
    return None


def place(text: str, offset: int) -> Position:
    """Return the line and the column of a character of the statement.

    >>> place("SELECT\\n  x", 9)
    Position(line=2, column=3)
    """
    before = text[:offset]
    return Position(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)
