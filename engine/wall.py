"""The second wall: what was printed for DuckDB is read again before it runs."""

from __future__ import annotations

import re
from collections import Counter
from typing import ClassVar

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import SqlglotError

from memql.engine.bind.functions import ALLOWED_FUNCTIONS, REFUSED_NODES, TABLE_FUNCTIONS
from memql.errors import InternalError, ProgrammingError


class PrintedDuckDB(DuckDB):
    """DuckDB's SQL as it is printed here, where every text stands in single quotes."""

    class Tokenizer(DuckDB.Tokenizer):
        """DuckDB's tokenizer without ``$tag$text$tag$``, which ``$x][$y`` looks like."""

        HEREDOC_STRINGS: ClassVar[list[str | tuple[str, str]]] = []


def check_printed(sql: str, query: exp.Expr) -> None:
    """Make sure that a printed query is one query, and reads nothing that its tree does not.

    The binder looks at the tree; some of a tree is printed as raw text, and what stood in a text
    literal there would be SQL now.

    Args:
        sql: what was printed.
        query: the bound tree.

    Raises:
        ProgrammingError: the text is no SQL.
        InternalError: the text has a table, a function or a statement that the tree has not.
    """
    _check_signs(sql, {node.name for node in query.find_all(exp.Placeholder)})
    stored = Counter[str]()
    tables, functions = set[str](), set[str]()
    for node in query.walk():
        if isinstance(node, exp.Table):
            name = _table_name(node)
            tables.add(name)
            stored[name] += bool(node.db)
        elif isinstance(node, exp.Anonymous):
            functions.add(node.name.lower())
        elif isinstance(node, exp.CTE) and "printed" in node.meta:
            # The policy is long and always the same; it is not read again.
            text = node.meta["printed"]
            if text in sql:
                sql = sql.replace(text, "SELECT 1", 1)
                stored.subtract(_table_name(table) for table in node.find_all(exp.Table))
    try:
        statements = PrintedDuckDB().parse(sql)
    except SqlglotError as error:
        raise ProgrammingError(
            "a part of the statement does not fit into SQL: what is printed of it for DuckDB "
            "cannot be read again",
            hint="name columns and tables with AS",
            code="42601",
        ) from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise InternalError("the printed query is not one query")
    for node in statements[0].walk():
        if isinstance(node, exp.Table):
            name = _table_name(node)
            stored[name] -= bool(node.db)
            # What is stored is read as often as the tree says: once more would be past the policy.
            if stored[name] < 0 or name not in tables and name not in TABLE_FUNCTIONS:
                raise InternalError(f"the printed query reads the table {name}, its tree does not")
        elif isinstance(node, exp.Anonymous):
            name = node.name.lower()
            if name not in functions and name not in ALLOWED_FUNCTIONS:
                raise InternalError(f"the printed query calls {name}, its tree does not")
        elif isinstance(node, REFUSED_NODES):
            raise InternalError(f"the printed query holds {node.key.upper()}")


def _check_signs(sql: str, parameters: set[str]) -> None:
    """Refuse what DuckDB and sqlglot may read differently: then the second look would be in vain.

    Raises:
        InternalError: a comment, a backslash, ``$tag$`` or ``E'...'`` outside of quotes, or a
            quote without end.
    """
    for found in _SIGNS.finditer(sql):
        sign = found[0]
        closed = len(sign) > 1 and sign[0] in "'\"" and sign[-1] == sign[0]
        if closed or (sign[0] == "$" and sign[1:] in parameters and sql[found.end() :][:1] != "$"):
            continue
        raise InternalError(f"the printed query holds {sign!r} outside of quotes")


# Texts and names in quotes as a whole; outside of them whatever could begin something else.
_SIGNS = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\$\w*|\b\w+(?=['"])|--|/\*|['"\\]""")


def _table_name(table: exp.Table) -> str:
    if not isinstance(table.this, exp.Identifier):
        function = table.this
        if isinstance(function, exp.Anonymous):
            return function.name.lower()
        return function.key if isinstance(function, exp.Expr) else ""
    return ".".join(part.name for part in table.parts)
