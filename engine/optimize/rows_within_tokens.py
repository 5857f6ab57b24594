"""A LIMIT in tokens lets DuckDB sort no more rows than there is room for."""

from __future__ import annotations

from dataclasses import replace

from memql.engine.plan import Cut, Part, Plan, relation_of, with_relation


def rows_within_tokens(plan: Plan) -> Plan:
    """``ORDER BY created_at DESC LIMIT 1000 TOKENS``: the newest 1,001 rows are enough.

    Every text has a token. Only rows without text can make them too few; then all are read.
    """
    relation = relation_of(plan)
    parts: list[Part] = []
    for part in relation.parts:
        bounded = isinstance(part, Cut) and part.input.query.args.get("limit") is None
        if isinstance(part, Cut) and bounded and not part.bounded:
            part = replace(part, bounded=True)
        parts.append(part)
    if all(new is old for new, old in zip(parts, relation.parts, strict=True)):
        return plan
    return with_relation(plan, replace(relation, parts=tuple(parts)))
