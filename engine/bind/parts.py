"""Parts of a query that DuckDB cannot run, taken out of it: they run before the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.columns import source_columns
from memql.engine.bind.shape import alias_of, cte_of, ctes_around, select_sources
from memql.engine.bind.sources import Views
from memql.engine.context import StatementContext
from memql.engine.names import fold, position
from memql.engine.plan import PART_TABLE, Part
from memql.errors import NotSupportedError, ProgrammingError


def direct_generates(query: exp.Expr) -> list[syntax.Generate]:
    """Return the calls of generate that a SELECT makes itself, not in a query inside it."""
    if not isinstance(query, exp.Select):
        return []
    calls = query.find_all(syntax.Generate)
    return [call for call in calls if call.find_ancestor(exp.Query) is query]


@dataclass(frozen=True)
class PartTaker:
    """Takes the parts of one query out: those with a generate, or with a limit in tokens.

    Args:
        bind: makes a part that stands alone a plan, which is read by the name of a table.
        views: the views and tables that the statement may name.
        context: the statement.
    """

    bind: Callable[[exp.Query, str], Part]
    views: Views
    context: StatementContext

    def take(self, query: exp.Query, *, whole: bool) -> tuple[exp.Query, tuple[Part, ...]]:
        """Return ``query`` with each part replaced by a table of its rows, and the parts.

        Inner parts come before those around them, and each takes along the common table
        expressions that it can reach. A common table expression with a part in it is read as often
        as its query says, and runs once.

        Args:
            query: with its tables resolved; it may be changed in place.
            whole: whether the query itself is a part too, if it makes a generate.

        Raises:
            NotSupportedError: a part reads columns around it.
            ProgrammingError: a limit in tokens is no constant.
        """
        if query.find(syntax.TokenLimit, syntax.Generate) is None:
            return query, ()
        outside = _source_names(query)
        generating = {id(call.find_ancestor(exp.Query)) for call in query.find_all(syntax.Generate)}
        stays = query if not whole and id(query) in generating else None
        parts: list[Part] = []
        for part in _parts(query, generating):
            if part is stays:
                continue
            what = "generate" if id(part) in generating else "LIMIT n TOKENS"
            self._check_correlation(part, outside, what)
            reach = self._ctes_in_reach(part, what)
            table = f"{PART_TABLE}{len(parts)}"
            source = exp.Table(this=exp.to_identifier(table, quoted=True))
            scan: exp.Query = exp.Select(expressions=[exp.Star()], from_=exp.From(this=source))
            if part is query:
                query = scan
            elif isinstance(part, exp.Subquery):
                part.replace(exp.Subquery(this=scan, alias=part.args.get("alias")))
            else:
                part.replace(scan)
            parts.append(self.bind(_standing_alone(part, reach), table))
        limits = query.find_all(syntax.TokenLimit)
        limits = (limit for limit in limits if limit.find_ancestor(syntax.Generate) is None)
        # That of a SELECT with a generate is refused where the SELECT is taken apart.
        rest = next((limit for limit in limits if limit.parent is not stays), None)
        if rest is not None:
            raise NotSupportedError(
                "LIMIT n TOKENS is not possible here",
                position=position(self.context.text, rest),
                statement=self.context.text,
            )
        return query, tuple(parts)

    def _check_correlation(self, part: exp.Query, outside: set[str], what: str) -> None:
        """Refuse a part that reads a column of the query around it."""
        outside = outside - _source_names(part)
        for column in part.find_all(exp.Column):
            if column.table:
                around = fold(column.table) in outside
            else:
                around = self._is_of_around(column, part)
            if around:
                raise NotSupportedError(
                    f"{what} in a subquery that reads columns of the query around it "
                    "is not possible",
                    hint="join the tables in the subquery, and GROUP BY the column"
                    if what == "generate"
                    else None,
                    position=position(self.context.text, column),
                    statement=self.context.text,
                )

    def _is_of_around(self, column: exp.Column, part: exp.Query) -> bool:
        """Tell whether only the query around a part has a column; where unsure DuckDB decides."""
        inside = list(_selects_around(column, part))
        if not inside or any(self._has(select, column) is not False for select in inside):
            return False
        return any(self._has(select, column) for select in _selects_around(part, None))

    def _has(self, select: exp.Select, column: exp.Column) -> bool | None:
        """Tell whether a SELECT has a column, None where only DuckDB can tell."""
        name = fold(column.name)
        sources = select_sources(select)
        known = {fold(alias_of(source)) for source in sources}
        known.update(fold(one.alias) for one in select.expressions if one.alias)
        for source in sources:
            columns = source_columns(source, self.views)
            if columns is None:
                return None
            known.update(fold(one) for one in columns)
        return name in known or None if name == "rowid" else name in known

    def _ctes_in_reach(self, part: exp.Query, what: str) -> list[exp.CTE]:
        """Return copies of the common table expressions around a part that it reads, outer first.

        Each has a name of its own, so that none hides another.

        Raises:
            NotSupportedError: the part is a step of one of them, or one has other rows each time.
        """
        around = list(reversed(list(ctes_around(part))))
        readable = {id(cte) for cte in around}
        found: set[int] = set()
        needed = list(part.find_all(exp.Table))
        while needed:
            cte = cte_of(needed.pop())
            if cte is None or id(cte) in found or id(cte) not in readable:
                continue
            self.context.check_cancel()
            self._check_taken_along(cte, part, what)
            found.add(id(cte))
            needed.extend(cte.this.find_all(exp.Table))
        return [_taken_along(cte) for cte in around if id(cte) in found]

    def _check_taken_along(self, cte: exp.CTE, part: exp.Query, what: str) -> None:
        if any(one is cte for one in _ctes_with(part)):
            raise NotSupportedError(
                f"{what} in a step of WITH RECURSIVE is not possible",
                hint="put it behind the recursion, over all of its rows",
                position=position(self.context.text, part),
                statement=self.context.text,
            )
        volatile = next((node for node in cte.this.walk() if _is_volatile(node)), None)
        if volatile is not None:
            raise NotSupportedError(
                f"{what} over a common table expression with random values or a sample is not "
                "possible: it would have other rows in each part of the query",
                hint="put the LIMIT into the common table expression itself"
                if what != "generate"
                else "put the generate into the common table expression itself",
                position=position(self.context.text, part),
                statement=self.context.text,
            )


def scanned_part(query: exp.Expr) -> str | None:
    """Return the table of the part of which a query reads all rows and columns, and no more."""
    if not isinstance(query, exp.Select) or len(query.expressions) != 1:
        return None
    clauses = {key for key, value in query.args.items() if value}
    star = query.expressions[0]
    if clauses != {"expressions", "from_"} or not isinstance(star, exp.Star):
        return None
    source = query.args["from_"].this
    bare = isinstance(source, exp.Table) and source.name.startswith(PART_TABLE)
    used = {key for one in (star, source) for key, value in one.args.items() if value}
    return source.name if bare and used == {"this"} else None


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


def without_limit(part: exp.Query) -> exp.Query:
    """Return a part without its limit in tokens; k of ``LIMIT k ROWS n TOKENS`` stays a LIMIT."""
    rows = part.args["limit"].args.get("rows")
    part.set("limit", None)
    if isinstance(part, exp.Subquery):
        alias = exp.TableAlias(this=exp.to_identifier(f"{PART_TABLE}_rows", quoted=True))
        inner = exp.From(this=exp.Subquery(this=part.this, alias=alias))
        whole = exp.Select(expressions=[exp.Star()], from_=inner)
        for key in ("with_", "order", "offset"):
            whole.set(key, part.args.get(key))
        part = whole
    if rows is not None:
        part.set("limit", exp.Limit(expression=rows.copy()))
    return part


def _parts(query: exp.Query, generating: set[int]) -> list[exp.Query]:
    """Return the queries that DuckDB cannot run, each behind all that it may read.

    Args:
        generating: the id() of each SELECT with a generate.
    """
    found: list[exp.Query] = []
    stack: list[tuple[exp.Expr, bool]] = [(query, False)]
    while stack:
        node, seen = stack.pop()
        if seen:
            if isinstance(node, exp.Query) and (
                isinstance(node.args.get("limit"), syntax.TokenLimit) or id(node) in generating
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


def _standing_alone(part: exp.Query, reach: Sequence[exp.CTE]) -> exp.Query:
    """Return a part with the table expressions that it can reach."""
    own = part.args.get("with_")
    ctes = [*reach, *(own.expressions if own is not None else ())]
    if ctes:
        recursive = own is not None and bool(own.args.get("recursive"))
        recursive = recursive or any("recursive" in cte.meta for cte in reach)
        part.set("with_", exp.With(expressions=ctes, recursive=recursive))
    return part


def _taken_along(cte: exp.CTE) -> exp.CTE:
    copy = cte.copy()
    if isinstance(cte.parent, exp.With) and cte.parent.args.get("recursive"):
        copy.meta["recursive"] = True
    return copy


def _ctes_with(node: exp.Expr) -> Iterator[exp.CTE]:
    """Yield the common table expressions that a node is a piece of."""
    above = node.find_ancestor(exp.CTE)
    while above is not None:
        yield above
        above = above.find_ancestor(exp.CTE)


def _selects_around(node: exp.Expr, last: exp.Expr | None) -> Iterator[exp.Select]:
    """Yield the SELECTs around a node, inner first, up to ``last``."""
    above = node.parent
    while above is not None:
        if isinstance(above, exp.Select):
            yield above
        if above is last:
            return
        above = above.parent


def _source_names(query: exp.Query) -> set[str]:
    kinds = (exp.Table, exp.Subquery, exp.Unnest, exp.Lateral, exp.Values)
    return {fold(source.alias_or_name) for source in query.find_all(*kinds)}


def _is_volatile(node: exp.Expr) -> bool:
    if isinstance(node, exp.Rand | exp.Randn | exp.Uuid | exp.TableSample):
        return True
    return isinstance(node, exp.Anonymous) and fold(node.name) in _VOLATILE_FUNCTIONS


_VOLATILE_FUNCTIONS = frozenset("random uuid uuidv4 uuidv7 gen_random_uuid".split())
