"""Random queries and changes: MemQL says what plain DuckDB says over the same rows.

What MemQL's policy hides is not there on DuckDB's side. A failure prints the seed; to see it alone:

    python -m tests.engine.test_differential SEED [USER]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from memql.engine.bind import sources
from memql.engine.duckdb_sql.generator import PlainGenerator
from tests.engine.random_forms import random_query
from tests.engine.random_writes import SETUP, TARGETS, random_write
from tests.engine.twins import Answer, Twins, difference, of_memql, of_plain, open_twins, shown
from tests.soak import SOAK_FACTOR

# How many queries are drawn for everybody and for one user, and how many changes.
QUERIES, OF_A_USER, WRITES = (5_000, 2_000, 2_000) if SOAK_FACTOR > 1 else (600, 200, 200)
BLOCK = 50
# So many of a block DuckDB must answer, or the comparison says little.
ANSWERED = 0.8

# What MemQL refuses though DuckDB answers it: a part of the error's text, and why.
REFUSED_BY_DESIGN: dict[str, str] = {}


@pytest.fixture(scope="module", params=[None, "alice"], ids=["everybody", "alice"])
def twins(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Twins]:
    both = open_twins(tmp_path_factory.mktemp("twins") / "store.memql", request.param)
    yield both
    both.close()


def blocks(count: int) -> range:
    return range(0, count, BLOCK)


def differences(twins: Twins, seeds: range) -> list[str]:
    """Return what MemQL answers otherwise, with the seeds; most queries must be answered."""
    found, answered = [], 0
    for seed in seeds:
        query = random_query(seed)
        ours, theirs = twins.ask(query.text)
        answered += theirs.error is None
        odd = difference(ours, theirs, ordered=query.ordered)
        if odd is not None and not by_design(ours):
            found.append(f"seed {seed}: {odd}\n  {query.text}")
    assert answered >= ANSWERED * len(seeds), f"DuckDB answers {answered} of {len(seeds)}"
    return found


def by_design(answer: Answer) -> bool:
    return answer.error is not None and any(
        text in str(answer.error) for text in REFUSED_BY_DESIGN
    )


@pytest.mark.parametrize("first", blocks(QUERIES))
def test_queries_answer_as_duckdb_does(twins: Twins, first: int) -> None:
    if twins.memql.user is not None:
        first += QUERIES  # other queries than everybody's
        if first >= QUERIES + OF_A_USER:
            return
    found = differences(twins, range(first, first + BLOCK))
    assert not found, "\n".join(found)
