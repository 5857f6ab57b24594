"""Writes the rows of a statement: a table for people, CSV and JSON for programs."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

from memql.cli.values import NULL, as_json, as_text
from memql.values import Activation, Answer, Prompt

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from memql.cursor import Cursor

    Description = Sequence[tuple[str, str, None, None, None, None, None]]

FORMATS = ("table", "csv", "json", "jsonl")

# Where no terminal sets the width, so long texts are folded and still easy to search.
_PIPED_COLUMN_WIDTH = 80
# Narrower than this a folded column cannot be read: such rows are shown as records.
_NARROW = 12
_BLOCK_ROWS = 1000
# The ids of all memories of an activation would fill a screen; a pipe gets them all.
_TERMINAL_ITEMS = 8
_TOLD_ANSWERS = 3  # more lines about them would bury the answers themselves
_NUMBER = re.compile(r"^(U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DOUBLE|FLOAT|DECIMAL.*)$")


def make_console(stream: IO[str], *, stderr: bool = False) -> Console:
    """Return a console on a stream: colours on a terminal, plain text elsewhere.

    Args:
        stream: where it writes.
        stderr: whether the stream is for messages; kept apart by programs that read the output.
    """
    from rich.console import Console

    return Console(file=stream, stderr=stderr, highlight=False, markup=False, emoji=False)


def write_result(cursor: Cursor, output: str, stream: IO[str]) -> None:
    """Write all rows of an executed statement.

    Args:
        cursor: after ``execute``.
        output: one of FORMATS.
        stream: where to.
    """
    if output == "table":
        write_table(cursor, make_console(stream))
    elif cursor.description is None:
        return
    elif output == "csv":
        _write_csv(cursor, stream)
    elif output == "json":
        _write_json(cursor, stream)
    else:
        for row in _documents(cursor):
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_table(cursor: Cursor, console: Console, *, note: str = "") -> None:
    """Write the rows of an executed statement for a person.

    On a terminal a line with the number of rows and ``note`` follows, and one for each answer.

    Args:
        cursor: after ``execute``.
        console: where to.
        note: what to say behind the number of rows, such as the time taken.
    """
    description = cursor.description
    if description is None:
        _write_note(console, changed(cursor.rowcount), note)
        return
    rows = cursor.fetchall()
    write_rows(description, rows, console)
    if not console.is_terminal or is_plan(description):
        return
    answers = [value for row in rows for value in row if isinstance(value, Answer)]
    for answer in answers if len(answers) <= _TOLD_ANSWERS else []:
        _write_note(console, answer.taken, "")
    _write_note(console, f"{len(rows):,} row{'' if len(rows) == 1 else 's'}", note)


def write_rows(description: Description, rows: Sequence[Sequence[Any]], console: Console) -> None:
    """Write fetched rows for a person.

    A plan is written as its lines, a materialized form and rows with too many columns for the
    terminal as records, anything else as a table.

    Args:
        description: a cursor's description.
        rows: what it gave.
        console: where to.
    """
    names = [column[0] for column in description]
    if is_plan(description):
        for (line,) in rows:
            console.print(as_text(line), soft_wrap=True)
    elif _as_records(console, names, rows):
        _write_records(console, names, rows)
    else:
        _write_grid(console, names, [column[1] for column in description], rows)


def is_plan(description: Description) -> bool:
    """Return whether rows are the lines of an EXPLAIN."""
    return [column[0] for column in description] == ["plan"]


def changed(count: int) -> str:
    """Return what a statement without rows did, in words.

    >>> changed(1), changed(-1)
    ('1 memory written', 'done')
    """
    return "done" if count < 0 else f"{count:,} memor{'y' if count == 1 else 'ies'} written"


def grid(names: Sequence[str], *, plain: bool) -> Table:
    """Return an empty table in the look of MemQL.

    Args:
        names: its columns.
        plain: for a file or pipe, not a terminal.
    """
    from rich import box
    from rich.table import Table

    width = _PIPED_COLUMN_WIDTH if plain else None
    table = Table(
        box=_plain_box() if plain else box.ROUNDED,
        show_edge=not plain,
        pad_edge=not plain,
        border_style="dim",
        header_style="bold",
    )
    for name in names:
        table.add_column(_cell(name), overflow="fold", max_width=width)
    return table


def print_grid(console: Console, table: Table) -> None:
    """Print a table; where there is no terminal as wide as it needs, without trailing spaces."""
    if console.is_terminal:
        console.print(table)
        return
    from rich.console import Console

    # A width that no table reaches, for columns have one of their own.
    wide = Console(file=console.file, width=100_000, no_color=True, highlight=False, emoji=False)
    with wide.capture() as captured:
        wide.print(table)
    console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _plain_box() -> Any:
    from rich.box import Box

    # Top, head, under the head, middle, row, foot row, foot, bottom: left, fill, divider, right.
    return Box("    \n  | \n -+ \n  | \n -+ \n -+ \n  | \n    \n", ascii=True)


def _cell(text: str, style: str = "") -> Text:
    from rich.text import Text

    return Text(text, style=style)


def _shown(value: Any, console: Console) -> Text:
    if value is None:
        return _cell(NULL, "dim italic")
    most_items = _TERMINAL_ITEMS if console.is_terminal else None
    return _cell(as_text(value, most_items), "bold green" if isinstance(value, Answer) else "")


def _as_records(console: Console, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> bool:
    if any(isinstance(value, Activation | Prompt) for row in rows for value in row):
        return True
    if not console.is_terminal or not rows:
        return False
    widths = [
        max(len(name), *(min(len(as_text(row[n])), _NARROW) for row in rows))
        for n, name in enumerate(names)
    ]
    return sum(widths) + 3 * len(widths) + 1 > console.width


def _write_grid(
    console: Console, names: Sequence[str], kinds: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    table = grid(names, plain=not console.is_terminal)
    for column, kind in zip(table.columns, kinds, strict=True):
        if _NUMBER.match(kind):
            column.justify = "right"
    for row in rows:
        table.add_row(*(_shown(value, console) for value in row))
    print_grid(console, table)


def _write_records(console: Console, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    width = max(len(name) for name in names)
    for number, row in enumerate(rows, start=1):
        if len(rows) > 1:
            console.print(_cell(f"-- row {number}", "dim"))
        for name, value in zip(names, row, strict=True):
            lines = _shown(value, console).split("\n", allow_blank=True)
            for n, line in enumerate(lines):
                head = _cell(f"{name if n == 0 else '':<{width}} | ", "bold")
                console.print(head.append_text(line), soft_wrap=True)


def _write_note(console: Console, text: str, note: str) -> None:
    if console.is_terminal:
        console.print(_cell(f"{text}{', ' if text and note else ''}{note}", "dim"))


# -- for programs -----------------------------------------------------------------------------


def _write_csv(cursor: Cursor, stream: IO[str]) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column[0] for column in cursor.description or ()])
    while rows := cursor.fetchmany(_BLOCK_ROWS):
        writer.writerows([_csv_field(value) for value in row] for row in rows)


def _csv_field(value: Any) -> str:
    if value is None:
        return ""
    plain = as_json(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _documents(cursor: Cursor) -> Iterator[dict[str, Any]]:
    columns = [(column[0], str(column[1])) for column in cursor.description or ()]
    while rows := cursor.fetchmany(_BLOCK_ROWS):
        for row in rows:
            yield {
                name: as_json(value, kind) for (name, kind), value in zip(columns, row, strict=True)
            }


def _write_json(cursor: Cursor, stream: IO[str]) -> None:
    lead = "["
    for document in _documents(cursor):
        stream.write(f"{lead}\n  {json.dumps(document, ensure_ascii=False)}")
        lead = ","
    stream.write("[]\n" if lead == "[" else "\n]\n")
