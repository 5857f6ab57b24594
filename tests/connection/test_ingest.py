"""Tables and data frames into the store, and many rows as one INSERT."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Iterator
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import memql

pytestmark = pytest.mark.slow

COLUMNS: dict[str, list[Any]] = {"content": ["a", "b", "c"], "kind": ["fact", None, "taste"]}
ROWS = [("a", "fact"), ("b", None), ("c", "taste")]


@pytest.fixture
def con() -> Iterator[memql.Connection]:
    with memql.connect() as one:
        yield one


SOURCES: dict[str, Any] = {
    "table": pa.table(COLUMNS),
    "reader": pa.table(COLUMNS).to_reader(),
    "batch": pa.RecordBatch.from_pydict(COLUMNS),
    "pandas": pd.DataFrame(COLUMNS, index=[7, 8, 9]),
    "categories": pd.DataFrame(COLUMNS).astype({"kind": "category"}),
    "polars": pl.DataFrame(COLUMNS),
}


@pytest.mark.parametrize("name", SOURCES)
def test_memories_from_anything_with_columns(con: memql.Connection, name: str) -> None:
    source = SOURCES[name]
    if name == "reader":
        source = pa.table(COLUMNS).to_reader()
    assert con.ingest("memories", source) == 3
    assert con.execute("SELECT content, kind FROM memories ORDER BY content").fetchall() == ROWS
    assert con.execute("SELECT DISTINCT owner, state FROM memories").fetchall() == [
        ("local", "active")
    ]


@pytest.mark.parametrize("name", ["table", "pandas", "categories", "polars"])
def test_a_table_is_created_with_the_types_of_the_data(con: memql.Connection, name: str) -> None:
    assert con.ingest("t", SOURCES[name], mode="create") == 3
    assert con.execute("SELECT content, kind FROM t").fetchall() == ROWS
    assert [row[1] for row in con.execute("DESCRIBE t").fetchall()] == ["VARCHAR", "VARCHAR"]


def test_what_one_cursor_gives_another_takes(con: memql.Connection) -> None:
    con.ingest("memories", pa.table(COLUMNS))
    query = (
        "SELECT id, content, tags, created_at, hold, 1.5::DECIMAL(4, 2) AS d, {'a': [1]} AS s, "
        "DATE '2026-01-01' AS day FROM memories"
    )
    other = memql.connect()
    other.ingest("copied", con.execute(query), mode="create")
    before, after = con.execute(query).to_arrow_table(), other.execute("FROM copied").arrow()
    assert after.sort_by("id").equals(before.sort_by("id"))


def test_the_modes(con: memql.Connection) -> None:
    one, two = pa.table({"a": [1]}), pa.table({"a": [2]})

    def rows() -> list[int]:
        return [a for (a,) in con.execute("SELECT a FROM t ORDER BY a").fetchall()]

    with pytest.raises(memql.ProgrammingError, match="unknown table 't'"):
        con.ingest("t", one)
    con.ingest("t", one, mode="create_append")
    con.ingest("t", two, mode="create_append")
    assert rows() == [1, 2]
    with pytest.raises(memql.ProgrammingError) as raised:
        con.ingest("t", one, mode="create")
    assert raised.value.code == "42P07"
    con.ingest("t", two, mode="replace")
    assert rows() == [2]
    con.ingest("t", one)
    assert rows() == [1, 2]
    with pytest.raises(memql.InterfaceError, match="ingest knows no mode 'upsert'"):
        con.ingest("t", one, mode="upsert")  # type: ignore[arg-type]


def test_memories_are_never_created_or_replaced(con: memql.Connection) -> None:
    con.ingest("memories", pa.table(COLUMNS))
    with pytest.raises(memql.ProgrammingError, match="a table cannot be called memories"):
        con.ingest("memories", pa.table(COLUMNS), mode="replace")
    con.ingest("memories", pa.table(COLUMNS), mode="create_append")
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (6,)


def test_all_or_none(con: memql.Connection) -> None:
    con.execute("CREATE TABLE t (a INTEGER CHECK (a < 3))")
    with pytest.raises(memql.IntegrityError):
        con.ingest("t", pa.table({"a": [1, 2, 3]}))
    assert con.execute("SELECT count(*) FROM t").fetchone() == (0,)
    with pytest.raises(memql.DataError, match="importance is a number from 0 to 1"):
        con.ingest("memories", pa.table({"content": ["a", "b"], "importance": [1.0, 2.0]}))
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (0,)


def test_a_failed_insert_leaves_no_table(con: memql.Connection) -> None:
    con.execute("CREATE TABLE t (a INTEGER CHECK (a < 3))")
    con.ingest("t", pa.table({"a": [1]}))
    with pytest.raises(memql.ProgrammingError, match="unknown column"):
        con.ingest("t", pa.table({"b": [1]}), mode="create_append")
    assert con.execute("FROM t").fetchall() == [(1,)]
    assert not con.in_transaction


def test_in_a_transaction_it_is_a_part_of_it(con: memql.Connection) -> None:
    with pytest.raises(RuntimeError), con.transaction():
        con.ingest("t", pa.table({"a": [1]}), mode="create")
        con.ingest("memories", pa.table(COLUMNS))
        raise RuntimeError
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (0,)
    with pytest.raises(memql.ProgrammingError, match="unknown table"):
        con.execute("FROM t")


def test_wrong_columns_and_wrong_data(con: memql.Connection) -> None:
    with pytest.raises(memql.ProgrammingError, match="the column state is computed by MemQL"):
        con.ingest("memories", pa.table({"content": ["a"], "state": ["active"]}))
    with pytest.raises(memql.ProgrammingError, match="unknown column 'contnt'") as raised:
        con.ingest("memories", pa.table({"contnt": ["a"]}))
    assert raised.value.hint == "did you mean content?"
    with pytest.raises(memql.InterfaceError, match="data frame was asked for, found list"):
        con.ingest("memories", [{"content": "a"}])


def test_of_another_owner_by_their_name() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/s.memql"
        with memql.connect(path, user="ann") as ann, memql.connect(path, user="bob") as bob:
            ann.execute("CREATE TABLE t (a INTEGER)")
            with pytest.raises(memql.ProgrammingError, match="unknown table 'ann.t'"):
                bob.ingest("ann.t", pa.table({"a": [1]}))
            assert ann.ingest("ann.t", pa.table({"a": [1]})) == 1
            assert bob.ingest("memories", pa.table({"content": ["mine"]})) == 1
            assert ann.execute("SELECT count(*) FROM memories").fetchone() == (0,)
            assert bob.execute("SELECT owner FROM memories").fetchall() == [("bob",)]


# -- executemany ----------------------------------------------------------------------------------

MAKE = (
    "CREATE TABLE {} (a INTEGER, b DOUBLE, c VARCHAR, d BLOB, e DATE, f TIMESTAMP, "
    "g TIMESTAMPTZ, h UUID, i BOOLEAN, j DECIMAL(9, 2), k INTEGER[])"
)
ZONE = datetime.timezone(datetime.timedelta(hours=3))
VALUES: list[list[Any]] = [
    [1, "7", None],
    [1.5, 2, "1e3"],
    ["x", 7, "7"],
    [b"ab", b"", None],
    [datetime.date(2026, 1, 2), "2026-01-03", None],
    [datetime.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02", datetime.date(2026, 1, 2)],
    [datetime.datetime(2026, 1, 2, tzinfo=ZONE), None, "2026-01-02T00:00:00Z"],
    [uuid.UUID(int=5), str(uuid.UUID(int=6)), None],
    [True, "false", None],
    [decimal.Decimal("1.25"), 3, 1.5],
    [[1, 2], [], None],
]


@pytest.mark.parametrize("column", range(len(VALUES)))
def test_many_rows_are_what_single_rows_are(con: memql.Connection, column: int) -> None:
    """Whichever way the rows go in: Arrow where a column has one type, else one by one."""
    name = "abcdefghijk"[column]
    for values in ([VALUES[column][0]] * 3, VALUES[column], [*VALUES[column][:1], None]):
        con.execute(MAKE.format("many"))
        con.execute(MAKE.format("single"))
        con.executemany(f"INSERT INTO many ({name}) VALUES (?)", [[one] for one in values])
        for one in values:
            con.execute(f"INSERT INTO single ({name}) VALUES (?)", [one])
        assert con.execute("FROM many").fetchall() == con.execute("FROM single").fetchall()
        con.execute("DROP TABLE many")
        con.execute("DROP TABLE single")


def test_rows_of_a_table_go_in_as_arrow(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Single rows would run so many statements."""
    from memql.engine.run import many

    statements: list[int] = []
    batches = vars(many)["batches"]

    def counted(*given: Any) -> Any:
        for batch in batches(*given):
            statements.append(1)
            yield batch

    monkeypatch.setattr(many, "batches", counted)
    con.execute("CREATE TABLE t (a INTEGER, b VARCHAR)")
    rows = [[n, f"b{n}"] for n in range(3000)]
    assert con.executemany("INSERT INTO t VALUES (?, ?)", rows).rowcount == 3000
    assert len(statements) == 1
    assert con.execute("FROM t").fetchall() == [tuple(row) for row in rows]
    table = pa.table({"x": ["c", "d"], "y": [1, 2]})
    assert con.executemany("INSERT INTO t (b, a) VALUES (?, ?)", table).rowcount == 2
    assert len(statements) == 2
    assert con.execute("SELECT a, b FROM t WHERE b IN ('c', 'd')").fetchall() == [
        (1, "c"),
        (2, "d"),
    ]
    assert (
        con.executemany("DELETE FROM t WHERE a = ? AND b = ?", table.select([1, 0])).rowcount == 2
    )
    assert len(statements) == 4
    assert con.executemany("INSERT INTO t (b, a) VALUES (?, ?)", table.slice(2)).rowcount == 0


def test_conflicts_are_met_row_by_row(con: memql.Connection) -> None:
    con.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, n INTEGER)")
    con.executemany(
        "INSERT INTO t VALUES (?, ?) ON CONFLICT (a) DO UPDATE SET n = t.n + excluded.n",
        [[1, 1], [1, 2], [2, 5]],
    )
    assert con.execute("FROM t ORDER BY a").fetchall() == [(1, 3), (2, 5)]
    with pytest.raises(memql.IntegrityError):
        con.executemany("INSERT INTO t VALUES (?, ?)", [[3, 1], [3, 2]])
    assert con.execute("SELECT count(*) FROM t").fetchone() == (2,)


def test_rows_that_refer_to_rows_before_them(con: memql.Connection) -> None:
    con.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, up INTEGER REFERENCES t (a))")
    con.executemany("INSERT INTO t VALUES (?, ?)", [[1, None], [2, 1], [3, 2]])
    con.ingest("t", pa.table({"a": [4, 5], "up": [3, 4]}))
    assert con.execute("SELECT a FROM t ORDER BY a").fetchall() == [(n,) for n in range(1, 6)]


def test_a_table_of_the_wrong_width_is_refused(con: memql.Connection) -> None:
    con.execute("CREATE TABLE t (a INTEGER, b VARCHAR)")
    with pytest.raises(memql.ProgrammingError, match="has 2 parameters, 1 values were given"):
        con.executemany("INSERT INTO t VALUES (?, ?)", pa.table({"a": [1]}))
