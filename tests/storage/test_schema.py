"""The tables of a store and the way from one format to the next."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from memql.errors import OperationalError
from memql.storage.schema import MEMORY_COLUMNS, MIGRATIONS, Migration, format_version, migrate
from memql.storage.store import Store

TABLES = set(
    "memories versions segments nodes boundaries lineage views models jobs intents grants"
    " use_counts workload calibration audit forgotten settings users roles memberships policies"
    " adapters tombstones idempotency_keys commits".split()
)


def _second(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("ALTER TABLE _memql.models ADD COLUMN digest BLOB")


def _failing(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("ALTER TABLE _memql.models ADD COLUMN half BLOB")
    raise RuntimeError("in the middle of a migration")


def test_format_1_has_all_its_tables() -> None:
    connection = duckdb.connect(":memory:")
    migrate(connection, "s")
    found = connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
    assert set(found) == {("_memql", table) for table in TABLES}
    assert format_version(connection) == 1
    for table in ("memories", "versions"):
        columns = connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns()"
            " WHERE table_name = ? ORDER BY column_index",
            [table],
        ).fetchall()
        assert [name for name, _ in columns] == [name for name, _ in MEMORY_COLUMNS]
        assert [kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ") for _, kind in columns] == [
            kind for _, kind in MEMORY_COLUMNS
        ]


def test_memories_constrains_its_rows() -> None:
    connection = duckdb.connect(":memory:")
    migrate(connection, "s")
    row = "(id, owner, content, created_at, updated_at, version) VALUES (uuid(), ?, ?, now(), ?, 1)"
    connection.execute(f"INSERT INTO _memql.memories {row}", ["a", "b", "2026-01-01"])
    assert connection.execute("SELECT hold, state FROM _memql.memories").fetchall() == [
        (False, "active")
    ]
    for values in (
        [None, "b", "2026-01-01"],
        ["a", None, "2026-01-01"],
        ["a", "b", None],
    ):
        with pytest.raises(duckdb.ConstraintException):
            connection.execute(f"INSERT INTO _memql.memories {row}", values)


def test_a_users_table_may_have_any_name(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s")
    cursor = store.cursor()
    for table in sorted(TABLES):
        cursor.execute(f'CREATE TABLE "{table}" (x INTEGER)')
    store.close()
    Store.open(tmp_path / "s").close()


def test_migrations_run_once_and_in_order() -> None:
    connection = duckdb.connect(":memory:")
    migrate(connection, "s")
    migrations: tuple[Migration, ...] = (*MIGRATIONS, (2, _second))
    migrate(connection, "s", migrations)
    assert format_version(connection) == 2
    migrate(connection, "s", migrations)
    assert connection.execute("SELECT digest FROM _memql.models").fetchall() == []


def test_a_failing_migration_leaves_the_old_format() -> None:
    connection = duckdb.connect(":memory:")
    migrate(connection, "s")
    with pytest.raises(RuntimeError):
        migrate(connection, "s", (*MIGRATIONS, (2, _failing)))
    assert format_version(connection) == 1
    with pytest.raises(duckdb.BinderException):
        connection.execute("SELECT half FROM _memql.models")
    migrate(connection, "s", (*MIGRATIONS, (2, _second)))
    assert format_version(connection) == 2


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    with duckdb.connect(str(tmp_path / "catalog.duckdb")) as newer:
        newer.execute("UPDATE _memql.settings SET value = '7' WHERE name = 'format_version'")
    with pytest.raises(OperationalError, match="has format 7, this MemQL knows formats up to 1"):
        Store.open(tmp_path)
    with duckdb.connect(str(tmp_path / "catalog.duckdb")) as newer:
        newer.execute("UPDATE _memql.settings SET value = '1' WHERE name = 'format_version'")
    Store.open(tmp_path).close()
