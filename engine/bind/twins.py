"""Queries that ask for just what a materialized view of the user's holds, without naming it."""

from __future__ import annotations

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.shape import is_memories, select_sources
from memql.engine.bind.sources import Views
from memql.engine.bind.visible import and_terms
from memql.engine.names import fold
from memql.engine.plan import Target

_CLAUSES = frozenset(("expressions", "from_", "where"))


def twin_of(select: exp.Query, views: Views) -> Target | None:
    """Return what a view of the user's own is for that has the rows of a query; None without one.

    Args:
        select: as it was written; a SELECT with generate asks for the rows of that.
    """
    rows = _rows(select)
    if rows is None:
        return None
    for view in views.own_materialized():
        if _rows(view.query) == rows:
            assert view.form is not None, "a materialized view has a form"
            return Target(view.form, view.model, view.name, view.order)
    return None


def _rows(query: exp.Expr) -> frozenset[exp.Expr] | None:
    """Return the terms that choose a query's rows; None where it is not contents of memories."""
    if not isinstance(query, exp.Select) or len(query.expressions) != 1:
        return None
    if {key for key, value in query.args.items() if value} - _CLAUSES:
        return None
    sources = select_sources(query)
    if len(sources) != 1 or not is_memories(sources[0]):
        return None
    if {key for key, value in sources[0].args.items() if value} - {"this", "alias"}:
        return None
    if any(node is not query for node in query.find_all(exp.Placeholder, exp.Query)):
        return None
    if not _is_content(query.expressions[0].unalias()):
        return None
    return frozenset(map(_bare, and_terms(query)))


def _is_content(node: exp.Expr) -> bool:
    """Tell whether a projection is the content of its rows, or a generate that reads it."""
    if isinstance(node, syntax.Generate):
        used = {key for key, value in node.args.items() if value}
        if used - {"this", "expression", "options"}:
            return False
        node = node.args.get("expression") or exp.column("content")
    if type(node) is exp.Star:
        return not any(node.args.values())
    return isinstance(node, exp.Column) and fold(node.name) == "content"


def _bare(term: exp.Expr) -> exp.Expr:
    """Return a term that does not hang on what its memories are called."""
    term = term.copy()
    for column in term.find_all(exp.Column):
        column.set("table", None)
        column.set("this", exp.to_identifier(fold(column.name), quoted=True))
    return term
