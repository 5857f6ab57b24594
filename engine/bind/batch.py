"""Many rows of one INSERT ... VALUES as few statements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard

from sqlglot import exp

from memql.engine.bind.changes import cast_to_column
from memql.engine.bind.parameters import Parameters
from memql.engine.bind.rows import arrow_rows, plain_rows
from memql.engine.bind.shape import MEMORIES
from memql.engine.bind.sources import MEMORY_NAMES
from memql.engine.constraints import refers_to_itself
from memql.engine.names import fold
from memql.engine.printing import FILE_TABLE
from memql.engine.result import scannable
from memql.engine.tables import Tables
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


@dataclass(frozen=True)
class _Values:
    """``INSERT INTO t (...) VALUES (?, ...)``.

    Args:
        columns: those of the target, or what stands for them where the statement names none.
        memories: whether the target is memories, whose columns' types are known here.
    """

    columns: tuple[str, ...]
    memories: bool


def batches(
    tree: exp.Expr, rows: Sequence[Parameters] | pa.Table, tables: Tables
) -> Iterator[Batch]:
    """Yield statements that together do what ``tree`` does once for each row.

    An INSERT of one row of ``?`` becomes INSERTs of many from an Arrow table, where all values of
    each column are of one type; into memories else of VALUES. Anything else is repeated as it is.

    Args:
        tree: the statement.
        rows: one set of parameters for each run; the columns of an Arrow table in their order.
        tables: those that the user may name.
    """
    into = _values_of(tree, tables)
    if not isinstance(rows, Sequence):
        if into is not None and rows.num_columns == len(into.columns):
            if rows.num_rows:
                table = scannable(rows.rename_columns(list(into.columns)))
                yield Batch(_from_rows(tree, into), None, {_ROWS: table})
            return
        columns = [column.to_pylist() for column in rows.columns]
        rows = list(zip(*columns, strict=True)) if columns else [()] * rows.num_rows
    if into is None or not _all_of_width(rows, len(into.columns)):
        yield from (Batch(tree, row) for row in rows)
        return
    from_rows = _from_rows(tree, into)
    many: dict[int, exp.Expr] = {}
    for start in range(0, len(rows), ARROW_ROWS):
        part = rows[start : start + ARROW_ROWS]
        arrow = arrow_rows if into.memories else plain_rows
        table = arrow(into.columns, part) if len(part) > 1 else None
        if table is not None:
            yield Batch(from_rows, None, {_ROWS: table})
            continue
        if not into.memories:
            yield from (Batch(tree, row) for row in part)
            continue
        for first in range(0, len(part), ROWS):
            batch = part[first : first + ROWS]
            values: list[Any] = [value for row in batch for value in row]
            if len(batch) not in many:
                many[len(batch)] = _of_many(tree, into.columns, len(batch))
            yield Batch(many[len(batch)], values)


def _all_of_width(rows: Sequence[Parameters], columns: int) -> TypeGuard[Sequence[Sequence[Any]]]:
    # Asking for an abstract class takes longer than all else that is done with a row here.
    return all(
        (type(row) in (list, tuple) or _is_sequence(row)) and len(row or ()) == columns
        for row in rows
    )


def _is_sequence(row: Parameters) -> bool:
    return isinstance(row, Sequence) and not isinstance(row, str | bytes)


def _values_of(tree: exp.Expr, tables: Tables) -> _Values | None:
    """Return what an INSERT of one row of ``?`` names; None for any other statement."""
    if not isinstance(tree, exp.Insert) or not isinstance(tree.expression, exp.Values):
        return None
    # With one of these, rows that go in together may do something else than one after the other.
    if any(tree.args.get(clause) for clause in ("returning", "conflict", "alternative", "with_")):
        return None
    rows = tree.expression.expressions
    items = rows[0].expressions if len(rows) == 1 and isinstance(rows[0], exp.Tuple) else []
    if any(not isinstance(item, exp.Placeholder) or item.args.get("this") for item in items):
        return None
    named = tree.this.expressions if isinstance(tree.this, exp.Schema) else None
    table = tree.this if named is None else tree.this.this
    if not items or not isinstance(table, exp.Table) or len(items) != len(named or items):
        return None
    memories = not table.db and fold(table.name) == MEMORIES
    if not memories:
        found = tables.find(table.name, table.db)
        # DuckDB looks for the row that is referred to before any of a statement's are there.
        if found is None or refers_to_itself(tables, found):
            return None
    if named is None:
        return None if memories else _Values(tuple(f"c{i}" for i in range(len(items))), False)
    columns = tuple(fold(column.name) for column in named)
    known = (*MEMORY_NAMES, KEY_COLUMN)
    if len(set(columns)) < len(columns) or memories and not set(columns) <= set(known):
        return None  # the binder has an error for that
    return _Values(columns, memories)


def _from_rows(tree: exp.Expr, into: _Values) -> exp.Expr:
    """Return an INSERT from a table of rows."""
    source = exp.Table(this=exp.to_identifier("given", quoted=True))
    source.meta["rows"] = _ROWS
    shown: list[exp.Expr] = []
    for name in into.columns:
        column = exp.column(name, quoted=True)
        value = cast_to_column(column, name) if into.memories else column
        shown.append(exp.alias_(value, name, quoted=True))
    many = tree.copy()
    many.set("expression", exp.Select(expressions=shown, from_=exp.From(this=source)))
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
