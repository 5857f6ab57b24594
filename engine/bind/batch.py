"""Many rows of one INSERT ... VALUES as few statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlglot import exp

from memql.engine.bind.changes import cast_to_column
from memql.engine.bind.parameters import Parameters
from memql.engine.bind.shape import MEMORIES
from memql.engine.bind.sources import MEMORY_NAMES
from memql.engine.names import fold

# Large enough that the cost of a statement is shared, small enough to be bound at once.
ROWS = 200


def batches(tree: exp.Expr, rows: Sequence[Parameters]) -> Iterator[tuple[exp.Expr, Parameters]]:
    """Yield (tree, parameters) that together do what ``tree`` does once for each row.

    An INSERT of one row of ``?`` becomes INSERTs of many; anything else is repeated as it is. The
    same tree is yielded again where only the values differ: copy it before it is changed.

    Args:
        tree: the statement.
        rows: one set of parameters for each run.
    """
    columns = _columns_of_values(tree)
    same_width = columns is not None and all(
        isinstance(row, Sequence) and not isinstance(row, str | bytes) and len(row) == len(columns)
        for row in rows
    )
    if columns is None or not same_width:
        yield from ((tree, row) for row in rows)
        return
    many: dict[int, exp.Expr] = {}
    for start in range(0, len(rows), ROWS):
        batch = rows[start : start + ROWS]
        values: list[Any] = [value for row in batch for value in row or ()]
        if len(batch) not in many:
            many[len(batch)] = _of_many(tree, columns, len(batch))
        yield many[len(batch)], values


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
    if len(source.expressions) != 1 or not all(column in MEMORY_NAMES for column in columns):
        return None
    items = source.expressions[0].expressions
    if len(items) != len(columns):
        return None
    if any(not isinstance(item, exp.Placeholder) or item.args.get("this") for item in items):
        return None
    return columns


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
