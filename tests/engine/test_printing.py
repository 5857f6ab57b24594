"""The second look at printed SQL: nothing runs that the bound tree does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest
import sqlglot
from sqlglot import exp

import memql
from memql.engine import printing
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.printing import print_query, print_sql
from memql.engine.result import scratch_connection
from memql.engine.wall import check_printed
from memql.errors import Error, InternalError, NotSupportedError, ProgrammingError

SECRET = "the secret of bob"


@pytest.fixture
def ann() -> Iterator[memql.Connection]:
    """A connection of ann to a store with a memory of bob."""
    with memql.connect() as con:
        con.execute("INSERT INTO memories (owner, content) VALUES ('bob', ?)", [SECRET])
        con._session._identity.user = "ann"
        con.execute("INSERT INTO memories (content) VALUES ('mine')")
        yield con


def _tree(text: str) -> exp.Expr:
    return sqlglot.parse_one(text, read=PlainDuckDB)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a FROM t",
        "WITH c AS (SELECT 1 AS x) SELECT c.x, lower('a') FROM c, range(3) AS r(i)",
        "SELECT [$x, $y][$z], {'a': $x}",
        "SELECT * FROM (PIVOT t ON a IN (1) USING sum(b))",
        "SELECT * FROM (PIVOT t ON a, c USING sum(b), max(b) GROUP BY d)",
        "SELECT " + " || ".join(["'a'"] * 900),
        "SELECT list_transform([1], lambda x: x + 1), '--', 'a;b', '/*', '$a$', '\\\\', 'it''s'",
    ],
)
def test_what_is_printed_passes(text: str) -> None:
    assert print_query(_tree(text)).sql


@pytest.mark.parametrize(
    ("printed", "problem"),
    [
        ("SELECT a FROM t, _memql.memories", "reads the table _memql.memories"),
        ("SELECT a, (SELECT x FROM u) FROM t", "reads the table u"),
        ("SELECT a FROM t, s.t", "reads the table s.t"),
        ("SELECT a FROM t; DROP TABLE t", "is not one query"),
        ("SELECT a FROM t; SELECT 1", "is not one query"),
        ("DROP TABLE t", "is not one query"),
        ("INSERT INTO t VALUES (1)", "is not one query"),
        ("SELECT $$ ' $$, x, ' ' FROM u", "reads the table u"),
        ("SELECT a FROM t AT (VERSION => 1)", "reads the table t"),
        ("SELECT a, (SHOW TABLES) FROM t", "holds SHOW_REF"),
        ("SELECT a FROM (DESCRIBE t)", "holds SHOW_REF"),
        ("SELECT main.lower(a) FROM t", "calls lower of a schema"),
        ("SELECT nextval('s') FROM t", "calls nextval"),
        ("SELECT CAST(a AS s.mood) FROM t", "uses the type s.mood"),
        ("SELECT CAST(a AS mood) FROM t", "uses the type mood"),
        ("SELECT * FROM (PIVOT t ON a USING sum(b))", "is not one query"),
    ],
)
def test_what_the_tree_does_not_hold_is_noticed(printed: str, problem: str) -> None:
    check_printed("SELECT a FROM t", _tree("SELECT a FROM t"))
    with pytest.raises(InternalError, match="the printed query") as caught:
        check_printed(printed, _tree("SELECT a FROM t"))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("printed", "problem"),
    [
        ("SELECT a FROM t, duckdb_tables()", "the table function duckdb_tables is not possible"),
        ("SELECT getenv('HOME') FROM t", "function"),
        ("SELECT a FROM t WHERE query('x')", "function"),
        ("SELECT * FROM query('SELECT 1')", "the table function query is not possible"),
        ("SELECT nothing_of_the_kind(1) FROM t", "unknown function 'nothing_of_the_kind'"),
    ],
)
def test_what_the_table_of_functions_refuses_is_noticed(printed: str, problem: str) -> None:
    with pytest.raises((NotSupportedError, ProgrammingError), match=problem):
        check_printed(printed, _tree("SELECT a FROM t"))


def test_a_pivot_over_found_columns_is_looked_into() -> None:
    tree = _tree("SELECT * FROM (PIVOT t ON a USING sum(b))")
    check_printed(print_query(tree).sql, tree)
    bad = _tree("SELECT * FROM (PIVOT t ON a USING sum((SELECT max(b) FROM t)))")
    bad.find(exp.Pivot).find(exp.Subquery).find(exp.Table).set("this", exp.to_identifier("u"))  # type: ignore[union-attr]
    check_printed(print_query(bad).sql, bad)  # the tree itself says u
    with pytest.raises(NotSupportedError, match="getenv|read_text|current_setting"):
        print_query(_tree("SELECT * FROM (PIVOT t ON a USING sum(current_setting('x')))"))


def test_a_stored_table_is_read_as_often_as_the_tree_says() -> None:
    tree = _tree("SELECT a FROM _memql.t AS x")
    check_printed("SELECT a FROM _memql.t AS x", tree)
    with pytest.raises(InternalError, match="reads the table _memql.t"):
        check_printed("SELECT a, (SELECT b FROM _memql.t) FROM _memql.t AS x", tree)


def test_a_subquery_of_a_named_window_may_show_more_than_once() -> None:
    text = "SELECT lag(a) OVER w, sum(a) OVER w FROM s.t WINDOW w AS (ORDER BY (SELECT b FROM s.u))"
    assert print_query(_tree(text)).sql


@pytest.mark.parametrize(
    "text",
    [
        "SELECT content COLLATE 'nocase, (SELECT string_agg(content) FROM _memql.memories)' "
        "FROM memories",
        'SELECT content COLLATE "nocase, (SELECT 1)" FROM memories',
        "SELECT content FROM memories ORDER BY content COLLATE 'x, (SELECT 1)'",
        "SELECT content COLLATE lower('x') FROM memories",
        "INSERT INTO memories (content) SELECT content COLLATE 'a' FROM memories",
    ],
)
def test_a_collation_is_a_name(ann: memql.Connection, text: str) -> None:
    with pytest.raises(NotSupportedError, match="COLLATE takes the name of a collation"):
        ann.execute(text)
    assert ann.execute("SELECT content COLLATE NOCASE FROM memories").fetchall() == [("mine",)]


def test_texts_that_are_printed_raw_reach_nothing() -> None:
    raw = "a, (SELECT string_agg(content) FROM _memql.memories)"
    tree = _tree("SELECT a FROM t")
    assert isinstance(tree, exp.Select)
    tree.set("expressions", [exp.Var(this=raw)])
    assert raw in print_sql(tree)  # sqlglot prints a word as it is
    with pytest.raises(InternalError, match="reads the table _memql.memories"):
        print_query(tree)


def test_what_cannot_be_read_again_does_not_run() -> None:
    with pytest.raises(ProgrammingError, match="does not fit into DuckDB's SQL"):
        check_printed("SELECT a FROM t WHERE (", _tree("SELECT a FROM t"))


@pytest.mark.parametrize(
    "text",
    [
        'SELECT CAST(NULL AS "guid), (SELECT string_agg(content) FROM _memql.memories), (1") '
        "FROM memories",
        'SELECT NULL::"oid), (SELECT 1), (1" FROM memories',
        "UPDATE memories SET kind = 'k' RETURNING CAST(NULL AS \"guid), (SELECT 1), (1\")",
    ],
)
def test_a_type_is_a_word(ann: memql.Connection, text: str) -> None:
    with pytest.raises(ProgrammingError, match="unknown type"):
        ann.execute(text)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT collate(content, 'nocase, {}') FROM memories",
        "SELECT date_add(DATE '2020-01-01', 1, 'day, {}') FROM memories",
        "SELECT object_insert({{'a': 1}}, 'b := 1), {}, struct_insert({{''a'': 1}}, c', 2)",
        "SELECT anonymous_agg_func('count(*), {}, count') FROM memories",
        "SELECT time_slice(DATE '2020-01-01', 1, 'day, date ''2020-01-01''), {}, (1')",
        """SELECT extract("day from DATE '2020-01-01'), {}, extract(day" FROM DATE '2020-01-01')""",
        "UPDATE memories SET source = collate(content, 'nocase, {}') RETURNING source",
        "DELETE FROM memories RETURNING collate(content, 'nocase, {}')",
        "SELECT generate('q', collate(content, 'nocase || {}')) FROM memories",
        "SELECT generate('q') || collate('a', 'nocase || {}') FROM memories",
        "SELECT content FROM memories LIMIT length(collate('a', 'nocase || {}')) TOKENS",
        "SELECT collate(content, 'nocase, {}') FROM memories LIMIT 1000 TOKENS",
        "SELECT * FROM memories PIVOT (count(*) FOR kind IN ('a')) "
        "WHERE collate(content, 'nocase || {}') IS NOT NULL",
    ],
)
def test_functions_that_print_texts_raw_reach_nothing(ann: memql.Connection, text: str) -> None:
    for reach in ("(SELECT string_agg(content) FROM _memql.memories)", "getenv(''HOME'')"):
        with pytest.raises(Error) as caught:
            ann.execute(text.format(reach)).fetchall()
        assert SECRET not in str(caught.value)
    assert ann.execute("SELECT count(*) FROM memories").fetchone() == (1,)


@pytest.mark.parametrize("place", ["DAY", "content"])
@pytest.mark.parametrize(
    "text",
    [
        "SELECT extract({} FROM now())",
        "SELECT date_part({}, now())",
        "SELECT date_trunc({}, now())",
        "SELECT INTERVAL 1 {}",
        "SELECT INTERVAL (1) {}",
        "SELECT CAST(content AS {}) FROM memories",
        "SELECT content::{} FROM memories",
        "SELECT content COLLATE {} FROM memories",
        "SELECT strftime(now(), {})",
        "SELECT struct_pack({} := 1)",
        "SELECT content AT TIME ZONE {} FROM memories",
        "SELECT position({} IN content) FROM memories",
        "SELECT json_extract(content, {}) FROM memories",
        "SELECT trim(BOTH {} FROM content) FROM memories",
        "SELECT content FROM memories LIMIT {}",
        "SELECT content FROM memories USING SAMPLE {}",
        "SELECT content FROM memories ORDER BY {}",
        "SELECT string_agg(content, {}) FROM memories",
        "SELECT * EXCLUDE ({}) FROM memories",
        "SELECT overlay(content PLACING {} FROM 1) FROM memories",
    ],
)
def test_raw_texts_in_every_odd_place(ann: memql.Connection, text: str, place: str) -> None:
    for inside in (
        place,
        "'day, (SELECT string_agg(content) FROM _memql.memories)'",
        "'day) , (SELECT string_agg(content) FROM _memql.memories'",
        '"day, (SELECT string_agg(content) FROM _memql.memories)"',
    ):
        try:
            rows = ann.execute(text.format(inside)).fetchall()
        except Error:
            continue
        assert SECRET not in str(rows)


def test_a_parse_is_made_once_and_runs_on_any_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted() -> duckdb.DuckDBPyConnection:
        made.append("a parse")
        return scratch_connection()

    monkeypatch.setattr(printing, "scratch_connection", counted)
    printed = print_query(_tree("SELECT i + $n FROM range(3) AS r(i) ORDER BY i"))
    assert not made
    for number in (1, 2, 3):
        with duckdb.connect() as one:
            rows = one.execute(printed.parsed, {"n": number}).fetchall()
            assert rows == [(number,), (number + 1,), (number + 2,)]
    assert made == ["a parse"]
    # What DuckDB runs in several steps stays a text.
    pivot = print_query(_tree("SELECT * FROM (PIVOT (SELECT 1 AS a) ON a USING sum(a))"))
    assert pivot.parsed == pivot.sql
    with duckdb.connect() as one:
        assert one.execute(pivot.parsed).fetchall() == [(1,)]


def test_a_parse_runs_in_threads_at_once(ann: memql.Connection) -> None:
    def ask(number: int) -> None:
        for _ in range(20):
            answer = ann.cursor().execute("SELECT content, $n FROM memories", {"n": number})
            assert answer.fetchall() == [("mine", number)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
