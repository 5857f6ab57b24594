"""Values and tables as HTML for notebooks: escaped, with their styles inside."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from memql.cli.values import as_text

SHOWN_ITEMS = 20  # of a list: more would fill a page
_LOADED, _COMPUTED = "#2a9d6f", "#d9822b"


def table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows under the names of their columns.

    >>> table(["a"], [[None], ["<b>"]]).count("&lt;b&gt;")
    1
    """
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def record(pairs: Iterable[tuple[str, Any]]) -> str:
    """Return names and values below each other."""
    body = "".join(
        f'<tr><th style="text-align: left">{html.escape(name)}</th>{_cell(value)}</tr>'
        for name, value in pairs
    )
    return f"<table><tbody>{body}</tbody></table>"


def note(text: str) -> str:
    """Return a line in small letters."""
    return f"<div><small>{html.escape(text)}</small></div>"


def preformatted(text: str) -> str:
    """Return a text whose lines and spaces stay."""
    return f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>'


def plan(lines: Sequence[str]) -> str:
    """Return the lines of an EXPLAIN; of a page what stands in its body."""
    text = "\n".join(lines)
    if text.startswith("<!DOCTYPE html>"):
        return text.partition("<body>")[2].partition("</body>")[0]
    return preformatted(text)


def reuse(reused_tokens: int | None, computed_tokens: int | None) -> str:
    """Return a bar of the tokens that were loaded and those that were computed.

    >>> "75%" in reuse(30, 10), reuse(None, None)
    (True, '')
    """
    if reused_tokens is None or computed_tokens is None:
        return ""
    share = round(100 * reused_tokens / max(reused_tokens + computed_tokens, 1))
    told = f"{reused_tokens:,} tokens loaded, {computed_tokens:,} computed"
    return (
        f'<div title="{told}" style="width: 12em; height: 0.5em; border-radius: 0.25em; '
        f'background: linear-gradient(to right, {_LOADED} {share}%, {_COMPUTED} {share}%)"></div>'
    )


def _cell(value: Any) -> str:
    if value is None:
        return "<td><em>NULL</em></td>"
    # Texts keep their line ends, and stand on the left, where they are read.
    style = "text-align: left; white-space: pre-wrap"
    return f'<td style="{style}">{html.escape(as_text(value, SHOWN_ITEMS))}</td>'
