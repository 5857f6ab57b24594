"""Pairs of stores that differ only in rows, tables and nodes that one user may not see.

What both say to that user must be the same: rows and their order to the last bit, the texts of
errors, counts and plans. Timing is not compared.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import memql
from memql.engine import session
from memql.engine.run import executor
from memql.storage import memories, transaction
from tests.engine.twins import TABLES

USER = "alice"
# Stands in every text and name that is hidden, and nowhere else.
SECRET = "zqx"
START = datetime(2026, 1, 1, tzinfo=UTC)
OTHERS = ("bob", "carol", "Alice", "alice ", "local", "zed")


# -- one moment, and the same new ids, for both ----------------------------------------------------


@dataclass
class Moment:
    """What would differ between two runs of one statement: the time, new ids and numbers."""

    number: int = 0
    _ids: Iterator[int] = field(default_factory=itertools.count)

    def set(self, number: int) -> None:
        """Go to the moment of a number."""
        self.number = number
        self._ids = itertools.count()
        transaction._provisional = itertools.count(-1, -1)

    def now(self, zone: tzinfo) -> datetime:
        """Return the time."""
        return (START + timedelta(seconds=self.number)).astimezone(zone)

    def uuid(self) -> UUID:
        """Return an id that nothing has."""
        return UUID(f"01990000-0000-7000-8000-{self.number:06x}{next(self._ids):06x}")

    def new_ids(self, count: int) -> list[UUID]:
        """Return ids of new memories."""
        return [self.uuid() for _ in range(count)]


@contextmanager
def one_moment() -> Iterator[Moment]:
    """Give all statements inside the time and the ids of a moment that the caller sets."""
    moment = Moment()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "datetime", moment)
        patch.setattr(memories, "new_ids", moment.new_ids)
        patch.setattr(executor, "uuid4", moment.uuid)
        patch.setattr(transaction, "_provisional", itertools.count(-1, -1))
        yield moment


# -- what a statement says -------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """All that a user learns from one statement, but for how long it took."""

    columns: tuple[tuple[str, str], ...] = ()
    rows: tuple[str, ...] = ()
    rowcount: int = -1
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return self.error
        names = ", ".join(f"{name} {kind}" for name, kind in self.columns)
        more = [f"... {len(self.rows) - 12} more"] if len(self.rows) > 12 else []
        return "\n".join([f"{self.rowcount} rows: {names}", *self.rows[:12], *more])


def connect(path: Path, user: str | None) -> memql.Connection:
    """Open a store with one thread: more give rows without ORDER BY in an order of the moment."""
    return memql.connect(path, user=user, threads=1)


def said(connection: memql.Connection, text: str) -> Said:
    """Run a statement and return what it says."""
    try:
        cursor = connection.execute(text)
        rows = cursor.fetchall() if cursor.description else []
    except memql.Error as error:
        return Said(error=f"{type(error).__name__} {error.code}: {error}")
    columns = tuple((column[0], str(column[1])) for column in cursor.description or ())
    return Said(columns, tuple(map(_row, rows)), cursor.rowcount)


def _row(row: Sequence[Any]) -> str:
    return " | ".join(map(_exact, row))


def _exact(value: Any) -> str:
    """Return a text that is equal only where values are, floats to the last bit."""
    if isinstance(value, memql.Answer):
        kept = {name: one for name, one in vars(value).items() if not name.endswith("seconds")}
        return f"{str(value)!r} {kept}"
    if isinstance(value, memql.Prompt):
        return f"{value.text!r} {value.memory_ids}"
    if isinstance(value, memql.Activation):
        return f"{value.token_ids} {value.memory_ids} {value.reused_tokens} {value.bytes}"
    return _SECONDS.sub(r"\1 ...", repr(value))


# In plans: with COSTS on they tell how long something took.
_SECONDS = re.compile(r"(seconds\"?:) [0-9.e-]+( ms)?")


# -- stores ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """One store.

    Args:
        shown: decides what the user may see: the same in both stores of a pair.
        hidden: decides the rest.
        rows: how many rows the user may not see.
        visible: how many it may.
        compiled: whether another owner compiled its rows.
    """

    shown: int
    hidden: int
    rows: int
    visible: int
    compiled: bool = False


# Values of both kinds are alike, so that nothing but the owner tells them apart.
_COLUMNS = """['s1', 's2', NULL][h % 3 + 1] AS session,
    ['fact', 'note', NULL, 'Fact', 'plan', '12'][(h // 3) % 6 + 1] AS kind,
    ['chat', NULL, 'mail'][(h // 7) % 3 + 1] AS source,
    [NULL, ['a', 'b'], [], ['b', 'ü'], ['a']][(h // 11) % 5 + 1] AS tags,
    nullif((h // 13) % 50, 3) / 49 AS importance, nullif((h // 17) % 7, 5) / 7 AS trust,
    ['low', NULL, 'high'][(h // 19) % 3 + 1] AS sensitivity,
    ['{{"a": 1, "b": [1, 2]}}', NULL, '{{"a": "x"}}', '[]', '7'][(h // 23) % 5 + 1] AS attributes,
    TIMESTAMPTZ '2024-02-28 20:00:00+00' + to_hours(((h // 29) % 9)::INTEGER) AS created_at,
    CASE WHEN h % 11 = 9 THEN TIMESTAMPTZ '2025-03-01' WHEN h % 5 = 1 THEN
    TIMESTAMPTZ '2099-01-01' END AS expires_at, h % 4 = 0 AS hold"""
_SHOWN = """SELECT '01890000-0000-7000-8000-' || lpad(format('{{:x}}', i * 7919 % 100003), 12, '0')
    AS id, '{user}' AS owner, i AS place, ['Alice has tea.', '漢字 and ÄPFEL', 'tea', '', '12',
    'a longer memory of a duck 🦆', '7.5', '2024-02-29', 'O''Brien', 'true'][(h // 5) % 10 + 1]
    || CASE WHEN h % 4 = 1 THEN ' ' || i ELSE '' END AS content, {columns} FROM
    (SELECT i, (hash(i * 31 + {seed}) >> 2)::BIGINT AS h FROM range({count}) r(i)) AS t"""
_HIDDEN = """SELECT ['0188', '0189', '018a'][h % 3 + 1] || lpad(format('{{:x}}', h % 65521), 4, '0') ||
    '-0000-7000-9000-' || lpad(format('{{:x}}', i), 12, '0') AS id, [{owners}][(h // 37) % 6 + 1] AS
    owner, (h // 41) % ({visible} * 10 + 1) / 10 AS place, ['Alice has tea.', '{secret} ' || i,
    'x', '-1', '{secret}', '99999999999999999999', repeat('{secret} ', (h % 90)::INTEGER), '1e999',
    '2024-02-30', '0'][(h // 5) % 10 + 1] AS content, {columns} FROM
    (SELECT i, (hash(i * 31 + {seed}) >> 2)::BIGINT AS h FROM range({count}) r(i)) AS t"""
_NAMES = (
    "id, owner, content, session, kind, source, tags, importance, trust, sensitivity, attributes, "
    "created_at, expires_at, hold"
)


def make(path: Path, world: World, moment: Moment) -> None:
    """Make the store of a world: the commits are the same for all worlds of one ``shown``."""
    moment.set(1)
    columns = _COLUMNS.format()
    shown = _SHOWN.format(
        user=USER, columns=columns, count=world.visible + 1, seed=world.shown
    )
    hidden = _HIDDEN.format(
        columns=columns,
        seed=world.hidden * 7919 + 5,
        count=world.rows,
        owners=", ".join(f"'{owner}'" for owner in OTHERS),
        visible=world.visible,
        secret=SECRET,
    )
    with connect(path, None) as admin:
        # Hidden rows lie between the others, which keep their order.
        admin.execute(
            f"INSERT INTO memories ({_NAMES}) SELECT {_NAMES} FROM "
            f"(SELECT * FROM ({shown}) UNION ALL BY NAME SELECT * FROM ({hidden})) "
            "ORDER BY place, id"
        )
        mine = f"owner = '{USER}'"
        turn = f"hash(id::VARCHAR || '{world.hidden}')"
        # Archived in the end: each commit has a row in all worlds, or its number would tell.
        first = "id = '01890000-0000-7000-8000-000000000000'"
        admin.execute(
            "UPDATE memories SET importance = 0.123, trust = 1 WHERE "
            f"{first} OR ({mine} AND kind = 'note') OR (NOT {mine} AND {turn} % 3 = 0)"
        )
        admin.execute(
            f"DELETE FROM memories WHERE {first} OR ({mine} AND content = 'true') "
            f"OR (NOT {mine} AND {turn} % 7 = 0)"
        )
    _define_hidden(path, world)
    with connect(path, USER) as user:
        for statement in TABLES:
            user.execute(statement)
        user.execute(
            "CREATE MATERIALIZED VIEW tea AS SELECT content FROM memories "
            "WHERE content LIKE '%tea%' MATERIALIZE AS PLAINTEXT"
        )


def _define_hidden(path: Path, world: World) -> None:
    draw = random.Random(world.hidden)
    for owner in draw.sample(OTHERS[:2], draw.randint(0, 2)):
        with connect(path, owner) as other:
            # Names that the user has too, or might try.
            for name in draw.sample(("items", "stock", "made", f"t_{SECRET}"), 2):
                other.execute(f"CREATE TABLE {name} AS SELECT '{SECRET}' AS id, 7 AS name")
            other.execute(
                f"CREATE MATERIALIZED VIEW {draw.choice(('tea', 'v_' + SECRET))} AS "
                "SELECT content FROM memories MATERIALIZE AS PLAINTEXT"
            )
            if world.compiled:
                other.execute(
                    "SELECT content FROM memories ORDER BY id LIMIT 6 MATERIALIZE AS ACTIVATION"
                ).fetchall()


def hidden_of(path: Path) -> str:
    """Return all rows that the user may not see, to compare them before and after."""
    with connect(path, None) as admin:
        cursor = admin._session._store.cursor()
        found = [
            cursor.execute(
                f"SELECT * FROM _memql.{table} WHERE owner <> ? ORDER BY id, version", [USER]
            ).fetchall()
            for table in ("memories", "versions")
        ]
        tables = cursor.execute(
            "SELECT schema_name, table_name, sql FROM duckdb_tables() "
            "WHERE schema_name LIKE 'of:%' AND schema_name <> ? ORDER BY ALL",
            [f"of:{USER}"],
        ).fetchall()
        found.append(tables)
        for schema, name, _ in tables:
            found.append(cursor.execute(f'FROM "{schema}"."{name}"').fetchall())
        found.append(
            cursor.execute("FROM _memql.views WHERE owner <> ? ORDER BY ALL", [USER]).fetchall()
        )
        cursor.close()
        return json.dumps(found, default=repr)


# -- pairs -----------------------------------------------------------------------------------------


@dataclass
class Pair:
    """Two stores and the user's connections to them.

    Args:
        moment: of both.
    """

    paths: tuple[Path, Path]
    moment: Moment
    connections: tuple[memql.Connection, ...] = ()
    _number: int = 100

    def open(self) -> None:
        """Connect the user to both."""
        self.connections = tuple(connect(path, USER) for path in self.paths)

    def close(self) -> None:
        """Close both."""
        for connection in self.connections:
            connection.close()

    def ask(self, text: str) -> tuple[Said, Said]:
        """Return what both say to one statement at one moment."""
        self._number += 1
        found = []
        for connection in self.connections:
            self.moment.set(self._number)
            found.append(said(connection, text))
        return found[0], found[1]

    def interference(self, statements: Sequence[str]) -> str | None:
        """Run statements and say where the answers are not the same, None if nowhere."""
        odd = None
        for text in statements:
            one, other = self.ask(text)
            if odd is None and one != other:
                odd = f"{text}\n-- one store:\n{one}\n-- the other:\n{other}"
        return odd


def worlds_of(number: int) -> tuple[World, World]:
    """Return the two worlds of a pair, always the same."""
    draw = random.Random(number)
    visible = draw.choice((0, 1, 7, 40, 40, 40, 120, 400))
    counts = draw.sample((0, 0, 1, 30, 400, 3000), 2)
    compiled = draw.random() < 0.3
    first = World(number, 2 * number, counts[0], visible)
    return first, World(number, 2 * number + 1, counts[1], visible, compiled)
