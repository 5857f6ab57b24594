"""CREATE, ALTER and DROP of users and roles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from memql.engine import syntax
from memql.engine.govern.names import existing, kind_of, new_name
from memql.engine.govern.passwords import hashed
from memql.engine.govern.ruling import Change, Ruling
from memql.engine.names import position
from memql.engine.tables import schema_of
from memql.errors import DataError, NotSupportedError, ProgrammingError
from memql.storage import governance
from memql.storage.governance import Role, User

if TYPE_CHECKING:
    from memql.engine.govern.statements import Governor

_MANAGE = "manage users and roles"


def create_role(tree: syntax.CreateRole, governor: Governor) -> Change:
    """Return what CREATE USER or CREATE ROLE does."""
    kind = tree.args["kind"]
    given = _options(tree, governor)

    def create(ruling: Ruling) -> str:
        rights, context = ruling.rights, ruling.context
        ruling.check_administrator(_MANAGE)
        target = f"{kind.lower()} {tree.this.name}"
        if tree.args.get("exists") and kind_of(tree.this.name, rights) == kind:
            return target
        name = new_name(tree.this, kind, rights, context)
        if kind == "ROLE":
            governance.put_role(ruling.cursor, Role(name, rights.owner, context.now))
            return target
        user = User(name, False, None, None, None, rights.owner, context.now)
        user = replace(user, **given)
        if not rights.catalog.users:
            if user.password is None and user.token is None:
                raise ProgrammingError(
                    "the first user of a store needs a password or a token: from then on nobody "
                    "connects without",
                    hint=f"CREATE USER {name} WITH PASSWORD '...'",
                    code="22023",
                )
            user = replace(user, administrator=True)
            _check_administrator_left([user])
        governance.put_user(ruling.cursor, user)
        return target

    return create


def alter_role(tree: syntax.AlterRole, governor: Governor) -> Change:
    """Return what ALTER USER or ALTER ROLE does."""
    kind = tree.args["kind"]
    if tree.args.get("rename") is not None:
        raise NotSupportedError(
            f"ALTER {kind} ... RENAME TO is not possible: the name is the owner of memories",
            hint=f"CREATE {kind} with the new name, and GRANT it what it needs",
            position=position(governor.context.text, tree.args["rename"]),
            statement=governor.context.text,
        )
    given = _options(tree, governor)

    def alter(ruling: Ruling) -> str:
        rights, context = ruling.rights, ruling.context
        # A user's own password and token are theirs to change.
        if rights.user != tree.this.name or not {*given} <= {"password", "token"}:
            ruling.check_administrator(_MANAGE)
        name = existing(tree.this, kind, rights, context)
        users = rights.catalog.users
        changed = replace(users[name], **given)
        _check_administrator_left({**users, name: changed}.values())
        governance.put_user(ruling.cursor, changed)
        return f"user {name}"

    return alter


def drop_role(tree: syntax.DropRole, governor: Governor) -> Change:
    """Return what DROP USER or DROP ROLE does."""
    kind = tree.args["kind"]

    def drop(ruling: Ruling) -> str:
        rights, context = ruling.rights, ruling.context
        ruling.check_administrator(_MANAGE)
        left = dict(rights.catalog.users)
        for node in tree.expressions:
            if tree.args.get("exists") and kind_of(node.name, rights) is None:
                continue
            name = existing(node, kind, rights, context)
            owned = governance.owned_by(ruling.cursor, name, schema_of(name))
            if owned:
                raise ProgrammingError(
                    f"the {kind.lower()} {name} owns {' and '.join(owned)}",
                    hint=f"ALTER USER {name} WITH PASSWORD NULL TOKEN NULL locks out"
                    if kind == "USER"
                    else "REVOKE it from its members, who then no longer reach them",
                    position=position(context.text, node),
                    statement=context.text,
                    code="2BP01",
                )
            left.pop(name, None)
            governance.drop_name(ruling.cursor, name)
        if kind == "USER" and rights.catalog.users:
            _check_administrator_left(left.values())
        return f"{kind.lower()} {', '.join(node.name for node in tree.expressions)}"

    return drop


def _check_administrator_left(users: Iterable[User]) -> None:
    """Make sure that somebody is left who may manage the store, and can connect to it for good."""
    if not any(
        user.administrator
        and (user.password is not None or user.token is not None)
        and user.valid_until is None
        for user in users
    ):
        raise ProgrammingError(
            "no administrator who can connect would be left",
            hint="make another user an administrator first: ALTER USER name SUPERUSER",
            code="2BP01",
        )


# -- options -----------------------------------------------------------------------------------


def _options(tree: exp.Expr, governor: Governor) -> dict[str, Any]:
    """Return the fields of a User that a statement gives, with hashes of what is secret."""
    given: dict[str, Any] = {}
    for option in tree.args.get("options") or ():
        words = option.this
        if tree.args["kind"] == "ROLE":
            raise ProgrammingError(
                f"a role takes no {words}: it cannot connect, its members do",
                hint="CREATE USER",
                code="42601",
            )
        if words in ("PASSWORD", "TOKEN"):
            given[words.lower()] = _secret(option.expression, words, governor)
        elif words == "VALID UNTIL":
            given["valid_until"] = governor.moment(option.expression, words)
        elif "administrator" in given:
            raise ProgrammingError(
                "SUPERUSER and NOSUPERUSER exclude each other", hint="give one", code="42601"
            )
        else:
            given["administrator"] = words == "SUPERUSER"
    return given


def _secret(node: exp.Expr, words: str, governor: Governor) -> str | None:
    value = governor.constant(node, words)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise DataError(f"{words} takes a text that is not empty", code="22023")
    return hashed(value)
