"""Texts that sqlglot reads as something else: each was wrong once, or would be."""

from __future__ import annotations

import pytest
import sqlglot
from sqlglot import exp

from memql.engine import syntax
from memql.errors import NotSupportedError, Position, ProgrammingError
from memql.parser import parse


def test_materialize_after_a_table_is_no_alias() -> None:
    tree = parse("SELECT x FROM m MATERIALIZE AS AUTO")
    assert isinstance(tree, syntax.Materialize)
    assert not tree.this.args["from_"].this.alias


@pytest.mark.parametrize(
    "text", ["SELECT materialize AS activation FROM t", "SELECT x FROM t materialize"]
)
def test_materialize_as_a_name(text: str) -> None:
    assert parse(text) == sqlglot.parse_one(text, read="duckdb")


def test_an_interval_does_not_swallow_to() -> None:
    text = "INTERVAL '1' YEAR TO bob"
    statement = f"ALTER USER alice VALID UNTIL {text}"
    with pytest.raises(ProgrammingError) as raised:
        parse(statement)
    assert raised.value.position == Position(1, statement.index("TO bob") + 1)
    # The negative control: sqlglot still reads it as a span from YEAR to BOB.
    assert sqlglot.parse_one(f"SELECT {text}", read="duckdb").find(exp.IntervalSpan)


def test_an_interval_of_two_units_stays_one() -> None:
    tree = parse("SELECT INTERVAL '1-2' YEAR TO MONTH")
    span = tree.find(exp.IntervalSpan)
    assert span is not None and span.expression.name == "MONTH"
    assert tree == sqlglot.parse_one("SELECT INTERVAL '1-2' YEAR TO MONTH", read="duckdb")


@pytest.mark.parametrize(
    ("text", "alias", "verify"),
    [
        ("FORGET FROM memories WHERE x VERIFY", "", True),
        ("FORGET FROM memories WHERE x", "", None),
        ("FORGET FROM memories m WHERE x VERIFY", "m", True),
        ("FORGET FROM memories verify WHERE verify.x", "verify", None),
        ("FORGET FROM memories AS verify WHERE x VERIFY", "verify", True),
        ('FORGET FROM memories "VERIFY" WHERE x', "VERIFY", None),
    ],
)
def test_verify_and_the_alias(text: str, alias: str, verify: bool | None) -> None:
    tree = parse(text)
    assert tree.this.alias == alias
    assert (tree.args.get("verify") or None) == verify


@pytest.mark.parametrize(
    "text",
    [
        "FORGET FROM memories VERIFY",
        "RESTORE FROM memories VERIFY",
        "QUARANTINE FROM memories WHERE x VERIFY",
    ],
)
def test_verify_where_it_cannot_stand(text: str) -> None:
    with pytest.raises(ProgrammingError, match="at 'VERIFY'"):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "SHOW",
        "SHOW VIEWS",
        "CREATE MODEL m",
        "GRANT READ ON MEMORIES TO bob WHERE x = 1",
        "CREATE MATERIALIZED VIEW v REFRESH ON MONDAY AS SELECT 1",
        "CREATE TABEL t (x INT)",
        "ALTER TABEL t ADD x INT",
    ],
)
def test_what_sqlglot_keeps_as_raw_text_is_a_syntax_error(text: str) -> None:
    with pytest.raises(ProgrammingError, match="^syntax error at"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("SELECT x FROM memories VALID AT '2026-01-01'", "AT (VALID => ...)"),
        ("SELECT x FROM memories VERSION AT 3", "AT (VERSION => ...)"),
        ("SELECT x FROM memories m AT 3", "memories AT (TIMESTAMP"),
        ("SELECT x FROM memories FOR VERSION AS OF 3", "memories AT (TIMESTAMP"),
        ("SELECT x FROM memories FOR SYSTEM_TIME AS OF '2026'", "memories AT (TIMESTAMP"),
        ("SELECT x FROM memories FOR SYSTEM_TIME BETWEEN 1 AND 2", "memories AT (TIMESTAMP"),
        ("SELECT x FROM memories m FOR TIMESTAMP AS OF '2026'", "memories AT (TIMESTAMP"),
        ("SELECT x FROM memories VERSION AS OF 3", "memories AT (TIMESTAMP"),
        ("SELECT x FROM memories TIMESTAMP AS OF '2026'", "memories AT (TIMESTAMP"),
        ("SELECT x FROM memories BEFORE (VERSION => 3)", "memories AT (TIMESTAMP"),
        ("SELECT x FROM memories CHANGES (INFORMATION => x)", "memories AT (TIMESTAMP"),
        ("SELECT x FROM memories AT (VERSION = 3)", "memories AT (TIMESTAMP"),
        ("SELECT x FROM memories AT (VERSON => 3)", "did you mean VERSION"),
    ],
)
def test_other_time_travel_has_a_hint(text: str, hint: str) -> None:
    with pytest.raises(ProgrammingError) as caught:
        parse(text)
    assert caught.value.hint is not None and caught.value.hint.startswith(hint)
    assert caught.value.position is not None


@pytest.mark.parametrize("alias", ["at", "of", "valid", "version", "AS at(a, b)", "AS of"])
def test_words_of_time_travel_as_aliases(alias: str) -> None:
    text = f"SELECT x FROM memories {alias} WHERE x"
    assert parse(text) == sqlglot.parse_one(text, read="duckdb")
    assert parse(text).find(syntax.TimeTravel) is None


@pytest.mark.parametrize(
    "text",
    [
        "SELECT content matches FROM t",
        "SELECT content AS matches FROM t matches",
        "SELECT matches.matches FROM matches matches",
        "SELECT content matches, 'x' FROM t",
        "SELECT x FROM matches WHERE matches = 'x'",
    ],
)
def test_matches_as_a_name(text: str) -> None:
    assert parse(text) == sqlglot.parse_one(text, read="duckdb")


def test_matches_between_names_of_its_own() -> None:
    tree = parse("SELECT matches matches FROM matches matches WHERE matches MATCHES 'matches'")
    (match,) = tree.find_all(syntax.Matches)
    assert match.this.name == "matches" and match.expression.name == "matches"


def test_using_behind_matches() -> None:
    sampled = parse("SELECT x FROM t WHERE x MATCHES 'a' USING SAMPLE 10")
    (match,) = sampled.find_all(syntax.Matches)
    assert not match.args.get("using") and sampled.find(exp.TableSample)
    with pytest.raises(ProgrammingError, match="expected TEXT, VECTOR or HYBRID after USING"):
        parse("SELECT x FROM t WHERE x MATCHES 'a' USING WORDS")


@pytest.mark.parametrize(
    "text",
    [
        "SELECT x FROM t LIMIT tokens",
        "SELECT x FROM t LIMIT 5 ROWS OFFSET 3",
        "SELECT x FROM t LIMIT 5 ROWS ONLY",
        "SELECT x FROM t LIMIT 10 %",
        "SELECT x FROM t LIMIT ALL",
        "SELECT x FROM t LIMIT (SELECT 1) OFFSET 2 ROWS",
        "SELECT tokens tokens FROM tokens tokens LIMIT 3",
    ],
)
def test_limits_that_are_duckdbs(text: str) -> None:
    assert parse(text) == sqlglot.parse_one(text, read="duckdb")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("SELECT $x||$y", ["x", "y"]),
        ("SELECT $a+$b, ''", ["a", "b"]),
        ("SELECT $x, ''", ["x"]),
        ("SELECT 'it costs $5$', $x = ''", ["x"]),
        ("SELECT $tag$ $x $y $tag$, $z, ''", ["z"]),
    ],
)
def test_a_parameter_is_not_the_tag_of_a_text(text: str, names: list[str]) -> None:
    # DuckDB's tokenizer in sqlglot takes $x||$ for a tag, and stumbles over '' at the end.
    assert sorted(node.name for node in parse(text).find_all(exp.Placeholder)) == names


def test_pipes_are_not_duckdbs() -> None:
    with pytest.raises(ProgrammingError, match="no |> operators"):
        parse("FROM t |> WHERE x")


def test_a_role_may_have_the_name_of_a_right() -> None:
    assert isinstance(parse("GRANT read TO bob"), syntax.GrantRole)
    assert isinstance(parse("GRANT read ON MEMORIES TO bob"), syntax.Grant)
    with pytest.raises(ProgrammingError, match="expected READ, WRITE"):
        parse('GRANT "read" ON MEMORIES TO bob')


def test_memories_and_a_table_of_that_name() -> None:
    assert not parse("GRANT READ ON MEMORIES TO bob").args.get("tables")
    assert parse("GRANT SELECT ON TABLE memories TO bob").args["tables"][0].name == "memories"
    assert parse('GRANT SELECT ON "memories" TO bob').args["tables"][0].name == "memories"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SET threads = 4", "SET threads"),
        ("SET SESSION a.b.c = 4", "SET a.b.c"),
        ("SET search_path TO x", "SET search_path"),
        ("RESET ALL", "RESET ALL"),
        ("RESET threads", "RESET threads"),
    ],
)
def test_settings_of_duckdb(text: str, name: str) -> None:
    with pytest.raises(NotSupportedError) as caught:
        parse(text)
    assert caught.value.message == f"{name} is not something that MemQL does"
    assert caught.value.hint is not None and "SET memql.<name>" in caught.value.hint
    assert caught.value.position is not None
