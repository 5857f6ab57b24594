"""Parts of a user's definitions: names, columns, constraints, types, expressions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from memql.engine.bind.query import QueryBinder
from memql.engine.bind.shape import MEMORIES
from memql.engine.catalog import SCHEMA
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.functions import VALUE_WORDS, classified
from memql.engine.names import fold, not_possible, position, quote, unknown
from memql.engine.printing import print_query, print_sql
from memql.engine.tables import OrdinaryTable, Tables
from memql.engine.views import taken
from memql.errors import NotSupportedError, ProgrammingError


@dataclass(frozen=True)
class TableParts:
    """Checks and prints what definitions are made of.

    Args:
        binder: of the statement.
        making: the name of the table that is made, if one is.
    """

    binder: QueryBinder
    making: str | None = None

    def part(self, node: exp.Expr) -> str:
        """Return a column, or a constraint of the table."""
        if isinstance(node, exp.ColumnDef):
            return self.column(node)
        if isinstance(node, exp.Constraint):
            inner = " ".join(self.constraint(one) for one in node.expressions)
            return f"CONSTRAINT {quote(node.name)} {inner}"
        return self.constraint(node)

    def column(self, node: exp.ColumnDef) -> str:
        """Return a column with its type and constraints."""
        self.check_parts(node)
        kind = node.args.get("kind")
        parts = [quote(self.column_name(node.this))]
        if kind is not None:
            parts.append(self.type_name(kind))
        for constraint in node.args.get("constraints") or ():
            parts.append(self.constraint(constraint.args.get("kind") or constraint))
        return " ".join(parts)

    def constraint(self, node: exp.Expr) -> str:
        """Return a constraint of a column or table.

        Raises:
            NotSupportedError: one that DuckDB has not, or that MemQL does not let through.
        """
        if isinstance(node, exp.NotNullColumnConstraint):
            return "NULL" if node.args.get("allow_null") else "NOT NULL"
        if isinstance(node, exp.DefaultColumnConstraint):
            return f"DEFAULT {self.expression(node.this)}"
        if isinstance(node, exp.CheckColumnConstraint | exp.Check):
            return f"CHECK ({self.expression(node.this)})"
        if isinstance(node, exp.ComputedColumnConstraint):
            return f"AS ({self.expression(node.this)})"
        if isinstance(node, exp.GeneratedAsIdentityColumnConstraint) and node.expression:
            return f"AS ({self.expression(node.expression)})"
        if isinstance(node, exp.CollateColumnConstraint):
            name = node.this.name
            if not name.replace("_", "").replace(".", "").isalnum():
                raise self.refused(node, "COLLATE without the name of a collation")
            return f"COLLATE {quote(name)}"
        if isinstance(node, exp.PrimaryKeyColumnConstraint):
            return "PRIMARY KEY"
        if isinstance(node, exp.PrimaryKey):
            return f"PRIMARY KEY ({self.names(node.expressions)})"
        if isinstance(node, exp.UniqueColumnConstraint):
            if node.this is None:
                return "UNIQUE"
            return f"UNIQUE ({self.names(node.this.expressions)})"
        if isinstance(node, exp.ForeignKey) and node.args.get("reference") is not None:
            own = self.names(node.expressions)
            return f"FOREIGN KEY ({own}) {self.constraint(node.args['reference'])}"
        if isinstance(node, exp.Reference) and not node.args.get("options"):
            target = node.this.this if isinstance(node.this, exp.Schema) else node.this
            found = self._referred(target)
            columns = node.this.expressions if isinstance(node.this, exp.Schema) else []
            shown = f" ({self.names(columns)})" if columns else ""
            return f"REFERENCES {found}{shown}"
        raise self.refused(node, f"a column with {node.key.upper()}")

    def _referred(self, table: exp.Expr) -> str:
        """Return the table that a foreign key leads to."""
        if self.making is not None and fold(table.name) == fold(self.making):
            self.check_own(table)
            return f"{quote(self.schema)}.{quote(self.making)}"
        return qualified(self.own_table(table))

    def check_parts(self, node: exp.Expr) -> None:
        """Refuse parts that would be read and then left out."""
        known = _PARTS[type(node)].split()
        odd = [key for key, value in node.args.items() if value and key not in known]
        if odd:
            words = ", ".join(key.strip("_").upper() for key in odd)
            raise self.refused(node, f"{node.key.upper()} with {words}")

    @property
    def tables(self) -> Tables:
        return self.binder.views.tables

    @property
    def schema(self) -> str:
        return self.tables.schema

    @property
    def text(self) -> str:
        return self.binder.context.text

    def expression(self, node: exp.Expr) -> str:
        """Return an expression over the columns of one row, checked as a part of a query."""
        for column in node.find_all(exp.Column):
            # DuckDB takes these for functions where no column has the name.
            called = classified(VALUE_WORDS.get(fold(column.name), ""))
            if called is not None and called.refused and not column.this.args.get("quoted"):
                raise self.refused(column, f"{column.name} in the definition of a table")
        if node.find(exp.Query, exp.Placeholder, exp.AggFunc, exp.Window):
            raise self.refused(
                node, "a subquery, parameter, aggregate or window in the definition of a table"
            )
        query = self.binder.bind_expression(node)
        print_query(query)
        return print_sql(query.expressions[0].unalias())

    def type_name(self, kind: exp.Expr) -> str:
        null = exp.Cast(this=exp.Null(), to=kind.copy())
        return print_sql(self.checked_cast(null).args["to"])

    def checked_cast(self, cast: exp.Cast) -> exp.Cast:
        query = self.binder.bind_expression(cast)
        print_query(query)
        found = query.expressions[0]
        assert isinstance(found, exp.Cast)
        return found

    def names(self, nodes: list[exp.Expr]) -> str:
        return ", ".join(quote(self.bare(node)) for node in nodes)

    def bare(self, node: exp.Expr) -> str:
        """Return the name of a column that is written without a table."""
        inner = node.this if isinstance(node, exp.Ordered) else node
        bare = isinstance(inner, exp.Identifier) or (
            isinstance(inner, exp.Column | exp.ColumnDef) and not inner.args.get("table")
        )
        if not bare:
            raise self.refused(node, "anything but the name of a column here", code="42601")
        return inner.name

    def column_name(self, node: exp.Expr) -> str:
        """Return the name of a new column."""
        name = node.name if isinstance(node, exp.Table) else self.bare(node)
        if fold(name).startswith("_memql"):
            raise ProgrammingError(
                f"names that start with _memql are MemQL's own: '{name}'",
                position=position(self.text, node),
                statement=self.text,
                code="42939",
            )
        return name

    def check_own(self, table: exp.Expr) -> None:
        """Refuse a name in a schema that is not the user's own."""
        owner = table.args.get("db")
        if table.args.get("catalog") is not None or (
            owner is not None
            and fold(owner.name) != "main"
            and owner.name != self.binder.context.owner
        ):
            qualified = table.sql(dialect=PlainDuckDB)
            raise unknown("table", qualified, self.tables.names(), self.binder.context, table)

    def new_name(self, table: exp.Expr, what: str, tree: exp.Create | None) -> str:
        """Return the name of something that is made, if it can have it."""
        self.check_own(table)
        name = table.name
        if fold(name) == MEMORIES or fold(name).startswith("_memql") or fold(name) == SCHEMA:
            raise ProgrammingError(
                f"a {what} cannot be called {name}: that name is MemQL's own",
                hint="give it another name",
                position=position(self.text, table),
                statement=self.text,
                code="42939",
            )
        if what == "table":
            context = self.binder.context
            views = self.binder.views
            view = views.find(name)
            if view is not None and view.owner == context.owner:
                raise taken(name, view.kind, what, context, table)
            if tree is None and self.tables.find(name) is not None:
                raise taken(name, "table", what, context, table)
        return name

    def find(self, table: exp.Expr) -> OrdinaryTable | None:
        self.check_own(table)
        return self.tables.find(table.name)

    def own_table(self, table: exp.Expr) -> OrdinaryTable:
        """Return the table that a definition changes.

        Raises:
            ProgrammingError: it is not the user's own, or no ordinary table.
        """
        context = self.binder.context
        if fold(table.name) == MEMORIES and table.args.get("db") is None:
            raise ProgrammingError(
                "the table memories is MemQL's own: it cannot be defined, altered or dropped",
                hint="DELETE FROM memories archives rows of it",
                position=position(self.text, table),
                statement=self.text,
                code="42501",
            )
        found = self.find(table)
        if found is None:
            view = self.binder.views.find(table.name)
            if view is not None:
                raise ProgrammingError(
                    f"{view.name} is a {view.kind}, not a table",
                    hint=f"DROP {view.kind.upper()} {view.name} drops it",
                    position=position(self.text, table),
                    statement=self.text,
                    code="42809",
                )
            raise unknown("table", table.name, self.tables.names(), context, table)
        return found

    def refused(
        self, node: exp.Expr, what: str, *, code: str | None = None
    ) -> NotSupportedError | ProgrammingError:
        """Return the error for something that is not possible: NotSupportedError without a code."""
        return not_possible(what, self.binder.context, position(self.text, node), code=code)


def qualified(table: OrdinaryTable) -> str:
    """Return the name of a table with its schema, in quotes."""
    return f"{quote(table.schema)}.{quote(table.name)}"


# What each node may have; the rest would be read and left out.
_PARTS: Mapping[type[exp.Expr], str] = {
    exp.Create: "this kind replace expression exists properties unique",
    exp.Drop: "this kind tables exists cascade restrict",
    exp.Alter: "this kind exists actions options",
    exp.TruncateTable: "expressions exists",
    exp.ColumnDef: "this kind constraints exists",
}
