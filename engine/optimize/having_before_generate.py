"""Terms of HAVING that need no answer filter the groups before the model sees them."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from memql.engine.optimize.answers import over_relation, uses_answers
from memql.engine.plan import Finish, Plan


def having_before_generate(plan: Plan) -> Plan:
    """``HAVING count(*) > 2 AND generate(...) = 'x'``: count first, answer what is left."""
    if not isinstance(plan, Finish) or plan.query.args.get("where") is None:
        return plan
    condition = plan.query.args["where"].this
    terms = list(condition.flatten()) if isinstance(condition, exp.And) else [condition]
    early = [term for term in terms if not uses_answers(term, plan)]
    if not early:
        return plan
    late = [term for term in terms if uses_answers(term, plan)]
    relation = plan.input.input
    query = relation.query.copy()
    query.set("having", exp.Having(this=exp.and_(*(over_relation(term, plan) for term in early))))
    finish = plan.query.copy()
    where = exp.Where(this=exp.and_(*(term.copy() for term in late))) if late else None
    finish.set("where", where)
    answer = replace(plan.input, input=replace(relation, query=query))
    return replace(plan, input=answer, query=finish)
