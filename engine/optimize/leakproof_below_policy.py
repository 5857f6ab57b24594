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


def _terms(table: exp.Table) -> list[exp.Expr]:
    """Return the terms that may be asked of the rows that a table reads."""
    select = table.find_ancestor(exp.Select)
    if select is None or all(source is not table for source in select_sources(select)):
        return []
    joins = select.args.get("joins") or []
    if any(join.side or join.kind not in ("", "INNER", "CROSS") for join in joins):
        return []
    return [term for term in and_terms(select) if term.meta.get(LEAKPROOF) == table.alias_or_name]
