"""The type objects and constructors of PEP 249."""

from __future__ import annotations

import datetime

Date = datetime.date
Time = datetime.time
Timestamp = datetime.datetime
Binary = bytes


def DateFromTicks(ticks: float) -> datetime.date:
    """Return the local date of seconds since 1970."""
    return datetime.date.fromtimestamp(ticks)


def TimeFromTicks(ticks: float) -> datetime.time:
    """Return the local time of day of seconds since 1970."""
    return datetime.datetime.fromtimestamp(ticks).time()


def TimestampFromTicks(ticks: float) -> datetime.datetime:
    """Return the local date and time of seconds since 1970."""
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
BINARY = DBAPIType("BLOB", "BIT")
NUMBER = DBAPIType(
    *("BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT"),
    *("UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL"),
)
DATETIME = DBAPIType(
    *("DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIME WITH TIME ZONE", "INTERVAL"),
    *("TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"),
)
ROWID = DBAPIType()
