"""The type objects and constructors of PEP 249."""

from __future__ import annotations

import datetime

Date = datetime.date
"""A date: ``Date(year, month, day)``.

>>> Date(2026, 1, 2).isoformat()
'2026-01-02'
"""

Time = datetime.time
"""A time of day: ``Time(hour, minute, second)``.

>>> Time(3, 4, 5).isoformat()
'03:04:05'
"""

Timestamp = datetime.datetime
"""A moment: ``Timestamp(year, month, day, hour, minute, second)``.

>>> Timestamp(2026, 1, 2, 3, 4, 5).isoformat()
'2026-01-02T03:04:05'
"""

Binary = bytes
"""Bytes.

>>> Binary(b"ab")
b'ab'
"""


def DateFromTicks(ticks: float) -> datetime.date:
    """Return the local date of seconds since 1970.

    >>> DateFromTicks(86400 * 365).year in (1970, 1971)
    True
    """
    return datetime.date.fromtimestamp(ticks)


def TimeFromTicks(ticks: float) -> datetime.time:
    """Return the local time of day of seconds since 1970.

    >>> TimeFromTicks(30.5).second
    30
    """
    return datetime.datetime.fromtimestamp(ticks).time()


def TimestampFromTicks(ticks: float) -> datetime.datetime:
    """Return the local date and time of seconds since 1970.

    >>> TimestampFromTicks(86400 * 365).year in (1970, 1971)
    True
    """
    return datetime.datetime.fromtimestamp(ticks)


class DBAPIType:
    """A kind of column types: equal to each type code of ``description`` that belongs to it.

    >>> NUMBER == "BIGINT", STRING == "BIGINT", NUMBER == "DECIMAL(18,3)", NUMBER == "BIGINT[]"
    (True, False, True, False)
    """

    def __init__(self, *types: str) -> None:
        self._types = frozenset(types)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            name, bracket, rest = other.partition("(")
            return name in self._types and (not bracket or rest.endswith(")"))
        return self is other

    def __hash__(self) -> int:
        return hash(self._types)


STRING = DBAPIType("VARCHAR", "JSON", "UUID", "ENUM")
"""Columns of text.

>>> STRING == "VARCHAR", STRING == "BLOB"
(True, False)
"""

BINARY = DBAPIType("BLOB", "BIT")
"""Columns of bytes and bits.

>>> BINARY == "BLOB"
True
"""

NUMBER = DBAPIType(
    *("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT"),
    *("UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL"),
)
"""Columns of numbers and truth values.

>>> NUMBER == "DECIMAL(9,2)"
True
"""

DATETIME = DBAPIType(
    *("DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIME WITH TIME ZONE", "INTERVAL"),
    *("TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"),
)
"""Columns of dates, times and intervals.

>>> DATETIME == "TIMESTAMP WITH TIME ZONE"
True
"""

ROWID = DBAPIType()
"""No column: rows have no id of their own beside the columns.

>>> ROWID == "BIGINT"
False
"""
