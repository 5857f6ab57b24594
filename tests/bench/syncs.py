"""Counts how often a durable INSERT of one row waits for the disk.

DuckDB syncs its log out of Python's sight, so strace counts for a process of its own:
`python -m tests.bench.syncs FOLDER duckdb|memql COUNT` inserts so many rows.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import memql

from . import writes

_CALLS = "fsync,fdatasync,sync_file_range,msync,syncfs,sync"


def of_one(name: str, rounds: int) -> str:
    """Return how many syncs an INSERT of one row takes, as a text; "?" where strace is missing.

    Args:
        name: "duckdb" or "memql".
        rounds: over how many INSERTs.
    """
    # What opening and closing sync is the same in both.
    few, many = _count(name, 1), _count(name, 1 + rounds)
    return "?" if few is None or many is None else f"{(many - few) / rounds:.2f}"


def _count(name: str, rows: int) -> int | None:
    with tempfile.TemporaryDirectory() as folder:
        seen = Path(folder) / "calls"
        strace = ["strace", "-f", "-qq", "-e", f"trace={_CALLS}", "-o", str(seen)]
        work = [sys.executable, "-m", __name__, folder, name, str(rows)]
        try:
            done = subprocess.run([*strace, *work], capture_output=True)
        except FileNotFoundError:
            return None
        if done.returncode:
            return None  # a process that may not be traced
        return sum("(" in line for line in seen.read_text().splitlines())


def main() -> None:
    """Insert rows."""
    folder, name, rows = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    if name == "duckdb":
        plain = writes.plain_database(folder / "plain.duckdb")
        insert = writes.one_by_duckdb(plain)
    else:
        con = memql.connect(folder / "bench.memql")
        insert = writes.one_by_memql(con)
    for _ in range(rows):
        insert()


if __name__ == "__main__":
    main()
