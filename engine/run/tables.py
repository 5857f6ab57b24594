"""Runs changes and definitions of ordinary tables, on the cursor of a transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import duckdb

from memql.engine.bind.definitions import ROWS_QUERY, ROWS_TABLE, Definition
from memql.engine.bind.writes import TableChange
from memql.engine.context import StatementContext
from memql.engine.names import quote
from memql.engine.plan import Plan
from memql.engine.printing import Printed
from memql.engine.result import Result, arrow_of, columns_of, rescanned, scannable
from memql.engine.run.executor import Executor
from memql.engine.run.relation import forget_rows, run_printed
from memql.engine.tables import MAIN, MAX_TYPE_CHARACTERS, too_large_type
from memql.errors import DataError, IntegrityError, ProgrammingError
from memql.storage import governance


def run_table_change(change: TableChange, executor: Executor) -> Result:
    """Run a change of an ordinary table; the result has the RETURNING rows, if any.

    Raises:
        DataError: a value is out of range or of the wrong type.
        IntegrityError: a constraint does not hold.
        OperationalError: another transaction changed the same rows.
    """
    with _rows(change.rows, executor) as typed:
        printed = typed(change.printed)
        try:
            with _hiding(change.hides, executor.context):
                running = run_printed(printed, executor.cursor, executor.values, executor.context)
            if change.returning:
                columns = columns_of(running)
                table = arrow_of(running)
                rows = rescanned(executor.store, table, columns)
                return Result(columns, rowcount=table.num_rows, rows=rows)
            counted = running.fetchone()
        finally:
            forget_rows(printed, executor.cursor)
    return Result(rowcount=int(counted[0]) if counted else 0)


@contextlib.contextmanager
def _hiding(table: str | None, context: StatementContext) -> Iterator[None]:
    """Say of an error only what it is, where its text could tell values of a table.

    Args:
        table: the table that may be changed and not read, or None.
    """
    try:
        yield
    except (DataError, IntegrityError, ProgrammingError) as error:
        # The others are about names and types, which whoever has a right knows.
        if table is None or error.code[:2] not in ("22", "23"):
            raise
        raise type(error)(
            f"the change does not fit the rows or the constraints of {table}",
            hint="who may SELECT there is told why",
            statement=context.text,
            code=error.code,
        ) from None


def run_definition(definition: Definition, executor: Executor) -> int:
    """Run a definition; return how many rows it took, -1 where it takes none.

    Raises:
        ProgrammingError: DuckDB found a name, type or form that does not fit.
        IntegrityError: a constraint does not hold, or something depends on what is dropped.
    """
    count = -1
    with _rows(definition.rows, executor) as typed:
        cursor, values = executor.cursor, executor.values
        if definition.makes_enum:
            _check_values(executor)
        if definition.schema != MAIN and definition.statements:
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(definition.schema)}")
        for statement in definition.statements:
            printed = typed(statement)
            try:
                with _hiding(definition.hides, executor.context):
                    run_printed(printed, cursor, values, executor.context)
                counted = cursor.fetchone() if cursor.description else None
            finally:
                forget_rows(printed, cursor)
            if counted and isinstance(counted[0], int):
                count = counted[0]
        owner = executor.context.owner
        for name in definition.drops:
            governance.drop_table_grants(cursor, owner, name)
        for name, new_name in definition.renames:
            governance.rename_table_grants(cursor, owner, name, new_name)
    return count


def _check_values(executor: Executor) -> None:
    """Refuse the values of an ENUM that would be too large, written out as its type is."""
    query = f"SELECT coalesce(sum(length(CAST(c0 AS VARCHAR)) + 4), 0) FROM {quote(ROWS_TABLE)}"
    characters = int(executor.cursor.execute(query).fetchall()[0][0])
    if characters > MAX_TYPE_CHARACTERS:
        raise too_large_type(characters, executor.context)


@contextlib.contextmanager
def _rows(plan: Plan | None, executor: Executor) -> Iterator[Callable[[Printed], Printed]]:
    """Let a statement read the rows of a plan; yield what gives it their names and types.

    Arrow does not keep all of DuckDB's types: an enum comes back as a text.
    """
    if plan is None:
        yield lambda printed: printed
        return
    result = executor.run(plan)
    assert result.rows is not None  # a query
    try:
        table = arrow_of(result.rows).select(range(len(result.columns)))
    finally:
        if result.rows is not executor.cursor:
            result.close()
    names = [f"c{number}" for number in range(len(result.columns))]
    executor.cursor.register(ROWS_TABLE, scannable(table).rename_columns(names))
    casts = ", ".join(
        f"CAST({name} AS {column.type}) AS {quote(column.name)}"
        for name, column in zip(names, result.columns, strict=True)
    )
    query = f"SELECT {casts} FROM {quote(ROWS_TABLE)}"
    try:
        yield lambda printed: replace(printed, sql=printed.sql.replace(ROWS_QUERY, query, 1))
    finally:
        # After an error DuckDB refuses this too, and the error must not be hidden by that.
        with contextlib.suppress(duckdb.Error):
            executor.cursor.unregister(ROWS_TABLE)
