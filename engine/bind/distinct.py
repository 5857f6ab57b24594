"""Equal rows as one row, with the lineage of all of them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from memql.engine.bind.untraceable import Untraceable
from memql.engine.names import fold
from memql.engine.plan import LINEAGE_COLUMN

LIST_ROWS = "_memql_rows"
_SIDE_COLUMN = "_memql_side"


def collected(lineage: exp.Expr) -> exp.Expr:
    """Return the lineage of a group, from that of one of its rows."""
    rows = exp.Anonymous(this="list", expressions=[lineage.copy()])
    return exp.Anonymous(this="flatten", expressions=[rows])


def distinct_rows(
    select: exp.Select, lineage: exp.Expr, names: Sequence[str] | None, *, grouped: bool
) -> exp.Select:
    """Return a SELECT DISTINCT, traced otherwise, with the lineage of equal rows collected.

    Args:
        select: it is changed in place.
        lineage: of one of its rows.
        names: of its columns, None where only DuckDB can tell.
        grouped: whether each row is a group.

    Raises:
        Untraceable: its columns or its order have no names.
    """
    order = select.args.get("order")
    keys = [_key_by_name(key, select, names or ()) for key in order.expressions] if order else []
    late = (exp.Window, exp.Explode, exp.Unnest)
    if not grouped and not select.args.get("qualify"):
        if not any(projection.find(*late) for projection in select.expressions):
            # DISTINCT is grouping by every column.
            select.set("distinct", None)
            select.set("group", exp.Group(all=True))
            # Over constants alone GROUP BY ALL is one group, even of no row.
            rows = exp.Count(this=exp.Star(), big_int=True)
            some = exp.GT(this=rows, expression=exp.Literal.number(0))
            select.set("having", exp.Having(this=some))
            _append_lineage(select, collected(lineage))
            return select
    outer = _over(select, names)
    if keys:
        outer.set("order", exp.Order(expressions=keys))
    for key in ("limit", "offset", "with_"):
        outer.set(key, select.args.get(key))
    for key in ("order", "limit", "offset", "with_", "distinct"):
        select.set(key, None)
    _append_lineage(select, lineage)
    return outer


def grouped_arms(query: exp.SetOperation, names: Sequence[str] | None) -> exp.Select:
    """Return UNION, INTERSECT or EXCEPT of traced arms as groups of equal rows.

    A row of EXCEPT has the lineage of the left rows that it stands for: the right ones decide only
    that it is there. One of INTERSECT has that of both sides.

    Args:
        query: its arms have their lineage as the last column.
        names: of its columns, None where only DuckDB can tell.

    Raises:
        Untraceable: two columns have one name, or nothing is known of them.
    """
    arms = [query.this, query.expression]
    if not isinstance(query, exp.Union):
        arms = [_with_side(arm, number) for number, arm in enumerate(arms, start=1)]
    rows = exp.Union(
        this=arms[0], expression=arms[1], distinct=False, by_name=query.args.get("by_name")
    )
    outer = _over(rows, names)
    smallest, largest = (
        exp.EQ(
            this=kind(this=exp.column(_SIDE_COLUMN, table=LIST_ROWS, quoted=True)),
            expression=exp.Literal.number(side),
        )
        for kind, side in ((exp.Min, 1), (exp.Max, 2 if isinstance(query, exp.Intersect) else 1))
    )
    if not isinstance(query, exp.Union):
        outer.expressions[0].append("except_", exp.to_identifier(_SIDE_COLUMN, quoted=True))
        outer.set("having", exp.Having(this=exp.and_(smallest, largest)))
    for key in ("order", "limit", "offset", "with_"):
        outer.set(key, query.args.get(key))
    return outer


def _with_side(arm: exp.Expr, number: int) -> exp.Select:
    side = exp.alias_(exp.Literal.number(number), _SIDE_COLUMN, quoted=True)
    alias = exp.TableAlias(this=exp.to_identifier(LIST_ROWS, quoted=True))
    inner = arm.this if isinstance(arm, exp.Subquery) and _is_bare(arm) else arm
    source = exp.Subquery(this=inner, alias=alias)
    return exp.Select(expressions=[exp.Star(), side], from_=exp.From(this=source))


def _is_bare(arm: exp.Subquery) -> bool:
    return not any(value for key, value in arm.args.items() if key != "this")


def _over(rows: exp.Query, names: Sequence[str] | None) -> exp.Select:
    if names is None or len({fold(name) for name in names}) < len(names):
        # Read from a subquery, the second of two columns would have another name.
        raise Untraceable("equal rows with columns of one name, or that only DuckDB knows")
    hidden = [exp.to_identifier(LINEAGE_COLUMN, quoted=True)]
    alias = exp.TableAlias(this=exp.to_identifier(LIST_ROWS, quoted=True))
    outer = exp.Select(
        expressions=[exp.Star(except_=hidden)],
        from_=exp.From(this=exp.Subquery(this=rows, alias=alias)),
        group=exp.Group(all=True),
    )
    _append_lineage(outer, collected(exp.column(LINEAGE_COLUMN, table=LIST_ROWS, quoted=True)))
    return outer


def _append_lineage(select: exp.Select, lineage: exp.Expr) -> None:
    select.append("expressions", exp.alias_(lineage, LINEAGE_COLUMN, quoted=True))


def _key_by_name(key: exp.Expr, select: exp.Select, names: Sequence[str]) -> exp.Expr:
    """Return a key of ORDER BY as one over the output columns."""
    node = key.this
    key = key.copy()
    if isinstance(node, exp.Literal) and node.is_int or isinstance(node, exp.Var):
        return key  # a number, or ALL
    known = {fold(name) for name in names}
    if isinstance(node, exp.Column) and not node.table and fold(node.name) in known:
        return key
    for projection in select.expressions:
        if projection.unalias() == node and projection.alias_or_name:
            key.set("this", exp.column(projection.alias_or_name, quoted=True))
            return key
    raise Untraceable("DISTINCT in an order that is not of its columns")
