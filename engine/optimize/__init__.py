"""Stage one of the optimizer: pure rules ``plan -> plan``, in the order of ``RULES``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from memql.engine.bind.changes import ChangePlan
from memql.engine.bind.writes import TableChange
from memql.engine.optimize.empty_generates import empty_generates
from memql.engine.optimize.having_before_generate import having_before_generate
from memql.engine.optimize.leakproof_below_policy import leakproof_below_policy
from memql.engine.optimize.lifetime_first import lifetime_first
from memql.engine.optimize.limit_before_generate import limit_before_generate
from memql.engine.optimize.limit_into_list import limit_into_list
from memql.engine.optimize.merge_equal_generates import merge_equal_generates
from memql.engine.optimize.no_barrier import no_barrier
from memql.engine.optimize.rows_within_tokens import rows_within_tokens
from memql.engine.optimize.unused_answers import unused_answers
from memql.engine.optimize.unused_columns import unused_columns
from memql.engine.optimize.view_answers import view_answers
from memql.engine.plan import Finish, Generated, Part, Plan, Select, relation_of, with_relation

Rule = Callable[[Plan], Plan]

RULES: tuple[Rule, ...] = (
    view_answers,
    unused_answers,
    empty_generates,
    merge_equal_generates,
    having_before_generate,
    limit_before_generate,
    limit_into_list,
    unused_columns,
    rows_within_tokens,
    lifetime_first,
    no_barrier,
    leakproof_below_policy,
)

# Of stage two, which is no function of a plan: what is stored is known with the rows only.
ADAPTIVE = ("cost_of_loading", "share_prefixes", "overlap_loading")
RULE_NAMES = (*(rule.__name__ for rule in RULES), *ADAPTIVE)

# Looks at a plan after each rule that changed it. The tests set it: a wrong rule shows at once.
check_plan: Callable[[Plan], None] | None = None


@dataclass(frozen=True)
class Optimized:
    """A plan and the names of the rules that changed it, in order."""

    plan: Plan
    fired: tuple[str, ...]


def _with_parts(plan: Plan, rule: Rule) -> Plan:
    """Return a plan after a rule has seen the parts that run before, and then all of it."""
    relation = relation_of(plan)
    parts: list[Part] = []
    for part in relation.parts:
        if isinstance(part, Generated):
            made = rule(part.input)
            assert isinstance(made, Finish)  # a rule changes no plan into one of another kind
            if made is not part.input:
                part = replace(part, input=made)
        parts.append(part)
    if any(new is not old for new, old in zip(parts, relation.parts, strict=True)):
        plan = with_relation(plan, replace(relation, parts=tuple(parts)))
    return rule(plan)


def optimize(plan: Plan, rules: tuple[Rule, ...] = RULES) -> Optimized:
    """Return the plan after each rule has seen it once."""
    fired = []
    for rule in rules:
        rewritten = _with_parts(plan, rule)
        if rewritten is not plan:
            fired.append(rule.__name__)
            plan = rewritten
            if check_plan is not None:
                check_plan(plan)
    return Optimized(plan, tuple(fired))


def optimize_change(plan: ChangePlan, rules: tuple[Rule, ...] = RULES) -> ChangePlan:
    """Return the plan of a change after each rule has seen the query for what to write."""
    if isinstance(plan, TableChange):
        return plan
    optimized = optimize(Select(plan.relation), rules)
    return replace(plan, relation=relation_of(optimized.plan))
