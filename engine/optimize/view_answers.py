"""A query for just what a materialized view of the user's holds is answered as the view is."""

from __future__ import annotations

from dataclasses import replace

from memql.engine.plan import Finish, Plan, Select, Target


def view_answers(plan: Plan) -> Plan:
    """``SELECT generate('...') FROM memories WHERE owner = 'alice'``, where a view holds these.

    What is missing of the view is then computed and kept, as where the view is named.
    """
    if isinstance(plan, Select):
        return plan
    target = plan.input.target if isinstance(plan, Finish) else plan.target
    twin = target.twin
    if twin is None or target.form != "AUTO" or target.model not in (None, twin.model):
        return plan
    if target.order != twin.order:
        return plan
    target = Target(twin.form, twin.model, twin.view, twin.order)
    if isinstance(plan, Finish):
        return replace(plan, input=replace(plan.input, target=target))
    return replace(plan, target=target)
