"""Plans that are kept: they skip parser and binder, and never outlive what they were made from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import memql
from memql.engine import plancache
from memql.engine.bind.parameters import Signature
from memql.engine.optimize import Optimized
from memql.engine.plancache import KnownPlan, PlanCache, PlanKey
from memql.engine.session import Session

pytestmark = pytest.mark.slow

COUNT = "SELECT count(*) FROM memories"


@pytest.fixture
def con(tmp_path: Path) -> Iterator[memql.Connection]:
    with memql.connect(tmp_path / "store.memql") as connection:
        for owner in ("ann", "bob"):
            for kind in ("fact", "food"):
                connection.execute(
                    "INSERT INTO memories (owner, kind, content) VALUES (?, ?, ?)",
                    [owner, kind, f"{owner} likes tea."],
                )
        yield connection


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were planned anew, in order."""
    texts: list[str] = []
    plan = Session._plan

    def noted(session: Session, tree: Any, context: Any, values: Any) -> Any:
        texts.append(context.text)
        return plan(session, tree, context, values)

    monkeypatch.setattr(Session, "_plan", noted)
    return texts


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        (COUNT, None),
        ("SELECT content FROM memories WHERE owner = ? ORDER BY id", ["ann"]),
        ("SELECT content FROM memories WHERE owner = $1 ORDER BY id LIMIT $2", ["ann", 1]),
        ("SELECT content FROM memories WHERE owner = $who ORDER BY id", {"who": "ann"}),
        ("SELECT content FROM memories LIMIT ? TOKENS", [20]),
        ("SELECT kind, generate('Who?', max_tokens := 2) FROM memories GROUP BY kind", None),
        ("SELECT generate(?, max_tokens := 2 LIMIT ?) AS a FROM memories", ["Who?", 2]),
        ("SELECT DISTINCT generate('Who?', max_tokens := 2) FROM memories", None),
        ("SELECT content FROM memories WHERE owner = ? MATERIALIZE AS PLAINTEXT", ["ann"]),
        ("WITH a AS (SELECT kind FROM memories) SELECT kind, count(*) FROM a GROUP BY ALL", None),
    ],
)
def test_a_text_seen_before_is_not_planned_again(
    con: memql.Connection, planned: list[str], text: str, parameters: Any
) -> None:
    def rows() -> list[Any]:
        found = con.execute(text, parameters).fetchall()
        # What a materialization is called differs from run to run.
        return sorted(row[1:] if "MATERIALIZE" in text else row for row in found)

    first = rows()
    assert planned == [text]
    assert rows() == first
    assert planned == [text]
    con.execute("SET memql.plan_cache = off")
    assert rows() == first
    assert planned == [text, text]


def test_changes_are_kept_too(con: memql.Connection, planned: list[str]) -> None:
    insert = "INSERT INTO memories (content, kind) VALUES (?, 'new') RETURNING kind"
    for number in range(3):
        assert con.execute(insert, [f"Fact {number}."]).fetchall() == [("new",)]
    update = "UPDATE memories SET importance = ? WHERE kind = 'new'"
    for importance in (0.1, 0.2):
        assert con.execute(update, [importance]).rowcount == 3
    assert planned == [insert, update]
    assert con.execute(
        "SELECT DISTINCT importance FROM memories WHERE kind = 'new'"
    ).fetchall() == [(pytest.approx(0.2),)]
    assert con.execute("SELECT count(DISTINCT content) FROM memories WHERE kind = 'new'").fetchone()


def test_connections_share_the_plans_of_a_store(
    con: memql.Connection, tmp_path: Path, planned: list[str]
) -> None:
    con.execute(COUNT)
    with memql.connect(tmp_path / "store.memql") as other:
        assert other.execute(COUNT).fetchone() == (4,)
    with memql.connect() as elsewhere:
        assert elsewhere.execute(COUNT).fetchone() == (0,)
    assert planned == [COUNT, COUNT]


def test_a_plan_is_its_users_own(con: memql.Connection, tmp_path: Path, planned: list[str]) -> None:
    counts = []
    for user in (None, "ann", "bob", "nobody", "ann"):
        with memql.connect(tmp_path / "store.memql", user=user) as own:
            counts += own.execute(COUNT).fetchall()
    assert counts == [(4,), (2,), (2,), (0,), (2,)]
    assert len(planned) == 4


def test_the_moment_is_not_a_part_of_a_plan(
    con: memql.Connection, planned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    con.execute("UPDATE memories SET expires_at = ? WHERE owner = 'ann'", [soon])
    planned.clear()
    assert con.execute(COUNT).fetchone() == (4,)
    context = Session._context
    monkeypatch.setattr(
        Session,
        "_context",
        lambda session, text: replace(context(session, text), now=soon + timedelta(seconds=1)),
    )
    assert con.execute(COUNT).fetchone() == (2,)
    assert planned == [COUNT]


def test_a_pivot_is_planned_for_its_moment(con: memql.Connection, planned: list[str]) -> None:
    pivot = "SELECT * FROM (SELECT owner, kind FROM memories) PIVOT (count(*) FOR kind IN ('food'))"
    for _ in range(2):
        assert sorted(con.execute(pivot).fetchall()) == [("ann", 1), ("bob", 1)]
    assert planned == [pivot, pivot]


def test_a_changed_view_ends_plans(
    con: memql.Connection, tmp_path: Path, planned: list[str]
) -> None:
    create = "CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT content FROM memories WHERE "
    con.execute(f"{create} owner = 'ann' AND kind = 'food' WITH NO DATA")
    text = "SELECT count(*) FROM v"
    assert con.execute(text).fetchone() == (1,)
    with memql.connect(tmp_path / "store.memql") as other:
        other.execute(f"{create} true WITH NO DATA")
    assert con.execute(text).fetchone() == (4,)
    con.execute("DROP MATERIALIZED VIEW v")
    with pytest.raises(memql.ProgrammingError, match="unknown table 'v'"):
        con.execute(text)
    assert planned == [text, text, text]


def test_a_view_changed_in_a_transaction_is_that_transactions_own(
    con: memql.Connection, tmp_path: Path
) -> None:
    create = "CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT content FROM memories WHERE "
    text = "SELECT count(*) FROM v"
    con.execute(f"{create} false WITH NO DATA")
    with memql.connect(tmp_path / "store.memql") as other:
        for end, after in (("ROLLBACK", 0), ("COMMIT", 4)):
            assert con.execute(text).fetchone() == other.execute(text).fetchone() == (0,)
            con.execute("BEGIN")
            assert con.execute(text).fetchone() == (0,)
            con.execute(f"{create} true WITH NO DATA")
            assert con.execute(text).fetchone() == (4,)
            assert other.execute(text).fetchone() == (0,)
            con.execute(end)
            assert con.execute(text).fetchone() == other.execute(text).fetchone() == (after,)


def test_a_transaction_keeps_the_plans_of_its_snapshot(
    con: memql.Connection, tmp_path: Path
) -> None:
    create = "CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT content FROM memories WHERE "
    text = "SELECT count(*) FROM v"
    con.execute(f"{create} false WITH NO DATA")
    with memql.connect(tmp_path / "store.memql") as other:
        con.execute("BEGIN")
        assert con.execute(text).fetchone() == (0,)
        other.execute(f"{create} true WITH NO DATA")
        assert con.execute(text).fetchone() == (0,)
        assert other.execute(text).fetchone() == (4,)
        con.execute("COMMIT")
        assert con.execute(text).fetchone() == (4,)


def test_settings_that_planning_reads_are_a_part_of_the_key(
    con: memql.Connection, planned: list[str]
) -> None:
    text = "SELECT generate('Who?') FROM memories"
    first = con.execute(text).fetchone()
    con.execute("SET memql.max_tokens = 1")
    second = con.execute(text).fetchone()
    assert first is not None and second is not None
    assert second[0].answer_tokens == 1 < first[0].answer_tokens
    con.execute("SET memql.statement_timeout = '1h'")  # planning does not read it
    con.execute(text)
    assert planned == [text, text]


def test_a_value_that_the_binder_read_holds_the_plan_for_that_value(
    con: memql.Connection, planned: list[str]
) -> None:
    text = "SELECT generate('Who?', max_tokens := ?) FROM memories"
    lengths = []
    for max_tokens in (1, 1, 2, 1):
        row = con.execute(text, [max_tokens]).fetchone()
        assert row is not None
        lengths.append(row[0].answer_tokens)
    assert lengths == [1, 1, 2, 1]
    assert len(planned) == 3


def test_types_of_parameters_are_a_part_of_the_key(
    con: memql.Connection, planned: list[str]
) -> None:
    text = "SELECT ? AS x"
    assert [con.execute(text, [value]).fetchone() for value in (1, "a", None, 2)] == [
        (1,),
        ("a",),
        (None,),
        (2,),
    ]
    assert len(planned) == 3
    with pytest.raises(memql.ProgrammingError, match="has 1 parameters, 2 values"):
        con.execute(text, [1, 2])


def test_catalog_tables_are_read_anew(con: memql.Connection) -> None:
    text = "SELECT value FROM memql.settings WHERE name = 'max_tokens'"
    assert con.execute(text).fetchone() == ("64",)
    con.execute("SET memql.max_tokens = 9")
    assert con.execute(text).fetchone() == ("9",)
    views = "SELECT rows FROM memql.views"
    con.execute("CREATE MATERIALIZED VIEW v AS SELECT content FROM memories WITH NO DATA")
    assert con.execute(views).fetchone() == (4,)
    con.execute("DELETE FROM memories WHERE owner = 'bob'")
    assert con.execute(views).fetchone() == (2,)


def test_threads_share_plans(con: memql.Connection, tmp_path: Path) -> None:
    wrong: list[object] = []

    def ask(user: str) -> None:
        with memql.connect(tmp_path / "store.memql", user=user) as own:
            for number in range(30):
                text = f"SELECT owner, count(*) + {number % 3} FROM memories GROUP BY owner"
                rows = own.execute(text).fetchall()
                if rows != [(user, 2 + number % 3)]:
                    wrong.append((user, rows))

    threads = [threading.Thread(target=ask, args=[user]) for user in ("ann", "bob") * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _key(text: str) -> PlanKey:
    return PlanKey(text, (), (0, 0), (), ())


@pytest.fixture
def known(con: memql.Connection) -> KnownPlan:
    con.execute(COUNT)
    plans = con._session._plans._plans
    kept = next(plan for key, plan in plans.items() if key.text == COUNT)
    assert isinstance(kept.signature, Signature) and isinstance(kept.plan, Optimized)
    return kept


def test_the_plan_unused_for_longest_makes_room(
    known: KnownPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plancache, "MAX_PLANS", 2)
    cache = PlanCache()
    for text in ("a", "b"):
        cache.put(_key(text), known)
    assert cache.get(_key("a")) is known
    cache.put(_key("c"), known)
    assert [cache.get(_key(text)) is known for text in ("a", "b", "c")] == [True, False, True]
    cache.put(_key("x" * (plancache.MAX_TEXT_CHARACTERS + 1)), known)
    assert len(cache) == 2


def test_a_plan_ends_when_its_time_is_over(known: KnownPlan) -> None:
    now = datetime.now(UTC)
    assert known.holds({}, now)
    ending = replace(known, valid_until=now)
    assert ending.holds({}, now - timedelta(microseconds=1))
    assert not ending.holds({}, now)


def test_an_expired_plan_is_made_again(
    con: memql.Connection, planned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = PlanCache.put

    def ended(cache: PlanCache, key: PlanKey, plan: KnownPlan) -> None:
        put(cache, key, replace(plan, valid_until=datetime.now(UTC)))

    monkeypatch.setattr(PlanCache, "put", ended)
    for _ in range(2):
        assert con.execute(COUNT).fetchone() == (4,)
    assert planned == [COUNT, COUNT]


def test_a_key_without_the_user_would_be_noticed(
    con: memql.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    get: Callable[[PlanCache, PlanKey], KnownPlan | None] = PlanCache.get
    put = PlanCache.put
    monkeypatch.setattr(PlanCache, "get", lambda cache, key: get(cache, replace(key, rights=())))
    monkeypatch.setattr(
        PlanCache, "put", lambda cache, key, plan: put(cache, replace(key, rights=()), plan)
    )
    assert con.execute(COUNT).fetchone() == (4,)
    with memql.connect(tmp_path / "store.memql", user="ann") as own:
        assert own.execute(COUNT).fetchone() != (2,)
