"""Users, roles, grants and policies, as the catalog holds them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
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
