"""Writes rows of `memories` and makes their ids."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
import time
import uuid
from typing import TYPE_CHECKING

from memql.storage.failures import translate

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_SEQUENCE_BITS = 12  # rand_a of RFC 9562: ids of one millisecond count up in it
_VERSION_7 = 7 << 12
_VARIANT = 0b10 << 62  # of RFC 9562

_names = itertools.count()

# Letting DuckDB read an Arrow table takes 0.9 ms, more than the INSERT of one row itself.
_MOST_AS_VALUES = 1


class _Clock:
    """Hands out runs of consecutive (millisecond, sequence) numbers that never go back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def take(self, count: int) -> int:
        now = time.time_ns() // 1_000_000 << _SEQUENCE_BITS
        with self._lock:
            # A full millisecond, or a clock set back, borrows from the milliseconds to come:
            # order matters more here than the exact time, which has its own column.
            first = max(now, self._last + 1)
            self._last = first + count - 1
            return first


_clock = _Clock()


def new_ids(n: int) -> list[uuid.UUID]:
    """Ids for n new memories: UUIDv7, each greater than all that this process made before.

    Args:
        n: how many.

    Source: RFC 9562, section 5.7 and method 1 of 6.2.
    """
    return [uuid.UUID(text) for text in new_id_texts(n)]


def new_id_texts(n: int) -> list[str]:
    """The same as texts, which are made all at once.

    Args:
        n: how many.
    """
    import numpy as np

    first = _clock.take(n)
    numbers = np.arange(first, first + n, dtype=np.uint64)
    sequence = numbers & np.uint64((1 << _SEQUENCE_BITS) - 1)
    halves = np.empty((n, 2), dtype=">u8")
    halves[:, 0] = numbers >> np.uint64(_SEQUENCE_BITS) << np.uint64(16) | _VERSION_7 | sequence
    halves[:, 1] = np.frombuffer(os.urandom(8 * n), dtype=">u8") >> np.uint64(2) | _VARIANT
    digits = np.frombuffer(halves.tobytes().hex().encode(), dtype=np.uint8).reshape(n, 32)
    texts = np.full((n, 36), ord("-"), dtype=np.uint8)
    for start, stop, at in ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24)):
        texts[:, at : at + stop - start] = digits[:, start:stop]
    text = texts.tobytes().decode()
    return [text[at : at + 36] for at in range(0, 36 * n, 36)]


def insert(cursor: duckdb.DuckDBPyConnection, table: pa.Table) -> int:
    """Insert rows into `memories` and say how many.

    Args:
        cursor: the cursor of the transaction that the rows belong to.
        table: columns by their names; a column that is not there takes its default. An id is a
            string, 16 bytes or Arrow's uuid; lists of ids are lists of strings.

    Raises:
        IntegrityError: an id exists already, or a required column is NULL.
        DataError: a value does not fit its column.
        OperationalError: another transaction inserted the same id, or the store failed.
    """
    import duckdb

    try:
        if table.num_rows <= _MOST_AS_VALUES:
            _insert_values(cursor, table)
        else:
            _insert_table(cursor, table)
    except duckdb.Error as error:
        raise translate(error, f"insert {table.num_rows} memories") from error
    return int(table.num_rows)


def _insert_values(cursor: duckdb.DuckDBPyConnection, table: pa.Table) -> None:
    columns = ", ".join(f'"{name}"' for name in table.column_names)
    marks = ", ".join("?" * table.num_columns)
    insert = f"INSERT INTO _memql.memories ({columns}) VALUES ({marks})"
    for row in table.to_pylist():
        cursor.execute(insert, list(row.values()))


def _insert_table(cursor: duckdb.DuckDBPyConnection, table: pa.Table) -> None:
    import duckdb
    import pyarrow as pa

    name = f"_memql_rows_{next(_names)}"
    # What was registered stays until the transaction ends, whether it is unregistered or not; a
    # reader has then let go of its rows.
    rows = pa.RecordBatchReader.from_batches(table.schema, iter(table.to_batches()))
    try:
        cursor.register(name, rows)
        cursor.execute(f'INSERT INTO _memql.memories BY NAME SELECT * FROM "{name}"')
    finally:
        # An aborted transaction refuses this too; the name ends with it, for it was made in it.
        with contextlib.suppress(duckdb.TransactionException):
            cursor.unregister(name)
