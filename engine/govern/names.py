"""Names of users and roles: which there can be, which there are."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from memql.engine.catalog import SCHEMA
from memql.engine.context import StatementContext
from memql.engine.names import fold, position, unknown
from memql.engine.reach import PUBLIC
from memql.engine.rights import Rights
from memql.engine.tables import MAIN
from memql.errors import ProgrammingError
from memql.storage.schema import SCHEMA as OWN_SCHEMA


def why_reserved(name: str) -> str | None:
    """Return why no user or role can have a name; None if one can.

    >>> why_reserved("Public")
    'it means everybody'
    """
    if fold(name) in (MAIN, SCHEMA) or fold(name).startswith(OWN_SCHEMA):
        return f"{MAIN} and {SCHEMA} are names of schemas"
    return "it means everybody" if fold(name) == PUBLIC else None


def new_name(node: exp.Expr, kind: str, rights: Rights, context: StatementContext) -> str:
    """Return the name that a statement gives to a new user or role.

    Args:
        kind: USER or ROLE.

    Raises:
        ProgrammingError: it is taken, or MemQL's own.
    """
    name = node.name
    reason = why_reserved(name)
    if reason is not None:
        raise ProgrammingError(
            f"a {kind.lower()} cannot be called {name}: {reason}",
            hint="choose another name",
            position=position(context.text, node),
            statement=context.text,
            code="42939",
        )
    if not name.strip():
        raise ProgrammingError(f"the name of the {kind.lower()} is empty", code="42602")
    found = kind_of(name, rights)
    if found is not None:
        raise ProgrammingError(
            f"the {found.lower()} {name} exists already",
            hint="users and roles have their names in common; choose another",
            position=position(context.text, node),
            statement=context.text,
            code="42710",
        )
    return name


def kind_of(name: str, rights: Rights) -> str | None:
    """Return what a name is: USER, ROLE, or None if it is neither."""
    if name in rights.catalog.users:
        return "USER"
    return "ROLE" if name in rights.catalog.roles else None


def existing(node: exp.Expr, kind: str, rights: Rights, context: StatementContext) -> str:
    """Return the name of a user or role that is there.

    Raises:
        ProgrammingError: there is none, or it is the other.
    """
    found = kind_of(node.name, rights)
    if found is None:
        known = rights.catalog.users if kind == "USER" else rights.catalog.roles
        raise unknown(kind.lower(), node.name, _shown(known, rights), context, node)
    if found != kind:
        raise ProgrammingError(
            f"{node.name} is a {found.lower()}, not a {kind.lower()}",
            hint=f"the same statement with {found}",
            position=position(context.text, node),
            statement=context.text,
            code="42809",
        )
    return node.name


def grantee(node: exp.Expr, rights: Rights, context: StatementContext) -> str:
    """Return who gets a right: a user, a role, or "public".

    In a store without users any name will do.

    Raises:
        ProgrammingError: the store has users, and none of that name.
    """
    if fold(node.name) == PUBLIC:
        return PUBLIC
    if rights.catalog.users and kind_of(node.name, rights) is None:
        known = _shown([*rights.catalog.users, *rights.catalog.roles], rights)
        raise unknown("user or role", node.name, known, context, node)
    return node.name


def _shown(known: Iterable[str], rights: Rights) -> list[str]:
    # Which users there are, only administrators learn.
    return [*known] if rights.administrator else []
