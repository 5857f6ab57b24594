"""The relational part of a plan, run in DuckDB."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import duckdb

from memql.engine.bind.parameters import Values
from memql.engine.context import StatementContext
from memql.engine.failures import failure_of
from memql.engine.failures import translate as translate
from memql.engine.names import quote, unreadable
from memql.engine.printing import Printed, VisibleView
from memql.engine.result import arrow_of, scannable
from memql.errors import InternalError, OperationalError

if TYPE_CHECKING:
    import pyarrow as pa


def run_printed(
    printed: Printed,
    cursor: duckdb.DuckDBPyConnection,
    values: Values,
    context: StatementContext,
) -> duckdb.DuckDBPyConnection:
    """Run a printed query; its rows wait on ``cursor``.

    Raises:
        ProgrammingError: DuckDB found a name, type or form that does not fit.
        DataError: a value could not be computed.
        OperationalError: memory, disk or an interruption.
    """
    context.check_cancel()
    try:
        register_rows(printed, cursor, values)
        return cursor.execute(printed.parsed, values.of(printed.parameters))
    except duckdb.Error as error:
        raise translate(error, context) from error


def register_rows(printed: Printed, cursor: duckdb.DuckDBPyConnection, values: Values) -> None:
    """Let a query read by their names the rows of its files, and of memories, as they are now."""
    for name in printed.tables:
        cursor.register(name, values.tables[name])
    for visible in printed.visible:
        if isinstance(visible, VisibleView):
            _keep_rows(visible, cursor, values)
            continue
        rows = arrow_of(
            cursor.execute(visible.printed.parsed, values.of(visible.printed.parameters))
        )
        # How the rows lie in chunks depends on those that were left out.
        cursor.register(visible.name, scannable(rows.combine_chunks()))


def _keep_rows(visible: VisibleView, cursor: duckdb.DuckDBPyConnection, values: Values) -> None:
    """Put the rows of a view of another's into a table of the cursor's own, which keeps types.

    Raises:
        ProgrammingError: the view fails, which tells nothing else.
    """
    printed = visible.printed
    try:
        register_rows(printed, cursor, values)
        make = f"CREATE OR REPLACE TEMP TABLE {quote(visible.name)} AS {printed.sql}"
        cursor.execute(make, values.of(printed.parameters))
    except duckdb.Error as error:
        failure = failure_of(error, str(error).partition(": ")[2])
        if issubclass(failure.error, OperationalError | InternalError):
            raise
        raise unreadable(visible.view, None, "") from None
    finally:
        forget_rows(printed, cursor)


def forget_rows(printed: Printed, cursor: duckdb.DuckDBPyConnection) -> None:
    """Give up the rows of memories, and of views, that a query has read."""
    # After an error DuckDB refuses this too, and the error must not be hidden by it.
    with contextlib.suppress(duckdb.Error):
        for visible in printed.visible:
            if isinstance(visible, VisibleView):
                cursor.execute(f"DROP TABLE IF EXISTS {quote(visible.name)}")
            else:
                cursor.unregister(visible.name)


def to_arrow(
    printed: Printed,
    cursor: duckdb.DuckDBPyConnection,
    values: Values,
    context: StatementContext,
) -> pa.Table:
    """Run a printed query and return all of its rows."""
    running = run_printed(printed, cursor, values, context)
    try:
        return arrow_of(running)
    except duckdb.Error as error:
        raise translate(error, context) from error
    finally:
        forget_rows(printed, cursor)
