"""Lineage: which memories, in which versions, each row of a query was made from.

Every reach of memories carries a hidden column, a list with one struct of (owner, created_at, id,
version). It is kept through filters and projections, joined by concatenation, and collected by
GROUP BY, DISTINCT and set operations. A row's text may depend on the memories of its lineage only;
which rows there are may depend on others, as in WHERE, LIMIT or EXCEPT. Where a text can depend on
more, the query is not traceable: its result serves the query and is not stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp

from memql.engine.bind.columns import output_columns, source_columns
from memql.engine.bind.distinct import collected, distinct_rows, grouped_arms
from memql.engine.bind.parts import direct_generates, scanned_part
from memql.engine.bind.shape import (
    is_bracketed_join,
    joined_sources,
    joins_of,
    select_sources,
)
from memql.engine.bind.shown import shown_by_readers, shown_of, shown_projections
from memql.engine.bind.sources import Views
from memql.engine.bind.untraceable import Untraceable
from memql.engine.bind.windows import is_grouped, window_lineage
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.names import fold
from memql.engine.plan import LINEAGE_COLUMN, PART_TABLE, RANK_COLUMN, VISIBLE_TABLE

_EMPTY = sqlglot.parse_one(
    'CAST([] AS STRUCT("owner" VARCHAR, "created_at" TIMESTAMPTZ, "id" UUID, "version" BIGINT)[])',
    read=PlainDuckDB,
)


@dataclass
class Tracer:
    """Traces one query, in place; when it raises, the tree is half changed and good for nothing.

    Args:
        views: the views and tables that the statement may name.
        untraced: by their table, the parts that run before without lineage, with the reason.
    """

    views: Views
    untraced: Mapping[str, str]
    # Of each common table expression, why it is not traced; None if it is.
    _ctes: dict[str, str | None] = field(default_factory=dict, init=False)
    # The SELECTs that were looked at, by their id().
    _seen: dict[int, exp.Select] = field(default_factory=dict, init=False)

    def trace(self, query: exp.Query) -> exp.Query:
        """Return a query with the lineage of each row as its last column.

        Args:
            query: with its tables resolved; its policy will carry the lineage.

        Raises:
            Untraceable: the reason.
        """
        traced = self._trace(query, None)
        self._hide_elsewhere(traced)
        return traced

    def trace_calls(self, select: exp.Select) -> None:
        """Give each generate of a SELECT the lineage of a row that it reads.

        Raises:
            Untraceable: the reason.
        """
        self._seen[id(select)] = select
        self._trace_ctes(select)
        self._check_rows_as_values(select)
        lineage = _lineage_over(self._carriers(select))
        for call in direct_generates(select):
            call.set("lineage", lineage.copy())
        self._hide_elsewhere(select)

    # -- queries ------------------------------------------------------------------------------

    def _trace(self, query: exp.Query, shown: frozenset[str] | None) -> exp.Query:
        self._trace_ctes(query)
        if isinstance(query, exp.Subquery):
            query.set("this", self._trace(query.this, None))
            return query
        if isinstance(query, exp.SetOperation):
            return self._trace_set_operation(query)
        if isinstance(query, exp.Select):
            return self._trace_select(query, shown)
        raise Untraceable(query.key.upper())

    def _trace_set_operation(self, query: exp.SetOperation) -> exp.Query:
        names = self._names(query)
        for key in ("this", "expression"):
            query.set(key, self._trace(query.args[key], None))
        if isinstance(query, exp.Union) and not query.args.get("distinct"):
            if query.args.get("by_name") and _orders_by_all(query):
                raise Untraceable("ORDER BY ALL behind UNION BY NAME")
            return query
        if not query.args.get("distinct"):
            raise Untraceable(f"{query.key.upper()} ALL")
        return grouped_arms(query, names)

    def _trace_ctes(self, query: exp.Expr) -> None:
        clause = query.args.get("with_")
        for cte in clause.expressions if clause is not None else ():
            if cte.alias == VISIBLE_TABLE:
                continue
            before = cte.this.copy()
            try:
                self._trace_cte(cte)
            except Untraceable as reason:
                # It may be read where it needs no lineage, such as in WHERE.
                cte.set("this", before)
                self._ctes[cte.alias] = str(reason)

    def _trace_cte(self, cte: exp.CTE) -> None:
        named = _names_all(cte, self._names(cte.this))
        name = cte.alias
        if not any(table.name == name for table in cte.this.find_all(exp.Table)):
            shown = None if cte.args["alias"].columns else shown_by_readers(cte)
            cte.set("this", self._trace(cte.this, shown))
            self._ctes[name] = None
        else:
            recursion = cte.this
            if (
                not isinstance(recursion, exp.Union)
                or recursion.args.get("distinct")
                or recursion.args.get("by_name")
                or cte.args.get("key_expressions")
            ):
                raise Untraceable("WITH RECURSIVE without UNION ALL")
            self._trace_ctes(recursion)
            recursion.set("this", self._trace(recursion.this, None))
            # Each step has the lineage of the row before it, and of what it joins to that.
            self._ctes[name] = None
            recursion.set("expression", self._trace(recursion.expression, None))
        if named:
            _name_lineage(cte)

    # -- one SELECT ---------------------------------------------------------------------------

    def _trace_select(self, select: exp.Select, shown: frozenset[str] | None) -> exp.Select:
        self._seen[id(select)] = select
        part = scanned_part(select)
        if part is not None and part not in self.untraced:
            return select  # its star has the lineage of the part
        for key in ("pivots", "match", "connect", "distribute", "cluster"):
            if select.args.get(key):
                raise Untraceable(key.upper())
        names = self._names(select)
        in_text = [
            projection
            for projection in shown_projections(select, shown)
            if projection.alias != RANK_COLUMN  # it orders the rows and is no part of their text
        ]
        for projection in in_text:
            if any(self._reaches_memories(query) for query in projection.find_all(exp.Query)):
                raise Untraceable("a subquery in the projection")
        grouped = is_grouped(select)
        for key in ("order", "qualify"):
            clause = select.args.get(key)
            if clause is None or grouped:
                continue
            if is_grouped(exp.Select(expressions=[clause.copy()])):
                raise Untraceable(f"an aggregate in {key.upper()} only")
        self._check_rows_as_values(select)
        carriers = self._carriers(select)
        row = _lineage_over(carriers)
        for call in direct_generates(select):
            call.set("lineage", row.copy())
        lineage = collected(row) if grouped else row
        windows = [
            window_lineage(window, lineage, select)
            for projection in in_text
            for window in projection.find_all(exp.Window)
            if window.find_ancestor(exp.Query) is select
        ]
        for window in windows:
            lineage = exp.Anonymous(this="list_concat", expressions=[lineage, window])
        for projection in select.expressions:
            _exclude_hidden(projection, carriers)
        distinct = select.args.get("distinct")
        if distinct is not None and not distinct.args.get("on"):
            if direct_generates(select):
                raise Untraceable("DISTINCT over answers")
            return distinct_rows(select, lineage, names, grouped=grouped)
        select.append("expressions", exp.alias_(lineage, LINEAGE_COLUMN, quoted=True))
        return select

    def _carriers(self, select: exp.Select) -> list[str]:
        """Trace the sources of a SELECT in place; return the aliases of those with lineage."""
        if any(
            (join.args.get("method") or "").upper() == "POSITIONAL" for join in joins_of(select)
        ):
            # What stands beside a row depends on how many rows come before it.
            raise Untraceable("a POSITIONAL join")
        self._name_natural_joins(select)
        return [
            source.alias_or_name
            for source in _sources_with_columns(select)
            if self._carries_lineage(source, select)
        ]

    def _carries_lineage(self, source: exp.Expr, select: exp.Select) -> bool:
        """Trace a source in place; tell whether it has a lineage column now."""
        if source.args.get("pivots"):
            raise Untraceable("PIVOT")
        if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
            if not self._has_hidden(source):
                reason = self._ctes.get(source.name) or self.untraced.get(source.name)
                if reason is not None:
                    raise Untraceable(reason)
                return False
            if _names_all(source, self._names_below(source)):
                _name_lineage(source)
            return True
        inner = source.this if isinstance(source, exp.Lateral) else source
        if not isinstance(inner, exp.Subquery):
            return self._carries_nothing(source)
        query = inner.this
        if isinstance(query, exp.Values):
            return self._carries_nothing(query)
        if not isinstance(query, exp.Query):
            raise Untraceable("a join in brackets with a name of its own")
        named = _names_all(source, self._names(query))
        shown = None if _alias_columns(source) else shown_of(select, source)
        inner.set("this", self._trace(query, shown))
        if named:
            _name_lineage(source)
        return True

    def _carries_nothing(self, source: exp.Expr) -> bool:
        if any(self._reaches_memories(query) for query in source.find_all(exp.Query)):
            raise Untraceable("a subquery inside a table function or VALUES")
        return False

    def _reaches_memories(self, query: exp.Expr) -> bool:
        return any(
            self._has_hidden(table) or table.name in self._ctes or table.name in self.untraced
            for table in query.find_all(exp.Table)
        )

    def _has_hidden(self, table: exp.Expr) -> bool:
        """Tell whether a table has the lineage column."""
        if not isinstance(table, exp.Table) or table.db:
            return False
        name = table.name
        if name.startswith(PART_TABLE):
            return name not in self.untraced
        return name == VISIBLE_TABLE or (name in self._ctes and self._ctes[name] is None)

    # -- the hidden column stays hidden ---------------------------------------------------------

    def _check_rows_as_values(self, select: exp.Select) -> None:
        """Refuse whole rows as values: a row's struct would hold the hidden columns too.

        DuckDB reads a source's name as its row where no column has that name, and takes a star
        inside an expression.
        """
        aliases = {fold(source.alias_or_name) for source in select_sources(select)}
        for node in select.walk():
            if isinstance(node, exp.Star):
                place = node.parent if isinstance(node.parent, exp.Column) else node
                if not isinstance(place.parent, exp.Select | exp.Count | exp.Columns):
                    raise Untraceable("a star inside an expression")
            elif isinstance(node, exp.Columns) and not isinstance(node.this, exp.Star):
                raise Untraceable("COLUMNS(...)")
            elif isinstance(node, exp.Column) and not node.table and fold(node.name) in aliases:
                raise Untraceable("a whole row as a value")

    def _hide_elsewhere(self, query: exp.Query) -> None:
        """Leave the column out of the subqueries that decide only which rows there are."""
        for select in list(query.find_all(exp.Select)):
            if id(select) in self._seen:
                continue
            sources = select_sources(select)
            if not any(self._has_hidden(source) for source in sources):
                continue
            if any(source.args.get("pivots") for source in sources):
                raise Untraceable("PIVOT")
            self._check_rows_as_values(select)
            self._name_natural_joins(select)
            carriers = [
                source.alias_or_name
                for source in _sources_with_columns(select)
                if self._has_hidden(source)
            ]
            for projection in select.expressions:
                _exclude_hidden(projection, carriers)

    def _name_natural_joins(self, select: exp.Select) -> None:
        """Say by which columns a NATURAL join goes: the lineage is in both sides, and is none."""
        sources = select_sources(select)
        for join in joins_of(select):
            if (join.args.get("method") or "").upper() != "NATURAL":
                continue
            if is_bracketed_join(join.this):
                raise Untraceable("a NATURAL join of a join in brackets")
            place = [source is join.this for source in sources].index(True)
            left = {fold(name) for source in sources[:place] for name in self._columns(source)}
            common = [name for name in self._columns(join.this) if fold(name) in left]
            if not common:
                raise Untraceable("a NATURAL join without a common column")
            join.set("method", None)
            join.set("using", [exp.to_identifier(name, quoted=True) for name in common])

    def _columns(self, source: exp.Expr) -> list[str]:
        names = source_columns(source, self.views)
        if names is None:
            raise Untraceable("a NATURAL join of columns that only DuckDB knows")
        return _visible(names)

    def _names(self, query: exp.Expr) -> list[str] | None:
        """The names of a query's own columns, None where only DuckDB can tell.

        An expression without a name is called by its text: DuckDB's own names of equal
        expressions are equal too.
        """
        names = output_columns(query, self.views)
        if names is None:
            while isinstance(query, exp.Subquery | exp.SetOperation):
                query = query.this
            known = query.expressions if isinstance(query, exp.Select) else []
            if not known or any(one.find(exp.Star, exp.Columns) for one in known):
                return None
            names = [one.alias_or_name or one.sql(dialect=PlainDuckDB) for one in known]
        return _visible(names)

    def _names_below(self, table: exp.Table) -> list[str] | None:
        """The names of a table's columns below those that its alias gives them."""
        bare = table.copy()
        parent, key = table.parent, table.arg_key
        assert parent is not None and key is not None
        bare.parent, bare.arg_key = parent, key
        alias = bare.args.get("alias")
        if isinstance(alias, exp.TableAlias):
            alias.set("columns", None)
        names = source_columns(bare, self.views)
        return None if names is None else _visible(names)


def _visible(names: list[str]) -> list[str]:
    return [name for name in names if name not in (LINEAGE_COLUMN, RANK_COLUMN)]


def _sources_with_columns(select: exp.Select) -> list[exp.Expr]:
    """Return the sources but for those of SEMI and ANTI joins, which only filter."""
    filters = {
        id(source)
        for join in joins_of(select)
        if (join.args.get("kind") or "").upper() in ("SEMI", "ANTI")
        for source in joined_sources(join.this)
    }
    return [source for source in select_sources(select) if id(source) not in filters]


def _alias_columns(source: exp.Expr) -> list[exp.Expr]:
    alias = source.args.get("alias")
    return alias.columns if isinstance(alias, exp.TableAlias) else []


def _names_all(source: exp.Expr, names: list[str] | None) -> bool:
    """Tell whether an alias names all columns of a source: then it must name the lineage too.

    Raises:
        Untraceable: it may name more columns than there are, and would name the lineage.
    """
    columns = _alias_columns(source)
    if not columns:
        return False
    if names is None or len(columns) > len(names):
        raise Untraceable("an alias with names of columns that only DuckDB knows")
    return len(columns) == len(names)


def _name_lineage(source: exp.Expr) -> None:
    source.args["alias"].append("columns", exp.to_identifier(LINEAGE_COLUMN, quoted=True))


def _orders_by_all(query: exp.Query) -> bool:
    order = query.args.get("order")
    return order is not None and any(fold(key.this.name) == "all" for key in order.expressions)


def _lineage_over(carriers: list[str]) -> exp.Expr:
    if not carriers:
        return _EMPTY.copy()
    parts = [exp.column(LINEAGE_COLUMN, table=alias, quoted=True) for alias in carriers]
    lineage: exp.Expr = parts[0]
    for part in parts[1:]:
        lineage = exp.Anonymous(this="list_concat", expressions=[lineage, part])
    return lineage


def _exclude_hidden(projection: exp.Expr, carriers: list[str]) -> None:
    hidden = [exp.to_identifier(LINEAGE_COLUMN, quoted=True)]
    for star in list(projection.find_all(exp.Star)):
        if star.find_ancestor(exp.Query) is not projection.find_ancestor(exp.Query):
            continue
        owner = star.parent if isinstance(star.parent, exp.Column) else None
        if isinstance((owner or star).parent, exp.Count):
            continue
        of = carriers
        if owner is not None:
            of = [alias for alias in carriers if fold(alias) == fold(owner.table)]
        if of:
            star.set("except_", [*(star.args.get("except_") or ()), *hidden])
