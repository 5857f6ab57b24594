"""Each rule: the plan before and after, both run with equal answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
import sqlglot
from sqlglot import exp

import memql
from memql.dialect import MemQL
from memql.engine.bind.parameters import Values
from memql.engine.bind.query import QueryBinder
from memql.engine.bind.sources import ViewDefinition
from memql.engine.context import StatementContext
from memql.engine.optimize import RULES, optimize
from memql.engine.optimize.verify import verify
from memql.engine.plan import Cut, Finish, Plan, relation_of
from memql.engine.printing import print_sql, visible_tables
from memql.engine.rights import EMBEDDED, Rights
from memql.engine.tables import Tables
from memql.errors import InternalError
from tests.engine.conftest import Fed

pytestmark = pytest.mark.slow

# rule, query, a part of the plan before and after.
FIXTURES = [
    (
        "view_answers",
        "SELECT generate('Who?', max_tokens := 2) FROM memories m WHERE m.kind = 'k'",
        "AUTO",
        "ACTIVATION as in ks",
    ),
    (
        "unused_answers",
        "SELECT count(*) FROM (SELECT owner, generate('Who?', max_tokens := 2) AS a FROM memories "
        "GROUP BY owner)",
        '"_memql_a0" AS "a"',
        'CAST(NULL AS TEXT) AS "a"',
    ),
    (
        "empty_generates",
        "SELECT owner, generate('Who?', max_tokens := 2 LIMIT 0) FROM memories "
        "GROUP BY owner ORDER BY owner",
        '"_memql_a0" AS "generate"',
        'CAST(NULL AS TEXT) AS "generate"',
    ),
    (
        "limit_into_list",
        "SELECT generate('Who?', max_tokens := 2 ORDER BY content DESC LIMIT 1) FROM memories",
        "'Who?' AS \"_memql_a0_q\", ARRAY_AGG(",
        "'Who?' AS \"_memql_a0_q\", list_slice(ARRAY_AGG(",
    ),
    (
        "unused_columns",
        "SELECT owner, generate('Who?', max_tokens := 2) FROM memories GROUP BY owner "
        "HAVING max(kind) > 'a' ORDER BY owner",
        'max("kind") > \'a\' AS "_memql_c1"',
        'SELECT "owner" AS "_memql_c0", \'Who?\' AS',
    ),
    (
        "rows_within_tokens",
        "SELECT content FROM memories ORDER BY content LIMIT 12 TOKENS",
        "all rows of",
        "rows within the tokens of",
    ),
    (
        "lifetime_first",
        "SELECT content FROM memories WHERE content LIKE '%a%' AND created_at > '2020-01-01'",
        "\"content\" LIKE '%a%' AND \"created_at\" > '2020-01-01'",
        "\"created_at\" > '2020-01-01' AND \"content\" LIKE '%a%'",
    ),
    (
        "having_before_generate",
        "SELECT owner, generate('Who?', max_tokens := 2) AS a FROM memories GROUP BY owner "
        "HAVING count(*) > 1 AND generate('Who?', max_tokens := 2) <> 'x'",
        'WHERE "_memql_c1" AND "_memql_a0" <> \'x\'',
        "WHERE \"_memql_a0\" <> 'x'",
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
    (
        "no_barrier",
        "SELECT content FROM memories WHERE kind = 'fact' ORDER BY created_at LIMIT 3",
        'ORDER BY "created_at" LIMIT 3',
        'ORDER BY "created_at", "memories"."id" LIMIT 3',
    ),
    (
        "leakproof_below_policy",
        "SELECT content FROM memories WHERE kind = 'fact' AND content LIKE '%x%'",
        "\"owner\" = 'alice';",
        "AND \"kind\" = 'fact';",
    ),
]


class _OneView:
    @property
    def tables(self) -> Tables:
        context = StatementContext(EMBEDDED, datetime(2026, 1, 1, tzinfo=UTC), "")
        return Tables(duckdb.connect(), context)

    def find(self, name: str, owner: str = "") -> ViewDefinition | None:
        return None

    def names(self) -> list[str]:
        return []

    def own_materialized(self) -> list[ViewDefinition]:
        query = sqlglot.parse_one("SELECT content FROM memories WHERE kind = 'k'", read=MemQL)
        assert isinstance(query, exp.Query)
        return [ViewDefinition("ks", "alice", query, "ACTIVATION", None)]

    def of(self, owner: str) -> _OneView:
        return self


def _bound(text: str, rights: Rights = EMBEDDED) -> Plan:
    tree = sqlglot.parse_one(text, read=MemQL)
    assert isinstance(tree, sqlglot.exp.Query)
    context = StatementContext(rights, datetime(2026, 1, 1, tzinfo=UTC), text)
    return QueryBinder(context, _OneView(), Values({}, context.now)).bind(tree)


ALICE = replace(EMBEDDED, user="alice")


def _printed(plan: Plan) -> str:
    """Return what the rules may change of a plan."""
    relation = relation_of(plan)
    lines = []
    for part in relation.parts:
        if isinstance(part, Cut):
            lines.append("rows within the tokens of" if part.bounded else "all rows of")
            lines.append(print_sql(part.input.query))
        else:
            lines.append(_printed(part.input))
    if isinstance(plan, Finish):
        target = plan.input.target
        lines.append(f"{target.form} as in {target.view}" if target.view else target.form)
        lines += [print_sql(plan.query), print_sql(plan.input.groups.query)]
    else:
        lines += [one.printed.sql + ";" for one in visible_tables(relation.query)]
        lines.append(print_sql(relation.query))
    return "\n".join(lines)


def test_every_rule_has_a_fixture() -> None:
    assert {rule.__name__ for rule in RULES} == {name for name, *_ in FIXTURES}


@pytest.mark.parametrize(("name", "text", "before", "after"), FIXTURES, ids=lambda value: value)
def test_plan_before_and_after(name: str, text: str, before: str, after: str) -> None:
    rule = next(rule for rule in RULES if rule.__name__ == name)
    bound = _bound(text, ALICE if name in ("no_barrier", "leakproof_below_policy") else EMBEDDED)
    plan = optimize(bound, RULES[: RULES.index(rule)]).plan
    untouched = _printed(plan)
    assert untouched.endswith(before) or before in untouched
    optimized = optimize(plan, (rule,))
    assert optimized.fired == (name,)
    rewritten = optimized.plan
    assert after in _printed(rewritten) and before not in _printed(rewritten)
    assert _printed(plan) == untouched  # rules change nothing in place
    assert optimize(rewritten, (rule,)).plan is rewritten  # nothing is left to do


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
        assert set(optimized.fired) <= {"merge_equal_generates", "unused_columns"}
    else:
        assert optimized.plan is plan and optimized.fired == ()


# What they are for: the model has less to do.
SPARE_THE_MODEL = (
    "unused_answers",
    "having_before_generate",
    "limit_before_generate",
    "merge_equal_generates",
)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, text, *_ in FIXTURES])
def test_answers_are_the_same_without_rules(
    con: memql.Connection, fed: Fed, name: str, text: str
) -> None:
    with_rules = con.execute(text).fetchall()
    passes = len(fed.passes)
    fed.passes.clear()
    con.execute("SET memql.disabled_rules = ?", [", ".join(rule.__name__ for rule in RULES)])
    assert con.execute(text).fetchall() == with_rules
    if name in SPARE_THE_MODEL:
        assert passes < len(fed.passes)


def test_no_model_is_loaded_for_what_is_empty(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_model(spec: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("memql.engine.model.runtime.load_runtime", no_model)
    for text in (
        "SELECT generate('Who?') FROM memories WHERE false",
        "SELECT generate('Who?') FROM memories WHERE owner = 'alice' AND false",
        "SELECT generate(NULL) FROM memories",
        "SELECT generate('Who?') FILTER (WHERE false) FROM memories",
        "SELECT generate('Who?' LIMIT 0) FROM memories",
        "SELECT generate('Who?' LIMIT 0 TOKENS) FROM memories",
        "SELECT generate('Who?') FROM memories WHERE owner = 'nobody'",
    ):
        assert con.execute(text).fetchall() == [(None,)], text
    assert con.execute(
        "SELECT count(*) FROM (SELECT owner, generate('Who?') FROM memories GROUP BY owner) t"
    ).fetchall() == [(2,)]
    assert con.execute(
        "SELECT count(*) FROM (SELECT generate('Who?') FROM memories) t"
    ).fetchall() == [(1,)]
    with pytest.raises(AssertionError, match="a model was loaded"):
        con.execute("SELECT generate('Who?') FROM memories").fetchall()


@pytest.mark.parametrize(
    "text",
    [
        "SELECT max(a) FROM (SELECT owner, generate('Who?', max_tokens := 1) AS a FROM memories "
        "GROUP BY owner)",
        "SELECT * FROM (SELECT owner, generate('Who?', max_tokens := 1) AS a FROM memories "
        "GROUP BY owner)",
        "SELECT count(*) FROM (SELECT DISTINCT generate('Who?', max_tokens := 1) AS a "
        "FROM memories GROUP BY owner)",
        "SELECT owner FROM (SELECT owner, generate('Who?', max_tokens := 1) AS a FROM memories "
        "GROUP BY owner UNION ALL SELECT 'x', 'y')",
        "SELECT COLUMNS('a') FROM (SELECT owner, generate('Who?', max_tokens := 1) AS a "
        "FROM memories GROUP BY owner)",
    ],
)
def test_answers_that_are_read_are_made(con: memql.Connection, text: str) -> None:
    explained = "\n".join(row[0] for row in con.execute(f"EXPLAIN {text}"))
    assert "unused_answers" not in explained
    assert con.execute(text).fetchall()


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM memories",
        "SELECT content, kind FROM memories WHERE kind = 'fact' ORDER BY importance LIMIT 3",
        "SELECT kind, count(*), max(content) FROM memories GROUP BY kind ORDER BY 2 DESC",
        "SELECT content FROM memories WHERE kind = 'fact' AND content LIKE '%3%'",
        "SELECT m.content FROM memories m JOIN memories n ON m.id = n.id WHERE n.kind = 'fact'",
        "SELECT m.content FROM memories m LEFT JOIN memories n ON m.kind = n.content "
        "WHERE n.kind IS NULL AND m.kind = 'fact'",
        "SELECT count(*) FROM memories WHERE created_at > DATE '2020-01-01' AND hold = false",
        "UPDATE memories SET importance = 0.5 WHERE kind = 'fact' RETURNING content",
    ],
)
def test_users_read_the_same_without_rules(tmp_path: Path, text: str) -> None:
    with memql.connect(tmp_path / "s") as everybody, memql.connect(tmp_path / "s", "alice") as con:
        for owner in ("alice", "bob"):
            everybody.execute(
                "INSERT INTO memories (owner, content, kind, importance) SELECT ?, i::VARCHAR, "
                "['fact', 'event', NULL][i % 3 + 1], (i % 4) / 4 FROM range(12) AS t(i)",
                [owner],
            )
        shown = con.execute(f"EXPLAIN {text}").fetchall()
        with_rules = con.execute(text).fetchall()
        con.execute("SET memql.disabled_rules = 'no_barrier, leakproof_below_policy'")
        without = con.execute(text).fetchall()
        assert with_rules
        if "GROUP BY" not in text:  # equal counts of groups have no order
            assert without == with_rules
        assert sorted(map(repr, without)) == sorted(map(repr, with_rules))
        if not text.startswith("UPDATE") and "LEFT JOIN" not in text:
            assert any("rules: " in line for (line,) in shown)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a.content, b.content FROM memories a ASOF JOIN memories b "
        "ON a.created_at >= b.created_at WHERE b.kind = 'event'",
        "SELECT a.content, b.content FROM memories a POSITIONAL JOIN memories b "
        "WHERE a.kind = 'event'",
        "SELECT count(*) FROM memories TABLESAMPLE reservoir(5 ROWS) REPEATABLE (3) "
        "WHERE kind = 'event'",
        "SELECT kind, val FROM memories UNPIVOT (val FOR kind IN (kind, source)) "
        "WHERE kind = 'kind'",
        "SELECT t.c, m.kind FROM ((SELECT '1' AS c UNION ALL SELECT 'nix') t LEFT JOIN memories m "
        "ON m.content = t.c) WHERE m.kind IS NULL",
        "SELECT a.content FROM memories a ANTI JOIN memories b ON a.kind = b.kind "
        "WHERE a.kind = 'event'",
        "SELECT kind AS k, count(*) FROM memories GROUP BY k ORDER BY k",
        "SELECT kind AS content, count(*) FROM memories GROUP BY kind ORDER BY 1",
        "SELECT content FROM memories WHERE main.memories.kind = 'event' ORDER BY 1",
    ],
)
def test_no_rule_changes_what_a_user_reads(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s"
    with memql.connect(path, threads=1) as everybody, memql.connect(path, "alice") as con:
        for owner in ("bob", "alice", "bob"):
            everybody.execute(
                "INSERT INTO memories (owner, content, kind) SELECT ?, i::VARCHAR, "
                "['fact', 'event', NULL][i % 3 + 1] FROM range(12) AS t(i)",
                [owner],
            )
        with_rules = _outcome(con, text)
        con.execute("SET memql.disabled_rules = 'no_barrier, leakproof_below_policy'")
        assert _outcome(con, text) == with_rules


def _outcome(con: memql.Connection, text: str) -> object:
    try:
        return con.execute(text).fetchall()
    except memql.Error as error:
        return error.code, error.message


@pytest.mark.parametrize(
    ("query", "answers"),
    [
        ("SELECT generate('Which?') FROM memories WHERE owner = 'alice' AND kind = 'home'", True),
        ("SELECT generate('W?') FROM memories m WHERE KIND = 'home' AND m.owner = 'alice'", True),
        ("SELECT * FROM memories WHERE (kind = 'home' AND owner = 'alice') {auto}", True),
        ("SELECT content FROM memories WHERE kind = 'home' AND owner = 'alice'", False),
        ("SELECT kind FROM memories WHERE {home} MATERIALIZE AS AUTO", False),
        ("SELECT generate('Which?') FROM memories WHERE 'x' = kind AND owner = 'alice'", False),
        ("SELECT generate('Which?') FROM memories WHERE kind = 'home'", False),
        ("SELECT generate('Which?') FROM memories WHERE {home} MATERIALIZE AS PLAINTEXT", False),
        ("SELECT generate('Which?' LIMIT 3) FROM memories WHERE {home}", False),
        ("SELECT kind, generate('Which?') FROM memories WHERE {home} GROUP BY kind", False),
    ],
)
def test_a_view_answers_queries_for_its_rows(
    con: memql.Connection, query: str, answers: bool
) -> None:
    query = query.format(home="owner = 'alice' AND kind = 'home'", auto="MATERIALIZE AS AUTO")
    con.execute(
        "CREATE MATERIALIZED VIEW homes AS SELECT content FROM memories "
        "WHERE owner = 'alice' AND kind = 'home' MATERIALIZE AS ACTIVATION"
    )
    con.execute("INSERT INTO memories (owner, kind, content) VALUES ('alice', 'home', 'A house.')")
    explained = "\n".join(row[0] for row in con.execute(f"EXPLAIN {query}"))
    assert ("rules: view_answers" in explained) is answers
    if answers:
        assert "the view homes asks for it" in explained
        result = con.execute(query).fetchone()
        assert result is not None
        fresh = "SELECT freshness FROM memql.views"
        assert con.execute(fresh).fetchall() == [(1.0,)]  # what was missing is kept


def _broken(text: str, change: str) -> Plan:
    """Return a plan as a wrong rule could leave it."""
    plan = _bound(text, ALICE)
    assert isinstance(plan, Finish)
    query = plan.input.input.query.copy()
    if change == "a column is gone":
        query.set("expressions", query.expressions[1:])
    elif change == "the policy is gone":
        for table in query.find_all(exp.Table):
            table.replace(exp.table_("memories", db="_memql", quoted=True))
    elif change == "a part is gone":
        query.set("from_", exp.From(this=exp.table_("_memql_part7")))
    answer = replace(plan.input, input=replace(plan.input.input, query=query))
    if change == "a call is gone":
        answer = replace(plan.input, calls=())
    return replace(plan, input=answer)


@pytest.mark.parametrize(
    "change", ["a column is gone", "the policy is gone", "a part is gone", "a call is gone"]
)
def test_a_wrong_rule_is_noticed(change: str) -> None:
    text = "SELECT owner, generate('Who?') FROM memories GROUP BY owner"
    verify(_bound(text, ALICE))
    with pytest.raises(InternalError, match="a plan is wrong"):
        verify(_broken(text, change))
