"""Expressions that use answers, taken apart: what needs none becomes a column of the relation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sqlglot import exp

from memql.engine import syntax
from memql.engine.duckdb_sql.dialect import PlainDuckDB

# What stands in the finish as it is; its pieces are taken apart.
_STRUCTURE = (
    exp.Window,
    exp.WindowSpec,
    exp.Order,
    exp.Ordered,
    exp.Distinct,
    exp.Tuple,
    exp.Where,
    exp.If,
    exp.Explode,
    exp.Unnest,
)
_NAMES = (exp.Star, exp.Identifier, exp.Var, exp.DataType)


@dataclass
class Lifter:
    """Rewrites expressions of a SELECT with generate as expressions over its answers.

    Args:
        answer: returns the column with the answers of a call, given its FILTER or None.
        projections: the columns of the relation that were needed so far.
    """

    answer: Callable[[syntax.Generate, exp.Where | None], exp.Expr]
    projections: list[exp.Expr] = field(default_factory=list, init=False)
    _columns: dict[str, str] = field(default_factory=dict, init=False)

    def lift(self, node: exp.Expr) -> exp.Expr:
        """Return ``node`` over the answers: maximal parts without generate become columns."""
        if isinstance(node, exp.Filter) and isinstance(node.this, syntax.Generate):
            return self.answer(node.this, node.expression)
        if isinstance(node, syntax.Generate):
            return self.answer(node, None)
        if isinstance(node, exp.Any | exp.All) and isinstance(node.this, exp.Query):
            return node.__class__(this=self._values(node.this))
        if isinstance(node, _NAMES):
            return node.copy()
        if isinstance(node, exp.Lambda):
            return self._lift_lambda(node)
        if not isinstance(node, _STRUCTURE) and not _runs_late(node):
            if not node.find(exp.Column, exp.AggFunc, exp.Func, exp.Query):
                return node.copy()
            return self._column(node)
        if isinstance(node, exp.Window):
            copy = self.lift_inside(node)
            copy.set("this", self._lift_call(node.this))
            return copy
        copy = self.lift_inside(node)
        if isinstance(node, exp.In) and isinstance(node.args.get("query"), exp.Query):
            copy.set("query", self._values(node.args["query"]))
        return copy

    def lift_inside(self, node: exp.Expr) -> exp.Expr:
        """Return a copy of ``node`` with each of its pieces over the answers."""
        copy = node.copy()
        for key, value in node.args.items():
            if isinstance(node, exp.In) and key == "query":
                continue
            if isinstance(node, exp.Window) and key == "this":
                continue
            if isinstance(value, exp.Expr):
                copy.set(key, self.lift(value))
            elif isinstance(value, list):
                copy.set(key, [self.lift(v) if isinstance(v, exp.Expr) else v for v in value])
        return copy

    def _lift_call(self, node: exp.Expr) -> exp.Expr:
        """Return the function of a window, or its name, with arguments over the answers."""
        if isinstance(node, _NAMES):
            return node.copy()
        copy = self.lift_inside(node)
        if isinstance(node, exp.Filter | exp.IgnoreNulls | exp.RespectNulls | exp.WithinGroup):
            copy.set("this", self._lift_call(node.this))
        return copy

    def _lift_lambda(self, node: exp.Lambda) -> exp.Expr:
        # Its variables are no columns; what is computed of them cannot leave it.
        copy = node.copy()
        for kind in (exp.AggFunc, exp.Column):
            for piece in list(copy.find_all(kind)):
                if kind is exp.AggFunc or not piece.name.startswith("_memql_c"):
                    piece.replace(self._column(piece))
        return copy

    def _values(self, query: exp.Expr) -> exp.Expr:
        """Return a subquery of one column over the answers: its values are a list of the relation.

        So it runs with the relation, in its snapshot, and the finish reads no table.
        """
        inner = query.this if isinstance(query, exp.Subquery) else query
        values = self._column(exp.Anonymous(this="array", expressions=[inner.copy()]))
        unnested = exp.Select(expressions=[exp.Explode(this=values)])
        return exp.Subquery(this=unnested)

    def _column(self, node: exp.Expr) -> exp.Expr:
        sql = node.sql(dialect=PlainDuckDB, comments=False)
        if sql not in self._columns:
            self._columns[sql] = f"_memql_c{len(self._columns)}"
            self.projections.append(exp.alias_(node.copy(), self._columns[sql], quoted=True))
        return exp.column(self._columns[sql], quoted=True)


def _runs_late(node: exp.Expr) -> bool:
    """Tell whether an expression needs answers, or what comes after HAVING."""
    late = (syntax.Generate, exp.Window, exp.Explode, exp.Unnest)
    return any(
        isinstance(inner, late)
        for inner in node.walk(prune=lambda inner: isinstance(inner, exp.Query))
    )
