"""Limits in tokens, taken out of a query: what DuckDB cannot do runs before the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.shape import cte_of, ctes_around
from memql.engine.context import StatementContext
from memql.engine.names import fold, position
from memql.engine.plan import CUT_TABLE, Cut, Relation
from memql.errors import NotSupportedError, ProgrammingError


def has_token_limit(query: exp.Expr) -> bool:
    """Tell whether a tree holds a ``LIMIT n TOKENS``."""
    return query.find(syntax.TokenLimit) is not None


def take_cuts(
    query: exp.Query,
    finish: Callable[[exp.Query], Relation],
    context: StatementContext,
) -> tuple[exp.Query, tuple[Cut, ...]]:
    """Return ``query`` with each part that has a limit in tokens replaced by a table of its rows.

    Inner parts come before those around them. A part takes along the common table expressions
    that it can reach.

    Args:
        query: with its tables resolved, and traced if it is; it may be changed in place.
        finish: makes a part a relation, with its policy.
        context: the statement.

    Raises:
        NotSupportedError: a limit in tokens of a subquery that reads columns around it.
        ProgrammingError: the limit is no constant.
    """
    if not has_token_limit(query):
        return query, ()
    outside = _source_names(query)
    cuts: list[Cut] = []
    for part in _parts(query):
        _check_correlation(part, outside, context)
        limit = part.args["limit"]
        check_constant(limit, context)
        reach = _ctes_in_reach(part, context)
        table = f"{CUT_TABLE}{len(cuts)}"
        source = exp.Table(this=exp.to_identifier(table, quoted=True))
        scan: exp.Query = exp.Select(expressions=[exp.Star()], from_=exp.From(this=source))
        if part is query:
            query = scan
        elif isinstance(part, exp.Subquery):
            part.replace(exp.Subquery(this=scan, alias=part.args.get("alias")))
        else:
            part.replace(scan)
        part = _standing_alone(part, limit.args.get("rows"), reach)
        relation = finish(part)
        cuts.append(Cut(table, relation, limit.this.copy(), limit.args.get("model")))
    rest = query.find(syntax.TokenLimit)
    if rest is not None:
        raise NotSupportedError(
            "LIMIT n TOKENS is not possible here",
            position=position(context.text, rest),
            statement=context.text,
        )
    return query, tuple(cuts)


def _parts(query: exp.Query) -> list[exp.Query]:
    """Return the queries with a limit in tokens, each behind all that it may read."""
    found: list[exp.Query] = []
    stack: list[tuple[exp.Expr, bool]] = [(query, False)]
    while stack:
        node, seen = stack.pop()
        if seen:
            if isinstance(node, exp.Query) and isinstance(
                node.args.get("limit"), syntax.TokenLimit
            ):
                found.append(node)
            continue
        stack.append((node, True))
        children = list(node.iter_expressions())
        # The stack turns the order round: common table expressions are to come out first.
        clauses = [child for child in children if isinstance(child, exp.With)]
        others = [child for child in children if not isinstance(child, exp.With)]
        stack.extend((child, False) for child in reversed([*clauses, *others]))
    return found


def _standing_alone(part: exp.Query, rows: exp.Expr | None, reach: Sequence[exp.Expr]) -> exp.Query:
    """Return a part without its limit in tokens, with the table expressions that it can reach."""
    part.set("limit", None)
    own = part.args.get("with_")
    if isinstance(part, exp.Subquery):
        alias = exp.TableAlias(this=exp.to_identifier(f"{CUT_TABLE}_part", quoted=True))
        inner = exp.From(this=exp.Subquery(this=part.this, alias=alias))
        whole = exp.Select(expressions=[exp.Star()], from_=inner)
        for key in ("order", "offset"):
            whole.set(key, part.args.get(key))
        part = whole
    if rows is not None:
        part.set("limit", exp.Limit(expression=rows.copy()))
    ctes = [*reach, *(own.expressions if own is not None else ())]
    if ctes:
        recursive = own is not None and bool(own.args.get("recursive"))
        part.set("with_", exp.With(expressions=ctes, recursive=recursive))
    return part


def check_constant(limit: exp.Expr, context: StatementContext) -> None:
    """Refuse a LIMIT that depends on rows.

    Raises:
        ProgrammingError: it holds a column, a subquery or an aggregate.
    """
    odd = limit.find(exp.Column, exp.Query, exp.AggFunc, exp.Window, exp.Star)
    if odd is not None:
        raise ProgrammingError(
            "a LIMIT in tokens, or inside generate, takes a number or a parameter",
            position=position(context.text, odd),
            statement=context.text,
            code="42601",
        )


def _check_correlation(part: exp.Query, outside: set[str], context: StatementContext) -> None:
    """Refuse a part that names a source of the query around it.

    A column without its table's name that only the query around has is left to DuckDB, which
    does not find it.
    """
    outside = outside - _source_names(part)
    for column in part.find_all(exp.Column):
        if column.table and fold(column.table) in outside:
            raise NotSupportedError(
                "LIMIT n TOKENS in a subquery that reads columns of the query around it "
                "is not possible",
                position=position(context.text, column),
                statement=context.text,
            )


def _source_names(query: exp.Query) -> set[str]:
    kinds = (exp.Table, exp.Subquery, exp.Unnest, exp.Lateral, exp.Values)
    return {fold(source.alias_or_name) for source in query.find_all(*kinds)}


def _ctes_in_reach(part: exp.Query, context: StatementContext) -> list[exp.Expr]:
    """Return copies of the common table expressions around a part that it reads, outer first.

    Each has a name of its own, so that none hides another.

    Raises:
        NotSupportedError: one of them is recursive, or has other rows each time.
    """
    around = list(reversed(list(ctes_around(part))))
    readable = {id(cte) for cte in around}
    found: set[int] = set()
    needed = list(part.find_all(exp.Table))
    while needed:
        cte = cte_of(needed.pop())
        if cte is None or id(cte) in found or id(cte) not in readable:
            continue
        context.check_cancel()
        _check_taken_along(cte, part, context)
        found.add(id(cte))
        needed.extend(cte.this.find_all(exp.Table))
    return [cte.copy() for cte in around if id(cte) in found]


def _check_taken_along(cte: exp.CTE, part: exp.Query, context: StatementContext) -> None:
    if isinstance(cte.parent, exp.With) and cte.parent.args.get("recursive"):
        raise NotSupportedError(
            "LIMIT n TOKENS of a part of a query that reads WITH RECURSIVE is not possible",
            position=position(context.text, part),
            statement=context.text,
        )
    volatile = next((node for node in cte.this.walk() if _is_volatile(node)), None)
    if volatile is not None:
        raise NotSupportedError(
            "LIMIT n TOKENS over a common table expression with random values or a sample is not "
            "possible: it would have other rows in each part of the query",
            hint="put the LIMIT into the common table expression itself",
            position=position(context.text, part),
            statement=context.text,
        )


def _is_volatile(node: exp.Expr) -> bool:
    if isinstance(node, exp.Rand | exp.Randn | exp.Uuid | exp.TableSample):
        return True
    return isinstance(node, exp.Anonymous) and fold(node.name) in _VOLATILE_FUNCTIONS


_VOLATILE_FUNCTIONS = frozenset("random uuid uuidv4 uuidv7 gen_random_uuid".split())
