"""The binder of definitions: CREATE, ALTER, DROP and TRUNCATE of a user's own objects.

What DuckDB runs is put together here from a closed set of words, from names in quotes, and from
types and expressions that have gone through the same walls as those of a query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from memql.engine.bind.query import QueryBinder
from memql.engine.bind.shape import MEMORIES
from memql.engine.catalog import SCHEMA
from memql.engine.names import fold, position, quote, unknown
from memql.engine.plan import Plan, Select
from memql.engine.printing import Printed, print_query, print_sql
from memql.engine.tables import BUILTIN_TYPES, OrdinaryTable, Tables
from memql.engine.views import taken
from memql.errors import NotSupportedError, ProgrammingError

# The rows of a query that DuckDB cannot run alone are read by this name.
ROWS_TABLE = "_memql_new"
ROWS_QUERY = f'SELECT * FROM "{ROWS_TABLE}"'


@dataclass(frozen=True)
class Definition:
    """What DuckDB runs for a definition.

    Args:
        statements: one after the other.
        schema: the schema that must be there before.
        rows: a query that runs first; the statement reads its rows as ``_memql_new``.
    """

    statements: tuple[Printed, ...]
    schema: str
    rows: Plan | None = None


DEFINITIONS = (exp.Create, exp.Drop, exp.Alter, exp.TruncateTable)


def bind_definition(tree: exp.Expr, binder: QueryBinder) -> Definition:
    """Return what DuckDB runs for a definition of a table, type, sequence or index.

    Raises:
        ProgrammingError: a name is unknown or taken, or means something that is not the user's.
        NotSupportedError: a form that MemQL does not have.
    """
    return _Definer(binder).bind(tree)


@dataclass(frozen=True)
class _Definer:
    binder: QueryBinder

    def bind(self, tree: exp.Expr) -> Definition:
        self._check_parts(tree)
        if isinstance(tree, exp.TruncateTable):
            return self._truncate(tree)
        if isinstance(tree, exp.Alter):
            return self._alter(tree)
        kind = str(tree.args.get("kind") or "").upper()
        if isinstance(tree, exp.Create) and kind in _CREATES:
            return _CREATES[kind](self, tree)
        if isinstance(tree, exp.Drop) and kind in _DROPS:
            return self._drop(tree)
        raise self._refused(tree, f"{tree.key.upper()} {kind}")

    # -- CREATE -------------------------------------------------------------------------------

    def _create_table(self, tree: exp.Create) -> Definition:
        properties = tree.args.get("properties")
        no_data = False
        for one in properties.expressions if properties is not None else ():
            if isinstance(one, exp.TemporaryProperty):
                raise NotSupportedError(
                    "temporary tables are not possible: each query has a connection of its own",
                    hint="CREATE TABLE, and DROP TABLE behind it",
                    position=position(self._text, tree),
                    statement=self._text,
                )
            if not isinstance(one, exp.WithDataProperty):
                raise self._refused(one, f"CREATE TABLE with {one.key.upper()}")
            no_data = bool(one.args.get("no"))
        schema = tree.this if isinstance(tree.this, exp.Schema) else None
        table = schema.this if schema is not None else tree.this
        name = self._new_name(table, "table", tree)
        existing = self._tables.find(name)
        if existing is not None and not tree.args.get("exists") and not tree.args.get("replace"):
            raise ProgrammingError(
                f"the table {name} exists already",
                hint="CREATE TABLE IF NOT EXISTS leaves it, CREATE OR REPLACE TABLE replaces it",
                position=position(self._text, table),
                statement=self._text,
                code="42P07",
            )
        head = self._head("TABLE", tree, name)
        columns = schema.expressions if schema is not None else []
        if tree.expression is None:
            if not columns:
                raise self._refused(tree, "CREATE TABLE without columns", code="42601")
            parts = ", ".join(self._part(column) for column in columns)
            return self._one(f"{head} ({parts})")
        names = [self._column_name(column) for column in columns]
        shown = f" ({', '.join(map(quote, names))})" if names else ""
        source, rows = self._source(tree.expression)
        end = " WITH NO DATA" if no_data else ""
        whole = replace(source, sql=f"{head}{shown} AS {source.sql}{end}")
        return Definition((whole,), self._schema, rows)

    def _source(self, query: exp.Expr) -> tuple[Printed, Plan | None]:
        """Return (a query, the plan of its rows if they are made before)."""
        if isinstance(query, exp.Values):
            query = exp.select("*").from_(exp.Subquery(this=query.copy()))
        if not isinstance(query, exp.Query):
            raise self._refused(query, "CREATE TABLE AS without a query", code="42601")
        plan = self.binder.bind(query)
        if isinstance(plan, Select) and not plan.input.parts:
            return plan.input.printed, None
        return Printed(ROWS_QUERY, ()), plan

    def _part(self, node: exp.Expr) -> str:
        """Return a column, or a constraint of the table."""
        if isinstance(node, exp.ColumnDef):
            return self._column(node)
        if isinstance(node, exp.Constraint):
            inner = " ".join(self._constraint(one) for one in node.expressions)
            return f"CONSTRAINT {quote(node.name)} {inner}"
        return self._constraint(node)

    def _column(self, node: exp.ColumnDef) -> str:
        self._check_parts(node)
        kind = node.args.get("kind")
        parts = [quote(self._column_name(node.this))]
        if kind is not None:
            parts.append(self._type(kind))
        for constraint in node.args.get("constraints") or ():
            parts.append(self._constraint(constraint.args.get("kind") or constraint))
        return " ".join(parts)

    def _constraint(self, node: exp.Expr) -> str:
        if isinstance(node, exp.NotNullColumnConstraint):
            return "NULL" if node.args.get("allow_null") else "NOT NULL"
        if isinstance(node, exp.DefaultColumnConstraint):
            return f"DEFAULT {self._expression(node.this)}"
        if isinstance(node, exp.CheckColumnConstraint | exp.Check):
            return f"CHECK ({self._expression(node.this)})"
        if isinstance(node, exp.ComputedColumnConstraint):
            return f"AS ({self._expression(node.this)})"
        if isinstance(node, exp.GeneratedAsIdentityColumnConstraint) and node.expression:
            return f"AS ({self._expression(node.expression)})"
        if isinstance(node, exp.CollateColumnConstraint):
            name = node.this.name
            if not name.replace("_", "").replace(".", "").isalnum():
                raise self._refused(node, "COLLATE without the name of a collation")
            return f"COLLATE {quote(name)}"
        if isinstance(node, exp.PrimaryKeyColumnConstraint):
            return "PRIMARY KEY"
        if isinstance(node, exp.PrimaryKey):
            return f"PRIMARY KEY ({self._names(node.expressions)})"
        if isinstance(node, exp.UniqueColumnConstraint):
            if node.this is None:
                return "UNIQUE"
            return f"UNIQUE ({self._names(node.this.expressions)})"
        if isinstance(node, exp.ForeignKey) and node.args.get("reference") is not None:
            own = self._names(node.expressions)
            return f"FOREIGN KEY ({own}) {self._constraint(node.args['reference'])}"
        if isinstance(node, exp.Reference) and not node.args.get("options"):
            target = node.this.this if isinstance(node.this, exp.Schema) else node.this
            found = self._own_table(target)
            columns = node.this.expressions if isinstance(node.this, exp.Schema) else []
            shown = f" ({self._names(columns)})" if columns else ""
            return f"REFERENCES {_qualified(found)}{shown}"
        raise self._refused(node, f"a column with {node.key.upper()}")

    def _create_type(self, tree: exp.Create) -> Definition:
        name = self._new_name(tree.this, "type", tree)
        if fold(name) in BUILTIN_TYPES:
            raise ProgrammingError(
                f"{name} is a type of DuckDB already",
                hint="give it another name",
                position=position(self._text, tree.this),
                statement=self._text,
                code="42710",
            )
        head = self._head("TYPE", tree, name)
        values = tree.expression
        listed = values.expressions if isinstance(values, exp.DataType) else []
        if listed and isinstance(listed[0], exp.Query):
            source, rows = self._source(listed[0])
            whole = replace(source, sql=f"{head} AS ENUM ({source.sql})")
            return Definition((whole,), self._schema, rows)
        return self._one(f"{head} AS {self._type(values)}")

    def _create_sequence(self, tree: exp.Create) -> Definition:
        name = self._new_name(tree.this, "sequence", tree)
        parts = [self._head("SEQUENCE", tree, name)]
        properties = tree.args.get("properties")
        for one in properties.expressions if properties is not None else ():
            if not isinstance(one, exp.SequenceProperties):
                raise self._refused(one, f"CREATE SEQUENCE with {one.key.upper()}")
            for key, value in one.args.items():
                word = _SEQUENCE_WORDS.get(key)
                if not value:
                    continue
                if key == "options":
                    options = [option.name.upper() for option in value]
                    if any(option not in ("CYCLE", "NO CYCLE") for option in options):
                        raise self._refused(one, f"CREATE SEQUENCE with {' '.join(options)}")
                    parts.extend(options)
                elif word is None:
                    raise self._refused(one, f"CREATE SEQUENCE with {key.upper()}")
                else:
                    parts.append(f"{word} {self._whole_number(value)}")
        return self._one(" ".join(parts))

    def _whole_number(self, node: exp.Expr) -> str:
        sign, inner = ("-", node.this) if isinstance(node, exp.Neg) else ("", node)
        if not isinstance(inner, exp.Literal) or not inner.is_int:
            raise self._refused(node, "CREATE SEQUENCE without a whole number", code="42601")
        return sign + str(inner.this)

    def _create_index(self, tree: exp.Create) -> Definition:
        index = tree.this
        if not index.name:
            raise self._refused(tree, "CREATE INDEX without the name of the index", code="42601")
        parameters = index.args.get("params")
        table = self._own_table(index.args["table"])
        if parameters is None or any(
            value for key, value in parameters.args.items() if key != "columns"
        ):
            raise self._refused(tree, "CREATE INDEX with more than columns")
        columns = [
            f"({self._expression(one.this if isinstance(one, exp.Ordered) else one)})"
            for one in parameters.args.get("columns") or ()
        ]
        unique = "UNIQUE " if tree.args.get("unique") else ""
        exists = "IF NOT EXISTS " if tree.args.get("exists") else ""
        return self._one(
            f"CREATE {unique}INDEX {exists}{quote(index.name)} ON {_qualified(table)} "
            f"({', '.join(columns)})"
        )

    # -- DROP, TRUNCATE, ALTER ----------------------------------------------------------------

    def _drop(self, tree: exp.Drop) -> Definition:
        kind = str(tree.args["kind"]).upper()
        end = " CASCADE" if tree.args.get("cascade") else ""
        statements = []
        for node in tree.args.get("tables") or [tree.this]:
            if kind == "TABLE":
                if tree.args.get("exists") and self._find(node) is None:
                    continue
                name = _qualified(self._own_table(node))
            else:
                own = self._tables.own(kind.lower())
                self._check_own(node)
                known = own.get(fold(node.name))
                if known is None:
                    if tree.args.get("exists"):
                        continue
                    raise unknown(kind.lower(), node.name, own.values(), self.binder.context, node)
                name = f"{quote(self._schema)}.{quote(known)}"
            statements.append(Printed(f"DROP {kind} {name}{end}", ()))
        return Definition(tuple(statements), self._schema)

    def _truncate(self, tree: exp.TruncateTable) -> Definition:
        tables = [self._own_table(node) for node in tree.expressions]
        deletes = (Printed(f"DELETE FROM {_qualified(table)}", ()) for table in tables)
        return Definition(tuple(deletes), self._schema)

    def _alter(self, tree: exp.Alter) -> Definition:
        if str(tree.args.get("kind")).upper() != "TABLE":
            raise self._refused(tree, f"ALTER {tree.args.get('kind')}")
        if tree.args.get("exists") and self._find(tree.this) is None:
            return Definition((), self._schema)
        head = f"ALTER TABLE {_qualified(self._own_table(tree.this))}"
        options = tree.args.get("options") or []
        actions = [self._action(action, options) for action in tree.args.get("actions") or ()]
        return Definition(tuple(Printed(f"{head} {one}", ()) for one in actions), self._schema)

    def _action(self, action: exp.Expr, options: list[exp.Expr]) -> str:
        if isinstance(action, exp.ColumnDef):
            exists = "IF NOT EXISTS " if action.args.get("exists") else ""
            return f"ADD COLUMN {exists}{self._column(action)}"
        if isinstance(action, exp.Drop) and str(action.args.get("kind")).upper() == "COLUMN":
            exists = "IF EXISTS " if action.args.get("exists") else ""
            named = action.args.get("tables") or [action.this]
            if len(named) == 1:
                end = " CASCADE" if action.args.get("cascade") else ""
                return f"DROP COLUMN {exists}{quote(self._bare(named[0]))}{end}"
        if isinstance(action, exp.RenameColumn):
            old, new = self._bare(action.this), self._bare(action.args["to"])
            self._column_name(action.args["to"])
            return f"RENAME COLUMN {quote(old)} TO {quote(new)}"
        if isinstance(action, exp.AlterRename):
            if not options:
                return f"RENAME TO {quote(self._new_name(action.this, 'table', None))}"
            # ALTER TABLE t RENAME a TO b: sqlglot keeps the new name of a column apart.
            if len(options) == 1 and isinstance(options[0], exp.ToTableProperty):
                old, new = action.this.name, self._column_name(options[0].this)
                return f"RENAME COLUMN {quote(old)} TO {quote(new)}"
        if isinstance(action, exp.AlterColumn):
            return f"ALTER COLUMN {quote(self._bare(action.this))} {self._altered(action)}"
        if isinstance(action, exp.AddConstraint):
            return "ADD " + " ".join(self._part(one) for one in action.expressions)
        raise self._refused(action, "this form of ALTER TABLE")

    def _altered(self, action: exp.AlterColumn) -> str:
        kind = action.args.get("dtype")
        if kind is not None:
            using = action.args.get("using")
            how = f" USING {self._expression(using)}" if using else ""
            return f"SET DATA TYPE {self._type(kind)}{how}"
        if action.args.get("default") is not None:
            return f"SET DEFAULT {self._expression(action.args['default'])}"
        if action.args.get("allow_null") is not None:
            return "DROP NOT NULL" if action.args["allow_null"] else "SET NOT NULL"
        return "DROP DEFAULT"

    def _check_parts(self, node: exp.Expr) -> None:
        """Refuse parts that would be read and then left out."""
        known = _PARTS[type(node)].split()
        odd = [key for key, value in node.args.items() if value and key not in known]
        if odd:
            words = ", ".join(key.strip("_").upper() for key in odd)
            raise self._refused(node, f"{node.key.upper()} with {words}")

    # -- parts --------------------------------------------------------------------------------

    @property
    def _tables(self) -> Tables:
        return self.binder.views.tables

    @property
    def _schema(self) -> str:
        return self._tables.schema

    @property
    def _text(self) -> str:
        return self.binder.context.text

    def _one(self, sql: str) -> Definition:
        return Definition((Printed(sql, ()),), self._schema)

    def _head(self, kind: str, tree: exp.Create, name: str) -> str:
        replace = "OR REPLACE " if tree.args.get("replace") else ""
        exists = "IF NOT EXISTS " if tree.args.get("exists") else ""
        return f"CREATE {replace}{kind} {exists}{quote(self._schema)}.{quote(name)}"

    def _expression(self, node: exp.Expr) -> str:
        """Return an expression over the columns of one row, checked as a part of a query."""
        if node.find(exp.Query, exp.Placeholder, exp.AggFunc, exp.Window):
            raise self._refused(
                node, "a subquery, parameter, aggregate or window in the definition of a table"
            )
        query = self.binder.bind_expression(node)
        print_query(query)
        return print_sql(query.expressions[0].unalias())

    def _type(self, kind: exp.Expr) -> str:
        if not isinstance(kind, exp.DataType):
            raise self._refused(kind, "this type", code="42704")
        null = exp.Cast(this=exp.Null(), to=kind.copy())
        return print_sql(self._checked_cast(null).args["to"])

    def _checked_cast(self, cast: exp.Cast) -> exp.Cast:
        query = self.binder.bind_expression(cast)
        print_query(query)
        found = query.expressions[0]
        assert isinstance(found, exp.Cast)
        return found

    def _names(self, nodes: list[exp.Expr]) -> str:
        return ", ".join(quote(self._bare(node)) for node in nodes)

    def _bare(self, node: exp.Expr) -> str:
        """Return the name of a column that is written without a table."""
        inner = node.this if isinstance(node, exp.Ordered) else node
        bare = isinstance(inner, exp.Identifier) or (
            isinstance(inner, exp.Column | exp.ColumnDef) and not inner.args.get("table")
        )
        if not bare:
            raise self._refused(node, "anything but the name of a column here", code="42601")
        return inner.name

    def _column_name(self, node: exp.Expr) -> str:
        """Return the name of a new column."""
        name = node.name if isinstance(node, exp.Table) else self._bare(node)
        if fold(name).startswith("_memql"):
            raise ProgrammingError(
                f"names that start with _memql are MemQL's own: '{name}'",
                position=position(self._text, node),
                statement=self._text,
                code="42939",
            )
        return name

    def _check_own(self, table: exp.Expr) -> None:
        """Refuse a name in a schema that is not the user's own."""
        owner = table.args.get("db")
        if table.args.get("catalog") is not None or (
            owner is not None
            and fold(owner.name) != "main"
            and owner.name != self.binder.context.owner
        ):
            qualified = table.sql(dialect="duckdb")
            raise unknown("table", qualified, self._tables.names(), self.binder.context, table)

    def _new_name(self, table: exp.Expr, what: str, tree: exp.Create | None) -> str:
        """Return the name of something that is made, if it can have it."""
        self._check_own(table)
        name = table.name
        if fold(name) == MEMORIES or fold(name).startswith("_memql") or fold(name) == SCHEMA:
            raise ProgrammingError(
                f"a {what} cannot be called {name}: that name is MemQL's own",
                hint="give it another name",
                position=position(self._text, table),
                statement=self._text,
                code="42939",
            )
        if what == "table":
            context = self.binder.context
            views = self.binder.views
            view = views.find(name)
            if view is not None and view.owner == context.owner:
                kind = "view" if view.form is None else "materialized view"
                raise taken(name, kind, what, context, table)
            if tree is None and self._tables.find(name) is not None:
                raise taken(name, "table", what, context, table)
        return name

    def _find(self, table: exp.Expr) -> OrdinaryTable | None:
        self._check_own(table)
        return self._tables.find(table.name)

    def _own_table(self, table: exp.Expr) -> OrdinaryTable:
        """Return the table that a definition changes.

        Raises:
            ProgrammingError: it is not the user's own, or no ordinary table.
        """
        context = self.binder.context
        if fold(table.name) == MEMORIES and table.args.get("db") is None:
            raise ProgrammingError(
                "the table memories is MemQL's own: it cannot be defined, altered or dropped",
                hint="DELETE FROM memories archives rows of it",
                position=position(self._text, table),
                statement=self._text,
                code="42501",
            )
        found = self._find(table)
        if found is None:
            view = self.binder.views.find(table.name)
            if view is not None:
                kind = "view" if view.form is None else "materialized view"
                raise ProgrammingError(
                    f"{view.name} is a {kind}, not a table",
                    hint=f"DROP {kind.upper()} {view.name} drops it",
                    position=position(self._text, table),
                    statement=self._text,
                    code="42809",
                )
            raise unknown("table", table.name, self._tables.names(), context, table)
        return found

    def _refused(
        self, node: exp.Expr, what: str, *, code: str | None = None
    ) -> NotSupportedError | ProgrammingError:
        kind: type[NotSupportedError] | type[ProgrammingError] = (
            NotSupportedError if code is None else ProgrammingError
        )
        return kind(
            f"{what} is not possible",
            position=position(self._text, node),
            statement=self._text,
            code=code,
        )


def _qualified(table: OrdinaryTable) -> str:
    return f"{quote(table.schema)}.{quote(table.name)}"


_CREATES: Mapping[str, Callable[[_Definer, exp.Create], Definition]] = {
    "TABLE": _Definer._create_table,
    "TYPE": _Definer._create_type,
    "SEQUENCE": _Definer._create_sequence,
    "INDEX": _Definer._create_index,
}
_DROPS = ("TABLE", "TYPE", "SEQUENCE", "INDEX")
_PARTS: Mapping[type[exp.Expr], str] = {
    exp.Create: "this kind replace expression exists properties unique",
    exp.Drop: "this kind tables exists cascade restrict",
    exp.Alter: "this kind exists actions options",
    exp.TruncateTable: "expressions exists",
    exp.ColumnDef: "this kind constraints exists",
}
_SEQUENCE_WORDS = {
    "start": "START",
    "increment": "INCREMENT BY",
    "minvalue": "MINVALUE",
    "maxvalue": "MAXVALUE",
}
