"""What rules on the relations of a plan share: the way to each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from sqlglot import exp

from memql.engine.plan import Cut, Part, Plan, Relation, relation_of, with_relation
from memql.engine.printing import Visible


def with_relations(plan: Plan, change: Callable[[Relation], Relation]) -> Plan:
    """Return a plan with its relation, and those of its limits in tokens, changed.

    The plan itself comes back where nothing did.
    """
    before = relation_of(plan)
    parts: list[Part] = []
    for part in before.parts:
        if isinstance(part, Cut):
            made = change(part.input)
            if made is not part.input:
                part = replace(part, input=made)
        parts.append(part)
    after = change(before)
    if any(new is not old for new, old in zip(parts, before.parts, strict=True)):
        after = replace(after, parts=tuple(parts))
    return plan if after is before else with_relation(plan, after)


def reaches(query: exp.Expr) -> Iterator[tuple[exp.Table, Visible]]:
    """Yield each table of a query that reads rows taken out before, with these rows."""
    for table in query.find_all(exp.Table):
        visible = table.meta.get("visible")
        if visible is not None:
            yield table, visible
