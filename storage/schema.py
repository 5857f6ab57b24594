"""The tables of a store, and the migrations from one format of them to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from memql.errors import OperationalError

if TYPE_CHECKING:
    import duckdb

SCHEMA = "_memql"  # MemQL's own tables: a user's ordinary tables in `main` never clash with them

MEMORY_COLUMNS: tuple[tuple[str, str], ...] = (
    ("id", "UUID"),
    ("owner", "VARCHAR"),
    ("agent", "VARCHAR"),
    ("session", "VARCHAR"),
    ("kind", "VARCHAR"),
    ("content", "VARCHAR"),
    ("source", "VARCHAR"),
    ("tags", "VARCHAR[]"),
    ("importance", "DOUBLE"),
    ("trust", "DOUBLE"),
    ("sensitivity", "VARCHAR"),
    ("attributes", "JSON"),
    ("derived_from", "UUID[]"),
    ("superseded_by", "UUID"),
    ("created_at", "TIMESTAMPTZ"),
    ("updated_at", "TIMESTAMPTZ"),
    ("valid_from", "TIMESTAMPTZ"),
    ("valid_to", "TIMESTAMPTZ"),
    ("expires_at", "TIMESTAMPTZ"),
    ("hold", "BOOLEAN"),
    ("state", "VARCHAR"),
    ("version", "BIGINT"),
)

_MEMORY_CONSTRAINTS = {
    "id": "PRIMARY KEY",
    "owner": "NOT NULL",
    "content": "NOT NULL",
    "created_at": "NOT NULL",
    "updated_at": "NOT NULL",
    "hold": "NOT NULL DEFAULT false",
    "state": "NOT NULL DEFAULT 'active'",
    "version": "NOT NULL",
}


def _memories_1() -> tuple[str, str]:
    columns = [
        f'"{name}" {kind} {_MEMORY_CONSTRAINTS.get(name, "")}'.rstrip()
        for name, kind in MEMORY_COLUMNS
    ]
    history = [f'"{name}" {kind}' for name, kind in MEMORY_COLUMNS]
    return (
        f"CREATE TABLE _memql.memories ({', '.join(columns)})",
        f"CREATE TABLE _memql.versions ({', '.join(history)})",
    )


_TABLES_1 = """
CREATE TABLE _memql.settings (name VARCHAR PRIMARY KEY, value VARCHAR);
CREATE TABLE _memql.commits (number BIGINT, "at" TIMESTAMPTZ, user_name VARCHAR);
CREATE TABLE _memql.idempotency_keys (
    owner VARCHAR, key VARCHAR, memory_id UUID NOT NULL, digest BLOB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (owner, key));
CREATE TABLE _memql.forgotten (
    memory_id UUID, versions INTEGER, nodes INTEGER, user_name VARCHAR, "at" TIMESTAMPTZ,
    proof JSON);
CREATE TABLE _memql.use_counts (
    memory_id UUID PRIMARY KEY, access_count BIGINT NOT NULL, last_accessed_at TIMESTAMPTZ);

CREATE TABLE _memql.segments (
    memory_id UUID, version BIGINT, rendering BLOB, tokenizer VARCHAR, tokens INTEGER NOT NULL,
    ids BLOB NOT NULL, digest BLOB NOT NULL,
    PRIMARY KEY (memory_id, version, rendering, tokenizer));
CREATE SEQUENCE _memql.node_ids;
CREATE TABLE _memql.nodes (
    id BIGINT PRIMARY KEY, parent BLOB, start_tokens INTEGER NOT NULL, header JSON NOT NULL,
    first_row BIGINT NOT NULL, bytes BIGINT NOT NULL, digests BLOB[] NOT NULL,
    owner VARCHAR NOT NULL, state VARCHAR NOT NULL, reason VARCHAR,
    level VARCHAR NOT NULL DEFAULT 'exact', created_at TIMESTAMPTZ NOT NULL);
CREATE TABLE _memql.boundaries (
    key BLOB PRIMARY KEY, node BIGINT NOT NULL, offset_tokens INTEGER NOT NULL);
CREATE TABLE _memql.lineage (node BIGINT, memory_id UUID, version BIGINT);
CREATE TABLE _memql.intents (
    node BIGINT PRIMARY KEY, kind VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL);
CREATE TABLE _memql.tombstones (
    node BIGINT PRIMARY KEY, kind VARCHAR NOT NULL, created_at TIMESTAMPTZ NOT NULL);

CREATE TABLE _memql.views (
    owner VARCHAR, name VARCHAR, text VARCHAR NOT NULL, form VARCHAR, model VARCHAR,
    refresh VARCHAR NOT NULL DEFAULT 'on demand', refresh_seconds DOUBLE, options JSON,
    tokens BIGINT, level VARCHAR, created_at TIMESTAMPTZ NOT NULL, refreshed_at TIMESTAMPTZ,
    PRIMARY KEY (owner, name));
CREATE TABLE _memql.models (
    name VARCHAR PRIMARY KEY, path VARCHAR NOT NULL, options JSON, created_by VARCHAR,
    created_at TIMESTAMPTZ NOT NULL);
CREATE TABLE _memql.adapters (
    name VARCHAR PRIMARY KEY, owner VARCHAR NOT NULL, model VARCHAR NOT NULL, path VARCHAR,
    digest BLOB, options JSON, bytes BIGINT, state VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL);
CREATE TABLE _memql.calibration (
    model VARCHAR, device VARCHAR, quantity VARCHAR, value DOUBLE NOT NULL,
    measured_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (model, device, quantity));

CREATE TABLE _memql.jobs (
    id BIGINT PRIMARY KEY, kind VARCHAR NOT NULL, target VARCHAR, owner VARCHAR,
    state VARCHAR NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, created_at TIMESTAMPTZ NOT NULL,
    due_at TIMESTAMPTZ, started_at TIMESTAMPTZ, finished_at TIMESTAMPTZ, error VARCHAR);
CREATE TABLE _memql.workload (
    "at" TIMESTAMPTZ, user_name VARCHAR, statement VARCHAR, form VARCHAR, model VARCHAR,
    tokens BIGINT, reused_tokens BIGINT, computed_tokens BIGINT, seconds DOUBLE,
    saved_seconds DOUBLE, boundary BLOB);
CREATE TABLE _memql.audit (
    seq BIGINT PRIMARY KEY, "at" TIMESTAMPTZ NOT NULL, user_name VARCHAR NOT NULL,
    action VARCHAR NOT NULL, target VARCHAR NOT NULL, detail VARCHAR NOT NULL,
    prev_hash BLOB NOT NULL, hash BLOB NOT NULL);

CREATE TABLE _memql.users (
    name VARCHAR PRIMARY KEY, administrator BOOLEAN NOT NULL, password VARCHAR, token VARCHAR,
    valid_until TIMESTAMPTZ, created_by VARCHAR, created_at TIMESTAMPTZ NOT NULL);
CREATE TABLE _memql.roles (
    name VARCHAR PRIMARY KEY, created_by VARCHAR, created_at TIMESTAMPTZ NOT NULL);
CREATE TABLE _memql.memberships (
    role VARCHAR, member VARCHAR, admin BOOLEAN NOT NULL, granted_by VARCHAR,
    created_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (role, member));
CREATE TABLE _memql.grants (
    id BIGINT PRIMARY KEY, action VARCHAR NOT NULL, target VARCHAR NOT NULL, owner VARCHAR,
    grantee VARCHAR NOT NULL, predicate VARCHAR, granted_by VARCHAR, grantable BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL, until TIMESTAMPTZ);
CREATE TABLE _memql.policies (
    name VARCHAR NOT NULL, owner VARCHAR, restrictive BOOLEAN NOT NULL, command VARCHAR NOT NULL,
    grantees VARCHAR[] NOT NULL, using_predicate VARCHAR, check_predicate VARCHAR,
    created_at TIMESTAMPTZ NOT NULL);
"""


def create_format_1(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of format 1.

    Args:
        connection: a connection with an open transaction and no table of MemQL.
    """
    connection.execute("CREATE SCHEMA _memql")
    for statement in _memories_1():
        connection.execute(statement)
    connection.execute(_TABLES_1)


Migration = tuple[int, Callable[["duckdb.DuckDBPyConnection"], None]]

MIGRATIONS: tuple[Migration, ...] = ((1, create_format_1),)


def format_version(connection: duckdb.DuckDBPyConnection) -> int:
    """The format of the tables in a catalog; 0 when there are none yet.

    Args:
        connection: a connection to the catalog.
    """
    import duckdb

    # Asked for and not looked up: listing all tables is most of the time of opening a store.
    try:
        found = connection.execute(
            "SELECT value FROM _memql.settings WHERE name = 'format_version'"
        ).fetchone()
    except duckdb.CatalogException:
        return 0
    return int(found[0]) if found else 0


def migrate(
    connection: duckdb.DuckDBPyConnection,
    store: str,
    migrations: tuple[Migration, ...] = MIGRATIONS,
) -> None:
    """Bring a catalog to the newest format, each step in a transaction of its own.

    Args:
        connection: a connection to the catalog that nothing else uses.
        store: the store's name, for errors.
        migrations: the steps in order.

    Raises:
        OperationalError: the catalog is of a newer format than this MemQL knows, or it is a
            DuckDB database of something else.
    """
    found, newest = format_version(connection), migrations[-1][0]
    if found > newest:
        raise OperationalError(
            f"the store {store} has format {found}, this MemQL knows formats up to {newest}",
            hint="Open it with a newer version of MemQL.",
        )
    # In memory nothing can be there yet, and listing the tables would take a third of the opening.
    of_another = found == 0 and store != ":memory:"
    if of_another and connection.execute("SELECT 1 FROM duckdb_tables()").fetchone():
        raise OperationalError(
            f"{store} is not a MemQL store: its catalog.duckdb is another program's database",
            hint="Give the folder of a store, or a new or empty folder to make one.",
            code="42809",
        )
    for number, step in migrations:
        if number <= found:
            continue
        connection.execute("BEGIN")
        try:
            step(connection)
            connection.execute(
                "INSERT OR REPLACE INTO _memql.settings VALUES ('format_version', ?)",
                [str(number)],
            )
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
