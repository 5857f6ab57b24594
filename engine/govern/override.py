"""SET memql.override: an administrator reads everybody's memories, and the audit says why."""

from __future__ import annotations

from memql.engine.context import StatementContext
from memql.engine.govern.ruling import note_alone
from memql.engine.rights import Identity
from memql.errors import ProgrammingError
from memql.storage.store import Store


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
    note_alone(store, context, action, "memories of everybody", {"reason": reason})
    identity.override = reason
