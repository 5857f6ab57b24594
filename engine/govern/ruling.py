"""One statement of governance: what it works with, and what it notes in the audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from memql.engine.context import StatementContext
from memql.engine.rights import DEFAULT_OWNER, Rights
from memql.errors import ProgrammingError
from memql.storage import audit
from memql.storage.store import Store
from memql.storage.transaction import roll_back

if TYPE_CHECKING:
    import duckdb

# What stands for itself in a statement: the audit has a mark in its place.
_LITERALS = (
    exp.Literal,
    exp.HexString,
    exp.BitString,
    exp.ByteString,
    exp.UnicodeString,
    exp.RawString,
    exp.National,
)


@dataclass(frozen=True)
class Ruling:
    """A statement of governance inside its transaction, under the store's commit lock.

    Args:
        rights: of who asks, as they are committed now.
        cursor: in whose transaction rows are written.
        context: the statement.
    """

    rights: Rights
    cursor: duckdb.DuckDBPyConnection
    context: StatementContext

    def check_administrator(self, what: str) -> None:
        """Make sure that who asks is an administrator.

        Args:
            what: what is asked for, such as "manage users and roles".

        Raises:
            ProgrammingError: it is somebody else.
        """
        if not self.rights.administrator:
            raise self.refused(f"may not {what}", "connect as an administrator")

    def refused(self, what: str, hint: str | None = None) -> ProgrammingError:
        """Return the error for what who asks may not do."""
        return ProgrammingError(
            f"the user {self.rights.owner} {what}",
            hint=hint,
            statement=self.context.text,
            code="42501",
        )


# Writes the rows of a statement and returns to what it was done, for the audit.
Change = Callable[[Ruling], str]


def without_literals(tree: exp.Expr) -> exp.Expr:
    """Return a copy of a statement in which each literal is ``?``."""

    def marked(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Identifier) and isinstance(node.parent, exp.PropertyEQ):
            return exp.to_identifier("?")  # {'a text': ...}
        return exp.Placeholder() if isinstance(node, _LITERALS) else node

    return tree.copy().transform(marked, copy=False)


def note(
    cursor: duckdb.DuckDBPyConnection,
    rights: Rights,
    action: str,
    target: str,
    detail: Mapping[str, str | int],
) -> None:
    """Add a row to the audit, inside the cursor's transaction under the commit lock.

    Args:
        rights: of who asks.
        action: what is done, such as "GRANT".
        target: to what.
        detail: figures, reasons and statements without literals.
    """
    who = DEFAULT_OWNER if rights.user is None else rights.user
    role = {} if rights.role is None else {"role": rights.role}
    audit.append(cursor, who, action, target, {**detail, **role})


def note_alone(
    store: Store,
    context: StatementContext,
    action: str,
    target: str,
    detail: Mapping[str, str | int],
) -> None:
    """Add a row to the audit, in a transaction of its own: it is durable afterwards."""
    cursor = store.cursor()
    store.take_commit_lock(context.check_cancel)
    try:
        cursor.begin()
        note(cursor, context.rights, action, target, detail)
        cursor.commit()
    except BaseException:
        roll_back(cursor)
        raise
    finally:
        store.commit_lock.release()
        cursor.close()
