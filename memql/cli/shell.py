"""``memql shell``: statements in, results out, until there are no more."""

from __future__ import annotations

import sys
import time
from typing import IO

import memql
from memql.cli.output import make_console, write_table
from memql.cli.progress import Bar
from memql.cli.statements import StatementReader
from memql.cli.values import printable
from memql.connection import Connection
from memql.errors import Error

_HELP = """\
Statements end with a semicolon and may span lines, for example
  SELECT kind, count(*) FROM memories GROUP BY kind;
  SELECT generate('What must Alice not eat?') FROM memories WHERE owner = 'alice';
  EXPLAIN SELECT content FROM memories MATERIALIZE AS ACTIVATION;
  SHOW MATERIALIZED VIEWS;   SHOW MODELS;
\\?  this help    \\q  leave (or Ctrl-D)    Ctrl-C  drop the line or stop the statement"""

_PROMPT, _MORE = "memql> ", "  ...> "
_LEAVE = ("\\q", "quit", "exit")


class Shell:
    """Reads lines, runs the statements that they complete and prints what these give.

    Args:
        connection: where statements run.
        output: where results go.
        errors: where errors go.
    """

    def __init__(self, connection: Connection, output: IO[str], errors: IO[str]) -> None:
        self._connection = connection
        self._output = make_console(output)
        self._messages = make_console(errors, stderr=True)
        self._reader = StatementReader()
        self.failed = False

    @property
    def prompt(self) -> str:
        """What to show before the next line."""
        return _MORE if self._reader.pending else _PROMPT

    def feed(self, line: str) -> bool:
        """Take a line; return whether to go on."""
        if not self._reader.pending:
            word = line.strip().rstrip(";").lower()
            if word in _LEAVE:
                return False
            if word in ("\\?", "help"):
                self._output.print(_HELP)
                return True
        for statement in self._reader.feed(line):
            self.run(statement)
        return True

    def drop(self) -> None:
        """Forget a statement that was begun."""
        self._reader.rest()

    def end(self) -> None:
        """Run what was begun and lacks only its semicolon."""
        rest = self._reader.rest()
        if rest:
            self.run(rest)

    def run(self, statement: str) -> None:
        """Run one statement and print what it gives, an error included."""
        try:
            started = time.perf_counter()
            with Bar(self._messages, "computing", "tokens") as bar:
                self._connection.progress = bar.report
                cursor = self._connection.execute(statement)
            seconds = time.perf_counter() - started
            write_table(cursor, self._output, note=f"{seconds:.2f} s")
            self._output.file.flush()
        except Error as error:
            self.failed = True
            self._output.file.flush()
            style = "red" if self._messages.is_terminal else ""
            self._messages.print(printable(f"error: {error}"), style=style, soft_wrap=True)


def run_shell(connection: Connection, source: IO[str], output: IO[str], errors: IO[str]) -> bool:
    """Run a shell until its input ends; return whether all went well.

    At a terminal errors are part of the talk and the answer is always yes.

    Args:
        connection: where statements run.
        source: the lines; a terminal is asked with a prompt.
        output: where results go.
        errors: where errors and notes go.
    """
    shell = Shell(connection, output, errors)
    if not source.isatty():
        for line in source:
            if not shell.feed(line):
                return not shell.failed
        shell.end()
        return not shell.failed
    _use_line_editing()
    print(f"MemQL {memql.__version__}. Statements end with ;  \\? helps, \\q leaves.")
    while True:
        try:
            if not shell.feed(input(shell.prompt)):
                break
        except KeyboardInterrupt:
            shell.drop()
            print(file=sys.stderr)
        except EOFError:
            print(file=sys.stderr)
            break
    return True


def _use_line_editing() -> None:
    """Let `input` edit lines and recall earlier ones, where Python has what it takes."""
    import contextlib

    with contextlib.suppress(ImportError):
        import readline  # noqa: F401
