"""Predicates on memories that cannot fail on any row, nor tell of one that they do not hold for.

DuckDB may evaluate them on rows that the user may not see: what is looked at there must show
neither as an error nor as another type's cast. So the kind of every operand is known, and a value
is of the kind of the column that it is compared with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlglot import exp

from memql.engine.bind.parameters import NOW_PARAMETER
from memql.engine.context import StatementContext
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.names import fold, position, unknown
from memql.errors import ProgrammingError
from memql.storage.schema import MEMORY_COLUMNS

_KINDS = {
    "VARCHAR": "text",
    "DOUBLE": "number",
    "BIGINT": "whole",
    "UUID": "id",
    "TIMESTAMPTZ": "time",
    "BOOLEAN": "truth",
    "VARCHAR[]": "texts",
    "UUID[]": "ids",
    "JSON": "json",
}
KIND_OF_COLUMN: dict[str, str] = {name: _KINDS[kind] for name, kind in MEMORY_COLUMNS}

MAX_CONDITION_CHARACTERS = 1000

_MOST_DIGITS = 30
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# What Python and DuckDB read alike.
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{3}|\.\d{6})?)?(Z|[+-]\d\d(:\d\d)?)?)?",
    re.ASCII,
)

_ORDERS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)
_COMPARED = ("text", "number", "whole", "id", "time", "truth")
# Calls of (column, text), by the kind of the column.
_CALLS = {
    "contains": "text",
    "ends_with": "text",
    "starts_with": "text",
    "array_contains": "texts",
    "list_contains": "texts",
    "list_has": "texts",
}

HINT = (
    "a condition on memories compares columns with values (= <> < <= > >= IN BETWEEN LIKE, "
    "IS NULL, IS DISTINCT FROM, starts_with, ends_with, contains, list_contains(tags, '...'), "
    "now()), joined by AND, OR and NOT"
)


def leakproof(
    predicate: exp.Expr,
    owns: Callable[[exp.Column], bool],
    values: Mapping[str, Any],
) -> bool:
    """Tell whether a predicate compares columns of memories with values, and does nothing else.

    Args:
        predicate: AND, OR, and comparisons with = <> < > IN BETWEEN IS NULL.
        owns: whether a column is one of the memories that the predicate is about.
        values: the statement's parameters by name.
    """
    return _Reader(owns, values, wide=False).holds(predicate)


def check_predicate(predicate: exp.Expr, context: StatementContext) -> None:
    """Make sure that the condition of a grant or a policy can be asked of any memory.

    Raises:
        ProgrammingError: it names an unknown column, has parameters, or could fail on a row.
    """
    mark = predicate.find(exp.Placeholder)
    if mark is not None:
        raise ProgrammingError(
            "the condition of a grant or a policy is stored as text and cannot have parameters",
            hint="write the values into it",
            position=position(context.text, mark),
            statement=context.text,
            code="42P02",
        )
    for column in predicate.find_all(exp.Column):
        if fold(column.name) not in KIND_OF_COLUMN:
            raise unknown("column", column.name, list(KIND_OF_COLUMN), context, column)
    if not _Reader(_of_memories, {}, wide=True).holds(predicate):
        raise ProgrammingError(
            "the condition of a grant or a policy could fail on a memory, or looks beyond it",
            hint=HINT,
            position=position(context.text, predicate),
            statement=context.text,
            code="42P17",
        )
    text = predicate.sql(dialect=PlainDuckDB)
    if len(text) > MAX_CONDITION_CHARACTERS:
        raise ProgrammingError(
            f"the condition of a grant or a policy has {len(text):,} characters, at most "
            f"{MAX_CONDITION_CHARACTERS:,} are possible: it becomes a part of others' queries",
            hint="mark the memories (tags, kind, session) and ask for the mark",
            position=position(context.text, predicate),
            statement=context.text,
            code="54001",
        )


def is_condition(predicate: exp.Expr) -> bool:
    """Tell whether a stored condition is one that :func:`check_predicate` lets in."""
    return _Reader(_of_memories, {}, wide=True).holds(predicate)


def with_moment(predicate: exp.Expr) -> exp.Expr:
    """Return a condition in which ``now()`` is the statement's own moment, by its parameter."""
    predicate = predicate.copy()
    for node in list(predicate.find_all(exp.CurrentTimestamp, exp.Anonymous)):
        if _is_now(node):
            moment = exp.Placeholder(this=NOW_PARAMETER)
            if node is predicate:
                return moment
            node.replace(moment)
    return predicate


def _of_memories(column: exp.Column) -> bool:
    return not column.table and fold(column.name) in KIND_OF_COLUMN


class _Reader:
    """Reads predicates.

    Args:
        wide: whether conditions of grants and policies are read, which may do more.
    """

    def __init__(
        self, owns: Callable[[exp.Column], bool], values: Mapping[str, Any], *, wide: bool
    ) -> None:
        self._owns = owns
        self._values = values
        self._wide = wide

    def holds(self, node: exp.Expr) -> bool:
        """Tell whether a predicate is one of those that cannot fail."""
        waiting = [node]
        while waiting:
            one = waiting.pop()
            if isinstance(one, exp.And | exp.Or):
                waiting += [one.left, one.right]
            elif isinstance(one, exp.Paren | exp.Not):
                waiting.append(one.this)
            elif not self._single(one):
                return False
        return True

    def _single(self, node: exp.Expr) -> bool:
        if isinstance(node, exp.Boolean):
            return True
        if isinstance(node, exp.Column):
            return self._column(node) == "truth"
        if isinstance(node, exp.Is):
            return self._is(node)
        if isinstance(node, _ORDERS):
            return self._compared(node.left, node.right)
        if isinstance(node, exp.NullSafeEQ | exp.NullSafeNEQ):
            return self._compared(node.left, node.right)
        if isinstance(node, exp.Between):
            ends = (node.args["low"], node.args["high"])
            return not node.args.get("symmetric") and self._all_like(node.this, ends)
        if isinstance(node, exp.In):
            if any(node.args.get(key) for key in ("query", "unnest", "field")):
                return False
            return self._all_like(node.this, tuple(node.expressions))
        return self._wide and self._wide_single(node)

    def _wide_single(self, node: exp.Expr) -> bool:
        if isinstance(node, exp.Like):
            plain = not node.args.get("escape")
            return plain and self._kind(node.this) == "text" and self._is_text(node.expression)
        if isinstance(node, exp.Anonymous) and len(node.expressions) == 2:
            first, second = node.expressions
            kind = _CALLS.get(fold(node.name))
            return kind is not None and self._kind(first) == kind and self._is_text(second)
        return False

    def _is(self, node: exp.Is) -> bool:
        if isinstance(node.expression, exp.Null):
            return isinstance(node.this, exp.Column) and self._column(node.this) is not None
        return isinstance(node.expression, exp.Boolean) and self._kind(node.this) == "truth"

    def _all_like(self, first: exp.Expr, others: tuple[exp.Expr, ...]) -> bool:
        return bool(others) and all(self._compared(first, other) for other in others)

    def _compared(self, left: exp.Expr, right: exp.Expr) -> bool:
        """Tell whether two operands are compared as they are: no row's value is cast."""
        columns = [one for one in (left, right) if isinstance(one, exp.Column)]
        if len(columns) == 2:
            kinds = {self._column(one) for one in columns}
            return self._wide and len(kinds) == 1 and kinds <= set(_COMPARED)
        if not columns:
            return False
        kind = self._column(columns[0])
        value = right if columns[0] is left else left
        return kind in _COMPARED and self._fits(value, str(kind))

    def _column(self, column: exp.Column) -> str | None:
        return KIND_OF_COLUMN.get(fold(column.name)) if self._owns(column) else None

    def _kind(self, node: exp.Expr) -> str | None:
        return self._column(node) if isinstance(node, exp.Column) else None

    def _is_text(self, node: exp.Expr) -> bool:
        return isinstance(node, exp.Literal) and bool(node.is_string)

    def _fits(self, node: exp.Expr, kind: str) -> bool:
        """Tell whether a value is of a kind without a cast that could fail."""
        if isinstance(node, exp.Paren):
            return self._fits(node.this, kind)
        if isinstance(node, exp.Placeholder):
            # Looking holds the plan to the value; its type alone, which is in the plan's key,
            # decides where it can.
            value = dict.get(self._values, node.name) if isinstance(self._values, dict) else None
            if isinstance(value, str) and kind in ("id", "time"):
                value = self._values[node.name]
            return value is not None and _value_fits(value, kind)
        if isinstance(node, exp.Boolean):
            return kind == "truth"
        if isinstance(node, exp.Neg):
            return isinstance(node.this, exp.Literal) and _number_fits(node.this, kind)
        if isinstance(node, exp.Literal):
            return _value_fits(node.this, kind) if node.is_string else _number_fits(node, kind)
        if isinstance(node, exp.Cast) and type(node) is exp.Cast:
            asked = node.to.this in (exp.DType.TIMESTAMPTZ, exp.DType.TIMESTAMP, exp.DType.DATE)
            return kind == "time" and asked and self._fits(node.this, "time")
        return self._wide and kind == "time" and _is_now(node)


def _is_now(node: exp.Expr) -> bool:
    if isinstance(node, exp.CurrentTimestamp):
        return node.args.get("this") is None
    return isinstance(node, exp.Anonymous) and fold(node.name) == "now" and not node.expressions


def _number_fits(node: exp.Literal, kind: str) -> bool:
    if node.is_string or len(node.name) > _MOST_DIGITS:
        return False  # DuckDB reads long numbers as types whose casts can fail
    if node.is_int:
        return kind in ("number", "whole") and _is_small(int(node.name))
    # Beside a whole column DuckDB would cast the column to it, which can fail.
    return kind == "number" and math.isfinite(float(node.name))


def _is_small(number: int) -> bool:
    return abs(number) < 2**63


def _value_fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "truth"
    if isinstance(value, int):
        return kind in ("number", "whole") and _is_small(value)
    if isinstance(value, float):
        return kind == "number"
    if isinstance(value, UUID):
        return kind == "id"
    if isinstance(value, datetime):
        return kind == "time"
    if not isinstance(value, str):
        return False
    if kind == "text":
        return True
    try:
        if kind == "id":
            return _ID.fullmatch(value) is not None
        if kind == "time":
            datetime.fromisoformat(value)
            return _TIME.fullmatch(value) is not None
    except ValueError:
        return False
    return False
