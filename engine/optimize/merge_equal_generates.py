"""Equal calls of generate over the same group are answered once, unless each draws anew."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from memql.engine.plan import Finish, GenerateCall, Plan


def merge_equal_generates(plan: Plan) -> Plan:
    """``SELECT generate('q') ... HAVING generate('q') LIKE '%x%'``: one answer for each group."""
    if not isinstance(plan, Finish):
        return plan
    kept: list[GenerateCall] = []
    names: dict[str, str] = {}
    for call in plan.input.calls:
        twin = None
        if call.decoding.is_repeatable:
            twin = next((one for one in kept if replace(one, column=call.column) == call), None)
        if twin is None:
            kept.append(call)
        else:
            names[call.column] = twin.column
    if not names:
        return plan

    def rename(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Column) and node.name in names:
            return exp.column(names[node.name], quoted=True)
        return node

    query = plan.query.transform(rename)
    assert isinstance(query, exp.Select)
    columns = tuple(names.get(column, column) if column else None for column in plan.answer_columns)
    answer = replace(plan.input, calls=tuple(kept))
    return replace(plan, input=answer, query=query, answer_columns=columns)
