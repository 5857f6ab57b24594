"""Terms that cannot fail or tell anything are asked where the visible rows are taken out."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from memql.engine.bind.shape import select_sources
from memql.engine.bind.visible import LEAKPROOF, and_terms, taken_out
from memql.engine.optimize.relations import reaches, with_relations
from memql.engine.plan import Plan, Relation
from memql.engine.printing import take_out


def leakproof_below_policy(plan: Plan) -> Plan:
    """``WHERE kind = 'fact' AND content LIKE '%x%'``: only facts are taken out for the LIKE.

    Not below an outer join, which would give rows for what was left out.
    """
    return with_relations(plan, _below)


def _below(relation: Relation) -> Relation:
    if not any(_terms(table) for table, _ in reaches(relation.query)):
        return relation
    query = relation.query.copy()
    for table, visible in list(reaches(query)):
        terms = _terms(table)
        if terms:
            for term in terms:
                del term.meta[LEAKPROOF]  # once is enough
            bare = [term.copy() for term in terms]
            for column in (column for term in bare for column in term.find_all(exp.Column)):
                column.set("table", None)
                column.this.set("quoted", True)
            take_out(table, taken_out(visible.query.where(*bare)))
    return replace(relation, query=query)


def _is_plain(join: exp.Join) -> bool:
    """Tell whether a join gives the same rows whether a term is asked before or behind it."""
    return not (join.side or join.method) and join.kind in ("", "INNER", "CROSS")


def _used(node: exp.Expr) -> set[str]:
    return {key for key, value in node.args.items() if value}


def _terms(table: exp.Table) -> list[exp.Expr]:
    """Return the terms that may be asked of the rows that a table reads."""
    source = table.parent  # FROM or a join, with nothing around the table
    select = source.parent if isinstance(source, exp.From | exp.Join) else None
    if not isinstance(select, exp.Select) or select.args.get("sample"):
        return []
    joins = select.args.get("joins") or []
    if not all(_is_plain(join) for join in joins):
        return []
    sources = select_sources(select)
    if any({"sample", "pivots", "joins"} & _used(one) for one in sources):
        return []
    return [term for term in and_terms(select) if term.meta.get(LEAKPROOF) == table.alias_or_name]
