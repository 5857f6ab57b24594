"""Runs the benchmarks that are named, or all; ``duckdb_corpus FOLDER`` runs by itself."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

# Before torch is imported. `tiny` is so small that threads wait for each other longer than they
# work; OMP_NUM_THREADS in the environment overrides it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from importlib.metadata import version

from memql.cli.quiet import quiet_libraries

from . import (
    arrow,
    choices,
    compiling,
    decoding,
    duckdb_corpus,
    first_token,
    governance,
    lines,
    loading,
    locomo,
    overhead,
    planning,
    reuse,
    writes,
)
from .measure import load_average

BENCHMARKS = {
    "planning": planning.run,
    "reuse": reuse.run,
    "choices": choices.run,
    "writes": writes.run,
    "lines": lines.run,
    "arrow": arrow.run,
    "governance": governance.run,
    "overhead": overhead.run,
    "locomo": locomo.run,
    "loading": loading.run,
    "first_token": first_token.run,
    "decoding": decoding.run,
    "compiling": compiling.run,
}
PACKAGES = ("duckdb", "pylance", "sqlglot", "torch", "transformers")


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--rounds", type=int, help="how often each thing is timed")
    given = parser.parse_args()
    if given.names[:1] == ["duckdb_corpus"]:
        if len(given.names) != 2:
            parser.error("duckdb_corpus takes the folder test/sql of a copy of DuckDB's repository")
        duckdb_corpus.run_corpus(Path(given.names[1]))
        return
    wrong = [name for name in given.names if name not in BENCHMARKS]
    if wrong:
        parser.error(f"no benchmark is called {wrong[0]}; there are {', '.join(BENCHMARKS)}")
    quiet_libraries()
    print(f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPUs")
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES))
    print(f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}")
    for name in given.names or BENCHMARKS:
        print(f"\n== {name} (load average {load_average()})\n")
        BENCHMARKS[name](given.rounds)
    print(f"\nload average at the end {load_average()}")


if __name__ == "__main__":
    main()
