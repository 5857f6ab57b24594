"""Runs COPY ... TO: the rows of a query into a file."""

from __future__ import annotations

from memql.engine.bind.files import CopyOut
from memql.engine.context import StatementContext
from memql.engine.result import Result, arrow_of


def copy_out(copy: CopyOut, result: Result, context: StatementContext) -> Result:
    """Write the rows of a result to a file; the result has their number.

    Raises:
        ProgrammingError: the file is outside of the folders, or an option is unknown.
        OperationalError: the file cannot be written.
    """
    assert context.door is not None and result.rows is not None  # a query, bound with a door
    try:
        with result.guard():
            table = arrow_of(result.rows).select(range(len(result.columns)))
        names = [column.name for column in result.columns]
        count = context.door.write(
            table.rename_columns(names), copy.path, copy.format, copy.options
        )
    finally:
        result.close()
    return Result(rowcount=count)
