"""`memql load` of a file of lines: how fast, and in how much memory, against DuckDB's reader."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

import memql

from .measure import check, print_table

LINES = (250_000, 1_000_000)
OWNERS = 1000

# The kernel's mark of a process begins with that of the one it was forked from, but that of an
# address space with the program.
_COMMAND = """
import sys
from memql.cli import main
status = main(["load", *sys.argv[1:]])
with open("/proc/self/status") as found:
    print(next(line.split()[1] for line in found if line.startswith("VmHWM")))
sys.exit(status)
"""


def run(rounds: int | None) -> None:
    """Load files of several lengths and print what it took; rounds are not asked for."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for lines in LINES:
            file = Path(folder) / f"{lines}.jsonl"
            _write(file, lines)
            by_duckdb = _by_duckdb(file, Path(folder) / f"{lines}.duckdb")
            seconds, cpu, peak = _by_memql(file, Path(folder) / f"{lines}.memql", lines)
            rows.append(
                [
                    f"{lines:,}",
                    f"{file.stat().st_size / 1e6:,.0f} MB",
                    f"{seconds:.1f} s",
                    f"{lines / seconds:,.0f}",
                    f"{cpu:.1f} s",
                    f"{peak / 1e6:,.0f} MB",
                    f"{by_duckdb:.1f} s",
                ]
            )
    head = ["lines", "file", "memql load", "lines a second", "of CPU", "most memory", "duckdb"]
    print_table(head, rows)
    print(
        "\nof the whole command, its start and the commit included, and its resident memory; "
        "duckdb: INSERT ... SELECT FROM read_json into a table with a primary key"
    )


def _write(file: Path, lines: int) -> None:
    with file.open("w") as out:
        for number in range(lines):
            memory = {
                "owner": f"user{number % OWNERS}",
                "kind": ("fact", "preference", "plan", "event", "note")[number % 5],
                "content": f"Memory {number} of what was said about the {number % 997}th topic.",
                "importance": number % 100 / 100,
                "created_at": f"2026-03-{number % 28 + 1:02}T09:30:00Z",
            }
            out.write(json.dumps(memory) + "\n")


def _by_memql(file: Path, store: Path, lines: int) -> tuple[float, float, int]:
    """Return seconds, seconds of CPU and the most bytes of memory of `memql load`."""
    started = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, str(store), str(file)], stdout=subprocess.PIPE, text=True
    )
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    check(done.returncode == 0, "memql load has failed")
    with memql.connect(store) as con:
        found = con.execute("SELECT count(*), count(DISTINCT owner) FROM memories").fetchone()
    check(found == (lines, min(lines, OWNERS)), f"{found} are there after {lines} lines")
    return seconds, cpu, int(done.stdout.split()[-1]) * 1024


def _by_duckdb(file: Path, database: Path) -> float:
    """Return the seconds that DuckDB takes to read the file into a table with a primary key."""
    with duckdb.connect(str(database)) as plain:
        plain.execute(
            "CREATE TABLE memories (id UUID PRIMARY KEY, owner VARCHAR, kind VARCHAR, "
            "content VARCHAR, importance DOUBLE, created_at TIMESTAMPTZ)"
        )
        started = time.perf_counter()
        plain.execute(
            f"INSERT INTO memories SELECT uuidv7(), * FROM read_json('{file}', "
            "format = 'newline_delimited', columns = {owner: 'VARCHAR', kind: 'VARCHAR', "
            "content: 'VARCHAR', importance: 'DOUBLE', created_at: 'TIMESTAMPTZ'})"
        )
        return time.perf_counter() - started
