"""The command ``memql`` as its own process: pipes, a terminal, and a store that is taken."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

import memql

pytestmark = pytest.mark.slow

MEMQL = [sys.executable, "-m", "memql"]
ESCAPE = b"\x1b"
# Ctrl-C reaches a process only from the terminal that its session controls.
TAKE_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from memql.cli import main
sys.exit(main())
"""


def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    # The developer's own colour settings do not belong to the test.
    environment = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "NO_COLOR")}
    return subprocess.run(
        [*MEMQL, *arguments],
        input=text,
        capture_output=True,
        text=True,
        env={**environment, "TERM": "xterm-256color"},
        timeout=60,
    )


def on_terminal(arguments: list[str], typed: Sequence[bytes] = ()) -> tuple[int, bytes]:
    """Run the command on a terminal of its own; return its exit code and what it wrote.

    Args:
        arguments: of the command.
        typed: what is typed at each prompt, one after the other.
    """
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE_TERMINAL, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"},
    )
    os.close(slave)
    guard = threading.Timer(60, process.kill)
    guard.daemon = True
    guard.start()
    written, seen, waiting, sent = b"", 0, list(typed), b""
    # Linux says by an OSError that the other end was closed.
    with contextlib.suppress(OSError):
        while True:
            if not select.select([master], [], [], 2)[0]:
                # A line editor drops what is typed while it takes over the terminal.
                os.write(master, sent)
                continue
            piece = os.read(master, 4096)
            if not piece:
                break
            written += piece
            sent = b""
            if waiting and b"> " in written[seen:]:
                seen = len(written)
                sent = waiting.pop(0)
                os.write(master, sent)
    guard.cancel()
    os.close(master)
    return process.wait(timeout=60), written


@pytest.fixture
def store(tmp_path: Path) -> str:
    path = tmp_path / "agent.memql"
    with memql.connect(path) as con:
        con.execute("INSERT INTO memories (content) VALUES ('It rains.')")
    return str(path)


def test_a_pipe_gets_no_colours_and_a_terminal_does(store: str) -> None:
    statement = "SELECT content, kind FROM memories"
    piped = run("query", store, statement)
    assert piped.returncode == 0
    assert piped.stdout == "content   | kind\n----------+-----\nIt rains. | NULL\n"
    assert piped.stderr == ""
    code, written = on_terminal(["query", store, statement])
    assert code == 0
    assert ESCAPE in written
    assert "\u256d".encode() in written
    assert b"1 row" in written


def test_an_error_is_short_and_on_standard_error(store: str) -> None:
    failed = run("query", store, "SELECT x FROM memories")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.startswith("error: unknown column 'x' (line 1, column 8)\n")
    assert "Traceback" not in failed.stderr


def test_a_store_that_another_process_has_open(store: str) -> None:
    with memql.connect(store):
        failed = run("query", store, "SELECT 1")
    assert failed.returncode == 1
    assert f"is opened by another process: pid {os.getpid()} on host" in failed.stderr
    assert run("query", store, "SELECT 1").returncode == 0


def test_a_reader_that_stops_early_is_no_error() -> None:
    process = subprocess.Popen(
        [*MEMQL, "query", ":memory:", "SELECT range FROM range(200000)", "--format", "csv"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == b"range\n"
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 0


def test_a_shell_on_a_terminal(store: str) -> None:
    lines = [b"SELECT content", b"FROM memories;", b"SELECT x;", b"\\?", b"SELECT 'dropped"]
    typed = [*(line + b"\r" for line in lines), b"\x03", b"\\q\r"]
    code, written = on_terminal(["shell", store], typed)
    assert code == 0
    assert b"memql> " in written
    assert b"  ...> " in written
    assert b"It rains." in written
    assert b"error: " in written
    assert b"this help" in written
    # Ctrl-C dropped the open text, so that \\q is not a part of it.
    assert written.rstrip().endswith(b"\\q")
