"""Ordinary tables, types and sequences: the user's own, in a schema of DuckDB for each owner."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from memql.engine.context import StatementContext
from memql.engine.names import fold, position, quote, unknown
from memql.engine.rights import DEFAULT_OWNER, Rights
from memql.engine.syntax import TABLE_PRIVILEGES
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


def owner_of(schema: str) -> str | None:
    """Return whose tables a schema of DuckDB holds; None if it holds nobody's.

    >>> owner_of("main"), owner_of("of:alice"), owner_of("of:%41;l%25;"), owner_of("_memql")
    ('local', 'alice', 'Al%', None)
    """
    if schema == MAIN:
        return DEFAULT_OWNER
    if not schema.startswith("of:"):
        return None
    return re.sub("%([0-9a-f]+);", lambda found: chr(int(found[1], 16)), schema[3:])


@dataclass(frozen=True)
class OrdinaryTable:
    """A table that somebody created.

    Args:
        owner: whose it is.
        name: as it was created.
        columns: names in order.
        types: DuckDB's names of the columns' types.
    """

    owner: str
    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]

    @property
    def schema(self) -> str:
        """DuckDB's schema that holds it."""
        return schema_of(self.owner)

    @property
    def shown(self) -> str:
        """Its name with its owner's, as others write it."""
        return f"{self.owner}.{self.name}"

    def __deepcopy__(self, memo: object) -> OrdinaryTable:
        return self  # it stands in trees, which are copied, and is never changed


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

    These are the owner's own; those of others, for which there is a right, as ``owner.name``.

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
        """Return a table by its name, None if there is none of that name that may be read.

        Args:
            owner: what stood before the dot: "main", an owner, or nothing.
        """
        whose = self.named(owner)
        return self._tables(whose).get(fold(name)) if self.permits(whose, name) else None

    def to_change(self, table: exp.Expr, actions: Iterable[str]) -> OrdinaryTable | None:
        """Return the table that a name means, None if there is none for which there is a right.

        Args:
            actions: what is done to it: some of TABLE_PRIVILEGES.

        Raises:
            ProgrammingError: there is a right, but not to all of this.
        """
        whose = self.named(table.text("db"))
        right = self.has_right(whose, table.name)
        found = self._tables(whose).get(fold(table.name)) if right else None
        if found is not None:
            self.check(found, actions, table)
        return found

    def check(self, found: OrdinaryTable, actions: Iterable[str], node: exp.Expr) -> None:
        """Make sure that the user may do something to a table.

        Args:
            actions: some of TABLE_PRIVILEGES.
            node: where the statement asks for it.

        Raises:
            ProgrammingError: there is no right to one of them.
        """
        user = self.context.rights.name
        if found.owner == self.owner:
            return
        for action in actions:
            if user is not None and self.permits(found.owner, found.name, action):
                continue
            lacks = "only its owner writes it" if user is None else f"{user} may not {action} there"
            raise ProgrammingError(
                f"the table {found.shown} belongs to {found.owner}: {lacks}",
                hint=f"connect as {found.owner}"
                if user is None
                else f"{found.owner} gives the right: GRANT {action} ON {found.name} TO {user}",
                position=position(self.context.text, node),
                statement=self.context.text,
                code="42501",
            )

    def has_right(self, owner: str, name: str) -> bool:
        """Tell whether the user may do anything with a table or view of that name."""
        return any(self.permits(owner, name, action) for action in TABLE_PRIVILEGES)

    def permits(self, owner: str, name: str, action: str = "SELECT") -> bool:
        """Tell whether the user has a right, if there is a table or view of that name.

        In the text of a view that is so for what its owner has, or may give others to read.
        """
        return owner == self.owner or all(
            rights.has_table(owner, name, action, self.context.now)
            or (action == "SELECT" and self._gives(rights, owner, name))
            for rights in self.context.rights.moments
        )

    def reads_itself(self, owner: str, name: str) -> bool:
        """Tell whether the user may read a table without the view in whose text it stands."""
        now = self.context.now
        moments = self.context.rights.moments
        return all(rights.has_table(owner, name, "SELECT", now) for rights in moments)

    def hides(self, found: OrdinaryTable) -> str | None:
        """Return the name of a table that may be changed and not read; None if it may be read."""
        return None if self.reads_itself(found.owner, found.name) else found.shown

    def named(self, owner: str) -> str:
        """Return whose tables are meant by what stands before a dot, if anything does."""
        return self.owner if not owner or fold(owner) == MAIN else owner

    def names(self) -> list[str]:
        """Return the names of the user's own tables."""
        return sorted(table.name for table in self._tables(self.owner).values())

    def all(self) -> list[OrdinaryTable]:
        """Return the tables for which the user has a right, by name."""
        rights = self.context.rights
        found: list[OrdinaryTable] = []
        for owner in self._owners() if rights.name is None else rights.owners:
            found.extend(self._tables(owner).values())
        for owner, name in rights.catalog.table_grants if rights.name is not None else ():
            table = self._tables(owner).get(name) if self.has_right(owner, name) else None
            if table is not None and owner not in rights.owners:
                found.append(table)
        return sorted(found, key=lambda table: (table.name, table.owner))

    def known_names(self) -> list[str]:
        """Return the names of these tables as the user writes them."""
        return [table.name if table.owner == self.owner else table.shown for table in self.all()]

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

    def _gives(self, rights: Rights, owner: str, name: str) -> bool:
        """Tell whether the owner of the view in whose text a name stands may give it to readers."""
        if self.named_by is None:
            return False
        giver = Rights(self.named_by, None, rights.catalog)
        return giver.has_table(owner, name, "SELECT", self.context.now, grantable=True)

    def _owners(self) -> list[str]:
        """Return everybody who has tables."""
        sql = "SELECT schema_name FROM duckdb_schemas() WHERE database_name = current_database()"
        owners = (owner_of(schema) for (schema,) in self.cursor.execute(sql).fetchall())
        return sorted(owner for owner in owners if owner is not None)

    def _tables(self, owner: str) -> Mapping[str, OrdinaryTable]:
        schema = schema_of(owner)
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
                owner, name, tuple(c for c, _ in found), tuple(t for _, t in found)
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
    table.meta["ordinary"] = found


def ordinary_of(table: exp.Expr) -> OrdinaryTable | None:
    """Return the ordinary table that the binder found for a table of a tree."""
    found = table.meta.get("ordinary")
    assert found is None or isinstance(found, OrdinaryTable)
    return found


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


def calls_sequence(tree: exp.Expr) -> bool:
    """Tell whether a tree calls ``nextval`` or ``currval``."""
    return any(fold(node.name) in SEQUENCE_FUNCTIONS for node in tree.find_all(exp.Anonymous))


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
