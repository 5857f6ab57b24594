"""PEP 249: the compliance suite `dbapi-compliance`, and what it leaves open."""

from __future__ import annotations

import threading
import unittest
from pathlib import Path

import dbapi20
import pytest

import memql

# Those that the suite leaves to each driver.
OVERRIDDEN = ("test_nextset", "test_setoutputsize", "test_non_idempotent_close")


class TestCompliance(dbapi20.DatabaseAPI20Test):  # type: ignore[misc]  # it has no types
    driver = memql

    @pytest.fixture(autouse=True)
    def store(self, tmp_path: Path) -> None:
        self.connect_args = (tmp_path / "dbapi.memql",)

    def test_nextset(self) -> None:
        """A statement has one result: the method is optional, and not there."""
        assert not hasattr(memql.Cursor, "nextset")

    def test_setoutputsize(self) -> None:
        """Long values come whole, whatever was set."""
        with memql.connect() as con:
            cur = con.cursor()
            cur.setoutputsize(1)
            assert cur.execute("SELECT repeat('a', 1000)").fetchone() == ("a" * 1000,)

    def test_non_idempotent_close(self) -> None:
        """Closing twice is no error, as in sqlite3, psycopg and duckdb; everything else is one."""
        con = memql.connect()
        con.close()
        con.close()
        with pytest.raises(memql.InterfaceError, match="the connection is closed"):
            con.cursor()


def test_the_suite_runs_as_it_is() -> None:
    names = unittest.TestLoader().getTestCaseNames(TestCompliance)
    assert len(names) == 36
    ours = {name for name in vars(TestCompliance) if name.startswith("test_")}
    assert ours == set(OVERRIDDEN)


def test_type_codes_are_equal_to_their_type_objects() -> None:
    columns = {
        "'a'": memql.STRING,
        "uuid()": memql.STRING,
        "'{}'::JSON": memql.STRING,
        "'a'::ENUM('a', 'b (c)')": memql.STRING,
        "1::BIGINT": memql.NUMBER,
        "1.5": memql.NUMBER,
        "true": memql.NUMBER,
        "'a'::BLOB": memql.BINARY,
        "DATE '2026-01-01'": memql.DATETIME,
        "TIMESTAMPTZ '2026-01-01'": memql.DATETIME,
        "INTERVAL 1 DAY": memql.DATETIME,
        "[1.5]": None,
        "{'a': 1}": None,
    }
    kinds = (memql.STRING, memql.BINARY, memql.NUMBER, memql.DATETIME, memql.ROWID)
    description = memql.connect().execute(f"SELECT {', '.join(columns)}").description
    assert description is not None
    for (_, code, *rest), kind in zip(description, columns.values(), strict=True):
        assert rest == [None] * 5
        assert [one for one in kinds if code == one] == ([] if kind is None else [kind]), code


def test_threads_may_share_a_connection() -> None:
    """``threadsafety`` is 2: each thread has a cursor of its own, and all are answered right."""
    con = memql.connect()
    con.execute("CREATE TABLE t AS SELECT range AS n FROM range(1000)")
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                rows = con.execute("SELECT n FROM t WHERE n % 8 = ?", [number]).fetchall()
                if [n for (n,) in rows] != list(range(number, 1000, 8)):
                    wrong.append((number, turn, rows))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memql.threadsafety == 2
    assert not wrong


def test_an_interrupt_ends_the_statement_of_another_thread() -> None:
    con = memql.connect()
    con.execute("CREATE TABLE t AS SELECT range AS n FROM range(100000)")
    ended: list[memql.Error] = []

    def work() -> None:
        try:
            con.execute("SELECT count(*) FROM t a, t b WHERE a.n * b.n % 7 = 3").fetchall()
        except memql.Error as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        con.interrupt()
        thread.join(0.01)
    assert [error.code for error in ended] == ["57014"]
    assert con.execute("SELECT 1").fetchone() == (1,)
