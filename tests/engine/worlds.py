"""Stores that differ only in what one user may not see: rows, tables, views, nodes, rights."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from memql.storage.governance import MEMORIES, Grant, Policy, put_grant, put_policy
from memql.storage.store import Store
from tests.engine.pairs import START, Moment, connect
from tests.engine.twins import TABLES

USER = "alice"
# Stands in every text and name that is hidden, and nowhere else.
SECRET = "zqx"
OTHERS = ("bob", "carol", "Alice", "alice ", "local", "zed")


@dataclass(frozen=True)
class World:
    """One store.

    Args:
        shown: decides what the user may see: the same in both stores of a pair.
        hidden: decides the rest.
        rows: how many rows the user may not see.
        visible: how many it may.
        governed: whether the user reads some rows of others, and policies stand before all.
        compiled: whether another owner compiled its rows.
    """

    shown: int
    hidden: int
    rows: int
    visible: int
    governed: bool
    compiled: bool = False


# Values of both kinds are alike, so that nothing but the owner tells them apart; but an agent is a
# number in all rows that the user may see, and in few others.
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
    || CASE WHEN h % 4 = 1 THEN ' ' || i ELSE '' END AS content, (h % 10)::VARCHAR AS agent, {columns}
    FROM (SELECT i, (hash(i * 31 + {seed}) >> 2)::BIGINT AS h FROM range({count}) r(i)) AS t"""
_HIDDEN = """SELECT ['0188', '0189', '018a'][h % 3 + 1] || lpad(format('{{:x}}', h % 65521), 4, '0') ||
    '-0000-7000-9000-' || lpad(format('{{:x}}', i), 12, '0') AS id, [{owners}][(h // 37) % 6 + 1] AS
    owner, (h // 41) % ({visible} * 10 + 1) / 10 AS place, ['Alice has tea.', '{secret} ' || i,
    'x', '-1', '{secret}', '99999999999999999999', repeat('{secret} ', (h % 90)::INTEGER), '1e999',
    '2024-02-30', '0'][(h // 5) % 10 + 1] AS content, ['{secret}', '7', ''][h % 3 + 1] AS agent, {columns} FROM
    (SELECT i, (hash(i * 31 + {seed}) >> 2)::BIGINT AS h FROM range({count}) r(i)) AS t"""
# What bob lets the user read: by a grant that which is open, by a policy that which came openly.
_SHARED = """SELECT '01890000-0000-7000-8001-' || lpad(i::VARCHAR, 12, '0') AS id,
    ['bob', 'bob', 'carol'][i % 3 + 1] AS owner, h % {visible} + 0.5 AS place,
    'Bob has shared ' || h % 9 AS content, '3' AS agent, {columns} FROM
    (SELECT i, (hash(i * 31 + {seed}) >> 2)::BIGINT AS h FROM range({count}) r(i)) AS t"""
_NAMES = (
    "id, owner, content, agent, session, kind, source, tags, importance, trust, sensitivity, attributes, "
    "created_at, expires_at, hold"
)


def make(path: Path, world: World, moment: Moment) -> None:
    """Make the store of a world: the commits are the same for all worlds of one ``shown``."""
    moment.set(1)
    columns = _COLUMNS.format()
    shown = _SHOWN.format(user=USER, columns=columns, count=world.visible + 1, seed=world.shown)
    # The policy takes away what is of high sensitivity, the user's own too.
    owners = (*OTHERS[:5], USER) if world.governed else OTHERS
    hidden = _HIDDEN.format(
        columns=columns,
        seed=world.hidden * 7919 + 5,
        count=world.rows,
        owners=", ".join(f"'{owner}'" for owner in owners),
        visible=world.visible,
        secret=SECRET,
    )
    hidden = f"SELECT * REPLACE (if(owner = '{USER}', 'high', sensitivity) AS sensitivity) FROM ({hidden})"
    sources = [shown, hidden]
    if world.governed:
        shared = _SHARED.format(
            columns=columns, seed=world.shown, visible=world.visible + 1, count=25
        )
        sources.append(
            f"SELECT * REPLACE ('open' AS kind) FROM ({shared}) WHERE right(id, 1) <> '4'"
        )
        sources.append(
            f"SELECT * REPLACE ('open' AS source) FROM ({shared}) WHERE right(id, 1) = '4'"
        )
    every = " UNION ALL BY NAME ".join(f"SELECT * FROM ({source})" for source in sources)
    with connect(path, None) as admin:
        # Hidden rows lie between the others, which keep their order.
        admin.execute(
            f"INSERT INTO memories ({_NAMES}) SELECT {_NAMES} FROM ({every}) ORDER BY place, id"
        )
        mine = "id::VARCHAR NOT LIKE '%-9000-%'"
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
        if world.governed:
            _share(admin._session._store, world.shown)
        _define_hidden(path, world)
    with connect(path, USER) as user:
        for statement in TABLES:
            user.execute(statement)
        user.execute(
            "CREATE MATERIALIZED VIEW tea AS SELECT content FROM memories "
            "WHERE content LIKE '%tea%' MATERIALIZE AS PLAINTEXT"
        )


def _share(store: Store, seed: int) -> None:
    """Let the user read some rows of others, and stand policies before all that it reads."""
    cursor = store.cursor()
    rights = [
        ("READ", "bob", "kind = 'open'", None),
        ("READ", "carol", "kind = 'open'", START + timedelta(days=365)),
        ("WRITE", "bob", "kind = 'open' AND importance > 0.3", None),
        # Nothing comes of these: what has ended, and what somebody gave who has no right to.
        ("READ", "bob", None, START - timedelta(days=1)),
        ("READ", "zed", None, None),
    ]
    if seed % 2:
        rights.append(("MATERIALIZE", "bob", None, None))
    for number, (action, owner, predicate, until) in enumerate(rights, 1):
        by = "carol" if owner == "zed" else owner
        put_grant(
            cursor,
            Grant(number, action, MEMORIES, owner, USER, predicate, by, False, START, until),
        )
    quiet = "sensitivity IS NULL OR sensitivity <> 'high'"
    put_policy(cursor, Policy("quiet", None, True, "SELECT", ("public",), quiet, None, START))
    openly = "source = 'open'"
    put_policy(cursor, Policy("openly", None, False, "SELECT", (USER,), openly, None, START))
    cursor.close()
    store.rights_changed()


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
                for of in ("kind = 'open'", "true"):
                    other.execute(
                        f"SELECT content FROM memories WHERE {of} ORDER BY created_at LIMIT 6 "
                        "MATERIALIZE AS ACTIVATION"
                    ).fetchall()
            if world.governed:
                store, number = other._session._store, draw.randint(10, 99)
                right = draw.choice(("READ", "WRITE", "SHARE"))
                grantee = draw.choice(OTHERS)
                put_grant(
                    cursor := store.cursor(),
                    Grant(number, right, MEMORIES, owner, grantee, None, owner, False, START, None),
                )
                cursor.close()
                store.rights_changed()


def hidden_of(path: Path) -> list[object]:
    """Return digests of all that the user may not see, to compare it before and after."""
    with connect(path, None) as admin:
        cursor = admin._session._store.cursor()
        tables = cursor.execute(
            'SELECT format(\'"{}"."{}"\', schema_name, table_name), sql FROM duckdb_tables() '
            "WHERE schema_name LIKE 'of:%' AND schema_name <> ? ORDER BY ALL",
            [f"of:{USER}"],
        ).fetchall()
        hidden = [
            "_memql.memories WHERE id::VARCHAR LIKE '%-9000-%'",
            "_memql.versions WHERE id::VARCHAR LIKE '%-9000-%'",
            f"_memql.views WHERE owner <> '{USER}'",
            "_memql.grants",
            "_memql.policies",
            *(name for name, _ in tables),
        ]
        found: list[object] = [tables]
        for rows in hidden:
            digest = "SELECT count(*), md5(string_agg(r::VARCHAR, chr(10) ORDER BY r::VARCHAR))"
            found.append(cursor.execute(f"{digest} FROM (FROM {rows}) AS r").fetchall())
        cursor.close()
        return found


def worlds_of(number: int) -> tuple[World, World]:
    """Return the two worlds of a pair, always the same."""
    draw = random.Random(number)
    visible = draw.choice((0, 1, 7, 40, 40, 40, 120, 400))
    counts = draw.sample((0, 0, 1, 30, 400, 3000), 2)
    governed, compiled = draw.random() < 0.5, draw.random() < 0.3
    first = World(number, 2 * number, counts[0], visible, governed)
    return first, World(number, 2 * number + 1, counts[1], visible, governed, compiled)
