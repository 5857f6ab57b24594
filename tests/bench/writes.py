"""Durable writes against DuckDB's own in the same run: one row, and many from one Arrow table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa

import memql
from memql.engine.result import arrow_of
from memql.storage.memories import new_id_texts
from memql.storage.schema import MEMORY_COLUMNS

from . import syncs
from .measure import Ratio, Times, check, in_turns, print_table, timed

ROUNDS = 300
ROWS = 100_000
ROUNDS_OF_MANY = 7
INSERT = "INSERT INTO memories (content) VALUES (?)"
CONTENT = "Alice said that she would rather take the early train to Lisbon."


def run(rounds: int | None) -> None:
    """Time both and print them."""
    with tempfile.TemporaryDirectory() as folder:
        plain = plain_database(Path(folder) / "plain.duckdb")
        with memql.connect(Path(folder) / "bench.memql") as con:
            times = in_turns(
                {"duckdb": timed(one_by_duckdb(plain)), "memql": timed(one_by_memql(con))},
                rounds or ROUNDS,
                warm_up=10,
            )
            counted = {name: syncs.of_one(name, rounds or ROUNDS) for name in times}
            _print("one durable row", times, counted)
            tails = times["memql"].percentile(95) / times["duckdb"].percentile(95)
            print(f"memql / duckdb at 95%: {tails:.2f}\n")
            _print(f"{ROWS:,} rows", _many(plain, con, rounds or ROUNDS_OF_MANY), {})
        plain.close()


def plain_database(path: Path) -> duckdb.DuckDBPyConnection:
    """Return a database of DuckDB with a table like `memories`, and nothing beside it."""
    plain = duckdb.connect(str(path))
    columns = ", ".join(
        f'"{name}" {kind}{" PRIMARY KEY" if name == "id" else ""}' for name, kind in MEMORY_COLUMNS
    )
    plain.execute(f"CREATE TABLE memories ({columns})")
    return plain


def one_by_duckdb(plain: duckdb.DuckDBPyConnection) -> Callable[[], object]:
    """Return what inserts one row as DuckDB does."""
    return lambda: plain.execute(
        "INSERT INTO memories (id, owner, content, created_at) "
        "VALUES (uuidv7(), 'local', ?, now())",
        [CONTENT],
    )


def one_by_memql(con: memql.Connection) -> Callable[[], object]:
    """Return what inserts one memory."""
    return lambda: con.execute(INSERT, [CONTENT])


def _many(plain: duckdb.DuckDBPyConnection, con: memql.Connection, rounds: int) -> dict[str, Times]:
    """Time `executemany` against INSERT ... SELECT of the rows that it writes, made before."""
    values = [[f"{CONTENT} This was said {number:,} times."] for number in range(ROWS)]
    con.executemany(INSERT, values)
    store = con._session._store
    cursor = store.cursor()
    cursor.execute("SELECT * FROM _memql.memories WHERE version = ?", [store.last_commit])
    table = arrow_of(cursor)
    check(table.num_rows == ROWS, f"{table.num_rows} rows were written")

    def by_duckdb() -> float:
        rows = table.set_column(0, "id", pa.array(new_id_texts(ROWS)))
        plain.register("rows", rows)
        return timed(lambda: plain.execute("INSERT INTO memories SELECT * FROM rows"))()

    by_memql = timed(lambda: con.executemany(INSERT, values))
    return in_turns({"duckdb": by_duckdb, "memql": by_memql}, rounds)


def _print(what: str, times: dict[str, Times], counted: dict[str, str]) -> None:
    print_table(
        [what, "median", "95%", *(["syncs"] if counted else [])],
        [
            [
                name,
                f"{one.median * 1000:.2f} ms",
                f"{one.percentile(95) * 1000:.2f} ms",
                *([counted[name]] if counted else []),
            ]
            for name, one in times.items()
        ],
    )
    print(f"memql / duckdb: {Ratio.of(times['memql'], times['duckdb'])}")
