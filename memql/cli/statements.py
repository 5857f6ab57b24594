"""Cuts typed or piped text into statements at their semicolons."""

from __future__ import annotations

import re

# What a semicolon may stand in without ending a statement, each closed or cut off by the end.
TOKEN = re.compile(
    r"""
      '(?:[^']|'')*(?:'|\Z)
    | "(?:[^"]|"")*(?:"|\Z)
    | --[^\n]*
    | /\*(?:[^*]|\*(?!/))*(?:\*/|\Z)
    | \$(?P<tag>[A-Za-z_]*)\$ (?s:.*?) (?:\$(?P=tag)\$|\Z)
    | (?P<end>;)
    | .
    """,
    re.VERBOSE | re.DOTALL,
)


class StatementReader:
    """Collects lines and gives the statements that they complete.

    >>> reader = StatementReader()
    >>> reader.feed("SELECT ';' -- a ; b")
    []
    >>> reader.feed("; SELECT 2")
    ["SELECT ';' -- a ; b\\n"]
    >>> reader.rest()
    'SELECT 2'
    """

    def __init__(self) -> None:
        self._text = ""

    @property
    def pending(self) -> bool:
        """Whether a statement has begun and not ended."""
        return bool(self._text.strip())

    def feed(self, line: str) -> list[str]:
        """Add a line and return the statements that are complete now, without semicolons."""
        self._text += line.rstrip("\n") + "\n"
        done, start = [], 0
        for token in TOKEN.finditer(self._text):
            if token["end"]:
                done.append(self._text[start : token.start()].lstrip())
                start = token.end()
        self._text = self._text[start:].lstrip()
        return [statement for statement in done if statement.strip()]

    def rest(self) -> str:
        """Return what has begun and was not ended, and forget it."""
        text, self._text = self._text.strip(), ""
        return text
