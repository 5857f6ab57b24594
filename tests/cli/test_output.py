"""What results look like: plain in a pipe, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator

import pytest
from rich.console import Console

import memql
from memql.cli.output import write_result, write_table


@pytest.fixture
def con() -> Iterator[memql.Connection]:
    with memql.connect(":memory:") as connection:
        yield connection


def written(con: memql.Connection, statement: str, output: str = "table") -> str:
    stream = io.StringIO()
    write_result(con.execute(statement), output, stream)
    return stream.getvalue()


def on_terminal(con: memql.Connection, statement: str, width: int = 80) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, no_color=True, width=width, highlight=False)
    write_table(con.execute(statement), console, note="0.01 s")
    return stream.getvalue()


def test_a_plain_table(con: memql.Connection) -> None:
    statement = (
        "SELECT 'x' AS name, 1.5 AS size, NULL AS nothing, true AS yes, ['a', NULL] AS list, "
        "{'k': 1} AS struct UNION ALL SELECT 'a longer one', 12.25, NULL, false, [], {'k': 2}"
    )
    assert written(con, statement).splitlines() == [
        "name         |  size | nothing | yes   | list      | struct",
        "-------------+-------+---------+-------+-----------+-------",
        "x            |  1.50 | NULL    | true  | [a, NULL] | {k: 1}",
        "a longer one | 12.25 | NULL    | false | []        | {k: 2}",
    ]


def test_no_rows_show_the_columns(con: memql.Connection) -> None:
    assert written(con, "SELECT 1 AS a WHERE false").splitlines() == ["a", "-"]


def test_a_long_text_is_folded_and_nothing_of_it_is_lost(con: memql.Connection) -> None:
    words = " ".join(f"word{n}" for n in range(60))
    lines = written(con, f"SELECT '{words}' AS content, 1 AS n").splitlines()
    assert max(len(one) for one in lines) < 100
    assert " ".join(one.split("|")[0].strip() for one in lines[2:]) == words
    unbroken = "x" * 300
    folded = written(con, f"SELECT '{unbroken}' AS content").splitlines()[2:]
    assert "".join(folded) == unbroken


def test_control_characters_are_shown_and_not_sent(con: memql.Connection) -> None:
    for show in (written, on_terminal):
        shown = show(con, "SELECT 'a' || chr(27) || '[31mb' || chr(7) AS x, '[bold]m[/]' AS y")
        assert "a\\x1b[31mb\\x07" in shown
        assert "\x1b[31m" not in shown
        assert "[bold]m[/]" in shown


def test_a_terminal_gets_a_frame_and_the_number_of_rows(con: memql.Connection) -> None:
    shown = on_terminal(con, "SELECT 1 AS a UNION ALL SELECT 2")
    assert "\u256d" in shown
    assert "2 rows, 0.01 s" in shown
    assert "\u256d" not in written(con, "SELECT 1 AS a")


def test_rows_too_wide_for_the_terminal_become_records(con: memql.Connection) -> None:
    con.execute("INSERT INTO memories (content) VALUES ('It rains.'), ('It snows.')")
    shown = on_terminal(con, "SELECT * FROM memories")
    assert "-- row 2" in shown
    assert "It snows." in shown
    assert "created_at" in shown
    assert "-- row" not in on_terminal(con, "SELECT content, owner FROM memories")


def test_a_prompt_is_shown_as_its_text(con: memql.Connection) -> None:
    con.execute("INSERT INTO memories (content) VALUES ('It rains.')")
    statement = "SELECT content FROM memories MATERIALIZE AS PLAINTEXT"
    assert "- It rains." in written(con, statement)
    (row,) = json.loads(written(con, statement, "json"))
    assert len(row["materialized"]) == 36
    assert row["form"] == "PLAINTEXT"


def test_a_long_list_is_whole_in_a_pipe_and_short_on_a_terminal(con: memql.Connection) -> None:
    statement = "SELECT range(20) AS n"
    assert "18, 19]" in written(con, statement)
    assert "[0, 1, 2, 3, 4, 5, 6, 7, ... 12 more]" in on_terminal(con, statement)


def test_a_plan_is_its_lines(con: memql.Connection) -> None:
    shown = written(con, "EXPLAIN SELECT generate('Who?') FROM memories WHERE owner = 'x'")
    assert shown.startswith("Finish\n")
    assert "plan" not in shown.splitlines()[0]
    assert max(len(one) for one in shown.splitlines()) > 80  # not folded


def test_what_a_change_did_is_told_on_a_terminal_only(con: memql.Connection) -> None:
    statement = "INSERT INTO memories (content) VALUES ('It rains.')"
    assert "1 memory written, 0.01 s" in on_terminal(con, statement)
    assert written(con, statement) == ""
    assert written(con, statement, "csv") == ""


VALUES = (
    "SELECT 1 AS i, 1.5::DOUBLE AS d, 2.50::DECIMAL(9, 2) AS m, 'a,\"b\"' AS s, NULL AS n, "
    "true AS b, [1, 2] AS l, {'k': 'v'} AS t, DATE '2025-01-02' AS day, "
    "TIMESTAMPTZ '2025-01-02 03:04:05+00' AS at, '{\"a\": [1]}'::JSON AS j, "
    "'nan'::DOUBLE AS nan, uuid '01a204c5-5e6b-7000-b07f-810cb125500f' AS id"
)


def test_json(con: memql.Connection) -> None:
    expected = {
        "i": 1,
        "d": 1.5,
        "m": 2.5,
        "s": 'a,"b"',
        "n": None,
        "b": True,
        "l": [1, 2],
        "t": {"k": "v"},
        "day": "2025-01-02",
        "at": "2025-01-02T03:04:05+00:00",
        "j": {"a": [1]},
        "nan": None,
        "id": "01a204c5-5e6b-7000-b07f-810cb125500f",
    }
    assert json.loads(written(con, VALUES, "json")) == [expected]
    twice = written(con, f"{VALUES} UNION ALL {VALUES}", "jsonl").splitlines()
    assert [json.loads(one) for one in twice] == [expected, expected]
    assert json.loads(written(con, f"{VALUES} UNION ALL {VALUES}", "json")) == [expected] * 2
    assert json.loads(written(con, "SELECT 1 AS a WHERE false", "json")) == []


def test_csv(con: memql.Connection) -> None:
    head, row = csv.reader(io.StringIO(written(con, VALUES, "csv")))
    found = dict(zip(head, row, strict=True))
    assert found["s"] == 'a,"b"'
    assert found["n"] == ""
    assert found["b"] == "true"
    assert found["l"] == "[1, 2]"
    assert json.loads(found["j"]) == {"a": [1]}
    assert found["at"] == "2025-01-02T03:04:05+00:00"
