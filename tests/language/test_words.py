"""MemQL's words: none is reserved, and the list of them is complete."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable

import pytest
import sqlglot
from sqlglot.errors import SqlglotError

from memql.dialect import MemQL
from memql.dialect.words import MEMQL_WORDS, SQL_WORDS
from memql.engine import syntax
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from tests.test_layout import ROOT

PLACES = (
    "SELECT {0} FROM t",
    "SELECT {0} AS activation FROM t",
    "SELECT x AS {0} FROM t",
    "SELECT x {0} FROM t",
    "SELECT {0}.x, t.{0} FROM {0}",
    "SELECT x FROM t AS {0}",
    "SELECT x FROM t {0} WHERE {0}.x = 1 ORDER BY {0}",
    "SELECT x FROM {0}",
    "SELECT x FROM {0} JOIN u USING ({0})",
    "SELECT s.{0} FROM (SELECT {{{0}: 1}} AS s)",
    "SELECT {{'{0}': x}} FROM t",
    "WITH {0} AS (SELECT 1 AS {0}) SELECT {0} FROM {0}",
    "WITH {0}({0}) AS (SELECT 1) SELECT x FROM {0} AS {0}({0})",
    "INSERT INTO t ({0}) VALUES (1)",
    "UPDATE t SET {0} = 1",
    "DELETE FROM t AS {0} WHERE {0}.{0}",
)


def refused(word: str) -> list[str]:
    """Return the places where DuckDB's grammar has a word as a name and MemQL's has not."""
    wrong = []
    for place in PLACES:
        text = place.format(word)
        try:
            expected = sqlglot.parse_one(text, read=PlainDuckDB)
        except (SqlglotError, AttributeError):
            continue
        try:
            found = sqlglot.parse_one(text, read=MemQL)
        except SqlglotError:
            wrong.append(text)
            continue
        if found != expected:
            wrong.append(text)
    return wrong


@pytest.mark.parametrize("word", sorted({*MEMQL_WORDS, *SQL_WORDS} - {"LIMIT", "OFFSET"}))
def test_no_word_is_reserved(word: str) -> None:
    assert not refused(word.lower())
    assert not refused(f'"{word}"')


def test_a_reserved_word_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memql.dialect.clauses.at_matches", lambda reader: reader.sees("MATCHES"))
    assert refused("matches")


def test_the_places_are_duckdbs() -> None:
    for place in PLACES:
        assert sqlglot.parse_one(place.format("model"), read="duckdb")


@pytest.mark.parametrize("word", sorted({*MEMQL_WORDS}))
def test_a_name_before_materialize(word: str) -> None:
    text = f'SELECT x FROM "{word}" MATERIALIZE AS AUTO'
    assert isinstance(sqlglot.parse_one(text, read=MemQL), syntax.Materialize)


# -- the list is complete ----------------------------------------------------------------------


def words_of(source: str) -> set[str]:
    """Return the upper-case words in the texts of a Python source, error texts left out."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.fullmatch(r"[A-Z]+( [A-Z]+)*", node.value):
                found.update(node.value.split())
    return found


def missing(sources: Iterable[str]) -> set[str]:
    """Return the words of grammars that the list has not."""
    return {word for source in sources for word in words_of(source)} - {*MEMQL_WORDS, *SQL_WORDS}


def test_every_word_of_the_grammar_is_listed() -> None:
    files = [
        path
        for path in sorted((ROOT / "memql" / "dialect").glob("*.py"))
        if path.name not in ("__init__.py", "words.py", "parser.py", "language.py")
    ]
    assert len(files) >= 9
    # Words of other grammars, which are looked for to leave or to refuse them.
    known = {"SAMPLE", "BEFORE", "CHANGES", "INFORMATION"}
    assert not missing(path.read_text("utf-8") for path in files) - known


def test_a_word_that_is_not_listed_is_noticed() -> None:
    assert missing(['reader.take("MATERIALIZE", "FROBNICATE")']) == {"FROBNICATE"}
