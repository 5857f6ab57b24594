"""The rows of memql.users, roles, grants, policies and audit, for who asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from memql.engine.catalog import CatalogTable
from memql.engine.rights import DEFAULT_OWNER, Rights

if TYPE_CHECKING:
    import duckdb

Row = dict[str, Any]
_TIME = "TIMESTAMP WITH TIME ZONE"

USER_COLUMNS = {
    "name": "VARCHAR",
    "administrator": "BOOLEAN",
    "password": "BOOLEAN",
    "token": "BOOLEAN",
    "valid_until": _TIME,
    "created_by": "VARCHAR",
    "created_at": _TIME,
}
ROLE_COLUMNS = {
    "name": "VARCHAR",
    "members": "VARCHAR[]",
    "admins": "VARCHAR[]",
    "created_by": "VARCHAR",
    "created_at": _TIME,
}
GRANT_COLUMNS = {
    "action": "VARCHAR",
    "target": "VARCHAR",
    "owner": "VARCHAR",
    "grantee": "VARCHAR",
    "predicate": "VARCHAR",
    "granted_by": "VARCHAR",
    "grantable": "BOOLEAN",
    "created_at": _TIME,
    "until": _TIME,
}
POLICY_COLUMNS = {
    "name": "VARCHAR",
    "owner": "VARCHAR",
    "restrictive": "BOOLEAN",
    "command": "VARCHAR",
    "grantees": "VARCHAR[]",
    "using_condition": "VARCHAR",
    "check_condition": "VARCHAR",
    "created_at": _TIME,
}
AUDIT_COLUMNS = {
    "seq": "BIGINT",
    "at": _TIME,
    "user_name": "VARCHAR",
    "action": "VARCHAR",
    "target": "VARCHAR",
    "detail": "VARCHAR",
}


def governance_tables(
    rights: Rights, cursor: duckdb.DuckDBPyConnection
) -> Mapping[str, CatalogTable]:
    """Return the tables by name, with the rows that who asks may know of.

    Args:
        cursor: in whose transaction the audit is read.
    """
    return {
        "users": CatalogTable(USER_COLUMNS, lambda: _users(rights)),
        "roles": CatalogTable(ROLE_COLUMNS, lambda: _roles(rights)),
        "grants": CatalogTable(GRANT_COLUMNS, lambda: _grants(rights)),
        "policies": CatalogTable(POLICY_COLUMNS, lambda: _policies(rights)),
        "audit": CatalogTable(AUDIT_COLUMNS, lambda: _audit(rights, cursor)),
    }


def _users(rights: Rights) -> list[Row]:
    """An administrator sees all, others themselves; nobody sees a hash."""
    rows = []
    for user in rights.catalog.governance.users:
        if rights.administrator or user.name == rights.user:
            row = {name: getattr(user, name) for name in USER_COLUMNS}
            row.update(password=user.password is not None, token=user.token is not None)
            rows.append(row)
    return rows


def _roles(rights: Rights) -> list[Row]:
    """An administrator sees all, others those that they are in."""
    rows = []
    for role in rights.catalog.governance.roles:
        if rights.administrator or role.name in rights.owners:
            found = [one for one in rights.catalog.governance.memberships if one.role == role.name]
            rows.append(
                {
                    "name": role.name,
                    "members": [one.member for one in found],
                    "admins": [one.member for one in found if one.admin],
                    "created_by": role.created_by,
                    "created_at": role.created_at,
                }
            )
    return rows


def _grants(rights: Rights) -> list[Row]:
    """An administrator sees all, others those by them, to them and on what is theirs."""
    return [
        {name: getattr(one, name) for name in GRANT_COLUMNS}
        for one in rights.catalog.governance.grants
        if rights.administrator
        or one.owner is None
        or one.owner in rights.owners
        or one.granted_by in rights.owners
        or one.grantee in rights.names
    ]


def _policies(rights: Rights) -> list[Row]:
    """An administrator sees all, others those by them and those that are for them."""
    return [
        {
            "name": one.name,
            "owner": one.owner,
            "restrictive": one.restrictive,
            "command": one.command,
            "grantees": [*one.grantees],
            "using_condition": one.using,
            "check_condition": one.check,
            "created_at": one.created_at,
        }
        for one in rights.catalog.governance.policies
        if rights.administrator
        or one.owner in rights.owners
        or not rights.names.isdisjoint(one.grantees)
    ]


def _audit(rights: Rights, cursor: duckdb.DuckDBPyConnection) -> list[Row]:
    """An administrator sees all, others their own without numbers, which would tell of the rest."""
    columns = ", ".join(f'"{name}"' for name in AUDIT_COLUMNS)
    who = DEFAULT_OWNER if rights.user is None else rights.user
    user = rights.catalog.users.get(who)
    # Before that the name was another's, who was dropped.
    since = None if user is None else user.created_at
    found = cursor.execute(
        f"SELECT {columns} FROM _memql.audit WHERE $all OR (user_name = $who "
        'AND ($since::TIMESTAMPTZ IS NULL OR "at" >= $since)) ORDER BY seq',
        {"all": rights.administrator, "who": who, "since": since},
    ).fetchall()
    rows = [dict(zip(AUDIT_COLUMNS, row, strict=True)) for row in found]
    return rows if rights.administrator else [{**row, "seq": None} for row in rows]
