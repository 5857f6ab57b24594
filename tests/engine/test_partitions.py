"""Ternary logic: the rows where p holds, where NOT p does and where p is NULL are all rows.

No other database is asked: whatever p means, it is one of the three for every row, whether p
stands in WHERE, in ON, in HAVING or in FILTER, under aggregates and DISTINCT.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlglot import exp

import memql
from memql.engine import printing
from tests.engine.random_queries import Queries
from tests.engine.twins import Answer, of_memql, open_twins, shown
from tests.soak import SOAK_FACTOR

pytestmark = pytest.mark.slow

SEEDS = 1_000 if SOAK_FACTOR > 1 else 30
BLOCK = 10
# So many of a block must be conditions that every row has a value for.
ANSWERED = 0.8


@pytest.fixture(scope="module", params=[None, "alice"], ids=["everybody", "alice"])
def con(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[memql.Connection]:
    twins = open_twins(tmp_path_factory.mktemp("parts") / "store.memql", request.param)
    twins.plain.close()
    yield twins.memql
    twins.memql.close()


@dataclass(frozen=True)
class Condition:
    """A random condition on the rows of a random FROM, and what may be asked of these rows.

    Args:
        source: what stands behind FROM.
        test: the condition.
        items: expressions over the rows, the first a number and the second a text.
        group: an expression to group by.
        of_group: a condition on groups.
        joined: one more table, a condition on its rows and those of ``source``, and a number and
            a text of both.
    """

    source: str
    test: str
    items: tuple[str, ...]
    group: str
    of_group: str
    joined: tuple[str, str, str, str]


def random_condition(seed: int) -> Condition:
    """Return the condition of a seed, always the same."""
    draw = Queries(random.Random(seed), ("items", "people", "memories", "memories", "nothing"))
    source, sources = draw.sources(most=2)
    reach = draw.reach(sources)
    table, added = draw.table()
    both = draw.reach([*sources, added])
    return Condition(
        source,
        reach.of("bool"),
        (reach.of("int", 1), reach.of("str", 1), reach.of("bool", 1), reach.of("date", 1)),
        reach.of(draw.pick(["int", "str"]), 1),
        reach.aggregate("bool"),
        (table, both.of("bool", 1), both.of("int", 1), both.of("str", 1)),
    )


def parts(test: str) -> tuple[str, str, str]:
    """Return the three conditions of which each row fulfills one."""
    return f"({test})", f"NOT ({test})", f"({test}) IS NULL"


Asked = Callable[[str], Answer]


def rows_of_parts(ask: Asked, condition: Condition) -> str | None:
    """Compare the rows of the parts, asked apart and in one statement, with all rows."""
    select = f"SELECT {', '.join(condition.items)} FROM {condition.source}"
    selects = [f"{select} WHERE {part}" for part in parts(condition.test)]
    every = Counter(shown(ask(select).rows))
    apart = Counter(row for one in selects for row in shown(ask(one).rows))
    together = Counter(shown(ask(" UNION ALL ".join(selects)).rows))
    if every == apart == together:
        return None
    return f"{every.total()} rows, in parts {apart.total()}, as one {together.total()}"


def aggregates_of_parts(ask: Asked, condition: Condition) -> str | None:
    """Compare aggregates, combined from those of the parts, with those of all rows."""
    number, text, *_ = condition.items
    calls = f"count(*), count({text}), sum({number}), min({text}), max({number})"
    select = f"SELECT {calls} FROM {condition.source}"
    every = ask(select).rows[0]
    of_parts = [ask(f"{select} WHERE {part}").rows[0] for part in parts(condition.test)]
    filtered = ", ".join(f"count(*) FILTER (WHERE {part})" for part in parts(condition.test))
    counts = ask(f"SELECT {filtered} FROM {condition.source}").rows[0]
    if counts != tuple(row[0] for row in of_parts):
        return f"FILTER counts {counts}, WHERE {[row[0] for row in of_parts]}"
    combined = tuple(
        _combined(call, [row[place] for row in of_parts]) for place, call in enumerate(TOTALS)
    )
    return None if combined == every else f"{every}, combined {combined}"


# How count(*), count, sum, min and max of the parts are put together.
TOTALS: tuple[Callable[..., Any], ...] = (sum, sum, sum, min, max)


def _combined(call: Callable[..., Any], values: list[Any]) -> Any:
    known = [value for value in values if value is not None]
    return call(known) if known else None


def groups_of_parts(ask: Asked, condition: Condition) -> str | None:
    """Compare the groups that HAVING leaves with all groups."""
    select = f"SELECT {condition.group} AS g, count(*) FROM {condition.source} GROUP BY g"
    every = Counter(shown(ask(select).rows))
    having = [f"{select} HAVING {part}" for part in parts(condition.of_group)]
    found = Counter(row for one in having for row in shown(ask(one).rows))
    return None if every == found else f"{every.total()} groups, in parts {found.total()}"


def distinct_of_parts(ask: Asked, condition: Condition) -> str | None:
    """Compare the different rows of the parts with all different rows."""
    select = f"SELECT DISTINCT {condition.group} AS g FROM {condition.source}"
    every = shown(ask(select).rows)
    if len(set(every)) != len(every):
        return f"{len(every) - len(set(every))} rows twice"
    found = {
        row for part in parts(condition.test) for row in shown(ask(f"{select} WHERE {part}").rows)
    }
    return None if set(every) == found else f"{len(every)} rows, in parts {len(found)}"


def joins_of_parts(ask: Asked, condition: Condition) -> str | None:
    """Compare inner joins on the parts of a condition with the cross join."""
    table, test, number, text = condition.joined
    select = f"SELECT count(*), sum({number}), min({text}) FROM {condition.source}"
    every = ask(f"{select} CROSS JOIN {table}").rows[0]
    found = [ask(f"{select} JOIN {table} ON {part}").rows[0] for part in parts(test)]
    combined = tuple(
        _combined(call, [row[place] for row in found]) for place, call in enumerate(TOTALS[1:4])
    )
    return None if combined == every else f"{every}, combined {combined}"


Check = Callable[[Asked, Condition], str | None]
CHECKS: tuple[Check, ...] = (
    rows_of_parts,
    aggregates_of_parts,
    groups_of_parts,
    distinct_of_parts,
    joins_of_parts,
)


def checked(con: memql.Connection, seed: int, check: Check) -> str | None:
    """Return where the parts of a seed's condition are not the whole.

    Raises:
        Error: some row has no value for the condition.
    """

    def ask(text: str) -> Answer:
        answer = of_memql(con, text)
        if answer.error is not None:
            raise answer.error
        return answer

    condition = random_condition(seed)
    odd = check(ask, condition)
    return None if odd is None else f"seed {seed}, {check.__name__}: {odd}\n  {condition}"


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_the_parts_are_the_whole(con: memql.Connection, first: int) -> None:
    found, answered = [], 0
    for seed in range(first, first + BLOCK):
        for check in CHECKS:
            try:
                odd = checked(con, seed, check)
            except memql.Error:
                continue
            answered += 1
            if odd is not None:
                found.append(odd)
    assert not found, "\n".join(found)
    assert answered >= ANSWERED * BLOCK * len(CHECKS)


def twice(node: exp.Not) -> None:
    """Make of a NOT one that holds for NULL too."""
    node.set("this", exp.Is(this=exp.paren(node.this.copy()), expression=exp.true()))


def lost(node: exp.Not) -> None:
    """Make of a NOT one that never holds."""
    node.set("this", exp.paren(exp.or_(node.this.copy(), exp.true())))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.__name__))
def test_a_wrong_not_is_noticed(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch, check: Check
) -> None:
    right = printing.print_sql
    break_it = lost if check is distinct_of_parts else twice

    def wrong(query: exp.Expr) -> str:
        query = query.copy()
        for node in list(query.find_all(exp.Not)):
            break_it(node)
        return right(query)

    con.execute("SET memql.plan_cache = off")
    monkeypatch.setattr(printing, "print_sql", wrong)
    assert any(noticed(con, seed, check) for seed in range(SEEDS))
    con.execute("RESET memql.plan_cache")


def noticed(con: memql.Connection, seed: int, check: Check) -> bool:
    try:
        return checked(con, seed, check) is not None
    except memql.Error:
        return False
