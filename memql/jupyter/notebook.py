"""The magics of one notebook: its connections, and how a line or a cell is run."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from getpass import getpass
from typing import Any, NoReturn

from memql.cli.opening import connect_as
from memql.cli.output import make_console
from memql.cli.progress import Bar
from memql.cli.statements import StatementReader
from memql.cli.values import printable
from memql.connection import Connection, connect
from memql.dialect.words import WORDS
from memql.errors import Error, InterfaceError
from memql.jupyter.binding import bind
from memql.jupyter.line import USAGE, Line, read_line
from memql.jupyter.plan import Plan
from memql.jupyter.progress import NotebookBar
from memql.jupyter.snippets import Snippet, compose
from memql.jupyter.table import SHOWN_ROWS, Table
from memql.rows import scalar_row, tuple_row

# The connection that has no alias.
_UNNAMED = ""
# Words that begin a line without being a connection; those of MemQL's own statements are in WORDS.
_FIRST_WORDS = frozenset(
    "CONNECT CLOSE CONNECTIONS DESCRIBE SUMMARIZE COPY PIVOT UNPIVOT TRUNCATE".split()
)


class MagicError(Error):
    """An error of a statement in a notebook, shown without a traceback.

    Args:
        error: what the statement raised.
    """

    def __init__(self, error: Error) -> None:
        super().__init__(
            error.message,
            hint=error.hint,
            position=error.position,
            statement=error.statement,
            code=error.code,
        )
        self.error = error

    def _render_traceback_(self) -> list[str]:
        # IPython asks an exception for this before it draws a traceback.
        return [f"{type(self.error).__name__}: {self.error}"]


class Notebook:
    """What the magics of one notebook share: connections and kept queries.

    Args:
        shell: the InteractiveShell, whose variables statements may use.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._connections: dict[str, Connection] = {}
        self._given: set[str] = set()  # by a variable: not ours to close
        self._current = _UNNAMED
        self._snippets: dict[str, Snippet] = {}

    @property
    def connection(self) -> Connection | None:
        """The connection that statements run in; None before the first."""
        return self._connections.get(self._current)

    @property
    def names(self) -> list[str]:
        """The aliases of the open connections."""
        return sorted(set(self._connections) - {_UNNAMED})

    def magic(self, line: str, cell: str | None = None) -> Table | Plan | None:
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

    def _run(self, text: str, cell: str | None) -> Table | Plan | None:
        words = text.split(maxsplit=1)
        verb = words[0].lower() if words else ""
        if verb == "connect":
            self._connect(text)
        elif verb == "connections" and len(words) == 1:
            self._list()
        elif verb == "close" and len(text.split()) <= 2:
            self._close(words[1].strip() if len(words) == 2 else None)
        else:
            return self._statements(text, cell)
        return self._execute(Line(text=cell)) if cell is not None else None

    def _statements(self, text: str, cell: str | None) -> Table | Plan | None:
        variables = self._variables()
        known = {*self.names, *_connections_in(variables)}
        line = read_line(text, known)
        if line.connection is not None:
            self._switch(line.connection, variables)
        if cell is not None and line.text:
            raise InterfaceError(
                f"%%memql takes no statement on its own line, found {line.text!r}",
                hint="put the statement into the cell, or use %memql; aliases of connections are "
                + (", ".join(sorted(known)) or "not there yet: %memql connect STORE --alias NAME"),
                code="42601",
            )
        if cell is not None:
            line = replace(line, text=cell)
        if not line.text.strip():
            if line == Line():
                print(USAGE)
            return None
        return self._execute(line)

    # -- connections --------------------------------------------------------------------------

    def _connect(self, text: str) -> None:
        try:
            given = _connect_arguments().parse_args(shlex.split(text)[1:])
        except ValueError as error:
            raise InterfaceError(
                f"%memql connect: {error}",
                hint="%memql connect STORE [--alias NAME] [--user U] [--model M]",
                code="22023",
            ) from None
        alias = given.alias or _UNNAMED
        if alias and (not alias.isidentifier() or _opens_statement(alias)):
            raise InterfaceError(
                f"a connection cannot have the alias {alias}: a statement may begin like that",
                hint="a name such as work or agent",
                code="42602",
            )
        if alias in self._connections:
            self._close(alias)
        self._connections[alias] = connect_as(given.store, given.user, given.model, getpass)
        self._current = alias

    def _switch(self, name: str, variables: Mapping[str, Any]) -> None:
        if name not in self._connections:
            self._connections[name] = variables[name]
            self._given.add(name)
        self._current = name

    def _close(self, name: str | None) -> None:
        """Close one connection; without a name the current one."""
        alias = self._current if name is None else name
        if alias not in self._connections:
            if name is None:
                return
            raise InterfaceError(
                f"no connection has the alias {name}",
                hint=f"there are {', '.join(self.names) or 'none'}",
                code="42704",
            )
        connection = self._connections.pop(alias)
        if alias in self._given:
            self._given.remove(alias)
        else:
            connection.close()
        if alias == self._current:
            self._current = _UNNAMED

    def _list(self) -> None:
        for alias, connection in self._connections.items():
            mark = "*" if alias == self._current else " "
            print(f"{mark} {alias or '(no alias)'}: {connection!r}")
        if not self._connections:
            print("none: %memql connect STORE opens one")

    # -- statements ---------------------------------------------------------------------------

    def _execute(self, line: Line) -> Table | Plan | None:
        if self.connection is None:
            self._connections[_UNNAMED] = connect()
            self._current = _UNNAMED
        connection = self.connection
        assert connection is not None
        shown: Table | Plan | None = None
        bar = self._bar()
        before, connection.progress = connection.progress, bar.report
        try:
            with bar:
                for statement in _statements(line.text):
                    shown = self._execute_one(connection, statement, line)
        finally:
            connection.progress = before
        if line.save is not None:
            *_, last = _statements(line.text)
            self._snippets[line.save] = Snippet(last, line.uses)
        if line.capture is not None:
            self._shell.user_ns[line.capture] = shown
            return None
        return shown

    def _execute_one(
        self, connection: Connection, statement: str, line: Line
    ) -> Table | Plan | None:
        whole = compose(statement, line.uses, self._snippets)
        text, values = bind(whole, self._variables())
        if line.explain:
            how = "ANALYZE " if line.analyze else ""
            statement = f"EXPLAIN {how}(FORMAT json) {text}"
            document = connection.cursor(scalar_row).execute(statement, values).fetchone()
            return Plan(str(document), text)
        cursor = connection.cursor(tuple_row)
        if line.stream:
            for piece in cursor.stream(text, values):
                print(printable(piece), end="", flush=True)
            print()
        else:
            cursor.execute(text, values)
        if cursor.description is None:
            return None
        return Table(cursor, SHOWN_ROWS if line.limit is None else line.limit)

    def _bar(self) -> Bar | NotebookBar:
        # A kernel draws into the page, IPython by itself on a terminal.
        if getattr(self._shell, "kernel", None) is not None:
            return NotebookBar("computing", "tokens")
        return Bar(make_console(sys.stderr, stderr=True), "computing", "tokens")

    def _variables(self) -> Mapping[str, Any]:
        variables: Mapping[str, Any] = self._shell.user_ns
        return variables


class _Arguments(argparse.ArgumentParser):
    """A parser that raises what it would have ended the process with."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _connect_arguments() -> argparse.ArgumentParser:
    parser = _Arguments(prog="%memql connect", add_help=False)
    parser.add_argument("store", nargs="?", default=":memory:")
    parser.add_argument("--alias")
    parser.add_argument("--user")
    parser.add_argument("--model")
    return parser


def _statements(text: str) -> Iterator[str]:
    """Yield the statements of a text, without semicolons."""
    reader = StatementReader()
    yield from filter(None, [*reader.feed(text), reader.rest()])


def _opens_statement(word: str) -> bool:
    return word.upper() in WORDS or word.upper() in _FIRST_WORDS


def _connections_in(variables: Mapping[str, Any]) -> list[str]:
    """Return the names of variables that are connections."""
    return [
        name
        for name, value in variables.items()
        if isinstance(value, Connection) and not name.startswith("_") and not _opens_statement(name)
    ]
