"""The order of the one view or subquery that a query reads, which is the query's order too."""

from __future__ import annotations

from sqlglot import exp

from memql.engine.bind.shape import has_aggregate, select_sources
from memql.engine.names import fold
from memql.engine.plan import RANK_COLUMN, RANKED_TABLE


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
    if _takes_whole_rows(select, fold(source.alias)):
        return None  # the number would be seen
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


def _takes_whole_rows(select: exp.Select, alias: str) -> bool:
    """Tell whether a SELECT takes all columns of its source in another way than by a plain star."""
    for projection in select.expressions:
        for node in projection.walk():
            if isinstance(node, exp.Star):
                place = node.parent if isinstance(node.parent, exp.Column) else node
                if not isinstance(place.parent, exp.Select | exp.Count | exp.Columns):
                    return True
            elif isinstance(node, exp.Columns) and not isinstance(node.this, exp.Star):
                return True
            elif isinstance(node, exp.Column) and not node.table and fold(node.name) == alias:
                return True
    return False


def inherit_order(select: exp.Select) -> bool:
    """Give a SELECT the order of what it reads, in place; tell whether it has one now."""
    grouped = any(select.args.get(key) for key in ("group", "distinct", "having"))
    grouped = grouped or any(has_aggregate(projection) for projection in select.expressions)
    rank = None if grouped else order_of_source(select)
    if rank is None:
        return False
    for projection in select.expressions:
        for star in projection.find_all(exp.Star):
            if star.find_ancestor(exp.Query) is select and not isinstance(star.parent, exp.Count):
                hidden = exp.to_identifier(RANK_COLUMN, quoted=True)
                star.set("except_", [*(star.args.get("except_") or ()), hidden])
    select.set("order", exp.Order(expressions=[exp.Ordered(this=rank)]))
    return True


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
