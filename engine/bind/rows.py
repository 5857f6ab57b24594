"""Rows of Python's values to Arrow, where that changes nothing of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from memql.storage.schema import MEMORY_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa


def arrow_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table | None:
    """Return rows of memories as an Arrow table; None where a value is of another type.

    Texts stand for ids and JSON, as in SQL; DuckDB casts them. A column named twice is for the
    binder to refuse.

    Args:
        columns: of memories, or the idempotency key.
        rows: a value for each column.
    """
    import pyarrow as pa

    if len(set(columns)) != len(columns):
        return None
    arrays = []
    for values, column in zip(zip(*rows, strict=True), columns, strict=True):
        kind, types = _KINDS.get(_TYPES.get(column, "VARCHAR"), _NEITHER)
        found = set(map(type, values)) - {type(None)}
        if not found <= types:
            return None
        if kind == "texts" and {type(one) for value in values for one in value or ()} - {str}:
            return None
        if kind == "id":
            values = tuple(None if value is None else str(value) for value in values)
        elif kind == "time":
            if any(value is not None and value.tzinfo is None for value in values):
                return None  # one without a zone is DuckDB's to place
            values = tuple(None if value is None else value.astimezone(UTC) for value in values)
        try:
            arrays.append(pa.array(values, arrow_type(kind)))
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            return None  # DuckDB has an error that names the value
    return pa.table(dict(zip(columns, arrays, strict=True)))


def plain_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table | None:
    """Return rows of any table as an Arrow table; None where a column has values of two types.

    Args:
        columns: what to call them.
        rows: a value for each column.
    """
    import pyarrow as pa

    arrays = []
    for values in zip(*rows, strict=True):
        found = set(map(type, values)) - {type(None)}
        kind = next(iter(found), None)
        if len(found) > 1 or kind not in _PLAIN:
            return None
        if kind is UUID:
            values = tuple(None if value is None else str(value) for value in values)
        elif kind is datetime and any(value is not None and value.tzinfo for value in values):
            if any(value is not None and value.tzinfo is None for value in values):
                return None
            values = tuple(None if value is None else value.astimezone(UTC) for value in values)
        try:
            arrays.append(pa.array(values))
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            return None  # a number beyond 64 bits; of a text DuckDB has an error that names it
    return pa.table(dict(zip(columns, arrays, strict=True)))


# Types whose values are in Arrow what they are as parameters.
_PLAIN = {None, bool, int, float, str, bytes, date, datetime, UUID}


def arrow_type(kind: str) -> pa.DataType:
    """Return the type of a column of text, ids, numbers, truth, times or lists of texts."""
    import pyarrow as pa

    return {
        "text": pa.string(),
        "id": pa.string(),
        "number": pa.float64(),
        "truth": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
        "texts": pa.list_(pa.string()),
    }[kind]


_TYPES = dict(MEMORY_COLUMNS)
_KINDS: dict[str, tuple[str, set[type]]] = {
    "VARCHAR": ("text", {str}),
    "JSON": ("text", {str}),
    "DOUBLE": ("number", {int, float}),
    "UUID": ("id", {str, UUID}),
    "TIMESTAMPTZ": ("time", {datetime}),
    "BOOLEAN": ("truth", {bool}),
    "VARCHAR[]": ("texts", {list}),
}
_NEITHER: tuple[str, set[type]] = ("text", set())
