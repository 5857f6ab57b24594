"""Window functions: on which rows their value depends."""

from __future__ import annotations

from sqlglot import exp

from memql.engine.bind.shape import is_anonymous_aggregate
from memql.engine.bind.untraceable import Untraceable
from memql.engine.names import fold

# A frame of more rows would give every row a lineage as long as that.
MAX_FRAME_ROWS = 100

# They take their value from one row of the partition, and it is that row's text.
_OF_ONE_ROW = frozenset("lag lead first_value last_value nth_value".split())
# They count rows of the whole partition, whatever the frame is.
_RANKS = frozenset(
    "row_number rank dense_rank rank_dense percent_rank cume_dist ntile fill".split()
)
_WRAPPERS = (exp.Filter, exp.IgnoreNulls, exp.RespectNulls)


def is_grouped(select: exp.Select) -> bool:
    """Tell whether a SELECT gives one row for each group, and not one for each row."""
    if any(select.args.get(key) is not None for key in ("group", "having")):
        return True
    for projection in select.expressions:
        for node in projection.walk(prune=lambda inner: isinstance(inner, exp.Query)):
            aggregate = isinstance(node, exp.AggFunc) or is_anonymous_aggregate(node)
            if aggregate and not _is_windowed(node):
                return True
    return False


def _is_windowed(function: exp.Expr) -> bool:
    node = function
    while isinstance(node.parent, _WRAPPERS) and node.parent.this is node:
        node = node.parent
    return isinstance(node.parent, exp.Window) and node.parent.this is node


def window_lineage(window: exp.Window, lineage: exp.Expr, select: exp.Select) -> exp.Expr:
    """Return the lineage of what a window function takes its value from.

    Args:
        window: a part of a projection.
        lineage: of one row of the window.
        select: the SELECT with the projection; it may name the window.

    Raises:
        Untraceable: the value depends on all rows of the partition, or on more than is known.
    """
    function = window.this
    while isinstance(function, exp.Filter | exp.RespectNulls):
        function = function.this
    name = fold(function.name) if isinstance(function, exp.Anonymous) else function.key
    made = window.copy()
    if name in _OF_ONE_ROW and not function.find(exp.IgnoreNulls, exp.Order):
        # Without the default of lag and lead, which is of the row itself.
        picked = function.copy()
        picked.set("expressions", [lineage.copy(), *picked.expressions[1:2]])
        made.set("this", picked)
        return made
    aggregate = isinstance(function, exp.AggFunc) or is_anonymous_aggregate(function)
    if not aggregate or name in _RANKS or function.find(exp.IgnoreNulls):
        raise Untraceable("a window function, whose value depends on other rows")
    if not _is_short(_frame(window, select)):
        raise Untraceable("a window function over many rows")
    made.set("this", exp.Anonymous(this="list", expressions=[lineage.copy()]))
    return exp.Anonymous(this="flatten", expressions=[made])


def _frame(window: exp.Window, select: exp.Select) -> exp.Expr | None:
    spec: exp.Expr | None = window.args.get("spec")
    for named in select.args.get("windows") or ():
        if spec is None and fold(named.name) == fold(window.alias):
            spec = named.args.get("spec")
    return spec


def _is_short(frame: exp.Expr | None) -> bool:
    if frame is None or str(frame.args.get("kind")).upper() != "ROWS":
        return False
    return all(_is_near(frame.args.get(key)) for key in ("start", "end"))


def _is_near(end: object) -> bool:
    if isinstance(end, exp.Literal):
        return end.is_int and int(end.name) <= MAX_FRAME_ROWS
    return end is None or str(end).upper() == "CURRENT ROW"
