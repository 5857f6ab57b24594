"""Lineage: which memories, in which versions, each row of a query was made from.

Every reach of memories carries a hidden column, a list with one struct of (owner, created_at, id,
version). It is kept through filters and projections, joined by concatenation, and collected by
GROUP BY and DISTINCT. Where a row's text can depend on rows that this would not name, the query is
not traceable: its result serves the query and is not stored.
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from memql.engine.bind.shape import has_aggregate, select_sources, visible_ctes
from memql.engine.names import fold
from memql.engine.plan import LINEAGE_COLUMN, RANK_COLUMN, RANKED_TABLE, VISIBLE_TABLE

_EMPTY = sqlglot.parse_one(
    'CAST([] AS STRUCT("owner" VARCHAR, "created_at" TIMESTAMPTZ, "id" UUID, "version" BIGINT)[])',
    read="duckdb",
)


class Untraceable(Exception):
    """Rows of the query cannot be traced to memories; the text says why."""


def trace_query(query: exp.Query) -> None:
    """Add the lineage column, in place, as the last column of ``query``.

    The tables must have been resolved, with a policy that carries the lineage.

    Raises:
        Untraceable: the reason. The tree may be half changed then: use another copy.
    """
    _trace_ctes(query)
    _trace(query)


def row_lineage(select: exp.Select) -> exp.Expr:
    """Return the lineage of one row of FROM ... WHERE, as an expression over its sources.

    Sources that are queries themselves get their lineage column in place.

    Raises:
        Untraceable: the reason.
    """
    _trace_ctes(select)
    _check_rows_as_values(select)
    return _lineage_over(_carriers(select))


def order_of_source(select: exp.Select) -> exp.Expr | None:
    """Return a column that holds the order of the one view or subquery that is read, if it has one.

    An ORDER BY inside a subquery says nothing in SQL; a view's says in which order it was compiled,
    so that a query over it, and only it, reads it the same way. The rows are numbered as they come
    out of the ordered subquery, in place.
    """
    sources = select_sources(select)
    if len(sources) != 1 or not isinstance(sources[0], exp.Subquery):
        return None
    source = sources[0]
    if not _is_ordered(source.this) or source.args["alias"].columns:
        return None
    inner = exp.Subquery(
        this=source.this,
        alias=exp.TableAlias(this=exp.to_identifier(RANKED_TABLE, quoted=True)),
    )
    number = exp.Window(this=exp.RowNumber())
    ranked = exp.Select(
        expressions=[exp.Star(), exp.alias_(number, RANK_COLUMN, quoted=True)],
        from_=exp.From(this=inner),
    )
    source.set("this", ranked)
    return exp.column(RANK_COLUMN, table=source.alias_or_name, quoted=True)


def _is_ordered(query: exp.Expr) -> bool:
    """Tell whether a query's rows come in an order that it, or what it only filters, names."""
    if isinstance(query, exp.Subquery):
        return _is_ordered(query.this)
    if not isinstance(query, exp.Query):
        return False
    if query.args.get("order") is not None:
        return True
    if not isinstance(query, exp.Select) or query.args.get("group") or query.args.get("distinct"):
        return False
    sources = select_sources(query)
    return len(sources) == 1 and isinstance(sources[0], exp.Subquery) and _is_ordered(sources[0])


def _trace_ctes(query: exp.Query) -> None:
    clause = query.args.get("with_")
    if clause is None:
        return
    for cte in clause.expressions:
        if cte.alias == VISIBLE_TABLE:
            continue
        if clause.args.get("recursive"):
            raise Untraceable("WITH RECURSIVE")
        if cte.args["alias"].columns:
            raise Untraceable("a common table expression with column names")
        trace_query(cte.this)


def _trace(query: exp.Expr) -> None:
    if isinstance(query, exp.Subquery):
        trace_query(query.this)
    elif isinstance(query, exp.SetOperation):
        if not isinstance(query, exp.Union) or query.args.get("distinct"):
            raise Untraceable(f"{query.key.upper()} without ALL")
        for side in (query.this, query.expression):
            trace_query(side)
    elif isinstance(query, exp.Select):
        _trace_select(query)
    else:
        raise Untraceable(query.key.upper())


def _trace_select(select: exp.Select) -> None:
    for key in ("pivots", "match", "connect", "distribute", "cluster"):
        if select.args.get(key):
            raise Untraceable(key.upper())
    for projection in select.expressions:
        if projection.alias == RANK_COLUMN:
            continue  # it orders the rows of a view and is no part of their text
        if projection.find(exp.Window):
            raise Untraceable("a window function, whose value depends on other rows")
        if projection.find(exp.Query):
            raise Untraceable("a subquery in the projection")
        if projection.find(exp.Explode, exp.Unnest):
            raise Untraceable("unnest in the projection")
        if projection.find(exp.Columns):
            raise Untraceable("COLUMNS(...)")
    for key in ("order", "qualify"):
        clause = select.args.get(key)
        if clause is not None and not select.args.get("group") and has_aggregate(clause):
            raise Untraceable(f"an aggregate in {key.upper()} only")
    if order := select.args.get("order"):
        if any(key.this.name.upper() == "ALL" for key in order.expressions):
            raise Untraceable("ORDER BY ALL")
    _check_rows_as_values(select)
    carriers = _carriers(select)
    lineage = _lineage_over(carriers)
    grouped = any(select.args.get(key) is not None for key in ("group", "having")) or any(
        has_aggregate(projection) for projection in select.expressions
    )
    if distinct := select.args.get("distinct"):
        if grouped or distinct.args.get("on"):
            raise Untraceable("DISTINCT over groups or ON columns")
        # DISTINCT is grouping by every column; then the lineage of equal rows is collected.
        select.set("distinct", None)
        select.set("group", exp.Group(all=True))
        # Over constants alone GROUP BY ALL is one group, even of no row.
        rows = exp.Count(this=exp.Star(), big_int=True)
        select.set("having", exp.Having(this=exp.GT(this=rows, expression=exp.Literal.number(0))))
        grouped = True
    for projection in select.expressions:
        _exclude_hidden(projection, carriers)
    if grouped:
        collected = exp.Anonymous(this="list", expressions=[lineage])
        lineage = exp.Anonymous(this="flatten", expressions=[collected])
    select.append("expressions", exp.alias_(lineage, LINEAGE_COLUMN, quoted=True))


def _carriers(select: exp.Select) -> list[str]:
    """Trace the sources of a SELECT in place; return the aliases of those with lineage."""
    joins = select.args.get("joins") or ()
    for join in joins:
        method = (join.args.get("method") or "").upper()
        if method in ("NATURAL", "POSITIONAL", "ASOF"):
            raise Untraceable(f"a {method} join")
    hidden = {
        id(join.this) for join in joins if (join.args.get("kind") or "").upper() in ("SEMI", "ANTI")
    }
    return [
        source.alias_or_name
        for source in select_sources(select)
        if _carries_lineage(source) and id(source) not in hidden
    ]


def _lineage_over(carriers: list[str]) -> exp.Expr:
    if not carriers:
        return _EMPTY.copy()
    parts = [exp.column(LINEAGE_COLUMN, table=alias, quoted=True) for alias in carriers]
    lineage: exp.Expr = parts[0]
    for part in parts[1:]:
        lineage = exp.Anonymous(this="list_concat", expressions=[lineage, part])
    return lineage


def _check_rows_as_values(select: exp.Select) -> None:
    """Refuse whole rows as values: a row's struct would hold the hidden columns too.

    DuckDB reads a source's name as its row where no column has that name, and takes a star inside
    an expression.
    """
    aliases = {fold(source.alias_or_name) for source in select_sources(select)}
    for node in select.walk():
        if isinstance(node, exp.Star):
            place = node.parent if isinstance(node.parent, exp.Column) else node
            if not isinstance(place.parent, exp.Select | exp.Count):
                raise Untraceable("a star inside an expression")
        elif isinstance(node, exp.Column) and not node.table and fold(node.name) in aliases:
            raise Untraceable("a whole row as a value")


def _carries_lineage(source: exp.Expr) -> bool:
    """Trace a source in place; tell whether it has a lineage column now."""
    if source.args.get("pivots"):
        raise Untraceable("PIVOT")
    alias = source.args.get("alias")
    if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
        if isinstance(alias, exp.TableAlias) and alias.columns:
            raise Untraceable("a table alias with column names")
        if source.name == VISIBLE_TABLE:
            return True
        return fold(source.name) in visible_ctes(source)
    if isinstance(source, exp.Subquery):
        if isinstance(alias, exp.TableAlias) and alias.columns:
            raise Untraceable("a table alias with column names")
        inner = source.this
        if isinstance(inner, exp.Values):
            return _carries_nothing(inner)
        if not isinstance(inner, exp.Query):
            raise Untraceable("a parenthesized join")
        trace_query(inner)
        return True
    if isinstance(source, exp.Lateral):
        raise Untraceable("LATERAL")
    return _carries_nothing(source)


def _carries_nothing(source: exp.Expr) -> bool:
    if source.find(exp.Query):
        raise Untraceable("a subquery inside a table function or VALUES")
    return False


def _exclude_hidden(projection: exp.Expr, carriers: list[str]) -> None:
    star = projection.this if isinstance(projection, exp.Column) else projection
    if not isinstance(star, exp.Star):
        return
    if isinstance(projection, exp.Column):
        carriers = [alias for alias in carriers if fold(alias) == fold(projection.table)]
    if carriers:
        hidden = [exp.to_identifier(LINEAGE_COLUMN, quoted=True)]
        star.set("except_", [*(star.args.get("except_") or ()), *hidden])
