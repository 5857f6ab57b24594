"""A LIMIT that depends on no answer is taken before the model sees the groups."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from memql.engine.optimize.answers import over_relation, uses_answers
from memql.engine.plan import Finish, Plan


def limit_before_generate(plan: Plan) -> Plan:
    """``GROUP BY owner ORDER BY count(*) LIMIT 3``: three answers, not one for each owner.

    Not where the answers themselves filter or order the groups, and not under DISTINCT or with
    window functions.
    """
    if not isinstance(plan, Finish):
        return plan
    finish = plan.query
    if finish.args.get("limit") is None and finish.args.get("offset") is None:
        return plan
    if any(finish.args.get(key) for key in ("where", "distinct", "qualify")):
        return plan
    # A window counts the groups that the LIMIT would leave out; unnest makes more rows of one.
    if finish.find(exp.Window, exp.Explode, exp.Unnest) is not None:
        return plan
    order = finish.args.get("order")
    if order is not None and uses_answers(order, plan):
        return plan
    query = plan.input.input.query.copy()
    if query.args.get("limit") is not None:
        return plan
    finish = finish.copy()
    if order is not None:
        keys = []
        for key in order.expressions:
            key = key.copy()
            key.set("this", over_relation(key.this, plan))
            keys.append(key)
        query.set("order", exp.Order(expressions=keys))
    for clause in ("limit", "offset"):
        query.set(clause, finish.args.get(clause))
        finish.set(clause, None)
    answer = replace(plan.input, input=replace(plan.input.input, query=query))
    return replace(plan, input=answer, query=finish)
