"""Looks at memories that are about to be written: whether who asks may leave them so."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import duckdb
from sqlglot import exp

from memql.engine.bind.policy import INSERT, UPDATE, writable, writes_own_only
from memql.engine.names import quote
from memql.engine.printing import print_sql
from memql.engine.run.statement import Statement
from memql.errors import ProgrammingError
from memql.storage.schema import MEMORY_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

_NEW = "_memql_new"
_TYPES = dict(MEMORY_COLUMNS)


def check_inserted(rows: pa.Table, statement: Statement) -> None:
    """Make sure that who asks may insert rows.

    Args:
        rows: columns of memories; what is missing is NULL.

    Raises:
        ProgrammingError: a memory of another owner, or one that a policy refuses.
    """
    import pyarrow.compute as pc

    rights = statement.context.rights
    if rights.writes_everything:
        return
    if writes_own_only(rights, INSERT):
        others = set(pc.unique(rows.column("owner")).to_pylist()) - set(rights.owners)
        if others:
            raise _not_theirs(", ".join(sorted(others)), statement)
        return
    given = [
        f"CAST({quote(name) if name in rows.column_names else 'NULL'} AS {kind}) AS {quote(name)}"
        for name, kind in MEMORY_COLUMNS
    ]
    old = 'NULL AS "_memql_old"'
    _check(f"SELECT {old}, {', '.join(given)} FROM {_NEW}", INSERT, rows, statement)


def check_updated(rows: pa.Table, columns: Sequence[str], statement: Statement) -> None:
    """Make sure that who asks may leave memories as an UPDATE would.

    Args:
        rows: the column id, and one for each of ``columns``.

    Raises:
        ProgrammingError: a memory would be given to or taken from another owner, or be one that
            a policy refuses.
    """
    rights = statement.context.rights
    if rights.writes_everything:
        return
    if "owner" not in columns and writes_own_only(rights, UPDATE):
        return
    after = [
        f"n.{quote(name)} AS {quote(name)}" if name in columns else f"m.{quote(name)}"
        for name in _TYPES
    ]
    query = (
        f'SELECT m."owner" AS "_memql_old", {", ".join(after)} FROM {_NEW} AS n '
        'JOIN "_memql"."memories" AS m ON m."id" = CAST(n."id" AS UUID)'
    )
    _check(query, UPDATE, rows, statement)


def _check(query: str, command: str, rows: pa.Table, statement: Statement) -> None:
    """Refuse the first of the rows that a query gives and that may not be written."""
    rights = statement.context.rights
    allowed = writable(rights, command)
    assert allowed is not None  # who writes everything was let through
    cursor = statement.cursor
    theirs = print_sql(exp.Literal.string(rights.owner))
    condition = print_sql(allowed)
    marks = {mark.name for mark in allowed.find_all(exp.Placeholder)}
    cursor.register(_NEW, rows)
    try:
        found = cursor.execute(
            f'SELECT "_memql_old", "owner" FROM ({query}) WHERE ({condition}) IS NOT TRUE '
            f'OR ("_memql_old" <> "owner" AND "_memql_old" <> {theirs}) LIMIT 1',
            statement.values.of(sorted(marks)),
        ).fetchall()
    finally:
        # After an error DuckDB refuses this too, and the error must not be hidden by that.
        with contextlib.suppress(duckdb.Error):
            cursor.unregister(_NEW)
    if not found:
        return
    old, new = found[0]
    if old is not None and old != new and old != rights.owner:
        raise ProgrammingError(
            f"the user {rights.name} may not give a memory of {old} to {new}: its owner may",
            hint="leave the column owner out; what a role owns it gives away itself: SET ROLE",
            code="42501",
        )
    raise _not_theirs(new, statement)


def _not_theirs(owners: str, statement: Statement) -> ProgrammingError:
    rights = statement.context.rights
    if owners in rights.owners:
        return ProgrammingError(
            f"a policy keeps {rights.name} from writing such a memory",
            hint="memql.policies lists what holds",
            code="42501",
        )
    return ProgrammingError(
        f"the user {rights.name} may not write memories of {owners}",
        hint="leave the column owner out: it is the user; or ask for GRANT WRITE ON MEMORIES",
        code="42501",
    )
