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
_RANDOM_BITS = 62

_names = itertools.count()


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
    """The same as texts, which are made in a third of the time.

    Args:
        n: how many.
    """
    first = _clock.take(n)
    noise = os.urandom(8 * n)
    ids = []
    for index in range(n):
        moment, sequence = divmod(first + index, 1 << _SEQUENCE_BITS)
        random = int.from_bytes(noise[8 * index : 8 * index + 8]) >> (64 - _RANDOM_BITS)
        digits = f"{moment << 80 | 0x7 << 76 | sequence << 64 | 0b10 << 62 | random:032x}"
        ids.append(f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}")
    return ids


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

    name = f"_memql_rows_{next(_names)}"
    try:
        cursor.register(name, table)
        cursor.execute(f'INSERT INTO _memql.memories BY NAME SELECT * FROM "{name}"')
    except duckdb.Error as error:
        raise translate(error, f"insert {table.num_rows} memories") from error
    finally:
        # An aborted transaction refuses this too; the name ends with it, for it was made in it.
        with contextlib.suppress(duckdb.TransactionException):
            cursor.unregister(name)
    return int(table.num_rows)
