"""The Tab key in a cell of MemQL: words, tables, columns, views, models, connections, options."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from memql.dialect.words import WORDS
from memql.engine.bind.shape import MEMORIES
from memql.engine.names import quote
from memql.errors import Error
from memql.rows import tuple_row
from memql.storage.schema import MEMORY_COLUMNS

if TYPE_CHECKING:
    from memql.connection import Connection
    from memql.jupyter.notebook import Notebook

_LINE = re.compile(r"^\s*(?:\w+\s*=\s*)?%memql(?:_explain)?\s(?P<text>.*)$")
_CELL = re.compile(r"\A\s*%%memql(?:_explain)?\b")
_PREFIX = re.compile(r"(?:(?P<table>\w+)\.)?(?P<word>--\w*|\w*)$")
_OPTIONS = (
    "--limit",
    "--save",
    "--with",
    "--explain",
    "--analyze",
    "--stream",
    "--alias",
    "--user",
    "--model",
)
_VERBS = ("connect", "close", "connections")
_LISTS = {"table": "SHOW TABLES", "view": "SHOW MATERIALIZED VIEWS", "model": "SHOW MODELS"}


def completer(notebook: Notebook) -> Callable[[Any], Any]:
    """Return a matcher for IPython's completer.

    Args:
        notebook: whose connections and queries are offered.
    """
    from IPython.core.completer import SimpleCompletion, context_matcher

    def memql_matcher(context: Any) -> Any:
        before = _statement_before(context.full_text, context.cursor_position, context.cursor_line)
        if before is None:
            return {"completions": []}
        found = _PREFIX.search(before)
        assert found is not None  # a prefix may be empty
        fragment = found["word"]
        offered = candidates(notebook, found["table"], first=not before[: found.start()].strip())
        matching = [
            SimpleCompletion(
                _in_the_case_of(fragment, text) if kind == "keyword" else text, type=kind
            )
            for text, kind in offered
            if text.lower().startswith(fragment.lower())
        ]
        # Python's own names have no place in a statement.
        return {"completions": matching, "matched_fragment": fragment, "suppress": True}

    matcher: Callable[[Any], Any] = context_matcher()(memql_matcher)
    return matcher


def _statement_before(text: str, column: int, line: int) -> str | None:
    """Return what stands in a magic before the cursor; None if the cursor is in no magic.

    >>> _statement_before("%%memql\\nSELECT con", 10, 1), _statement_before("print(x", 7, 0)
    ('\\nSELECT con', None)
    """
    lines = text.split("\n")
    before = "\n".join([*lines[:line], lines[line][:column]])
    cell = _CELL.match(text)
    if cell is not None:
        return before[cell.end() :]
    magic = _LINE.match(before.split("\n")[-1])
    return None if magic is None else magic["text"]


def candidates(notebook: Notebook, table: str | None, *, first: bool) -> list[tuple[str, str]]:
    """Return what may stand at a place, each with its kind.

    Args:
        table: what stands before a dot there, or None.
        first: whether it is the first word behind the magic.
    """
    connection = notebook.connection
    names = dict(_names(connection)) if connection is not None else {}
    tables = [MEMORIES, *(name for name, kind in names.items() if kind != "model")]
    if table is not None:
        # Any other name is an alias.
        named = [name for name in tables if name.lower() == table.lower()]
        return [(column, "column") for column in _columns(connection, named or tables)]
    found = [(column, "column") for column in _columns(connection, tables)]
    found += [(MEMORIES, "table"), *names.items()]
    found += [(word, "keyword") for word in sorted(WORDS)]
    if first:
        found += [(verb, "magic") for verb in _VERBS]
        found += [(alias, "connection") for alias in notebook.names]
    found += [(option, "option") for option in _OPTIONS]
    return found


def _names(connection: Connection[Any]) -> Iterator[tuple[str, str]]:
    for kind, statement in _LISTS.items():
        for row in _rows(connection, statement):
            yield row[0], kind


def _columns(connection: Connection[Any] | None, tables: list[str]) -> list[str]:
    """Return the columns of tables, each once."""
    found: list[str] = []
    for name in tables:
        if name == MEMORIES:
            found += [column for column, _ in MEMORY_COLUMNS]
        elif connection is not None:
            found += [row[0] for row in _rows(connection, f"DESCRIBE {quote(name)}")]
    return list(dict.fromkeys(found))


def _rows(connection: Connection[Any], statement: str) -> list[tuple[Any, ...]]:
    try:
        return connection.cursor(tuple_row).execute(statement).fetchall()
    except Error:
        return []  # a view that reads what is not there any more; a transaction that failed


def _in_the_case_of(fragment: str, word: str) -> str:
    """Return a keyword as the user writes keywords.

    >>> _in_the_case_of("sel", "SELECT"), _in_the_case_of("", "SELECT")
    ('select', 'SELECT')
    """
    return word.lower() if fragment.islower() else word
