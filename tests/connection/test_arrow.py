"""Rows as Arrow tables and readers, and as data frames of pandas and polars."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import memql

ALL_TYPES = """
SELECT 1::TINYINT AS t, 2::BIGINT AS b, 3::UBIGINT AS u, 4::HUGEINT AS h, 1.25::DECIMAL(9, 2) AS d,
    1.5::DOUBLE AS f, true AS o, 'x' AS s, 'ab'::BLOB AS y, DATE '2026-01-02' AS day,
    TIMESTAMP '2026-01-02 03:04:05' AS ts, TIMESTAMPTZ '2026-01-02 03:04:05+00' AS tz,
    TIME '03:04:05' AS clock, '{"a": 1}'::JSON AS j,
    '0198c0de-0000-7000-8000-000000000001'::UUID AS id, [1, NULL] AS l, {'a': 1, 'b': ['x']} AS st,
    'a'::ENUM('a', 'b') AS e, NULL AS n, [uuid()][2:] AS ids
"""


@pytest.fixture
def con() -> Iterator[memql.Connection]:
    with memql.connect() as one:
        one.executemany(
            "INSERT INTO memories (content, kind) VALUES (?, ?)",
            [[f"memory {n}", None if n % 3 else "fact"] for n in range(5000)],
        )
        yield one


def test_every_name_gives_the_same_table(con: memql.Connection) -> None:
    tables = [
        con.execute(ALL_TYPES).to_arrow_table(),
        con.execute(ALL_TYPES).arrow(),
        con.execute(ALL_TYPES).fetch_arrow_table(),
        con.execute(ALL_TYPES).to_arrow_reader().read_all(),
        con.execute(ALL_TYPES).fetch_record_batch(10).read_all(),
        pa.table(con.execute(ALL_TYPES)),
    ]
    assert all(table.equals(tables[0]) for table in tables)
    assert tables[0].schema == tables[3].schema
    (row,) = tables[0].to_pylist()
    assert row["id"] == "0198c0de-0000-7000-8000-000000000001"
    assert row["j"] == '{"a": 1}' and row["st"] == {"a": 1, "b": ["x"]} and row["ids"] == []


def test_a_reader_gives_batches_of_the_size_asked_for(con: memql.Connection) -> None:
    query = "SELECT id, content FROM memories ORDER BY id"
    whole = con.execute(query).to_arrow_table()
    reader = con.execute(query).to_arrow_reader(batch_size=512)
    batches = list(reader)
    assert max(batch.num_rows for batch in batches) <= 512
    assert pa.Table.from_batches(batches).equals(whole.combine_chunks()) or (
        pa.Table.from_batches(batches).to_pydict() == whole.to_pydict()
    )
    assert whole.num_rows == 5000
    with pytest.raises(memql.DataError, match="a batch has at least 1 row, asked was for 0"):
        con.execute(query).to_arrow_reader(0)


def test_what_was_fetched_is_gone(con: memql.Connection) -> None:
    cur = con.execute("SELECT content FROM memories ORDER BY id")
    cur.fetchmany(4000)
    assert cur.to_arrow_table().num_rows == 1000
    assert cur.fetchall() == []


def test_a_reader_whose_rows_are_given_up_says_so(con: memql.Connection) -> None:
    cur = con.execute("SELECT content FROM memories")
    reader = cur.to_arrow_reader(1000)
    assert reader.read_next_batch().num_rows == 1000
    cur.execute("SELECT 1")
    with pytest.raises(memql.ProgrammingError, match="the rows of this reader were given up"):
        reader.read_next_batch()


def test_an_error_in_a_later_row_is_memqls(con: memql.Connection) -> None:
    con.execute("CREATE TABLE t AS SELECT CASE WHEN range < 90000 THEN '1' ELSE 'x' END AS s "
                "FROM range(100000)")  # fmt: skip
    cur = con.execute("SELECT s::INTEGER AS n FROM t")
    with pytest.raises(memql.DataError, match="x") as raised:
        for _ in cur.to_arrow_reader(2048):
            pass
    assert raised.value.code.startswith("22")


def test_rows_of_a_transaction_stay_as_they_were(con: memql.Connection) -> None:
    with con.transaction():
        reader = con.execute("SELECT content FROM memories").to_arrow_reader(1000)
        con.execute("DELETE FROM memories")
        assert con.execute("SELECT count(*) FROM memories").fetchone() == (0,)
        assert sum(batch.num_rows for batch in reader) == 5000


def test_without_a_query_there_is_no_table() -> None:
    con = memql.connect()
    for name in ("to_arrow_table", "to_arrow_reader", "df", "pl"):
        cur = con.execute("CREATE TABLE IF NOT EXISTS t (a INTEGER)")
        with pytest.raises(memql.ProgrammingError, match="there are no results to fetch"):
            getattr(cur, name)()


def test_pandas_and_polars_have_the_same_values(con: memql.Connection) -> None:
    query = "SELECT content, kind, trust FROM memories ORDER BY id LIMIT 4"
    frame, polar = con.execute(query).df(), con.execute(query).pl()
    assert isinstance(frame, pd.DataFrame) and isinstance(polar, pl.DataFrame)
    assert frame["content"].tolist() == polar["content"].to_list()
    assert polar["kind"].to_list() == ["fact", None, None, "fact"]
    assert polar.equals(pl.DataFrame(con.execute(query)))


@pytest.mark.parametrize(("method", "package"), [("df", "pandas"), ("pl", "polars")])
def test_a_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, method: str, package: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(memql.InterfaceError, match=rf"{method}\(\) needs {package}") as raised:
        getattr(memql.connect().execute("SELECT 1"), method)()
    assert raised.value.hint == f"pip install 'memql[{package}]', or use to_arrow_table()"


def test_pandas_reads_sql(con: memql.Connection) -> None:
    query = "SELECT kind, count(*) AS n FROM memories WHERE trust IS NULL GROUP BY kind ORDER BY n"
    read: Any = pd.read_sql
    with pytest.warns(UserWarning, match="pandas only supports SQLAlchemy"):
        frame = read(query, con)
    assert frame["n"].tolist() == [1667, 3333]
    with pytest.warns(UserWarning, match="pandas only supports SQLAlchemy"):
        frame = read("SELECT content FROM memories WHERE content = ?", con, params=["memory 7"])
    assert frame["content"].tolist() == ["memory 7"]


def test_polars_reads_a_database(con: memql.Connection) -> None:
    query = "SELECT kind, count(*) AS n FROM memories GROUP BY kind ORDER BY n"
    frame = pl.read_database(query, con)
    assert frame.to_dicts() == [{"kind": "fact", "n": 1667}, {"kind": None, "n": 3333}]
    frame = pl.read_database(
        "SELECT content, trust FROM memories WHERE content = ?",
        con,
        execute_options={"parameters": ["memory 7"]},
    )
    assert frame["content"].to_list() == ["memory 7"]
    batches = pl.read_database("SELECT content FROM memories", con, iter_batches=True,
                               batch_size=2000)  # fmt: skip
    assert [batch.height for batch in batches] == [2000, 2000, 1000]
