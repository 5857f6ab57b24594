"""The wall at the tree: which functions and nodes a query may hold."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.bounds import bound_calls
from memql.engine.context import StatementContext
from memql.engine.functions import FUNCTIONS, Function, classified, table_function
from memql.engine.functions import TABLE_FUNCTIONS as CLASSIFIED_TABLES
from memql.engine.names import fold, nearest, position
from memql.engine.unbuilt import not_yet
from memql.errors import NotSupportedError, ProgrammingError

ALLOWED_FUNCTIONS: frozenset[str] = frozenset(
    name for name, function in FUNCTIONS.items() if function.refused is None
)

TABLE_FUNCTIONS: frozenset[str] = frozenset(
    name for name, function in CLASSIFIED_TABLES.items() if function.refused is None
)

_TABLE_FUNCTION_NODES = (exp.GenerateSeries, exp.Unnest, exp.Explode)

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
    exp.Join: "this on side kind using method pivots expressions",
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
    methods: list[exp.Dot] = []
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
        elif isinstance(node, exp.Dot) and isinstance(node.expression, exp.Anonymous):
            _check_method(node, context)
            methods.append(node)
    for method in reversed(methods):
        _call_method(method)
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


def _check_function(node: exp.Anonymous, context: StatementContext) -> None:
    if isinstance(node.parent, exp.Table) or node.meta.get("own"):
        return  # check_table_function looks at it; a sequence of the user's own was found
    found = classified(node.name) or table_function(node.name)
    if found is None or (found.kind == "table" and found.refused is None):
        raise _unknown("function", node.name, ALLOWED_FUNCTIONS, node, context)
    _check_refused(found, node, context)


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
