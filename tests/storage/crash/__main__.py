"""Kills children in numbers: `python -m tests.storage.crash --kills 1000 --each 30`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.storage.crash import kills


def main() -> None:
    """Run it and print the work covered."""
    parser = argparse.ArgumentParser(prog="python -m tests.storage.crash")
    parser.add_argument("--kills", type=int, default=1000, help="how many children")
    parser.add_argument("--each", type=int, default=30, help="how many at each step, at least")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="memql-crash-") as folder:
        covered = kills.run(
            Path(folder),
            given.kills,
            given.each,
            given.seed * 1_000_000,
            told=lambda text: print(text, file=sys.stderr, flush=True),
        )
    print(covered)


if __name__ == "__main__":
    main()
