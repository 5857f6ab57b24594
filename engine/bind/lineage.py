"""Lineage: which memories, in which versions, each row of a query was made from.

Every reach of memories carries a hidden column, a list with one struct of (owner, created_at, id,
version). It is kept through filters and projections, joined by concatenation, and collected by
GROUP BY and DISTINCT. Where a row's text can depend on rows that this would not name, the query is
not traceable: its result serves the query and is not stored.
"""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from memql.engine.bind.columns import select_sources
from memql.engine.bind.sources import visible_ctes
from memql.engine.plan import LINEAGE_COLUMN, RANK_COLUMN, VISIBLE_TABLE

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
    return _source_lineage(select)


def order_of_source(select: exp.Select) -> exp.Expr | None:
    """Return a column that holds the order of the one view or subquery that is read, if it has one.

    An ORDER BY inside a subquery says nothing in SQL; a view's says in which order it was compiled,
    so that a query over it, and only it, reads it the same way.
    """
    sources = select_sources(select)
    if len(sources) != 1 or not isinstance(sources[0], exp.Subquery):
        return None
    inner = sources[0].unnest()
    if not isinstance(inner, exp.Select) or inner.args.get("distinct"):
        return None
    order = inner.args.get("order")
    aliases = {projection.alias.lower() for projection in inner.expressions if projection.alias}
    if order is None or inner.args.get("group"):
        return None
    for column in order.find_all(exp.Column):
        if column.name.lower() in aliases:
            return None
    if any(isinstance(key.this, exp.Literal) for key in order.expressions):
        return None
    window = exp.Window(this=exp.RowNumber(), order=order.copy())
    inner.append("expressions", exp.alias_(window, RANK_COLUMN, quoted=True))
    return exp.column(RANK_COLUMN, table=sources[0].alias_or_name, quoted=True)


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
        for anonymous in projection.find_all(exp.Anonymous):
            if anonymous.name.lower() == "columns":
                raise Untraceable("COLUMNS(...)")
    if order := select.args.get("order"):
        if any(key.this.name.upper() == "ALL" for key in order.expressions):
            raise Untraceable("ORDER BY ALL")
    lineage = _source_lineage(select)
    grouped = select.args.get("group") is not None or any(
        _aggregates(projection) for projection in select.expressions
    )
    if distinct := select.args.get("distinct"):
        if grouped or distinct.args.get("on"):
            raise Untraceable("DISTINCT over groups or ON columns")
        # DISTINCT is grouping by every column; then the lineage of equal rows is collected.
        select.set("distinct", None)
        select.set("group", exp.Group(all=True))
        grouped = True
    for projection in select.expressions:
        _exclude_hidden(projection)
    if grouped:
        collected = exp.Anonymous(this="list", expressions=[lineage])
        lineage = exp.Anonymous(this="flatten", expressions=[collected])
    select.append("expressions", exp.alias_(lineage, LINEAGE_COLUMN, quoted=True))


def _source_lineage(select: exp.Select) -> exp.Expr:
    parts: list[exp.Expr] = []
    for join in select.args.get("joins") or ():
        if (join.args.get("method") or "").upper() in ("NATURAL", "POSITIONAL", "ASOF"):
            raise Untraceable(f"a {join.args['method'].upper()} join")
    hidden = {
        id(join.this)
        for join in select.args.get("joins") or ()
        if (join.args.get("kind") or "").upper() in ("SEMI", "ANTI")
    }
    for source in select_sources(select):
        carried = _carries_lineage(source)
        if carried and id(source) not in hidden:
            parts.append(exp.column(LINEAGE_COLUMN, table=source.alias_or_name, quoted=True))
    if not parts:
        return _EMPTY.copy()
    lineage = parts[0]
    for part in parts[1:]:
        lineage = exp.Anonymous(this="list_concat", expressions=[lineage, part])
    return lineage


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
        return source.name.lower() in visible_ctes(source)
    if isinstance(source, exp.Subquery):
        if isinstance(alias, exp.TableAlias) and alias.columns:
            raise Untraceable("a table alias with column names")
        inner = source.this
        if isinstance(inner, exp.Values):
            return False
        if not isinstance(inner, exp.Query):
            raise Untraceable("a parenthesized join")
        trace_query(inner)
        return True
    if isinstance(source, exp.Lateral):
        raise Untraceable("LATERAL")
    return False


def _aggregates(projection: exp.Expr) -> bool:
    return any(
        isinstance(node, exp.AggFunc)
        or (isinstance(node, exp.Anonymous) and node.name.lower() in _ANONYMOUS_AGGREGATES)
        for node in projection.walk()
    )


# Aggregates that sqlglot parses as functions it does not know.
_ANONYMOUS_AGGREGATES = frozenset(
    "array_agg list arbitrary argmin argmax arg_min arg_max product sumkahan kahan_sum fsum favg "
    "bool_and bool_or bit_xor bitstring_agg histogram mad mode entropy kurtosis skewness "
    "count_star approx_quantile reservoir_quantile geomean geometric_mean weighted_avg wavg "
    "json_group_array json_group_object json_group_structure approx_top_k".split()
)


def _exclude_hidden(projection: exp.Expr) -> None:
    star = projection.this if isinstance(projection, exp.Column) else projection
    if isinstance(star, exp.Star):
        hidden = [exp.to_identifier(LINEAGE_COLUMN, quoted=True)]
        star.set("except_", [*(star.args.get("except_") or ()), *hidden])
