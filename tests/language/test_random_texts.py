"""Random texts: the parser gives a tree that prints back, or an error of MemQL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from memql.dialect import MemQL
from memql.dialect.words import MEMQL_WORDS, SQL_WORDS
from memql.errors import Error
from memql.parser import parse
from tests.language.test_dialect import CANONICAL, SPELLINGS
from tests.language.trees import statements
from tests.soak import examples

SIGNS = "( ) , . ; = => := :: -> + - * / [ ] { } ? $x 'text' \"name\" 1 2000 x y t memories".split()
TEXTS = [*CANONICAL, *SPELLINGS]

words = st.lists(st.sampled_from([*MEMQL_WORDS, *SQL_WORDS, *SIGNS]), max_size=14).map(" ".join)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """Draw a statement with a word left out, put in, or put elsewhere."""
    parts = draw(st.sampled_from(TEXTS)).split()
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(parts) - 1))
        change = draw(st.sampled_from(["drop", "insert", "swap", "cut"]))
        if change == "insert":
            parts.insert(place, draw(st.sampled_from([*MEMQL_WORDS, *SIGNS])))
        elif change == "swap":
            other = draw(st.integers(0, len(parts) - 1))
            parts[place], parts[other] = parts[other], parts[place]
        elif change == "cut":
            parts[place] = parts[place][: draw(st.integers(0, 3))]
        elif len(parts) > 1:
            del parts[place]
    return " ".join(parts)


def survives(text: str) -> bool:
    """Parse a text; tell whether it is a statement, and check that it prints back if so."""
    try:
        tree = parse(text)
    except Error as error:
        assert str(error)
        return False
    assert not list(tree.find_all(exp.Command))
    printed = tree.sql(dialect=MemQL)
    assert parse(printed).sql(dialect=MemQL) == printed
    return True


@examples(80)
@given(st.text(max_size=40) | words)
def test_no_text_breaks_the_parser(text: str) -> None:
    survives(text)


@examples(80)
@given(damaged())
def test_no_damaged_statement_breaks_the_parser(text: str) -> None:
    survives(text)


@examples(60)
@given(statements, st.integers(0, 200), st.integers(1, 9))
def test_no_hole_in_a_statement_breaks_the_parser(tree: exp.Expr, place: int, size: int) -> None:
    text = tree.sql(dialect=MemQL)
    survives(text[:place] + text[place + size :])


def test_a_whole_statement_survives() -> None:
    assert all(survives(text) for text in TEXTS)


def test_a_printer_that_loses_something_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exp.Select, "sql", lambda self, **_: "SELECT (")
    with pytest.raises(Error):
        survives("SELECT 1")
