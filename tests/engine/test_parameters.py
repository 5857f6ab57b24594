"""Parameters: where they stand, what they hold, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import memql
from memql.errors import DataError, Error, InterfaceError, NotSupportedError, ProgrammingError


@pytest.fixture
def con() -> Iterator[memql.Connection]:
    connection = memql.connect(":memory:")
    connection.executemany(
        "INSERT INTO memories (content, kind, importance) VALUES (?, ?, ?)",
        [["a", "x", 0.1], ["b", "x", 0.2], ["c", "y", None]],
    )
    yield connection
    connection.close()


def test_values_are_taken_in_the_order_of_the_text(con: memql.Connection) -> None:
    # A tree's own order is another one: LIMIT is printed last, WITH is kept apart.
    row = con.execute(
        "WITH w AS (SELECT ? AS first) SELECT first, ?, kind || ? FROM memories, w "
        "WHERE content IN (?, ?) AND CASE WHEN ? THEN kind = ? ELSE false END "
        "ORDER BY content || ? LIMIT ? OFFSET ?",
        [1, 2, "3", "a", "b", True, "x", "8", 1, 1],
    ).fetchall()
    assert row == [(1, 2, "x3")]


@pytest.mark.parametrize(
    ("text", "values", "rows"),
    [
        ("SELECT $a, $b, $a", {"a": 1, "b": None}, [(1, None, 1)]),
        ("SELECT $2, $1", ["x", "y"], [("y", "x")]),
        ("SELECT ?", (datetime(2020, 1, 2, tzinfo=UTC),), [(datetime(2020, 1, 2, tzinfo=UTC),)]),
        ("SELECT ?", [["p", "q"]], [(["p", "q"],)]),
        ("SELECT ?::INT + 1", ["41"], [(42,)]),
        ("SELECT ?", ["'; DROP TABLE memories; --"], [("'; DROP TABLE memories; --",)]),
        ("SELECT content FROM memories WHERE importance > ? ORDER BY 1", [0.15], [("b",)]),
        ("SELECT 1", [], [(1,)]),
        ("SELECT content FROM memories ORDER BY content LIMIT ? ROWS ? TOKENS", [1, 99], [("a",)]),
        ("SELECT * FROM range($1) LIMIT $2", [3, 1], [(0,)]),
        ("SELECT x FROM (VALUES (?), (?)) AS t(x)", [1, 2], [(1,), (2,)]),
        ("SELECT [?, ?][?], {'a': ?}", [1, 2, 1, 3], [(1, {"a": 3})]),
        ("SELECT CASE ? WHEN ? THEN ? END", [1, 1, 2], [(2,)]),
        ("SELECT INTERVAL (?) DAY", [3], [(timedelta(days=3),)]),
        ("SELECT count(*) FILTER (WHERE kind = ?) FROM memories", ["x"], [(2,)]),
        (
            "SELECT content FROM memories QUALIFY row_number() OVER (ORDER BY content) <= ?",
            [1],
            [("a",)],
        ),
        (
            "UPDATE memories SET importance = ? WHERE kind IN (?, ?) AND content = ? "
            "RETURNING importance + ?, ?",
            [0.5, "x", "z", "a", 1, "back"],
            [(1.5, "back")],
        ),
        ("DELETE FROM memories WHERE content = ? RETURNING content || ?", ["c", "!"], [("c!",)]),
    ],
)
def test_forms_of_parameters(con: memql.Connection, text: str, values: Any, rows: Any) -> None:
    assert con.execute(text, values).fetchall() == rows


def test_parameters_of_statements_that_are_no_queries(con: memql.Connection) -> None:
    con.execute("SET memql.max_tokens = ?", [5])
    assert con.execute("SHOW memql.max_tokens").fetchall() == [("5",)]
    con.execute("SET memql.max_tokens TO $n", {"n": 6})
    assert con.execute("SHOW memql.max_tokens").fetchall() == [("6",)]
    con.execute("CREATE MODEL m FROM ? WITH (system = ?)", ["tiny", "Be brief."])
    assert con.execute("SELECT name FROM memql.models WHERE name = ?", ["m"]).fetchall() == [("m",)]
    plan = con.execute("EXPLAIN SELECT content FROM memories WHERE kind = ?", ["x"]).fetchall()
    assert ("  rows: 2",) in plan
    materialize = "SELECT content FROM memories MATERIALIZE AS PLAINTEXT WITH (order = ?)"
    assert con.execute(materialize, ["canonical"]).fetchone()
    with pytest.raises(ProgrammingError, match="the option order is"):
        con.execute(materialize, ["odd"])


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("SELECT content FROM memories WHERE content MATCHES ?", "MATCHES"),
        ("SELECT content FROM memories WHERE content MATCHES ? USING TEXT", "MATCHES"),
        ("SELECT content FROM memories AT (VERSION => ?)", "AT"),
        ("SELECT content FROM memories AS OF TIMESTAMP ?", "AT"),
        ("CREATE ADAPTER a FROM ? FOR MODEL tiny", "CREATE ADAPTER"),
        ("EXPORT MEMORIES TO ?", "EXPORT MEMORIES"),
        ("IMPORT MEMORIES FROM ?", "IMPORT MEMORIES"),
        ("FORGET FROM memories WHERE id = ? VERIFY", "FORGET"),
        ("EVALUATE VIEW v WITH (rounds = ?)", "EVALUATE VIEW"),
    ],
)
def test_parameters_of_forms_that_nothing_runs_yet(
    con: memql.Connection, text: str, form: str
) -> None:
    with pytest.raises(NotSupportedError, match=f"^{form} is not something"):
        con.execute(text, ["x"])
    with pytest.raises(ProgrammingError, match="has 1 parameters, 0 values"):
        con.execute(text)


def test_parameters_of_generate(con: memql.Connection) -> None:
    text = "SELECT generate(?, content || ?, max_tokens := ?) FROM memories WHERE kind = ?"
    answer = con.execute(text, ["Who?", "!", 2, "x"]).fetchall()[0][0]
    assert answer.answer_tokens <= 2 and len(answer.memory_ids) == 2
    named = "SELECT generate($q, max_tokens := $n) FROM memories GROUP BY kind HAVING count(*) > $k"
    assert len(con.execute(named, {"q": "Who?", "n": 1, "k": 1}).fetchall()) == 1


@pytest.mark.parametrize(
    ("text", "values", "error", "expected"),
    [
        ("SELECT ?, ?", [1], ProgrammingError, "has 2 parameters, 1 values were given"),
        ("SELECT 1", [1], ProgrammingError, "has 0 parameters, 1 values were given"),
        ("SELECT ?", None, ProgrammingError, "has 1 parameters, 0 values were given"),
        ("SELECT ?", {"a": 1}, ProgrammingError, "named values were given"),
        ("SELECT $a", [1], ProgrammingError, "named parameters (a)"),
        ("SELECT $a", {"b": 1}, ProgrammingError, "no value for the parameter $a"),
        ("SELECT $abc", {"abc": 1, "abd": 2}, ProgrammingError, "did you mean abc?"),
        ("SELECT ?, $a", {"a": 1}, ProgrammingError, "either ? or $name"),
        ("SELECT $a", {1: 2}, ProgrammingError, "the names of parameters are texts"),
        ("SELECT $3", [1, 2], ProgrammingError, "up to $3, 2 values"),
        ("SELECT ?", "x", ProgrammingError, "a sequence or a mapping, found str"),
        ("SELECT $memql_p1", {"memql_p1": 1}, ProgrammingError, "are MemQL's own"),
        ("SELECT ?", ["\udcff"], DataError, "half of a character"),
        ("SELECT ?", [["ok", "\ud800"]], DataError, "half of a character"),
        ("SELECT '\udcff'", None, ProgrammingError, "half of a character"),
        ("SELECT ?", [object()], Error, "object"),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT content FROM memories WHERE kind = ?",
            ["x"],
            ProgrammingError,
            "cannot have parameters",
        ),
    ],
)
def test_wrong_parameters(
    con: memql.Connection, text: str, values: Any, error: type[Error], expected: str
) -> None:
    with pytest.raises(error) as caught:
        con.execute(text, values)
    assert expected in str(caught.value)


def test_executemany_writes_all_or_nothing(con: memql.Connection) -> None:
    insert = "INSERT INTO memories (content, importance) VALUES (?, ?)"
    with pytest.raises(DataError):
        con.executemany(insert, [["d", 0.5], ["e", 7]])
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (3,)
    assert con.executemany(insert, [["d", 0.5], ["e", 0.7]]).rowcount == 2
    assert con.executemany(insert, []).rowcount == 0


def test_a_closed_connection_says_so(con: memql.Connection) -> None:
    cursor = con.cursor()
    con.close()
    for use in (
        lambda: con.execute("SELECT 1"),
        lambda: cursor.execute("SELECT 1"),
        con.commit,
        con.cursor,
        con.interrupt,
    ):
        with pytest.raises(InterfaceError, match="closed"):
            use()


@pytest.mark.parametrize(
    "text",
    ["SELECT 1" + "::INT" * 5000, "SELECT 1" + " BETWEEN 1 AND 1" * 3000],
    ids=["casts", "between"],
)
def test_nesting_without_brackets_is_a_clear_error(con: memql.Connection, text: str) -> None:
    with pytest.raises(ProgrammingError, match="nested too deeply"):
        con.execute(text)


def test_a_chain_that_duckdb_does_not_evaluate_is_a_clear_error(con: memql.Connection) -> None:
    with pytest.raises(ProgrammingError, match="at most 1,000 operators in a chain") as caught:
        con.execute("SELECT " + "1 + " * 3000 + "1").fetchall()
    assert caught.value.code == "54001" and "SET" not in str(caught.value)


def test_a_user_with_half_a_character_in_the_name_is_refused() -> None:
    for name in ("\ud800", "", "  "):
        with pytest.raises(InterfaceError, match="the user's name"):
            memql.connect(":memory:", user=name)


def test_a_long_chain_of_common_table_expressions_is_bound(con: memql.Connection) -> None:
    links = ["c0 AS (SELECT * FROM memories)"]
    links += [f"c{i} AS (SELECT * FROM c{i - 1})" for i in range(1, 60)]
    query = f"WITH {', '.join(links)} SELECT count(content) FROM c59"
    assert con.execute(query).fetchone() == (3,)
    with pytest.raises(ProgrammingError, match="did you mean content"):
        con.execute(query.replace("content", "contnt"))


def test_executemany_of_every_column(con: memql.Connection) -> None:
    columns = (
        "owner agent session kind content source tags importance trust sensitivity attributes "
        "created_at valid_from valid_to expires_at hold"
    ).split()
    now = datetime(2030, 1, 2, tzinfo=UTC)
    rows = [
        ["o", "a", "s", "wide", f"c{i}", "x", ["t"], 0.5, 1, "low", {f"k{i}": i}]
        + [now, now, None, None, False]
        for i in range(450)
    ]
    marks = ", ".join("?" for _ in columns)
    insert = f"INSERT INTO memories ({', '.join(columns)}) VALUES ({marks})"
    assert con.executemany(insert, rows).rowcount == 450
    found = con.execute(
        "SELECT count(DISTINCT content), min(attributes->>'k7'), max(created_at) "
        "FROM memories WHERE kind = 'wide'"
    ).fetchone()
    assert found == (450, "7", now)
