"""Random queries and changes: MemQL says what plain DuckDB says over the same rows.

What MemQL's policy hides is not there on DuckDB's side. A failure prints the seed; to see both
answers to the query of a seed:

    python -m tests.engine.test_differential SEED [USER]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from sqlglot import exp

from memql.engine import printing
from memql.engine.bind import policy, visible
from memql.engine.rights import Rights
from tests.engine.random_forms import random_query
from tests.engine.random_writes import SETUP, TARGETS, random_write
from tests.engine.twins import Answer, Twins, difference, of_memql, of_plain, open_twins, shown
from tests.soak import SOAK_FACTOR

pytestmark = pytest.mark.slow

# How many queries are drawn for everybody and for one user, and how many changes.
QUERIES, OF_A_USER, WRITES = (5_000, 2_000, 2_000) if SOAK_FACTOR > 1 else (600, 200, 200)
BLOCK = 50
# So many of a block DuckDB must answer, or the comparison says little.
ANSWERED = 0.8

# What MemQL refuses though DuckDB answers it: a part of the error's text, and why.
REFUSED_BY_DESIGN: dict[str, str] = {}


@pytest.fixture(scope="module")
def everybody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    twins = open_twins(tmp_path_factory.mktemp("everybody") / "store.memql", None)
    yield twins
    twins.close()


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    twins = open_twins(tmp_path_factory.mktemp("alice") / "store.memql", "alice")
    yield twins
    twins.close()


def differences(twins: Twins, seeds: Iterable[int]) -> list[str]:
    """Return what MemQL answers otherwise, with the seeds; most queries must be answered."""
    found, count, answered = [], 0, 0
    for seed in seeds:
        query = random_query(seed)
        ours, theirs = twins.ask(query.text)
        count += 1
        answered += theirs.error is None
        odd = difference(ours, theirs, ordered=query.ordered)
        if odd is not None and not by_design(ours):
            found.append(f"seed {seed}: {odd}\n  {query.text}")
    assert answered >= ANSWERED * count, f"DuckDB answers {answered} of {count}"
    return found


def by_design(answer: Answer) -> bool:
    return any(text in str(answer.error) for text in REFUSED_BY_DESIGN)


@pytest.mark.parametrize("first", range(0, QUERIES, BLOCK))
def test_queries_answer_as_duckdb_does(everybody: Twins, first: int) -> None:
    found = differences(everybody, range(first, first + BLOCK))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("first", range(QUERIES, QUERIES + OF_A_USER, BLOCK))
def test_a_user_is_answered_as_if_its_rows_were_all(alice: Twins, first: int) -> None:
    found = differences(alice, range(first, first + BLOCK))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("user", ["everybody", "alice"])
@pytest.mark.parametrize("first", range(0, WRITES, BLOCK))
def test_changes_leave_the_rows_that_duckdb_leaves(
    request: pytest.FixtureRequest, user: str, first: int
) -> None:
    twins: Twins = request.getfixturevalue(user)
    set_up(twins)
    found, written = [], 0
    for seed in range(first, first + BLOCK):
        odd, refused = change_both(twins, seed)
        written += not refused
        if odd is not None:
            found.append(odd)
            set_up(twins)  # what follows would be odd as well
    assert not found, "\n".join(found)
    assert written >= BLOCK // 2


def set_up(twins: Twins) -> None:
    """Make the tables that are written as they are before the first change."""
    for statement in SETUP:
        answers = twins.ask(statement)
        assert not any(answer.error for answer in answers), answers


def change_both(twins: Twins, seed: int) -> tuple[str | None, bool]:
    """Change both sides; return how they are not alike then, and whether DuckDB refused it."""
    write = random_write(seed)
    theirs = of_plain(twins.plain, write.text)
    ours, count = of_memql(twins.memql, write.text), None
    named = f"seed {seed}: {write.text}"
    if write.returning or theirs.error is not None or ours.error is not None:
        odd = difference(ours, theirs, ordered=False)
        if odd is not None:
            return f"{odd}\n  {named}", False
    else:
        count = ours.rowcount
        expected = theirs.rows[0][0] if theirs.rows else -1
        if count != expected:
            return f"{count} rows written, expected {expected}\n  {named}", False
    if theirs.error is not None and write.target == "made":
        return None, True
    left = difference(*twins.ask(f"FROM {write.target}"), ordered=False)
    return (None if left is None else f"{left}\n  {named}"), theirs.error is not None


# -- negative controls ----------------------------------------------------------------------------


def test_a_printer_that_drops_a_word_is_noticed(
    everybody: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not differences(everybody, range(20))
    everybody.memql.execute("SET memql.plan_cache = off")
    right = printing.print_sql

    def wrong(query: exp.Expr) -> str:
        return right(query.transform(lambda n: n.this if isinstance(n, exp.Not) else n))

    monkeypatch.setattr(printing, "print_sql", wrong)
    assert noticed(everybody)
    everybody.memql.execute("RESET memql.plan_cache")


def noticed(twins: Twins) -> bool:
    """Tell whether one of many queries gives other rows."""
    some = (range(first, first + 20) for first in range(0, 400, 20))
    return any("rows, expected" in odd for seeds in some for odd in differences(twins, seeds))


@pytest.mark.parametrize("rows", ["owner", "state", "expires_at"])
def test_a_policy_that_lets_a_row_through_is_noticed(
    alice: Twins, monkeypatch: pytest.MonkeyPatch, rows: str
) -> None:
    right = policy.visible

    def wrong(rights: Rights, command: str) -> exp.Expr:
        condition = exp.paren(right(rights, command))
        for term in list(condition.this.flatten()):
            if any(column.name == rows for column in term.find_all(exp.Column)):
                term.replace(exp.paren(exp.or_(term.copy(), exp.true())))
        return condition

    alice.memql.execute("SET memql.plan_cache = off")
    visible._taken_out.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(visible, "visible", wrong)
        assert noticed(alice)
    visible._taken_out.cache_clear()
    alice.memql.execute("RESET memql.plan_cache")


def test_answers_that_are_not_alike_are_told_apart() -> None:
    columns = (("a", "INTEGER"),)
    one, two = (1,), (2,)
    answer = Answer(columns, (one, two))
    assert difference(answer, Answer(columns, (two, one)), ordered=False) is None
    for other in (
        Answer(columns, (one,)),
        Answer(columns, (one, two, two)),
        Answer(columns, (one, one)),
        Answer((("b", "INTEGER"),), (one, two)),
        Answer((("a", "BIGINT"),), (one, two)),
        Answer(error=ValueError("refused")),
    ):
        assert difference(answer, other, ordered=False)
        assert difference(other, answer, ordered=False)
    assert difference(answer, Answer(columns, (two, one)), ordered=True)
    assert difference(Answer(columns, ((None,),)), Answer(columns, (("",),)), ordered=False)
    assert difference(Answer(columns, ((1.0,),)), Answer(columns, ((1.001,),)), ordered=False)


def test_a_seed_is_always_the_same_query() -> None:
    texts = [random_query(seed).text for seed in range(50)]
    assert texts == [random_query(seed).text for seed in range(50)]
    assert len(set(texts)) == 50
    assert len({random_write(seed).text for seed in range(50)}) == 50
    assert {random_write(seed).target for seed in range(100)} == {*TARGETS, "made"}


def main(seed: int, user: str | None) -> None:
    """Print the query of a seed and what both sides say to it."""
    with tempfile.TemporaryDirectory() as folder:
        twins = open_twins(Path(folder) / "store.memql", user)
        query = random_query(seed)
        print(query.text)
        for name, answer in zip(("MemQL", "DuckDB"), twins.ask(query.text), strict=True):
            print(f"-- {name}: {answer.error or answer.columns}", *shown(answer.rows), sep="\n")
        twins.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
