"""Stores that differ only in what one user may not see: rows, tables, views, nodes, rights."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from memql.storage.store import Store
from tests.engine.pairs import PASSWORD, Moment, connect
from tests.engine.random_writes import SETUP
from tests.engine.twins import TABLES

USER = "alice"
# In a store with users it is the user's, with all that it owns.
ROLE = "crew"
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
        users: whether only users with a password are let in, and the user is in a role.
        compiled: whether another owner compiled its rows.
    """

    shown: int
    hidden: int
    rows: int
    visible: int
    governed: bool
    users: bool = False
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
    || CASE WHEN h % 4 = 1 THEN ' ' || i ELSE '' END AS content, (h % 10)::VARCHAR AS agent,
    {columns} FROM (SELECT i, (hash(i * 31 + {seed}) >> 2)::BIGINT AS h
    FROM range({count}) r(i)) AS t"""
_HIDDEN = """SELECT ['0188', '0189', '018a'][h % 3 + 1] ||
    lpad(format('{{:x}}', h % 65521), 4, '0') || '-0000-7000-9000-' ||
    lpad(format('{{:x}}', i), 12, '0') AS id, [{owners}][(h // 37) % 6 + 1] AS owner,
    (h // 41) % ({visible} * 10 + 1) / 10 AS place, ['Alice has tea.', '{secret} ' || i,
    'x', '-1', '{secret}', '99999999999999999999', repeat('{secret} ', (h % 90)::INTEGER), '1e999',
    '2024-02-30', '0'][(h // 5) % 10 + 1] AS content, ['{secret}', '7', ''][h % 3 + 1] AS agent,
    {columns} FROM (SELECT i, (hash(i * 31 + {seed}) >> 2)::BIGINT AS h
    FROM range({count}) r(i)) AS t"""
# What bob lets the user read: by a grant that which is open, by a policy that which came openly.
_SHARED = """SELECT '01890000-0000-7000-8001-' || lpad(i::VARCHAR, 12, '0') AS id,
    ['bob', 'bob', 'carol', 'crew'][i % 4 + 1] AS owner, h % {visible} + 0.5 AS place,
    'Bob has shared ' || h % 9 AS content, '3' AS agent, {columns} FROM
    (SELECT i, (hash(i * 31 + {seed}) >> 2)::BIGINT AS h FROM range({count}) r(i)) AS t"""
_NAMES = (
    "id, owner, content, agent, session, kind, source, tags, importance, trust, sensitivity, "
    "attributes, created_at, expires_at, hold"
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
    secret = f"if(owner = '{USER}', 'high', sensitivity) AS sensitivity"
    hidden = f"SELECT * REPLACE ({secret}) FROM ({hidden})"
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
    _define_hidden(path, world)
    if world.governed:
        _share(path)
    with connect(path, USER) as user:
        for statement in (*TABLES, *SETUP):
            user.execute(statement)
        user.execute(
            "CREATE MATERIALIZED VIEW tea AS SELECT content FROM memories "
            "WHERE content LIKE '%tea%' MATERIALIZE AS PLAINTEXT"
        )
    if world.users:
        _make_users(path, world)


def _share(path: Path) -> None:
    """Let the user read some rows of others, and stand policies before all that it reads."""
    rights = (
        ("bob", "GRANT READ ON MEMORIES TO alice WHERE (kind = 'open')"),
        ("bob", "GRANT WRITE ON MEMORIES TO alice WHERE (kind = 'open' AND importance > 0.3)"),
        ("bob", "GRANT MATERIALIZE ON MEMORIES TO alice WHERE (hold)"),
        ("carol", "GRANT READ ON MEMORIES TO alice WHERE (kind = 'open') UNTIL '2030-01-01'"),
        # Nothing comes of these: what has ended, and what somebody gave who may not any more.
        ("bob", "GRANT READ ON MEMORIES TO alice UNTIL '2025-12-31'"),
        ("Alice", "GRANT READ, SHARE ON MEMORIES TO carol"),
        ("carol", 'GRANT READ ON MEMORIES OF "Alice" TO alice'),
        ("Alice", "REVOKE SHARE ON MEMORIES FROM carol"),
        ("bob", "CREATE TABLE given AS SELECT 'x' AS id, 3 AS name"),
        ("bob", "GRANT SELECT ON TABLE given TO alice"),
        (
            None,
            "CREATE POLICY quiet ON memories AS RESTRICTIVE FOR SELECT "
            "USING (sensitivity IS NULL OR sensitivity <> 'high')",
        ),
        (None, "CREATE POLICY openly ON memories FOR SELECT TO alice USING (source = 'open')"),
    )
    for owner, text in rights:
        with connect(path, owner) as other:
            other.execute(text)


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
            for grantee in draw.sample(OTHERS[1:], 2):
                right = draw.choice(("READ", "WRITE", "SHARE", "ALL"))
                other.execute(f'GRANT {right} ON MEMORIES TO "{grantee}"')
            other.execute(f"CREATE POLICY p_{SECRET} ON memories TO zed USING (kind = 'note')")
            if world.compiled:
                for of in ("kind = 'open'", "true"):
                    other.execute(
                        f"SELECT content FROM memories WHERE {of} ORDER BY created_at LIMIT 6 "
                        "MATERIALIZE AS ACTIVATION"
                    ).fetchall()


def _make_users(path: Path, world: World) -> None:
    """Let nobody in without a password; from now on the user has one, and a role."""
    known = ("root", "bob", USER, "carol", f"u_{SECRET}")
    with connect(path, None) as founder:
        for name in known[: 4 + world.hidden % 2]:
            founder.execute(f"CREATE USER {name} WITH PASSWORD '{PASSWORD}'")
        founder.execute(f"CREATE ROLE {ROLE}")
        founder.execute(f"GRANT {ROLE} TO {USER}")
        if world.hidden % 2:
            founder.execute(f"CREATE ROLE r_{SECRET}")
            founder.execute(f"GRANT r_{SECRET} TO bob, carol WITH ADMIN OPTION")


def hidden_of(path: Path) -> list[object]:
    """Return digests of all that the user may not see, to compare it before and after."""
    store = Store.open(path, threads=1)
    with closing(store.cursor()) as cursor:
        tables = cursor.execute(
            'SELECT format(\'"{}"."{}"\', schema_name, table_name), sql FROM duckdb_tables() '
            "WHERE schema_name LIKE 'of:%' AND schema_name NOT IN (?, ?) ORDER BY ALL",
            [f"of:{USER}", f"of:{ROLE}"],
        ).fetchall()
        hidden = [
            "_memql.memories WHERE id::VARCHAR LIKE '%-9000-%'",
            "_memql.versions WHERE id::VARCHAR LIKE '%-9000-%'",
            f"_memql.views WHERE owner NOT IN ('{USER}', '{ROLE}')",
            f"_memql.grants WHERE coalesce(granted_by, '') NOT IN ('{USER}', '{ROLE}')",
            f"_memql.policies WHERE coalesce(owner, '') NOT IN ('{USER}', '{ROLE}')",
            "_memql.users",
            "_memql.roles",
            "_memql.memberships",
            *(name for name, _ in tables),
        ]
        found: list[object] = [tables]
        for rows in hidden:
            digest = "SELECT count(*), md5(string_agg(r::VARCHAR, chr(10) ORDER BY r::VARCHAR))"
            found.append(cursor.execute(f"{digest} FROM (FROM {rows}) AS r").fetchall())
    store.close()
    return found


def worlds_of(number: int) -> tuple[World, World]:
    """Return the two worlds of a pair, always the same."""
    draw = random.Random(number)
    visible = draw.choice((0, 1, 7, 40, 40, 40, 120, 400))
    counts = draw.sample((0, 0, 1, 30, 400, 3000), 2)
    governed, compiled = draw.random() < 0.6, draw.random() < 0.3
    users = draw.random() < 0.4
    one = World(number, 2 * number, counts[0], visible, governed, users)
    return one, World(number, 2 * number + 1, counts[1], visible, governed, users, compiled)
