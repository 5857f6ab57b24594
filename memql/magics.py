"""Jupyter: ``%load_ext memql``, then ``%memql`` and ``%%memql``."""

from __future__ import annotations

import argparse
import html
import io
import shlex
import sys
from collections.abc import Iterator, Sequence
from getpass import getpass
from typing import TYPE_CHECKING, Any, NoReturn

from memql.cli.opening import connect_as
from memql.cli.output import is_plan, make_console, write_rows
from memql.cli.progress import Bar
from memql.cli.quiet import quiet_libraries
from memql.cli.statements import StatementReader
from memql.cli.values import as_text
from memql.connection import Connection, connect
from memql.cursor import Cursor
from memql.errors import Error, InterfaceError
from memql.values import Activation, Answer, Prompt

if TYPE_CHECKING:
    import pandas as pd

# More rows make a notebook slow; the table object has them all.
_SHOWN_ROWS = 100
_SHOWN_ITEMS = 20  # of a list, in a page

_USAGE = """\
%memql STATEMENT                              run a statement and show its rows
%memql connect STORE [--user U] [--model M]   open a store (until then: one in memory)
%memql close                                  close it
%%memql                                       run the cell's statements, show the last one's rows"""


class Table:
    """The rows of a statement, shown as a table.

    Iterating it gives the rows as tuples, in which an answer is an ``Answer``.

    Args:
        cursor: after ``execute``; its rows are fetched.
    """

    def __init__(self, cursor: Cursor) -> None:
        self._description = cursor.description or []
        self._rows = cursor.fetchall()

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [column[0] for column in self._description]

    def df(self) -> pd.DataFrame:
        """Return the rows as a pandas data frame (needs ``memql[pandas]``)."""
        import pandas as pd

        return pd.DataFrame(self._rows, columns=self.columns)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        text = io.StringIO()
        write_rows(self._description, self._rows[:_SHOWN_ROWS], make_console(text))
        return "\n".join((text.getvalue().rstrip("\n"), *self._notes()))

    def _repr_html_(self) -> str:
        if is_plan(self._description):
            lines = "\n".join(html.escape(as_text(line)) for (line,) in self._rows)
            return f"<pre>{lines}</pre>"
        rows = self._rows[:_SHOWN_ROWS]
        if any(isinstance(value, Activation | Prompt) for row in rows for value in row):
            body = "".join(
                _html_row([_head(name), _data(value)])
                for row in rows
                for name, value in zip(self.columns, row, strict=True)
            )
            table = f"<table>{body}</table>"
        else:
            head = _html_row([_head(name) for name in self.columns])
            body = "".join(_html_row([_data(value) for value in row]) for row in rows)
            table = f"<table><thead>{head}</thead><tbody>{body}</tbody></table>"
        return table + "".join(f"<div><small>{html.escape(n)}</small></div>" for n in self._notes())

    def _notes(self) -> list[str]:
        notes = []
        answers = [value for row in self._rows for value in row if isinstance(value, Answer)]
        if len(answers) == 1:
            notes.append(answers[0].taken)
        if len(self._rows) > _SHOWN_ROWS:
            notes.append(
                f"{len(self._rows):,} rows, the first {_SHOWN_ROWS} shown; .df() has them all"
            )
        elif not self._rows:
            notes.append("0 rows")
        return notes


class MagicError(Error):
    """An error of a statement in a notebook, shown without a traceback.

    Args:
        error: what the statement raised.
    """

    def __init__(self, error: Error) -> None:
        super().__init__(str(error), code=error.code)
        self.error = error

    def _render_traceback_(self) -> list[str]:
        # IPython asks an exception for this before it draws a traceback.
        return [f"{type(self.error).__name__}: {self.error}"]


class Notebook:
    """What the magics of one notebook share: its connection."""

    def __init__(self) -> None:
        self._connection: Connection | None = None

    def magic(self, line: str, cell: str | None = None) -> Table | None:
        """Run ``%memql`` or ``%%memql``.

        Args:
            line: what stands behind the magic's name.
            cell: the cell below it, or None for ``%memql``.

        Raises:
            MagicError: what went wrong, in few lines.
        """
        try:
            return self._run(line.strip(), cell)
        except Error as error:
            raise MagicError(error) from None

    def close(self) -> None:
        """Close the store, if one is open."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, line: str, cell: str | None) -> Table | None:
        words = line.split(maxsplit=1)
        verb = words[0].lower() if words else ""
        if verb == "connect":
            self._connect(line)
        elif verb == "close" and line.lower() == "close":
            self.close()
        elif cell is None:
            if not line:
                print(_USAGE)
                return None
            return self._execute(line)
        elif line:
            raise InterfaceError(
                f"%%memql takes nothing behind it but connect, found {line!r}",
                hint="put the statement into the cell, or use %memql",
                code="42601",
            )
        return self._execute(cell) if cell is not None else None

    def _connect(self, line: str) -> None:
        try:
            given = _connect_arguments().parse_args(shlex.split(line)[1:])
        except ValueError as error:
            raise InterfaceError(f"%memql connect: {error}", hint=_USAGE, code="22023") from None
        self.close()
        self._connection = connect_as(given.store, given.user, given.model, getpass)

    def _execute(self, text: str) -> Table | None:
        if self._connection is None:
            self._connection = connect()
        reader = StatementReader()
        statements = [*reader.feed(text), reader.rest()]
        table = None
        with Bar(make_console(sys.stderr, stderr=True), "computing", "tokens") as bar:
            self._connection.progress = bar.report
            for statement in filter(None, statements):
                cursor = self._connection.execute(statement)
                table = Table(cursor) if cursor.description is not None else None
        return table


class _Arguments(argparse.ArgumentParser):
    """A parser that raises what it would have ended the process with."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _connect_arguments() -> argparse.ArgumentParser:
    parser = _Arguments(prog="%memql connect", add_help=False)
    parser.add_argument("store", nargs="?", default=":memory:")
    parser.add_argument("--user")
    parser.add_argument("--model")
    return parser


def _html_row(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _head(name: str) -> str:
    return f"<th>{html.escape(name)}</th>"


def _data(value: Any) -> str:
    if value is None:
        return "<td><em>NULL</em></td>"
    # Texts keep their line ends, and stand on the left, where they are read.
    style = "text-align: left; white-space: pre-wrap"
    return f'<td style="{style}">{html.escape(as_text(value, _SHOWN_ITEMS))}</td>'


def load(shell: Any) -> None:
    """Give an IPython shell the magics ``%memql`` and ``%%memql``.

    Args:
        shell: IPython's InteractiveShell.
    """
    from IPython.core.magic import no_var_expand

    quiet_libraries()
    notebook = Notebook()

    def memql(line: str, cell: str | None = None) -> Table | None:
        return notebook.magic(line, cell)

    # IPython would replace $name and {...} by Python variables; in MemQL they mean parameters
    # and structs.
    function = no_var_expand(memql)
    shell.register_magic_function(function, magic_kind="line_cell", magic_name="memql")
