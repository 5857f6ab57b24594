"""Columns of the groups that nothing reads are not computed."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from memql.engine.plan import Finish, Plan


def unused_columns(plan: Plan) -> Plan:
    """``HAVING max(created_at) > now()``: once it is asked early, nobody reads the column."""
    if not isinstance(plan, Finish):
        return plan
    query = plan.input.input.query
    projections = query.args["expressions"]
    if plan.query.find(exp.Star, exp.Columns) is not None:
        return plan
    read = {column.name for column in plan.query.find_all(exp.Column)}
    kept = [one for one in projections if one.alias_or_name in read]
    if not kept and not plan.input.calls:
        kept = projections[:1]  # a row without columns is none
    if len(kept) == len(projections):
        return plan
    query = query.copy()
    names = {one.alias_or_name for one in kept}
    query.set("expressions", [one for one in query.expressions if one.alias_or_name in names])
    answer = replace(plan.input, input=replace(plan.input.input, query=query))
    return replace(plan, input=answer)
