"""Bound trees to the SQL that DuckDB runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import duckdb
from sqlglot import exp
from sqlglot.errors import SqlglotError

from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.result import scratch_connection
from memql.engine.wall import check_printed
from memql.errors import InternalError, ProgrammingError

# The rows of a file; only the binder gives such names.
FILE_TABLE = "_memql_file"
# In the meta of a table: who asks reads it only through a view of another's.
HIDDEN = "hidden"


@dataclass(frozen=True)
class Printed:
    """The SQL of a bound tree, the parameters that it names, and the rows of files that it reads.

    DuckDB refuses values that a statement does not need.

    Args:
        visible: the rows of memories that it reads by a table of their own.
    """

    sql: str
    parameters: tuple[str, ...]
    tables: tuple[str, ...] = ()
    visible: tuple[Visible, ...] = ()

    @cached_property
    def parsed(self) -> duckdb.Statement | str:
        """The SQL as DuckDB has parsed it, once for all runs; as text where it is several steps.

        A parse belongs to no connection, and a run does not change it.

        Raises:
            duckdb.Error: it is no SQL of DuckDB's.
        """
        found = scratch_connection().cursor().extract_statements(self.sql)
        is_query = len(found) == 1 and found[0].type == duckdb.StatementType.SELECT
        return found[0] if is_query else self.sql


@dataclass(frozen=True)
class Visible:
    """Rows of memories that the user may see, taken out before the query that reads them runs.

    So nothing of that query, neither its predicates nor how DuckDB plans them, ever depends on
    another row.

    Args:
        name: the table by which they are read; equal rows have one name.
        query: takes them out.
    """

    name: str
    query: exp.Select

    @cached_property
    def printed(self) -> Printed:
        """The query as DuckDB reads it."""
        return print_query(self.query)

    def __deepcopy__(self, memo: object) -> Visible:
        return self  # it stands in trees, which are copied, and is never changed


@dataclass(frozen=True)
class VisibleView(Visible):
    """Rows of a view of another's, taken out in the same way.

    Args:
        view: its name, with its owner's.
    """

    view: str

    @cached_property
    def printed(self) -> Printed:
        """The query as DuckDB reads it; it alone may read what is hidden behind the view."""
        return _printed(self.query)


def take_out(table: exp.Table, visible: Visible) -> None:
    """Let a table of a tree, in place, read rows that are taken out before."""
    table.set("this", exp.to_identifier(visible.name, quoted=True))
    table.meta["visible"] = visible


def print_query(query: exp.Expr) -> Printed:
    """Return a bound tree as DuckDB reads it.

    Raises:
        ProgrammingError: a function has arguments that do not fit.
        InternalError: what was printed reads more than the tree does.
    """
    for table in query.find_all(exp.Table):
        if HIDDEN in table.meta:
            raise InternalError(f"{table.sql(dialect=PlainDuckDB)} would be read past a view")
    return _printed(query)


def _printed(query: exp.Expr) -> Printed:
    names = {node.name for node in query.find_all(exp.Placeholder)}
    sql = print_sql(query)
    check_printed(sql, query)
    return Printed(sql, tuple(sorted(names)), file_tables(query), visible_tables(query))


def visible_tables(tree: exp.Expr) -> tuple[Visible, ...]:
    """Return the rows of memories that a tree reads by tables of their own, by name."""
    found = (table.meta.get("visible") for table in tree.find_all(exp.Table))
    read = {visible.name: visible for visible in found if visible is not None}
    return tuple(read[name] for name in sorted(read))


def file_tables(tree: exp.Expr) -> tuple[str, ...]:
    """Return the names that a tree has for the rows of files."""
    names = {node.name for node in tree.find_all(exp.Table) if not node.db}
    return tuple(sorted(name for name in names if name.startswith(FILE_TABLE)))


def print_sql(query: exp.Expr) -> str:
    """Return the SQL of a bound tree: quoted, without comments.

    Raises:
        ProgrammingError: a function has arguments that do not fit.
    """
    try:
        return query.sql(dialect=PlainDuckDB, identify=True, comments=False)
    except (SqlglotError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # sqlglot prints its nodes without looking at how many arguments a function got.
        raise ProgrammingError(
            f"a function or clause has arguments that do not fit ({error})",
            code="42601",
        ) from error
