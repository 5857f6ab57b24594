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

import memql
from memql.engine.duckdb_sql.generator import PlainGenerator
from tests.engine.random_queries import Queries
from tests.engine.twins import Answer, of_memql, open_twins, shown
from tests.soak import SOAK_FACTOR

SEEDS = 2_000 if SOAK_FACTOR > 1 else 80
BLOCK = 20
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
        joined: one more table, with a condition on its rows and those of ``source``.
    """

    source: str
    test: str
    items: tuple[str, ...]
    group: str
    of_group: str
    joined: tuple[str, str]


def random_condition(seed: int) -> Condition:
    """Return the condition of a seed, always the same."""
    draw = Queries(random.Random(seed), ("items", "people", "memories", "memories", "nothing"))
    source, sources = draw.sources()
    reach = draw.reach(sources)
    table, added = draw.table()
    return Condition(
        source,
        reach.of("bool"),
        (reach.of("int", 1), reach.of("str", 1), reach.of("bool", 1), reach.of("date", 1)),
        reach.of(draw.pick(["int", "str"]), 1),
        reach.aggregate("bool"),
        (table, draw.reach([*sources[:1], added]).of("bool", 1)),
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
        _combined(call, [row[place] for row in of_parts])
        for place, call in enumerate([sum, sum, sum, min, max])
    )
    return None if combined == every else f"{every}, combined {combined}"


def _combined(call: Callable[[list[Any]], Any], values: list[Any]) -> Any:
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
    table, test = condition.joined
    number, text, *_ = condition.items
    select = f"SELECT count(*), sum({number}), min({text}) FROM {condition.source}"
    every = ask(f"{select} CROSS JOIN {table}").rows[0]
    found = [ask(f"{select} JOIN {table} ON {part}").rows[0] for part in parts(test)]
    combined = tuple(
        _combined(call, [row[place] for row in found]) for place, call in enumerate([sum, sum, min])
    )
    return None if combined == every else f"{every}, combined {combined}"


CHECKS = (
    rows_of_parts,
    aggregates_of_parts,
    groups_of_parts,
    distinct_of_parts,
    joins_of_parts,
)


def differences(con: memql.Connection, seeds: range, checks: tuple[Any, ...] = CHECKS) -> list[str]:
    """Return where the parts are not the whole; most conditions must have a value."""

    def ask(text: str) -> Answer:
        answer = of_memql(con, text)
        if answer.error is not None:
            raise answer.error
        return answer

    found, answered = [], 0
    for seed in seeds:
        condition = random_condition(seed)
        for check in checks:
            try:
                odd = check(ask, condition)
            except memql.Error:
                continue
            answered += 1
            if odd is not None:
                found.append(f"seed {seed}, {check.__name__}: {odd}\n  {condition}")
    asked = len(seeds) * len(checks)
    assert answered >= ANSWERED * asked, f"{answered} of {asked} are answered"
    return found


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_the_parts_are_the_whole(con: memql.Connection, first: int) -> None:
    found = differences(con, range(first, first + BLOCK))
    assert not found, "\n".join(found)


# What a wrong NOT leaves of its parts: rows come twice, or none comes.
WRONG = {"twice": "(NOT coalesce({0}, false))", "lost": "((NOT {0}) AND NULL)"}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_wrong_not_is_noticed(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch, check: Any
) -> None:
    wrong = WRONG["lost" if check is distinct_of_parts else "twice"]
    assert not differences(con, range(30), (check,))
    con.execute("SET memql.plan_cache = off")
    monkeypatch.setattr(
        PlainGenerator, "not_sql", lambda self, node: wrong.format(self.sql(node, "this"))
    )
    assert differences(con, range(60), (check,))
    con.execute("RESET memql.plan_cache")
