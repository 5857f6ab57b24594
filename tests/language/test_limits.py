"""What is too much is a syntax error: no text makes the parser or the printer run out of stack."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from sqlglot import exp

from memql.dialect import MemQL
from memql.errors import ProgrammingError
from memql.nesting import MAX_LEVELS, SAFE_LEVELS, check_nesting, levels
from memql.parser import MAX_STATEMENT_BYTES, MAX_STATEMENT_NODES, parse

CHAINS = {
    "AND": "SELECT 1 FROM t WHERE " + " AND ".join(["x = 1"] * 4_500),
    "OR": "SELECT 1 FROM t WHERE " + " OR ".join(["x"] * 5_000),
    "AND and OR": "SELECT 1 FROM t WHERE " + "x AND y OR " * 2_000 + "z",
    "UNION ALL": " UNION ALL ".join(["SELECT 1"] * 2_000),
    "set operations": " UNION ALL SELECT 2 EXCEPT ".join(["SELECT 1"] * 800),
    "WITH": "WITH a0 AS (SELECT 1 AS x), "
    + ", ".join(f"a{n} AS (SELECT * FROM a{n - 1})" for n in range(1, 400))
    + " SELECT * FROM a399",
    "joins": "SELECT 1 FROM t" + " JOIN t ON true" * 3_000,
    "tables": "SELECT 1 FROM t" + ", t" * 5_000,
    "columns": "SELECT " + "x," * 9_000 + "x",
    "sum": "SELECT " + " + ".join(["1"] * 5_000),
    "texts": "SELECT " + " || ".join(["'a'"] * 5_000),
    "WHEN": "SELECT CASE " + "WHEN x THEN y " * 3_000 + "END",
    "rows": "INSERT INTO memories (content) VALUES " + ",".join(["('a')"] * 4_000),
    "parameters": "SELECT " + "$x," * 4_000 + "1",
    "subqueries": "SELECT * FROM " + "(SELECT * FROM " * 25 + "t" + ") AS x" * 25,
    "LIMIT": "SELECT 1 FROM (SELECT 1) LIMIT "
    + "(SELECT 1 FROM (SELECT 1) LIMIT " * 25
    + "1"
    + ")" * 25,
    "casts": "SELECT x" + "::INT" * 20,
    "NOT": "SELECT " + "NOT " * 40 + "x",
}
TOO_DEEP = {
    "parentheses": "SELECT " + "(" * 500 + "1" + ")" * 500,
    "brackets": "SELECT " + "[" * 500 + "1" + "]" * 500,
    "structs": "SELECT " + "{'a': " * 55 + "1" + "}" * 55,
    "functions": "SELECT " + "abs(" * 59 + "1" + ")" * 59,
    "60 parentheses": "SELECT " + "(" * 60 + "1" + ")" * 60,
    "casts": "SELECT x" + "::INT" * 5_000,
    "CAST": "SELECT " + "CAST(" * 55 + "x" + " AS INT)" * 55,
    "NOT": "SELECT " + "NOT " * 5_000 + "true",
    "minus": "SELECT " + "- " * 5_000 + "1",
    "CASE": "SELECT " + "CASE WHEN true THEN " * 500 + "1" + " END" * 500,
    "ELSE": "SELECT " + "CASE WHEN true THEN 1 ELSE " * 100 + "1" + " END" * 100,
    "dots": "SELECT " + ".".join(["a"] * 5_000),
    "indexes": "SELECT x" + "[1]" * 2_000,
    "BETWEEN": "SELECT x" + " BETWEEN 1 AND 2" * 2_000,
    "IN": "SELECT x" + " IN (1)" * 2_000,
    "signs": "SELECT " + "1 + 1 - " * 2_000 + "1",
    "powers": "SELECT " + " ** ".join(["1"] * 3_000),
    "IS DISTINCT": "SELECT " + " IS DISTINCT FROM ".join(["x"] * 2_000),
    "types": "SELECT x::INT" + "[]" * 3_000,
    "lambdas": "SELECT list_transform(x, " + "y -> " * 2_000 + "1)",
    "FROM": "FROM " * 2_000 + "t",
    "joins": "SELECT 1 FROM t" + " JOIN t" * 1_500 + " ON true" * 1_500,
    "assignments": "SELECT " + ":=".join(["x"] * 3_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("text", CHAINS.values(), ids=CHAINS)
def test_long_chains_are_read_and_printed(text: str) -> None:
    tree = parse(text)
    assert parse(tree.sql(dialect=MemQL)) == tree


@pytest.mark.parametrize("text", TOO_DEEP.values(), ids=TOO_DEEP)
def test_too_deep_is_a_clear_error(text: str) -> None:
    with pytest.raises(ProgrammingError, match="nested (too deeply|deeper than)") as caught:
        parse(text)
    assert len(str(caught.value)) < 3_000
    assert caught.value.hint is not None


def deep_in_the_stack(calls: int, action: Callable[[], object]) -> object:
    return action() if calls == 0 else deep_in_the_stack(calls - 1, action)


@pytest.mark.parametrize("casts", range(10, 60, 7))
def test_what_is_read_can_be_printed_by_a_caller_that_is_deeper(casts: int) -> None:
    try:
        tree = parse("SELECT x" + "::INT" * casts)
    except ProgrammingError:
        return
    assert deep_in_the_stack(80, lambda: parse(tree.sql(dialect=MemQL))) == tree


def test_a_tree_that_cannot_be_printed_is_noticed() -> None:
    # The negative control: sqlglot reads this, and its printer runs out of stack.
    (tree,) = MemQL().parse("SELECT x" + "::INT" * 1_000)
    assert tree is not None
    with pytest.raises(RecursionError):
        tree.sql(dialect=MemQL)
    with pytest.raises(ProgrammingError, match="nested too deeply"):
        check_nesting(tree, parse)


def test_a_tree_whose_text_cannot_be_read_is_noticed() -> None:
    tree: exp.Expr = exp.column("x")
    for _ in range(60):
        tree = exp.Cast(this=tree, to=exp.DataType.build("INT"))
    tree = exp.select(tree)
    assert SAFE_LEVELS < levels(tree) < MAX_LEVELS
    with pytest.raises(ProgrammingError, match="nested too deeply"):
        check_nesting(tree, parse)
    check_nesting(tree, lambda text: None)


def test_brackets_inside_texts_are_none() -> None:
    parse("SELECT " + "'(', " * 100 + "1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT '" + "x" * MAX_STATEMENT_BYTES + "'", "at most 65,536 are accepted"),
        ("SELECT " + "1," * 30_000 + "1", "at most 20,000 are accepted"),
    ],
    ids=["bytes", "words"],
)
def test_too_much_is_a_clear_error(text: str, message: str) -> None:
    with pytest.raises(ProgrammingError, match=message):
        parse(text)


def test_the_number_of_nodes_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    parse("SELECT " + "x = 1, " * 99 + "1")
    monkeypatch.setattr("memql.parser.MAX_STATEMENT_NODES", 50)
    with pytest.raises(ProgrammingError, match="at most 50 columns, operators and clauses"):
        parse("SELECT " + "x = 1, " * 99 + "1")


def test_no_text_of_20000_words_reaches_the_cap_of_nodes() -> None:
    text = "SELECT " + "-x=-x," * 3_300 + "1"
    parser = MemQL().parser(max_nodes=MAX_STATEMENT_NODES)
    parser.parse(MemQL().tokenize(text), text)
    assert MAX_STATEMENT_NODES / 2 < parser._node_count < MAX_STATEMENT_NODES


def steps_of(text: str) -> int:
    """Return how many Python calls it takes to parse a text."""
    steps = 0

    def count(*_: object) -> None:
        nonlocal steps
        steps += 1

    sys.setprofile(count)
    try:
        parse(text)
    finally:
        sys.setprofile(None)
    return steps


def growth(nested: str) -> float:
    """Return how much more work a text that is nested twice as deep makes."""
    texts = ["1"]
    for _ in range(8):
        texts.append(nested.format(texts[-1]))
    few, many = (steps_of(f"SELECT 1 FROM (SELECT 1) LIMIT {texts[depth]}") for depth in (4, 8))
    return many / few


@pytest.mark.parametrize("nested", ["(SELECT 1 LIMIT {})", "(SELECT 1 FROM (SELECT 1) LIMIT {})"])
def test_nesting_does_not_double_the_work(nested: str) -> None:
    # Counted, not timed. sqlglot tries LIMIT as a clause and reads it again behind an alias.
    assert growth(nested) < 4


def test_work_that_doubles_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(MemQL.Parser, "_can_parse_limit_or_offset")
    assert growth("(SELECT 1 FROM (SELECT 1) LIMIT {})") > 8
