"""Stage one of the optimizer: pure rules ``plan -> plan``, in the order of ``RULES``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from memql.engine.optimize.having_before_generate import having_before_generate
from memql.engine.optimize.limit_before_generate import limit_before_generate
from memql.engine.optimize.merge_equal_generates import merge_equal_generates
from memql.engine.plan import Plan

Rule = Callable[[Plan], Plan]

RULES: tuple[Rule, ...] = (
    merge_equal_generates,
    having_before_generate,
    limit_before_generate,
)


@dataclass(frozen=True)
class Optimized:
    """A plan and the names of the rules that changed it, in order."""

    plan: Plan
    fired: tuple[str, ...]


def optimize(plan: Plan, rules: tuple[Rule, ...] = RULES) -> Optimized:
    """Return the plan after each rule has seen it once."""
    fired = []
    for rule in rules:
        rewritten = rule(plan)
        if rewritten is not plan:
            fired.append(rule.__name__)
            plan = rewritten
    return Optimized(plan, tuple(fired))
