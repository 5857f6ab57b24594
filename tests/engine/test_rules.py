"""Each rule: the plan before and after, both run with equal answers."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pytest
import sqlglot

import memql
from memql.dialect import MemQL
from memql.engine.bind.parameters import Values
from memql.engine.bind.query import QueryBinder
from memql.engine.bind.sources import ViewDefinition
from memql.engine.context import StatementContext
from memql.engine.optimize import RULES, optimize
from memql.engine.plan import Finish, Plan
from memql.engine.printing import print_sql
from memql.engine.rights import EMBEDDED
from memql.engine.tables import Tables
from tests.engine.conftest import Fed

# rule, query, what the finish is before and after.
FIXTURES = [
    (
        "having_before_generate",
        "SELECT owner, generate('Who?', max_tokens := 2) AS a FROM memories GROUP BY owner "
        "HAVING count(*) > 1 AND generate('Who?', max_tokens := 2) <> 'x'",
        'WHERE "_memql_c1" AND "_memql_a1" <> \'x\'',
        "WHERE \"_memql_a1\" <> 'x'",
    ),
    (
        "limit_before_generate",
        "SELECT owner, generate('Who?', max_tokens := 2) AS a FROM memories GROUP BY owner "
        "ORDER BY count(*) DESC, owner LIMIT 1",
        'ORDER BY "_memql_c1" DESC, "_memql_c0" LIMIT 1',
        'ORDER BY "_memql_c1" DESC, "_memql_c0"',
    ),
    (
        "merge_equal_generates",
        "SELECT owner, upper(generate('Who?', max_tokens := 2)), "
        "generate('Who?', max_tokens := 2) FROM memories GROUP BY owner ORDER BY owner",
        '"_memql_a1" AS "generate"',
        '"_memql_a0" AS "generate"',
    ),
]


class _NoViews:
    @property
    def tables(self) -> Tables:
        context = StatementContext(EMBEDDED, datetime(2026, 1, 1, tzinfo=UTC), "")
        return Tables(duckdb.connect(), context)

    def find(self, name: str) -> ViewDefinition | None:
        return None

    def names(self) -> list[str]:
        return []

    def of(self, owner: str) -> _NoViews:
        return self


def _bound(text: str) -> Plan:
    tree = sqlglot.parse_one(text, read=MemQL)
    assert isinstance(tree, sqlglot.exp.Query)
    context = StatementContext(EMBEDDED, datetime(2026, 1, 1, tzinfo=UTC), text)
    return QueryBinder(context, _NoViews(), Values({}, context.now)).bind(tree)


def test_every_rule_has_a_fixture() -> None:
    assert {rule.__name__ for rule in RULES} == {name for name, *_ in FIXTURES}


@pytest.mark.parametrize(("name", "text", "before", "after"), FIXTURES, ids=lambda value: value)
def test_plan_before_and_after(name: str, text: str, before: str, after: str) -> None:
    rule = next(rule for rule in RULES if rule.__name__ == name)
    plan = _bound(text)
    assert isinstance(plan, Finish)
    untouched = print_sql(plan.query)
    assert untouched.endswith(before) or before in untouched
    rewritten = rule(plan)
    assert isinstance(rewritten, Finish)
    assert after in print_sql(rewritten.query) and before not in print_sql(rewritten.query)
    assert print_sql(plan.query) == untouched  # rules change nothing in place
    assert rule(rewritten) is rewritten  # nothing is left to do


@pytest.mark.parametrize(
    "text",
    [
        "SELECT generate('Who?') FROM memories",
        "SELECT owner, generate('Who?') FROM memories GROUP BY owner ORDER BY generate('Who?')",
        "SELECT owner, generate('Who?') AS a FROM memories GROUP BY owner ORDER BY a LIMIT 1",
        "SELECT DISTINCT generate('Who?') FROM memories GROUP BY owner LIMIT 1",
        "SELECT generate('Who?'), generate('Which?') FROM memories",
        "SELECT content FROM memories LIMIT 1",
    ],
)
def test_where_no_rule_applies_the_plan_is_untouched(text: str) -> None:
    plan = _bound(text)
    optimized = optimize(plan)
    if "ORDER BY generate" in text or "ORDER BY a " in text:
        assert optimized.fired == ("merge_equal_generates",)
    else:
        assert optimized.plan is plan and optimized.fired == ()


@pytest.mark.parametrize("text", [text for _, text, *_ in FIXTURES])
def test_answers_are_the_same_without_rules(con: memql.Connection, fed: Fed, text: str) -> None:
    with_rules = con.execute(text).fetchall()
    passes = len(fed.passes)
    fed.passes.clear()
    con.execute("SET memql.disabled_rules = ?", [", ".join(rule.__name__ for rule in RULES)])
    assert con.execute(text).fetchall() == with_rules
    assert passes < len(fed.passes)  # what a rule is for: the model has less to do
