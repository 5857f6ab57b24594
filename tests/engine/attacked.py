"""A store of several users with secrets, and what of it must be the same after an attack."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

import memql
from memql.storage.lock import FILE_NAME
from memql.storage.store import Store

# In rows of other users, and in files: no answer and no error may hold one of them.
SECRETS = ("hush-alice", "hush-bob", "hush-local", "hush-file", "424242")
# What changes without an attack: the catalog's own files.
CATALOG_FILES = ("catalog.duckdb", "catalog.duckdb.wal")

_OF_EACH = (
    "CREATE TABLE own (id INTEGER PRIMARY KEY, v VARCHAR, n INTEGER CHECK (n < 100))",
    "INSERT INTO own VALUES (1, 'one', 1), (2, 'two', 2)",
    "CREATE SEQUENCE own_seq",
    "CREATE TYPE own_type AS ENUM ('a', 'b')",
    "CREATE VIEW own_view AS SELECT v FROM own",
)
_OF: Mapping[str | None, tuple[str, ...]] = {
    None: (
        "INSERT INTO memories (id, owner, content) VALUES "
        "('01890000-0000-7000-8000-00000000a11c', 'alice', 'hush-alice 1'), "
        "('01890000-0000-7000-8000-000000000b0b', 'bob', 'hush-bob'), "
        "('01890000-0000-7000-8000-00000000c0de', 'local', 'hush-local')",
        "CREATE TABLE ledger (id INTEGER, note VARCHAR)",
        "INSERT INTO ledger VALUES (1, 'hush-local')",
        *_OF_EACH,
    ),
    "alice": (
        "CREATE TABLE diary (id INTEGER PRIMARY KEY, note VARCHAR)",
        "INSERT INTO diary VALUES (1, 'hush-alice')",
        "CREATE INDEX diary_index ON diary (note)",
        "CREATE TYPE mood AS ENUM ('happy', 'hush-alice')",
        "CREATE SEQUENCE ids START 424242",
        "CREATE VIEW notes AS SELECT note FROM diary",
    ),
    "bob": (
        "CREATE TABLE pay (id INTEGER PRIMARY KEY, salary INTEGER CHECK (salary > 0), "
        "name VARCHAR UNIQUE)",
        "INSERT INTO pay VALUES (1, 424242, 'hush-bob')",
    ),
    "mallory": ("INSERT INTO memories (content) VALUES ('mine')", *_OF_EACH),
}


@dataclass
class Attacked:
    """A store on disk, open as the administrator and as a user with no rights.

    Args:
        folder: a new folder: the store is made in it, and files that attacks look for.
    """

    folder: Path
    connections: dict[str | None, memql.Connection] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.store = self.folder / "store.memql"
        for user, statements in _OF.items():
            connection = memql.connect(self.store, user=user)
            for statement in statements:
                connection.execute(statement)
            if user in (None, "mallory"):
                self.connections[user] = connection
            else:
                connection.close()
        self._watched = Store.open(self.store)
        (self.folder / "bait.csv").write_text("a\nhush-file\n", encoding="utf-8")
        (self.folder / "bait.json").write_text('{"a": "hush-file"}', encoding="utf-8")
        with duckdb.connect(str(self.folder / "bait.db")) as bait:
            bait.execute("CREATE TABLE t AS SELECT 'hush-file' AS a")
            bait.execute(f"COPY t TO '{self.folder / 'bait.parquet'}'")

    def close(self) -> None:
        """Close every opening of the store."""
        for connection in self.connections.values():
            connection.close()
        self._watched.close()

    def digests(self) -> dict[str, str]:
        """Return a digest of every table but the audit, and of what else the catalog holds."""
        cursor = self._watched.cursor()
        tables = cursor.execute(
            "SELECT database_name, schema_name, table_name FROM duckdb_tables() "
            "WHERE table_name <> 'audit'"
        ).fetchall()
        queries = {".".join(names): f"FROM {_quoted(names)}" for names in tables}
        for kind in ("schemas", "sequences", "types", "views", "indexes", "constraints", "columns"):
            # Each cursor has a temporary database of its own, with numbers of its own.
            queries[kind] = (
                f"SELECT COLUMNS(LAMBDA c : NOT c LIKE '%oid') FROM duckdb_{kind}() "
                "WHERE database_name NOT IN ('temp', 'system')"
            )
        queries["macros"] = "SELECT function_name FROM duckdb_functions() WHERE NOT internal"
        queries["databases"] = "SELECT database_name, path, readonly FROM duckdb_databases()"
        queries["settings"] = "SELECT name, value FROM duckdb_settings()"
        found = {name: _digest(cursor.execute(sql).fetchall()) for name, sql in queries.items()}
        cursor.close()
        return found

    def files(self) -> dict[str, str]:
        """Return a digest of every file below the folder but the catalog's own; "" of folders.

        The lock says which commit was the last: it is there, and changes.
        """
        found = {}
        for path in sorted(self.folder.rglob("*")):
            if path.name in CATALOG_FILES and path.parent == self.store:
                continue
            content = "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
            if path == self.store / FILE_NAME:
                content = "the lock"
            found[path.relative_to(self.folder).as_posix()] = content
        return found


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return what is not as it was."""
    return sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )


def _quoted(names: Iterable[str]) -> str:
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def _digest(rows: list[tuple[object, ...]]) -> str:
    return hashlib.sha256("\n".join(sorted(map(repr, rows))).encode("utf-8")).hexdigest()
