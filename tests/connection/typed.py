"""What type checkers know of the connector: read by mypy with the rest, and by `test_typing.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, assert_type

import memql
from memql.rows import class_row, dict_row, namedtuple_row, scalar_row


@dataclass
class Fact:
    content: str


def rows_have_the_type_of_their_factory() -> None:
    con = memql.connect()
    assert_type(con, memql.Connection[tuple[Any, ...]])
    assert_type(con.execute("SELECT 1").fetchone(), tuple[Any, ...] | None)
    assert_type(con.execute("SELECT 1").fetchall(), list[tuple[Any, ...]])
    assert_type(con.cursor(dict_row), memql.Cursor[dict[str, Any]])
    assert_type(con.cursor(dict_row).execute("SELECT 1").fetchmany(2), list[dict[str, Any]])
    assert_type(con.cursor(class_row(Fact)).execute("SELECT 1").fetchone(), Fact | None)
    assert_type(con.cursor(namedtuple_row).execute("SELECT 1").fetchall(), list[NamedTuple])
    for row in con.cursor(class_row(Fact)).execute("SELECT 1"):
        assert_type(row, Fact)
    con.row_factory = tuple_of


def tuple_of(cursor: memql.Cursor[Any]) -> memql.rows.RowMaker[tuple[Any, ...]]:
    return lambda values: values


def a_connection_keeps_its_factory() -> None:
    con = memql.connect(":memory:", user="ann", row_factory=dict_row)
    assert_type(con, memql.Connection[dict[str, Any]])
    with con as same, same.transaction() as still:
        assert_type(still, memql.Connection[dict[str, Any]])
    assert_type(con.execute("SELECT 1").fetchone(), dict[str, Any] | None)
    assert_type(con.cursor(scalar_row).execute("SELECT 1").fetchone(), Any | None)


def names_without_parameters_mean_tuples(con: memql.Connection, cur: memql.Cursor) -> None:
    assert_type(con.cursor(), memql.Cursor[tuple[Any, ...]])
    assert_type(cur.fetchone(), tuple[Any, ...] | None)
    assert_type(cur.rowcount, int)
    assert_type(con.ingest("memories", cur), int)


def values(answer: memql.Answer, prompt: memql.Prompt, activation: memql.Activation) -> None:
    assert_type(answer.upper(), str)
    assert_type(answer.reused_tokens, int | None)
    assert_type(prompt.messages(), list[dict[str, str]])
    assert_type(activation.generate("Where?"), str)


def errors() -> None:
    try:
        memql.connect()
    except memql.Error as error:
        assert_type(error.code, str)
        assert_type(error.hint, str | None)
