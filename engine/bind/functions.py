"""The wall at the tree: which functions and nodes a query may hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.bounds import bound_calls
from memql.engine.context import StatementContext
from memql.engine.functions import FUNCTIONS, Function, classified, table_function
from memql.engine.functions import TABLE_FUNCTIONS as CLASSIFIED_TABLES
from memql.engine.names import fold, nearest, position
from memql.engine.tables import BUILTIN_TYPES
from memql.engine.unbuilt import not_yet
from memql.errors import NotSupportedError, ProgrammingError

ALLOWED_FUNCTIONS: frozenset[str] = frozenset(
    name for name, function in FUNCTIONS.items() if function.refused is None
)

TABLE_FUNCTIONS: frozenset[str] = frozenset(
    name for name, function in CLASSIFIED_TABLES.items() if function.refused is None
)

_TABLE_FUNCTION_NODES = (exp.GenerateSeries, exp.Unnest, exp.Explode, exp.Values)

# Nodes with a meaning of their own that a query has no business with. Everything that writes,
# defines, or reads what is not a memory.
REFUSED_NODES: tuple[type[exp.Expr], ...] = (
    exp.DDL,
    exp.DML,
    exp.Command,
    exp.Describe,
    exp.Summarize,
    exp.Show,
    exp.Set,
    exp.Pragma,
    exp.Attach,
    exp.Detach,
    exp.Copy,
    exp.Use,
    exp.Into,
    exp.Drop,
    exp.Alter,
    exp.ReadCSV,
    exp.ReadParquet,
    exp.SessionParameter,
    exp.CurrentCatalog,
    exp.CurrentDatabase,
    exp.CurrentSchema,
    exp.CurrentSchemas,
    exp.CurrentUser,
    exp.CurrentVersion,
    exp.SessionUser,
    exp.Transaction,
    exp.Commit,
    exp.Rollback,
    syntax.Materialize,
    syntax.CreateMaterializedView,
    syntax.RefreshMaterializedView,
    syntax.DropMaterializedView,
    syntax.CreateModel,
    syntax.DropModel,
    syntax.Explain,
    syntax.ShowCatalog,
)


# The parts that DuckDB's grammar has. sqlglot reads those of other dialects too, and leaves them
# out when it prints for DuckDB: the query would silently be another one.
_MODIFIERS = (
    "with_ laterals joins pivots where group having qualify windows order limit offset sample"
)
_PARTS: dict[type[exp.Expr], str] = {
    exp.Select: f"{_MODIFIERS} expressions distinct into from_",
    exp.Subquery: f"{_MODIFIERS} this alias",
    exp.Union: f"{_MODIFIERS} this expression distinct by_name",
    exp.Intersect: f"{_MODIFIERS} this expression distinct by_name",
    exp.Except: f"{_MODIFIERS} this expression distinct by_name",
    exp.Table: "this alias db catalog laterals joins pivots ordinality when rows_from sample",
    exp.With: "expressions recursive",
    exp.CTE: "this alias materialized key_expressions",
    exp.Join: "this on side kind using method pivots expressions nearest",
    exp.Group: "expressions grouping_sets cube rollup all",
    exp.Order: "this expressions",
    exp.Ordered: "this desc nulls_first",
    exp.Limit: "this expression limit_options",
    exp.Fetch: "direction count limit_options",
    exp.LimitOptions: "rows percent",
    exp.Cast: "this to safe",
    exp.TryCast: "this to safe requires_string",
    exp.JSONObject: "expressions",
    exp.GroupConcat: "this separator",
    exp.ApproxQuantile: "this quantile",
    exp.ApproxDistinct: "this",
    exp.CurrentTimestamp: "",
    exp.CurrentTime: "",
}
_FOREIGN: dict[type[exp.Expr], frozenset[str]] = {
    kind: frozenset(kind.arg_types) - frozenset(parts.split()) for kind, parts in _PARTS.items()
}


def _check_clauses(node: exp.Expr, context: StatementContext) -> None:
    """Refuse a part of a node that DuckDB's grammar does not have.

    Raises:
        NotSupportedError: with the name of the part.
    """
    foreign = [key for key in _FOREIGN[node.__class__] if node.args.get(key)]
    if isinstance(node, exp.LimitOptions) and isinstance(node.parent, exp.Fetch):
        foreign += [key for key in ("percent",) if node.args.get(key)]
    if foreign:
        part = ", ".join(sorted(key.strip("_").upper().replace("_", " ") for key in foreign))
        raise NotSupportedError(
            f"{node.key.upper()} with {part} is another dialect's and not possible in a query",
            position=position(context.text, node),
            statement=context.text,
        )


def check_query_nodes(query: exp.Query, context: StatementContext) -> None:
    """Refuse what a query may not hold, and bound, in place, what it may make too large.

    Raises:
        DataError: a call makes too large a value.
        NotSupportedError: a statement or a construct that reads past the memories.
        ProgrammingError: an unknown function, with the nearest known one.
    """
    for method in reversed(list(query.find_all(exp.Dot))):
        if isinstance(method.expression, exp.Anonymous):
            _check_method(method, context)
            _call_method(method)
    for node in query.walk():
        if node.__class__ in _FOREIGN:
            _check_clauses(node, context)
        if isinstance(node, exp.Query) or node.__class__ is exp.Column:
            continue
        if isinstance(node, exp.Identifier):
            _check_identifier(node, context)
            continue
        if isinstance(node, syntax.Matches | syntax.TimeTravel):
            form = "MATCHES" if isinstance(node, syntax.Matches) else "AT"
            raise not_yet(form, position=position(context.text, node), statement=context.text)
        if isinstance(node, REFUSED_NODES):
            name = f"the function {node.sql_name().lower()}" if isinstance(node, exp.Func) else ""
            raise NotSupportedError(
                f"{name or node.key.upper()} is not possible inside a query",
                position=position(context.text, node),
                statement=context.text,
            )
        if isinstance(node, exp.Anonymous):
            _check_function(node, context)
        elif isinstance(node, exp.Collate):
            _check_collation(node, context)
        elif isinstance(node, exp.Var | exp.DataType):
            _check_word(node, context)
    bound_calls(query, context)


# A column of such a name has no methods.
_SCHEMAS = frozenset({"information_schema", "main", "memql", "pg_catalog", "system", "temp"})


def _check_method(method: exp.Dot, context: StatementContext) -> None:
    target = method.this
    if isinstance(target, exp.Identifier) and fold(target.name) in _SCHEMAS:
        raise ProgrammingError(
            f"unknown schema '{target.name}' of a function",
            hint="functions are called by their bare name",
            position=position(context.text, target),
            statement=context.text,
            code="3F000",
        )


def _call_method(method: exp.Dot) -> None:
    """Write, in place, ``x.f(y)`` as ``f(x, y)``: DuckDB could take ``x`` for a schema."""
    target = method.this
    if isinstance(target, exp.Identifier):
        target = exp.Column(this=target)
    call = method.expression
    call.set("expressions", [target, *call.expressions])
    method.replace(call)


def _check_word(node: exp.Var | exp.DataType, context: StatementContext) -> None:
    # Units, and names of types that sqlglot does not know: printed as they are.
    word = node.name if isinstance(node, exp.Var) else node.args.get("kind")
    if isinstance(word, exp.Expr):
        word = word.name
    if isinstance(word, str) and not word.replace("_", "").replace(" ", "").isalnum():
        raise NotSupportedError(
            f"{word[:40]!r} is no name of a unit or a type",
            position=position(context.text, node),
            statement=context.text,
        )


def _check_collation(node: exp.Collate, context: StatementContext) -> None:
    # sqlglot prints a text there without its quotes.
    name = node.expression
    parts = name.parts if isinstance(name, exp.Column | exp.Dot) else [name]
    if not all(
        isinstance(part, exp.Identifier | exp.Var) and part.name.replace("_", "").isalnum()
        for part in parts
    ):
        raise NotSupportedError(
            "COLLATE takes the name of a collation",
            hint="COLLATE NOCASE",
            position=position(context.text, name),
            statement=context.text,
        )


def _check_identifier(node: exp.Identifier, context: StatementContext) -> None:
    if fold(node.name).startswith("_memql"):
        raise ProgrammingError(
            f"names that start with _memql are MemQL's own: '{node.name}'",
            position=position(context.text, node),
            statement=context.text,
            code="42939",
        )


def check_table_function(table: exp.Table, context: StatementContext) -> None:
    """Refuse table functions outside the allow-list.

    Raises:
        NotSupportedError: one that reads past the memories.
        ProgrammingError: an unknown one, with the nearest known one.
    """
    function = table.this
    if not isinstance(function, exp.Expr):
        raise NotSupportedError(
            "ROWS FROM is not possible in a query",
            hint="write the functions behind each other in FROM",
            position=position(context.text, table),
            statement=context.text,
        )
    if isinstance(function, _TABLE_FUNCTION_NODES):
        return
    if isinstance(function, exp.Anonymous):
        name = function.name
    else:
        name = function.sql_name() if isinstance(function, exp.Func) else function.key
    found = table_function(name)
    if found is None:
        raise _unknown("table function", name, TABLE_FUNCTIONS, function, context)
    _check_refused(found, function, context)


# What DuckDB's grammar reads before a function of that name is looked for.
_GRAMMAR = frozenset("array grouping grouping_id percentile_cont percentile_disc try".split())


def _check_function(node: exp.Anonymous, context: StatementContext) -> None:
    if isinstance(node.parent, exp.Table) or node.meta.get("own"):
        return  # check_table_function looks at it; a sequence of the user's own was found
    if node.name.lower() in _GRAMMAR:
        return
    found = classified(node.name) or table_function(node.name)
    if found is None or (found.kind == "table" and found.refused is None):
        raise _unknown("function", node.name, ALLOWED_FUNCTIONS, node, context)
    _check_refused(found, node, context)
    if found.name in _TYPED_BY_TEXT:
        _check_structure(node, context)


# Their second argument is a structure in JSON, with names of types in its texts.
_TYPED_BY_TEXT = frozenset({"from_json", "from_json_strict", "json_transform"}) | {
    "json_transform_strict"
}
_WORDS_OF_TYPES = BUILTIN_TYPES | {"precision", "time", "varying", "with", "without", "zone"}


def _check_structure(node: exp.Anonymous, context: StatementContext) -> None:
    """Refuse a structure that names types which are not DuckDB's own: they may be another user's.

    Raises:
        NotSupportedError: it does, or it is not written out.
    """
    structure = node.expressions[1] if len(node.expressions) == 2 else exp.Literal.string("null")
    names: list[object] | None = None
    if isinstance(structure, exp.Literal) and structure.is_string:
        try:
            # An object as the list of its values, all of them: a name may stand there twice.
            read = json.loads(structure.name, object_pairs_hook=_values)
            names = list(_leaves(read))
        except ValueError:
            names = None  # DuckDB would read the part that is JSON
    if names is None or not all(
        fold(word) in _WORDS_OF_TYPES
        for name in names
        if isinstance(name, str)
        for word in re.findall(r"[^\W\d]\w*|[^\w\s()\[\],]", name)
    ):
        raise NotSupportedError(
            f"{node.name} takes a structure that is written out and names DuckDB's own types",
            hint="""json_transform(value, '{"a": "INTEGER", "b": ["VARCHAR"]}')""",
            position=position(context.text, node),
            statement=context.text,
        )


def _values(pairs: list[tuple[str, Any]]) -> list[Any]:
    return [value for _, value in pairs]


def _leaves(value: Any) -> Iterator[object]:
    """Yield what a structure holds and is neither a list nor an object."""
    if isinstance(value, list):
        for one in value:
            yield from _leaves(one)
    else:
        yield value


def _check_refused(function: Function, node: exp.Expr, context: StatementContext) -> None:
    if function.refused is None:
        return
    kind = "table function" if function.kind == "table" else "function"
    raise NotSupportedError(
        f"the {kind} {function.name} is not possible in a query: {function.refused}",
        position=position(context.text, node),
        statement=context.text,
    )


def _unknown(
    kind: str, name: str, known: Iterable[str], node: exp.Expr, context: StatementContext
) -> ProgrammingError:
    guess = nearest(name, known, cutoff=0.75)
    return ProgrammingError(
        f"unknown {kind} '{name}'",
        hint=f"did you mean {guess}?" if guess else None,
        position=position(context.text, node),
        statement=context.text,
        code="42883",
    )
