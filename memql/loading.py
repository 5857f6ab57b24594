"""Memories from JSON lines: what each line must be, and their way into a store."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from memql.connection import Connection
from memql.engine.bind.rows import arrow_type
from memql.errors import DataError, Error, IntegrityError

if TYPE_CHECKING:
    import pyarrow as pa

# Large enough that the cost of a statement vanishes, small enough to hold in memory.
_BATCH_ROWS = 20_000

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
    columns = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join("?" for _ in names)
    table = _table(batch, names)
    try:
        return connection.executemany(
            f"INSERT INTO memories ({columns}) VALUES ({marks})", table
        ).rowcount
    except Error as error:
        place, message = _place(error, batch), error.message
        if row := _ROW.search(message):
            place, message = f"line {batch[int(row[1]) - 1].number:,}", _ROW.sub("", message)
        raise type(error)(f"{place}: {message}", hint=error.hint, code=error.code) from error


def _table(batch: Sequence[Line], names: Sequence[str]) -> pa.Table:
    """Return memories as an Arrow table.

    Raises:
        DataError: a value cannot be stored; the text says in which line.
    """
    import pyarrow as pa

    def column(name: str) -> pa.Array:
        return pa.array([line.memory.get(name) for line in batch], arrow_type(COLUMNS[name][0]))

    try:
        return pa.table({name: column(name) for name in names})
    except UnicodeEncodeError as error:
        if len(batch) > 1:
            for line in batch:
                _table([line], names)
        # JSON can write half of a character; no store can keep it.
        raise DataError(
            f"line {batch[0].number:,}: a value that cannot be stored: {error}", code="22021"
        ) from None


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


class Line(NamedTuple):
    """The memory in a line.

    Args:
        number: of the line, from 1.
        memory: its columns; attributes as JSON.
    """

    number: int
    memory: dict[str, Any]


def read_line(line: bytes, number: int) -> Line | None:
    """Return the memory in a line; None for an empty line.

    Args:
        line: UTF-8 text.
        number: its number, from 1, for errors.

    Raises:
        DataError: it is not a memory.
        IntegrityError: it has no content.

    >>> read_line(b'{"content": "Rain.", "importance": 0.5, "x": 1}', 1).memory
    {'content': 'Rain.', 'importance': 0.5, 'attributes': '{"x":1}'}
    """
    found = _parse(line, number)
    if found is None:
        return None
    memory: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for key, value in found.items():
        column = COLUMNS.get(key)
        if column is not None:
            if value is not None:
                try:
                    memory[key] = column[2](value)
                except (TypeError, ValueError, OverflowError):
                    raise _wrong(key, value, number) from None
        elif key not in _COMPUTED:
            attributes[key] = value
        else:
            raise DataError(
                f"line {number:,}: the column {key} is computed by MemQL",
                hint=f'leave the key "{key}" out',
                code="428C9",
            )
    content = memory.get("content")
    if not content or content.isspace():
        raise IntegrityError(
            f"line {number:,}: the memory has no content",
            hint='each line is a JSON object with at least {"content": "..."}',
            code="23502",
        )
    if attributes or "attributes" in memory:
        memory["attributes"] = _as_json(attributes, memory.get("attributes", {}), number)
    return Line(number, memory)


def _as_json(own: dict[str, Any], nested: dict[str, Any], number: int) -> str:
    """Return the attributes that are keys of their own, and those that the line calls so."""
    if clash := sorted(own.keys() & nested.keys()):
        raise DataError(
            f"line {number:,}: {_listed(clash)} both a key of its own and in attributes",
            hint="unknown keys go to attributes: keep one of the two",
            code="22023",
        )
    try:
        return _ENCODER.encode({**nested, **own})
    except (ValueError, RecursionError) as error:
        # JSON can write a number beyond all floats; no store can keep it.
        raise DataError(
            f"line {number:,}: a value that cannot be stored: {error}", code="22021"
        ) from None


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


def _wrong(name: str, value: Any, number: int) -> DataError:
    shown = json.dumps(value, ensure_ascii=False)
    found = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return DataError(f"line {number:,}: {name} is {COLUMNS[name][1]}, found {found}", code="22P02")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _name(value: Any) -> str:
    name = _text(value)
    if not name or name.isspace():
        raise ValueError
    return name


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


def _moment(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


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
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))

_TEXT: tuple[str, str, Convert] = ("text", "a string", _text)
_SHARE: tuple[str, str, Convert] = ("number", "a number from 0 to 1", _share)
_MOMENT: tuple[str, str, Convert] = ("time", "a time such as 2025-03-01T09:30:00Z", _moment)

_COMPUTED = ("updated_at", "state", "version")
"""Columns that only MemQL writes."""

COLUMNS: dict[str, tuple[str, str, Convert]] = {
    "id": ("text", "a UUID as a string", _id),
    "owner": ("text", "a string that is not empty", _name),
    "agent": _TEXT,
    "session": _TEXT,
    "kind": _TEXT,
    "content": _TEXT,
    "source": _TEXT,
    "tags": ("texts", "an array of strings", _list_of(_text)),
    "importance": _SHARE,
    "trust": _SHARE,
    "sensitivity": _TEXT,
    "idempotency_key": _TEXT,
    "attributes": ("text", "an object", _object),
    "derived_from": ("texts", "an array of UUIDs", _list_of(_id)),
    "superseded_by": ("text", "a UUID as a string", _id),
    "created_at": _MOMENT,
    "valid_from": _MOMENT,
    "valid_to": _MOMENT,
    "expires_at": _MOMENT,
    "hold": ("truth", "true or false", _flag),
}
"""For each column that a line may give: its kind in Arrow, what it must be, how it is read."""
