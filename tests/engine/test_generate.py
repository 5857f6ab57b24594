"""generate in parts of a query: answered once, in one snapshot, with the user's own rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import memql
from tests.engine.conftest import Fed

WHERE = "generate('Where does Alice live?', max_tokens := 8)"


def test_a_common_table_expression_that_is_read_twice_is_answered_once(
    con: memql.Connection, fed: Fed
) -> None:
    rows = con.execute(f"SELECT {WHERE} FROM memories WHERE kind = 'home'").fetchall()
    passes = len(fed.passes)
    fed.passes.clear()
    twice = con.execute(
        f"WITH a AS (SELECT {WHERE} AS h FROM memories WHERE kind = 'home') "
        "SELECT x.h, y.h, (SELECT h FROM a) FROM a AS x, a AS y"
    ).fetchall()
    assert twice == [rows[0] * 3]
    assert len(fed.passes) == passes


def test_rules_reach_the_parts(con: memql.Connection, fed: Fed) -> None:
    text = (
        "SELECT * FROM (SELECT owner, generate('Who?', max_tokens := 2) AS a FROM memories "
        "GROUP BY owner HAVING count(*) > 1 AND generate('Who?', max_tokens := 2) <> 'x' "
        "ORDER BY count(*) DESC LIMIT 1)"
    )
    plan = [line for (line,) in con.execute(f"EXPLAIN {text}")]
    assert any("rules: merge_equal_generates, having_before_generate" in line for line in plan)
    rows = con.execute(text).fetchall()
    passes = len(fed.passes)
    fed.passes.clear()
    con.execute("SET memql.disabled_rules = 'merge_equal_generates, having_before_generate'")
    assert con.execute(text).fetchall() == rows
    assert passes < len(fed.passes)


def test_a_limit_does_not_go_before_a_window(con: memql.Connection) -> None:
    text = (
        "SELECT owner, count(*) OVER () AS n, generate('Who?', max_tokens := 2) FROM memories "
        "GROUP BY owner ORDER BY owner LIMIT 1"
    )
    rows = con.execute(text).fetchall()
    assert rows[0][:2] == ("alice", 2) and len(rows) == 1


def test_all_parts_see_one_moment(con: memql.Connection, path: Path) -> None:
    with memql.connect(path) as other:
        session: Any = con._session
        prompt = session._segments.prompt

        def writes_meanwhile(*args: Any, **kwargs: Any) -> Any:
            other.execute("DELETE FROM memories")
            return prompt(*args, **kwargs)

        session._segments.prompt = writes_meanwhile
        counts = con.execute(
            f"SELECT (SELECT {WHERE} FROM memories) IS NULL, (SELECT count(*) FROM memories)"
        ).fetchone()
        assert counts == (False, 4)
        assert con.execute("SELECT count(*) FROM memories").fetchone() == (0,)


def test_parts_see_what_their_transaction_wrote(con: memql.Connection) -> None:
    con.execute("BEGIN")
    con.execute("DELETE FROM memories WHERE kind <> 'home'")
    con.execute("UPDATE memories SET content = 'Alice lives in Oslo.'")
    found = con.execute(f"SELECT (SELECT {WHERE} FROM memories), count(*) FROM memories").fetchone()
    con.execute("ROLLBACK")
    assert found == ("Alice lives in Oslo.", 1)
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (4,)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT (SELECT {call} FROM memories)",
        "WITH a AS (SELECT {call} AS x FROM memories) SELECT x FROM a",
        "SELECT {call} FROM memories UNION ALL SELECT {call} FROM memories",
        "SELECT generate('q', a, max_tokens := 1) FROM (SELECT {call} AS a FROM memories)",
    ],
)
def test_a_user_gets_answers_about_own_rows_only(
    path: Path, con: memql.Connection, query: str
) -> None:
    text = query.format(call="generate('Where?', max_tokens := 2)")
    with memql.connect(path, user="bob") as bob:
        document = json.loads(bob.execute(f"EXPLAIN (FORMAT json) {text}").fetchall()[0][0])
        assert bob.execute(text).fetchall()
    relations = [one for one in _operators(document) if one["operator"] == "Relation"]
    reaching = [one for one in relations if '"memories"' in one["sql"]]
    assert reaching
    for one in reaching:
        assert one["policy"].endswith("owner = bob") and one["rows"] == 1


def _operators(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [document, *(one for child in document["inputs"] for one in _operators(child))]


def test_a_clause_says_how_all_answers_are_made(con: memql.Connection) -> None:
    part = f"SELECT (SELECT {WHERE} FROM memories) AS h"
    for text, computed in ((f"{part} MATERIALIZE AS ACTIVATION", 1), (part, 0)):
        document = json.loads(con.execute(f"EXPLAIN (FORMAT json) {text}").fetchall()[0][0])
        prompts = [one for one in _operators(document) if one["operator"] == "Prompt"]
        assert [one["form"] for one in prompts] == ["ACTIVATION"]
        assert bool(prompts[0]["computed_tokens"]) == bool(computed)
        assert con.execute(text).fetchall() == [("Alice lives in Lisbon.",)]


def test_a_part_over_one_view_takes_its_form(con: memql.Connection) -> None:
    con.execute(
        "CREATE MATERIALIZED VIEW v AS SELECT content FROM memories WHERE owner = 'alice' "
        "MATERIALIZE AS ACTIVATION"
    )
    text = f"SELECT (SELECT {WHERE} FROM v), (SELECT generate('Where?') FROM memories)"
    document = json.loads(con.execute(f"EXPLAIN (FORMAT json) {text}").fetchall()[0][0])
    found = [one for one in _operators(document) if one["operator"] == "Generate"]
    assert [(one["form"], one.get("view")) for one in found] == [
        ("ACTIVATION", "v"),
        ("AUTO", None),
    ]
    prompt = found[0]["inputs"][0]
    assert prompt["computed_tokens"] == 0 and prompt["reused_tokens"] > 0


def test_a_part_of_unproven_rows_is_used_and_not_stored(con: memql.Connection) -> None:
    text = (
        "SELECT (SELECT generate('Where?', c, max_tokens := 1) FROM (SELECT content || count(*) "
        "OVER () AS c FROM memories)) MATERIALIZE AS ACTIVATION"
    )
    for _ in range(2):
        plan = [line for (line,) in con.execute(f"EXPLAIN {text}")]
        assert any("lineage: not proven (a window function" in line for line in plan)
        assert any("reused_tokens: 0" in line for line in plan)
        con.execute(text).fetchall()


def test_a_prompt_over_unproven_rows_of_another_part(con: memql.Connection) -> None:
    # Its own answers are proven; the rows behind DISTINCT in an order of its own are not.
    text = (
        "SELECT generate('Where?', a, max_tokens := 1) FROM (SELECT DISTINCT "
        "generate('Who?', max_tokens := 1) AS a FROM memories GROUP BY owner) "
        "MATERIALIZE AS ACTIVATION"
    )
    con.execute(text).fetchall()
    plan = "\n".join(line for (line,) in con.execute(f"EXPLAIN ANALYZE {text}"))
    assert "lineage: not proven" in plan


def test_an_answer_through_a_subquery_is_a_text(con: memql.Connection) -> None:
    direct = con.execute(f"SELECT {WHERE} FROM memories").fetchone()
    nested = con.execute(f"SELECT (SELECT {WHERE} FROM memories)").fetchone()
    assert direct is not None and nested is not None and direct == nested
    assert isinstance(direct[0], memql.Answer) and type(nested[0]) is str


def test_explain_of_a_change_shows_its_parts(con: memql.Connection) -> None:
    text = f"EXPLAIN INSERT INTO memories (content) SELECT {WHERE} FROM memories"
    lines = [line.strip("│├└─ ") for (line,) in con.execute(text)]
    assert {"Insert", "Finish", "Generate", "table: _memql_part0"} <= set(lines)
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (4,)
