"""Terms about the life of memories are asked before those that look at their texts."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from memql.engine.bind.visible import LEAKPROOF, and_terms
from memql.engine.optimize.relations import with_relations
from memql.engine.plan import Plan, Relation

_LIFETIME = frozenset(
    ("state", "created_at", "updated_at", "valid_from", "valid_to", "expires_at", "hold")
)


def lifetime_first(plan: Plan) -> Plan:
    """``content LIKE '%x%' AND created_at > '2026-01-01'``: old memories' texts are not read.

    These terms compare a column with a value: they cannot fail, and DuckDB asks them of whole
    blocks of rows at once.
    """
    return with_relations(plan, _ordered)


def _ordered(relation: Relation) -> Relation:
    selects = list(relation.query.find_all(exp.Select))
    if not any(_moved(select) for select in selects):
        return relation
    query = relation.query.copy()
    for select in query.find_all(exp.Select):
        terms = _moved(select)
        if terms is not None:
            where = exp.Where(this=exp.and_(*(term.copy() for term in terms), copy=False))
            select.set("where", where)
    return replace(relation, query=query)


def _moved(select: exp.Select) -> list[exp.Expr] | None:
    """Return the terms of a WHERE in their new order; None where it is the old one."""
    terms = and_terms(select)
    first = [term for term in terms if _is_lifetime(term)]
    if not first or first == terms[: len(first)]:
        return None
    return first + [term for term in terms if not _is_lifetime(term)]


def _is_lifetime(term: exp.Expr) -> bool:
    columns = [column.name for column in term.find_all(exp.Column)]
    return LEAKPROOF in term.meta and bool(columns) and set(columns) <= _LIFETIME
