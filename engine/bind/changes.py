"""The binder of INSERT, UPDATE and DELETE on memories: each becomes a query for what to write.

A change is a query, bound like any other with the user's policy in it, whose rows are then
written by their ids. So nothing can be changed that the user could not select.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlglot import exp

from memql.engine.bind.columns import check_columns, output_columns
from memql.engine.bind.functions import check_query_nodes
from memql.engine.bind.policy import DELETE, UPDATE
from memql.engine.bind.query import QueryBinder
from memql.engine.bind.shape import MEMORIES, is_anonymous_aggregate
from memql.engine.bind.sources import MEMORY_NAMES
from memql.engine.bind.writes import TableChange, actions_of, bind_write
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.names import fold, position, unknown
from memql.engine.plan import Relation
from memql.engine.tables import OrdinaryTable, resolve_sequences, resolve_types
from memql.engine.unbuilt import not_yet
from memql.errors import NotSupportedError, ProgrammingError
from memql.storage.idempotency import KEY_COLUMN
from memql.storage.schema import MEMORY_COLUMNS

# What only MemQL itself writes.
COMPUTED_COLUMNS: tuple[str, ...] = ("updated_at", "state", "version")


@dataclass(frozen=True)
class InsertPlan:
    """The rows to insert: a relation with the columns that the statement names, cast."""

    relation: Relation
    columns: tuple[str, ...]
    returning: exp.Select | None


@dataclass(frozen=True)
class UpdatePlan:
    """The rows to change: a relation with the column id and one for each assignment."""

    relation: Relation
    columns: tuple[str, ...]
    returning: exp.Select | None


@dataclass(frozen=True)
class DeletePlan:
    """The rows to archive: a relation with the column id."""

    relation: Relation
    returning: exp.Select | None


MemoryChange = InsertPlan | UpdatePlan | DeletePlan
ChangePlan = MemoryChange | TableChange


def bind_change(
    tree: exp.Insert | exp.Update | exp.Delete | exp.Merge, binder: QueryBinder
) -> ChangePlan:
    """Return the plan of a change of memories, or of an ordinary table.

    Raises:
        ProgrammingError: an unknown table or column, or a column that MemQL computes.
        NotSupportedError: a form that MemQL does not have.
    """
    ordinary = _ordinary_target(tree, binder)
    if ordinary is not None:
        return bind_write(tree, ordinary, binder)
    if isinstance(tree, exp.Merge):
        _check_target(tree.this, "MERGE", binder)
        raise not_yet(
            "MERGE INTO memories",
            hint="INSERT, UPDATE and DELETE write memories",
            position=position(binder.context.text, tree.this),
            statement=binder.context.text,
        )
    if isinstance(tree, exp.Insert):
        return _bind_insert(tree, binder)
    if isinstance(tree, exp.Update):
        return _bind_update(tree, binder)
    return _bind_delete(tree, binder)


def _ordinary_target(tree: exp.Expr, binder: QueryBinder) -> OrdinaryTable | None:
    """Return the ordinary table that a change names, if it names one."""
    table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
        return None
    if table.catalog or (fold(table.name) == MEMORIES and not table.db):
        return None
    found = binder.views.tables.to_change(table, actions_of(tree))
    if found is not None and binder.context.rights.ends(found.owner, found.name) is not None:
        binder.values.hold_for_now()
    return found


def _bind_insert(tree: exp.Insert, binder: QueryBinder) -> InsertPlan:
    target = tree.this
    named = target.expressions if isinstance(target, exp.Schema) else []
    table = target.this if isinstance(target, exp.Schema) else target
    _check_target(table, "INSERT", binder)
    _check_clauses(tree, ("this", "expression", "returning", "with_", "by_name"), binder)
    source = tree.expression
    if not isinstance(source, exp.Query | exp.Values):
        raise NotSupportedError(
            "INSERT takes VALUES or a query",
            position=position(binder.context.text, table),
            statement=binder.context.text,
        )
    if isinstance(source, exp.Values):
        rows = exp.Subquery(
            this=source.copy(), alias=exp.TableAlias(this=exp.to_identifier("inserted"))
        )
        source = exp.select("*").from_(rows)
    if tree.args.get("with_"):
        source = source.copy()
        source.set("with_", tree.args["with_"].copy())
    if tree.args.get("by_name"):
        names = output_columns(source, binder.views)
        if names is None:
            raise ProgrammingError(
                "INSERT BY NAME needs named columns, without *",
                hint="name the columns: INSERT INTO memories BY NAME SELECT text AS content ...",
                position=position(binder.context.text, source),
                statement=binder.context.text,
                code="42601",
            )
        columns = tuple(fold(name) for name in names)
        nodes: list[exp.Expr] = [table for _ in columns]
    elif named:
        columns = tuple(fold(node.name) for node in named)
        nodes = list(named)
    else:
        raise ProgrammingError(
            "INSERT INTO memories names its columns",
            hint="INSERT INTO memories (content, kind) VALUES (...)",
            position=position(binder.context.text, table),
            statement=binder.context.text,
            code="42601",
        )
    _check_columns(columns, nodes, binder, (*MEMORY_NAMES, KEY_COLUMN))
    _check_width(source, columns, binder)
    if "content" not in columns:
        raise ProgrammingError(
            "INSERT INTO memories needs the column content",
            hint="INSERT INTO memories (content, kind) VALUES (...)",
            position=position(binder.context.text, nodes[0]),
            statement=binder.context.text,
            code="23502",
        )
    bound = binder.bind_relation(_checked(source, binder))
    return InsertPlan(
        replace(bound, query=_cast_columns(bound.query, columns)),
        columns,
        _returning(tree, binder),
    )


def _check_width(source: exp.Query, columns: tuple[str, ...], binder: QueryBinder) -> None:
    start = source.args.get("from_")
    inner = start.this.this if start is not None and isinstance(start.this, exp.Subquery) else None
    if isinstance(inner, exp.Values) and isinstance(source, exp.Select) and source.is_star:
        values = inner
        widths = {len(row.expressions) for row in values.expressions if isinstance(row, exp.Tuple)}
    else:
        found = output_columns(source, binder.views)
        if found is not None:
            widths = {len(found)}
        elif isinstance(source, exp.Select) and not source.find(exp.Star, exp.Columns):
            widths = {len(source.expressions)}
        else:
            widths = set()  # only DuckDB can tell
    for width in sorted(widths):
        if width != len(columns):
            raise ProgrammingError(
                f"INSERT names {len(columns)} columns, its source gives {width}",
                hint="columns: " + ", ".join(columns),
                position=position(binder.context.text, inner if inner is not None else source),
                statement=binder.context.text,
                code="42601",
            )


def _bind_update(tree: exp.Update, binder: QueryBinder) -> UpdatePlan:
    table = tree.this
    _check_target(table, "UPDATE", binder)
    _check_clauses(tree, ("this", "expressions", "where", "returning", "with_"), binder)
    names: list[exp.Expr] = []
    columns: list[str] = []
    select = exp.select(exp.column("id", table=table.alias_or_name))
    for assignment in tree.expressions:
        column = assignment.this
        if not isinstance(assignment, exp.EQ) or not isinstance(column, exp.Column):
            raise NotSupportedError(
                "UPDATE assigns single columns: SET column = expression",
                position=position(binder.context.text, assignment),
                statement=binder.context.text,
            )
        columns.append(fold(column.name))
        names.append(column)
        value = cast_to_column(assignment.expression.copy(), columns[-1])
        alias = f"new_{columns[-1]}"
        select = select.select(exp.alias_(value, alias, quoted=True), copy=False)
    _check_columns(columns, names, binder)
    if "id" in columns:
        raise ProgrammingError(
            "the column id of a memory never changes",
            hint="insert a new memory and delete the old one",
            position=position(binder.context.text, names[columns.index("id")]),
            statement=binder.context.text,
            code="428C9",
        )
    select = _with_rows(select.from_(_written(table, UPDATE)), tree)
    bound = binder.bind_relation(_checked(select, binder))
    return UpdatePlan(bound, tuple(columns), _returning(tree, binder))


def _bind_delete(tree: exp.Delete, binder: QueryBinder) -> DeletePlan:
    table = tree.this
    _check_target(table, "DELETE", binder)
    _check_clauses(tree, ("this", "where", "returning", "with_"), binder)
    select = exp.select(exp.column("id", table=table.alias_or_name)).from_(_written(table, DELETE))
    bound = binder.bind_relation(_checked(_with_rows(select, tree), binder))
    return DeletePlan(bound, _returning(tree, binder))


def _written(table: exp.Table, command: str) -> exp.Table:
    """Return a table of memories that reads those that a command may write."""
    table = table.copy()
    table.meta["command"] = command
    return table


def _with_rows(select: exp.Select, tree: exp.Expr) -> exp.Select:
    for key in ("where", "with_"):
        clause = tree.args.get(key)
        if clause is not None:
            select.set(key, clause.copy())
    return select


def _returning(tree: exp.Expr, binder: QueryBinder) -> exp.Select | None:
    clause = tree.args.get("returning")
    if clause is None:
        return None
    if clause.args.get("into"):
        raise NotSupportedError(
            "RETURNING INTO is not possible",
            position=position(binder.context.text, clause),
            statement=binder.context.text,
        )
    select = exp.Select(expressions=[node.copy() for node in clause.expressions])
    # It runs over the rows just written, without the policy: nothing else may be in its reach.
    resolve_sequences(select, binder.views.tables, binder.context)
    check_query_nodes(select, binder.context)
    resolve_types(select, binder.views.tables, binder.context)
    for node in select.walk():
        inner = (exp.Query, exp.Table, exp.AggFunc, exp.Window, exp.Explode, exp.Unnest)
        if node is not select and (isinstance(node, inner) or is_anonymous_aggregate(node)):
            raise NotSupportedError(
                "RETURNING takes expressions over the row's own columns",
                position=position(binder.context.text, node),
                statement=binder.context.text,
            )
    table = exp.to_table(MEMORIES)
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    table.set("alias", exp.TableAlias(this=exp.to_identifier(target.alias_or_name, quoted=True)))
    select = select.from_(table)
    _checked(select, binder)
    return select


# Where sqlglot's name of a clause is not the clause's own.
_CLAUSES = {"conflict": "ON CONFLICT", "alternative": "OR REPLACE or OR IGNORE"}


def _check_clauses(tree: exp.Expr, known: tuple[str, ...], binder: QueryBinder) -> None:
    """Refuse clauses that would be parsed and then left out, such as DELETE ... LIMIT."""
    table = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    odd = [key for key, value in tree.args.items() if value and key not in known]
    odd += [
        key for key, value in table.args.items() if value and key not in ("this", "alias", "db")
    ]
    if odd:
        clauses = ", ".join(_CLAUSES.get(key, key.strip("_").upper()) for key in odd)
        first = tree.args.get(odd[0]) or table.args.get(odd[0])
        raise NotSupportedError(
            f"{tree.key.upper()} with {clauses} is not possible on memories",
            position=(
                position(binder.context.text, first if isinstance(first, exp.Expr) else None)
                or position(binder.context.text, table)
            ),
            statement=binder.context.text,
        )


def _check_target(table: exp.Expr, verb: str, binder: QueryBinder) -> None:
    if isinstance(table, exp.Table) and not table.db and fold(table.name) == MEMORIES:
        return
    name = table.sql(dialect=PlainDuckDB)
    view = None
    if isinstance(table, exp.Table):
        name = ".".join(part.name for part in table.parts)
        view = None if table.catalog else binder.views.find(table.name, table.db)
    if view is not None:
        raise ProgrammingError(
            f"{verb} cannot write the view {view.name}: memories and tables only",
            position=position(binder.context.text, table),
            statement=binder.context.text,
            code="42809",
        )
    known = [MEMORIES, *binder.views.tables.known_names()]
    raise unknown("table", name, known, binder.context, table)


def _check_columns(
    columns: tuple[str, ...] | list[str],
    nodes: list[exp.Expr],
    binder: QueryBinder,
    known: tuple[str, ...] = MEMORY_NAMES,
) -> None:
    context = binder.context
    for number, (name, node) in enumerate(zip(columns, nodes, strict=True)):
        if name not in known:
            raise unknown("column", name, known, context, node)
        if name in COMPUTED_COLUMNS:
            raise ProgrammingError(
                f"the column {name} is computed by MemQL",
                position=position(context.text, node),
                statement=context.text,
                code="428C9",
            )
        if name in columns[:number]:
            raise ProgrammingError(
                f"the column {name} is written twice",
                position=position(context.text, node),
                statement=context.text,
                code="42701",
            )


def _checked(query: exp.Query, binder: QueryBinder) -> exp.Query:
    check_columns(query, binder.context, binder.views)
    return query


def _cast_columns(query: exp.Query, columns: tuple[str, ...]) -> exp.Query:
    """Wrap a query so that its columns have the names and types of memories."""
    names = [exp.to_identifier(name, quoted=True) for name in columns]
    alias = exp.TableAlias(this=exp.to_identifier("_memql_new", quoted=True), columns=names)
    casts = [
        exp.alias_(cast_to_column(exp.column(name, quoted=True), name), name, quoted=True)
        for name in columns
    ]
    source = exp.Subquery(this=query, alias=alias)
    return exp.Select(expressions=casts, from_=exp.From(this=source))


def cast_to_column(value: exp.Expr, column: str) -> exp.Expr:
    """Return a value cast to the type of a column of memories; unknown columns stay text."""
    kind = _COLUMN_TYPES.get(column, _COLUMN_TYPES["content"])
    return exp.Cast(this=value, to=kind.copy())


# Built once: reading a type's name costs more than the rest of a small statement's binding.
_COLUMN_TYPES: dict[str, exp.DataType] = {
    name: exp.DataType.build(kind, dialect="duckdb") for name, kind in MEMORY_COLUMNS
}
