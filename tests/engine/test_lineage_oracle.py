"""What a row's text depends on, found by trying: it must not be more than its lineage names.

For each memory its text is changed and the query run again. A row whose lineage does not name
that memory must read as it did.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

import memql
from memql.engine.bind import distinct, lineage
from tests.soak import examples

pytestmark = pytest.mark.slow

MEMORIES = [("tea", "odd"), ("rye", "even"), ("ale", "odd"), ("fig", "even"), ("nut", "odd")]
# Texts that other memories have, that sort before and behind them, and that are kinds.
CHANGED = ["tea", "a", "zzz", "odd"]

Texts = dict[tuple[Any, ...], Counter[str]]


@dataclass(frozen=True)
class Random:
    """A random query with the text columns c and k.

    Args:
        many: whether several rows can have one lineage, so that a filter may change which one of
            them is seen, and not what a row says.
    """

    sql: str
    many: bool = False


BASE = [
    Random("SELECT content AS c, kind AS k FROM memories"),
    Random("SELECT content AS c, kind AS k FROM memories WHERE content > 'g'"),
    Random("SELECT content AS c, kind AS k FROM memories ORDER BY id LIMIT 4"),
    Random("SELECT content AS c, kind AS k FROM memories LIMIT 18 TOKENS"),
    Random("SELECT x AS c, 'odd' AS k FROM (VALUES ('tea'), ('box')) AS v(x)", many=True),
]

# One relation inside; the second number says whether it may give rows of one lineage several times.
UNARY = [
    ("SELECT c || '!' AS c, k FROM ({0}) AS t WHERE c < 's'", False),
    ("SELECT * FROM ({0}) AS t ORDER BY ALL", False),
    ("SELECT COLUMNS(*) FROM ({0}) AS t", False),
    ("SELECT max(c) AS c, k FROM ({0}) AS t GROUP BY k", False),
    ("SELECT string_agg(c, '+' ORDER BY c) AS c, k FROM ({0}) AS t GROUP BY ROLLUP (k)", True),
    ("SELECT count(*)::VARCHAR AS c, k FROM ({0}) AS t GROUP BY ALL HAVING count(*) > 1", False),
    ("SELECT unnest([c, k]) AS c, k FROM ({0}) AS t", True),
    ("SELECT u.x AS c, k FROM ({0}) AS t, unnest([t.c, t.k]) AS u(x)", True),
    ("SELECT x AS c, y AS k FROM ({0}) AS t(x, y)", False),
    ("WITH w(x, y) AS ({0}) SELECT y AS c, x AS k FROM w", False),
    (
        "WITH w AS ({0}) SELECT a.c || b.c AS c, a.k AS k FROM w AS a JOIN w AS b USING (k)",
        False,
    ),
    (
        "WITH RECURSIVE r(n, c, k) AS (SELECT 1, c, k FROM ({0}) AS t UNION ALL "
        "SELECT n + 1, r.c || m.content, k FROM r, memories AS m WHERE n < 2 AND m.kind = k) "
        "SELECT c, k FROM r",
        True,
    ),
]

# Which rows there are, or are one, depends on others: not over rows of one lineage.
FILTERS = [
    ("SELECT DISTINCT c, k FROM ({0}) AS t", False),
    ("SELECT DISTINCT max(c) AS c, k FROM ({0}) AS t GROUP BY k, c", False),
    ("SELECT DISTINCT unnest([c, k]) AS c, k FROM ({0}) AS t", True),
    ("SELECT DISTINCT ON (k) c, k FROM ({0}) AS t ORDER BY k, c", False),
    (
        "SELECT c, k FROM (SELECT c, k, row_number() OVER (PARTITION BY k ORDER BY c) AS n "
        "FROM ({0}) AS t) WHERE n < 3",
        False,
    ),
    (
        "WITH w AS (SELECT c, k, count(*) OVER (PARTITION BY k) AS n FROM ({0}) AS t) "
        "SELECT c, k FROM w WHERE n > 1",
        False,
    ),
    ("SELECT c, k FROM ({0}) AS t QUALIFY rank() OVER (ORDER BY c) < 3", False),
]

# Which other row is taken depends on the order of all: only around everything else.
PICKS = [
    ("SELECT lag(c) OVER (ORDER BY c, k) AS c, k FROM ({0}) AS t", True),
    ("SELECT lead(c, 2, 'end') OVER (PARTITION BY k ORDER BY c) AS c, k FROM ({0}) AS t", True),
    ("SELECT first_value(c) OVER (PARTITION BY k ORDER BY c) AS c, c AS k FROM ({0}) AS t", True),
    (
        "SELECT string_agg(c, '+') OVER (ORDER BY c, k ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) "
        "AS c, k FROM ({0}) AS t",
        True,
    ),
    ("SELECT a.c || b.c AS c, a.k AS k FROM ({0}) AS a ASOF JOIN ({1}) AS b ON a.c > b.c", True),
]

BINARY = [
    ("({0}) UNION ALL ({1})", True),
    ("SELECT a.c || b.c AS c, a.k AS k FROM ({0}) AS a JOIN ({1}) AS b ON a.k = b.k", True),
    ("SELECT a.c AS c, b.k AS k FROM (({0}) AS a CROSS JOIN ({1}) AS b)", True),
    (
        "SELECT l.c AS c, a.k AS k FROM ({0}) AS a, LATERAL "
        "(SELECT a.c || b.c AS c FROM ({1}) AS b WHERE b.k = a.k) AS l",
        True,
    ),
]
BINARY_FILTERS = [
    ("({0}) UNION ({1})", True),
    ("({0}) UNION BY NAME (SELECT k, c FROM ({1}) AS t)", True),
    ("({0}) INTERSECT ({1})", False),
    ("({0}) EXCEPT ({1})", False),
    ("SELECT c, k FROM ({0}) AS a WHERE c IN (SELECT c FROM ({1}) AS b)", False),
    ("SELECT c, k FROM ({0}) AS a WHERE NOT EXISTS (FROM ({1}) AS b WHERE b.c > a.c)", False),
    ("SELECT c, k FROM ({0}) AS a SEMI JOIN ({1}) AS b USING (k)", False),
    ("SELECT c, k FROM ({0}) AS a NATURAL JOIN (SELECT k FROM ({1}) AS t) AS b", True),
]


@st.composite
def queries(draw: st.DrawFn, depth: int = 3) -> Random:
    """Return a query over queries."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(BASE))
    first = draw(queries(depth - 1))
    if draw(st.booleans()):
        text, many = draw(st.sampled_from(UNARY if first.many else [*UNARY, *FILTERS]))
        return Random(text.format(first.sql), first.many or many)
    second = draw(queries(depth - 2 if depth > 1 else 0))
    either = first.many or second.many
    text, many = draw(st.sampled_from(BINARY if either else [*BINARY, *BINARY_FILTERS]))
    return Random(text.format(first.sql, second.sql), either or many)


@st.composite
def statements(draw: st.DrawFn) -> Random:
    """Return a query, perhaps with a form around it that takes values of other rows."""
    first, second = draw(queries()), draw(queries(1))
    if first.many or second.many or draw(st.booleans()):
        return first
    text, many = draw(st.sampled_from(PICKS))
    return Random(text.format(first.sql, second.sql), many)


@pytest.fixture(scope="module")
def con() -> Iterator[memql.Connection]:
    with memql.connect() as connection:
        for content, kind in MEMORIES:
            connection.execute(
                "INSERT INTO memories (content, kind) VALUES (?, ?)", [content, kind]
            )
        yield connection


def texts_of(con: memql.Connection, query: str) -> Texts:
    """Return the texts of a query's rows by the memories of their lineage, in its order."""
    row = con.execute(f"{query} MATERIALIZE AS PLAINTEXT").fetchone()
    found: Texts = defaultdict(Counter)
    if row is not None and row[0] is not None:
        for members, text in zip(row[8], row[0].rows, strict=True):
            found[tuple(members)][text] += 1
    return found


def is_proven(con: memql.Connection, query: str) -> bool:
    """Tell whether EXPLAIN calls the lineage of a query proven."""
    plan = con.execute(f"EXPLAIN (COSTS off) {query} MATERIALIZE AS PLAINTEXT").fetchall()
    return not any("not proven" in line for (line,) in plan)


def check(con: memql.Connection, query: str, ids: Sequence[Any]) -> None:
    """Change each memory and compare the rows that do not name it."""
    before = texts_of(con, query)
    for number, memory in enumerate(ids):
        for changed in (CHANGED[number % 4], CHANGED[(number + 1) % 4]):
            con.execute("BEGIN")
            try:
                con.execute("UPDATE memories SET content = ? WHERE id = ?", [changed, memory])
                after = texts_of(con, query)
            finally:
                con.execute("ROLLBACK")
            for members, texts in after.items():
                if memory not in members and members in before:
                    new = _unmerged(texts - before[members], members, before)
                    gone = _unmerged(before[members] - texts, members, after)
                    assert not (new and gone), (query, memory, changed, members)


def _unmerged(texts: Counter[str], members: tuple[Any, ...], others: Texts) -> list[str]:
    """Return the texts that did not stand for equal rows of more memories on the other side."""
    return [
        text
        for text in texts
        if not any(
            text in found and key != members and set(key) >= set(members)
            for key, found in others.items()
        )
    ]


@pytest.fixture(scope="module")
def ids(con: memql.Connection) -> list[Any]:
    return [one for (one,) in con.execute("SELECT id FROM memories ORDER BY created_at, id")]


@examples(10)
@given(query=statements())
def test_texts_depend_on_what_the_lineage_names(
    con: memql.Connection, ids: list[Any], query: Random
) -> None:
    if is_proven(con, query.sql):
        check(con, query.sql, ids)


@examples(20)
@given(query=statements())
def test_tracing_changes_no_row(con: memql.Connection, query: Random) -> None:
    cursor = con.execute(query.sql)
    assert cursor.description is not None
    names = [column[0] for column in cursor.description]
    plain = Counter(
        "; ".join(f"{n}: {v}" for n, v in zip(names, row, strict=True) if v is not None)
        for row in cursor
    )
    traced: Counter[str] = sum(texts_of(con, query.sql).values(), Counter())
    del plain[""]  # a row of NULLs has no text
    assert traced == plain, query.sql


ALL = [text for text, _ in [*UNARY, *FILTERS, *PICKS, *BINARY, *BINARY_FILTERS]]


@pytest.mark.parametrize("text", ALL)
def test_each_form_is_proven(con: memql.Connection, text: str) -> None:
    assert is_proven(con, text.format(BASE[0].sql, BASE[1].sql))


def _none(*_: object, **__: object) -> exp.Expr:
    return lineage._EMPTY.copy()


def _first_source(carriers: list[str]) -> exp.Expr:
    return lineage_over(carriers[:1])


def _one_of_group(row: exp.Expr) -> exp.Expr:
    return exp.Anonymous(this="first", expressions=[row.copy()])


lineage_over = lineage._lineage_over


@pytest.mark.parametrize(
    ("module", "name", "broken", "text"),
    [
        (lineage, "_lineage_over", _first_source, "AS a JOIN ({1})"),
        (lineage, "_lineage_over", _first_source, "LATERAL"),
        (lineage, "_lineage_over", _first_source, "WITH RECURSIVE"),
        (lineage, "_lineage_over", _first_source, "ASOF"),
        (lineage, "collected", _one_of_group, "SELECT max(c) AS c"),
        (lineage, "collected", _one_of_group, "ROLLUP"),
        (distinct, "collected", _none, "SELECT DISTINCT c, k"),
        (distinct, "collected", _none, "({0}) UNION ({1})"),
        (distinct, "collected", _none, "({0}) EXCEPT ({1})"),
        (lineage, "window_lineage", _none, "lag(c)"),
        (lineage, "window_lineage", _none, "first_value(c)"),
        (lineage, "window_lineage", _none, "ROWS BETWEEN"),
    ],
)
def test_the_oracle_notices_a_term_that_is_left_out(
    ids: list[Any],
    con: memql.Connection,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    broken: Callable[..., exp.Expr],
    text: str,
) -> None:
    form = next(one for one in ALL if text in one)
    second = BASE[4] if "EXCEPT" in text else BASE[1]
    query = form.format(BASE[0].sql, second.sql)
    con.execute("SET memql.plan_cache = false")
    try:
        check(con, query, ids)
        monkeypatch.setattr(module, name, broken)
        with pytest.raises(AssertionError):
            check(con, query, ids)
    finally:
        con.execute("RESET memql.plan_cache")
