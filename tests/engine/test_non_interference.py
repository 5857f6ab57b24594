"""Non-interference: of two stores that differ only in what a user may not see, both say the same.

A failure prints the seed of the statements; to see what both stores of a pair say to some:

    python -m tests.engine.test_non_interference PAIR 'SELECT ...' ['SELECT ...' ...]

Random rows, tables, views, nodes and rights are hidden (``worlds.py``), and the statements
(``random_probes.py``) ask in every way that might tell.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import argon2
import duckdb
import pytest
from sqlglot import exp

import memql
from memql.engine.bind import policy, visible
from memql.engine.bind.parameters import Values
from memql.engine.govern import passwords
from memql.engine.optimize import RULES
from memql.engine.plan import Plan
from memql.engine.printing import Printed, print_query
from memql.engine.result import arrow_of
from memql.engine.run import answers, executor, relation
from memql.engine.run.executor import Executor
from memql.engine.views import ViewCatalog
from memql.storage import folder
from tests.engine.pairs import Moment, Pair, Statement, connect, difference, one_moment
from tests.engine.random_probes import random_model_probe, random_probe
from tests.engine.worlds import USER, World, hidden_of, make, worlds_of
from tests.soak import SOAK_FACTOR

pytestmark = pytest.mark.slow

PAIRS, STATEMENTS, CASES = (50, 100, 100) if SOAK_FACTOR > 1 else (8, 25, 3)
MANY_ROWS = 300_000 if SOAK_FACTOR > 1 else 60_000
# Some of the pairs, for what is switched off and for what is broken.
GOVERNED, OWN_ONLY, USERS = 9, 15, 16


@pytest.fixture(scope="module")
def moment() -> Iterator[Moment]:
    with one_moment() as moment:
        yield moment


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, moment: Moment) -> Callable[[int], Path]:
    """The folder of a pair's stores, made once."""
    folder = tmp_path_factory.mktemp("pairs")

    def make_once(number: int) -> Path:
        found = folder / str(number)
        if not found.exists():
            make_pair(found, worlds_of(number), moment)
        return found

    return make_once


def make_pair(folder: Path, worlds: tuple[World, World], moment: Moment) -> None:
    folder.mkdir()
    for name, world in zip("ab", worlds, strict=True):
        make(folder / name, world, moment)


@contextmanager
def opened(folder: Path, moment: Moment) -> Iterator[Pair]:
    """Open a copy of a pair; afterwards what is hidden must be as it was."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as copy:
        paths = (Path(copy) / "a", Path(copy) / "b")
        for path in paths:
            shutil.copytree(folder / path.name, path)
        before = _hidden_before(folder)
        pair = Pair(paths, USER, moment)
        pair.open()
        try:
            yield pair
        finally:
            pair.close()
        assert [hidden_of(path) for path in paths] == before, "a hidden row was changed"


@lru_cache
def _hidden_before(folder: Path) -> list[list[object]]:
    return [hidden_of(folder / name) for name in "ab"]


Probes = Callable[[int], Sequence[Statement]]


def differences(pair: Pair, seeds: Iterable[int], probes: Probes = random_probe) -> Iterator[str]:
    """Find the statements to which both do not say the same."""
    for seed in seeds:
        odd = pair.interference(probes(seed))
        if odd is not None:
            yield f"seed {seed}: {odd}"


def check(pair: Pair, seeds: Iterable[int], probes: Probes = random_probe) -> None:
    found = next(differences(pair, seeds, probes), None)
    assert found is None, found


@pytest.mark.parametrize("number", range(PAIRS))
def test_what_a_user_may_not_see_changes_nothing(
    made: Callable[[int], Path], moment: Moment, number: int
) -> None:
    with opened(made(number), moment) as pair:
        check(pair, range(1000 * number, 1000 * number + STATEMENTS))
        # Kept plans, for the same texts once more.
        check(pair, range(1000 * number, 1000 * number + STATEMENTS // 4))


def test_many_hidden_rows_change_nothing(tmp_path: Path, moment: Moment) -> None:
    worlds = (World(3, 1, 0, 400, True), World(3, 2, MANY_ROWS, 400, True))
    make_pair(tmp_path / "many", worlds, moment)
    with opened(tmp_path / "many", moment) as pair:
        check(pair, range(STATEMENTS // 2))


def optimizer_passes() -> list[str]:
    rows = duckdb.execute("SELECT name FROM duckdb_optimizers() ORDER BY name").fetchall()
    return [name for (name,) in rows]


@pytest.mark.parametrize("name", optimizer_passes())
def test_without_a_pass_of_duckdbs_optimizer(
    made: Callable[[int], Path], moment: Moment, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # The store locks DuckDB's settings when it opens.
    monkeypatch.setitem(folder._CONFIG, "disabled_optimizers", name)
    number = optimizer_passes().index(name)
    with opened(made((GOVERNED, OWN_ONLY, USERS)[number % 3]), moment) as pair:
        cursor = pair.connections[0]._session._store.cursor()
        setting = cursor.execute("SELECT current_setting('disabled_optimizers')").fetchall()
        assert setting == [(name,)]
        cursor.close()
        check(pair, range(10**6 + 1000 * number, 10**6 + 1000 * number + CASES))


@pytest.mark.parametrize("rule", [rule.__name__ for rule in RULES])
def test_without_a_rule(made: Callable[[int], Path], moment: Moment, rule: str) -> None:
    with opened(made(GOVERNED), moment) as pair:
        for said in pair.ask(f"SET memql.disabled_rules = '{rule}'"):
            assert not said.error
        check(pair, range(2 * 10**6, 2 * 10**6 + CASES))
        check(pair, range(2 * 10**6, 2 * 10**6 + CASES), random_model_probe)


# -- what others have compiled ---------------------------------------------------------------------

_ASK = "SELECT generate('Who?', max_tokens := 1) FROM memories WHERE kind = 'open'"
_MATERIALIZE = (
    "SELECT content FROM memories WHERE kind = 'open' ORDER BY created_at MATERIALIZE AS "
)


@pytest.mark.parametrize("form", ["PLAINTEXT", "ACTIVATION", "AUTO"])
def test_what_is_stored_of_others_rows_is_not_told(
    made: Callable[[int], Path], moment: Moment, form: str
) -> None:
    with opened(made(GOVERNED), moment) as pair:
        for path, connection in zip(pair.paths, pair.connections, strict=True):
            with connect(path, None) as admin:
                stored = admin.execute(f"{_MATERIALIZE}{form}").fetchall()[0]
            row = connection.execute(f"{_MATERIALIZE}{form}").fetchall()[0]
            names = [
                column[0]
                for column in connection.execute(f"{_MATERIALIZE}{form}").description or ()
            ]
            shown, told = dict(zip(names, row, strict=True)), dict(zip(names, stored, strict=True))
            assert shown["memory_ids"]
            for name in ("reused_tokens", "computed_tokens", "bytes"):
                assert shown[name] is None
                assert told[name] is not None
            answer = connection.execute(_ASK).fetchall()[0][0]
            assert answer.reused_tokens is answer.computed_tokens is None
            plan = str(
                connection.execute(f"EXPLAIN ANALYZE (FORMAT json) {_MATERIALIZE}{form}").fetchall()
            )
            for name in ("reused_tokens", "computed_tokens", "seconds"):
                assert f'"{name}": null' in plan
        check(pair, range(3 * 10**6, 3 * 10**6 + CASES), random_model_probe)


# -- negative controls -----------------------------------------------------------------------------


@contextmanager
def broken() -> Iterator[pytest.MonkeyPatch]:
    """Let something be broken inside; what was planned before does not count."""
    _forget_policies()
    with pytest.MonkeyPatch.context() as patch:
        yield patch
    _forget_policies()


def _forget_policies() -> None:
    visible._taken_out.cache_clear()
    visible._everything.cache_clear()


def noticed(pair: Pair, probes: Probes = random_probe) -> bool:
    """Tell whether one of many statements shows it."""
    pair.ask("SET memql.plan_cache = off")
    return any(differences(pair, range(400), probes))


def test_a_policy_without_the_owner_is_noticed(made: Callable[[int], Path], moment: Moment) -> None:
    right = policy.visible

    def wrong(rights: Any, command: str) -> exp.Expr:
        def free(node: exp.Expr) -> exp.Expr:
            return (
                exp.true()
                if isinstance(node, exp.EQ | exp.In) and node.this.name == "owner"
                else node
            )

        return right(rights, command).transform(free)

    with pytest.raises(AssertionError, match="a hidden row was changed"):
        with broken() as patch, opened(made(OWN_ONLY), moment) as pair:
            patch.setattr(visible, "visible", wrong)
            assert noticed(pair)
            pair.ask("UPDATE memories SET kind = 'mine'")


def test_a_query_that_runs_below_the_policy_is_noticed(
    made: Callable[[int], Path], moment: Moment
) -> None:
    right = relation.register_rows

    def wrong(printed: Printed, cursor: duckdb.DuckDBPyConnection, values: Values) -> None:
        for rows in printed.visible:
            every = rows.query.copy()
            every.set("where", None)
            names = {mark.name for mark in every.find_all(exp.Placeholder)}
            found = cursor.execute(print_query(every).sql, values.of(tuple(names)))
            cursor.register(rows.name, arrow_of(found))
        if printed.visible:
            cursor.execute(printed.sql, values.of(printed.parameters)).fetchall()
        right(printed, cursor, values)

    with broken() as patch, opened(made(OWN_ONLY), moment) as pair:
        patch.setattr(relation, "register_rows", wrong)
        assert noticed(pair)


def test_an_order_that_depends_on_hidden_rows_is_noticed(
    made: Callable[[int], Path], moment: Moment
) -> None:

    def wrong(cursor: duckdb.DuckDBPyConnection) -> Any:
        rows = arrow_of(cursor)
        found = cursor.execute("SELECT count(*) FROM _memql.memories").fetchall()
        return rows if found[0][0] < 600 else rows.take(list(range(rows.num_rows))[::-1])

    with broken() as patch, opened(made(GOVERNED), moment) as pair:
        patch.setattr(relation, "arrow_of", wrong)
        assert noticed(pair)


def test_names_of_others_views_in_an_error_are_noticed(
    made: Callable[[int], Path], moment: Moment
) -> None:
    def wrong(views: ViewCatalog) -> list[str]:
        rows = views._cursor.execute('SELECT "name" FROM "_memql"."views"').fetchall()
        return [name for (name,) in rows]

    with broken() as patch, opened(made(GOVERNED), moment) as pair:
        patch.setattr(ViewCatalog, "names", wrong)
        assert noticed(pair)


def test_a_count_of_hidden_rows_in_a_plan_is_noticed(
    made: Callable[[int], Path], moment: Moment
) -> None:
    right = Executor.prepare

    def wrong(self: Executor, plan: Plan) -> None:
        right(self, plan)
        found = self.cursor.execute("SELECT count(*) FROM _memql.memories").fetchall()
        self.trace.relation_rows = found[0][0]

    with broken() as patch, opened(made(OWN_ONLY), moment) as pair:
        patch.setattr(Executor, "prepare", wrong)
        assert noticed(pair)


@pytest.mark.parametrize("place", [executor, answers])
def test_what_is_stored_of_others_rows_is_noticed_where_told(
    made: Callable[[int], Path], moment: Moment, place: Any
) -> None:
    with broken() as patch, opened(made(GOVERNED), moment) as pair:
        patch.setattr(place, "told", lambda figure, prepared: figure)
        text = (
            f"{_MATERIALIZE}ACTIVATION"
            if place is executor
            else f"{_ASK} MATERIALIZE AS ACTIVATION"
        )
        assert pair.interference([text]) is not None


def test_seeds_are_always_the_same() -> None:
    probes = [random_probe(seed) for seed in range(200)]
    assert probes == [random_probe(seed) for seed in range(200)]
    assert len(set(probes)) > 150
    assert worlds_of(3) == worlds_of(3) != worlds_of(4)
    worlds = [world for number in range(50) for world in worlds_of(number)]
    assert {world.rows for world in worlds} >= {0, 1, 3000}
    assert (
        {world.governed for world in worlds}
        == {world.compiled for world in worlds}
        == {True, False}
    )


def main(number: int, statements: Sequence[str]) -> None:
    """Print what both stores of a pair say."""
    with tempfile.TemporaryDirectory() as folder, one_moment() as moment:
        make_pair(Path(folder) / "pair", worlds_of(number), moment)
        print(*worlds_of(number), sep="\n")
        with opened(Path(folder) / "pair", moment) as pair:
            for text in statements:
                one, other = pair.ask(text)
                print(f"-- {text}", difference(one, other) or "the same", sep="\n")
                print(one.error, *one.rows, sep="\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])


ESTIMATED = [
    "SELECT generate('Who?', max_tokens := 1) FROM memories MATERIALIZE AS ACTIVATION",
    "SELECT content FROM memories MATERIALIZE AS ACTIVATION",
    "SELECT content FROM memories MATERIALIZE AS PLAINTEXT",
]


@pytest.fixture(scope="module")
def threes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a quiet and a busy store of ann, bob and cy."""
    folder = tmp_path_factory.mktemp("threes")
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", lambda: quick)
        for busy in (False, True):
            _make_three(folder / str(busy), busy=busy)
    return folder


@pytest.mark.parametrize("user", ["ann", "cy"])
@pytest.mark.parametrize("query", ESTIMATED)
@pytest.mark.parametrize("verb", ["EXPLAIN", "EXPLAIN ANALYZE"])
@pytest.mark.parametrize("stored", [False, True])
def test_an_estimate_does_not_tell_that_others_have_stored_something(
    threes: Path, tmp_path: Path, user: str, query: str, verb: str, stored: bool
) -> None:
    """Who loads something first has the model's speed measured; others must not see that.

    Of ann's rows some are bob's, cy reads none but her own.
    """
    told = []
    for busy in (False, True):
        store = tmp_path / str(busy)
        shutil.copytree(threes / str(busy), store)
        with memql.connect(store, user=user, password="secret") as con:
            if stored:
                con.execute("SELECT content FROM memories MATERIALIZE AS ACTIVATION")
            lines = con.execute(f"{verb} {query}").fetchall()
        told.append([line.split(":")[0].strip("│├└─ ") for (line,) in lines])
    assert told[0] == told[1]
    assert "nodes" in told[0]
    # The control: of what one has stored oneself one is told, if one reads no other's rows.
    estimated = user == "cy" and stored and query.endswith("ACTIVATION")
    assert ("estimated_load_seconds" in told[0]) == estimated


def _make_three(store: Path, *, busy: bool) -> None:
    """Make a store of ann, bob and cy; where it is busy, bob has compiled his memory and used it.

    It is the same rows that ann reads of his.
    """
    with memql.connect(store) as founder:
        founder.execute("CREATE USER root WITH PASSWORD 'secret'")
    with memql.connect(store, user="root", password="secret") as root:
        for name in ("ann", "bob", "cy"):
            root.execute(f"CREATE USER {name} WITH PASSWORD 'secret'")
    for name in ("ann", "bob", "cy"):
        with memql.connect(store, user=name, password="secret") as con:
            con.execute("INSERT INTO memories (content) VALUES (?)", [f"{name} lives in Oslo."])
            if name == "bob":
                con.execute("GRANT READ, MATERIALIZE ON MEMORIES TO ann")
    if busy:
        with memql.connect(store, user="bob", password="secret") as bob:
            for _ in range(2):
                bob.execute("SELECT generate('Who?') FROM memories MATERIALIZE AS ACTIVATION")
