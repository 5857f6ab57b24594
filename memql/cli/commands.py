"""Runs the commands; what goes wrong is told in words and by the exit code."""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from getpass import getpass
from pathlib import Path
from typing import Any

from memql.cli.arguments import argument_parser
from memql.cli.opening import connect_as
from memql.cli.output import make_console, write_result, write_table
from memql.cli.progress import Bar
from memql.cli.quiet import quiet_libraries
from memql.cli.shell import run_shell
from memql.cli.values import printable
from memql.connection import Connection, connect
from memql.errors import Error, InterfaceError, OperationalError

DONE, FAILED, INTERRUPTED = 0, 1, 130

MAX_STATEMENT_CHARACTERS = 1_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command ``memql`` and return its exit code.

    Args:
        arguments: what follows the command's name; None takes the process's own.
    """
    given = argument_parser().parse_args(arguments)
    quiet_libraries()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A memory may hold letters that the terminal's encoding lacks.
            stream.reconfigure(errors="backslashreplace")
    commands = {
        "demo": _demo,
        "load": _load,
        "query": _query,
        "check": _check,
        "shell": _shell,
    }
    run = commands[given.command]
    try:
        code = run(given)
        sys.stdout.flush()
        return code
    except Error as error:
        return _failed(str(error))
    except BrokenPipeError:
        # The reader of the output, such as `head`, has what it wanted. Python would fail once
        # more when it flushes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except UnicodeError:
        return _failed("the input is not UTF-8 text")
    except OSError as error:
        return _failed(f"{error.filename or given.command}: {error.strerror or error}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _failed(text: str) -> int:
    sys.stdout.flush()
    print(printable(f"error: {text}"), file=sys.stderr)
    return FAILED


def _demo(given: argparse.Namespace) -> int:
    from memql.demo import run_demo

    return DONE if run_demo(sys.stdout, keep=given.keep) else FAILED


def _load(given: argparse.Namespace) -> int:
    if given.file == "-":
        return _load_lines(given, sys.stdin.buffer, None)
    # The file first: a wrong name should not leave an empty store behind.
    with open(given.file, "rb") as lines:
        return _load_lines(given, lines, os.fstat(lines.fileno()).st_size)


def _load_lines(given: argparse.Namespace, lines: Iterable[bytes], size: int | None) -> int:
    from memql.loading import load_lines

    started = time.perf_counter()
    with connect_as(given.store, given.user, None, _asker()) as connection:
        with Bar(make_console(sys.stderr, stderr=True), "loading", "bytes") as bar:

            def report(count: int, size_read: int) -> None:
                if size:
                    bar.report(size_read, size)

            count = load_lines(connection, lines, report)
    seconds = time.perf_counter() - started
    print(f"{count:,} memor{'y' if count == 1 else 'ies'} loaded in {seconds:.2f} s")
    return DONE


def _query(given: argparse.Namespace) -> int:
    statement = given.statement
    if statement == "-":
        statement = sys.stdin.read(MAX_STATEMENT_CHARACTERS)
    statement = utf8(statement)
    values = {name: utf8(value) for name, value in given.param}
    with _opened(given, make=False) as connection:
        with Bar(make_console(sys.stderr, stderr=True), "computing", "tokens") as bar:
            connection.progress = bar.report
            started = time.perf_counter()
            cursor = connection.execute(statement, values or None)
        seconds = time.perf_counter() - started
        if given.format == "table":
            write_table(cursor, make_console(sys.stdout), note=f"{seconds:.2f} s")
        else:
            write_result(cursor, given.format, sys.stdout)
    return DONE


def _check(given: argparse.Namespace) -> int:
    from memql.storage.check import check
    from memql.storage.store import Store

    _must_be_there(given.store)
    started = time.perf_counter()
    store = Store.open(given.store)
    try:
        found = check(store)
    finally:
        store.close()
    for problem in found.problems:
        print(printable(f"damaged: {problem}"))
    print(
        f"read {found.rows:,} rows of {found.tables:,} tables, {found.nodes:,} nodes, "
        f"{found.bytes:,} bytes in {time.perf_counter() - started:.2f} s: "
        + (f"{len(found.problems):,} problems" if found.problems else "all sound")
    )
    return FAILED if found.problems else DONE


def utf8(value: Any) -> Any:
    """Return a value from the command line, a text as the UTF-8 that was meant.

    Python reads bytes that the locale lacks as lone surrogates.

    Raises:
        UnicodeDecodeError: the bytes are no UTF-8.
    """
    if not isinstance(value, str) or not any("\ud800" <= letter <= "\udfff" for letter in value):
        return value
    return value.encode(sys.getfilesystemencoding(), "surrogateescape").decode("utf-8")


def _shell(given: argparse.Namespace) -> int:
    with _opened(given, make=True) as connection:
        return DONE if run_shell(connection, sys.stdin, sys.stdout, sys.stderr) else FAILED


def _opened(given: argparse.Namespace, *, make: bool) -> Connection:
    """Open the store that was named; a new one is only made where that is meant."""
    from memql.storage.folder import MEMORY

    if given.store == MEMORY:
        return connect(MEMORY, user=given.user, model=given.model)
    if not make:
        _must_be_there(given.store)
    elif not Path(given.store).exists():
        print(f"new store {given.store}", file=sys.stderr)
    if given.model is not None and not given.model.strip():
        raise InterfaceError(
            "the model's name is empty", hint="leave --model out for tiny", code="22023"
        )
    return connect_as(given.store, given.user, given.model, _asker())


def _asker() -> Callable[[str], str] | None:
    """Return what asks for a password; None where no terminal is there to answer."""
    return getpass if sys.stdin.isatty() else None


def _must_be_there(store: str) -> None:
    from memql.storage.folder import CATALOG

    folder = Path(store)
    if not folder.exists():
        raise OperationalError(
            f"there is no store {store}",
            hint="check the path; `memql load` and `memql shell` make a new store",
            code="58P01",
        )
    if folder.is_dir() and not any(folder.iterdir()):
        raise OperationalError(
            f"{store} is an empty folder, not a store: it has no {CATALOG}",
            hint="check the path; `memql load` and `memql shell` make a new store in it",
            code="58P01",
        )
