"""Calls that make long values: right below the limit, a clear error above it, once computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

import memql
from memql.engine.bind.bounds import BOUNDED

pytestmark = pytest.mark.slow

LIMIT_BYTES = 64 * 2**10
ROW_BYTES = LIMIT_BYTES // 64

TABLE = "CREATE TABLE t (s VARCHAR, n BIGINT, l INTEGER[], b BLOB, f VARCHAR)"
ROWS = "INSERT INTO t VALUES ('ab', 3, [1, 2], 'xy'::BLOB, '{:5}'), (NULL, NULL, NULL, NULL, NULL)"


@pytest.fixture
def con() -> Iterator[memql.Connection]:
    with memql.connect() as connection:
        connection.execute(f"SET memql.max_generated_bytes = {LIMIT_BYTES}")
        connection.execute(TABLE)
        connection.execute(ROWS)
        yield connection


# Calls over literals, parameters and columns; each answers as DuckDB does.
SMALL = [
    "repeat('ab', 3)",
    "repeat('', 3)",
    "repeat('ab', -1)",
    "repeat(NULL, 3)",
    "repeat('ab', NULL)",
    "repeat([1, 2], 2)",
    "repeat('ab', ?)",
    "repeat(s, 2)",
    "repeat(s, n)",
    "repeat(l, n)",
    "repeat(b, n)",
    "repeat(s || 'x', n + 1)",
    "repeat(repeat(upper(s), 2), 2)",
    "s.repeat(n)",
    "lpad('x', 5, '*')",
    "lpad(s, n, ' ')",
    "lpad(s, 5, lower('é'))",
    "lpad(NULL, 5, '*')",
    "rpad(s, n + 2, '-')",
    "rpad('x', ?, '-')",
    "list_resize([1], 3)",
    "list_resize(l, n)",
    "list_resize(l, n, 9)",
    "list_resize(l, n, NULL)",
    "array_resize(l, 1)",
    "range(5)",
    "range(2, 5)",
    "range(5, 2, -2)",
    "range(n)",
    "range(n, n + 9, 2)",
    "range(NULL)",
    "range(1, 5, 0)",
    "generate_series(1, n)",
    "generate_series(1, ?)",
    "generate_series(DATE '2026-01-01', DATE '2026-02-01', INTERVAL 1 WEEK)",
    "generate_series(TIMESTAMPTZ '2026-01-01', TIMESTAMPTZ '2026-01-03', INTERVAL 1 DAY)",
    "range(TIMESTAMP '2026-03-01', TIMESTAMP '2026-01-01', INTERVAL '-1 month')",
    "bitstring('1', 8)",
    "bitstring('1', n::INTEGER + 1)",
    "format('{:>5}|{}', 1, 'a')",
    "format('{:,}', 12345678)",
    "format(f, n)",
    "format('order 12345: {{}} {}', n)",
    "printf('%5d|%s', 1, 'a')",
    "printf('100000 of %d%%', 2)",
    "printf(s || '%3d', 1)",
    "replace(s, 'a', 'xyz')",
    "replace(s, 'a', s)",
    "replace(s, '', s)",
    "regexp_replace(s, '[ab]', s, 'g')",
    "regexp_replace(s, '[ab]', s)",
    "regexp_replace(s, '(a)', '\\1\\1')",
    "list_reduce([1, 2, 3], LAMBDA x, y: x * x + y)",
    "list_reduce(['a', 'b'], LAMBDA x, y: x || y || x)",
    "list_reduce(['a', 'b'], LAMBDA x, y: x || y)",
    "reduce([1, 2], LAMBDA x, y: x + x + y, 5)",
    "array_reduce([[1], [2]], LAMBDA x, y: x || y || x)",
    "damerau_levenshtein('ab', 'ba')",
    "damerau_levenshtein(s, 'xyz')",
    "list_transform(l, LAMBDA x: repeat(s, x))",
    "[repeat('a', x) FOR x IN l]",
]


def answer(con: Any, query: str, values: list[int]) -> list[Any] | str:
    """The rows, or the beginning of the error: bounded calls fail where plain ones do."""
    try:
        rows: list[Any] = con.execute(query, values).fetchall()
        return rows
    except (memql.Error, duckdb.Error) as error:
        return type(error).__name__ if isinstance(error, memql.InternalError) else "error"


@pytest.mark.parametrize("call", SMALL)
def test_below_the_limit_as_duckdb(con: memql.Connection, call: str) -> None:
    values = [4] if "?" in call else []
    with duckdb.connect() as plain:
        plain.execute(TABLE)
        plain.execute(ROWS)
        for query in (
            f"SELECT {call} AS x FROM t",
            f"SELECT {call} AS x, count(*) FROM t GROUP BY ALL ORDER BY ALL",
            f"SELECT s FROM t WHERE {call} IS NOT NULL ORDER BY ALL",
        ):
            assert answer(con, query, values) == answer(plain, query, values), query


LARGE = [
    ("repeat", "SELECT repeat('x', 65537)"),
    ("repeat", "SELECT repeat('', 10000000000)"),
    ("repeat", "SELECT repeat('x', ?)"),
    ("repeat", "SELECT repeat(s, 513) FROM t"),
    ("repeat", "SELECT repeat(s, n * 200) FROM t"),
    ("repeat", "SELECT repeat(l, 1000) FROM t"),
    ("repeat", "SELECT repeat(b, 1000) FROM t"),
    ("repeat", "SELECT repeat(upper(s), 600) FROM t"),
    ("repeat", "SELECT s.repeat(600) FROM t"),
    ("repeat", 'SELECT "REPEAT"(s, 600) FROM t'),
    ("repeat", "SELECT list_transform([600], LAMBDA x: repeat(s, x)) FROM t"),
    ("repeat", "SELECT 1 FROM t WHERE repeat(s, 600) IS NULL"),
    ("repeat", "SELECT 1 FROM t ORDER BY repeat(s, 600)"),
    ("repeat", "SELECT max(s) FROM t HAVING repeat(max(s), 600) = ''"),
    ("repeat", "WITH w AS (SELECT repeat(s, 600) AS r FROM t) SELECT r FROM w"),
    ("repeat", "SELECT (SELECT repeat(s, 600))  FROM t"),
    ("repeat", "SELECT s FROM t QUALIFY row_number() OVER (ORDER BY repeat(s, 600)) = 1"),
    ("repeat", "UPDATE t SET s = repeat(s, 600)"),
    ("repeat", "INSERT INTO t (s) SELECT repeat(s, 600) FROM t"),
    ("repeat", "INSERT INTO t (s) VALUES (repeat('x', 70000))"),
    ("repeat", "SELECT * FROM range(length(repeat('x' || chr(65), 70000)))"),
    ("lpad", "SELECT lpad('x', 2147483647, 'y')"),
    ("lpad", "SELECT lpad(s, 2000, ' ') FROM t"),
    ("lpad", "SELECT lpad(s, 300, '😀') FROM t"),
    ("rpad", "SELECT rpad(s, n::INTEGER * 1000, ' ') FROM t"),
    ("rpad", "SELECT rpad('x', ?, ' ')"),
    ("list_resize", "SELECT list_resize([1], 5000)"),
    ("list_resize", "SELECT list_resize(l, 100) FROM t"),
    ("list_resize", "SELECT list_resize([s], 20, repeat('x', 100)) FROM t"),
    ("array_resize", "SELECT array_resize(l, n * 100) FROM t"),
    ("range", "SELECT range(10000)"),
    ("range", "SELECT range(n * 100) FROM t"),
    ("range", "SELECT range(0, -100000, -1)"),
    ("range", "SELECT range(0, n * 1000, 2) FROM t"),
    ("range", "SELECT unnest(range(10000))"),
    ("generate_series", "SELECT generate_series(1, ?)"),
    ("generate_series", "SELECT generate_series(0, 9223372036854775807)"),
    (
        "generate_series",
        "SELECT generate_series(TIMESTAMP '2000-01-01', TIMESTAMP '2100-01-01', INTERVAL 1 SECOND)",
    ),
    (
        "range",
        "SELECT range(DATE '2000-01-01' + n::INTEGER, DATE '2100-01-01', INTERVAL 1 DAY) FROM t",
    ),
    ("bitstring", "SELECT bitstring('1', 2000000000)"),
    ("bitstring", "SELECT bitstring('1', n::INTEGER * 10000) FROM t"),
    ("format", "SELECT format('{:1000}', 1)"),
    ("format", "SELECT format('{:{}}', 1, 5)"),
    ("format", "SELECT format(s || '{:1000000000}', 1) FROM t"),
    ("format", "SELECT format(?, 1)"),
    ("printf", "SELECT printf('%1000d', 1)"),
    ("printf", "SELECT printf('%*d', 5, 1)"),
    ("printf", "SELECT printf('%-1000000000d' || s, 1) FROM t"),
    ("replace", "SELECT replace(repeat('x', 300), 'x', repeat('y', 300))"),
    ("replace", "SELECT replace(repeat(s, 50), 'a', repeat(s, 50)) FROM t"),
    ("regexp_replace", "SELECT regexp_replace(repeat('x', 300), 'x', repeat('y', 300), 'g')"),
    (
        "regexp_replace",
        "SELECT regexp_replace(repeat('x', 300), 'x+', repeat('\\0', 300)) FROM t",
    ),
    (
        "list_reduce",
        "SELECT list_reduce(list_transform(range(40), LAMBDA x: 'x'), LAMBDA a, b: a || a)",
    ),
    ("reduce", "SELECT reduce(range(40), LAMBDA a, b: list_concat(a, a), [1])"),
    (
        "array_reduce",
        "SELECT array_reduce(list_transform(range(30), LAMBDA x: s), LAMBDA a, b: a || a) FROM t",
    ),
    (
        "damerau_levenshtein",
        "SELECT damerau_levenshtein(repeat('x', 9000), repeat('y', 9000))",
    ),
]


@pytest.mark.parametrize(("name", "query"), LARGE)
def test_above_the_limit(con: memql.Connection, name: str, query: str) -> None:
    values: list[Any] = []
    if "?" in query:
        values = ["{:100000}"] if name == "format" else [1_000_000]
    with pytest.raises(
        memql.DataError, match=rf"^{name} .* that memql\.max_generated_bytes"
    ) as raised:
        con.execute(query, values).fetchall()
    assert raised.value.code == "54000"
    assert raised.value.hint is not None and "SET memql.max_generated_bytes" in raised.value.hint


def test_every_bounded_function_has_a_case() -> None:
    assert {name for name, _ in LARGE} == set(BOUNDED)
    assert {name for name in BOUNDED if any(f"{name}(" in call for call in SMALL)} == set(BOUNDED)


def test_the_tests_see_what_is_not_bounded(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memql.engine.bind.functions.bound_calls", lambda *_: None)
    rows = con.execute("SELECT length(repeat(s, 600)) FROM t").fetchall()
    assert rows == [(1200,), (None,)]


def test_the_place_of_literals(con: memql.Connection) -> None:
    with pytest.raises(memql.DataError) as raised:
        con.execute("SELECT 1,\n  repeat('x', 70000)")
    place = raised.value.position
    assert place is not None and (place.line, place.column) == (2, 3)


def test_tables_lower_the_limit(con: memql.Connection) -> None:
    # Without a table there is one row; with one, up to 2,048 are computed at a time.
    assert con.execute("SELECT length(repeat('x', 65536))").fetchone() == (LIMIT_BYTES,)
    query = f"SELECT length(repeat('x', {ROW_BYTES})) FROM range(3)"
    assert con.execute(query).fetchall() == [(ROW_BYTES,)] * 3
    with pytest.raises(memql.DataError, match=f"{ROW_BYTES:,} bytes"):
        con.execute(f"SELECT repeat('x', {ROW_BYTES + 1}) FROM range(3)")
    # One list that becomes rows is one value.
    query = "SELECT count(*) FROM (SELECT unnest(range(8192)) FROM t)"
    assert con.execute(query).fetchone() == (2 * 8192,)


def test_rows_in_from_have_no_limit(con: memql.Connection) -> None:
    query = "SELECT count(*) FROM range(1000000), repeat('x', 3)"
    assert con.execute(query).fetchone() == (3_000_000,)


def test_an_argument_is_computed_once(con: memql.Connection) -> None:
    # Were random() computed again for the call, some of these would be longer than was looked at.
    con.execute("CREATE SEQUENCE s1")
    query = "SELECT length(repeat('x', nextval('s1'))) FROM range(5)"
    assert con.execute(query).fetchall() == [(number,) for number in range(1, 6)]
    query = "SELECT max(length(repeat('x', (random() * 9)::INTEGER))) <= 9 FROM range(500)"
    assert con.execute(query).fetchone() == (True,)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT repeat(s, 2) FROM t",
        "SELECT repeat(s, n), lpad(s, 5, ' ') AS p FROM t",
        "SELECT repeat(lower(s), 2) FROM t",
        "SELECT * FROM (SELECT repeat(s, 2) FROM t)",
        "SELECT repeat(s || 'x', (n + 1)::BIGINT), range(n, n + 2)[1] FROM t",
        "SELECT list_reduce([s], LAMBDA a, b: a || b || a) FROM t",
        "SELECT replace(s, 'a', repeat('x', 200)), regexp_replace(s, '(a)', '\\1') FROM t",
    ],
)
def test_columns_keep_their_names(con: memql.Connection, query: str) -> None:
    with duckdb.connect() as plain:
        plain.execute("CREATE TABLE t (s VARCHAR, n BIGINT)")
        names = [column[0] for column in plain.execute(query).description or ()]
    description = con.execute(query).description
    assert description is not None and [column[0] for column in description] == names


def test_stars_keep_their_names(con: memql.Connection) -> None:
    description = con.execute("SELECT repeat(COLUMNS('^s$'), 2) FROM t").description
    assert description is not None and description[0][0] == "s"


def test_arguments_by_name_are_refused(con: memql.Connection) -> None:
    for call in ("repeat(string := 'x', count := 3)", "repeat(DISTINCT 'x', 3)"):
        with pytest.raises(memql.NotSupportedError, match="the arguments of repeat are given by"):
            con.execute(f"SELECT {call}")


def test_wrong_arguments_are_duckdbs_to_refuse(con: memql.Connection) -> None:
    for call in ("repeat('x')", "range(1, 2, 3, 4)", "lpad('x', 3)", "repeat('x', 'many')"):
        with pytest.raises(memql.Error):
            con.execute(f"SELECT {call}")
    with pytest.raises(memql.Error):
        con.execute("SELECT list_reduce([1], 5)")


def test_a_plan_is_made_for_one_limit(con: memql.Connection) -> None:
    query = "SELECT length(repeat(s, 600)) FROM t"
    with pytest.raises(memql.DataError):
        con.execute(query)
    con.execute("SET memql.max_generated_bytes = 1000000")
    assert con.execute(query).fetchall() == [(1200,), (None,)]
    con.execute(f"SET memql.max_generated_bytes = {LIMIT_BYTES}")
    with pytest.raises(memql.DataError):
        con.execute(query)


def test_tables_may_be_defined_with_them(con: memql.Connection) -> None:
    con.execute(
        "CREATE TABLE made (a VARCHAR, twice VARCHAR GENERATED ALWAYS AS (repeat(a, 2)), "
        "c VARCHAR DEFAULT lpad(chr(65), 3, '*'))"
    )
    con.execute("INSERT INTO made (a) VALUES ('xy')")
    assert con.execute("SELECT * FROM made").fetchall() == [("xy", "xyxy", "**A")]


def test_through_a_view(con: memql.Connection) -> None:
    con.execute("CREATE VIEW v AS SELECT repeat(s, 600) AS r FROM t")
    with pytest.raises(memql.DataError, match="repeat makes more"):
        con.execute("SELECT r FROM v")
    con.execute("SET memql.max_generated_bytes = 1000000")
    assert con.execute("SELECT length(r) FROM v").fetchall() == [(1200,), (None,)]


@pytest.mark.parametrize(
    "structure",
    [
        "'\"other.mood\"'",
        '\'{"a": "mood"}\'',
        '\'{"a": "INTEGER", "a": "mood"}\'',
        "'[\"STRUCT(a mood)\"]'",
        "'\"mood\" x'",
        '\'"""mood"""\'',
        "lower('\"INTEGER\"')",
        "structure := '\"mood\"'",
    ],
)
def test_types_in_texts_are_duckdbs_own(con: memql.Connection, structure: str) -> None:
    for name in ("from_json", "json_transform", "from_json_strict", "json_transform_strict"):
        with pytest.raises(memql.NotSupportedError, match="DuckDB's own types"):
            con.execute(f"SELECT {name}('1', {structure})")


def test_structures_that_are_written_out(con: memql.Connection) -> None:
    query = """SELECT '{"a": 1}'.json_transform(
        '{"a": "DECIMAL(9, 2)", "b": ["VARCHAR"], "c": "TIMESTAMP WITH TIME ZONE"}')"""
    rows = con.execute(query).fetchall()
    assert rows[0][0]["b"] is None and str(rows[0][0]["a"]) == "1.00"
