"""A durable INSERT of one row, against DuckDB's own in the same run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb

import memql
from memql.storage.schema import MEMORY_COLUMNS

from .measure import Ratio, in_turns, print_table, timed

ROUNDS = 300
_CONTENT = "Alice said that she would rather take the early train to Lisbon."


def run(rounds: int | None) -> None:
    """Time both and print them."""
    with tempfile.TemporaryDirectory() as folder:
        plain = duckdb.connect(str(Path(folder) / "plain.duckdb"))
        columns = ", ".join(
            f'"{name}" {kind}{" PRIMARY KEY" if name == "id" else ""}'
            for name, kind in MEMORY_COLUMNS
        )
        plain.execute(f"CREATE TABLE memories ({columns})")
        with memql.connect(Path(folder) / "bench.memql") as con:
            times = in_turns(
                {
                    "duckdb": timed(
                        lambda: plain.execute(
                            "INSERT INTO memories (id, owner, content, created_at) "
                            "VALUES (uuidv7(), 'local', ?, now())",
                            [_CONTENT],
                        )
                    ),
                    "memql": timed(
                        lambda: con.execute("INSERT INTO memories (content) VALUES (?)", [_CONTENT])
                    ),
                },
                rounds or ROUNDS,
                warm_up=10,
            )
        plain.close()
    print_table(
        ["one durable row", "median", "95%"],
        [
            [name, f"{one.median * 1000:.2f} ms", f"{one.percentile(95) * 1000:.2f} ms"]
            for name, one in times.items()
        ],
    )
    print(f"memql / duckdb: {Ratio.of(times['memql'], times['duckdb'])}")
    tails = times["memql"].percentile(95) / times["duckdb"].percentile(95)
    print(f"memql / duckdb at 95%: {tails:.2f}")
