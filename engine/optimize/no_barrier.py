"""A query that does nothing but compare, count and order is planned together with its policy."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from memql.engine.bind.predicates import KIND_OF_COLUMN
from memql.engine.bind.visible import LEAKPROOF, and_terms, put_first
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.duckdb_sql.nodes import Aggregate
from memql.engine.names import fold
from memql.engine.optimize.relations import with_relations
from memql.engine.plan import Finish, Plan, Relation

_CLAUSES = frozenset(("expressions", "from_", "where", "group", "order", "limit", "offset"))
# Beside count. Their result does not depend on how the rows that were left out lie between others.
_AGGREGATES = frozenset(("min", "max"))


def no_barrier(plan: Plan) -> Plan:
    """``SELECT * FROM memories ORDER BY created_at DESC LIMIT 10``: one query, with its indexes.

    Only where no expression can fail on a row that the user may not see, and where the order of
    the rows is made to depend on the visible ones alone: ties are broken by the id, or by the
    keys of the groups.
    """
    if isinstance(plan, Finish):
        return plan  # what it reads of its groups is not in its query yet
    return with_relations(plan, _without)


def _without(relation: Relation) -> Relation:
    query = relation.query
    if relation.parts or not isinstance(query, exp.Select) or not _is_plain(query):
        return relation
    query = query.copy()
    table = query.args["from_"].this
    visible = table.meta.pop("visible")
    _break_ties(query, table)
    rows = visible.query.copy()
    if all(column.alias_or_name != "id" for column in rows.expressions):
        rows.append("expressions", exp.column("id", quoted=True))
    name = exp.TableAlias(this=exp.to_identifier(visible.name, quoted=True))
    cte = exp.CTE(this=rows, alias=name, materialized=False)
    cte.meta["printed"] = rows.sql(dialect=PlainDuckDB, identify=True)
    put_first(query, cte)
    return replace(relation, query=query)


def _is_plain(query: exp.Select) -> bool:
    if any(value for key, value in query.args.items() if key not in _CLAUSES):
        return False
    start = query.args.get("from_")
    table = start.this if start is not None else None
    if not isinstance(table, exp.Table) or "visible" not in table.meta:
        return False
    alias = table.args.get("alias")
    if {key for key, value in table.args.items() if value} - {"this", "alias"}:
        return False
    if alias is not None and alias.columns:
        return False
    if any(term.meta.get(LEAKPROOF) != table.alias_or_name for term in and_terms(query)):
        return False
    return (
        all(_is_shown(one) for one in query.expressions)
        and _groups_plainly(query)
        and _orders_plainly(query)
        and all(_is_number(query.args.get(key)) for key in ("limit", "offset"))
    )


def _is_shown(node: exp.Expr) -> bool:
    if isinstance(node, exp.Alias):
        node = node.this
    if isinstance(node, exp.Star):
        return not any(node.args.values())
    if isinstance(node, exp.Column) and isinstance(node.this, exp.Star):
        return not any(node.this.args.values())
    return _is_column(node) or isinstance(node, exp.Literal) or _is_aggregate(node)


def _is_column(node: exp.Expr | None) -> bool:
    return isinstance(node, exp.Column) and isinstance(node.this, exp.Identifier)


def _is_aggregate(node: exp.Expr) -> bool:
    used = {key for key, value in node.args.items() if value}
    if isinstance(node, Aggregate):
        plain = used <= {"this", "expressions"} and fold(node.name) in _AGGREGATES
        return plain and len(node.expressions) == 1 and _is_column(node.expressions[0])
    if not isinstance(node, exp.Count) or used - {"this", "big_int"}:
        return False
    what = node.this
    if isinstance(what, exp.Distinct):
        return len(what.expressions) == 1 and _is_column(what.expressions[0])
    return what is None or type(what) is exp.Star or _is_column(what)


def _groups_plainly(query: exp.Select) -> bool:
    group = query.args.get("group")
    if group is None:
        # Aggregates beside columns are an error, which DuckDB tells.
        return True
    others = any(value for key, value in group.args.items() if key != "expressions")
    aliases = {fold(one.alias) for one in query.expressions if isinstance(one, exp.Alias)}
    return not others and all(
        _is_column(key) and fold(key.name) in KIND_OF_COLUMN and fold(key.name) not in aliases
        for key in group.expressions
    )


def _orders_plainly(query: exp.Select) -> bool:
    order = query.args.get("order")
    if order is None:
        return True
    return all(
        isinstance(key, exp.Ordered)
        and not key.args.get("with_fill")
        and (
            _is_column(key.this)
            or _is_aggregate(key.this)
            or _is_own(key.this)
            or (
                isinstance(key.this, exp.Literal)
                and key.this.is_int
                and 1 <= int(key.this.name) <= len(query.expressions)
            )
        )
        for key in order.expressions
    )


def _is_own(node: exp.Expr) -> bool:
    """Tell whether a key of an order is the first of the canonical one."""
    return (
        isinstance(node, exp.Paren)
        and isinstance(node.this, exp.EQ)
        and _is_column(node.this.left)
        and node.this.left.name == "owner"
        and isinstance(node.this.right, exp.Literal)
    )


def _is_number(limit: exp.Expr | None) -> bool:
    if limit is None:
        return True
    number = limit.args.get("expression")
    others = {key for key, value in limit.args.items() if value} - {"expression"}
    return not others and (
        isinstance(number, exp.Placeholder) or (isinstance(number, exp.Literal) and number.is_int)
    )


def _break_ties(query: exp.Select, table: exp.Table) -> None:
    """Make the order of the rows, in place, one that only the rows themselves decide."""
    group = query.args.get("group")
    order = query.args.get("order")
    if group is not None:
        keys = [key.copy() for key in group.expressions]
    elif order is None or any(one.find(exp.AggFunc) for one in query.expressions):
        return  # the rows come as they were written, or there is only one
    else:
        keys = [exp.column("id", table=table.alias_or_name, quoted=True)]
    for key in keys:
        key.set("table", exp.to_identifier(table.alias_or_name, quoted=True))
    more = [exp.Ordered(this=key) for key in keys]
    query.set("order", exp.Order(expressions=[*(order.expressions if order else ()), *more]))
