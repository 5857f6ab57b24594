"""What fetching memories to Arrow costs, against DuckDB over the same catalog."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from pathlib import Path

import duckdb
import pyarrow as pa

import memql
from memql.storage.folder import CATALOG
from memql.storage.schema import MEMORY_COLUMNS

from .measure import Ratio, check, in_turns, print_table, timed

ROUNDS = 7
MEMORIES = 1_000_000
THREADS = 2

QUERIES = {
    "the text": "content",
    "what an agent reads": "id, owner, kind, content, importance, created_at",
    "all columns": "*",
}


def run(rounds: int | None) -> None:
    """Time both, the same rows to the same Arrow types."""
    with tempfile.TemporaryDirectory() as folder:
        store, copy = Path(folder) / "b.memql", Path(folder) / "copy.duckdb"
        with memql.connect(store, threads=THREADS) as con:
            con.ingest("memories", _rows())
        # DuckDB has a copy of the file: one database is not opened twice in a process.
        shutil.copy(store / CATALOG, copy)
        plain = duckdb.connect(str(copy), read_only=True, config={"threads": THREADS})
        columns = ", ".join(f'"{name}"' for name, _ in MEMORY_COLUMNS)
        table = []
        with memql.connect(store, threads=THREADS) as con:
            for name, shown in QUERIES.items():
                query = f"SELECT {shown} FROM memories"
                same = f"SELECT {columns if shown == '*' else shown} FROM _memql.memories"

                def by_memql(query: str = query) -> None:
                    check(con.execute(query).to_arrow_table().num_rows == MEMORIES, "rows of memql")

                def by_cursor(same: str = same) -> None:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        rows: pa.Table = plain.cursor().execute(same).to_arrow_table()
                    check(rows.num_rows == MEMORIES, "rows of duckdb")

                def by_relation(same: str = same) -> None:
                    rows: pa.Table = plain.cursor().sql(same).to_arrow_table()
                    check(rows.num_rows == MEMORIES, "rows of duckdb")

                ours, theirs = con.execute(query).arrow(), plain.cursor().sql(same).to_arrow_table()
                check(ours.schema.names == theirs.schema.names, "columns")
                check(ours.slice(7, 3).to_pylist() == theirs.slice(7, 3).to_pylist(), "values")
                times = in_turns(
                    {
                        "memql": timed(by_memql),
                        "execute": timed(by_cursor),
                        "sql": timed(by_relation),
                    },
                    rounds or ROUNDS,
                )
                table.append(
                    [
                        name,
                        *(str(times[one]) for one in ("memql", "execute", "sql")),
                        str(Ratio.of(times["memql"], times["execute"])),
                        str(Ratio.of(times["memql"], times["sql"])),
                    ]
                )
        plain.close()
    print(f"{MEMORIES:,} memories to an Arrow table, {THREADS} threads\n")
    print_table(
        ["", "memql", "duckdb execute", "duckdb sql", "memql / execute", "memql / sql"], table
    )
    print(
        "\nDuckDB's execute(...).to_arrow_table() begins a statement when it is asked to, as "
        "MemQL's does; its\nsql(...).to_arrow_table() is a relation, which runs when it is fetched."
    )


def _rows() -> pa.Table:
    numbers = range(MEMORIES)
    return pa.table(
        {
            "owner": [f"owner {n % 1000}" for n in numbers],
            "kind": pa.array(["fact", "taste"] * (MEMORIES // 2)),
            "content": [f"Person {n} likes thing number {n % 977} very much." for n in numbers],
            "importance": [n % 100 / 100 for n in numbers],
        }
    )
