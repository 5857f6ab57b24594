"""Which columns of a subquery can reach the text of the query's rows.

``SELECT content FROM (SELECT content, row_number() OVER (...) AS n FROM memories) WHERE n < 3``:
n decides which rows there are, and no text depends on it.
"""

from __future__ import annotations

from sqlglot import exp

from memql.engine.bind.parts import direct_generates
from memql.engine.bind.shape import select_sources
from memql.engine.names import fold


def shown_projections(select: exp.Select, shown: frozenset[str] | None) -> list[exp.Expr]:
    """Return the projections that others show, or that such a projection uses by its alias.

    Args:
        shown: folded names of the columns that others show; None for all.
    """
    if shown is None:
        return list(select.expressions)
    found: list[exp.Expr] = []
    rest = list(select.expressions)
    names = set(shown)
    while True:
        more = [one for one in rest if _is_star(one) or fold(one.alias_or_name) in names]
        if not more:
            return found
        found.extend(more)
        rest = [one for one in rest if not any(one is other for other in more)]
        names |= {fold(column.name) for one in more for column in one.find_all(exp.Column)}


def shown_of(select: exp.Select, source: exp.Expr) -> frozenset[str] | None:
    """Return the folded names of columns that a SELECT may show of one source; None for all."""
    clauses = list(select.expressions)
    if any(_is_star(projection) for projection in clauses):
        return None
    if direct_generates(select):
        found = [select.args.get(key) for key in ("having", "order", "qualify")]
        clauses.extend(clause for clause in found if clause is not None)
    # What stands beside it in FROM may compute with its columns.
    clauses.extend(other for other in select_sources(select) if other is not source)
    return frozenset(
        fold(column.name) for clause in clauses for column in clause.find_all(exp.Column)
    )


def shown_by_readers(cte: exp.CTE) -> frozenset[str] | None:
    """Return the folded names of columns that any reader of a CTE may show; None for all."""
    names: set[str] = set()
    for table in cte.root().find_all(exp.Table):
        if table.name != cte.alias or table.db:
            continue
        select = table.find_ancestor(exp.Select)
        if select is None or not any(table is source for source in select_sources(select)):
            return None
        alias = table.args.get("alias")
        if isinstance(alias, exp.TableAlias) and alias.columns:
            return None
        shown = shown_of(select, table)
        if shown is None:
            return None
        names |= shown
    return frozenset(names)


def _is_star(projection: exp.Expr) -> bool:
    return any(
        not isinstance(star.parent, exp.Count) for star in projection.find_all(exp.Star)
    ) or (projection.find(exp.Columns) is not None)
