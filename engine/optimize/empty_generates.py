"""A generate that can have no rows or no question is NULL: no model is asked."""

from __future__ import annotations

from sqlglot import exp

from memql.engine.optimize.calls import without_calls
from memql.engine.plan import Finish, GenerateCall, Plan


def empty_generates(plan: Plan) -> Plan:
    """``generate(NULL)``, ``generate('q' LIMIT 0)``, ``generate('q') FILTER (WHERE false)``."""
    if not isinstance(plan, Finish):
        return plan
    where = plan.input.input.query.args.get("where")
    dropped = [
        call
        for call in plan.input.calls
        if (where is not None and _never(where.this)) or _is_empty(call)
    ]
    return without_calls(plan, dropped) if dropped else plan


def _is_empty(call: GenerateCall) -> bool:
    if isinstance(call.question.unnest(), exp.Null):
        return True
    if any(_is_zero(limit) for limit in (call.limit_rows, call.limit_tokens)):
        return True
    rows = call.rows.find(exp.Filter)
    return rows is not None and _never(rows.expression.this)


def _is_zero(limit: exp.Expr | None) -> bool:
    return isinstance(limit, exp.Literal) and limit.is_int and int(limit.name) == 0


def _never(condition: exp.Expr) -> bool:
    """Tell whether a condition holds for no row, whatever is in it."""
    condition = condition.unnest()
    if isinstance(condition, exp.And):
        return _never(condition.left) or _never(condition.right)
    if isinstance(condition, exp.Boolean):
        return not condition.this
    return isinstance(condition, exp.Null)
