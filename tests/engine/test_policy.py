"""The row policy: nothing of another owner's rows is read, evaluated, counted or answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import memql
from memql.errors import Error

FOREIGN = 5_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.memql"
    with memql.connect(path) as con:
        con.execute(
            "INSERT INTO memories (owner, content, kind) "
            f"SELECT 'bob', 'secret ' || i, 'k' || i % 7 FROM range({FOREIGN}) t(i)"
        )
        con.execute(
            "INSERT INTO memories (owner, content, kind) "
            "SELECT 'alice', CAST(i AS VARCHAR), 'k' || i % 7 FROM range(1, 50) t(i)"
        )
    return path


@pytest.fixture
def alice(path: Path) -> Iterator[memql.Connection]:
    with memql.connect(path, user="alice") as con:
        yield con


# Each fails on a row of bob's, wherever DuckDB's optimizer may push it.
PREDICATES = [
    "CAST(m.content AS INTEGER) > 0",
    "m.content::INTEGER BETWEEN 1 AND 1000",
    "m.kind LIKE 'k%' AND CAST(m.content AS INTEGER) > 0",
    "m.id IN (SELECT id FROM memories WHERE CAST(content AS INTEGER) > 0)",
    "EXISTS (SELECT 1 FROM memories o WHERE o.id = m.id AND CAST(o.content AS INTEGER) > 0)",
    "strptime(lpad(m.content, 4, '2000'), '%Y') IS NOT NULL",
]


@pytest.mark.parametrize("predicate", PREDICATES)
def test_no_predicate_is_evaluated_on_anothers_row(
    alice: memql.Connection, path: Path, predicate: str
) -> None:
    for query in (
        f"SELECT count(*) FROM memories m WHERE {predicate}",
        f"SELECT count(*) FROM (SELECT * FROM memories m WHERE {predicate} ORDER BY kind)",
        f"WITH w AS (SELECT * FROM memories m WHERE {predicate}) SELECT count(*) FROM w",
        f"SELECT count(*) FROM memories n JOIN memories m ON n.id = m.id AND {predicate}",
    ):
        assert alice.execute(query).fetchone() == (49,)
    plan = [
        line for (line,) in alice.execute(f"EXPLAIN SELECT m.id FROM memories m WHERE {predicate}")
    ]
    assert "  rows: 49" in plan
    # The control: for a reader of everything the predicate does fail.
    with memql.connect(path) as everybody, pytest.raises(Error):
        everybody.execute(f"SELECT count(*) FROM memories m WHERE {predicate}").fetchall()


def test_answers_read_ones_own_rows_only(alice: memql.Connection) -> None:
    own = {memory for (memory,) in alice.execute("SELECT id FROM memories").fetchall()}
    assert len(own) == 49
    for form in ("PLAINTEXT", "ACTIVATION", "AUTO"):
        rows = alice.execute(
            "SELECT kind, generate('Who?', max_tokens := 1) FROM memories GROUP BY kind "
            f"MATERIALIZE AS {form}"
        ).fetchall()
        assert {memory for _, answer in rows for memory in answer.memory_ids} == own
        made = alice.execute(f"FROM memories MATERIALIZE AS {form}").fetchall()[0][0]
        assert set(made.memory_ids) == own
    text = alice.execute("FROM memories MATERIALIZE AS PLAINTEXT").fetchall()[0][0].text
    assert "secret" not in text


def test_changes_touch_ones_own_rows_only(alice: memql.Connection, path: Path) -> None:
    assert alice.execute("UPDATE memories SET kind = 'mine'").rowcount == 49
    assert alice.execute("DELETE FROM memories").rowcount == 49
    with memql.connect(path) as everybody:
        rows = everybody.execute("SELECT owner, count(*), max(kind) FROM memories GROUP BY owner")
        assert rows.fetchall() == [("bob", FOREIGN, "k6")]
