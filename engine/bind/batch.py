"""Many rows of one INSERT ... VALUES as few statements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard

from sqlglot import exp

from memql.engine.bind.changes import cast_to_column
from memql.engine.bind.parameters import Parameters
from memql.engine.bind.rows import arrow_rows
from memql.engine.bind.shape import MEMORIES
from memql.engine.bind.sources import MEMORY_NAMES
from memql.engine.names import fold
from memql.engine.printing import FILE_TABLE
from memql.storage.idempotency import KEY_COLUMN

if TYPE_CHECKING:
    import pyarrow as pa

# Large enough that the cost of a statement is shared, small enough to be bound at once.
ROWS = 200
# So many rows become an Arrow table at once, beside which they are still there as Python's objects.
ARROW_ROWS = 20_000
_ROWS = f"{FILE_TABLE}0"


@dataclass(frozen=True)
class Batch:
    """One statement for some of the rows.

    Args:
        tree: the statement; the same one comes again where only the values differ.
        parameters: of the statement.
        tables: rows that it reads by these names.
    """

    tree: exp.Expr
    parameters: Parameters
    tables: Mapping[str, pa.Table] = field(default_factory=dict)


def batches(tree: exp.Expr, rows: Sequence[Parameters]) -> Iterator[Batch]:
    """Yield statements that together do what ``tree`` does once for each row.

    An INSERT of one row of ``?`` into memories becomes INSERTs of many: from an Arrow table where
    all values of each column are of its own type, else of VALUES. Anything else is repeated as it
    is.

    Args:
        tree: the statement.
        rows: one set of parameters for each run.
    """
    columns = _columns_of_values(tree)
    if columns is None or not _all_of_width(rows, len(columns)):
        yield from (Batch(tree, row) for row in rows)
        return
    from_rows = _from_rows(tree, columns)
    many: dict[int, exp.Expr] = {}
    for start in range(0, len(rows), ARROW_ROWS):
        part = rows[start : start + ARROW_ROWS]
        table = arrow_rows(columns, part) if len(part) > 1 else None
        if table is not None:
            yield Batch(from_rows, None, {_ROWS: table})
            continue
        for first in range(0, len(part), ROWS):
            batch = part[first : first + ROWS]
            values: list[Any] = [value for row in batch for value in row]
            if len(batch) not in many:
                many[len(batch)] = _of_many(tree, columns, len(batch))
            yield Batch(many[len(batch)], values)


def _all_of_width(rows: Sequence[Parameters], columns: int) -> TypeGuard[Sequence[Sequence[Any]]]:
    # Asking for an abstract class takes longer than all else that is done with a row here.
    return all(
        (type(row) in (list, tuple) or _is_sequence(row)) and len(row or ()) == columns
        for row in rows
    )


def _is_sequence(row: Parameters) -> bool:
    return isinstance(row, Sequence) and not isinstance(row, str | bytes)


def _columns_of_values(tree: exp.Expr) -> list[str] | None:
    """Return the columns of ``INSERT INTO memories (...) VALUES (?, ...)``, None for others."""
    if not isinstance(tree, exp.Insert) or tree.args.get("returning"):
        return None
    schema, source = tree.this, tree.expression
    if not isinstance(schema, exp.Schema) or not isinstance(source, exp.Values):
        return None
    if schema.this.args.get("db") is not None or fold(schema.this.name) != MEMORIES:
        return None
    columns = [fold(column.name) for column in schema.expressions]
    known = (*MEMORY_NAMES, KEY_COLUMN)
    if len(source.expressions) != 1 or not all(column in known for column in columns):
        return None
    items = source.expressions[0].expressions
    if len(items) != len(columns):
        return None
    if any(not isinstance(item, exp.Placeholder) or item.args.get("this") for item in items):
        return None
    return columns


def _from_rows(tree: exp.Expr, columns: Sequence[str]) -> exp.Expr:
    """Return an INSERT from a table of rows."""
    source = exp.Table(this=exp.to_identifier("given", quoted=True))
    source.meta["rows"] = _ROWS
    casts: list[exp.Expr] = [
        exp.alias_(cast_to_column(exp.column(column, quoted=True), column), column, quoted=True)
        for column in columns
    ]
    many = tree.copy()
    many.set("expression", exp.Select(expressions=casts, from_=exp.From(this=source)))
    return many


def _of_many(tree: exp.Expr, columns: Sequence[str], count: int) -> exp.Expr:
    # Each value is cast alone: two rows' JSON objects need not have the same keys.
    many = tree.copy()
    rows = []
    place = 0
    for _ in range(count):
        values = []
        for column in columns:
            mark = exp.Placeholder()
            mark.meta["start"] = place  # parameters are taken in this order
            place += 1
            values.append(cast_to_column(mark, column))
        rows.append(exp.Tuple(expressions=values))
    many.set("expression", exp.Values(expressions=rows))
    return many
