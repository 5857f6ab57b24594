"""The second look at printed SQL: nothing runs that the bound tree does not hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlglot
from sqlglot import exp

import memql
from memql.engine.printing import print_query
from memql.engine.wall import PrintedDuckDB, check_printed
from memql.errors import Error, InternalError, NotSupportedError, ProgrammingError

SECRET = "the secret of bob"


@pytest.fixture
def ann() -> Iterator[memql.Connection]:
    """A connection of ann to a store with a memory of bob."""
    with memql.connect() as con:
        con.execute("INSERT INTO memories (owner, content) VALUES ('bob', ?)", [SECRET])
        con._session._user = "ann"
        con.execute("INSERT INTO memories (content) VALUES ('mine')")
        yield con


def _tree(text: str) -> exp.Expr:
    return sqlglot.parse_one(text, read=PrintedDuckDB)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a FROM t",
        "WITH c AS (SELECT 1 AS x) SELECT c.x, lower('a') FROM c, range(3) AS r(i)",
        "SELECT [$x, $y][$z], {'a': $x}",
        "SELECT * FROM (PIVOT t ON a IN (1) USING sum(b))",
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
        ("SELECT a FROM t, duckdb_tables()", "reads the table duckdb_tables"),
        ("SELECT getenv('HOME') FROM t", "calls getenv"),
        ("SELECT a FROM t; DROP TABLE t", "is not one query"),
        ("DROP TABLE t", "is not one query"),
        ("SELECT current_user FROM t", "holds CURRENTUSER"),
        ("SELECT $a$ ' $a$, x, ' FROM t", "outside of quotes"),
        ("SELECT a /* ' */ FROM t", "outside of quotes"),
        ("SELECT a -- '\\n FROM t", "outside of quotes"),
        ("SELECT E'\\\\'' FROM t", "outside of quotes"),
        ("SELECT a \\\\ b FROM t", "outside of quotes"),
        ("SELECT 'a FROM t", "outside of quotes"),
        ("SELECT $x FROM t", "outside of quotes"),
    ],
)
def test_what_the_tree_does_not_hold_is_noticed(printed: str, problem: str) -> None:
    check_printed("SELECT a FROM t", _tree("SELECT a FROM t"))
    with pytest.raises(InternalError, match="the printed query") as caught:
        check_printed(printed, _tree("SELECT a FROM t"))
    assert problem in str(caught.value)


def test_a_stored_table_is_read_as_often_as_the_tree_says() -> None:
    tree = _tree("SELECT a FROM s.t AS x")
    check_printed("SELECT a FROM s.t AS x", tree)
    with pytest.raises(InternalError, match="reads the table s.t"):
        check_printed("SELECT a, (SELECT b FROM s.t) FROM s.t AS x", tree)


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


def test_texts_that_are_printed_raw_reach_nothing(
    ann: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the check at the tree the check of the text still holds.
    monkeypatch.setattr("memql.engine.bind.functions._check_collation", lambda *_: None)
    text = (
        "SELECT content COLLATE 'nocase, (SELECT string_agg(content) FROM _memql.memories)' "
        "FROM memories"
    )
    with pytest.raises(InternalError, match="reads the table _memql.memories"):
        ann.execute(text)
    monkeypatch.setattr("memql.engine.printing.check_printed", lambda *_: None)
    rows = ann.execute(text).fetchall()
    assert SECRET in str(rows)  # what both checks are there for


def test_what_cannot_be_read_again_does_not_run() -> None:
    with pytest.raises(ProgrammingError, match="cannot be read again"):
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
    with pytest.raises(NotSupportedError, match="is no name of a unit or a type"):
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
