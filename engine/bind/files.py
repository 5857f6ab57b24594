"""The binder of files: ``read_parquet('f')`` in FROM, and COPY, where the door is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from memql.engine.bind.parameters import Values
from memql.engine.bind.shape import MEMORIES
from memql.engine.context import StatementContext
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.files import FORMATS, READERS, Door, format_of
from memql.engine.names import fold, not_possible, position, unknown
from memql.engine.printing import FILE_TABLE, print_sql
from memql.engine.tables import Tables
from memql.errors import DataError, NotSupportedError, ProgrammingError
from memql.storage.schema import MEMORY_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

# What MemQL computes is written by COPY TO and left out by COPY FROM.
COMPUTED = ("state", "updated_at", "version")

_LITERALS = (
    exp.Array,
    exp.Boolean,
    exp.Identifier,
    exp.Literal,
    exp.Neg,
    exp.Null,
    exp.PropertyEQ,
    exp.Struct,
    exp.Tuple,
    exp.Var,
)


def reads_file(table: exp.Table) -> bool:
    """Tell whether a table in FROM is the rows of a file."""
    return _function(table) in READERS


def read_file(table: exp.Table, values: Values, context: StatementContext) -> None:
    """Read a file and put, in place, the table of its rows where the call stood.

    Args:
        values: the statement's; the rows become one of them.

    Raises:
        NotSupportedError: the connection was opened without folders.
        ProgrammingError: the file is outside of them, or an option is unknown.
        OperationalError: the file cannot be read.
    """
    name = _function(table)
    rows = values.tables.get(str(table.meta.get("rows")))
    if rows is None:
        door = _door(f"the table function {name}", table, context)
        paths, options = _arguments(table.this, values, context)
        with _placed(table, context):
            rows = door.read(name, paths, options)
    values.hold_for_now()  # the file may be another one the next time
    number = len([one for one in values.tables if one.startswith(FILE_TABLE)])
    values.tables[f"{FILE_TABLE}{number}"] = rows
    if not table.alias:
        alias = table.args.get("alias") or exp.TableAlias()
        alias.set("this", exp.to_identifier(name, quoted=True))
        table.set("alias", alias)
    table.set("this", exp.to_identifier(f"{FILE_TABLE}{number}", quoted=True))


@dataclass(frozen=True)
class CopyOut:
    """COPY ... TO: the rows of a query, written to a file.

    Args:
        options: printed literals by name.
    """

    query: exp.Query
    path: str
    format: str
    options: Mapping[str, str]


def bind_copy(
    tree: exp.Copy, tables: Tables, values: Values, context: StatementContext
) -> CopyOut | exp.Insert:
    """Return what a COPY means: rows to write, or an INSERT of the rows of a file.

    Raises:
        NotSupportedError: the connection was opened without folders, or a form of COPY that
            MemQL does not have.
        ProgrammingError: an unknown table, column or option.
    """
    door = _door("COPY", tree, context)
    files = tree.args.get("files") or []
    path = _path(files[0], values, context)
    options = _copy_options(tree, context)
    kind = options.pop("format", "").strip("'").lower() or format_of(path)
    if kind not in FORMATS:
        raise NotSupportedError(
            f"COPY knows no format {kind}",
            hint="possible are " + ", ".join(FORMATS),
            position=position(context.text, tree),
            statement=context.text,
        )
    source = tree.this
    named = source.expressions if isinstance(source, exp.Schema) else []
    table = source.this if isinstance(source, exp.Schema) else source
    if not tree.args.get("kind"):
        if isinstance(table, exp.Subquery) and isinstance(table.this, exp.Query):
            return CopyOut(table.this, path, kind, options)
        if isinstance(table, exp.Values | exp.Subquery):
            values_of = table.this if isinstance(table, exp.Subquery) else table
            rows = exp.Select(expressions=[exp.Star()]).from_(values_of.copy())
            return CopyOut(rows, path, kind, options)
        assert isinstance(table, exp.Table)  # the parser reads nothing else there
        shown: list[exp.Expr] = [exp.column(node.name, quoted=True) for node in named]
        return CopyOut(
            exp.Select(expressions=shown or [exp.Star()]).from_(table.copy()), path, kind, options
        )
    if not isinstance(table, exp.Table):
        raise _refused("COPY into anything but a table", tree, context)
    return _copy_in(table, [node.name for node in named], path, kind, options, tables, values, door)


def _copy_in(
    table: exp.Table,
    named: list[str],
    path: str,
    kind: str,
    options: dict[str, str],
    tables: Tables,
    values: Values,
    door: Door,
) -> exp.Insert:
    context = tables.context
    reader = f"read_{kind}"
    if "ignore_errors" in options:
        raise NotSupportedError(
            "COPY FROM takes no option ignore_errors: rows are all inserted or none",
            hint=f"INSERT INTO ... SELECT ... FROM {reader}('file', ignore_errors := true)",
            position=position(context.text, table),
            statement=context.text,
        )
    of_memories = fold(table.name) == MEMORIES and not table.db
    ordinary = None if of_memories else tables.to_change(table, ["INSERT"])
    columns = door.columns(reader, [path], options)
    if kind == "json" and ordinary is not None and "columns" not in options:
        wanted = named or list(ordinary.columns)
        # Objects have names; DuckDB calls the column of a file without any "json".
        if {fold(one) for one in columns} <= {*map(fold, wanted), "json"}:
            columns = wanted
    if of_memories:
        targets = [_memory_column(name, context, table) for name in named or columns]
        types = dict(MEMORY_COLUMNS)
    else:
        targets = named or (list(ordinary.columns) if ordinary is not None else columns)
        types = {}
        if ordinary is not None:
            types = dict(zip(map(fold, ordinary.columns), ordinary.types, strict=True))
    if len(targets) != len(columns):
        raise ProgrammingError(
            f"the file {path} has {len(columns)} columns, the table takes {len(targets)}",
            hint="name the columns: COPY t (a, b) FROM ...",
            position=position(context.text, table),
            statement=context.text,
            code="42601",
        )
    # The columns know their types; a guess would lose 007, and make one struct of many objects.
    if kind == "csv":
        options = {"all_varchar": "true", **options}
    elif kind == "json" and "columns" not in options:
        kinds = [types.get(fold(name), "VARCHAR") for name in targets]
        named_types = zip(columns, kinds, strict=True)
        listed = ", ".join(f"{_text(name)}: {_text(one)}" for name, one in named_types)
        options = {**options, "columns": "{" + listed + "}"}
    rows = door.read(reader, [path], options)
    pairs = list(zip(targets, columns, strict=True))
    if of_memories:
        _check_states(pairs, rows, path)
        pairs = [pair for pair in pairs if pair[0] not in COMPUTED]
    key = f"copied {len(values.tables)}"
    values.tables[key] = rows
    scan = exp.Table(this=exp.Anonymous(this=reader, expressions=[]))
    scan.meta["rows"] = key
    shown: list[exp.Expr] = [exp.column(name, table=reader, quoted=True) for _, name in pairs]
    query = exp.Select(expressions=shown, from_=exp.From(this=scan))
    names = [exp.to_identifier(name, quoted=True) for name, _ in pairs]
    return exp.Insert(this=exp.Schema(this=table.copy(), expressions=names), expression=query)


def _memory_column(name: str, context: StatementContext, table: exp.Table) -> str:
    known = {column for column, _ in MEMORY_COLUMNS}
    if fold(name) not in known:
        raise unknown("column", name, known, context, table)
    return fold(name)


def _check_states(pairs: list[tuple[str, str]], rows: pa.Table, path: str) -> None:
    """Refuse rows that no query could have given: what is archived would come back to life."""
    import pyarrow.compute as pc

    for target, column in pairs:
        states = pc.unique(rows.column(column)).to_pylist() if target == "state" else []
        odd = sorted(str(state) for state in states if state not in (None, "active"))
        if odd:
            raise DataError(
                f"the file {path} has memories that are {', '.join(odd)}: COPY takes active ones",
                hint="COPY (SELECT * FROM memories) TO writes active ones",
                code="22023",
            )


def _text(value: str) -> str:
    return exp.Literal.string(value).sql(dialect=PlainDuckDB)


def _copy_options(tree: exp.Copy, context: StatementContext) -> dict[str, str]:
    credentials = tree.args.get("credentials")
    if credentials is not None and any(credentials.args.values()):
        raise _refused("COPY with credentials", tree, context)
    options: dict[str, str] = {}
    for one in tree.args.get("params") or ():
        name = one.this.name.lower()
        value = one.args.get("expression")
        if name in options:
            raise _given_twice(name, one, context)
        options[name] = "true" if value is None else _printed(value, context)
    return options


def _arguments(
    call: exp.Expr, values: Values, context: StatementContext
) -> tuple[list[str], dict[str, str]]:
    """Return (paths, printed options) of a call that reads files."""
    paths: list[str] = []
    options: dict[str, str] = {}
    for number, argument in enumerate(call.expressions):
        if isinstance(argument, exp.EQ | exp.PropertyEQ | exp.Kwarg):
            name = argument.this.name.lower()
            if name in options:
                raise _given_twice(name, argument, context)
            options[name] = _printed(argument.expression, context)
        elif number == 0:
            listed = argument.expressions if isinstance(argument, exp.Array) else [argument]
            paths = [_path(node, values, context) for node in listed]
        else:
            raise _refused("a second argument without a name", argument, context)
    if not paths:
        raise _refused(f"{call.name} without the name of a file", call, context)
    return paths, options


def _path(node: exp.Expr, values: Values, context: StatementContext) -> str:
    value = values[node.name] if isinstance(node, exp.Placeholder) else None
    if isinstance(node, exp.Literal) and node.is_string:
        value = node.name
    if not isinstance(value, str):
        raise ProgrammingError(
            "the name of a file is a text or a parameter",
            position=position(context.text, node),
            statement=context.text,
            code="42601",
        )
    return value


def _printed(node: exp.Expr, context: StatementContext) -> str:
    """Return a literal as SQL; nothing in it may be looked up or computed."""
    for one in node.walk():
        word = isinstance(one, exp.Column) and not one.table and one is node
        odd = isinstance(one, exp.Var | exp.Identifier) and not one.name.replace("_", "").isalnum()
        if odd or not (word or isinstance(one, _LITERALS)):
            raise _refused("an option of a file that is no literal", node, context)
    if isinstance(node, exp.Column | exp.Var | exp.Identifier):
        return "'" + node.name + "'"
    return print_sql(node)


class _placed:
    """Gives errors of the door their place in the statement."""

    def __init__(self, node: exp.Expr, context: StatementContext) -> None:
        self._node, self._context = node, context

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ProgrammingError | NotSupportedError) and error.position is None:
            error.position = position(self._context.text, self._node)
            error.statement = self._context.text


def _door(what: str, node: exp.Expr, context: StatementContext) -> Door:
    if context.door is None:
        raise NotSupportedError(
            f"{what} is not possible: this connection reads and writes no files",
            hint="the administrator opens one that may: connect(..., allowed_folders=['/data'])",
            position=position(context.text, node),
            statement=context.text,
        )
    return context.door


def _given_twice(name: str, node: exp.Expr, context: StatementContext) -> ProgrammingError:
    return ProgrammingError(
        f"the option {name} is given twice",
        position=position(context.text, node),
        statement=context.text,
        code="42601",
    )


def _refused(
    what: str, node: exp.Expr, context: StatementContext
) -> NotSupportedError | ProgrammingError:
    return not_possible(what, context, position(context.text, node))


def _function(table: exp.Table) -> str:
    function = table.this
    if isinstance(function, exp.Anonymous):
        return function.name.lower()
    return function.sql_name().lower() if isinstance(function, exp.Func) else ""
