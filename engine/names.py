"""Names in statements: where they stand, what was probably meant, how to quote them."""

from __future__ import annotations

import difflib
import string
from collections.abc import Iterable

from sqlglot import exp

from memql.engine.context import StatementContext
from memql.errors import Position, ProgrammingError

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
    )


def position(text: str, node: exp.Expr | None) -> Position | None:
    """Return where a node stands in the statement, if the parser recorded it."""
    offset = None
    for candidate in node.walk() if node is not None else ():
        offset = candidate.meta.get("start")
        if offset is not None:
            break
    if offset is None or offset > len(text):
        return None
    before = text[:offset]
    return Position(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)
