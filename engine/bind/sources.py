"""Tables in a query: each reach of memories becomes what its user may see, views their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.files import read_file, reads_file
from memql.engine.bind.functions import check_query_nodes, check_table_function
from memql.engine.bind.parameters import Values
from memql.engine.bind.shape import (
    CTE_PREFIX,
    MEMORIES,
    alias_of,
    cte_of,
    has_aggregate,
    is_memories,
    name_subqueries,
    select_sources,
    visible_ctes,
)
from memql.engine.catalog import SCHEMA, UNBUILT_TABLES, CatalogTable, as_query
from memql.engine.context import StatementContext
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.names import fold, position, unknown, unreadable
from memql.engine.plan import PART_TABLE, VISIBLE_TABLE
from memql.engine.printing import FILE_TABLE, HIDDEN
from memql.engine.tables import (
    MAIN,
    Tables,
    calls_sequence,
    ordinary_of,
    read_ordinary,
    resolve_sequences,
    resolve_types,
)
from memql.engine.unbuilt import not_yet
from memql.errors import InternalError, NotSupportedError, ProgrammingError
from memql.storage.schema import MEMORY_COLUMNS

MEMORY_NAMES: tuple[str, ...] = tuple(name for name, _ in MEMORY_COLUMNS)

# Views of views can double a statement with each step; what is larger would not be bound in time.
MAX_EXPANDED_NODES = 10_000
MAX_NESTED_LIMITS = 6
MAX_LATERALS = 30

# In the meta of a table: the ordinary table that a change writes, for which there is a right.
TARGET = "target"
# In the meta of a subquery: the view of another's that it is, with such tables in it.
HIDING = "hiding"


@dataclass(frozen=True)
class ViewDefinition:
    """A view as the binder needs it.

    Args:
        query: the view's query without its MATERIALIZE clause.
        form: the form of its clause; None for a plain view.
        model: the model of its clause, or None.
        order: the order of its clause, see :class:`Target`.
    """

    name: str
    owner: str
    query: exp.Query
    form: str | None
    model: str | None
    order: str = "canonical"

    @property
    def kind(self) -> str:
        """What statements call it."""
        return kind_of_view(self.form)

    @property
    def shown(self) -> str:
        """Its name with its owner's, as others write it."""
        return f"{self.owner}.{self.name}"


def kind_of_view(form: str | None) -> str:
    """Return what statements call a view of a form."""
    return "view" if form is None else "materialized view"


class Views(Protocol):
    """The views and ordinary tables that a statement's user may name."""

    @property
    def tables(self) -> Tables:
        """The ordinary tables."""

    def own_materialized(self) -> Sequence[ViewDefinition]:
        """Return the user's own materialized views, by name."""

    def of(self, owner: str) -> Views:
        """Return them as an owner names them, in the text of the owner's views."""

    def find(self, name: str, owner: str = "") -> ViewDefinition | None:
        """Return the view of that name and owner, None if there is none that may be read."""

    def names(self) -> Sequence[str]:
        """Return the names of all views that the user may name."""


@dataclass
class Sources:
    """Replaces the tables of one statement; remembers what the plan needs to know.

    Args:
        context: the statement.
        views: the views it may name.
        values: its parameters by name.
        catalog: the tables of the schema memql by name.
    """

    context: StatementContext
    views: Views
    values: Values
    catalog: Mapping[str, CatalogTable]
    _expanding: list[str] = field(default_factory=list, init=False)
    _nodes: int = field(default=0, init=False)

    def resolve(self, query: exp.Query) -> None:
        """Replace, in place, each table of ``query`` by what this user may read.

        Raises:
            ProgrammingError: an unknown table, with the nearest known one.
            NotSupportedError: a construct that reads past the memories.
        """
        resolve_sequences(query, self.views.tables, self.context)
        check_query_nodes(query, self.context)
        resolve_types(query, self.views.tables, self.context)
        _check_limits(query, self.context)
        _check_laterals(query, self.context)
        _order_limits(query, self.context.owner)
        tables = list(query.find_all(exp.Table))
        schemas = (MAIN, fold(self.context.owner), *(fold(table.db) for table in tables))
        read = [table for table in tables if cte_of(table) is None]
        for table in tables:
            self._resolve_table(table)
        names = {fold(table.alias_or_name) for table in read if table.db}
        for column in query.find_all(exp.Column) if names else ():
            # main.t.a: the table has an alias now, by which alone DuckDB knows it.
            if column.db and fold(column.db) in schemas and fold(column.table) in names:
                column.set("db", None)

    def _resolve_table(self, table: exp.Table) -> None:
        if table.meta.get("rows") in self.values.tables and isinstance(table.this, exp.Identifier):
            # Rows that executemany was given.
            table.set("this", exp.to_identifier(table.meta["rows"], quoted=True))
            return
        if not isinstance(table.this, exp.Identifier):
            opened = reads_file(table) and self.context.door is not None
            if not opened:
                check_table_function(table, self.context)
            if table.db:
                raise ProgrammingError(
                    f"unknown schema '{table.db}' of a function",
                    hint="functions are called by their bare name",
                    position=position(self.context.text, table),
                    statement=self.context.text,
                    code="3F000",
                )
            if opened:
                read_file(table, self.values, self.context)
            return
        name = table.name
        if fold(table.db) == SCHEMA and not table.catalog:
            self._read_catalog(table)
            return
        if cte_of(table) is not None:
            return
        # The grammar makes TimeTravel of these, and check_query_nodes refuses that.
        assert not any(
            table.args.get(key) for key in ("version", "when", "system_time", "changes")
        ), table
        if fold(name) == MEMORIES and not table.db:
            table.set("this", exp.to_identifier(VISIBLE_TABLE, quoted=True))
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
            return
        if TARGET in table.meta:
            read_ordinary(table, table.meta[TARGET])
            return
        ordinary = None if table.catalog else self.views.tables.find(name, table.db)
        if ordinary is not None:
            self._note_right(ordinary.owner, ordinary.name)
            read_ordinary(table, ordinary)
            if not self.views.tables.reads_itself(ordinary.owner, ordinary.name):
                table.meta[HIDDEN] = True
            return
        view = None if table.catalog else self.views.find(name, table.db)
        if view is None:
            if not table.catalog:
                self.views.tables.to_change(table, ["SELECT"])  # says which right is missing
            qualified = ".".join(part.name for part in table.parts)
            raise unknown("table", qualified, self._known(table), self.context, table)
        self._note_right(view.owner, view.name)
        self._expand(table, view)

    def _note_right(self, owner: str, name: str) -> None:
        """Let a plan that a right will not outlive be made anew each time."""
        if self.context.rights.ends(owner, name) is not None:
            self.values.hold_for_now()

    def _read_catalog(self, table: exp.Table) -> None:
        """Replace a table of the schema memql by its rows as they are now."""
        name = fold(table.name)
        if name in UNBUILT_TABLES:
            place = position(self.context.text, table)
            raise not_yet(f"{SCHEMA}.{name}", position=place, statement=self.context.text)
        if self._expanding or not self.catalog:
            raise NotSupportedError(
                f"a view cannot read {SCHEMA}.{name}: it would read what tells about itself",
                position=position(self.context.text, table),
                statement=self.context.text,
            )
        found = self.catalog.get(name)
        if found is None:
            known = [f"{SCHEMA}.{one}" for one in self.catalog]
            raise unknown("table", f"{SCHEMA}.{table.name}", known, self.context, table)
        self.values.hold_for_now()  # the rows become a part of the plan
        _put_query(table, as_query(found))

    def _expand(self, table: exp.Table, view: ViewDefinition) -> None:
        rights = self.context.rights
        others = rights.name is not None and view.owner not in rights.owners
        shown = view.shown if others else view.name
        if shown in self._expanding:
            chain = " -> ".join([*self._expanding, shown])
            raise ProgrammingError(
                f"the view {shown} reads itself: {chain}",
                position=position(self.context.text, table),
                statement=self.context.text,
                code="42P17",
            )
        query = view.query.copy()
        if view.owner != self.context.owner and calls_sequence(query):
            # A number for each row would tell the view's owner of the reader's.
            raise NotSupportedError(
                f"the view {shown} counts with a sequence: only its owner may read it",
                position=position(self.context.text, table),
                statement=self.context.text,
            )
        self._nodes += sum(1 for _ in query.walk())
        if self._nodes > MAX_EXPANDED_NODES:
            raise ProgrammingError(
                f"the statement with its views has more than {MAX_EXPANDED_NODES:,} parts",
                hint="let views read fewer views, or each only once",
                code="54001",
            )
        for limit in query.find_all(syntax.TokenLimit):
            if view.model is not None and limit.args.get("model") is None:
                limit.set("model", view.model)
        name_subqueries(query)
        self._expanding.append(shown)
        names, self.views = self.views, self.views.of(view.owner)
        try:
            self.resolve(query)
        except (NotSupportedError, ProgrammingError) as error:
            if not others or error.code == "54001":
                raise
            # What is wrong tells of names, and of rights, that are none of the reader's.
            place = position(self.context.text, table)
            raise unreadable(shown, place, self.context.text) from None
        finally:
            self.views = names
            self._expanding.pop()
        subquery = _put_query(table, query)
        if others and any(HIDDEN in one.meta for one in query.find_all(exp.Table)):
            if query.find(syntax.TokenLimit, syntax.Generate) is not None:
                raise NotSupportedError(
                    f"the view {shown} is not possible for others: it has a generate or a limit "
                    "in tokens, and reads tables that they may not read",
                    hint="with the right to SELECT these tables it is possible",
                    position=position(self.context.text, table),
                    statement=self.context.text,
                )
            subquery.meta[HIDING] = shown

    def _known(self, table: exp.Table) -> list[str]:
        named = [*self.views.names(), *self.views.tables.known_names()]
        return [MEMORIES, *named, *sorted(visible_ctes(table))]


def _put_query(table: exp.Table, query: exp.Query) -> exp.Subquery:
    """Replace, in place, a table by a query of its name."""
    alias = table.args.get("alias") or exp.TableAlias(
        this=exp.to_identifier(table.name, quoted=True)
    )
    subquery = exp.Subquery(this=query, alias=alias.copy())
    for key in ("joins", "laterals", "pivots", "sample"):
        if table.args.get(key):
            subquery.set(key, table.args[key])
    table.replace(subquery)
    return subquery


def _check_limits(query: exp.Query, context: StatementContext) -> None:
    """Refuse LIMIT in the number of a LIMIT in the number of a LIMIT ...

    DuckDB's binder takes twice the time for each level, and cannot be interrupted.

    Raises:
        ProgrammingError: deeper than MAX_NESTED_LIMITS.
    """
    for limit in query.find_all(exp.Limit, exp.Offset):
        depth, around = 0, limit.parent
        while around is not None:
            depth += isinstance(around, exp.Limit | exp.Offset)
            around = around.parent
        if depth >= MAX_NESTED_LIMITS:
            raise ProgrammingError(
                f"LIMIT and OFFSET are nested in each other {depth + 1} times, at most "
                f"{MAX_NESTED_LIMITS} are possible",
                hint="compute the number in a common table expression",
                position=position(context.text, limit),
                statement=context.text,
                code="54001",
            )


def _check_laterals(query: exp.Query, context: StatementContext) -> None:
    """Refuse long chains of LATERAL, for which DuckDB's binder takes cubic time, uninterruptible.

    Raises:
        ProgrammingError: more than MAX_LATERALS in one FROM.
    """
    for select in query.find_all(exp.Select):
        sources = select_sources(select)
        laterals = [one for one in sources if isinstance(one, exp.Lateral)]
        if len(laterals) > MAX_LATERALS:
            raise ProgrammingError(
                f"a FROM has {len(laterals)} LATERAL, at most {MAX_LATERALS} are possible",
                hint="compute several columns in one of them",
                position=position(context.text, laterals[MAX_LATERALS]),
                statement=context.text,
                code="54001",
            )


def _order_limits(query: exp.Query, owner: str) -> None:
    """Give LIMIT without ORDER BY over memories the canonical order, in place.

    Which rows a LIMIT leaves then depends on the memories only, not on how they are stored.
    """
    for select in query.find_all(exp.Select):
        sources = select_sources(select)
        if (
            not (select.args.get("limit") or select.args.get("offset"))
            or any(select.args.get(key) for key in ("order", "group", "distinct", "having"))
            or len(sources) != 1
            or not is_memories(sources[0])
            or any(has_aggregate(projection) for projection in select.expressions)
        ):
            continue
        alias = alias_of(sources[0])
        own = exp.column("owner", table=alias, quoted=True).eq(exp.Literal.string(owner))
        columns = [
            exp.column(name, table=alias, quoted=True) for name in ("owner", "created_at", "id")
        ]
        keys = [exp.Ordered(this=key) for key in (exp.paren(own), *columns)]
        select.set("order", exp.Order(expressions=keys))


def check_names(query: exp.Query) -> None:
    """Make sure that DuckDB finds no table by a name that the binder did not put there.

    Args:
        query: printed next; its own common table expressions stand in it.

    Raises:
        InternalError: a name is left over, which DuckDB would look up in its own catalogs.
    """
    for table in query.find_all(exp.Table):
        name = table.name
        if not isinstance(table.this, exp.Identifier) or name == VISIBLE_TABLE:
            continue
        if ordinary_of(table) is not None:
            continue
        if not (
            (name.startswith((PART_TABLE, FILE_TABLE)) and not table.db)
            or (name.startswith(CTE_PREFIX) and cte_of(table))
        ):
            raise InternalError(f"the table {table.sql(dialect=PlainDuckDB)} was not resolved")
