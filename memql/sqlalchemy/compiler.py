"""SQLAlchemy's trees as MemQL: PostgreSQL's SQL, but where DuckDB's is another."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from sqlalchemy import Column, Connection, Sequence, Table, event, exc
from sqlalchemy import types as sqltypes
from sqlalchemy.dialects.postgresql.base import PGCompiler, PGIdentifierPreparer
from sqlalchemy.schema import CreateSequence, DropSequence
from sqlalchemy.sql import compiler

NAME = "memql"


class MemQLCompiler(PGCompiler):
    """Writes statements."""

    # PostgreSQL's operator ~ looks anywhere in a text, DuckDB's compares all of it.
    def visit_regexp_match_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """``text ~ pattern``."""
        return self._regexp("regexp_matches", binary, [], kw)

    def visit_not_regexp_match_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """``text !~ pattern``."""
        return f"NOT {self._regexp('regexp_matches', binary, [], kw)}"

    def visit_regexp_replace_op_binary(self, binary: Any, operator: Any, **kw: Any) -> str:
        """Every match replaced, as in other databases only with the flag g."""
        return self._regexp("regexp_replace", binary, [], kw)

    def _regexp(self, function: str, binary: Any, more: list[str], kw: dict[str, Any]) -> str:
        flags = binary.modifiers["flags"]
        parts = [self.process(binary.left, **kw), self.process(binary.right, **kw), *more]
        if flags is not None:
            parts.append(_text(flags))
        return f"{function}({', '.join(parts)})"

    def visit_json_getitem_op_binary(
        self, binary: Any, operator: Any, _cast_applied: bool = False, **kw: Any
    ) -> str:
        """A member or an element of a JSON value."""
        return self._json(binary, kw)

    def visit_json_path_getitem_op_binary(
        self, binary: Any, operator: Any, _cast_applied: bool = False, **kw: Any
    ) -> str:
        """What a path leads to in a JSON value."""
        return self._json(binary, kw)

    def _json(self, binary: Any, kw: dict[str, Any]) -> str:
        value, path = self.process(binary.left, **kw), self.process(binary.right, **kw)
        kind = binary.type._type_affinity
        if kind is sqltypes.JSON:
            return f"json_extract({value}, {path})"
        text = f"json_extract_string({value}, {path})"
        if kind is sqltypes.String:
            return text
        return f"CAST({text} AS {self.dialect.type_compiler_instance.process(binary.type)})"

    def for_update_clause(self, select: Any, **kw: Any) -> str:
        """Nothing: a transaction sees a snapshot, and whoever writes second is told so."""
        return ""

    def visit_sequence(  # type: ignore[override]  # PostgreSQL's has another name for it
        self, sequence: Any, **kw: Any
    ) -> str:
        """The next value of a sequence."""
        return next_value(sequence)

    def visit_empty_set_expr(self, element_types: Any, **kw: Any) -> str:
        """The right side of IN over no values."""
        kinds = [
            self.dialect.type_compiler_instance.process(sqltypes.Integer() if one._isnull else one)
            for one in element_types or [sqltypes.Integer()]
        ]
        nulls = ", ".join(f"CAST(NULL AS {kind})" for kind in kinds)
        return f"SELECT {nulls} WHERE 1 != 1"


class MemQLDDLCompiler(compiler.DDLCompiler):
    """Writes definitions."""

    def get_column_specification(self, column: Column[Any], **kwargs: Any) -> str:
        """A column; one that counts by itself takes the values of its sequence."""
        kind = self.dialect.type_compiler_instance.process(column.type, type_expression=column)
        parts = [self.preparer.format_column(column), kind]
        default = self.get_column_default_string(column)
        if default is None and counts_by_itself(column):
            default = next_value(sequence_of(column))
        if default is not None:
            parts.append(f"DEFAULT {default}")
        if column.computed is not None:
            parts.append(self.process(column.computed))
        if not column.nullable:
            parts.append("NOT NULL")
        return " ".join(parts)

    def visit_computed_column(self, generated: Any, **kw: Any) -> str:
        """A column that is computed of others when it is read; none is stored."""
        if generated.persisted is True:
            raise exc.CompileError("MemQL has computed columns that are VIRTUAL, none are STORED")
        text = self.sql_compiler.process(generated.sqltext, include_table=False, literal_binds=True)
        return f"GENERATED ALWAYS AS ({text}) VIRTUAL"

    def get_identity_options(self, identity_options: Any) -> str:
        """The options of a sequence, without those that say that there is none."""
        text = super().get_identity_options(identity_options)
        return re.sub(r"\bNO (?:MINVALUE|MAXVALUE)\s*", "", text).strip()

    def visit_set_table_comment(self, create: Any, **kw: Any) -> str:
        """Refused: tables have no comments."""
        raise exc.CompileError("MemQL keeps no comments on tables")

    def define_constraint_cascades(self, constraint: Any) -> str:
        """Foreign keys refuse what would break them; they change no other table."""
        for action in (constraint.ondelete, constraint.onupdate):
            if action and action.upper() not in ("NO ACTION", "RESTRICT"):
                raise exc.CompileError(f"MemQL's foreign keys have no {action}")
        return ""


class MemQLTypeCompiler(compiler.GenericTypeCompiler):
    """Writes types; DuckDB's FLOAT has four bytes, SQLAlchemy's is Python's."""

    def visit_FLOAT(self, type_: Any, **kw: Any) -> str:
        """Python's float."""
        return "DOUBLE"

    def visit_DOUBLE(self, type_: Any, **kw: Any) -> str:
        """Python's float."""
        return "DOUBLE"

    def visit_DOUBLE_PRECISION(self, type_: Any, **kw: Any) -> str:
        """Python's float."""
        return "DOUBLE"

    def visit_DATETIME(self, type_: Any, **kw: Any) -> str:
        """A moment, with or without a time zone."""
        return self.visit_TIMESTAMP(type_, **kw)

    def visit_TIMESTAMP(self, type_: Any, **kw: Any) -> str:
        """A moment, with or without a time zone."""
        return "TIMESTAMP WITH TIME ZONE" if type_.timezone else "TIMESTAMP"

    def visit_TIME(self, type_: Any, **kw: Any) -> str:
        """A time of day, with or without a time zone."""
        return "TIME WITH TIME ZONE" if type_.timezone else "TIME"

    def visit_large_binary(self, type_: Any, **kw: Any) -> str:
        """Bytes."""
        return "BLOB"

    def visit_BINARY(self, type_: Any, **kw: Any) -> str:
        """Bytes; none have a fixed length."""
        return "BLOB"

    def visit_VARBINARY(self, type_: Any, **kw: Any) -> str:
        """Bytes; none have a largest length."""
        return "BLOB"

    def visit_NVARCHAR(self, type_: Any, **kw: Any) -> str:
        """Text; all is Unicode."""
        return "VARCHAR"

    def visit_uuid(self, type_: Any, **kw: Any) -> str:
        """An id."""
        return "UUID" if type_.native_uuid else "VARCHAR"

    def visit_UUID(self, type_: Any, **kw: Any) -> str:
        """An id."""
        return "UUID"

    def visit_JSON(self, type_: Any, **kw: Any) -> str:
        """JSON."""
        return "JSON"

    def visit_ARRAY(self, type_: Any, **kw: Any) -> str:
        """A list."""
        return self.process(type_.item_type, **kw) + "[]" * (type_.dimensions or 1)


class MemQLIdentifierPreparer(PGIdentifierPreparer):
    """Quotes names."""


class MemQLNumeric(sqltypes.Numeric[Any]):
    """A decimal number; DuckDB divides decimals as doubles, which become decimals again here."""

    def result_processor(self, dialect: Any, coltype: object) -> Any:
        """Return what makes the value that was asked for of the one that came."""
        wanted = Decimal if self.asdecimal else float

        def process(value: Any) -> Any:
            if value is None or isinstance(value, wanted):
                return value
            return wanted(str(value))

        return process


class JSONIndex(sqltypes.JSON.JSONIndexType):
    """A name or a place in a JSON value, as a path."""

    def bind_processor(self, dialect: Any) -> Any:
        """Return what makes a path of an index."""
        return lambda value: "$" + _step(value)

    def literal_processor(self, dialect: Any) -> Any:
        """Return what writes a path into a statement."""
        return lambda value: _text("$" + _step(value))


class JSONPath(sqltypes.JSON.JSONPathType):
    """Several of them."""

    def bind_processor(self, dialect: Any) -> Any:
        """Return what makes a path of indexes."""
        return lambda value: "$" + "".join(map(_step, value))

    def literal_processor(self, dialect: Any) -> Any:
        """Return what writes a path into a statement."""
        return lambda value: _text("$" + "".join(map(_step, value)))


def _step(index: int | str) -> str:
    if isinstance(index, int):
        return f"[{index}]" if index >= 0 else f"[#{index}]"
    escaped = index.replace("\\", "\\\\").replace('"', '\\"')
    return f'."{escaped}"'


def next_value(sequence: Any) -> str:
    """Return the call that gives the next value of a sequence, by its plain name."""
    return f"nextval({_text(sequence.name)})"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# -- columns that count by themselves ---------------------------------------------------------


def counts_by_itself(column: Column[Any]) -> bool:
    """Tell whether a column of a table gets its values from a sequence of its own."""
    if column.identity is not None:
        return True
    table = column.table
    unfilled = column.default is None and column.server_default is None
    return unfilled and isinstance(table, Table) and column is table.autoincrement_column


def sequence_of(column: Column[Any]) -> Sequence:
    """Return the sequence of a column that counts by itself."""
    options: dict[str, Any] = {"schema": column.table.schema}
    if column.identity is not None:
        options |= {"start": column.identity.start, "increment": column.identity.increment}
    return Sequence(f"{column.table.name}_{column.name}_seq", **options)


@event.listens_for(Table, "before_create")
def _create_sequences(table: Table, connection: Connection, **kw: Any) -> None:
    for column in table.columns if connection.dialect.name == NAME else ():
        if counts_by_itself(column):
            connection.execute(CreateSequence(sequence_of(column), if_not_exists=True))


@event.listens_for(Table, "after_drop")
def _drop_sequences(table: Table, connection: Connection, **kw: Any) -> None:
    for column in table.columns if connection.dialect.name == NAME else ():
        if counts_by_itself(column):
            connection.execute(DropSequence(sequence_of(column), if_exists=True))
