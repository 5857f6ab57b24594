"""Statements end at semicolons, and only at those."""

from __future__ import annotations

import pytest

from memql.cli.statements import StatementReader


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT ';'",
        "SELECT 'it''s; so'",
        'SELECT ";" FROM t',
        "SELECT $$;$$",
        "SELECT $tag$ ; $$ ; $tag$",
        "SELECT /* ; */ 1",
        "SELECT $a, $b",
    ],
)
def test_a_semicolon_inside_something_else_is_no_end(statement: str) -> None:
    reader = StatementReader()
    assert reader.feed(f"{statement}; {statement};") == [statement, statement]
    assert not reader.pending


def test_a_comment_ends_with_its_line() -> None:
    reader = StatementReader()
    assert reader.feed("SELECT 1 -- not yet ;") == []
    assert reader.feed("+ 2;") == ["SELECT 1 -- not yet ;\n+ 2"]


@pytest.mark.parametrize("begun", ["SELECT 'a", 'SELECT "a', "SELECT /* a", "SELECT $$ a"])
def test_what_is_open_goes_on_in_the_next_line(begun: str) -> None:
    reader = StatementReader()
    assert reader.feed(f"{begun} ;") == []
    assert reader.pending
    assert reader.rest() == f"{begun} ;"
    assert not reader.pending


def test_several_statements_in_one_line_and_empty_ones_between() -> None:
    reader = StatementReader()
    assert reader.feed("SELECT 1;; ; SELECT 2; SELECT") == ["SELECT 1", "SELECT 2"]
    assert reader.feed("3;") == ["SELECT\n3"]
