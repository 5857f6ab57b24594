"""Row factories: tuples, dicts, named tuples, objects and single values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import memql
from memql.rows import (
    RowFactory,
    class_row,
    dict_row,
    namedtuple_row,
    scalar_row,
    tuple_row,
)

QUERY = "SELECT range AS n, 'a' || range AS t FROM range(5)"


@dataclass
class Pair:
    n: int
    t: str


MADE: list[tuple[RowFactory[Any], Callable[[int], Any]]] = [
    (tuple_row, lambda n: (n, f"a{n}")),
    (dict_row, lambda n: {"n": n, "t": f"a{n}"}),
    (class_row(Pair), lambda n: Pair(n, f"a{n}")),
    (scalar_row, lambda n: n),
]


@pytest.mark.parametrize(("factory", "row"), MADE)
def test_all_fetches_give_the_same_rows(
    factory: RowFactory[Any], row: Callable[[int], Any]
) -> None:
    con = memql.connect(row_factory=factory)
    expected = [row(n) for n in range(5)]
    assert con.execute(QUERY).fetchall() == expected
    assert list(con.execute(QUERY)) == expected
    cur = con.execute(QUERY)
    assert [cur.fetchone(), *cur.fetchmany(2), *cur.fetchall()] == expected
    assert cur.fetchone() is None


def test_a_value_that_is_false_does_not_end_the_iteration() -> None:
    con = memql.connect(row_factory=scalar_row)
    assert list(con.execute("SELECT unnest([0, NULL, 3])")) == [0, None, 3]


def test_a_named_tuple_has_the_columns_names() -> None:
    cur = memql.connect().cursor(namedtuple_row)
    cur.execute('SELECT 1 AS n, 2 AS "class", 3 AS "a b", 4 AS _x, 5 AS "1st"')
    row: Any = cur.fetchone()
    assert row == (1, 2, 3, 4, 5)
    assert row._fields == ("n", "fclass", "a_b", "f_x", "f1st")


def test_a_cursor_may_differ_from_its_connection() -> None:
    con = memql.connect(row_factory=dict_row)
    assert con.cursor(scalar_row).execute("SELECT 7 AS n").fetchone() == 7
    assert con.execute("SELECT 7 AS n").fetchone() == {"n": 7}
    cur = con.cursor()
    cur.row_factory = class_row(dict)
    assert cur.execute("SELECT 7 AS m").fetchone() == {"m": 7}


def test_each_result_has_its_own_maker() -> None:
    cur = memql.connect().cursor(dict_row)
    assert cur.execute("SELECT 1 AS a").fetchall() == [{"a": 1}]
    assert cur.execute("SELECT 2 AS b").fetchall() == [{"b": 2}]


@pytest.mark.parametrize("factory", [dict_row, namedtuple_row, class_row(dict)])
def test_two_columns_of_one_name_are_refused(factory: RowFactory[Any]) -> None:
    cur = memql.connect().cursor(factory).execute("SELECT 1 AS a, 2 AS a")
    with pytest.raises(memql.ProgrammingError, match="two are called a") as raised:
        cur.fetchall()
    assert raised.value.code == "42701"


def test_names_that_become_one_are_refused() -> None:
    cur = memql.connect().cursor(namedtuple_row).execute('SELECT 1 AS "a b", 2 AS "a-b"')
    with pytest.raises(memql.ProgrammingError, match="two are called a_b"):
        cur.fetchone()


def test_answers_are_answers_in_every_row() -> None:
    con = memql.connect(row_factory=dict_row)
    con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
    row = con.execute("SELECT generate('Where does Alice live?') AS a FROM memories").fetchone()
    assert row is not None
    assert isinstance(row["a"], memql.Answer)
    assert row["a"].memory_ids
