"""SET memql.override: an administrator reads everybody's memories, and the audit says why."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from memql.engine import syntax
from memql.engine.context import StatementContext
from memql.engine.govern.ruling import note_alone, without_literals
from memql.engine.govern.statements import GOVERNING
from memql.engine.rights import Identity
from memql.errors import ProgrammingError
from memql.storage.store import Store

EVERYBODYS = "memories of everybody"


def set_override(reason: str, identity: Identity, store: Store, context: StatementContext) -> None:
    """Let a connection read everybody's memories from here on, or end that.

    Args:
        reason: why; an empty text ends it.
        identity: who the connection is.

    Raises:
        ProgrammingError: who asks is no administrator of a store with users.
    """
    rights = context.rights
    if reason and not (rights.administrator and rights.catalog.users):
        raise ProgrammingError(
            f"the user {rights.owner} may not set memql.override",
            hint="an administrator of a store with users may; in a store without users who "
            "connects without a user reads everything anyhow",
            statement=context.text,
            code="42501",
        )
    action = "SET memql.override" if reason else "RESET memql.override"
    note_alone(store, context, action, EVERYBODYS, {"reason": reason})
    identity.override = reason


def note_reading(
    tree: exp.Expr, write: Callable[[exp.Expr], str], store: Store, context: StatementContext
) -> None:
    """Note a statement under an override in the audit, before it reads anything.

    Views read memories too, and so may what reads views: every statement is noted but those that
    read nothing or have a row of their own.

    Args:
        write: a tree to text.
    """
    if not isinstance(tree, _READ_NOTHING):
        text = write(without_literals(tree))
        detail = {"statement": text, "reason": context.settings.override}
        note_alone(store, context, "OVERRIDE", EVERYBODYS, detail)


_READ_NOTHING: tuple[type[exp.Expr], ...] = (
    syntax.SetSetting,
    syntax.ShowSetting,
    exp.Transaction,
    exp.Commit,
    exp.Rollback,
    *GOVERNING,
)
