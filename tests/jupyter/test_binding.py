"""Values of Python in a statement: bound, never pasted."""

from __future__ import annotations

from typing import Any

import pytest

import memql
from memql.jupyter.binding import bind

VARIABLES: dict[str, Any] = {"n": 3, "who": "Robert'); DROP TABLE t; --", "d": {"a": {"b": 7}}}


@pytest.mark.parametrize(
    ("statement", "written", "values"),
    [
        ("SELECT :n", "SELECT $n", {"n": 3}),
        ("SELECT :n + :n", "SELECT $n + $n", {"n": 3}),
        ("WHERE a = :who", "WHERE a = $who", {"who": VARIABLES["who"]}),
        ("SELECT (:n), [:n, :n]", "SELECT ($n), [$n, $n]", {"n": 3}),
        ("SELECT {'a': :n}", "SELECT {'a': $n}", {"n": 3}),
        ("SELECT {{n + 1}}", "SELECT $value_1", {"value_1": 4}),
        ("{{ d['a'] }} {{len(who)}}", "$value_1 $value_2", {"value_1": {"b": 7}, "value_2": 26}),
        ("{{ {'x': {'y': n}}['x'] }}", "$value_1", {"value_1": {"y": 3}}),
        ("{{ '}}' }}", "$value_1", {"value_1": "}}"}),
        ("{{[i for i in range(n)]}}", "$value_1", {"value_1": [0, 1, 2]}),
    ],
)
def test_values_become_parameters(statement: str, written: str, values: dict[str, Any]) -> None:
    assert bind(statement, VARIABLES) == (written, values)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT ':n {{n}}'",
        "SELECT 1 -- :n {{n}}",
        "SELECT /* :n {{n}} */ 1",
        'SELECT ":n"',
        "SELECT $$ :n {{n}} $$",
        "SELECT x::n",
        "SELECT f(a := n, b :=n)",
        "SELECT l[1:n], l[:n], l[ :n], l[f(1) :n], (l)[-1 :n]",
        "SELECT {'n':n, a:n, 'b' :n}",
        "SELECT {'a': {'b': 1}}",
        "SELECT list_transform(l, lambda x: x + 1)",
    ],
)
def test_what_is_sql_is_left_alone(statement: str) -> None:
    assert bind(statement, VARIABLES) == (statement, None)


def test_a_value_never_becomes_sql() -> None:
    with memql.connect() as con:
        con.execute("CREATE TABLE t (a VARCHAR)")
        con.execute(*bind("INSERT INTO t VALUES (:who), ({{who}})", VARIABLES))
        rows = con.execute("SELECT DISTINCT a FROM t").fetchall()
        assert rows == [(VARIABLES["who"],)]


@pytest.mark.parametrize(
    ("statement", "told", "code"),
    [
        ("SELECT :missing", "no Python variable is called missing", "42P02"),
        ("SELECT {{1 +}}", "is no Python expression between {{ and }}", "42601"),
        ("SELECT {{n", "is no Python expression between {{ and }}", "42601"),
        ("SELECT {{1 / 0}}", "{{1 / 0}} fails in Python: ZeroDivisionError", "22023"),
        ("SELECT {{missing}}", "{{missing}} fails in Python: NameError", "22023"),
    ],
)
def test_what_cannot_be_bound_says_why(statement: str, told: str, code: str) -> None:
    with pytest.raises(memql.InterfaceError) as raised:
        bind(statement, VARIABLES)
    assert told in raised.value.message
    assert raised.value.code == code
