"""Transactions and context managers of the connection."""

from __future__ import annotations

from pathlib import Path

import pytest

import memql

INSERT = "INSERT INTO memories (content) VALUES ('a')"
COUNT = "SELECT count(*) FROM memories"


def test_a_transaction_commits_or_undoes() -> None:
    con = memql.connect()
    with con.transaction() as same:
        assert same is con
        con.execute(INSERT)
        assert con.in_transaction
    assert not con.in_transaction
    with pytest.raises(ValueError), con.transaction():
        con.execute(INSERT)
        raise ValueError
    assert not con.in_transaction
    assert con.execute(COUNT).fetchone() == (1,)


def test_transactions_do_not_nest() -> None:
    con = memql.connect()
    with con.transaction():
        con.execute(INSERT)
        with pytest.raises(memql.ProgrammingError, match="a transaction is open already"):
            with con.transaction():
                pass
        assert con.in_transaction  # that of the outer one
    assert con.execute(COUNT).fetchone() == (1,)


def test_a_transaction_that_was_ended_inside_is_left_alone() -> None:
    con = memql.connect()
    with con.transaction():
        con.execute(INSERT)
        con.rollback()
    assert con.execute(COUNT).fetchone() == (0,)
    with pytest.raises(ValueError), con.transaction():
        con.close()
        raise ValueError


def test_a_conflict_at_the_end_is_raised_and_undone(tmp_path: Path) -> None:
    path = tmp_path / "s.memql"
    with memql.connect(path) as one, memql.connect(path) as two:
        one.execute("CREATE TABLE t (a INTEGER)")
        one.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(memql.OperationalError) as raised, one.transaction():
            one.execute("SELECT * FROM t").fetchall()
            two.execute("UPDATE t SET a = 2")
            one.execute("UPDATE t SET a = 3")
        assert raised.value.code == "40001"
        assert not one.in_transaction
        assert one.execute("FROM t").fetchall() == [(2,)]


def test_with_commits_and_closes(tmp_path: Path) -> None:
    path = tmp_path / "s.memql"
    with memql.connect(path) as con:
        con.begin()
        con.execute(INSERT)
    with pytest.raises(memql.InterfaceError), con:
        pass
    with pytest.raises(ValueError), memql.connect(path) as con:
        con.begin()
        con.execute(INSERT)
        raise ValueError
    with memql.connect(path) as con, con.cursor() as cur:
        assert cur.execute(COUNT).fetchone() == (1,)
    with pytest.raises(memql.InterfaceError, match="the cursor is closed"):
        cur.execute(COUNT)


def test_reprs_tell_the_state(tmp_path: Path) -> None:
    con = memql.connect(tmp_path / "s.memql", user="ann")
    assert repr(con) == f"<memql.Connection to {tmp_path / 's.memql'} as ann>"
    con.begin()
    assert repr(con).endswith("as ann, in a transaction>")
    cur = con.cursor()
    assert repr(cur) == "<memql.Cursor>"
    assert repr(cur.execute("SELECT 1 AS a, 2 AS b")) == "<memql.Cursor with the columns a, b>"
    assert repr(cur.execute(INSERT)) == "<memql.Cursor, 1 rows written>"
    cur.close()
    con.close()
    assert repr(cur) == "<memql.Cursor, closed>" and repr(con) == "<memql.Connection, closed>"
