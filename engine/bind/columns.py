"""Column names checked against what is in scope: a wrong one names the nearest right one."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp
from sqlglot.optimizer.scope import Scope, traverse_scope

from memql.engine.bind.shape import MEMORIES, alias_of, cte_of, select_sources
from memql.engine.bind.sources import MAX_EXPANDED_NODES, MEMORY_NAMES, TARGET, Views
from memql.engine.context import StatementContext
from memql.engine.functions import VALUE_WORDS, classified
from memql.engine.names import fold, position, unknown
from memql.engine.plan import VISIBLE_TABLE
from memql.engine.tables import ordinary_of
from memql.errors import NotSupportedError, ProgrammingError

# The columns of queries by the id() of their tree.
Seen = dict[int, list[str] | None]


def check_columns(query: exp.Query, context: StatementContext, views: Views) -> None:
    """Refuse columns that no table in scope has.

    A scope with a source of unknown columns (a PIVOT, say) is left to DuckDB.

    Raises:
        ProgrammingError: with the place and the nearest known name.
    """
    seen: Seen = {}
    for clause in query.find_all(exp.With):
        _check_ctes(clause, context)
    for scope in traverse_scope(query):
        names = _names_in_reach(scope, views, seen)
        if isinstance(scope.expression, exp.Select):
            for projection in scope.expression.expressions:
                if isinstance(projection, exp.Column) and isinstance(projection.this, exp.Star):
                    _check_table(projection, scope, names, context)
            own = _columns_of_sources(scope.expression, views, seen)
            _check_aliases(scope.expression, own, context)
        for column in scope.columns:
            if column.find_ancestor(exp.Query) is not scope.expression:
                continue  # a subquery's own column is checked in the subquery's own scope
            if names is None:
                _check_word(column, context)
                continue
            if isinstance(column.this, exp.Star) or _is_comprehension_variable(column):
                continue
            if isinstance(column.parent, exp.Collate) and column.arg_key == "expression":
                continue  # COLLATE NOCASE.NOACCENT
            if column.table:
                _check_qualified(column, scope, names, context, views)
            elif fold(column.name) not in names and fold(column.name) not in _tables(scope):
                raise unknown("column", column.name, names, context, column)


def _check_word(column: exp.Column, context: StatementContext) -> None:
    """Refuse a name that DuckDB would take for a call, if no table has such a column."""
    called = classified(VALUE_WORDS.get(fold(column.name), ""))
    if column.table or called is None or called.refused is None:
        return
    raise NotSupportedError(
        f"{column.name} is not possible in a query: {called.refused}",
        hint=f"a column of this name is written with its table: t.{column.name}",
        position=position(context.text, column),
        statement=context.text,
    )


def output_columns(query: exp.Expr, views: Views, seen: Seen | None = None) -> list[str] | None:
    """Return the names of a query's columns, None where only DuckDB can tell.

    Args:
        seen: what is known of queries that do not change meanwhile; a chain of common table
            expressions is walked once and not once for each link.
    """
    seen = {} if seen is None else seen
    if id(query) not in seen:
        seen[id(query)] = None  # a view that reads itself is refused where it is expanded
        seen[id(query)] = _output_columns(query, views, seen)
    return seen[id(query)]


def _output_columns(query: exp.Expr, views: Views, seen: Seen) -> list[str] | None:
    if isinstance(query, exp.SetOperation) and query.args.get("by_name"):
        return _columns_by_name(query, views, seen)
    if isinstance(query, exp.Subquery | exp.SetOperation):
        return output_columns(query.this, views, seen)
    if not isinstance(query, exp.Select):
        return None
    names: list[str] = []
    for projection in query.expressions:
        if isinstance(projection, exp.Star) or (
            isinstance(projection, exp.Column) and isinstance(projection.this, exp.Star)
        ):
            if any(projection.find_all(exp.Star)) and _has_star_options(projection):
                return None
            for source in select_sources(query):
                if isinstance(projection, exp.Column) and alias_of(source) != projection.table:
                    continue
                columns = source_columns(source, views, seen)
                if columns is None:
                    return None
                names.extend(columns)
                if len(names) > MAX_EXPANDED_NODES:
                    # SELECT *, * FROM (SELECT *, * FROM ...) doubles with each step.
                    raise ProgrammingError(
                        f"a query has more than {MAX_EXPANDED_NODES:,} columns",
                        hint="name the columns that you need",
                        code="54000",
                    )
        else:
            # DuckDB calls everything else by its text: lower(x), CAST(x AS INTEGER).
            if not isinstance(projection, exp.Alias | exp.Column | exp.Dot | exp.Literal):
                return None
            name = projection.alias_or_name
            if not name:
                return None
            names.append(name)
    return names


def _columns_by_name(query: exp.SetOperation, views: Views, seen: Seen) -> list[str] | None:
    left = output_columns(query.this, views, seen)
    right = output_columns(query.expression, views, seen)
    if left is None or right is None:
        return None
    known = {fold(name) for name in left}
    return left + [name for name in right if fold(name) not in known]


def source_columns(source: exp.Expr, views: Views, seen: Seen | None = None) -> list[str] | None:
    """Return the column names of one source of a SELECT, None where only DuckDB can tell."""
    alias = source.args.get("alias")
    if isinstance(alias, exp.TableAlias) and alias.columns:
        given = [column.name for column in alias.columns]
        own = _own_columns(source, views, seen) or []
        return given + own[len(given) :]  # t(x) names the first column only
    return _own_columns(source, views, seen)


def _own_columns(source: exp.Expr, views: Views, seen: Seen | None) -> list[str] | None:
    if source.args.get("pivots"):
        return None
    if isinstance(source, exp.Subquery):
        return output_columns(source.this, views, seen)
    if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
        name = fold(source.name)
        cte = cte_of(source)
        ordinary = ordinary_of(source) or source.meta.get(TARGET)
        if ordinary is not None:
            return list(ordinary.columns)
        if source.catalog and cte is None:
            return None
        if cte is not None:
            if cte.parent is not None and cte.parent.args.get("recursive"):
                return None
            columns = cte.args["alias"].columns
            if columns:
                return [column.name for column in columns]
            return output_columns(cte.this, views, seen)
        if not source.db and (name == MEMORIES or source.name == VISIBLE_TABLE):
            return list(MEMORY_NAMES)
        found = views.tables.find(source.name, source.db)
        if found is not None:
            return list(found.columns)
        view = views.find(source.name, source.db)
        if view is None:
            return None
        return output_columns(view.query, views.of(view.owner), seen)
    if isinstance(source, exp.Table) and isinstance(source.this, exp.Anonymous):
        name = fold(source.this.name)
        return [name] if name in ("range", "generate_series") else None
    if isinstance(source, exp.Unnest):
        return ["unnest"]
    return None


def _has_star_options(projection: exp.Expr) -> bool:
    star = projection if isinstance(projection, exp.Star) else projection.this
    return any(star.args.get(key) for key in ("except_", "replace", "rename", "ilike"))


def _check_ctes(clause: exp.With, context: StatementContext) -> None:
    """Refuse two common table expressions of one name beside each other."""
    names = set[str]()
    for cte in clause.expressions:
        name = fold(cte.alias)
        if name in names:
            raise ProgrammingError(
                f"the common table expression {cte.alias} is defined twice",
                hint="give the second another name",
                position=position(context.text, cte.args["alias"]),
                statement=context.text,
                code="42710",
            )
        names.add(name)


def _check_aliases(select: exp.Select, columns: set[str] | None, context: StatementContext) -> None:
    """Refuse aliases that build on each other until they are too large to be bound.

    ``SELECT 1 AS a, a + a AS b, b + b AS c`` doubles with each alias: DuckDB puts the expression
    in the place of its name, and cannot be interrupted while it does.

    Args:
        columns: names of the sources' columns, which go before aliases; None if not known.
    """
    sizes: dict[str, int] = {}
    for projection in select.expressions:
        size = 0
        for node in projection.walk():
            size += 1
            if isinstance(node, exp.Column) and not node.table:
                name = fold(node.name)
                if name in sizes and name not in (columns or ()):
                    size += sizes[name]
        if size > MAX_EXPANDED_NODES:
            raise ProgrammingError(
                f"the aliases of this SELECT build on each other up to more than "
                f"{MAX_EXPANDED_NODES:,} parts",
                hint="compute the shared values in a subquery in FROM",
                position=position(context.text, projection),
                statement=context.text,
                code="54001",
            )
        if projection.alias:
            sizes[fold(projection.alias)] = size


def _columns_of_sources(select: exp.Select, views: Views, seen: Seen) -> set[str] | None:
    names: set[str] = set()
    for source in select_sources(select):
        columns = source_columns(source, views, seen)
        if columns is None:
            return None
        names.update(fold(column) for column in columns)
    return names


def _columns_of_scope(scope: Scope, views: Views, seen: Seen) -> set[str] | None:
    if not isinstance(scope.expression, exp.Select):
        return None
    names = _columns_of_sources(scope.expression, views, seen)
    if names is None:
        return None
    if any(isinstance(source, exp.Table) for source in select_sources(scope.expression)):
        names.add("rowid")  # of ordinary tables; DuckDB refuses it for anything else
    # DuckDB lets WHERE, GROUP BY and later projections use a projection's alias.
    names.update(
        fold(projection.alias) for projection in scope.expression.expressions if projection.alias
    )
    return names


def _names_in_reach(scope: Scope, views: Views, seen: Seen) -> set[str] | None:
    """The scope's own column names and those of the scopes around it (correlation)."""
    names: set[str] = set()
    current: Scope | None = scope
    while current is not None:
        own = _columns_of_scope(current, views, seen)
        if own is None:
            return None
        names |= own
        current = current.parent
    return names


def _is_comprehension_variable(column: exp.Column) -> bool:
    """Tell whether a column is the x or the i of ``[x + i FOR x, i IN list]``."""
    node = column.parent
    while node is not None:
        if isinstance(node, exp.Comprehension):
            variables = (node.expression, node.args.get("position"))
            name = fold(column.table or column.name)
            if any(isinstance(one, exp.Expr) and fold(one.name) == name for one in variables):
                return True
        node = node.parent
    return False


def _tables(scope: Scope) -> Mapping[str, exp.Expr]:
    tables: dict[str, exp.Expr] = {}
    current: Scope | None = scope
    while current is not None:
        if isinstance(current.expression, exp.Select):
            for source in select_sources(current.expression):
                tables.setdefault(fold(alias_of(source)), source)
        current = current.parent
    return tables


def _check_table(
    column: exp.Column, scope: Scope, names: set[str] | None, context: StatementContext
) -> None:
    tables = _tables(scope)
    if column.table and fold(column.table) not in tables:
        first = fold(column.parts[0].name)  # s.a.b may be the field b of a field of s
        if names is None or first in names or (column.db and first in tables):
            return  # the fields of a struct
        raise unknown("table", column.table, tables, context, column.args["table"])


def _check_qualified(
    column: exp.Column,
    scope: Scope,
    names: set[str],
    context: StatementContext,
    views: Views,
) -> None:
    tables = _tables(scope)
    table = tables.get(fold(column.table))
    first = fold(column.parts[0].name)
    if column.db and (first in tables or first in names):
        return  # fields of a struct
    if table is None:
        # a.b may also be the field b of a struct column a.
        if first not in names:
            raise unknown("table", column.table, tables, context, column.args["table"])
        return
    columns = source_columns(table, views)
    if isinstance(table, exp.Table) and fold(column.name) == "rowid":
        return
    if columns is not None and fold(column.name) not in {fold(name) for name in columns}:
        if scope.parent is not None and fold(column.table) in _tables(scope.parent):
            return _check_qualified(column, scope.parent, names, context, views)
        raise unknown("column", f"{column.table}.{column.name}", columns, context, column)
