"""Lineage: what is proven, what is not, and what the rows of a prompt are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from uuid import UUID

import duckdb
import pyarrow as pa
import pytest

import memql
from memql.engine.bind.functions import ALLOWED_FUNCTIONS
from memql.engine.bind.shape import has_aggregate
from memql.engine.prompt import Member, read_members
from memql.parser import parse

pytestmark = pytest.mark.slow

FACTS = ["tea", "rye", "ale"]


@pytest.fixture
def con() -> Iterator[memql.Connection]:
    connection = memql.connect(":memory:")
    for number, content in enumerate(FACTS):
        connection.execute(
            "INSERT INTO memories (content, kind, importance) VALUES (?, ?, ?)",
            [content, "odd" if number % 2 else "even", number / 10],
        )
    yield connection
    connection.close()


def _prompt(con: memql.Connection, query: str) -> memql.Prompt:
    row = con.execute(f"{query} MATERIALIZE AS PLAINTEXT").fetchone()
    assert row is not None and isinstance(row[0], memql.Prompt)
    return row[0]


def _unproven(con: memql.Connection, query: str) -> bool:
    plan = [line for (line,) in con.execute(f"EXPLAIN {query} MATERIALIZE AS ACTIVATION")]
    return any("lineage: not proven" in line for line in plan)


@pytest.mark.parametrize(
    ("query", "rows", "members"),
    [
        ("SELECT content FROM memories WHERE kind = 'even'", ["tea", "ale"], [1, 1]),
        ("SELECT * FROM memories", ["tea", "rye", "ale"], [1, 1, 1]),
        ("SELECT upper(content) FROM memories AS m WHERE kind = 'odd'", ["RYE"], [1]),
        ("SELECT DISTINCT kind FROM memories", ["even", "odd"], [2, 1]),
        ("SELECT kind, count(*) AS n FROM memories GROUP BY kind", None, [2, 1]),
        ("SELECT max(content) FROM memories HAVING count(*) > 1", ["tea"], [3]),
        ("SELECT 'x' FROM memories HAVING true", ["x"], [3]),
        (
            "SELECT a.content || b.content FROM memories a JOIN memories b ON a.id < b.id "
            "WHERE a.kind = b.kind",
            ["teaale"],
            [2],
        ),
        ("SELECT m.content FROM memories m LEFT JOIN memories n ON false", FACTS, [1, 1, 1]),
        ("SELECT content FROM memories a SEMI JOIN memories b USING (kind)", FACTS, [1, 1, 1]),
        ("WITH w AS (SELECT * FROM memories) SELECT content FROM w", FACTS, [1, 1, 1]),
        ("SELECT content FROM (SELECT * FROM memories) LIMIT 9", FACTS, [1, 1, 1]),
        (
            "SELECT content FROM memories UNION ALL BY NAME SELECT kind FROM memories "
            "WHERE kind = 'odd'",
            ["content: tea", "content: rye", "kind: odd", "content: ale"],
            [1, 1, 1, 1],
        ),
        ("SELECT * FROM range(2)", ["0", "1"], [0, 0]),
        ("SELECT content FROM memories UNION SELECT 'tea' AS c", FACTS, [1, 1, 1]),
        ("SELECT kind FROM memories UNION SELECT kind FROM memories", ["even", "odd"], [2, 1]),
        (
            "WITH w AS (FROM memories) SELECT * FROM w UNION SELECT * FROM w ORDER BY content",
            ["ale", "rye", "tea"],
            [1, 1, 1],
        ),
        (
            "SELECT content AS a FROM memories UNION BY NAME SELECT kind AS b FROM memories",
            None,
            [1, 2, 1, 1, 1],
        ),
        ("SELECT kind FROM memories INTERSECT SELECT kind FROM memories LIMIT 1", None, [2]),
        ("SELECT content FROM memories EXCEPT SELECT 'tea'", ["rye", "ale"], [1, 1]),
        ("SELECT kind FROM memories EXCEPT SELECT 'odd' ORDER BY 1", ["even"], [2]),
        ("(SELECT kind FROM memories EXCEPT SELECT 'odd') UNION ALL SELECT 'x'", None, [2, 0]),
        ("SELECT unnest([content, kind]) FROM memories WHERE kind = 'odd'", None, [1, 1]),
        ("SELECT DISTINCT unnest([kind]) AS k FROM memories ORDER BY k", ["even", "odd"], [2, 1]),
        ("SELECT u FROM memories, unnest([content]) AS t(u)", FACTS, [1, 1, 1]),
        ("SELECT t FROM memories AS m, LATERAL (SELECT m.content AS t) AS l", FACTS, [1, 1, 1]),
        (
            "SELECT l.c FROM memories AS m, LATERAL "
            "(SELECT n.content AS c FROM memories AS n WHERE n.id > m.id) AS l",
            ["rye", "ale", "ale"],
            [2, 2, 2],
        ),
        ("SELECT max(COLUMNS(*)) FROM (SELECT content AS c FROM memories)", ["tea"], [3]),
        ("SELECT DISTINCT ON (kind) content FROM memories ORDER BY kind, content", None, [1, 1]),
        (
            "SELECT DISTINCT kind, count(*) AS n FROM memories GROUP BY kind, id ORDER BY kind",
            ["kind: even; n: 1", "kind: odd; n: 1"],
            [2, 1],
        ),
        (
            "SELECT DISTINCT m.kind, lag(kind) OVER (ORDER BY id) AS before FROM memories AS m "
            "ORDER BY m.kind, before NULLS FIRST",
            ["kind: even", "kind: even; before: odd", "kind: odd; before: even"],
            [1, 2, 2],
        ),
        (
            "SELECT DISTINCT kind FROM memories QUALIFY row_number() OVER (ORDER BY id) < 3 "
            "ORDER BY ALL",
            ["even", "odd"],
            [1, 1],
        ),
        (
            "SELECT content, lag(content, 1, 'none') OVER (ORDER BY id) AS before FROM memories",
            [
                "content: tea; before: none",
                "content: rye; before: tea",
                "content: ale; before: rye",
            ],
            [1, 2, 2],
        ),
        (
            "SELECT first_value(content) OVER w AS f FROM memories "
            "WINDOW w AS (PARTITION BY kind ORDER BY id)",
            ["tea", "rye", "tea"],
            [1, 1, 2],
        ),
        (
            "SELECT string_agg(content, '+') OVER w FROM memories "
            "WINDOW w AS (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)",
            ["tea", "tea+rye", "rye+ale"],
            [1, 2, 2],
        ),
        (
            "SELECT kind, max(count(*)) OVER (ORDER BY kind ROWS 1 PRECEDING) FROM memories "
            "GROUP BY kind",
            None,
            [2, 3],
        ),
        (
            "SELECT content FROM (SELECT content, row_number() OVER (PARTITION BY kind "
            "ORDER BY id DESC) AS n FROM memories) WHERE n = 1",
            ["rye", "ale"],
            [1, 1],
        ),
        (
            "WITH w AS (SELECT content, rank() OVER (ORDER BY id) AS n FROM memories) "
            "SELECT content FROM w WHERE n = 1",
            ["tea"],
            [1],
        ),
        ("SELECT content FROM memories QUALIFY rank() OVER (ORDER BY id) = 1", ["tea"], [1]),
        ("SELECT content, (SELECT count(*) FROM range(3)) FROM memories", None, [1, 1, 1]),
        ("WITH w(a, b) AS (SELECT content, kind FROM memories) SELECT a FROM w", FACTS, [1, 1, 1]),
        ("WITH w(a) AS (SELECT content, 1 FROM memories) SELECT a FROM w", FACTS, [1, 1, 1]),
        ("SELECT x FROM (SELECT content FROM memories) AS t(x)", FACTS, [1, 1, 1]),
        ("WITH w AS (SELECT content FROM memories) SELECT x FROM w AS t(x)", FACTS, [1, 1, 1]),
        (
            "WITH RECURSIVE t(n, c) AS (SELECT 1, content FROM memories WHERE content = 'tea' "
            "UNION ALL SELECT n + 1, c || m.content FROM t, memories AS m "
            "WHERE round(m.importance * 10) = n) SELECT c FROM t",
            ["tea", "tearye", "tearyeale"],
            [1, 2, 3],
        ),
        ("SELECT content FROM memories NATURAL JOIN (SELECT id FROM memories)", FACTS, [1, 1, 1]),
        (
            "SELECT a.content || b.content FROM memories AS a ASOF JOIN memories AS b "
            "ON a.importance > b.importance",
            ["ryetea", "alerye"],
            [2, 2],
        ),
        (
            "SELECT a.content FROM (memories AS a JOIN memories AS b USING (kind)) "
            "JOIN memories AS c ON a.id = c.id WHERE a.kind = 'odd'",
            ["rye"],
            [1],
        ),
        ("FROM memories AS a JOIN memories AS b ON a.id < b.id SELECT a.content", None, [2, 2, 2]),
        ("WITH w AS (SELECT id FROM memories) FROM memories WHERE id IN (FROM w)", None, [1, 1, 1]),
        (
            "WITH w AS (SELECT id, count(*) OVER () AS n FROM memories) "
            "SELECT content FROM memories WHERE id IN (SELECT id FROM w WHERE n = 3)",
            FACTS,
            [1, 1, 1],
        ),
        (
            "SELECT content FROM memories AS m WHERE EXISTS "
            "(FROM (SELECT id FROM memories) AS a NATURAL JOIN memories AS b WHERE b.id = m.id)",
            FACTS,
            [1, 1, 1],
        ),
        ("SELECT COLUMNS(*) FROM (SELECT content FROM memories ORDER BY content)", None, [1, 1, 1]),
        ("SELECT content FROM memories ORDER BY ALL", ["ale", "rye", "tea"], [1, 1, 1]),
        ("SELECT content FROM memories ORDER BY content", ["ale", "rye", "tea"], [1, 1, 1]),
        ("SELECT content FROM memories ORDER BY importance DESC LIMIT 2", ["ale", "rye"], [1, 1]),
    ],
)
def test_proven(
    con: memql.Connection, query: str, rows: list[str] | None, members: list[int]
) -> None:
    assert not _unproven(con, query)
    row = con.execute(f"{query} MATERIALIZE AS PLAINTEXT").fetchone()
    assert row is not None
    if rows is not None:
        assert list(row[0].rows) == rows
    assert [len(ids) for ids in row[8]] == members


@pytest.mark.parametrize(
    "query",
    [
        "SELECT content, row_number() OVER () FROM memories",
        "SELECT content || (SELECT max(content) FROM memories) FROM memories",
        "SELECT u FROM unnest((SELECT list(content) FROM memories)) t(u)",
        "SELECT * FROM range((SELECT count(*) FROM memories))",
        "SELECT v FROM (VALUES ((SELECT max(content) FROM memories))) t(v)",
        "SELECT COLUMNS('con.*') FROM memories",
        "SELECT * LIKE 'con%' FROM memories",
        "SELECT memories FROM memories",
        "SELECT content FROM memories EXCEPT ALL SELECT 'tea'",
        "SELECT b.content FROM memories AS a POSITIONAL JOIN memories AS b",
        "SELECT COLUMNS('con.*') FROM (FROM memories ORDER BY content)",
        "SELECT v FROM (SELECT content FROM memories ORDER BY content) AS v",
        "SELECT content, content FROM memories UNION SELECT kind, kind FROM memories",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION SELECT n + 1 FROM t WHERE n < 3) FROM t",
        "WITH RECURSIVE t(k) AS (SELECT kind FROM memories UNION ALL "
        "SELECT (SELECT max(content) FROM memories) FROM t WHERE k = 'odd') FROM t",
        "SELECT content, sum(importance) OVER (ORDER BY id) FROM memories",
        "SELECT content, lag(content IGNORE NULLS) OVER (ORDER BY id) FROM memories",
        "SELECT content, max(kind) OVER (ORDER BY id ROWS 1000 PRECEDING) FROM memories",
        "SELECT * FROM (SELECT content, row_number() OVER (ORDER BY id) AS n FROM memories)",
        "WITH w AS (SELECT content, count(*) OVER () AS n FROM memories) SELECT n FROM w",
        "SELECT n || content FROM (SELECT content, count(*) OVER () AS n FROM memories)",
        "SELECT y FROM (SELECT content AS x, count(*) OVER () AS n FROM memories) AS a, "
        "LATERAL (SELECT n AS y) AS b",
        "SELECT DISTINCT content FROM memories ORDER BY content || 'x'",
        "SELECT 'x' FROM memories ORDER BY count(*)",
        "SELECT COLUMNS('con.*') FROM memories WHERE kind = 'even'",
        "SELECT content, content AS a FROM memories UNION ALL BY NAME "
        "SELECT content, kind AS b FROM memories ORDER BY ALL",
        "SELECT x FROM (SELECT * EXCLUDE (id) FROM memories) AS t(x)",
        "SELECT content FROM memories NATURAL JOIN "
        "(SELECT * REPLACE (id AS id) FROM (SELECT id FROM memories))",
        "SELECT * FROM memories PIVOT (count(*) FOR kind IN ('odd', 'even'))",
    ],
)
def test_not_proven_is_used_and_not_stored(con: memql.Connection, query: str) -> None:
    assert _unproven(con, query)
    row = con.execute(f"{query} MATERIALIZE AS ACTIVATION").fetchone()
    assert row is not None and row[3] > 0
    text = _prompt(con, query).text
    assert "_memql" not in text
    again = con.execute(f"{query} MATERIALIZE AS ACTIVATION").fetchone()
    assert again is not None and again[5] > 0  # computed anew


ORDERED = [
    "SELECT content FROM memories ORDER BY content DESC",
    "SELECT content, kind AS k FROM memories ORDER BY k DESC, content",
    "SELECT content FROM memories ORDER BY 1",
    "SELECT content FROM memories WHERE kind = 'odd' UNION ALL "
    "SELECT content FROM memories WHERE kind = 'even' ORDER BY content",
    "SELECT DISTINCT content FROM memories ORDER BY content",
    "SELECT max(content) AS content FROM memories GROUP BY kind ORDER BY kind DESC",
    "SELECT content FROM (SELECT content FROM memories ORDER BY content)",
    "SELECT content FROM memories ORDER BY importance DESC LIMIT 2",
]


@pytest.mark.parametrize("query", ORDERED)
def test_a_query_over_a_view_reads_it_in_the_views_order(con: memql.Connection, query: str) -> None:
    con.execute(f"CREATE MATERIALIZED VIEW v AS {query} MATERIALIZE AS ACTIVATION")
    con.execute("CREATE MATERIALIZED VIEW w AS SELECT content FROM v MATERIALIZE AS PLAINTEXT")
    expected = [str(row[0]) for row in con.execute(query).fetchall()]
    assert list(_prompt(con, "SELECT content FROM v").rows) == expected
    assert list(_prompt(con, "SELECT content FROM w").rows) == expected
    if "kind AS k" not in query:  # that view's own rows are rendered with k
        answer = con.execute("SELECT generate('q', max_tokens := 1) FROM v").fetchall()[0][0]
        assert answer.computed_tokens == 0


def test_every_allowed_aggregate_is_known_as_one() -> None:
    rows = duckdb.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'"
    ).fetchall()
    aggregates = {name for (name,) in rows} & ALLOWED_FUNCTIONS
    unknown = []
    for name in sorted(aggregates):
        for arguments in ("a", "a, b", "a, 2", "a, b, c"):
            with contextlib.suppress(memql.ProgrammingError):
                if has_aggregate(parse(f"SELECT {name}({arguments})")):
                    break
        else:
            unknown.append(name)
    assert unknown == []


def test_a_limit_without_order_takes_the_same_rows_everywhere(con: memql.Connection) -> None:
    # A changed list column moves the row to the end of DuckDB's table.
    con.execute("UPDATE memories SET tags = ['moved'] WHERE content = 'tea'")
    con.execute("CREATE MATERIALIZED VIEW v AS SELECT content FROM memories LIMIT 1")
    assert con.execute("SELECT content FROM memories LIMIT 1").fetchall() == [("tea",)]
    assert con.execute("SELECT content FROM v").fetchall() == [("tea",)]
    answer = con.execute("SELECT generate('q', max_tokens := 1) FROM v").fetchall()[0][0]
    assert answer.computed_tokens == 0
    copied = con.execute(
        "INSERT INTO memories (content) "
        "SELECT content || '!' FROM memories LIMIT 1 RETURNING content"
    )
    assert copied.fetchall() == [("tea!",)]
    deleted = con.execute(
        "DELETE FROM memories WHERE id IN (SELECT id FROM memories LIMIT 1) RETURNING content"
    )
    assert deleted.fetchall() == [("tea",)]


def test_members_are_read_from_any_part_of_a_column() -> None:
    one, other = UUID(int=1), UUID(int=2)
    rows = [[one, other, one], None, [], [other]]
    fields = {
        "owner": pa.string(),
        "created_at": pa.timestamp("us", "UTC"),
        "id": pa.uuid(),
        "version": pa.int64(),
    }
    numbers = pa.array([number.bytes for row in rows for number in row or ()], pa.binary(16))
    found = pa.ExtensionArray.from_storage(pa.uuid(), numbers)
    count = len(found)
    columns = [["ann"] * count, [7] * count, found, [3] * count]
    structs = pa.StructArray.from_arrays(
        [
            one if isinstance(one, pa.Array) else pa.array(one, kind)
            for one, kind in zip(columns, fields.values(), strict=True)
        ],
        names=[*fields],
    )
    mask = pa.array([row is None for row in rows])
    lists = pa.ListArray.from_arrays(pa.array([0, 3, 3, 3, 4], pa.int32()), structs, mask=mask)
    members = [Member("ann", 7, number, 3) for number in (one, other)]
    expected = [tuple(members), (), (), (members[1],)]
    assert read_members(lists) == expected
    for start in range(5):
        for stop in range(start, 5):
            assert read_members(lists.slice(start, stop - start)) == expected[start:stop]
