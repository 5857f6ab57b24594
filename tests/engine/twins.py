"""A MemQL connection and a plain DuckDB that hold the same rows, and how their answers compare."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

import memql
from memql.storage.schema import MEMORY_COLUMNS

# Halves and quarters: sums of them are exact, whatever order they are added in.
TABLES = (
    """CREATE TABLE items (id INTEGER, qty INTEGER, price DECIMAL(8, 2), weight DOUBLE,
    name VARCHAR, made DATE, seen TIMESTAMP, ok BOOLEAN, nums INTEGER[], tags VARCHAR[],
    dims STRUCT(w INTEGER, label VARCHAR), props MAP(VARCHAR, INTEGER), doc JSON)""",
    """CREATE TABLE people (id INTEGER, name VARCHAR, boss INTEGER, born DATE, score DOUBLE,
    active BOOLEAN)""",
    """CREATE TABLE events (id INTEGER, item INTEGER, person INTEGER, "at" TIMESTAMP,
    amount BIGINT, note VARCHAR, lasted INTERVAL)""",
    "CREATE TABLE nothing (id INTEGER, name VARCHAR, born DATE)",
    """INSERT INTO items SELECT i::INTEGER, nullif(i * 7 % 11, 3)::INTEGER, i * 3.25 - 20,
    nullif(i % 6, 4) * 0.25,
    ['Tee', 'ÄPFEL', 'apfel', '漢字', '', NULL, 'O''Brien', '🦆 duck', 'tea']
    [i % 9 + 1], DATE '2024-02-27' + (i % 5)::INTEGER, CASE WHEN i % 8 <> 5 THEN TIMESTAMP
    '2024-01-31 23:30:00' + to_hours(i * 13) END, nullif(i % 3, 2) = 1,
    CASE WHEN i % 7 = 6 THEN NULL ELSE [x % 4 FOR x IN range(i % 5)]::INTEGER[] END,
    [NULL, [], ['a', 'b'], ['b', NULL], ['漢字', 'a', 'a']][i % 5 + 1],
    CASE WHEN i % 9 <> 2 THEN {'w': (i % 4)::INTEGER, 'label': ['x', 'ß', NULL][i % 3 + 1]} END,
    CASE WHEN i % 4 <> 1 THEN MAP {'k': (i % 3)::INTEGER, 'l': i::INTEGER} END,
    ['{"a": 1, "b": [1, 2, {"c": "x"}]}', '{"a": "ü", "b": []}', '[1, 2.5, null]', NULL, '"t"',
    '{"a": null, "d": {"e": true}}'][i % 6 + 1]::JSON FROM range(22) t(i)""",
    """INSERT INTO people SELECT i::INTEGER, ['Ann', 'bob', 'Çem', 'ann', NULL, 'Zoë', 'Ann', 'tea']
    [i % 8 + 1], CASE WHEN i > 0 THEN (i // 3)::INTEGER END, DATE '1999-12-30' + (i * 40)::INTEGER,
    nullif(i * 0.5, 2), i % 4 <> 1 FROM range(11) t(i)""",
    """INSERT INTO events SELECT i::INTEGER, nullif(i * 5 % 23, 7)::INTEGER,
    nullif(i % 12, 11)::INTEGER, TIMESTAMP '2024-02-28 22:00:00' + to_minutes(i * 437), i * i - 90,
    ['buy', 'sell', 'Buy', NULL, 'hold_it', '100%'][i % 6 + 1],
    CASE WHEN i % 5 <> 3 THEN to_minutes(i * 7) + to_days((i % 2)::INTEGER) END
    FROM range(35) t(i)""",
)
_MEMORIES = """INSERT INTO memories (id, owner, kind, content, session, source, tags, importance,
    trust, attributes, created_at, expires_at) SELECT
    '01890000-0000-7000-8000-' || lpad((i * 7 % 40)::VARCHAR, 12, '0'),
    ['alice', 'bob', 'alice', 'local'][i % 4 + 1],
    ['fact', 'note', NULL, 'Fact', 'plan'][i % 5 + 1],
    ['Alice has tea.', '漢字 and ÄPFEL', 'tea', '', 'a longer memory of a duck 🦆', '12', '7.5',
    '2024-02-29', 'O''Brien'][i % 9 + 1] || CASE WHEN i > 25 THEN ' ' || i ELSE '' END,
    nullif('s' || i % 3, 's2'), CASE WHEN i % 2 = 0 THEN 'chat' END,
    [NULL, ['a', 'b'], [], ['b', 'ü']][i % 4 + 1], nullif(i % 5, 3) / 4, nullif(i % 3, 0) / 2,
    ['{"a": 1, "b": [1, 2]}', NULL, '{"a": "x"}', '[]'][i % 4 + 1],
    TIMESTAMPTZ '2024-02-28 20:00:00+00' + to_hours(i * 5),
    CASE WHEN i % 10 = 9 THEN TIMESTAMPTZ '2024-03-01' END FROM range(40) t(i)"""


@dataclass(frozen=True)
class Answer:
    """What one side says: columns as (name, type) and rows, or the error that it raises.

    Args:
        rowcount: how many rows a change wrote; -1 where that is not said.
    """

    columns: tuple[tuple[str, str], ...] = ()
    rows: tuple[tuple[Any, ...], ...] = ()
    error: Exception | None = None
    rowcount: int = -1


@dataclass(frozen=True)
class Twins:
    """Both sides: ``plain`` holds in ordinary tables what the user of ``memql`` may see."""

    memql: memql.Connection
    plain: duckdb.DuckDBPyConnection

    def ask(self, text: str) -> tuple[Answer, Answer]:
        """Return what MemQL and what DuckDB say to one statement."""
        return of_memql(self.memql, text), of_plain(self.plain, text)

    def close(self) -> None:
        """Close both."""
        self.memql.close()
        self.plain.close()


def open_twins(store: Path, user: str | None) -> Twins:
    """Return both sides over the same rows.

    Args:
        store: a folder for the store, made if it is not there.
        user: who asks MemQL; its memories, or all for None, are what DuckDB holds.
    """
    connection = memql.connect(store)
    if connection.execute("SELECT count(*) FROM memories").fetchone() == (0,):
        connection.execute(_MEMORIES)
        # Neither is there for anyone: an archived row, and above those that are expired.
        connection.execute("DELETE FROM memories WHERE content LIKE '% 30'")
    if user is not None:
        connection.close()
        connection = memql.connect(store, user=user)
    plain = duckdb.connect(config={"threads": 1, "python_enable_replacements": False})
    plain.execute("SET TimeZone = 'UTC'")
    for statement in TABLES:
        connection.execute(statement)
        plain.execute(statement)
    columns = ", ".join(f'"{name}" {kind}' for name, kind in MEMORY_COLUMNS)
    plain.execute(f"CREATE TABLE memories ({columns})")
    rows = connection.execute("SELECT * FROM memories").fetchall()
    marks = ", ".join("?" for _ in MEMORY_COLUMNS)
    plain.executemany(f"INSERT INTO memories VALUES ({marks})", rows)
    return Twins(connection, plain)


def of_memql(connection: memql.Connection, text: str) -> Answer:
    """Return what MemQL says to one statement."""
    try:
        cursor = connection.execute(text)
        rows = cursor.fetchall() if cursor.description else []
    except memql.Error as error:
        return Answer(error=error)
    return Answer(_columns(cursor.description), tuple(rows), rowcount=cursor.rowcount)


def of_plain(connection: duckdb.DuckDBPyConnection, text: str) -> Answer:
    """Return what DuckDB says to one statement."""
    try:
        cursor = connection.execute(text)
        return Answer(_columns(cursor.description), tuple(cursor.fetchall()))
    except duckdb.Error as error:
        return Answer(error=error)


def difference(found: Answer, expected: Answer, *, ordered: bool) -> str | None:
    """Say how MemQL's answer is not DuckDB's, None where they are alike.

    Args:
        found: MemQL's.
        expected: DuckDB's.
        ordered: whether the order of the rows counts.
    """
    if expected.error is not None:
        if found.error is not None:
            return None
        return f"DuckDB refuses it: {str(expected.error).splitlines()[0]}"
    if found.error is not None:
        return f"MemQL refuses it: {found.error.__class__.__name__}: {found.error}"
    if found.columns != expected.columns:
        return f"columns {found.columns}, expected {expected.columns}"
    ours, theirs = shown(found.rows), shown(expected.rows)
    if not ordered:
        ours, theirs = sorted(ours), sorted(theirs)
    if ours == theirs:
        return None
    odd = [f"found {one}" for one in _without(ours, theirs)[:3]]
    odd += [f"missing {one}" for one in _without(theirs, ours)[:3]]
    return f"{len(ours)} rows, expected {len(theirs)}; " + ("; ".join(odd) or "in another order")


def shown(rows: Iterable[Sequence[Any]]) -> list[str]:
    """Return rows as texts that are equal where the rows are."""
    return [" | ".join(_shown(value) for value in row) for row in rows]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        # The last digits depend on the order of additions.
        return "NaN" if math.isnan(value) else f"{value:.9g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_shown(k)}: {_shown(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return repr(value)


def _without(rows: list[str], others: list[str]) -> list[str]:
    left = list(others)
    odd = []
    for row in rows:
        if row in left:
            left.remove(row)
        else:
            odd.append(row)
    return odd


def _columns(description: Sequence[Sequence[Any]] | None) -> tuple[tuple[str, str], ...]:
    return tuple((column[0], str(column[1])) for column in description or ())
