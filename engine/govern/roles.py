"""Membership in roles: GRANT and REVOKE of roles, SET ROLE."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from memql.engine import syntax
from memql.engine.govern.names import grantee, kind_of
from memql.engine.govern.ruling import Change, Ruling
from memql.engine.names import position, unknown
from memql.engine.reach import PUBLIC
from memql.errors import NotSupportedError, ProgrammingError
from memql.storage import governance
from memql.storage.governance import Membership

if TYPE_CHECKING:
    from memql.engine.govern.statements import Governor


def grant_role(tree: syntax.GrantRole, governor: Governor) -> Change:
    """Return what GRANT of a role does."""

    def grant(ruling: Ruling) -> str:
        rights, context = ruling.rights, ruling.context
        roles = [_role(node, ruling) for node in tree.args["roles"]]
        members = [_member(node, ruling) for node in tree.args["grantees"]]
        # The roles of each as this statement leaves them: two of its own may close a circle.
        above = {name: rights.catalog.roles_of(name) for name in {*roles, *members}}
        for node, role in zip(tree.args["roles"], roles, strict=True):
            for member in members:
                if member == role or member in above[role]:
                    raise ProgrammingError(
                        f"{role} cannot have {member} as a member: it would be a member of itself",
                        position=position(context.text, node),
                        statement=context.text,
                        code="0LP01",
                    )
                for name, known in above.items():
                    if name == member or member in known:
                        known |= {role, *above[role]}
                old = _membership(role, member, ruling)
                admin = bool(tree.args.get("admin")) or (old is not None and old.admin)
                by = rights.name if old is None else old.granted_by
                since = context.now if old is None else old.created_at
                governance.put_membership(ruling.cursor, Membership(role, member, admin, by, since))
        return f"role {', '.join(roles)} to {', '.join(members)}"

    return grant


def revoke_role(tree: syntax.RevokeRole, governor: Governor) -> Change:
    """Return what REVOKE of a role does; to revoke what was not granted is no error."""

    def revoke(ruling: Ruling) -> str:
        roles = [_role(node, ruling) for node in tree.args["roles"]]
        members = [node.name for node in tree.args["grantees"]]
        for role in roles:
            for member in members:
                old = _membership(role, member, ruling)
                if old is None:
                    continue
                if tree.args.get("admin"):
                    left = Membership(role, member, False, old.granted_by, old.created_at)
                    governance.put_membership(ruling.cursor, left)
                else:
                    governance.drop_membership(ruling.cursor, role, member)
        return f"role {', '.join(roles)} from {', '.join(members)}"

    return revoke


def set_role(tree: syntax.SetRole, governor: Governor) -> Change:
    """Return what SET ROLE does; the session puts the role on afterwards."""

    def put_on(ruling: Ruling) -> str:
        rights, context = ruling.rights, ruling.context
        if tree.this is None:
            return "none"
        if not rights.catalog.users:
            raise NotSupportedError(
                "SET ROLE is not possible in a store without users",
                hint="connect with the role's name as the user",
                position=position(context.text, tree.this),
                statement=context.text,
            )
        assert rights.user is not None  # there are users
        if tree.this.name not in rights.catalog.roles_of(rights.user):
            raise ProgrammingError(
                f"the user {rights.user} is no member of a role {tree.this.name}",
                position=position(context.text, tree.this),
                statement=context.text,
                code="42501",
            )
        return f"role {tree.this.name}"

    return put_on


def _role(node: exp.Expr, ruling: Ruling) -> str:
    """Return the role that is granted or revoked, if who asks may do that."""
    rights, context = ruling.rights, ruling.context
    names = rights.owners
    managed = {
        one.role
        for one in rights.catalog.governance.memberships
        if one.member in names and one.admin
    }
    if not rights.administrator and node.name not in managed:
        raise ruling.refused(
            f"may not grant or revoke a role {node.name}",
            "administrators may, and members with ADMIN OPTION",
        )
    if kind_of(node.name, rights) == "USER":
        raise ProgrammingError(
            f"{node.name} is a user: only roles have members",
            position=position(context.text, node),
            statement=context.text,
            code="0LP01",
        )
    if node.name not in rights.catalog.roles:
        raise unknown("role", node.name, rights.catalog.roles, context, node)
    return node.name


def _member(node: exp.Expr, ruling: Ruling) -> str:
    name = grantee(node, ruling.rights, ruling.context)
    if name == PUBLIC:
        raise ProgrammingError(
            "PUBLIC cannot be a member of a role",
            hint="GRANT ... ON ... TO PUBLIC gives everybody a right",
            position=position(ruling.context.text, node),
            statement=ruling.context.text,
            code="0LP01",
        )
    return name


def _membership(role: str, member: str, ruling: Ruling) -> Membership | None:
    found = ruling.rights.catalog.governance.memberships
    return next((one for one in found if (one.role, one.member) == (role, member)), None)
