"""Memories in a bound query: each reach of them reads the rows that its user may see."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

from sqlglot import exp

from memql.engine.bind.parameters import NOW_PARAMETER, Values
from memql.engine.bind.policy import SELECT, in_words, kept, visible
from memql.engine.bind.predicates import leakproof
from memql.engine.bind.shape import select_sources
from memql.engine.bind.sources import MEMORY_NAMES
from memql.engine.context import StatementContext
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.names import fold
from memql.engine.plan import LINEAGE_COLUMN, VISIBLE_TABLE
from memql.engine.printing import Visible, take_out
from memql.engine.rights import Rights


def add_policy(
    query: exp.Query,
    trees: Iterable[exp.Expr],
    context: StatementContext,
    values: Values,
    *,
    lineage: bool,
) -> str | None:
    """Let each reach of memories, in place, read what the user may see; say it in words.

    A query that does not reach memories is left as it is, and None is returned.

    Who reads everything reads a common table expression, which DuckDB plans together with the
    query. For anyone else the rows are taken out before, as a table of their own.

    Args:
        trees: all that reads the columns of these rows, the query among it.
        lineage: whether each row carries its lineage.
    """
    tables = [table for table in query.find_all(exp.Table) if table.name == VISIBLE_TABLE]
    if not tables:
        return None
    rights = context.rights
    for table in tables:
        _mark_leakproof(table, values)
    columns = _needed(trees, tables)
    for table in tables:
        command = table.meta.get("command", SELECT)
        if command == SELECT:
            if rights.reads_everything:
                continue
        elif rights.writes_everything:
            continue
        take_out(table, _taken_out(rights, command, columns, lineage))
    if any(table.name == VISIBLE_TABLE for table in tables):
        _add_everything(query, values, rights, lineage)
    return in_words(rights)


# In the meta of a term of a WHERE: the alias of the memories that it is about.
LEAKPROOF = "leakproof"


def _mark_leakproof(table: exp.Table, values: Values) -> None:
    """Mark the terms, in place, that may be asked of memories that the user may not see."""
    select = table.find_ancestor(exp.Select)
    alias = table.args.get("alias")
    if select is None or (alias is not None and alias.columns):
        return
    sources = select_sources(select)
    if all(source is not table for source in sources):
        return
    alone = len(sources) == 1
    name = fold(table.alias_or_name)

    def owns(column: exp.Column) -> bool:
        if column.args.get("db"):
            return False
        return fold(column.table) == name if column.table else alone

    for term in and_terms(select):
        if leakproof(term, owns, values):
            term.meta[LEAKPROOF] = table.alias_or_name


def and_terms(query: exp.Expr) -> list[exp.Expr]:
    """Return the terms of a query's WHERE that must all hold."""
    where = query.args.get("where")
    found: list[exp.Expr] = []
    waiting = [] if where is None else [where.this]
    while waiting:
        term = waiting.pop()
        if isinstance(term, exp.And):
            waiting += [term.right, term.left]
        elif isinstance(term, exp.Paren) and isinstance(term.this, exp.And):
            waiting.append(term.this)
        else:
            found.append(term)
    return found


def _needed(trees: Iterable[exp.Expr], tables: Sequence[exp.Table]) -> tuple[str, ...]:
    """Return the columns of memories that trees may read, and perhaps more."""
    aliases = {fold(table.alias_or_name) for table in tables}
    names = set()
    for node in (node for tree in trees for node in tree.walk()):
        if isinstance(node, exp.Identifier):
            names.add(fold(node.name))
        elif (
            (isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count))
            or isinstance(node, exp.Columns | exp.PositionalColumn)
            or (isinstance(node, exp.Column) and not node.table and fold(node.name) in aliases)
            or (isinstance(node, exp.Join) and node.args.get("method"))
            or (isinstance(node, exp.TableAlias) and node.columns)
        ):
            return MEMORY_NAMES
    return tuple(name for name in MEMORY_NAMES if name in names) or ("version",)


@lru_cache(maxsize=1024)
def _taken_out(rights: Rights, command: str, columns: tuple[str, ...], lineage: bool) -> Visible:
    return taken_out(_rows(columns, lineage, rights).where(visible(rights, command)))


def taken_out(query: exp.Select) -> Visible:
    """Return the rows of a query of visible memories, named by what they are."""
    text = query.sql(dialect=PlainDuckDB, identify=True)
    name = hashlib.blake2s(text.encode(), digest_size=8).hexdigest()
    return Visible(f"{VISIBLE_TABLE}_{name}", query)


def _add_everything(query: exp.Query, values: Values, rights: Rights, lineage: bool) -> None:
    """Put the memories of who reads everything in front of a query, in place."""
    query_of_rows, text = _everything(lineage, rights)
    rows = query_of_rows.copy()
    pivots = query.find(exp.Pivot) is not None
    if pivots:
        # DuckDB takes no parameters in a PIVOT; with a literal the plan holds for this moment.
        now = exp.cast(exp.Literal.string(values[NOW_PARAMETER].isoformat()), "timestamptz")
        moment = rows.find(exp.Placeholder)
        assert moment is not None
        moment.replace(now)
    name = exp.TableAlias(this=exp.to_identifier(VISIBLE_TABLE, quoted=True))
    cte = exp.CTE(this=rows, alias=name, materialized=False)
    if not pivots:
        cte.meta["printed"] = text
    put_first(query, cte)


def put_first(query: exp.Query, cte: exp.CTE) -> None:
    """Put a common table expression before those of a query, in place."""
    clause = query.args.get("with_")
    if clause is None:
        query.set("with_", exp.With(expressions=[cte]))
    else:
        clause.set("expressions", [cte, *clause.expressions])


@lru_cache(maxsize=256)
def _everything(lineage: bool, rights: Rights) -> tuple[exp.Select, str]:
    """Return the query for what one may see who reads everything, and its text."""
    query = _rows(MEMORY_NAMES, lineage, rights).where(visible(rights, SELECT))
    return query, query.sql(dialect=PlainDuckDB, identify=True)


def _rows(columns: tuple[str, ...], lineage: bool, rights: Rights) -> exp.Select:
    """Return a query for columns of all memories."""
    query = exp.Select(
        expressions=[exp.column(name, quoted=True) for name in columns],
        from_=exp.From(this=exp.table_("memories", db="_memql", quoted=True)),
    )
    if lineage:
        fields: dict[str, exp.Expr] = {
            name: exp.column(name, quoted=True) for name in LINEAGE_FIELDS
        }
        keeps = kept(rights)
        if keeps is not None:
            fields["kept"] = keeps
        pairs = [
            exp.PropertyEQ(this=exp.to_identifier(name, quoted=True), expression=value)
            for name, value in fields.items()
        ]
        member = exp.Anonymous(this="struct_pack", expressions=pairs)
        column = exp.alias_(exp.Array(expressions=[member]), LINEAGE_COLUMN, quoted=True)
        query.append("expressions", column)
    return query


LINEAGE_FIELDS = ("owner", "created_at", "id", "version")
