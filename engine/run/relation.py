"""The relational part of a plan, run in DuckDB."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp
from sqlglot.errors import SqlglotError

from memql.engine.bind.parameters import used_parameters
from memql.engine.context import StatementContext
from memql.engine.names import unknown
from memql.errors import (
    DataError,
    Error,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)

if TYPE_CHECKING:
    import pyarrow as pa


def run_relation(
    query: exp.Query,
    cursor: duckdb.DuckDBPyConnection,
    values: Mapping[str, Any],
    context: StatementContext,
) -> duckdb.DuckDBPyConnection:
    """Run a bound query; its rows wait on ``cursor``.

    Raises:
        ProgrammingError: DuckDB found a name, type or form that does not fit.
        DataError: a value could not be computed.
        OperationalError: memory, disk or an interruption.
    """
    try:
        return cursor.execute(print_sql(query), used_parameters(query, values))
    except duckdb.Error as error:
        raise translate(error, context) from error


def print_sql(query: exp.Expr) -> str:
    """Return the SQL of a bound tree, as DuckDB reads it: quoted, without comments."""
    try:
        return query.sql(dialect="duckdb", identify=True, comments=False)
    except (SqlglotError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # sqlglot prints its nodes without looking at how many arguments a function got.
        raise ProgrammingError(
            f"a function or clause has arguments that do not fit ({error})"
        ) from error


def translate(error: duckdb.Error, context: StatementContext) -> Error:
    """Return MemQL's error for one of DuckDB's, without its picture of the printed SQL."""
    text = str(error).split("\n\nLINE ")[0].strip()
    kind, _, message = text.partition(": ")
    message = message or kind
    missing = re.search(r'Referenced column "([^"]+)" (?:not found|was not found)', message)
    if missing is not None:
        candidates = re.findall(r'"([^"]+)"', message.partition("Candidate bindings:")[2])
        names = [name for name in candidates if not name.startswith("_memql")]
        return unknown("column", missing.group(1), names, context, None)
    if "transaction is aborted" in message:
        return OperationalError(
            "an error before this statement ended the transaction", hint="ROLLBACK it"
        )
    classes: tuple[tuple[type[duckdb.Error], type[Error]], ...] = (
        (duckdb.InterruptException, OperationalError),
        (duckdb.OutOfMemoryException, OperationalError),
        (duckdb.TransactionException, OperationalError),
        (duckdb.NotImplementedException, NotSupportedError),
        (duckdb.InternalException, InternalError),
        (duckdb.ConversionException, DataError),
        (duckdb.OutOfRangeException, DataError),
        (duckdb.DataError, DataError),
        (duckdb.ProgrammingError, ProgrammingError),
        (duckdb.OperationalError, OperationalError),
    )
    for theirs, ours in classes:
        if isinstance(error, theirs):
            return ours(message)
    return ProgrammingError(message)


def to_arrow(
    query: exp.Query,
    cursor: duckdb.DuckDBPyConnection,
    values: Mapping[str, Any],
    context: StatementContext,
) -> pa.Table:
    """Run a bound query and return all of its rows."""
    from memql.engine.result import arrow_of

    running = run_relation(query, cursor, values, context)
    try:
        return arrow_of(running)
    except duckdb.Error as error:
        raise translate(error, context) from error
