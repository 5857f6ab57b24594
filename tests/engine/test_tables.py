"""Ordinary tables: transactions, owners, plans that are kept, types on their way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from sqlglot import exp

import memql
from memql.engine.bind.functions import check_query_nodes
from memql.engine.context import StatementContext
from memql.engine.plan import LINEAGE_COLUMN
from memql.engine.rights import EMBEDDED
from memql.engine.run.prompts import rows_of_table
from memql.engine.tables import schema_of
from memql.errors import (
    Error,
    IntegrityError,
    InternalError,
    OperationalError,
    ProgrammingError,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def con() -> Iterator[memql.Connection]:
    """The administrator of a store in memory."""
    with memql.connect() as connection:
        yield connection


@pytest.mark.parametrize("owners", [("Alice", "alice"), ("a%", "a%25;"), ("of:b", "b"), ("ä", "Ä")])
def test_owners_that_duckdb_takes_for_one_have_tables_of_their_own(
    tmp_path: Path, owners: tuple[str, str]
) -> None:
    assert schema_of(owners[0]).lower() != schema_of(owners[1]).lower()
    for owner in owners:
        with memql.connect(tmp_path / "store.memql", user=owner) as con:
            con.execute("CREATE TABLE t AS SELECT ? AS who", [owner])
    for owner in owners:
        with memql.connect(tmp_path / "store.memql", user=owner) as con:
            assert con.execute("SELECT who FROM t").fetchall() == [(owner,)]


def test_the_user_local_and_the_administrator_have_the_same_tables(tmp_path: Path) -> None:
    with memql.connect(tmp_path / "store.memql") as con:
        con.execute("CREATE TABLE t AS SELECT 1 AS a")
        with memql.connect(tmp_path / "store.memql", user="local") as local:
            assert local.execute("SELECT local.t.a, u.a FROM local.t, main.t AS u").fetchall() == [
                (1, 1)
            ]


def test_a_kept_plan_ends_with_its_table(con: memql.Connection) -> None:
    con.execute("CREATE TABLE t (a INTEGER)")
    con.execute("INSERT INTO t VALUES (1)")
    query, insert = "SELECT * FROM t", "INSERT INTO t VALUES (2)"
    assert con.execute(query).fetchall() == [(1,)]
    con.execute(insert)
    con.execute("ALTER TABLE t ADD COLUMN b VARCHAR DEFAULT 'x'")
    assert con.execute(query).fetchall() == [(1, "x"), (2, "x")]
    with pytest.raises(ProgrammingError):
        con.execute(insert)
    con.execute("DROP TABLE t")
    with pytest.raises(ProgrammingError, match="unknown table 't'"):
        con.execute(query)
    con.execute("CREATE VIEW t AS SELECT 'view' AS v")
    assert con.execute(query).fetchall() == [("view",)]
    con.begin()
    con.execute("DROP VIEW t")
    con.execute("CREATE TABLE t AS SELECT 'inside' AS v")
    assert con.execute(query).fetchall() == [("inside",)]
    con.rollback()
    assert con.execute(query).fetchall() == [("view",)]


def test_a_failed_statement_leaves_nothing_of_it(con: memql.Connection) -> None:
    con.execute("CREATE TABLE t (a INTEGER PRIMARY KEY)")
    for text in (
        "INSERT INTO t SELECT range % 900 FROM range(1000)",
        "INSERT INTO t SELECT CASE WHEN range < 999 THEN range ELSE CAST('x' AS INT) END "
        "FROM range(1000)",
    ):
        with pytest.raises(Error):
            con.execute(text)
        assert con.execute("SELECT count(*) FROM t").fetchone() == (0,)
    with pytest.raises(Error):
        con.execute("CREATE TABLE u AS SELECT CAST('x' || range AS INTEGER) FROM range(5)")
    assert con.execute("SHOW TABLES").fetchall() == [("t", "local", "table", 1)]
    with pytest.raises(IntegrityError):
        con.executemany("INSERT INTO t VALUES (?)", [[1], [2], [1]])
    assert con.execute("SELECT count(*) FROM t").fetchone() == (0,)
    con.executemany("INSERT INTO t VALUES (?)", [[1], [2]])
    assert con.execute("SELECT sum(a) FROM t").fetchone() == (3,)


def test_parameters_stand_in_every_kind_of_change(con: memql.Connection) -> None:
    con.execute("CREATE TABLE t AS SELECT ?::INTEGER AS a, $$x$$ AS b", [1])
    con.execute("INSERT INTO t VALUES ($a, $b)", {"a": 2, "b": "two"})
    con.execute("INSERT INTO t SELECT ?, ? WHERE ? = 1", [3, "three", 1])
    con.execute("UPDATE t SET b = $new WHERE a = $old", {"new": "one", "old": 1})
    con.execute(
        "MERGE INTO t USING (SELECT ? AS a) AS s ON t.a = s.a "
        "WHEN MATCHED THEN UPDATE SET b = ? WHEN NOT MATCHED THEN INSERT VALUES (s.a, ?)",
        [3, "drei", "neu"],
    )
    assert con.execute("DELETE FROM t WHERE a = ? RETURNING b || ?", [2, "!"]).fetchall() == [
        ("two!",)
    ]
    assert con.execute("SELECT * FROM t ORDER BY a").fetchall() == [(1, "one"), (3, "drei")]


TYPES = {
    "HUGEINT": "170141183460469231731687303715884105727",
    "UHUGEINT": "340282366920938463463374607431768211455",
    "DECIMAL(38,10)": "1234567890.0123456789",
    "BIT": "'0101'",
    "BLOB": "'\\xAA\\x00'",
    "UUID": "'00000000-0000-0000-0000-00000000000a'",
    "TIMETZ": "'12:00:00+02'",
    "TIMESTAMP_NS": "'2026-01-02 03:04:05.123456789'",
    "TIMESTAMPTZ": "'2026-01-02 03:04:05+00'",
    "INTERVAL": "'1 year 2 days'",
    "ENUM('x', 'y')": "'y'",
    "ENUM('x', 'y')[]": "['x']",
    "STRUCT(a INTEGER, b VARCHAR[])": "{'a': 1, 'b': ['p']}",
    "MAP(VARCHAR, INTEGER)": "MAP {'k': 1}",
    "UNION(n INTEGER, s VARCHAR)": "'text'",
    "INTEGER[3]": "[1, 2, 3]",
    "JSON": "'{\"a\": [1, null]}'",
    "BIGNUM": "'123456789012345678901234567890'",
}


@pytest.mark.parametrize("kind", TYPES)
def test_types_stay_what_they_are(con: memql.Connection, kind: str) -> None:
    con.execute(f"CREATE TABLE t (a {kind})")
    con.execute(f"INSERT INTO t VALUES ({TYPES[kind]}), (NULL)")
    plain = con.execute("SELECT a, typeof(a) FROM t").fetchall()
    assert con.execute("UPDATE t SET a = a RETURNING a, typeof(a)").fetchall() == plain
    assert con.execute("SELECT a, typeof(a) FROM t LIMIT 1000 TOKENS").fetchall() == plain
    con.execute("CREATE TABLE u AS SELECT * FROM t LIMIT 1000 TOKENS")
    assert con.execute("SELECT a, typeof(a) FROM u").fetchall() == plain
    con.begin()
    assert con.execute("SELECT a, typeof(a) FROM t").fetchall() == plain
    con.execute("DELETE FROM t WHERE a IS NOT NULL")
    # A list of enums that is empty in every row, and DuckDB reads no such Arrow table.
    rows = con.execute("INSERT INTO t VALUES (NULL) RETURNING a").fetchall()
    assert rows == [(None,)] and con.execute("SELECT a FROM t").fetchall() == [(None,), (None,)]
    con.rollback()


def test_the_log_of_a_store_is_written_into_its_file(tmp_path: Path) -> None:
    # Half a result on the store's own connection would keep its snapshot for ever: no checkpoint,
    # and no index on a table that was updated.
    with memql.connect(tmp_path / "store.memql") as con:
        con.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b VARCHAR)")
        con.execute("INSERT INTO t VALUES (1, 'x')")
        con.execute("UPDATE t SET b = 'y'")
        con.execute("CREATE INDEX i ON t (b)")
        store = con._session._store
        cursor = store.cursor()
        cursor.execute("CHECKPOINT").fetchall()
        assert not (tmp_path / "store.memql" / "catalog.duckdb.wal").exists()


def test_two_transactions_that_make_the_same_table_conflict(tmp_path: Path) -> None:
    with memql.connect(tmp_path / "s.memql") as one, memql.connect(tmp_path / "s.memql") as two:
        one.begin()
        two.begin()
        one.execute("CREATE TABLE t (a INTEGER)")
        with pytest.raises(OperationalError) as caught:
            two.execute("CREATE TABLE t (b INTEGER)")
        assert caught.value.code == "40001"
        two.rollback()
        one.commit()
        assert two.execute("SELECT a FROM t").fetchall() == []


def test_tables_are_made_and_dropped_while_others_read(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with memql.connect(tmp_path / "s.memql", user=f"u{number}") as con:
                for turn in range(15):
                    con.execute("CREATE OR REPLACE TABLE t AS SELECT ? AS turn", [turn])
                    con.execute("CREATE OR REPLACE VIEW v AS SELECT turn * 2 AS twice FROM t")
                    assert con.execute("SELECT twice FROM v").fetchall() == [(turn * 2,)]
                    con.execute("DROP VIEW v")
        except BaseException as error:
            failures.append(error)

    with memql.connect(tmp_path / "s.memql"):
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


@pytest.mark.parametrize(
    "text",
    [
        "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN UPDATE SET a = 1 WHERE false",
        "MERGE INTO t USING u ON t.a = u.a WHEN NOT MATCHED THEN INSERT (a) VALUES (1) WHERE false",
        "INSERT INTO t VALUES (1) RETURNING a INTO z",
        "INSERT INTO memories (content) VALUES ('x') RETURNING id INTO z",
        "DELETE FROM t WHERE a = 1 ORDER BY a LIMIT 1",
        "UPDATE t SET a = 1 LIMIT 1",
        "INSERT OVERWRITE t SELECT 1",
        "CREATE INDEX ON t (a)",
        "CREATE TABLE x (a INTEGER) WITH (fillfactor = 70)",
        "CREATE TABLE x (a INTEGER) PARTITION BY (a)",
        "CREATE TABLE x LIKE t",
        "CREATE TABLE x CLONE t",
        "CREATE VIEW x COMMENT 'c' AS SELECT 1",
        "CREATE SEQUENCE x OWNED BY t.a",
        "ALTER TABLE t ADD COLUMN b INTEGER AFTER a",
        "TRUNCATE TABLE t RESTART IDENTITY",
        "DROP TABLE t PURGE",
        "CREATE INDEX CONCURRENTLY i ON t (a)",
        "ALTER TABLE t RENAME s.a TO z",
        "CREATE TABLE x (a VARCHAR DEFAULT user)",
        "CREATE TABLE x (a VARCHAR DEFAULT current_schema)",
        "CREATE TABLE x (a VARCHAR CHECK (a > session_user))",
    ],
)
def test_clauses_that_would_be_left_out_are_refused(con: memql.Connection, text: str) -> None:
    con.execute("CREATE TABLE t AS SELECT 5 AS a")
    con.execute("CREATE TABLE u AS SELECT 5 AS a")
    with pytest.raises((ProgrammingError, memql.NotSupportedError)):
        con.execute(text)
    assert con.execute("SELECT a FROM t").fetchall() == [(5,)]
    assert [row[0] for row in con.execute("SHOW TABLES")] == ["t", "u"]


def test_a_parameter_in_returning_is_written_out_where_it_can_be(con: memql.Connection) -> None:
    con.execute("CREATE TABLE t (a VARCHAR)")
    assert con.execute("INSERT INTO t VALUES ('x') RETURNING a || ?", ["'--"]).fetchall() == [
        ("x'--",)
    ]
    with pytest.raises(memql.NotSupportedError, match="a parameter in RETURNING that is a list"):
        con.execute("INSERT INTO t VALUES ('x') RETURNING ?", [[1]])
    assert con.execute("SELECT count(*) FROM t").fetchone() == (1,)


@pytest.mark.parametrize("user", ["main", "MemQL", "_memql_x"])
def test_names_of_schemas_are_no_users(user: str) -> None:
    with pytest.raises(memql.InterfaceError, match="names of schemas"):
        memql.connect(user=user)


def test_two_lineages_are_noticed() -> None:
    one = pa.array([[]], pa.list_(pa.int32()))
    table = pa.Table.from_arrays([one, one], [LINEAGE_COLUMN, LINEAGE_COLUMN])
    with pytest.raises(InternalError, match="two lineages"):
        rows_of_table(table, duckdb.connect())


def test_words_that_are_printed_as_they_are_are_words() -> None:
    text = "SELECT 1"
    context = StatementContext(EMBEDDED, datetime(2026, 1, 1, tzinfo=UTC), text)
    query = exp.Select(expressions=[exp.Var(this="a, (SELECT 1)")])
    with pytest.raises(memql.NotSupportedError, match="is no name of a unit or a type"):
        check_query_nodes(query, context)


def test_types_of_types_have_an_end(con: memql.Connection) -> None:
    con.execute("CREATE TYPE t0 AS STRUCT(a INTEGER, b INTEGER)")
    with pytest.raises(ProgrammingError, match="written out whole") as caught:
        for number in range(30):
            con.execute(f"CREATE TYPE t{number + 1} AS STRUCT(a t{number}, b t{number})")
    assert caught.value.code == "54001" and number < 15
    many = ", ".join(f"NULL::t{number - 1}" for _ in range(20))
    with pytest.raises(ProgrammingError, match="written out whole"):
        con.execute(f"SELECT {many}")
    con.execute("CREATE TYPE small AS ENUM (SELECT 'v' || range FROM range(1000))")
    with pytest.raises(ProgrammingError, match="written out whole"):
        con.execute("CREATE TYPE large AS ENUM (SELECT 'v' || range FROM range(100000))")
    with pytest.raises(ProgrammingError, match="unknown type 'large'"):
        con.execute("SELECT NULL::large")
    con.begin()
    with pytest.raises(ProgrammingError, match="written out whole"):
        con.execute("CREATE OR REPLACE TYPE small AS ENUM (SELECT 'v' || range FROM range(100000))")
    assert con.execute("SELECT 'v7'::small").fetchall() == [("v7",)]  # what it had is still there
    con.commit()
    with pytest.raises(ProgrammingError, match="unknown type 'large'"):
        con.execute("SELECT NULL::large")


def test_a_table_made_by_a_long_query_keeps_nobody_waiting(tmp_path: Path) -> None:
    started, ended = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def work(con: memql.Connection) -> None:
        started.set()
        try:
            con.execute(
                "CREATE TABLE slow AS SELECT count(*) FROM range(100000000) AS a, range(1000000)"
            )
        except BaseException as error:
            failures.append(error)
        ended.set()

    with memql.connect(tmp_path / "s.memql", user="mal") as mal:
        with memql.connect(tmp_path / "s.memql", user="alice") as alice:
            thread = threading.Thread(target=work, args=(mal,))
            thread.start()
            started.wait()
            alice.execute("INSERT INTO memories (content) VALUES ('hello')")
            alice.execute("CREATE TABLE quick (a INTEGER)")
            assert not ended.is_set()  # it would take hours
            while not ended.is_set():
                mal.interrupt()
                ended.wait(0.05)
            thread.join()
    assert [type(error).__name__ for error in failures] == ["OperationalError"]


def test_what_duckdb_binds_without_end_is_refused(con: memql.Connection) -> None:
    con.execute("CREATE TABLE t AS SELECT 1 AS a")
    laterals = ", ".join(f"LATERAL (SELECT t.a + {n} AS x{n}) AS l{n}" for n in range(31))
    with pytest.raises(ProgrammingError, match="a FROM has 31 LATERAL") as caught:
        con.execute(f"SELECT 1 FROM t, {laterals}")
    assert caught.value.code == "54001"
    doubled = "t"
    for _ in range(16):
        doubled = f"(SELECT *, * FROM {doubled})"
    with pytest.raises(ProgrammingError, match="more than 10,000 columns"):
        con.execute(f"SELECT 1 FROM {doubled}")


def test_a_pivot_over_found_columns_writes_once_and_counts_right(con: memql.Connection) -> None:
    con.execute("INSERT INTO memories (content) VALUES ('x')")
    con.execute("CREATE TABLE t (n BIGINT)")
    pivot = "(PIVOT (SELECT 'k' AS k, 2 AS v) ON k USING sum(v))"
    assert con.execute(f"INSERT INTO t FROM {pivot}").rowcount == 1
    assert con.execute(f"CREATE TABLE u AS FROM {pivot}").rowcount == 1
    con.execute("CREATE TABLE m AS FROM (PIVOT memories ON content USING count(*) GROUP BY kind)")
    assert con.execute("SELECT (SELECT sum(n) FROM t), k FROM u").fetchall() == [(2, 2)]
    for text in (
        f"DELETE FROM t USING {pivot} AS p",
        f"UPDATE t SET n = 1 FROM {pivot} AS p",
        f"MERGE INTO t USING {pivot} AS p ON true WHEN MATCHED THEN DELETE",
    ):
        with pytest.raises(memql.NotSupportedError, match="whose columns are in the data"):
            con.execute(text)
    assert con.execute("SELECT n FROM t").fetchall() == [(2,)]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT kind::INTEGER AS k, generate('q', content, max_tokens := 1) AS g FROM memories "
        "GROUP BY kind",
        "SELECT DATE '2026-01-01' AS d, generate('q', content, max_tokens := 1) FROM memories",
        "SELECT generate('q', content, max_tokens := 1) FROM memories HAVING count(*)::INT > 0",
        "SELECT {'a': 1} -> 'a' AS x, generate('q', content, max_tokens := 1) FROM memories",
        "SELECT kind::INTEGER ** 2, kind::INT + 1 FROM memories GROUP BY ALL "
        "MATERIALIZE AS PLAINTEXT",
        "CREATE TABLE b AS SELECT g FROM (SELECT generate('q', max_tokens := 1) AS g "
        "FROM memories)",
        "CREATE OR REPLACE TABLE c AS SELECT content FROM memories LIMIT 100 TOKENS",
    ],
)
def test_casts_and_operators_stand_beside_answers(con: memql.Connection, text: str) -> None:
    con.execute("INSERT INTO memories (content, kind) VALUES ('x', '1')")
    cursor = con.execute(text)
    assert len(cursor.fetchall()) == 1 if cursor.description else cursor.rowcount == 1
