"""Users, roles, grants and policies, as the catalog holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

MEMORIES = "memories"


@dataclass(frozen=True)
class User:
    """Who may connect.

    Args:
        administrator: whether the user manages users, models and settings of the store.
        password: its hash, or None: no password lets the user in.
        token: its hash, or None.
        valid_until: when neither lets the user in any more, or None.
    """

    name: str
    administrator: bool
    password: str | None
    token: str | None
    valid_until: datetime | None
    created_by: str | None
    created_at: datetime


@dataclass(frozen=True)
class Role:
    """A name that users and other roles are members of."""

    name: str
    created_by: str | None
    created_at: datetime


@dataclass(frozen=True)
class Membership:
    """``member`` has what ``role`` has; with ``admin`` it may make others members too."""

    role: str
    member: str
    admin: bool
    granted_by: str | None
    created_at: datetime


@dataclass(frozen=True)
class Grant:
    """One right of one grantee.

    Args:
        action: READ, WRITE, MATERIALIZE, SHARE or FORGET on memories; SELECT, INSERT, UPDATE or
            DELETE on an ordinary table or view.
        target: "memories", or the name of the table or view.
        owner: whose memories, table or view; None is everybody's memories.
        grantee: a user, a role, or "public".
        predicate: the memories it is about, as MemQL text; None is all of them.
        granted_by: who gave it; None is the administrator of an embedded store.
        grantable: whether the grantee may grant it on (tables and views).
        until: when it ends, or None.
    """

    id: int
    action: str
    target: str
    owner: str | None
    grantee: str
    predicate: str | None
    granted_by: str | None
    grantable: bool
    created_at: datetime
    until: datetime | None


@dataclass(frozen=True)
class Policy:
    """A rule on memories for what grants do not say.

    Args:
        owner: whose memories it rules, which is who made it; None is everybody's.
        restrictive: whether it takes away what it does not hold for; else it gives what it does.
        command: ALL, SELECT, INSERT, UPDATE or DELETE.
        grantees: users and roles that it is for.
        using: the memories that are there, as MemQL text; None is all of them.
        check: the memories that may be written; None is as ``using``.
    """

    name: str
    owner: str | None
    restrictive: bool
    command: str
    grantees: tuple[str, ...]
    using: str | None
    check: str | None
    created_at: datetime


@dataclass(frozen=True)
class Governance:
    """All of it, as it was committed at one moment."""

    users: tuple[User, ...]
    roles: tuple[Role, ...]
    memberships: tuple[Membership, ...]
    grants: tuple[Grant, ...]
    policies: tuple[Policy, ...]


def read(cursor: duckdb.DuckDBPyConnection) -> Governance:
    """Return what the catalog holds.

    Args:
        cursor: in whose transaction it is read.
    """

    def rows(columns: str, table: str, order: str) -> list[tuple[object, ...]]:
        sql = f"SELECT {columns} FROM _memql.{table} ORDER BY {order}"
        return cursor.execute(sql).fetchall()

    users = rows(
        "name, administrator, password, token, valid_until, created_by, created_at", "users", "name"
    )
    roles = rows("name, created_by, created_at", "roles", "name")
    members = rows("role, member, admin, granted_by, created_at", "memberships", "role, member")
    grants = rows(
        "id, action, target, owner, grantee, predicate, granted_by, grantable, created_at, until",
        "grants",
        "id",
    )
    policies = rows(
        "name, owner, restrictive, command, grantees, using_predicate, check_predicate, created_at",
        "policies",
        "owner, name",
    )
    return Governance(
        tuple(User(*row) for row in users),  # type: ignore[arg-type]
        tuple(Role(*row) for row in roles),  # type: ignore[arg-type]
        tuple(Membership(*row) for row in members),  # type: ignore[arg-type]
        tuple(Grant(*row) for row in grants),  # type: ignore[arg-type]
        tuple(Policy(*row[:4], tuple(row[4]), *row[5:]) for row in policies),  # type: ignore
    )


# -- changes, in the cursor's transaction; the caller holds the store's commit lock ---------------


def put_user(cursor: duckdb.DuckDBPyConnection, user: User) -> None:
    """Add a user, or put it in the place of the one of its name."""
    _put(cursor, "INSERT OR REPLACE INTO _memql.users", astuple(user))


def put_role(cursor: duckdb.DuckDBPyConnection, role: Role) -> None:
    """Add a role."""
    _put(cursor, "INSERT INTO _memql.roles", astuple(role))


def put_membership(cursor: duckdb.DuckDBPyConnection, membership: Membership) -> None:
    """Make somebody a member of a role, or change with what option they are."""
    _put(cursor, "INSERT OR REPLACE INTO _memql.memberships", astuple(membership))


def drop_membership(cursor: duckdb.DuckDBPyConnection, role: str, member: str) -> None:
    """Take somebody out of a role."""
    cursor.execute("DELETE FROM _memql.memberships WHERE role = ? AND member = ?", [role, member])


def put_grants(cursor: duckdb.DuckDBPyConnection, grants: Sequence[Grant]) -> None:
    """Add grants, or put each in the place of the one of its number."""
    kinds = "BIGINT VARCHAR VARCHAR VARCHAR VARCHAR VARCHAR VARCHAR BOOLEAN TIMESTAMPTZ TIMESTAMPTZ"
    lists = ", ".join(f"unnest(?::{kind}[])" for kind in kinds.split())
    columns = [list(column) for column in zip(*map(astuple, grants), strict=True)]
    if columns:
        cursor.execute(f"INSERT OR REPLACE INTO _memql.grants SELECT {lists}", columns)


def drop_grants(cursor: duckdb.DuckDBPyConnection, numbers: Sequence[int]) -> None:
    """Take grants away by their numbers."""
    cursor.execute(
        "DELETE FROM _memql.grants WHERE id IN (SELECT unnest(?::BIGINT[]))", [list(numbers)]
    )


def next_grant(cursor: duckdb.DuckDBPyConnection) -> int:
    """Return the number of the next grant."""
    rows = cursor.execute("SELECT coalesce(max(id), 0) + 1 FROM _memql.grants").fetchall()
    return int(rows[0][0])


def put_policy(cursor: duckdb.DuckDBPyConnection, policy: Policy) -> None:
    """Add a policy, or put it in the place of the one of its owner and name."""
    drop_policy(cursor, policy.owner, policy.name)
    values = astuple(policy)
    # DuckDB takes a list, and astuple leaves the tuple.
    _put(cursor, "INSERT INTO _memql.policies", (*values[:4], list(policy.grantees), *values[5:]))


def drop_policy(cursor: duckdb.DuckDBPyConnection, owner: str | None, name: str) -> None:
    """Take a policy away."""
    cursor.execute(
        "DELETE FROM _memql.policies WHERE owner IS NOT DISTINCT FROM ? AND name = ?", [owner, name]
    )


def drop_name(cursor: duckdb.DuckDBPyConnection, name: str) -> None:
    """Take a user or role away, with its memberships, policies, keys and grants to and by it."""
    found = read(cursor)
    for policy in found.policies:
        left = tuple(one for one in policy.grantees if one != name)
        if policy.owner == name or not left:
            drop_policy(cursor, policy.owner, policy.name)
        elif left != policy.grantees:
            put_policy(cursor, replace(policy, grantees=left))
    for statement in (
        "DELETE FROM _memql.users WHERE name = $name",
        "DELETE FROM _memql.roles WHERE name = $name",
        "DELETE FROM _memql.memberships WHERE role = $name OR member = $name",
        "DELETE FROM _memql.idempotency_keys WHERE owner = $name",  # of memories for others
        "DELETE FROM _memql.grants "
        "WHERE grantee = $name OR owner = $name OR granted_by IS NOT DISTINCT FROM $name",
    ):
        cursor.execute(statement, {"name": name})


def owned_by(cursor: duckdb.DuckDBPyConnection, name: str, schema: str) -> list[str]:
    """Return what a user or role owns, as words: "memories", "views", "tables" ...

    Args:
        schema: DuckDB's schema for the name's tables.
    """
    kinds = {
        "memories": "SELECT 1 FROM _memql.memories WHERE owner = $name "
        "UNION ALL SELECT 1 FROM _memql.versions WHERE owner = $name",
        "views": "SELECT 1 FROM _memql.views WHERE owner = $name",
        "tables": "SELECT 1 FROM duckdb_tables() "
        "WHERE database_name = current_database() AND schema_name = $schema",
        "types": "SELECT 1 FROM duckdb_types() "
        "WHERE database_name = current_database() AND schema_name = $schema AND NOT internal",
        "sequences": "SELECT 1 FROM duckdb_sequences() "
        "WHERE database_name = current_database() AND schema_name = $schema",
    }
    given = {"name": name, "schema": schema}
    found: list[str] = []
    for kind, query in kinds.items():
        named = {key: value for key, value in given.items() if f"${key}" in query}
        if cursor.execute(f"{query} LIMIT 1", named).fetchall():
            found.append(kind)
    return found


def drop_table_grants(cursor: duckdb.DuckDBPyConnection, owner: str, name: str) -> None:
    """Take away the grants on a table or view that is no more, or not yet."""
    cursor.execute(
        f"DELETE FROM _memql.grants WHERE owner = $owner AND {_FOLDED_TARGET} = {_folded('$name')}",
        {"owner": owner, "name": name},
    )


def rename_table_grants(
    cursor: duckdb.DuckDBPyConnection, owner: str, name: str, new_name: str
) -> None:
    """Let the grants on a table follow it to another name."""
    cursor.execute(
        "UPDATE _memql.grants SET target = $new_name "
        f"WHERE owner = $owner AND {_FOLDED_TARGET} = {_folded('$name')}",
        {"owner": owner, "name": name, "new_name": new_name},
    )


def _folded(text: str) -> str:
    """Return an expression for a name as DuckDB compares names: without case, in ASCII only."""
    return f"translate({text}, '{ascii_uppercase}', '{ascii_lowercase}')"


_FOLDED_TARGET = _folded("target")


def _put(cursor: duckdb.DuckDBPyConnection, statement: str, values: tuple[object, ...]) -> None:
    marks = ", ".join("?" * len(values))
    cursor.execute(f"{statement} VALUES ({marks})", list(values))
