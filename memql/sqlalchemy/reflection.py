"""What tables there are and how they are made, for SQLAlchemy's inspector."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import exc, text, util
from sqlalchemy import types as sqltypes
from sqlalchemy.engine import Connection, reflection

from memql.engine.bind.shape import MEMORIES
from memql.engine.names import quote

_TYPES: dict[str, type[sqltypes.TypeEngine[Any]]] = {
    "BIGINT": sqltypes.BIGINT,
    "BLOB": sqltypes.LargeBinary,
    "BOOLEAN": sqltypes.BOOLEAN,
    "DATE": sqltypes.DATE,
    "DOUBLE": sqltypes.DOUBLE,
    "FLOAT": sqltypes.REAL,
    "HUGEINT": sqltypes.Numeric,
    "INTEGER": sqltypes.INTEGER,
    "INTERVAL": sqltypes.Interval,
    "JSON": sqltypes.JSON,
    "SMALLINT": sqltypes.SMALLINT,
    "TIME": sqltypes.TIME,
    "TIMESTAMP": sqltypes.TIMESTAMP,
    "TINYINT": sqltypes.SMALLINT,
    "UBIGINT": sqltypes.Numeric,
    "UINTEGER": sqltypes.BIGINT,
    "USMALLINT": sqltypes.INTEGER,
    "UTINYINT": sqltypes.SMALLINT,
    "UUID": sqltypes.UUID,
    "VARCHAR": sqltypes.VARCHAR,
}


class Reflection:
    """The questions of an inspector, answered by SHOW, DESCRIBE and the tables of memql."""

    @reflection.cache
    def get_schema_names(self, connection: Connection, **kw: Any) -> list[str]:
        """Return the owners of the tables that the user may read."""
        owners = {row.owner for row in _relations(connection)}
        return sorted(owners | {_own(connection)})

    @reflection.cache
    def get_table_names(
        self, connection: Connection, schema: str | None = None, **kw: Any
    ) -> list[str]:
        """Return the names of ordinary tables, without ``memories``, which is always there."""
        return _named(connection, schema, "table")

    @reflection.cache
    def get_view_names(
        self, connection: Connection, schema: str | None = None, **kw: Any
    ) -> list[str]:
        """Return the names of views."""
        return _named(connection, schema, "view")

    @reflection.cache
    def get_materialized_view_names(
        self, connection: Connection, schema: str | None = None, **kw: Any
    ) -> list[str]:
        """Return the names of materialized views."""
        return _named(connection, schema, "materialized view")

    def get_temp_table_names(
        self, connection: Connection, schema: str | None = None, **kw: Any
    ) -> list[str]:
        """Return nothing: there are no temporary tables."""
        return []

    get_temp_view_names = get_temp_table_names

    @reflection.cache
    def get_view_definition(
        self, connection: Connection, view_name: str, schema: str | None = None, **kw: Any
    ) -> str:
        """Return the query of a view.

        Raises:
            NoSuchTableError: there is none of that name.
        """
        sql = "SELECT query FROM memql.views WHERE name = :name AND owner = :owner"
        values = {"name": view_name, "owner": schema or _own(connection)}
        found = connection.execute(text(sql), values).scalar()
        if found is None:
            raise exc.NoSuchTableError(view_name)
        return str(found)

    @reflection.cache
    def has_table(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> bool:
        """Tell whether there is a table or view of that name."""
        if schema is None and table_name == MEMORIES:
            return True
        owner = schema or _own(connection)
        return any((row.name, row.owner) == (table_name, owner) for row in _relations(connection))

    @reflection.cache
    def has_sequence(
        self, connection: Connection, sequence_name: str, schema: str | None = None, **kw: Any
    ) -> bool:
        """Tell whether the user has a sequence of that name."""
        return sequence_name in self.get_sequence_names(connection, schema=schema, **kw)

    @reflection.cache
    def get_sequence_names(
        self, connection: Connection, schema: str | None = None, **kw: Any
    ) -> list[str]:
        """Return the names of the user's sequences."""
        if schema not in (None, _own(connection)):
            return []
        return list(connection.execute(text("SELECT name FROM memql.sequences")).scalars())

    @reflection.cache
    def get_columns(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> list[Any]:
        """Return the columns of a table or view.

        Raises:
            NoSuchTableError: there is none of that name.
        """
        self._check(connection, table_name, schema, **kw)
        name = quote(table_name) if schema is None else f"{quote(schema)}.{quote(table_name)}"
        rows = connection.exec_driver_sql(f"DESCRIBE {name}").fetchall()
        return [
            {
                "name": row[0],
                "type": type_of(row[1]),
                "nullable": row[2] == "YES",
                "default": row[4],
            }
            for row in rows
        ]

    @reflection.cache
    def get_pk_constraint(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> Any:
        """Return the primary key of a table."""
        for row in self._constraints(connection, table_name, schema, "PRIMARY KEY", **kw):
            return {"name": row.name, "constrained_columns": row.columns}
        return {"name": None, "constrained_columns": []}

    @reflection.cache
    def get_foreign_keys(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> list[Any]:
        """Return the foreign keys of a table."""
        return [
            {
                "name": row.name,
                "constrained_columns": row.columns,
                "referred_schema": schema,
                "referred_table": row.referenced_table,
                "referred_columns": row.referenced_columns,
                "options": {},
            }
            for row in self._constraints(connection, table_name, schema, "FOREIGN KEY", **kw)
        ]

    @reflection.cache
    def get_unique_constraints(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> list[Any]:
        """Return the constraints UNIQUE of a table."""
        return [
            {"name": row.name, "column_names": row.columns}
            for row in self._constraints(connection, table_name, schema, "UNIQUE", **kw)
        ]

    @reflection.cache
    def get_check_constraints(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> list[Any]:
        """Return the constraints CHECK of a table."""
        return [
            {"name": row.name, "sqltext": row.condition}
            for row in self._constraints(connection, table_name, schema, "CHECK", **kw)
        ]

    @reflection.cache
    def get_indexes(
        self, connection: Connection, table_name: str, schema: str | None = None, **kw: Any
    ) -> list[Any]:
        """Return the indexes that were created on a table."""
        self._check(connection, table_name, schema, **kw)
        sql = "SELECT * FROM memql.indexes WHERE table_name = :t AND owner = :o"
        values = {"t": table_name, "o": schema or _own(connection)}
        return [
            {"name": row.name, "unique": row.is_unique, "column_names": row.columns}
            for row in connection.execute(text(sql), values)
        ]

    def _constraints(
        self, connection: Connection, table_name: str, schema: str | None, kind: str, **kw: Any
    ) -> Iterator[Any]:
        self._check(connection, table_name, schema, **kw)
        sql = (
            "SELECT * FROM memql.constraints WHERE table_name = :t AND owner = :o AND kind = :kind"
        )
        values = {"t": table_name, "o": schema or _own(connection), "kind": kind}
        yield from connection.execute(text(sql), values)

    def _check(
        self, connection: Connection, table_name: str, schema: str | None, **kw: Any
    ) -> None:
        if not self.has_table(connection, table_name, schema, **kw):
            raise exc.NoSuchTableError(table_name)


def type_of(name: str) -> sqltypes.TypeEngine[Any]:
    """Return SQLAlchemy's type for DuckDB's name of one; NullType where it has none.

    >>> type_of("DECIMAL(9,2)"), type_of("VARCHAR[]")
    (NUMERIC(precision=9, scale=2), ARRAY(VARCHAR()))
    """
    if name.endswith("]"):
        inner, _, _ = name.rpartition("[")
        item = type_of(inner)
        if isinstance(item, sqltypes.ARRAY):
            return sqltypes.ARRAY(item.item_type, dimensions=(item.dimensions or 1) + 1)
        return sqltypes.ARRAY(item)
    if decimal := re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", name):
        return sqltypes.NUMERIC(int(decimal[1]), int(decimal[2]))
    if name.startswith("ENUM("):
        values = [one.replace("''", "'") for one in re.findall(r"'((?:[^']|'')*)'", name)]
        return sqltypes.Enum(*values)
    zone = name.endswith(" WITH TIME ZONE")
    kind = _TYPES.get(name.removesuffix(" WITH TIME ZONE"))
    if kind is None:
        util.warn(f"SQLAlchemy has no type for {name}")
        return sqltypes.NULLTYPE
    if kind is sqltypes.TIME or kind is sqltypes.TIMESTAMP:
        return kind(timezone=zone)
    return kind()


def _own(connection: Connection) -> str:
    return connection.dialect.default_schema_name or "local"


def _relations(connection: Connection) -> list[Any]:
    return list(connection.execute(text("SELECT name, owner, kind FROM memql.tables")))


def _named(connection: Connection, schema: str | None, kind: str) -> list[str]:
    owner = schema or _own(connection)
    return [row.name for row in _relations(connection) if (row.owner, row.kind) == (owner, kind)]
