"""Ordinary tables, types and sequences: the user's own, in a schema of DuckDB for each owner."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from memql.engine.context import StatementContext
from memql.engine.names import fold, position, quote, unknown
from memql.engine.rights import DEFAULT_OWNER
from memql.errors import NotSupportedError, ProgrammingError

if TYPE_CHECKING:
    import duckdb

# DuckDB's default schema, which holds what the owner `local` has.
MAIN = "main"


def schema_of(owner: str) -> str:
    """Return the schema of DuckDB that holds an owner's tables.

    DuckDB compares names without case, owners differ by it: capitals are spelled out, as is
    whatever else is no small letter, digit, ``_`` or ``-``.

    >>> schema_of("local"), schema_of("alice"), schema_of("Al%")
    ('main', 'of:alice', 'of:%41;l%25;')
    """
    if owner == DEFAULT_OWNER:
        return MAIN
    return "of:" + re.sub(r"[^a-z0-9_-]", lambda found: f"%{ord(found[0]):x};", owner)


@dataclass(frozen=True)
class OrdinaryTable:
    """A table of the user's own.

    Args:
        schema: DuckDB's schema that holds it.
        name: as it was created.
        columns: names in order.
        types: DuckDB's names of the columns' types.
    """

    schema: str
    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]


# What else a schema holds, and the query for its names.
_NAMES = {
    "type": (
        "SELECT type_name FROM duckdb_types() WHERE database_name = current_database() "
        "AND schema_name = $schema AND NOT internal"
    ),
    "sequence": (
        "SELECT sequence_name FROM duckdb_sequences() "
        "WHERE database_name = current_database() AND schema_name = $schema"
    ),
    "index": (
        "SELECT index_name FROM duckdb_indexes() "
        "WHERE database_name = current_database() AND schema_name = $schema"
    ),
}


@dataclass
class Tables:
    """The ordinary tables that the user of a statement may name, and what belongs to them.

    These are the owner's own; the administrator reads those of others as ``owner.name``.

    Args:
        cursor: whose transaction they are looked up in.
        context: the statement.
        known: what was looked up before and has not changed since.
        named_by: whose names are meant, where it is another than who asks: a view's owner.
    """

    cursor: duckdb.DuckDBPyConnection
    context: StatementContext
    known: dict[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    named_by: str | None = None

    @property
    def owner(self) -> str:
        """Whose names are meant."""
        return self.context.owner if self.named_by is None else self.named_by

    @property
    def schema(self) -> str:
        """The schema of the owner's tables."""
        return schema_of(self.owner)

    def of(self, owner: str) -> Tables:
        """Return the same tables as an owner names them, in the text of the owner's views."""
        return self if owner == self.owner else replace(self, named_by=owner)

    def find(self, name: str, owner: str = "") -> OrdinaryTable | None:
        """Return a table by its name, None if the user has none of that name.

        Args:
            owner: what stood before the dot: "main", an owner, or nothing.
        """
        schema = self._schema_named(owner)
        return None if schema is None else self._tables(schema).get(fold(name))

    def names(self) -> list[str]:
        """Return the names of the user's own tables."""
        return sorted(table.name for table in self._tables(self.schema).values())

    def all(self) -> list[OrdinaryTable]:
        """Return the user's own tables by name."""
        return sorted(self._tables(self.schema).values(), key=lambda table: table.name)

    def own(self, kind: str) -> Mapping[str, str]:
        """Return the names of the user's own types, sequences or indexes, by folded name.

        Args:
            kind: "type", "sequence" or "index".
        """
        found = self.known.get((kind, self.schema))
        if found is None:
            rows = self._rows(_NAMES[kind], self.schema)
            found = self.known[kind, self.schema] = {fold(name): name for (name,) in rows}
        return found

    def size_of_type(self, name: str) -> int:
        """Return how many characters the whole of a type of the user's own has, written out."""
        key = ("size of", f"{self.schema}.{name}")
        if key not in self.known:
            whole = f"{quote(self.schema)}.{quote(name)}"
            rows = self.cursor.execute(f"SELECT length(typeof(NULL::{whole}))").fetchall()
            self.known[key] = {"characters": rows[0][0]}
        return int(self.known[key]["characters"])

    def _schema_named(self, owner: str) -> str | None:
        if not owner or fold(owner) == MAIN or owner == self.owner:
            return self.schema
        return schema_of(owner) if self.context.user is None else None

    def _tables(self, schema: str) -> Mapping[str, OrdinaryTable]:
        found = self.known.get(("table", schema))
        if found is not None:
            return found
        columns: dict[str, list[tuple[str, str]]] = {}
        for table, column, kind in self._rows(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() "
            "WHERE database_name = current_database() AND schema_name = $schema AND NOT internal "
            "ORDER BY table_oid, column_index",
            schema,
        ):
            columns.setdefault(table, []).append((column, kind))
        read = {
            fold(name): OrdinaryTable(
                schema, name, tuple(c for c, _ in found), tuple(t for _, t in found)
            )
            for name, found in columns.items()
        }
        self.known["table", schema] = read
        return read

    def _rows(self, sql: str, schema: str) -> list[tuple[str, ...]]:
        return self.cursor.execute(sql, {"schema": schema}).fetchall()


def read_ordinary(table: exp.Table, found: OrdinaryTable) -> None:
    """Put, in place, the schema that holds an ordinary table into a tree."""
    if not table.alias:
        alias = table.args.get("alias") or exp.TableAlias()
        alias.set("this", exp.to_identifier(table.name, quoted=True))
        table.set("alias", alias)
    table.set("this", exp.to_identifier(found.name, quoted=True))
    table.set("db", exp.to_identifier(found.schema, quoted=True))
    table.meta["ordinary"] = True


def is_ordinary(table: exp.Expr) -> bool:
    """Tell whether a table is an ordinary one that the binder found."""
    return bool(table.meta.get("ordinary"))


def resolve_types(tree: exp.Expr, tables: Tables, context: StatementContext) -> None:
    """Put, in place, the schema before each type that is the user's own.

    Raises:
        ProgrammingError: an unknown type, with the nearest known one.
    """
    characters = 0
    for node in tree.find_all(exp.DataType):
        words = node.args.get("words") or []
        if not words or node.meta.get("own"):
            continue
        name = words[-1].name
        bare = len(words) == 1 or (len(words) == 2 and fold(words[0].name) == MAIN)
        if bare and fold(name) in BUILTIN_TYPES:
            continue
        own = tables.own("type").get(fold(name)) if bare else None
        if own is not None:
            qualified = [exp.to_identifier(part, quoted=True) for part in (tables.schema, own)]
            node.set("this", exp.DType.USERDEFINED)
            node.set("words", qualified)
            node.meta["own"] = True
            # A type of types of types doubles with each statement, and DuckDB writes it out whole.
            characters += tables.size_of_type(own)
            if characters > MAX_TYPE_CHARACTERS:
                raise too_large_type(characters, context)
        elif node.this == exp.DType.USERDEFINED:
            shown = ".".join(word.name for word in words)
            known = tables.own("type").values()
            raise unknown("type", shown, known, context, node.parent or node)


def too_large_type(characters: int, context: StatementContext) -> ProgrammingError:
    """Return the error for types that are too large, written out whole."""
    return ProgrammingError(
        f"the types of the statement have {characters:,} characters, written out whole; at most "
        f"{MAX_TYPE_CHARACTERS:,} are possible",
        hint="put the values into a table of their own, or into JSON",
        statement=context.text,
        code="54001",
    )


def resolve_sequences(tree: exp.Expr, tables: Tables, context: StatementContext) -> None:
    """Put, in place, the schema into the name in each ``nextval('name')`` and ``currval('name')``.

    Raises:
        ProgrammingError: there is no such sequence of the user's own.
        NotSupportedError: the name is not written out.
    """
    for node in tree.find_all(exp.Anonymous):
        if fold(node.name) not in SEQUENCE_FUNCTIONS or node.meta.get("own"):
            continue
        name = node.expressions[0] if len(node.expressions) == 1 else None
        if not isinstance(name, exp.Literal) or not name.is_string:
            raise NotSupportedError(
                f"{node.name} takes the name of a sequence as a text that is written out",
                hint=f"{node.name}('name')",
                position=position(context.text, node),
                statement=context.text,
            )
        own = tables.own("sequence")
        found = own.get(fold(name.name.removeprefix(f"{MAIN}.")))
        if found is None:
            raise unknown("sequence", name.name, own.values(), context, node)
        text = f"{quote(tables.schema)}.{quote(found)}"
        name.replace(exp.Literal.string(text))
        node.meta["own"] = True


MAX_TYPE_CHARACTERS = 100_000

SEQUENCE_FUNCTIONS = frozenset({"nextval", "currval"})

# DuckDB's own types that sqlglot has no name for.
BUILTIN_TYPES = frozenset(
    """
    array binary bit bitstring blob bpchar datetime dec enum float4 guid hugeint int int1 int16
    int64 int8 integral interval list long map null numeric nvarchar oid real row short signed
    struct timestamptz timestamp_s timestamp_us type uint128 uint16 uint64 uint8 uinteger utinyint
    uuid varbinary variant varint bigint bignum bool boolean bytea char date decimal double float
    float8 geometry int128 int2 int32 int4 integer logical smallint string text time
    timestamp timestamptz_ns timestamp_ms timestamp_ns timetz time_ns tinyint tuple ubigint uhugeint
    uint32 union usmallint varchar json any
    """.split()
) | {"timestamp with time zone", "time with time zone"}
