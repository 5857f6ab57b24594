"""How deep a tree is, and whether it can be printed and read again."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from memql.dialect import MemQL
from memql.errors import ProgrammingError

# Printing, copying and comparing a tree take Python calls for each level of it. Up to here all
# of them fit; between the two limits the tree is tried.
SAFE_LEVELS = 40
MAX_LEVELS = 200
# The calls that are left to whoever prints the tree, or reads it again, later.
_SPARE_CALLS = 100
# sqlglot prints a chain of one of these in a loop: x AND y AND z is one level, not two.
_CHAINS = (exp.And, exp.Or, exp.Add, exp.Sub, exp.Mul, exp.DPipe)


def levels(tree: exp.Expr) -> int:
    """Return how many nodes are above each other in a tree; a chain of one operator is one.

    >>> from memql.dialect import MemQL
    >>> levels(MemQL().parse("SELECT x + 1")[0]), levels(MemQL().parse("SELECT x + 1 + 1")[0])
    (4, 4)
    """
    deepest = 0
    stack: list[tuple[exp.Expr, int]] = [(tree, 1)]
    while stack:
        node, level = stack.pop()
        deepest = max(deepest, level)
        for child in node.iter_expressions():
            stack.append((child, level if _continues(node, child) else level + 1))
    return deepest


def _continues(node: exp.Expr, child: exp.Expr) -> bool:
    if isinstance(node, exp.SetOperation):
        return isinstance(child, exp.SetOperation)
    return isinstance(node, _CHAINS) and type(node) is type(child)


def check_nesting(tree: exp.Expr, read: Callable[[str], object]) -> None:
    """Refuse a tree that is too deep to be printed, or whose text would be too deep to be read.

    ``x::INT::INT`` has no brackets, but is printed with a pair for each cast.

    Args:
        tree: what was read from a statement.
        read: reads a text, and fails if it is too deep.

    Raises:
        ProgrammingError: the tree is too deep.
    """
    depth = levels(tree)
    if depth > MAX_LEVELS:
        raise too_deep()
    if depth > SAFE_LEVELS:
        try:
            _with_less_stack(_SPARE_CALLS, lambda: read(tree.sql(dialect=MemQL)))
        except (RecursionError, ProgrammingError) as error:
            raise too_deep() from error


def too_deep() -> ProgrammingError:
    """Return the error for a statement that is nested too deeply."""
    return ProgrammingError(
        "syntax error: the statement is nested too deeply",
        hint="split it with WITH (common table expressions)",
        code="54001",
    )


def _with_less_stack(calls: int, action: Callable[[], object]) -> object:
    return action() if calls == 0 else _with_less_stack(calls - 1, action)
