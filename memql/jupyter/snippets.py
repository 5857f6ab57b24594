"""Queries kept under a name with ``--save``, and put before another with ``--with``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memql.engine.names import nearest
from memql.errors import InterfaceError

_QUERY = re.compile(r"\s*(?:--[^\n]*\n\s*|/\*.*?\*/\s*)*(SELECT|FROM|WITH)\b", re.I | re.S)
_WITH = re.compile(r"\bWITH\s+(RECURSIVE\b)?", re.I)


@dataclass(frozen=True)
class Snippet:
    """A query that was kept, with the names of those that it reads itself."""

    text: str
    uses: tuple[str, ...]


def compose(text: str, uses: Sequence[str], snippets: Mapping[str, Snippet]) -> str:
    """Return a query in which the names of kept queries are common table expressions.

    Raises:
        InterfaceError: no query is kept under a name, or ``text`` is no query.

    >>> compose("SELECT * FROM young", ["young"], {"young": Snippet("SELECT 1 AS a", ())})
    'WITH young AS (\\nSELECT 1 AS a\\n)\\nSELECT * FROM young'
    """
    if not uses:
        return text
    query = _QUERY.match(text)
    if query is None:
        raise InterfaceError(
            "--with stands before a query", hint="one that begins with SELECT, FROM or WITH",
            code="42601",
        )  # fmt: skip
    parts = [f"{name} AS (\n{snippets[name].text}\n)" for name in _in_order(uses, snippets)]
    listed = ",\n".join(parts)
    with_ = _WITH.match(text, query.start(1))
    if with_ is None:
        return f"{text[: query.start(1)]}WITH {listed}\n{text[query.start(1) :]}"
    return f"{text[: query.start(1)]}WITH {with_[1] or ''} {listed},\n{text[with_.end() :]}"


def _in_order(uses: Sequence[str], snippets: Mapping[str, Snippet]) -> list[str]:
    """Return names, each behind those that it reads."""
    found: list[str] = []
    for name in uses:
        if name not in snippets:
            meant = nearest(name, snippets)
            raise InterfaceError(
                f"no query is saved as {name}",
                hint=f"did you mean {meant}?" if meant else "keep one: %%memql --save name",
                code="42704",
            )
        found += [one for one in _in_order(snippets[name].uses, snippets) if one not in found]
        found += [name] if name not in found else []
    return found
