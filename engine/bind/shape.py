"""What a query looks like, before its names are resolved: sources, CTEs in reach, aggregates."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from memql.engine.duckdb_sql.nodes import AGGREGATES
from memql.engine.names import fold

MEMORIES = "memories"
# recurring.t, in a recursive t, is all that t has so far; t alone is what its last step added.
RECURRING = "recurring"
CTE_PREFIX = "_memql_cte"


def select_sources(select: exp.Select) -> list[exp.Expr]:
    """Return what a SELECT reads, in FROM order."""
    start = select.args.get("from_")
    sources = joined_sources(start.this) if start is not None else []
    for join in select.args.get("joins") or ():
        sources.extend(joined_sources(join.this))
    sources.extend(select.args.get("laterals") or ())
    return sources


def joined_sources(source: exp.Expr) -> list[exp.Expr]:
    """Return a source and what is joined to it, a join in brackets as what stands in them."""
    joined = [one for join in source.args.get("joins") or () for one in joined_sources(join.this)]
    if is_bracketed_join(source):
        return [*joined_sources(source.this), *joined]
    return [source, *joined]


def joins_of(select: exp.Select) -> list[exp.Join]:
    """Return the joins of a SELECT, in FROM order, with those in brackets."""
    start = select.args.get("from_")
    joins = _joins_in(start.this) if start is not None else []
    for join in select.args.get("joins") or ():
        joins.extend([join, *_joins_in(join.this)])
    return joins


def _joins_in(source: exp.Expr) -> list[exp.Join]:
    joins = _joins_in(source.this) if is_bracketed_join(source) else []
    for join in source.args.get("joins") or ():
        joins.extend([join, *_joins_in(join.this)])
    return joins


def is_bracketed_join(source: exp.Expr) -> bool:
    """Tell whether a source is a join in brackets, without a name of its own."""
    if not isinstance(source, exp.Subquery) or source.alias or source.args.get("pivots"):
        return False
    inner = source.this
    if isinstance(inner, exp.Subquery):
        return bool(inner.alias or inner.args.get("joins"))
    return not isinstance(inner, exp.Query | exp.Values)


def finds_columns(tree: exp.Expr) -> bool:
    """Tell whether a PIVOT in a tree takes its columns from the data: DuckDB makes two statements.

    ``PIVOT t ON a`` is one, ``FROM t PIVOT (... FOR a IN (...))`` is not.
    """
    return any(isinstance(node.this, exp.Expr) for node in tree.find_all(exp.Pivot))


def alias_of(source: exp.Expr) -> str:
    """Return the name by which columns of a source are qualified."""
    return source.alias_or_name


def is_memories(source: exp.Expr) -> bool:
    """Tell whether a source is the table memories itself, not a CTE of that name."""
    return (
        isinstance(source, exp.Table)
        and isinstance(source.this, exp.Identifier)
        and not source.db
        and fold(source.name) == MEMORIES
        and MEMORIES not in visible_ctes(source)
    )


def visible_ctes(table: exp.Expr) -> set[str]:
    """Return the lower-case names of the CTEs that a table reference can mean."""
    return {fold(cte.alias) for cte in ctes_around(table)}


def cte_of(table: exp.Table) -> exp.CTE | None:
    """Return the common table expression that a table reference means, None if it means a table."""
    if not isinstance(table.this, exp.Identifier):
        return None
    if table.db and (table.catalog or fold(table.db) != RECURRING):
        return None
    name = fold(table.name)
    found = next((cte for cte in ctes_around(table) if fold(cte.alias) == name), None)
    if found is not None and table.db and not (found.parent and found.parent.args["recursive"]):
        return None
    return found


def ctes_around(node: exp.Expr) -> Iterator[exp.CTE]:
    """Yield the CTEs that a node can read, those that hide others first."""
    inside: list[exp.Expr] = []
    while node.parent is not None:
        parent = node.parent
        clause = parent.args.get("with_")
        seen: list[exp.Expr] = []
        if isinstance(parent, exp.With):
            place = [cte is node for cte in parent.expressions].index(True)
            # As in DuckDB, a recursive one reads itself on the right side of its UNION only;
            # anywhere else its name means what it means outside.
            if parent.recursive and isinstance(node.this, exp.Union):
                if any(part is node.this.expression for part in inside):
                    place += 1
            seen = parent.expressions[:place]
        elif isinstance(clause, exp.With) and clause is not node:
            seen = clause.expressions
        yield from (cte for cte in reversed(seen) if isinstance(cte, exp.CTE))
        inside.append(node)
        node = parent


def rename_ctes(query: exp.Query) -> None:
    """Give every common table expression of a query a name that no other has, in place.

    Then no name of a user is left for DuckDB to look up: if it reads a name in another scope than
    the binder, it finds nothing. And a part of the query can take along all that it may read,
    whatever hid what before.
    """
    ctes = list(query.find_all(exp.CTE))
    if not ctes:
        return
    tables = [(table, cte_of(table)) for table in query.find_all(exp.Table)]
    names = {id(cte): f"{CTE_PREFIX}{number}" for number, cte in enumerate(ctes)}
    for table, cte in tables:
        if cte is None:
            continue
        if not table.alias:
            alias = table.args.get("alias") or exp.TableAlias()
            alias.set("this", exp.to_identifier(table.name, quoted=True))
            table.set("alias", alias)
        table.set("this", _renamed(table.name, names[id(cte)]))
    for one in ctes:
        one.args["alias"].set("this", _renamed(one.alias, names[id(one)]))


def _renamed(name: str, new: str) -> exp.Identifier:
    identifier = exp.to_identifier(new, quoted=True)
    identifier.meta["shown"] = name  # for EXPLAIN
    return identifier


def name_subqueries(query: exp.Query) -> None:
    """Name the subqueries in FROM that have no alias as DuckDB does, in place."""
    numbers: dict[int, int] = {}
    for subquery in query.find_all(exp.Subquery):
        if subquery.alias or not isinstance(subquery.parent, exp.From | exp.Join):
            continue
        if subquery.arg_key != "this":
            continue  # a condition behind ON
        if not isinstance(subquery.this, exp.Query) or is_bracketed_join(subquery):
            continue  # a join in brackets keeps the names inside it
        select = subquery.find_ancestor(exp.Select)
        sources = select_sources(select) if select is not None else []
        taken = {fold(alias_of(source)) for source in sources}
        number = numbers.get(id(select), 1)
        while (name := f"unnamed_subquery{number if number > 1 else ''}") in taken:
            number += 1
        numbers[id(select)] = number + 1
        subquery.set("alias", exp.TableAlias(this=exp.to_identifier(name)))


def is_anonymous_aggregate(node: exp.Expr) -> bool:
    """Tell whether a node is an aggregate that is called by its name."""
    return isinstance(node, exp.Anonymous) and fold(node.name) in AGGREGATES


def has_aggregate(projection: exp.Expr) -> bool:
    return any(
        isinstance(node, exp.AggFunc) or is_anonymous_aggregate(node) for node in projection.walk()
    )
