"""Memories from JSON lines: what each line must be, and their way into a store."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from memql.connection import Connection
from memql.errors import DataError, Error, IntegrityError

# Large enough that the cost of a statement vanishes, small enough to hold in memory.
_BATCH_ROWS = 5000

# Where an error says which of the rows of a statement it is about.
_ROW = re.compile(r" \(row (\d+)\)")

Convert = Callable[[Any], Any]


def load_lines(
    connection: Connection,
    lines: Iterable[bytes],
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Insert one memory for each line, all of them or none; return how many.

    A line is a JSON object with columns of ``memories``. Keys that are no column become
    ``attributes``, beside those that the line gives there. Empty lines are skipped.

    Args:
        connection: to the store; it may have a transaction open, which then holds the rows.
        lines: UTF-8 text, such as a file opened in binary mode.
        on_progress: called with (lines read, bytes read) after each batch.

    Raises:
        DataError: a line is not a memory; the text says its number and why.
        IntegrityError: an id is taken, or content is missing.
        ProgrammingError: the user may not write for that owner.

    >>> import memql
    >>> con = memql.connect(":memory:")
    >>> load_lines(con, [b'{"content": "Bob lives in Oslo.", "mood": "calm"}'])
    1
    >>> con.execute("SELECT content, attributes FROM memories").fetchall()
    [('Bob lives in Oslo.', '{"mood":"calm"}')]
    """
    own = not connection.in_transaction
    if own:
        connection.begin()
    try:
        count = _insert_all(connection, lines, on_progress)
    except BaseException:
        if own:
            connection.rollback()
        raise
    if own:
        connection.commit()
    return count


def _insert_all(
    connection: Connection,
    lines: Iterable[bytes],
    on_progress: Callable[[int, int], None] | None,
) -> int:
    batch: list[Line] = []
    count = number = size = 0
    for number, text in enumerate(lines, start=1):
        size += len(text)
        line = read_line(text, number)
        if line is None:
            continue
        batch.append(line)
        if len(batch) == _BATCH_ROWS:
            count += _insert(connection, batch)
            batch = []
            if on_progress is not None:
                on_progress(number, size)
    count += _insert(connection, batch)
    if on_progress is not None:
        on_progress(number, size)
    return count


def _insert(connection: Connection, batch: list[Line]) -> int:
    if not batch:
        return 0
    given = {name for line in batch for name in line.memory}
    names = [name for name in COLUMNS if name in given]
    shape = json.dumps([{name: COLUMNS[name][0] for name in names}])
    columns = ", ".join(f'"{name}"' for name in names)
    values = ", ".join(f'"_row"."{name}"' for name in names)
    try:
        return connection.execute(
            f"INSERT INTO memories ({columns}) SELECT {values} FROM "
            f"(SELECT unnest(from_json(CAST($batch AS JSON), '{shape}')) AS \"_row\")",
            {"batch": f"[{','.join([line.text for line in batch])}]"},
        ).rowcount
    except Error as error:
        place, message = _place(error, batch), error.message
        if row := _ROW.search(message):
            place, message = f"line {batch[int(row[1]) - 1].number:,}", _ROW.sub("", message)
        raise type(error)(f"{place}: {message}", hint=error.hint, code=error.code) from error


def _place(error: Error, batch: list[Line]) -> str:
    """Return the line that an error of a batch is about, or the lines of the batch."""
    if isinstance(error, IntegrityError):
        for line in reversed(batch):
            if "id" in line.memory and line.memory["id"] in error.message:
                return f"line {line.number:,}"
    if error.code == "42501":
        for line in batch:
            if "owner" in line.memory and line.memory["owner"] in error.message:
                return f"line {line.number:,}"
    first, last = batch[0].number, batch[-1].number
    return f"line {first:,}" if first == last else f"lines {first:,} to {last:,}"


# -- one line ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """The memory in a line.

    Args:
        number: of the line, from 1.
        memory: its columns.
        text: the same as JSON.
    """

    number: int
    memory: dict[str, Any]
    text: str


def read_line(line: bytes, number: int) -> Line | None:
    """Return the memory in a line; None for an empty line.

    Args:
        line: UTF-8 text.
        number: its number, from 1, for errors.

    Raises:
        DataError: it is not a memory.
        IntegrityError: it has no content.

    >>> read_line(b'{"content": "Rain.", "importance": 0.5, "x": 1}', 1).memory
    {'content': 'Rain.', 'importance': 0.5, 'attributes': {'x': 1}}
    """
    found = _parse(line, number)
    if found is None:
        return None
    memory: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for key, value in found.items():
        if key in _COMPUTED:
            raise DataError(
                f"line {number:,}: the column {key} is computed by MemQL",
                hint=f'leave the key "{key}" out',
                code="428C9",
            )
        if key not in COLUMNS:
            attributes[key] = value
        elif value is not None:
            memory[key] = _column(key, value, number)
    content = memory.get("content")
    if content is None or not content.strip():
        raise IntegrityError(
            f"line {number:,}: the memory has no content",
            hint='each line is a JSON object with at least {"content": "..."}',
            code="23502",
        )
    if attributes:
        nested = memory.setdefault("attributes", {})
        if clash := sorted(attributes.keys() & nested.keys()):
            raise DataError(
                f"line {number:,}: {_listed(clash)} both a key of its own and in attributes",
                hint="unknown keys go to attributes: keep one of the two",
                code="22023",
            )
        nested.update(attributes)
    try:
        encoded = _ENCODER.encode(memory)
        encoded.encode()
    except (ValueError, RecursionError) as error:
        # JSON can write a lone surrogate and a number beyond all floats; no store can keep them.
        raise DataError(
            f"line {number:,}: a value that cannot be stored: {error}", code="22021"
        ) from None
    return Line(number, memory, encoded)


def _parse(line: bytes, number: int) -> dict[str, Any] | None:
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")
    try:
        text = line.decode().strip()
    except UnicodeDecodeError as error:
        raise DataError(
            f"line {number:,}: not UTF-8 text: byte {error.start + 1} is 0x{line[error.start]:02x}",
            hint="save the file as UTF-8",
            code="22021",
        ) from None
    if not text:
        return None
    try:
        found = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"line {number:,}: not JSON: {error.msg} at character {error.pos + 1}",
            hint="each line is one JSON object",
            code="22032",
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"line {number:,}: not JSON: {error}", code="22032") from None
    if not isinstance(found, dict):
        raise DataError(
            f"line {number:,}: a memory is a JSON object, found {_kind(found)}",
            hint='for example {"content": "Alice lives in Lisbon."}',
            code="22032",
        )
    return found


def _column(name: str, value: Any, number: int) -> Any:
    _, expected, convert = COLUMNS[name]
    try:
        return convert(value)
    except (TypeError, ValueError):
        shown = json.dumps(value, ensure_ascii=False)
        found = shown if len(shown) <= 60 else f"{shown[:57]}..."
        raise DataError(
            f"line {number:,}: {name} is {expected}, found {found}", code="22P02"
        ) from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _name(value: Any) -> str:
    if not _text(value).strip():
        raise ValueError
    return _text(value)


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    if not 0 <= value <= 1:
        raise ValueError
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _id(value: Any) -> str:
    return str(UUID(_text(value)))


def _moment(value: Any) -> str:
    moment = datetime.fromisoformat(_text(value))
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).isoformat()


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _list_of(convert: Convert) -> Convert:
    def convert_all(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise TypeError
        return [convert(item) for item in value]

    return convert_all


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{_listed(sorted({k for k in keys if keys.count(k) > 1}))} there twice")
    return found


def _no_constant(name: str) -> Iterator[None]:
    raise ValueError(f"{name} is not a JSON number")


def _listed(keys: list[str]) -> str:
    names = ", ".join(f'"{key}"' for key in keys)
    return f"the key {names} is" if len(keys) == 1 else f"the keys {names} are"


def _kind(value: Any) -> str:
    kinds = {str: "a string", list: "an array", bool: "a truth value", type(None): "null"}
    return kinds.get(type(value), "a number")


# Made once: json.loads and json.dumps would make new ones for every line.
_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_unique_keys)
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False)

_TEXT: tuple[str, str, Convert] = ("VARCHAR", "a string", _text)
_SHARE: tuple[str, str, Convert] = ("DOUBLE", "a number from 0 to 1", _share)
_MOMENT: tuple[str, str, Convert] = ("TIMESTAMPTZ", "a time such as 2025-03-01T09:30:00Z", _moment)

_COMPUTED = ("updated_at", "state", "version")
"""Columns that only MemQL writes."""

COLUMNS: dict[str, tuple[Any, str, Convert]] = {
    "id": ("UUID", "a UUID as a string", _id),
    "owner": ("VARCHAR", "a string that is not empty", _name),
    "agent": _TEXT,
    "session": _TEXT,
    "kind": _TEXT,
    "content": _TEXT,
    "source": _TEXT,
    "tags": (["VARCHAR"], "an array of strings", _list_of(_text)),
    "importance": _SHARE,
    "trust": _SHARE,
    "sensitivity": _TEXT,
    "idempotency_key": _TEXT,
    "attributes": ("JSON", "an object", _object),
    "derived_from": (["UUID"], "an array of UUIDs", _list_of(_id)),
    "superseded_by": ("UUID", "a UUID as a string", _id),
    "created_at": _MOMENT,
    "valid_from": _MOMENT,
    "valid_to": _MOMENT,
    "expires_at": _MOMENT,
    "hold": ("BOOLEAN", "true or false", _flag),
}
"""For each column that a line may give: its type for DuckDB, what it must be, how it is read."""
