"""GRANT and REVOKE of rights on memories, ordinary tables and views."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.predicates import check_predicate
from memql.engine.catalog import SCHEMA
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.govern.names import grantee
from memql.engine.govern.ruling import Change, Ruling
from memql.engine.names import fold, position, unknown
from memql.engine.reach import PUBLIC
from memql.engine.rights import MAX_GIVEN
from memql.engine.tables import MAIN
from memql.errors import DataError, NotSupportedError, ProgrammingError
from memql.storage import governance
from memql.storage.governance import MEMORIES, Grant

if TYPE_CHECKING:
    from memql.engine.govern.statements import Governor
    from memql.engine.views import ViewCatalog


# Others wait with their commits for the end of a statement of governance.
MOST_AT_ONCE = 5000


@dataclass(frozen=True)
class _Object:
    """What a right is on.

    Args:
        owner: None is everybody's memories.
        target: MEMORIES, or the name of a table or view.
        actions: the rights that the statement names.
    """

    owner: str | None
    target: str
    actions: tuple[str, ...]

    def __str__(self) -> str:
        if self.target != MEMORIES:
            return f"table {self.owner}.{self.target}"
        return f"memories of {'everybody' if self.owner is None else self.owner}"


# -- GRANT -------------------------------------------------------------------------------------


def grant(tree: syntax.Grant, governor: Governor) -> Change:
    """Return what GRANT of rights does."""
    node = tree.args.get("until")
    until = None if node is None else governor.moment(node, "UNTIL")
    where = tree.args.get("where")
    predicate = None
    if where is not None:
        _check_condition(tree, governor)
        predicate = governor.views.write(where.this)
    owner = _owner_given(tree, governor)

    def give(ruling: Ruling) -> str:
        rights = ruling.rights
        if tree.args.get("tables"):
            objects = [
                _granted_table(one, tree.args["actions"], ruling, governor.views.views)
                for one in tree.args["tables"]
            ]
        else:
            objects = [_granted_memories(tree, owner, ruling)]
        names = [grantee(one, rights, ruling.context) for one in tree.args["grantees"]]
        number = governance.next_grant(ruling.cursor)
        known = {_key(one): one for one in rights.catalog.governance.grants}
        grantable = bool(tree.args.get("grantable") and tree.args.get("tables"))
        made: list[Grant] = []
        for thing, name in product(objects, dict.fromkeys(names)):
            for action in thing.actions:
                if len(made) >= MOST_AT_ONCE:
                    raise ProgrammingError(
                        f"the statement gives more than {MOST_AT_ONCE:,} rights",
                        hint="GRANT to a role, and the role to its members",
                        statement=ruling.context.text,
                        code="54001",
                    )
                given = Grant(
                    number,
                    action,
                    thing.target,
                    thing.owner,
                    name,
                    predicate,
                    rights.name,
                    grantable,
                    ruling.context.now,
                    until,
                )
                old = known.get(_key(given))
                if old is None:
                    _check_room(given, ruling)
                    number += 1
                made.append(given if old is None else _both(old, given))
        governance.put_grants(ruling.cursor, made)
        return f"{', '.join(map(str, objects))} to {', '.join(names)}"

    return give


def _check_room(given: Grant, ruling: Ruling) -> None:
    """Refuse one grant more with another condition than a grantee's queries can bear."""
    if given.target != MEMORIES:
        return
    alike = [
        one
        for one in ruling.rights.catalog.governance.grants
        if (one.action, one.target, one.owner, one.grantee, one.granted_by)
        == (given.action, given.target, given.owner, given.grantee, given.granted_by)
    ]
    if len(alike) >= MAX_GIVEN:
        raise ProgrammingError(
            f"{given.grantee} has {len(alike)} grants of {given.action} with other conditions from "
            f"the same giver, at most {MAX_GIVEN} are possible",
            hint="REVOKE them, and GRANT once with a condition that holds for all",
            statement=ruling.context.text,
            code="54001",
        )


def _key(one: Grant) -> tuple[object, ...]:
    """What two grants have in common of which one is enough."""
    return one.action, fold(one.target), one.owner, one.grantee, one.predicate, one.granted_by


def _both(old: Grant, new: Grant) -> Grant:
    """Return one grant for two: GRANT gives and takes nothing away."""
    until = None if old.until is None or new.until is None else max(old.until, new.until)
    return replace(old, grantable=old.grantable or new.grantable, until=until)


def _check_condition(tree: syntax.Grant, governor: Governor) -> None:
    where, context = tree.args["where"], governor.context
    if tree.args.get("tables"):
        raise NotSupportedError(
            "GRANT ... ON TABLE ... WHERE is not possible",
            hint="make a view of the rows, and GRANT SELECT on that",
            position=position(context.text, where),
            statement=context.text,
        )
    check_predicate(where.this, context)


def _owner_given(tree: exp.Expr, governor: Governor) -> str | None:
    """Return whose memories a statement names with OF, or None."""
    node = tree.args.get("owner")
    if node is None:
        return None
    owner = governor.constant(node, "OF")
    if not isinstance(owner, str):
        raise DataError(
            f"OF takes the name of an owner, found {owner!r}",
            statement=governor.context.text,
            code="22023",
        )
    return owner


def _memory_actions(tree: exp.Expr) -> tuple[str, ...]:
    actions = tree.args["actions"]
    if actions == ["ALL"]:
        return syntax.PRIVILEGES
    more = ["SHARE"] if tree.args.get("grantable") else []
    return tuple(dict.fromkeys([*actions, *more]))


def _granted_memories(tree: syntax.Grant, owner: str | None, ruling: Ruling) -> _Object:
    """Return the memories of a GRANT, if who asks may grant them."""
    rights, now = ruling.rights, ruling.context.now
    actions = _memory_actions(tree)
    if rights.name is None:
        return _Object(owner, MEMORIES, actions)
    owner = rights.name if owner is None else owner
    if owner not in rights.owners:
        held = {
            action
            for action in syntax.PRIVILEGES
            for one in rights.reaches(action)
            if one.owner in (None, owner) and (one.until is None or one.until > now)
        }
        for action in actions:
            if not {action, "SHARE"} <= held:
                raise ruling.refused(
                    f"may not grant {action} on memories of {owner}",
                    f"that takes {action} and SHARE on them",
                )
    return _Object(owner, MEMORIES, actions)


def _granted_table(
    node: exp.Table, actions: list[str], ruling: Ruling, views: ViewCatalog
) -> _Object:
    """Return the table or view of a GRANT, if who asks may grant these rights on it."""
    rights, context = ruling.rights, ruling.context
    owner, name, is_view = _found_table(node, ruling, views)
    if is_view and not {*actions} <= {"SELECT", "ALL"}:
        raise ProgrammingError(
            f"{name} is a view: SELECT is the only right on it",
            position=position(context.text, node),
            statement=context.text,
            code="0LP01",
        )
    every = ("SELECT",) if is_view else syntax.TABLE_PRIVILEGES
    asked = every if actions == ["ALL"] else tuple(dict.fromkeys(actions))
    if rights.name is not None and owner not in rights.owners:
        for action in asked:
            if not rights.has_table(owner, name, action, context.now, grantable=True):
                raise ruling.refused(
                    f"may not grant {action} on {owner}.{name}",
                    f"that takes {action} WITH GRANT OPTION",
                )
    return _Object(owner, name, asked)


def _found_table(node: exp.Table, ruling: Ruling, views: ViewCatalog) -> tuple[str, str, bool]:
    """Return (owner, name, whether it is a view) of what a statement names.

    What who asks has no right on is as if it were not there.
    """
    rights, context = ruling.rights, ruling.context
    owner = _table_owner(node, ruling)
    views = views.of(owner)
    own = rights.name is None or owner in rights.owners
    seen = not node.catalog and fold(node.db) != SCHEMA
    if seen and (own or _has_some(owner, node.name, ruling)):
        table = views.tables.find(node.name)
        if table is not None:
            return owner, table.name, False
        view = views.own(node.name)
        if view is not None:
            return owner, view.name, True
    known = [*views.own_names(), *views.tables.names()] if own else []
    shown = node.sql(dialect=PlainDuckDB)
    if fold(node.name) == MEMORIES and not node.db:
        raise ProgrammingError(
            "memories is no ordinary table",
            hint="GRANT READ ON MEMORIES TO ...",
            position=position(context.text, node),
            statement=context.text,
            code="42809",
        )
    raise unknown("table", shown, known, context, node)


def _table_owner(node: exp.Table, ruling: Ruling) -> str:
    return ruling.rights.owner if not node.db or fold(node.db) == MAIN else node.db


def _has_some(owner: str, name: str, ruling: Ruling) -> bool:
    rights, now = ruling.rights, ruling.context.now
    return any(rights.has_table(owner, name, one, now) for one in syntax.TABLE_PRIVILEGES)


# -- REVOKE ------------------------------------------------------------------------------------


def revoke(tree: syntax.Revoke, governor: Governor) -> Change:
    """Return what REVOKE of rights does; to revoke what was not granted is no error."""
    owner = _owner_given(tree, governor)

    def take(ruling: Ruling) -> str:
        names = {
            PUBLIC if fold(node.name) == PUBLIC else node.name for node in tree.args["grantees"]
        }
        if tree.args.get("tables"):
            views = governor.views.views
            objects = [_revoked_table(one, tree, ruling, views) for one in tree.args["tables"]]
        else:
            objects = _revoked_memories(tree, owner, ruling)
        given = list(_given(objects, names, ruling))
        if tree.args.get("grantable") and tree.args.get("tables"):
            less = [replace(one, grantable=False) for one in given]
            governance.put_grants(ruling.cursor, less)
        else:
            governance.drop_grants(ruling.cursor, [one.id for one in given])
        return f"{', '.join(map(str, objects))} from {', '.join(sorted(names))}"

    return take


def _revoked_memories(tree: syntax.Revoke, owner: str | None, ruling: Ruling) -> list[_Object]:
    rights = ruling.rights
    # On memories WITH GRANT OPTION is SHARE.
    actions = ("SHARE",) if tree.args.get("grantable") else _memory_actions(tree)
    if owner is not None or rights.name is None:
        return [_Object(owner, MEMORIES, actions)]
    own = [_Object(rights.name, MEMORIES, actions)]
    # What the administrator of the embedded store gave of everybody's has no other name.
    return [*own, _Object(None, MEMORIES, actions)] if rights.administrator else own


def _revoked_table(
    node: exp.Table, tree: syntax.Revoke, ruling: Ruling, views: ViewCatalog
) -> _Object:
    owner, name = _table_owner(node, ruling), node.name
    if ruling.rights.name is None or owner in ruling.rights.owners:
        owner, name, _ = _found_table(node, ruling, views)
    actions = tree.args["actions"]
    return _Object(owner, name, syntax.TABLE_PRIVILEGES if actions == ["ALL"] else tuple(actions))


def _given(objects: list[_Object], names: set[str], ruling: Ruling) -> Iterable[Grant]:
    """Yield the grants of some rights to some names that who asks may take away."""
    rights = ruling.rights
    for thing in objects:
        # The owner, and an administrator, takes away what anybody gave.
        anybodys = rights.administrator or thing.owner in rights.owners
        for one in rights.catalog.governance.grants:
            if (
                one.owner == thing.owner
                and fold(one.target) == fold(thing.target)
                and one.action in thing.actions
                and one.grantee in names
                and (anybodys or one.granted_by in rights.owners)
            ):
                yield one
