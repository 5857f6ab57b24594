"""The dialect: every statement prints back, MemQL's words stay names, nothing stays raw text."""

from __future__ import annotations

import subprocess
import sys

import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlglot import exp

from memql.dialect import MemQL
from memql.engine import syntax
from memql.errors import Error, NotSupportedError, ProgrammingError
from memql.parser import MAX_STATEMENT_BYTES, parse

STATEMENTS = [
    "SELECT content FROM memories MATERIALIZE AS PLAINTEXT",
    "SELECT content FROM memories MATERIALIZE AS ACTIVATION FOR MODEL qwen",
    "SELECT content FROM memories ORDER BY created_at LIMIT 5 MATERIALIZE AS AUTO "
    "WITH (\"order\" = 'canonical')",
    "SELECT content FROM memories GROUP BY ALL MATERIALIZE AS PLAINTEXT",
    "SELECT a FROM t UNION ALL SELECT b FROM u MATERIALIZE AS AUTO",
    "WITH r AS (SELECT content FROM memories) SELECT content FROM r MATERIALIZE AS ACTIVATION",
    "SELECT 1 AS x MATERIALIZE AS PLAINTEXT",
    "SELECT GENERATE('What?') FROM memories",
    "SELECT owner, GENERATE('What of ' || owner || '?', content, max_tokens := 5 ORDER BY "
    "created_at DESC) FILTER(WHERE kind = 'x') AS answer FROM memories GROUP BY owner HAVING "
    "GENERATE('q') LIKE '%x%' ORDER BY owner",
    "CREATE MATERIALIZED VIEW v AS SELECT content FROM memories",
    "CREATE OR REPLACE MATERIALIZED VIEW v REFRESH ON DEMAND AS SELECT content FROM memories "
    "MATERIALIZE AS ACTIVATION FOR MODEL m WITH NO DATA",
    "CREATE MATERIALIZED VIEW IF NOT EXISTS v REFRESH EVERY INTERVAL '5' MINUTES AS "
    "SELECT content FROM memories",
    "REFRESH MATERIALIZED VIEW v",
    "DROP MATERIALIZED VIEW v",
    "DROP MATERIALIZED VIEW IF EXISTS v",
    "CREATE MODEL m FROM '/models/m' WITH (dtype = 'bfloat16', device = 'cpu')",
    "CREATE OR REPLACE MODEL m FROM $path",
    "DROP MODEL IF EXISTS m",
    "SHOW MATERIALIZED VIEWS",
    "SHOW MODELS",
    "EXPLAIN SELECT content FROM memories",
    "EXPLAIN ANALYZE (FORMAT JSON, COSTS OFF) SELECT content FROM memories MATERIALIZE AS AUTO",
    "EXPLAIN DELETE FROM memories WHERE owner = 'a'",
    "INSERT INTO memories (content, kind) VALUES (?, ?) RETURNING id",
    "UPDATE memories SET content = $new WHERE id = $id",
    "DELETE FROM memories",
]
WORDS = (
    "materialize activation plaintext parameter auto model models refresh generate memories "
    "explain analyze show demand commit data form costs view views"
).split()


@pytest.mark.parametrize("text", STATEMENTS)
def test_round_trip(text: str) -> None:
    tree = parse(text)
    printed = tree.sql(dialect=MemQL)
    assert printed == text
    assert parse(printed) == tree


def test_round_trip_notices_a_lost_clause() -> None:
    tree = parse(STATEMENTS[1])
    tree.set("model", None)
    assert tree.sql(dialect=MemQL) != STATEMENTS[1]


def test_the_clause_of_a_union_belongs_to_the_whole() -> None:
    tree = parse("SELECT a FROM t UNION ALL SELECT b FROM u MATERIALIZE AS AUTO")
    assert isinstance(tree, syntax.Materialize)
    assert isinstance(tree.this, exp.Union)
    assert len(list(tree.find_all(syntax.Materialize))) == 1


def test_with_belongs_to_the_query() -> None:
    tree = parse("WITH r AS (SELECT 1 AS x) SELECT x FROM r MATERIALIZE AS AUTO")
    assert isinstance(tree, syntax.Materialize)
    assert tree.this.args["with_"].expressions[0].alias == "r"
    assert not tree.args.get("with_")


@pytest.mark.parametrize("word", WORDS)
def test_no_word_is_reserved(word: str) -> None:
    for text in (
        f"SELECT {word} FROM t",
        f"SELECT {word} AS activation FROM t",
        f"SELECT x AS {word} FROM t",
        f"SELECT {word}.x FROM {word}",
        f"SELECT x FROM t AS {word}",
        f"SELECT x FROM t {word} WHERE {word}.x = 1",
        f"SELECT x {word} FROM t",
        f"SELECT x FROM {word} MATERIALIZE AS AUTO",
        f"WITH {word} AS (SELECT 1 AS {word}) SELECT {word} FROM {word}",
    ):
        memql_tree = sqlglot.parse_one(text, read=MemQL)
        query = memql_tree.this if isinstance(memql_tree, syntax.Materialize) else memql_tree
        duckdb_tree = sqlglot.parse_one(text.removesuffix(" MATERIALIZE AS AUTO"), read="duckdb")
        assert query == duckdb_tree, text


def test_the_dialect_is_known_to_sqlglot_by_name() -> None:
    program = (
        "import sqlglot; "
        "print(sqlglot.transpile('FROM m MATERIALIZE AS AUTO', read='memql', write='memql')[0])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert printed.strip() == "SELECT * FROM m MATERIALIZE AS AUTO"


@pytest.mark.parametrize(
    "text",
    [
        "CREATE VEIW v AS SELECT 1",
        "CREATE MATERIALIZED VIEW v REFRESH SOMETIMES AS SELECT 1",
        "SHOW NOTHING",
        "VACUUM",
        "CALL f()",
        "ALTER TABLE t FROB",
        "GRANT READ ON memories TO bob WHERE x",
        "EXPLAIN EXPLAIN SELECT 1",
        "PREPARE x AS SELECT 1",
        "LOAD httpfs",
    ],
)
def test_nothing_stays_raw_text(text: str) -> None:
    with pytest.raises((ProgrammingError, NotSupportedError)):
        parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the statement is empty"),
        (" ;; ", "the statement is empty"),
        ("SELECT 1 +", "expected an expression here (line 1, column 11)"),
        ("SELECT\n  1 FROM t WHERE (x = 1", "expected ) (line 2, column 24)"),
        ("SELECT /* x", "cannot be read as words and signs"),
        ("generate('x')", "expected a statement, found an expression"),
        ("SELECT 'a\x00b'", "holds a NUL character"),
        ("EXPLAIN (FORMAT yaml) SELECT 1", "expected text, json, mermaid or html"),
        ("CREATE MODEL m", "expected FROM 'folder or hub id'"),
        ("CREATE MATERIALIZED VIEW v", "expected AS and the view's query"),
        ("CREATE MATERIALIZED VIEW v AS DELETE FROM m", "expected a query"),
        ("SELECT x FROM t MATERIALIZE AS AUTO WITH (x 1)", "expected = after the option x"),
        ("SELECT generate('q', a := 1, b) FROM t", "options come last"),
    ],
)
def test_syntax_errors_say_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(ProgrammingError) as caught:
        parse(text)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT " + "(" * 500 + "1" + ")" * 500,
        "SELECT " + "[" * 500 + "1" + "]" * 500,
        "SELECT " + "NOT " * 5000 + "true",
        "SELECT " + "CASE WHEN true THEN " * 500 + "1" + " END" * 500,
        "SELECT '" + "x" * MAX_STATEMENT_BYTES + "'",
        "SELECT " + "1," * 30_000 + "1",
    ],
    ids=["parentheses", "brackets", "not", "case", "bytes", "words"],
)
def test_too_much_is_a_clear_error(text: str) -> None:
    with pytest.raises(ProgrammingError) as caught:
        parse(text)
    assert len(str(caught.value)) < 2000


@settings(max_examples=200)
@given(
    st.text(max_size=40)
    | st.lists(
        st.sampled_from([*WORDS, *"SELECT FROM WHERE AS ( ) , ' ; 1 x WITH CREATE".split()]),
        max_size=12,
    ).map(" ".join)
)
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        tree = parse(text)
    except Error:
        return
    assert not isinstance(tree, exp.Command)
    assert parse(tree.sql(dialect=MemQL)) is not None
