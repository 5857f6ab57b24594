"""The binder of definitions: CREATE, ALTER, DROP and TRUNCATE of a user's own objects.

What DuckDB runs is put together here from a closed set of words, from names in quotes, and from
types and expressions that have gone through the same walls as those of a query.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from memql.engine.bind.query import QueryBinder
from memql.engine.bind.shape import finds_columns
from memql.engine.bind.tableparts import TableParts, qualified
from memql.engine.names import fold, position, quote, unknown
from memql.engine.plan import Plan, Select
from memql.engine.printing import Printed
from memql.engine.tables import BUILTIN_TYPES
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
        makes_enum: whether these rows are the values of an ENUM, whose size has a limit.
        drops: the tables that are no more, or new: what was granted on the names is not on these.
        renames: the tables that have another name then, with both names.
        hides: a table that may be changed and not read, with its owner's name, or None.
    """

    statements: tuple[Printed, ...]
    schema: str
    rows: Plan | None = None
    makes_enum: bool = False
    drops: tuple[str, ...] = ()
    renames: tuple[tuple[str, str], ...] = ()
    hides: str | None = None


DEFINITIONS = (exp.Create, exp.Drop, exp.Alter, exp.TruncateTable)


def bind_definition(tree: exp.Expr, binder: QueryBinder) -> Definition:
    """Return what DuckDB runs for a definition of a table, type, sequence or index.

    Raises:
        ProgrammingError: a name is unknown or taken, or means something that is not the user's.
        NotSupportedError: a form that MemQL does not have.
    """
    return _Definer(binder).bind(tree)


@dataclass(frozen=True)
class _Definer(TableParts):
    """Binds one definition."""

    def bind(self, tree: exp.Expr) -> Definition:
        self.check_parts(tree)
        if isinstance(tree, exp.TruncateTable):
            return self._truncate(tree)
        if isinstance(tree, exp.Alter):
            return self._alter(tree)
        kind = str(tree.args.get("kind") or "").upper()
        if isinstance(tree, exp.Drop):
            return self._drop(tree)
        assert isinstance(tree, exp.Create)  # one of DEFINITIONS, whose kinds the parser checks
        return _CREATES[kind](self, tree)

    # -- CREATE -------------------------------------------------------------------------------

    def _create_table(self, tree: exp.Create) -> Definition:
        properties = tree.args.get("properties")
        no_data = False
        for one in properties.expressions if properties is not None else ():
            if isinstance(one, exp.TemporaryProperty):
                raise NotSupportedError(
                    "temporary tables are not possible: each query has a connection of its own",
                    hint="CREATE TABLE, and DROP TABLE behind it",
                    position=position(self.text, tree),
                    statement=self.text,
                )
            no_data = bool(one.args.get("no"))
        schema = tree.this if isinstance(tree.this, exp.Schema) else None
        table = schema.this if schema is not None else tree.this
        name = self.new_name(table, "table", tree)
        existing = self.tables.find(name)
        if existing is not None and not tree.args.get("exists") and not tree.args.get("replace"):
            raise ProgrammingError(
                f"the table {name} exists already",
                hint="CREATE TABLE IF NOT EXISTS leaves it, CREATE OR REPLACE TABLE replaces it",
                position=position(self.text, table),
                statement=self.text,
                code="42P07",
            )
        made = existing is None or tree.args.get("replace")
        drops = (name,) if made else ()
        head = self._head("TABLE", tree, name)
        columns = schema.expressions if schema is not None else []
        if tree.expression is None:
            if not columns:
                raise self.refused(tree, "CREATE TABLE without columns", code="42601")
            making = replace(self, making=name)  # a foreign key may lead to the table itself
            parts = ", ".join(making.part(column) for column in columns)
            return replace(self._one(f"{head} ({parts})"), drops=drops)
        names = [self.column_name(column) for column in columns]
        shown = f" ({', '.join(map(quote, names))})" if names else ""
        source, rows = self._source(tree.expression)
        end = " WITH NO DATA" if no_data else ""
        whole = replace(source, sql=f"{head}{shown} AS {source.sql}{end}")
        return Definition((whole,), self.schema, rows, drops=drops)

    def _source(self, query: exp.Expr) -> tuple[Printed, Plan | None]:
        """Return (a query, the plan of its rows if they are made before)."""
        if isinstance(query, exp.Values):
            query = exp.Select(expressions=[exp.Star()]).from_(query.copy())
        assert isinstance(query, exp.Query)  # the parser reads nothing else there
        plan = self.binder.bind(query)
        if isinstance(plan, Select) and not plan.input.parts and not finds_columns(query):
            return plan.input.printed, None
        return Printed(ROWS_QUERY, ()), plan

    def _create_type(self, tree: exp.Create) -> Definition:
        name = self.new_name(tree.this, "type", tree)
        if fold(name) in BUILTIN_TYPES:
            raise ProgrammingError(
                f"{name} is a type of DuckDB already",
                hint="give it another name",
                position=position(self.text, tree.this),
                statement=self.text,
                code="42710",
            )
        head = self._head("TYPE", tree, name)
        values = tree.expression
        listed = values.expressions if isinstance(values, exp.DataType) else []
        if listed and isinstance(listed[0], exp.Query):
            # Its rows come first, to be counted before anything is made of them.
            plan = self.binder.bind(listed[0])
            whole = Printed(f"{head} AS ENUM ({ROWS_QUERY})", ())
            return Definition((whole,), self.schema, plan, makes_enum=True)
        return self._one(f"{head} AS {self.type_name(values)}")

    def _create_sequence(self, tree: exp.Create) -> Definition:
        name = self.new_name(tree.this, "sequence", tree)
        parts = [self._head("SEQUENCE", tree, name)]
        properties = tree.args.get("properties")
        for one in properties.expressions if properties is not None else ():
            if not isinstance(one, exp.SequenceProperties):
                raise self.refused(one, f"CREATE SEQUENCE with {one.key.upper()}")
            for key, value in one.args.items():
                word = _SEQUENCE_WORDS.get(key)
                if not value:
                    continue
                if key == "options":
                    options = [option.name.upper() for option in value]
                    if any(option not in ("CYCLE", "NO CYCLE") for option in options):
                        raise self.refused(one, f"CREATE SEQUENCE with {' '.join(options)}")
                    parts.extend(options)
                elif word is None:
                    raise self.refused(one, f"CREATE SEQUENCE with {key.upper()}")
                else:
                    parts.append(f"{word} {self._whole_number(value)}")
        return self._one(" ".join(parts))

    def _whole_number(self, node: exp.Expr) -> str:
        sign, inner = ("-", node.this) if isinstance(node, exp.Neg) else ("", node)
        if not isinstance(inner, exp.Literal) or not inner.is_int:
            raise self.refused(node, "CREATE SEQUENCE without a whole number", code="42601")
        return sign + str(inner.this)

    def _create_index(self, tree: exp.Create) -> Definition:
        index = tree.this
        if not index.name:
            raise self.refused(tree, "CREATE INDEX without the name of the index", code="42601")
        parameters = index.args.get("params")
        table = self.own_table(index.args["table"])
        if parameters is None or any(
            value for key, value in parameters.args.items() if key != "columns"
        ):
            raise self.refused(tree, "CREATE INDEX with more than columns")
        columns = [
            f"({self.expression(one.this if isinstance(one, exp.Ordered) else one)})"
            for one in parameters.args.get("columns") or ()
        ]
        unique = "UNIQUE " if tree.args.get("unique") else ""
        exists = "IF NOT EXISTS " if tree.args.get("exists") else ""
        return self._one(
            f"CREATE {unique}INDEX {exists}{quote(index.name)} ON {qualified(table)} "
            f"({', '.join(columns)})"
        )

    # -- DROP, TRUNCATE, ALTER ----------------------------------------------------------------

    def _drop(self, tree: exp.Drop) -> Definition:
        kind = str(tree.args["kind"]).upper()
        end = " CASCADE" if tree.args.get("cascade") else ""
        statements: list[Printed] = []
        drops: list[str] = []
        for node in tree.args.get("tables") or [tree.this]:
            if kind == "TABLE":
                if tree.args.get("exists") and self.find(node) is None:
                    continue
                table = self.own_table(node)
                drops.append(table.name)
                name = qualified(table)
            else:
                own = self.tables.own(kind.lower())
                self.check_own(node)
                known = own.get(fold(node.name))
                if known is None:
                    if tree.args.get("exists"):
                        continue
                    raise unknown(kind.lower(), node.name, own.values(), self.binder.context, node)
                name = f"{quote(self.schema)}.{quote(known)}"
            statements.append(Printed(f"DROP {kind} {name}{end}", ()))
        return Definition(tuple(statements), self.schema, drops=tuple(drops))

    def _truncate(self, tree: exp.TruncateTable) -> Definition:
        tables = [
            self.tables.to_change(node, ["DELETE"]) or self.own_table(node)
            for node in tree.expressions
        ]
        deletes = (Printed(f"DELETE FROM {qualified(table)}", ()) for table in tables)
        hidden = [shown for table in tables if (shown := self.tables.hides(table)) is not None]
        return Definition(tuple(deletes), self.schema, hides=next(iter(hidden), None))

    def _alter(self, tree: exp.Alter) -> Definition:
        if tree.args.get("exists") and self.find(tree.this) is None:
            return Definition((), self.schema)
        table = self.own_table(tree.this)
        head = f"ALTER TABLE {qualified(table)}"
        options = tree.args.get("options") or []
        actions = tree.args.get("actions") or []
        statements = [Printed(f"{head} {self._action(one, options)}", ()) for one in actions]
        new = [one.this.name for one in actions if isinstance(one, exp.AlterRename) and not options]
        renames = tuple((table.name, name) for name in new)
        return Definition(tuple(statements), self.schema, renames=renames)

    def _action(self, action: exp.Expr, options: list[exp.Expr]) -> str:
        if isinstance(action, exp.ColumnDef):
            exists = "IF NOT EXISTS " if action.args.get("exists") else ""
            return f"ADD COLUMN {exists}{self.column(action)}"
        if isinstance(action, exp.Drop) and str(action.args.get("kind")).upper() == "COLUMN":
            exists = "IF EXISTS " if action.args.get("exists") else ""
            named = action.args.get("tables") or [action.this]
            if len(named) == 1:
                end = " CASCADE" if action.args.get("cascade") else ""
                return f"DROP COLUMN {exists}{quote(self.bare(named[0]))}{end}"
        if isinstance(action, exp.RenameColumn):
            old, new = self.bare(action.this), self.bare(action.args["to"])
            self.column_name(action.args["to"])
            return f"RENAME COLUMN {quote(old)} TO {quote(new)}"
        if isinstance(action, exp.AlterRename):
            if not options:
                return f"RENAME TO {quote(self.new_name(action.this, 'table', None))}"
            # ALTER TABLE t RENAME a TO b: sqlglot keeps the new name of a column apart.
            bare = not action.this.args.get("db") and len(options) == 1
            if bare and isinstance(options[0], exp.ToTableProperty):
                old, new = action.this.name, self.column_name(options[0].this)
                return f"RENAME COLUMN {quote(old)} TO {quote(new)}"
        if isinstance(action, exp.AlterColumn):
            return f"ALTER COLUMN {quote(self.bare(action.this))} {self._altered(action)}"
        if isinstance(action, exp.AddConstraint):
            return "ADD " + " ".join(self.part(one) for one in action.expressions)
        raise self.refused(action, "this form of ALTER TABLE")

    def _altered(self, action: exp.AlterColumn) -> str:
        kind = action.args.get("dtype")
        if kind is not None:
            using = action.args.get("using")
            how = f" USING {self.expression(using)}" if using else ""
            return f"SET DATA TYPE {self.type_name(kind)}{how}"
        if action.args.get("default") is not None:
            return f"SET DEFAULT {self.expression(action.args['default'])}"
        if action.args.get("allow_null") is not None:
            return "DROP NOT NULL" if action.args["allow_null"] else "SET NOT NULL"
        return "DROP DEFAULT"

    # -- parts --------------------------------------------------------------------------------

    def _one(self, sql: str) -> Definition:
        return Definition((Printed(sql, ()),), self.schema)

    def _head(self, kind: str, tree: exp.Create, name: str) -> str:
        replace = "OR REPLACE " if tree.args.get("replace") else ""
        exists = "IF NOT EXISTS " if tree.args.get("exists") else ""
        return f"CREATE {replace}{kind} {exists}{quote(self.schema)}.{quote(name)}"


_CREATES: Mapping[str, Callable[[_Definer, exp.Create], Definition]] = {
    "TABLE": _Definer._create_table,
    "TYPE": _Definer._create_type,
    "SEQUENCE": _Definer._create_sequence,
    "INDEX": _Definer._create_index,
}
_SEQUENCE_WORDS = {
    "start": "START",
    "increment": "INCREMENT BY",
    "minvalue": "MINVALUE",
    "maxvalue": "MAXVALUE",
}
