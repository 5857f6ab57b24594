"""The relational part of a plan, run in DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from memql.engine.bind.parameters import Values
from memql.engine.context import StatementContext
from memql.engine.failures import translate as translate
from memql.engine.printing import Printed
from memql.engine.result import arrow_of

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
        register_files(printed, cursor, values)
        return cursor.execute(printed.sql, values.of(printed.parameters))
    except duckdb.Error as error:
        raise translate(error, context) from error


def register_files(printed: Printed, cursor: duckdb.DuckDBPyConnection, values: Values) -> None:
    """Let a query read the rows of its files by the names that it has for them."""
    for name in printed.tables:
        cursor.register(name, values.tables[name])


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
