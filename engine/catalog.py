"""The tables of the schema ``memql``: what a store and a connection hold, as rows."""

from __future__ import annotations

import json
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
    """Return a query whose rows are those of the table now.

    They stand in it as one text: a tree with a node for each value takes long to print and check.
    """
    kinds = {
        name: ["VARCHAR"] if _is_list(kind) else "VARCHAR" for name, kind in table.types.items()
    }
    rows = [{name: _plain(row[name]) for name in kinds} for row in table.rows()]
    texts = (json.dumps(rows), json.dumps([kinds]))
    read = exp.Anonymous(this="from_json", expressions=[exp.Literal.string(text) for text in texts])
    source = exp.Select(expressions=[exp.alias_(exp.Explode(this=read), _ROW, quoted=True)])
    values = exp.Subquery(
        this=source, alias=exp.TableAlias(this=exp.to_identifier("_memql_rows", quoted=True))
    )
    casts = [
        exp.alias_(
            exp.Cast(
                this=exp.Anonymous(
                    this="struct_extract",
                    expressions=[exp.column(_ROW, quoted=True), exp.Literal.string(name)],
                ),
                to=exp.DataType.build(kind, "duckdb"),
            ),
            name,
            quoted=True,
        )
        for name, kind in table.types.items()
    ]
    return exp.Select(expressions=casts, from_=exp.From(this=values))


_ROW = "_memql_row"


def _is_list(kind: str) -> bool:
    return kind.endswith("[]")


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it: a text, a list of texts, or null."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
