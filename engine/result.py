"""What a statement gives back: columns, and rows that are still in DuckDB."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from memql.engine.names import quote
from memql.errors import DataError, ProgrammingError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from memql.storage.store import Store


@dataclass(frozen=True)
class Column:
    """A result column: its name and DuckDB's name of its type."""

    name: str
    type: str


@dataclass
class Result:
    """The rows of one statement, fetched as they are asked for.

    Args:
        columns: the visible columns; empty if the statement gives no rows.
        rowcount: rows written by a change; -1 for queries.
        rows: the cursor on which DuckDB holds the rows, or None.
        guard: what watches a fetch: the statement's time limit, DuckDB's errors in MemQL's words.
        objects: by visible column, where its objects come from: the hidden column with their
            numbers, and the objects. Arrow and data frames keep the column's own value.
    """

    columns: tuple[Column, ...] = ()
    rowcount: int = -1
    rows: duckdb.DuckDBPyConnection | None = None
    objects: Mapping[int, tuple[int, Sequence[Any]]] = field(default_factory=dict)
    guard: Callable[[], AbstractContextManager[object]] = nullcontext

    def fetchmany(self, size: int) -> list[tuple[Any, ...]]:
        """Return the next rows, at most ``size``."""
        if self.rows is None:
            return []
        with self.guard():
            rows = self.rows.fetchmany(size)
        return [self._shown(row) for row in rows]

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows that are left."""
        if self.rows is None:
            return []
        with self.guard():
            rows = self.rows.fetchall()
        return [self._shown(row) for row in rows]

    def arrow(self) -> pa.Table:
        """Return all rows that are left as an Arrow table."""
        import pyarrow as pa

        if self.rows is None:
            return pa.table({})
        with self.guard():
            table = arrow_of(self.rows)
        return plain_arrow(table.select(range(len(self.columns))))

    def arrow_reader(self, batch_rows: int) -> pa.RecordBatchReader:
        """Return the rows that are left as Arrow batches, each made when it is asked for.

        Args:
            batch_rows: rows in a batch, at most.

        Raises:
            DataError: there would be no row in a batch.
        """
        import pyarrow as pa

        if batch_rows < 1:
            raise DataError(
                f"a batch has at least 1 row, asked was for {batch_rows}",
                hint="leave batch_size out",
                code="22023",
            )
        if self.rows is None:
            return pa.RecordBatchReader.from_batches(pa.schema([]), [])
        with self.guard():
            batches = arrow_of(self.rows, batch_rows)
        shown = range(len(self.columns))
        empty = pa.Table.from_batches([], schema=batches.schema)
        schema = plain_arrow(empty.select(shown)).schema
        return pa.RecordBatchReader.from_batches(schema, self._batches(batches, schema))

    def _batches(
        self, batches: pa.RecordBatchReader, schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        while True:
            if self.rows is None:
                raise ProgrammingError(
                    "the rows of this reader were given up",
                    hint="read it to its end before the cursor runs or closes",
                    code="24000",
                )
            with self.guard():
                try:
                    batch = batches.read_next_batch()
                except StopIteration:
                    return
            table = pa.Table.from_batches([batch]).select(range(len(self.columns)))
            yield from plain_arrow(table).cast(schema).combine_chunks().to_batches()

    def close(self) -> None:
        """Give the rows up."""
        if self.rows is not None:
            self.rows.close()
            self.rows = None

    def _shown(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        width = len(self.columns)
        if not self.objects:
            return row if len(row) == width else row[:width]
        values = list(row[:width])
        for column, (hidden, objects) in self.objects.items():
            number = row[hidden]
            if number is not None and values[column] is not None:
                values[column] = objects[number]
        return tuple(values)


def arrow_of(cursor: duckdb.DuckDBPyConnection, batch_rows: int | None = None) -> Any:
    """Return the rows that wait on a cursor as an Arrow table that keeps DuckDB's types.

    Args:
        batch_rows: if given, the rows come as a reader of batches of so many.

    What Arrow has no type for (UUID, HUGEINT, BIT ...) is of an extension type; a store's own
    connections read it back, :func:`plain_arrow` makes it what other programs know.
    """
    # DuckDB 1.5 has other names.
    table, reader = "to_arrow_table", "to_arrow_reader"
    if not hasattr(cursor, table):
        table, reader = "fetch_arrow_table", "fetch_record_batch"
    with warnings.catch_warnings():
        # DuckDB 2 recommends relations, which run the statement again for every call.
        warnings.filterwarnings("ignore", message="Arrow output on a DB-API result")
        if batch_rows is not None:
            return getattr(cursor, reader)(batch_rows)
        return getattr(cursor, table)()


def plain_arrow(table: pa.Table) -> pa.Table:
    """Return a table of :func:`arrow_of` in Arrow's own types, as DuckDB exports them by default.

    A UUID becomes text, a HUGEINT a decimal of 38 digits.
    """
    import pyarrow as pa

    columns, names = list(table.columns), table.column_names
    odd = [i for i, kind in enumerate(table.schema.types) if _has_extension(kind)]
    if not odd:
        return table
    scratch = scratch_connection().cursor()
    scratch.register("rows", table.select(odd).rename_columns([f"c{i}" for i in odd]))
    for number, column in zip(odd, arrow_of(scratch.execute("FROM rows")).columns, strict=True):
        columns[number] = column
    return pa.table(columns, names=names)


def _has_extension(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return True
    return any(_has_extension(kind.field(i).type) for i in range(kind.num_fields))


def scratch_connection() -> duckdb.DuckDBPyConnection:
    """Return a DuckDB of this process's own, in memory and empty; whoever uses it takes a cursor.

    Whether types are kept on the way through Arrow is a setting of a whole database, and what is
    only parsed needs no store.
    """
    return _scratch(os.getpid())


@lru_cache(maxsize=1)
def _scratch(pid: int) -> duckdb.DuckDBPyConnection:
    # A connection does not survive a fork: pid tells one process from another.
    import duckdb

    config: dict[str, Any] = {"enable_external_access": False, "threads": 2}
    return duckdb.connect(":memory:", config=config)


def columns_of(cursor: duckdb.DuckDBPyConnection) -> tuple[Column, ...]:
    """Return the columns of the rows that wait on a cursor."""
    return tuple(Column(item[0], str(item[1])) for item in cursor.description or ())


def rescanned(
    store: Store, table: pa.Table, columns: tuple[Column, ...]
) -> duckdb.DuckDBPyConnection:
    """Return a cursor of its own with the rows of ``table`` in their DuckDB types."""
    rows = store.cursor()
    named = scannable(table).rename_columns([f"c{i}" for i in range(len(columns))])
    rows.register("_memql_rows", named)
    casts = ", ".join(
        f"CAST(c{i} AS {column.type}) AS {quote(column.name)}" for i, column in enumerate(columns)
    )
    return rows.execute(f"SELECT {casts} FROM _memql_rows")


def scannable(table: pa.Table) -> pa.Table:
    """Return a table that DuckDB can scan: it reads no list of enums that is empty in all rows."""
    import pyarrow as pa

    fields = [field.with_type(_without_enums(field.type)) for field in table.schema]
    schema = pa.schema(fields)
    return table if schema == table.schema else table.cast(schema)


def _without_enums(kind: pa.DataType, *, inside: bool = False) -> pa.DataType:
    """Return a type with texts in the place of the enums in its lists."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return kind.value_type if inside else kind
    if pa.types.is_list(kind):
        field = kind.value_field
        return pa.list_(field.with_type(_without_enums(field.type, inside=True)))
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return pa.struct([f.with_type(_without_enums(f.type, inside=inside)) for f in fields])
    return kind


def result_of(store: Store, rows: Sequence[Mapping[str, Any]], types: Mapping[str, str]) -> Result:
    """Return rows that MemQL made itself as a result.

    Args:
        rows: each with a value for every column.
        types: DuckDB's type of each column, by name.
    """
    import pyarrow as pa

    kinds = {
        "VARCHAR": pa.string(),
        "VARCHAR[]": pa.list_(pa.string()),
        "BIGINT": pa.int64(),
        "BOOLEAN": pa.bool_(),
        "DOUBLE": pa.float64(),
        "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", tz="UTC"),
    }
    table = pa.table(
        {name: pa.array([row[name] for row in rows], kinds[kind]) for name, kind in types.items()}
    )
    shown = tuple(Column(name, kind) for name, kind in types.items())
    return Result(shown, rows=rescanned(store, table, shown))
