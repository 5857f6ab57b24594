"""A LIMIT inside generate cuts the rows where they are gathered."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from memql.engine.plan import Finish, GenerateCall, Plan


def limit_into_list(plan: Plan) -> Plan:
    """``generate('...' ORDER BY created_at DESC LIMIT 5)``: DuckDB gives out five rows.

    Only in the order of the query: canonical order is made of what DuckDB gives out.
    """
    if not isinstance(plan, Finish) or not any(map(_can_cut, plan.input.calls)):
        return plan
    calls = tuple(_cut(call) if _can_cut(call) else call for call in plan.input.calls)
    return replace(plan, input=replace(plan.input, calls=calls))


def _can_cut(call: GenerateCall) -> bool:
    return call.ordered and call.limit_rows is not None and not isinstance(call.rows, exp.Anonymous)


def _cut(call: GenerateCall) -> GenerateCall:
    assert call.limit_rows is not None
    ends = [exp.Literal.number(1), call.limit_rows.copy()]
    return replace(call, rows=exp.Anonymous(this="list_slice", expressions=[call.rows, *ends]))
