"""The tables of the schema ``memql``: what a store and a connection hold, as rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlglot import exp

SCHEMA = "memql"

# Named by the language, but nothing fills them yet.
UNBUILT_TABLES: tuple[str, ...] = (
    "all_memories",
    "cubes",
    "history",
    "jobs",
    "lineage",
    "workload",
)


@dataclass(frozen=True)
class CatalogTable:
    """One table: the types of its columns by name, and what makes its rows for who asks."""

    types: Mapping[str, str]
    rows: Callable[[], Sequence[Mapping[str, Any]]]


def as_query(table: CatalogTable) -> exp.Select:
    """Return a query whose rows are those of the table now."""
    names = list(table.types)
    found = [[row[name] for name in names] for row in table.rows()]
    # VALUES needs a row; WHERE false takes it away.
    rows = found or [[None] * len(names)]
    values = exp.Values(
        expressions=[exp.Tuple(expressions=[_literal(value) for value in row]) for row in rows],
        alias=exp.TableAlias(
            this=exp.to_identifier("_memql_rows", quoted=True),
            columns=[exp.to_identifier(name, quoted=True) for name in names],
        ),
    )
    casts = [
        exp.alias_(
            exp.Cast(this=exp.column(name, quoted=True), to=exp.DataType.build(kind, "duckdb")),
            name,
            quoted=True,
        )
        for name, kind in table.types.items()
    ]
    query = exp.Select(expressions=casts, from_=exp.From(this=values))
    if not found:
        query = query.where(exp.false(), copy=False)
    return query


def _literal(value: Any) -> exp.Expr:
    if isinstance(value, datetime):
        value = value.isoformat()
    return exp.convert(value)
