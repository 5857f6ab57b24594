"""The dialect: statements print back, clauses belong to the right node, nothing is raw text."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import sqlglot
from sqlglot import exp

from memql.dialect import MemQL
from memql.engine import syntax
from memql.errors import Error, NotSupportedError, ProgrammingError
from memql.parser import parse
from tests.sql.runner import read_records
from tests.test_docs import PAGES, blocks_of, statements_of
from tests.test_layout import ROOT

# Statements as they are printed: the same text comes out.
CANONICAL = """
SELECT content FROM memories MATERIALIZE AS PLAINTEXT
SELECT content FROM memories MATERIALIZE AS ACTIVATION FOR MODEL qwen
SELECT content FROM memories LIMIT 5 MATERIALIZE AS AUTO WITH (order = 'canonical')
SELECT content FROM memories GROUP BY ALL MATERIALIZE AS PLAINTEXT
SELECT a FROM t UNION ALL SELECT b FROM u MATERIALIZE AS AUTO
WITH r AS (SELECT content FROM memories) SELECT content FROM r MATERIALIZE AS ACTIVATION
SELECT 1 AS x MATERIALIZE AS PLAINTEXT
SELECT GENERATE('What?') FROM memories
SELECT GENERATE('a' || owner, content, max_tokens := 5 ORDER BY x DESC) FILTER(WHERE y) FROM m
SELECT GENERATE('q', content ORDER BY x LIMIT 5) FROM memories
SELECT GENERATE('q' LIMIT 5 ROWS 2000 TOKENS) FROM memories GROUP BY x HAVING GENERATE('q') = 'a'
SELECT content FROM memories LIMIT 2000 TOKENS
SELECT content FROM memories ORDER BY x LIMIT 5 ROWS 2 * 100 TOKENS
SELECT content FROM memories LIMIT $n TOKENS OFFSET 3
SELECT content FROM memories LIMIT ? ROWS ? TOKENS MATERIALIZE AS AUTO
SELECT a FROM t UNION ALL SELECT b FROM u LIMIT 5 TOKENS
SELECT (SELECT 1 LIMIT 5 TOKENS) FROM (SELECT 1 AS x LIMIT 3 TOKENS) AS s
SELECT content FROM memories WHERE content MATCHES 'tea' AND owner = 'a'
SELECT content FROM memories WHERE m.content MATCHES $q USING HYBRID
SELECT content FROM memories WHERE content MATCHES ? USING TEXT ORDER BY relevance LIMIT 3
SELECT x FROM memories AT (VERSION => 3)
SELECT x FROM memories AS m AT (TIMESTAMP => NOW() - INTERVAL '1' DAY) WHERE m.x = 1
SELECT x FROM memories AS m AT (VALID => $t) JOIN t USING (x)
CREATE MATERIALIZED VIEW v AS SELECT content FROM memories
CREATE OR REPLACE MATERIALIZED VIEW v REFRESH ON DEMAND AS SELECT 1 MATERIALIZE AS AUTO WITH NO DATA
CREATE MATERIALIZED VIEW IF NOT EXISTS v REFRESH EVERY INTERVAL '5' MINUTES AS SELECT 1
SELECT INTERVAL (SELECT 1) DAY, INTERVAL ? DAY, INTERVAL (x) DAY
CREATE MATERIALIZED VIEW v REFRESH ON COMMIT AS WITH r AS (SELECT 1) SELECT * FROM r LIMIT 5 TOKENS
CREATE MATERIALIZED VIEW v AS WITH r AS (SELECT 1) SELECT * FROM r MATERIALIZE AS AUTO
REFRESH MATERIALIZED VIEW v
ALTER MATERIALIZED VIEW IF EXISTS v SET (refresh = 'on commit')
DROP MATERIALIZED VIEW IF EXISTS v
CREATE MODEL m FROM '/models/m' WITH (dtype = 'bfloat16', device = 'cpu')
CREATE OR REPLACE MODEL IF NOT EXISTS m FROM $path
DROP MODEL IF EXISTS m
CREATE OR REPLACE ADAPTER IF NOT EXISTS a FROM '/adapters/a' FOR MODEL m
DROP ADAPTER IF EXISTS a
INSERT INTO memories (content, kind) VALUES (?, ?) RETURNING id
UPDATE memories SET content = $new WHERE id = $id
DELETE FROM memories
MERGE INTO memories USING u ON memories.id = u.id WHEN MATCHED THEN UPDATE SET content = u.content
RESTORE FROM memories
QUARANTINE FROM memories AS m WHERE m.source = 'web'
FORGET FROM memories AS m WHERE m.owner = $owner VERIFY
EXPORT MEMORIES TO '/backup'
IMPORT MEMORIES FROM ?
GRANT READ ON MEMORIES TO bob
GRANT READ, WRITE ON MEMORIES OF alice TO bob, "c d" WHERE (kind = 'x') UNTIL '2027-01-01'
GRANT ALL ON MEMORIES OF 'a@b.c' TO bob UNTIL NOW() + INTERVAL '1' YEAR WITH GRANT OPTION
GRANT SELECT, INSERT ON TABLE s.t, u TO public
GRANT a, b TO c, d WITH ADMIN OPTION
REVOKE GRANT OPTION FOR READ ON MEMORIES OF alice FROM bob
REVOKE ALL ON TABLE t FROM bob
REVOKE ADMIN OPTION FOR a FROM b
CREATE USER IF NOT EXISTS bob WITH PASSWORD 'x' SUPERUSER VALID UNTIL '2027-01-01'
CREATE ROLE r WITH TOKEN $t NOSUPERUSER
ALTER USER bob WITH PASSWORD NULL
ALTER USER bob WITH TOKEN NULL VALID UNTIL $t
ALTER ROLE r RENAME TO s
DROP USER IF EXISTS a, b
CREATE POLICY p ON s.t AS RESTRICTIVE FOR SELECT TO bob, c USING (owner = 'x') WITH CHECK (TRUE)
ALTER POLICY p ON memories TO bob USING (x)
ALTER POLICY p ON memories RENAME TO q
DROP POLICY IF EXISTS p ON memories
SET ROLE bob
SET ROLE NONE
SET memql.statement_timeout = '5s'
SET memql.x = DEFAULT
SET memql.x = -5
SET memql.x = on
SHOW memql.x
SHOW MATERIALIZED VIEWS
SHOW POLICIES
EXPLAIN SELECT content FROM memories
EXPLAIN ANALYZE (FORMAT JSON, COSTS OFF) SELECT content FROM memories MATERIALIZE AS AUTO
EXPLAIN (FORMAT HTML) FORGET FROM memories WHERE x
ADVISE
ADVISE APPLY
MAINTAIN
EVALUATE VIEW v
EVALUATE SEARCH USING (WITH a AS (SELECT 1) SELECT * FROM a) WITH (k = 5)
""".strip().splitlines()

# Other spellings, and what they are printed as.
SPELLINGS = {
    "SELECT x FROM memories AS OF TIMESTAMP '2026-01-01'": (
        "SELECT x FROM memories AT (TIMESTAMP => '2026-01-01')"
    ),
    "select x from memories m as of version 3 where x": (
        "SELECT x FROM memories AS m AT (VERSION => 3) WHERE x"
    ),
    "SELECT x FROM memories AT (VALID => ?) m": "SELECT x FROM memories AS m AT (VALID => ?)",
    "SELECT x FROM t LIMIT 5 ROWS": "SELECT x FROM t LIMIT 5 ROWS ONLY",
    "SELECT x FROM t LIMIT 5 %": "SELECT x FROM t LIMIT 5 PERCENT",
    "SELECT $$it's$$ || $tag$ $$ $tag$": "SELECT 'it''s' || ' $$ '",
    "CREATE MATERIALIZED VIEW v AS SELECT 1 WITH DATA": "CREATE MATERIALIZED VIEW v AS SELECT 1",
    "CREATE USER b PASSWORD 'x'": "CREATE USER b WITH PASSWORD 'x'",
    "GRANT ALL PRIVILEGES ON t TO b": "GRANT ALL ON TABLE t TO b",
    "RESTORE FROM memories m WHERE m.x": "RESTORE FROM memories AS m WHERE m.x",
    "CREATE POLICY p ON t AS PERMISSIVE FOR ALL": "CREATE POLICY p ON t FOR ALL",
    "SET SESSION memql.x TO 'a'": "SET memql.x = 'a'",
    "SET memql.x TO DEFAULT": "SET memql.x = DEFAULT",
    "RESET memql.x": "SET memql.x = DEFAULT",
    "RESET ROLE": "SET ROLE NONE",
    "EXPLAIN (ANALYZE, FORMAT text) SELECT 1": "EXPLAIN ANALYZE SELECT 1",
}


@pytest.mark.parametrize("text", CANONICAL)
def test_round_trip(text: str) -> None:
    tree = parse(text)
    printed = tree.sql(dialect=MemQL)
    assert printed == text
    assert parse(printed) == tree


@pytest.mark.parametrize(("text", "printed"), SPELLINGS.items())
def test_other_spellings(text: str, printed: str) -> None:
    assert parse(text) == parse(printed)
    assert parse(text).sql(dialect=MemQL) == printed


@pytest.mark.parametrize("text", [CANONICAL[1], CANONICAL[5], CANONICAL[12], CANONICAL[42]])
def test_round_trip_notices_a_lost_arg(text: str) -> None:
    tree = parse(text)
    for key in list(tree.args):
        changed = parse(text)
        changed.set(key, None)
        if tree.args[key]:
            assert changed != tree


def written_statements() -> Iterator[str]:
    """Yield what parses of the pages' examples and of the statements that run in tests/sql.

    Those that fail there hold clauses of other dialects, which sqlglot reads and does not print.
    """
    texts = [
        statement.text
        for path in PAGES
        for block in blocks_of(path.read_text("utf-8"))
        if block.language == "sql"
        for statement in statements_of(block.text)
    ]
    for path in sorted((ROOT / "tests" / "sql").glob("*.test")):
        texts.extend(
            record.sql
            for record in read_records(path)
            if record.sql and record.command[:2] != ("statement", "error")
        )
    for text in texts:
        try:
            parse(text)
        except Error:
            continue
        yield text


def write(tree: exp.Expr) -> str:
    return tree.sql(dialect=MemQL, comments=False)


# sqlglot builds a node without arguments that it cannot print; DuckDB has no such function.
UNPRINTABLE = ("SELECT date()",)


def unquoted(tree: exp.Expr) -> exp.Expr:
    """Return a tree without the quotes that printing adds to words that DuckDB reserves."""
    for name in tree.find_all(exp.Identifier):
        if name.name.lower() in MemQL.Generator.RESERVED_KEYWORDS:
            name.set("quoted", False)
    return tree


def unlike(text: str, write: Callable[[exp.Expr], str] = write) -> str | None:
    """Return how a statement changes when it is printed and read, or None."""
    tree = parse(text)
    printed = write(tree)
    again = parse(printed)
    same = write(again) == printed and unquoted(again) == unquoted(tree)
    return None if same else printed


def test_every_written_statement_prints_back() -> None:
    texts = [text for text in written_statements() if text not in UNPRINTABLE]
    assert len(texts) > 300
    assert not {text: printed for text in texts if (printed := unlike(text))}


def test_a_statement_that_changes_is_noticed() -> None:
    assert unlike("ADVISE APPLY") is None
    assert unlike("ADVISE APPLY", lambda tree: "ADVISE") == "ADVISE"


# -- which node holds a clause -----------------------------------------------------------------


def test_materialize_of_a_union_belongs_to_the_whole() -> None:
    tree = parse("SELECT a FROM t UNION ALL SELECT b FROM u MATERIALIZE AS AUTO")
    assert isinstance(tree, syntax.Materialize)
    assert isinstance(tree.this, exp.Union)
    assert len(list(tree.find_all(syntax.Materialize))) == 1


@pytest.mark.parametrize("opening", ["", "CREATE MATERIALIZED VIEW v AS ", "EXPLAIN "])
def test_with_belongs_to_the_query(opening: str) -> None:
    tree = parse(f"{opening}WITH r AS (SELECT 1 AS x) SELECT x FROM r MATERIALIZE AS AUTO")
    (materialize,) = tree.find_all(syntax.Materialize)
    assert set(materialize.args) <= {"this", "form", "model", "options"}
    assert materialize.this.args["with_"].expressions[0].alias == "r"


def test_a_token_limit_stands_where_a_limit_would() -> None:
    union = parse("SELECT a FROM t UNION ALL SELECT b FROM u LIMIT 5 ROWS 9 TOKENS OFFSET 2")
    assert isinstance(union, exp.Union)
    limit = union.args["limit"]
    assert isinstance(limit, syntax.TokenLimit)
    assert (limit.this.name, limit.args["rows"].name) == ("9", "5")
    assert isinstance(union.args["offset"], exp.Offset)
    assert not union.expression.args.get("limit")
    subquery = parse("SELECT x FROM (SELECT x FROM t LIMIT 5 TOKENS) AS s")
    assert isinstance(subquery.find(exp.Subquery).this.args["limit"], syntax.TokenLimit)  # type: ignore[union-attr]
    plain = parse("SELECT x FROM t LIMIT 5")
    assert isinstance(plain.args["limit"], exp.Limit)


def test_what_generate_holds_and_what_is_around_it() -> None:
    tree = parse(
        "SELECT generate('q', c, a := 1 ORDER BY x LIMIT 5 TOKENS) FILTER (WHERE y) FROM t LIMIT 7"
    )
    (generate,) = tree.find_all(syntax.Generate)
    assert isinstance(generate.args["order"], exp.Order)
    assert isinstance(generate.args["limit"], syntax.TokenLimit)
    assert [option.this.name for option in generate.args["options"]] == ["a"]
    assert isinstance(generate.parent, exp.Filter)
    assert isinstance(generate.parent.expression, exp.Where)
    assert isinstance(tree.args["limit"], exp.Limit)
    inner = parse("SELECT generate('q' LIMIT 5) FROM t").find(syntax.Generate)
    assert inner is not None and isinstance(inner.args["limit"], exp.Limit)


def test_time_travel_belongs_to_its_table() -> None:
    tree = parse("SELECT 1 FROM memories AS m AT (VERSION => 3), memories JOIN memories AS OF ON x")
    assert [(table.alias, type(table.args.get("when"))) for table in tree.find_all(exp.Table)] == [
        ("m", syntax.TimeTravel),
        ("", type(None)),
        ("OF", type(None)),
    ]


def test_conditions_are_kept_whole() -> None:
    grant = parse("GRANT READ ON MEMORIES TO bob WHERE (a OR b) UNTIL x + INTERVAL '1' YEAR")
    assert isinstance(grant.args["where"], exp.Where)
    assert isinstance(grant.args["where"].this, exp.Or)
    assert isinstance(grant.args["until"], exp.Add)
    forget = parse("FORGET FROM memories AS m WHERE m.a AND b VERIFY")
    assert isinstance(forget.args["where"].this, exp.And)
    assert forget.this.alias == "m"


def test_parameters_know_their_place() -> None:
    text = "SELECT x FROM memories AT (VERSION => ?) WHERE x MATCHES $q LIMIT ? ROWS ? TOKENS"
    marks = {node.meta["start"] for node in parse(text).find_all(exp.Placeholder)}
    assert marks == {place for place, sign in enumerate(text) if sign in "?$"}
    text = "CREATE USER b PASSWORD ? TOKEN $t VALID UNTIL ?"
    marks = {node.meta["start"] for node in parse(text).find_all(exp.Placeholder)}
    assert marks == {place for place, sign in enumerate(text) if sign in "?$"}


# -- nothing is raw text -----------------------------------------------------------------------


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
        "EXECUTE x",
        "SET x = 1, 2",
        "RESET x",
        "WITH a AS (GRANT x TO y) SELECT 1",
        "WITH a AS (DROP TABLE t) SELECT 1",
        "WITH a AS (SELECT 1) SHOW MODELS",
    ],
)
def test_nothing_stays_raw_text(text: str) -> None:
    with pytest.raises((ProgrammingError, NotSupportedError)):
        parse(text)


def test_the_dialect_is_known_to_sqlglot_by_name() -> None:
    program = (
        "import sqlglot; "
        "print(sqlglot.transpile('FROM m MATERIALIZE AS AUTO', read='memql', write='memql')[0]); "
        "print(sqlglot.parse_one('advise apply', read='memql').sql('memql'))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert printed.splitlines() == ["SELECT * FROM m MATERIALIZE AS AUTO", "ADVISE APPLY"]


def test_errors_can_be_collected_as_sqlglot_does() -> None:
    with pytest.raises(sqlglot.ParseError):
        sqlglot.parse_one("FORGET FROM m", read="memql", error_level=sqlglot.ErrorLevel.RAISE)
