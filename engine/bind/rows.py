"""Rows of Python's values to Arrow, where that changes nothing of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
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
        kind, fits = _KINDS[_TYPES.get(column, "VARCHAR")]
        if not all(value is None or fits(value) for value in values):
            return None
        if kind == "id":
            values = tuple(None if value is None else str(value) for value in values)
        elif kind == "time":
            values = tuple(None if value is None else value.astimezone(UTC) for value in values)
        try:
            arrays.append(pa.array(values, _arrow_type(kind)))
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            return None  # DuckDB has an error that names the value
    return pa.table(dict(zip(columns, arrays, strict=True)))


def _arrow_type(kind: str) -> pa.DataType:
    import pyarrow as pa

    return {
        "text": pa.string(),
        "id": pa.string(),
        "number": pa.float64(),
        "truth": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
        "texts": pa.list_(pa.string()),
    }[kind]


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_id(value: Any) -> bool:
    return type(value) in (str, UUID)


def _is_time(value: Any) -> bool:
    # One without a zone is DuckDB's to place.
    return type(value) is datetime and value.tzinfo is not None


def _is_truth(value: Any) -> bool:
    return type(value) is bool


def _is_texts(value: Any) -> bool:
    return type(value) is list and all(type(item) is str for item in value)


def _never(value: Any) -> bool:
    return False


_TYPES = dict(MEMORY_COLUMNS)
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "VARCHAR": ("text", _is_text),
    "JSON": ("text", _is_text),
    "DOUBLE": ("number", _is_number),
    "UUID": ("id", _is_id),
    "TIMESTAMPTZ": ("time", _is_time),
    "BOOLEAN": ("truth", _is_truth),
    "VARCHAR[]": ("texts", _is_texts),
    "UUID[]": ("texts", _never),
    "BIGINT": ("number", _never),
}
