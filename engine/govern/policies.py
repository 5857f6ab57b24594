"""CREATE, ALTER and DROP POLICY."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.predicates import check_predicate
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.govern.names import grantee
from memql.engine.govern.ruling import Change, Ruling
from memql.engine.names import fold, position, unknown
from memql.engine.reach import PUBLIC
from memql.engine.rights import MAX_GIVEN
from memql.errors import NotSupportedError, ProgrammingError
from memql.storage import governance
from memql.storage.governance import MEMORIES, Policy

if TYPE_CHECKING:
    from memql.engine.govern.statements import Governor


def create_policy(tree: syntax.CreatePolicy, governor: Governor) -> Change:
    """Return what CREATE POLICY does."""
    using, check = _conditions(tree, governor)

    def create(ruling: Ruling) -> str:
        context = ruling.context
        owner, name = _owner(ruling), tree.this.name
        if _find(owner, name, ruling) is not None:
            raise ProgrammingError(
                f"the policy {name} exists already",
                hint="ALTER POLICY changes it, DROP POLICY takes it away",
                position=position(context.text, tree.this),
                statement=context.text,
                code="42710",
            )
        others = [one for one in ruling.rights.catalog.governance.policies if one.owner == owner]
        if owner is not None and len(others) >= MAX_GIVEN:
            raise ProgrammingError(
                f"{owner} has {len(others)} policies, at most {MAX_GIVEN} are possible",
                hint="DROP POLICY takes one away",
                statement=context.text,
                code="54001",
            )
        policy = Policy(
            name,
            owner,
            bool(tree.args.get("restrictive")),
            tree.args.get("command") or "ALL",
            _grantees(tree, ruling) or (PUBLIC,),
            using,
            check,
            context.now,
        )
        _check_command(policy, ruling)
        governance.put_policy(ruling.cursor, policy)
        return _shown(owner, name)

    return create


def alter_policy(tree: syntax.AlterPolicy, governor: Governor) -> Change:
    """Return what ALTER POLICY does."""
    using, check = _conditions(tree, governor)

    def alter(ruling: Ruling) -> str:
        context = ruling.context
        old = _required(tree, ruling)
        rename = tree.args.get("rename")
        changed = replace(
            old,
            name=old.name if rename is None else rename.name,
            grantees=_grantees(tree, ruling) or old.grantees,
            using=old.using if using is None else using,
            check=old.check if check is None else check,
        )
        if rename is not None and _find(old.owner, changed.name, ruling) is not None:
            raise ProgrammingError(
                f"the policy {changed.name} exists already",
                position=position(context.text, rename),
                statement=context.text,
                code="42710",
            )
        _check_command(changed, ruling)
        governance.drop_policy(ruling.cursor, old.owner, old.name)
        governance.put_policy(ruling.cursor, changed)
        return _shown(old.owner, old.name)

    return alter


def drop_policy(tree: syntax.DropPolicy, governor: Governor) -> Change:
    """Return what DROP POLICY does."""
    _check_table(tree, governor)

    def drop(ruling: Ruling) -> str:
        owner, name = _owner(ruling), tree.this.name
        if not tree.args.get("exists"):
            _required(tree, ruling)
        governance.drop_policy(ruling.cursor, owner, name)
        return _shown(owner, name)

    return drop


def _shown(owner: str | None, name: str) -> str:
    return f"policy {name} on memories of {'everybody' if owner is None else owner}"


def _owner(ruling: Ruling) -> str | None:
    """Return whose memories the policies of who asks rule; None is everybody's."""
    rights = ruling.rights
    return None if rights.administrator and rights.role is None else rights.name


def _find(owner: str | None, name: str, ruling: Ruling) -> Policy | None:
    found = ruling.rights.catalog.governance.policies
    return next((one for one in found if (one.owner, one.name) == (owner, name)), None)


def _required(tree: exp.Expr, ruling: Ruling) -> Policy:
    owner = _owner(ruling)
    found = _find(owner, tree.this.name, ruling)
    if found is None:
        policies = ruling.rights.catalog.governance.policies
        known = [one.name for one in policies if one.owner == owner]
        raise unknown("policy", tree.this.name, known, ruling.context, tree.this)
    return found


def _grantees(tree: exp.Expr, ruling: Ruling) -> tuple[str, ...]:
    nodes = tree.args.get("grantees") or ()
    return tuple(dict.fromkeys(grantee(one, ruling.rights, ruling.context) for one in nodes))


def _conditions(tree: exp.Expr, governor: Governor) -> tuple[str | None, str | None]:
    """Return the texts of USING and WITH CHECK, None where one is not given."""
    _check_table(tree, governor)
    texts: list[str | None] = []
    for key in ("using", "check"):
        condition = tree.args.get(key)
        if condition is not None:
            check_predicate(condition, governor.context)
        texts.append(None if condition is None else governor.views.write(condition))
    return texts[0], texts[1]


def _check_table(tree: exp.Expr, governor: Governor) -> None:
    table, context = tree.args["table"], governor.context
    if fold(table.name) != MEMORIES or table.db:
        raise NotSupportedError(
            f"a policy on {table.sql(dialect=PlainDuckDB)} is not possible",
            hint="policies are on memories; for other tables make views, and GRANT SELECT on those",
            position=position(context.text, table),
            statement=context.text,
        )


def _check_command(policy: Policy, ruling: Ruling) -> None:
    """Refuse a condition that the policy's command has no use for."""
    wrong = None
    if policy.command == "INSERT" and policy.using is not None:
        wrong = "a policy FOR INSERT takes WITH CHECK, and no USING"
    elif policy.command in ("SELECT", "DELETE") and policy.check is not None:
        wrong = f"a policy FOR {policy.command} takes USING, and no WITH CHECK"
    if wrong is not None:
        raise ProgrammingError(wrong, statement=ruling.context.text, code="42601")
