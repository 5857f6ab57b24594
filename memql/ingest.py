"""Rows of tables and data frames into the store, as Arrow."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from memql.engine.bind.shape import MEMORIES
from memql.engine.names import fold, quote
from memql.engine.result import scratch_connection
from memql.errors import InterfaceError

if TYPE_CHECKING:
    import pyarrow as pa

    from memql.connection import Connection

# What comes before the INSERT; those of ADBC.
_MODES = {
    "append": None,
    "create": "CREATE TABLE",
    "replace": "CREATE OR REPLACE TABLE",
    "create_append": "CREATE TABLE IF NOT EXISTS",
}


def ingest(connection: Connection[Any], table: str, data: Any, mode: str) -> int:
    """Insert the rows of ``data`` as :meth:`memql.Connection.ingest` says; return how many."""
    if mode not in _MODES:
        raise InterfaceError(
            f"ingest knows no mode {mode!r}",
            hint=f"modes are {', '.join(_MODES)}",
            code="22023",
        )
    rows = arrow_table(data)
    name = ".".join(map(quote, table.split(".", 1)))
    columns = ", ".join(map(quote, rows.column_names))
    marks = ", ".join("?" for _ in rows.column_names)
    create = None if fold(table) == MEMORIES and mode == "create_append" else _MODES[mode]
    whole = create is not None and not connection.in_transaction
    with connection.transaction() if whole else nullcontext():
        if create is not None:
            connection.execute(f"{create} {name} ({_definitions(rows)})")
        statement = f"INSERT INTO {name} ({columns}) VALUES ({marks})"
        return connection.executemany(statement, rows).rowcount


def arrow_table(data: Any) -> pa.Table:
    """Return data as an Arrow table.

    Raises:
        InterfaceError: it is nothing like a table.
    """
    import pyarrow as pa

    if type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns"):
        # Its own stream would make a column of the index.
        return pa.Table.from_pandas(data, preserve_index=False)
    if isinstance(data, pa.RecordBatchReader):
        return data.read_all()
    if not hasattr(data, "__arrow_c_stream__") and not hasattr(data, "__arrow_c_array__"):
        raise InterfaceError(
            f"an Arrow table or a data frame was asked for, found {type(data).__name__}",
            hint="make one: pyarrow.Table.from_pylist(rows)",
            code="22023",
        )
    return pa.table(data)


def _definitions(rows: pa.Table) -> str:
    """Return the columns of CREATE TABLE for rows, each with DuckDB's type; enums are texts."""
    import pyarrow as pa

    kinds = [
        kind.value_type if pa.types.is_dictionary(kind) else kind for kind in rows.schema.types
    ]
    # A column without any value may get texts later.
    kinds = [pa.string() if pa.types.is_null(kind) else kind for kind in kinds]
    names = [f"c{i}" for i in range(len(kinds))]
    empty = pa.schema(list(zip(names, kinds, strict=True))).empty_table()
    scratch = scratch_connection().cursor()
    scratch.register("empty", empty)
    described = scratch.execute("DESCRIBE FROM empty").fetchall()
    return ", ".join(
        f"{quote(name)} {kind}"
        for name, (_, kind, *_) in zip(rows.column_names, described, strict=True)
    )
