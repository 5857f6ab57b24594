"""The second wall: what was printed for DuckDB is read again, by DuckDB's own parser.

The binder looks at a tree of sqlglot's; some of a tree is printed as raw text, and DuckDB may read
a text otherwise than sqlglot does. So what is about to run is parsed by DuckDB, without running,
and every table, function, type and kind of node in that parse must be one that the binder allowed.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import duckdb
from sqlglot import exp

from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.failures import failure_of
from memql.engine.functions import classified, table_function
from memql.engine.names import fold
from memql.engine.result import scratch_connection
from memql.engine.tables import BUILTIN_TYPES, SEQUENCE_FUNCTIONS
from memql.errors import InternalError, NotSupportedError, ProgrammingError
from memql.storage.schema import SCHEMA as OWN_SCHEMA

# The kinds of DuckDB's parse nodes that are no expressions. What a new version adds is refused.
_NODES = frozenset(
    """
    SELECT_NODE SET_OPERATION_NODE RECURSIVE_CTE_NODE CTE_NODE
    BASE_TABLE SUBQUERY JOIN TABLE_FUNCTION EXPRESSION_LIST PIVOT EMPTY
    ORDER_MODIFIER LIMIT_MODIFIER LIMIT_PERCENT_MODIFIER DISTINCT_MODIFIER
    """.split()
)
_EXPRESSIONS = frozenset(
    """
    BETWEEN CASE CAST COLLATE COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION LAMBDA OPERATOR
    PARAMETER POSITIONAL_REFERENCE STAR SUBQUERY TYPE WINDOW DEFAULT
    """.split()
)


def check_printed(sql: str, query: exp.Expr) -> None:
    """Make sure that a printed query is one query, and reads nothing that its tree does not.

    Args:
        sql: what was printed.
        query: the bound tree.

    Raises:
        ProgrammingError: the text is no SQL, or calls an unknown function.
        NotSupportedError: it calls a function that queries may not call.
        InternalError: the text has a table, a type or a statement that the tree has not.
    """
    expected = _Expected(query)
    for text, read in expected.policies:
        # The policy is long and always the same; it is not read again.
        if text in sql:
            sql = sql.replace(text, "SELECT 1", 1)
            expected.stored.subtract(read)
    parsed = _parsed(sql)
    if parsed is None:  # a PIVOT whose columns are found in the data
        return check_printed(*_without_pivots(query))
    if len(parsed) != 1:
        raise InternalError("the printed query is not one query")
    for node in _nodes(parsed[0]):
        expected.check(node)


class _Expected:
    """What a tree lets its text hold.

    Args:
        query: the bound tree.
    """

    def __init__(self, query: exp.Expr) -> None:
        self.stored = Counter[str]()
        self.policies: list[tuple[str, list[str]]] = []
        self._names = set[str]()
        self._types = set[str]()
        self._sequences = set[str]()
        for node in query.walk():
            if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
                name = _joined(part.name for part in node.parts)
                self._names.add(name)
                self.stored[name] += fold(node.db) == OWN_SCHEMA
            elif isinstance(node, exp.DataType) and node.meta.get("own"):
                self._types.add(_joined(word.name for word in node.args["words"]))
            elif isinstance(node, exp.Anonymous) and node.meta.get("own"):
                self._sequences.add(node.expressions[0].name)
            elif isinstance(node, exp.CTE) and "printed" in node.meta:
                read = [_joined(p.name for p in t.parts) for t in node.find_all(exp.Table)]
                self.policies.append((node.meta["printed"], read))

    def check(self, node: dict[str, Any]) -> None:
        """Look at one node of DuckDB's parse.

        Raises:
            Error: see :func:`check_printed`.
        """
        kind = node.get("type")
        if isinstance(kind, dict):
            return  # a value: the size of a sample
        known = node.get("class") in _EXPRESSIONS if "class" in node else kind in _NODES
        if kind == "BASE_TABLE":
            self._check_table(node)
        elif kind == "TABLE_FUNCTION":
            self._check_function(node["function"], in_from=True)
        elif "function_name" in node:
            self._check_function(node, in_from=False)
        elif node.get("class") == "TYPE":
            self._check_type(node)
        elif kind is not None and not known and not _is_order(node):
            raise InternalError(f"the printed query holds {node.get('class') or kind}")

    def _check_table(self, node: dict[str, Any]) -> None:
        path = node["qualified_name"]["path"]
        name = _joined(path)
        # MemQL's own are read as often as the tree says: once more would be past the policy.
        self.stored[name] -= fold(path[0]) == OWN_SCHEMA
        if name not in self._names or self.stored[name] < 0 or node.get("at_clause"):
            raise InternalError(f"the printed query reads the table {name}, its tree does not")

    def _check_function(self, node: dict[str, Any], *, in_from: bool) -> None:
        name = node["function_name"]
        if len(node.get("qualified_name", {}).get("path", ())) > 1:
            raise InternalError(f"the printed query calls {name} of a schema")
        if fold(name) in SEQUENCE_FUNCTIONS and not in_from:
            arguments = [one["expression"] for one in node.get("arguments", ())]
            texts = [one.get("literal", {}).get("text") for one in arguments]
            if len(texts) != 1 or texts[0] not in self._sequences:
                raise InternalError(f"the printed query calls {name}, its tree does not")
            return
        found = table_function(name) if in_from else classified(name)
        what = "table function" if in_from else "function"
        if found is None:
            raise ProgrammingError(f"unknown {what} '{name}'", code="42883")
        if found.refused is not None:
            raise NotSupportedError(
                f"the {what} {name} is not possible in a query: {found.refused}"
            )

    def _check_type(self, node: dict[str, Any]) -> None:
        path = node["qualified_name"]["path"]
        bare = len(path) == 1 or (len(path) == 2 and fold(path[0]) == "main")
        builtin = bare and fold(path[-1]) in BUILTIN_TYPES
        if not builtin and _joined(path) not in self._types:
            raise InternalError(f"the printed query uses the type {_joined(path)}")


def _is_order(node: dict[str, Any]) -> bool:
    """Tell whether a node is one key of an ORDER BY, whose type is its direction."""
    return node["type"] in ("ORDER_DEFAULT", "ASCENDING", "DESCENDING")


def _joined(parts: Any) -> str:
    return ".".join(fold(part) for part in parts)


def _nodes(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every object of a parse, without recursion: chains of operators are deep."""
    waiting: list[Any] = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("type") == "TABLE_FUNCTION":
                # Its call is looked at as one in FROM; only what is inside comes as a node.
                yield {key: one for key, one in value.items() if key != "type"} | {
                    "type": "TABLE_FUNCTION"
                }
                waiting.extend(one for key, one in value.items() if key != "function")
                waiting.extend(
                    one for key, one in value["function"].items() if key != "function_name"
                )
                continue
            yield value
            waiting.extend(one for one in value.values() if isinstance(one, dict | list))
        elif isinstance(value, list):
            waiting.extend(value)


# -- DuckDB's parser ------------------------------------------------------------------------------

_ASK = "SELECT json_serialize_sql($1, skip_null := true, skip_empty := true, skip_default := true)"


def column_name(expression: str) -> str:
    """Return the name that DuckDB gives to the column of an expression.

    Args:
        expression: printed for DuckDB.
    """
    ask = "SELECT json_deserialize_sql(json_serialize_sql($1))"
    try:
        found = scratch_connection().cursor().execute(ask, [f"SELECT {expression}"]).fetchone()
    except duckdb.Error:
        return expression  # no SQL: the query will not run
    assert found is not None  # a SELECT of one row
    return str(found[0]).removeprefix("SELECT ")


def _parsed(sql: str) -> list[dict[str, Any]] | None:
    """Return DuckDB's parse of the statements of a text; None where it has none to show.

    Raises:
        ProgrammingError: the text is no SQL.
        InternalError: it is not a query.
    """
    found = scratch_connection().cursor().execute(_ASK, [sql]).fetchone()
    assert found is not None  # a SELECT of one row
    read = _from_json(found[0])
    if not read["error"]:
        statements: list[dict[str, Any]] = read["statements"]
        return statements
    if read.get("error_type") == "not implemented":
        if _is_query(sql):
            return None
        raise InternalError("the printed query is not one query")
    message = str(read["error_message"])
    failure = failure_of(duckdb.ParserException(message), message)
    raise failure.error(
        failure.message or f"a part of the statement does not fit into DuckDB's SQL: {message}",
        hint=failure.hint or "name columns and tables with AS",
        code=failure.code,
    )


def _is_query(sql: str) -> bool:
    """Tell whether a text is one statement that only reads."""
    found = scratch_connection().cursor().extract_statements(sql)
    kinds = (duckdb.StatementType.SELECT, duckdb.StatementType.MULTI)
    return len(found) == 1 and found[0].type in kinds


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        return _from_deep_json(text)


_SIGN = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s\[\]{},:"]+|[\[\]{},:]')


def _from_deep_json(text: str) -> Any:
    """Return what a JSON text says, however deep it is."""
    # Each open bracket is a container on the stack, the outermost a list for the whole.
    stack: list[Any] = [[]]
    keys: list[str | None] = [None]
    signs = _SIGN.finditer(text)
    for found in signs:
        sign = found[0]
        if sign in "]}":
            stack.pop()
            keys.pop()
            continue
        if sign in ",:":
            continue
        inside = stack[-1]
        if isinstance(inside, dict) and keys[-1] is None:
            keys[-1] = json.loads(sign)
            continue
        value: Any = {} if sign == "{" else [] if sign == "[" else json.loads(sign)
        if isinstance(inside, dict):
            inside[keys[-1]] = value
            keys[-1] = None
        else:
            inside.append(value)
        if sign in "[{":
            stack.append(value)
            keys.append(None)
    return stack[0][0]


def _without_pivots(query: exp.Expr) -> tuple[str, exp.Expr]:
    """Return (text, tree) of a query in which each PIVOT is a SELECT of all its expressions.

    DuckDB does not show how it reads a PIVOT whose columns come from the data. The same
    expressions, printed in the same way, stand in a SELECT here.
    """
    query = query.copy()
    pivots = [node for node in query.find_all(exp.Pivot) if isinstance(node.this, exp.Expr)]
    if not pivots:
        raise InternalError("the printed query is not one query")
    for pivot in pivots:
        group = pivot.args.get("group")
        shown = [
            one.copy()
            for one in (
                *pivot.expressions,
                *(pivot.args.get("using") or ()),
                *(group.expressions if group is not None else ()),
            )
        ]
        select = exp.Select(expressions=shown, from_=exp.From(this=pivot.this.copy()))
        if pivot.args.get("with_") is not None:
            select.set("with_", pivot.args["with_"].copy())
        pivot.replace(select)
    return query.sql(dialect=PlainDuckDB, identify=True, comments=False), query
