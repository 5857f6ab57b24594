"""What rules that take a generate out of a plan share."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from sqlglot import exp

from memql.engine.plan import Finish, GenerateCall


def without_calls(plan: Finish, dropped: Collection[GenerateCall]) -> Finish:
    """Return a plan in which the answers of some calls are NULL, and nobody is asked for them."""
    columns = {call.column for call in dropped}

    def null(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column) and node.name in columns:
            return exp.cast(exp.Null(), "text")
        return node

    query = plan.query.transform(null)
    assert isinstance(query, exp.Select)
    answer_columns = tuple(None if name in columns else name for name in plan.answer_columns)
    relation = plan.input.input
    kept = tuple(call for call in plan.input.calls if call.column not in columns)
    if not kept and not relation.query.args["expressions"]:
        # Without a group it is one row, even of no memory: an aggregate keeps it so.
        groups = relation.query.copy()
        only = exp.Count(this=exp.Star(), big_int=True)
        groups.set("expressions", [exp.alias_(only, "_memql_rows", quoted=True)])
        relation = replace(relation, query=groups)
    answer = replace(plan.input, input=relation, calls=kept)
    return replace(plan, input=answer, query=query, answer_columns=answer_columns)
