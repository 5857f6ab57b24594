"""The tables ``memql.constraints``, ``memql.indexes`` and ``memql.sequences``: what tables have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memql.engine.names import fold
from memql.engine.tables import OrdinaryTable, Tables

CONSTRAINT_COLUMNS = {
    "name": "VARCHAR",
    "table_name": "VARCHAR",
    "owner": "VARCHAR",
    "kind": "VARCHAR",
    "columns": "VARCHAR[]",
    "referenced_table": "VARCHAR",
    "referenced_columns": "VARCHAR[]",
    "condition": "VARCHAR",
}

INDEX_COLUMNS = {
    "name": "VARCHAR",
    "table_name": "VARCHAR",
    "owner": "VARCHAR",
    "is_unique": "BOOLEAN",
    "columns": "VARCHAR[]",
}

_CONSTRAINTS = (
    "SELECT constraint_name, constraint_type, constraint_column_names, referenced_table, "
    "referenced_column_names, expression FROM duckdb_constraints() "
    "WHERE database_name = current_database() AND schema_name = $schema AND table_name = $table "
    "ORDER BY constraint_index"
)
# An expression of an index stands there as the text of a list: [x, '"a b"', '((y + 1))'].
_INDEXES = (
    "SELECT index_name, is_unique, CAST(expressions AS VARCHAR[]) FROM duckdb_indexes() "
    "WHERE database_name = current_database() AND schema_name = $schema AND table_name = $table "
    "ORDER BY index_name"
)


def constraints(tables: Tables) -> list[dict[str, Any]]:
    """Return the constraints of the tables that the user may read, a row for each."""
    return [
        {
            "name": name,
            "table_name": table.name,
            "owner": table.owner,
            "kind": kind,
            "columns": columns,
            "referenced_table": referenced,
            "referenced_columns": referenced_columns,
            "condition": condition,
        }
        for table, row in _of_readable(tables, _CONSTRAINTS)
        for name, kind, columns, referenced, referenced_columns, condition in [row]
    ]


def indexes(tables: Tables) -> list[dict[str, Any]]:
    """Return the indexes that were created on the tables that the user may read."""
    return [
        {
            "name": name,
            "table_name": table.name,
            "owner": table.owner,
            "is_unique": unique,
            "columns": [column.strip('"') for column in columns],
        }
        for table, row in _of_readable(tables, _INDEXES)
        for name, unique, columns in [row]
    ]


def refers_to_itself(tables: Tables, table: OrdinaryTable) -> bool:
    """Tell whether rows of a table may refer to others of it by a foreign key."""
    values = {"schema": table.schema, "table": table.name}
    rows = tables.cursor.execute(_CONSTRAINTS, values).fetchall()
    return any(fold(referenced or "") == fold(table.name) for _, _, _, referenced, _, _ in rows)


SEQUENCE_COLUMNS = {"name": "VARCHAR", "owner": "VARCHAR"}


def sequences(tables: Tables) -> list[dict[str, Any]]:
    """Return the user's own sequences."""
    names = sorted(tables.own("sequence").values())
    return [{"name": name, "owner": tables.owner} for name in names]


def _of_readable(tables: Tables, sql: str) -> Iterator[tuple[OrdinaryTable, tuple[Any, ...]]]:
    for table in tables.all():
        if tables.permits(table.owner, table.name) or tables.context.rights.name is None:
            values = {"schema": table.schema, "table": table.name}
            for row in tables.cursor.execute(sql, values).fetchall():
                yield table, row
