"""Views: named queries; the derived form of a materialized one is computed ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.shape import MEMORIES
from memql.engine.bind.sources import ViewDefinition, kind_of_view
from memql.engine.context import StatementContext
from memql.engine.names import fold, position, position_of_word, unknown
from memql.engine.settings import LARGEST_STATEMENT_BYTES
from memql.engine.tables import Tables
from memql.errors import ProgrammingError
from memql.storage import governance

if TYPE_CHECKING:
    import duckdb

Parse = Callable[[str, int], exp.Expr]


@dataclass(frozen=True)
class ViewEntry:
    """A view as the catalog holds it; ``text`` is its query with the MATERIALIZE clause.

    ``form`` is None for a plain view.
    """

    name: str
    owner: str
    text: str
    form: str | None
    model: str | None
    refresh: str
    created_at: datetime
    refreshed_at: datetime | None

    @property
    def kind(self) -> str:
        """What statements call it."""
        return kind_of_view(self.form)


class ViewCatalog:
    """The views that one user may name: the user's own, and those of others that may be read.

    The administrator of an embedded store reads everybody's; one that nobody else has needs no
    owner before its name.

    Args:
        cursor: the session's cursor; DDL belongs to its transaction.
        context: the statement.
        parse: text, and how many bytes it may have, to tree; stored views are kept as text.
        tables: the ordinary tables that the user may name.
    """

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        context: StatementContext,
        parse: Parse,
        tables: Tables,
    ) -> None:
        self._cursor = cursor
        self._context = context
        self._parse = parse
        self._tables = tables

    @property
    def tables(self) -> Tables:
        """The ordinary tables that the user may name."""
        return self._tables

    def of(self, owner: str) -> ViewCatalog:
        """Return the same views as an owner names them, in the text of the owner's views."""
        tables = self._tables.of(owner)
        if tables is self._tables:
            return self
        return ViewCatalog(self._cursor, self._context, self._parse, tables)

    def entries(self) -> list[ViewEntry]:
        """Return the views that the user may read, by name."""
        rights = self._context.rights
        granted = {owner for owner, _ in rights.catalog.table_grants}
        owners = None if rights.name is None else [*rights.owners, *granted]
        return [
            entry
            for entry in self._read(owners)
            if rights.name is None
            or entry.owner in rights.owners
            or self._tables.permits(entry.owner, entry.name)
        ]

    def names(self) -> Sequence[str]:
        """Return the names of these views as the user writes them."""
        return [
            entry.name if entry.owner == self._tables.owner else f"{entry.owner}.{entry.name}"
            for entry in self.entries()
        ]

    def own_names(self) -> Sequence[str]:
        """Return the names of the user's own views."""
        return [entry.name for entry in self._read([self._tables.owner])]

    def own_materialized(self) -> Sequence[ViewDefinition]:
        """Return the user's own materialized views, by name."""
        own = self._read([self._tables.owner])
        return [self.definition(entry) for entry in own if entry.form is not None]

    def find(self, name: str, owner: str = "") -> ViewDefinition | None:
        """Return a view by name, None if there is none of that name that may be read.

        Args:
            owner: what stood before the dot: "main", an owner, or nothing.
        """
        entry = self.entry(name, owner)
        return None if entry is None else self.definition(entry)

    def relations(self) -> list[dict[str, Any]]:
        """Return a row for each ordinary table and view for which the user has a right."""
        rows: list[dict[str, Any]] = [
            {
                "name": table.name,
                "owner": table.owner,
                "kind": "table",
                "columns": len(table.columns),
            }
            for table in self._tables.all()
        ]
        for entry in self.entries():
            rows.append(
                {"name": entry.name, "owner": entry.owner, "kind": entry.kind, "columns": None}
            )
        return sorted(rows, key=lambda row: (str(row["name"]), str(row["owner"])))

    def entry(self, name: str, owner: str = "") -> ViewEntry | None:
        """Return the catalog's entry of a view, or None.

        Args:
            owner: as for :meth:`find`.

        Raises:
            ProgrammingError: the administrator named a view that several users have.
        """
        whose = self._tables.named(owner)
        if self._tables.permits(whose, name):
            for entry in self._read([whose]):
                if fold(entry.name) == fold(name):
                    return entry
        # The text of a view means its owner's names only.
        if owner or self._context.user is not None or self._tables.named_by is not None:
            return None
        found = [entry for entry in self._read(None) if fold(entry.name) == fold(name)]
        if len(found) > 1:
            owners = ", ".join(entry.owner for entry in found)
            raise ProgrammingError(
                f"several users have a view {name}: {owners}",
                hint=f"name one of them: {found[0].owner}.{name}",
                position=position_of_word(self._context.text, name),
                statement=self._context.text,
                code="42P09",
            )
        return found[0] if found else None

    def required(self, node: exp.Expr) -> ViewEntry:
        """Return the entry of the user's own materialized view that ``node`` names.

        Raises:
            ProgrammingError: there is none, with the nearest name.
        """
        entry = self.own(node.name)
        if entry is None or entry.form is None:
            own = self._read([self._tables.owner])
            known = [entry.name for entry in own if entry.form is not None]
            raise unknown("materialized view", node.name, known, self._context, node)
        return entry

    def own(self, name: str) -> ViewEntry | None:
        """Return the entry of the user's own view of a name, or None."""
        own = self._read([self._tables.owner])
        return next((entry for entry in own if fold(entry.name) == fold(name)), None)

    def _read(self, owners: list[str] | None) -> list[ViewEntry]:
        """Return the views of some owners by name; None is everybody."""
        rows = self._cursor.execute(
            'SELECT "name", "owner", "text", "form", "model", "refresh", "created_at", '
            '"refreshed_at" FROM "_memql"."views" WHERE $everybody OR "owner" IN $owners '
            'ORDER BY "name", "owner"',
            {"everybody": owners is None, "owners": owners or []},
        ).fetchall()
        return [ViewEntry(*row) for row in rows]

    def definition(self, entry: ViewEntry) -> ViewDefinition:
        """Return a view as the binder needs it."""
        tree = _parsed(entry.text, self._parse)
        query = tree.this if isinstance(tree, syntax.Materialize) else tree
        assert isinstance(query, exp.Query)
        # Creating the view has checked its options.
        options = tree.args.get("options") or ()
        order = next((one.expression.name for one in options), "canonical")
        return ViewDefinition(entry.name, entry.owner, query, entry.form, entry.model, order)

    def add(self, entry: ViewEntry, *, replace: bool, exists: bool, node: exp.Expr) -> bool:
        """Add a view; tell whether it was added.

        Raises:
            ProgrammingError: the name is taken.
        """
        if fold(entry.name) == MEMORIES:
            raise ProgrammingError(
                "a view cannot be called memories",
                hint="give it another name",
                position=position(self._context.text, node),
                statement=self._context.text,
                code="42939",
            )
        old = self.own(entry.name)
        kind = entry.kind
        if self._tables.find(entry.name) is not None:
            raise taken(entry.name, "table", kind, self._context, node)
        if old is not None and old.kind != kind:
            raise taken(entry.name, old.kind, kind, self._context, node)
        if old is not None and exists and not replace:
            return False
        if old is not None and not replace:
            raise ProgrammingError(
                f"the {kind} {entry.name} exists already",
                hint=f"CREATE OR REPLACE {kind.upper()} replaces it",
                position=position(self._context.text, node),
                statement=self._context.text,
                code="42P07",
            )
        if old is not None:
            self.remove(old, replaced=True)
        else:
            governance.drop_table_grants(self._cursor, entry.owner, entry.name)
        self._cursor.execute(
            'INSERT INTO "_memql"."views" ("name", "owner", "text", "form", "model", "refresh", '
            '"created_at", "refreshed_at") VALUES ($name, $owner, $text, $form, $model, $refresh, '
            "$created_at, $refreshed_at)",
            {
                "name": entry.name,
                "owner": entry.owner,
                "text": entry.text,
                "form": entry.form,
                "model": entry.model,
                "refresh": entry.refresh,
                "created_at": entry.created_at,
                "refreshed_at": entry.refreshed_at,
            },
        )
        return True

    def remove(self, entry: ViewEntry, *, replaced: bool = False) -> None:
        """Remove a view; what was compiled for it stays until it is evicted.

        Args:
            replaced: whether another takes its place, on which the grants stay.
        """
        self._cursor.execute(
            'DELETE FROM "_memql"."views" WHERE "name" = $name AND "owner" = $owner',
            {"name": entry.name, "owner": entry.owner},
        )
        if not replaced:
            governance.drop_table_grants(self._cursor, entry.owner, entry.name)

    def set_refresh(self, entry: ViewEntry, mode: str) -> None:
        """Change when the view is computed ahead."""
        self._cursor.execute(
            'UPDATE "_memql"."views" SET "refresh" = $mode '
            'WHERE "name" = $name AND "owner" = $owner',
            {"mode": mode, "name": entry.name, "owner": entry.owner},
        )

    def refreshed(self, entry: ViewEntry) -> None:
        """Note that the view was compiled now."""
        self._cursor.execute(
            'UPDATE "_memql"."views" SET "refreshed_at" = $now '
            'WHERE "name" = $name AND "owner" = $owner',
            {"now": self._context.now, "name": entry.name, "owner": entry.owner},
        )


TABLE_COLUMNS = {
    "name": "VARCHAR",
    "owner": "VARCHAR",
    "kind": "VARCHAR",
    "columns": "BIGINT",
}


def taken(
    name: str, what: str, wanted: str, context: StatementContext, node: exp.Expr
) -> ProgrammingError:
    """Return the error for a name that something of another kind has.

    Args:
        what: what has the name.
        wanted: what was to be made.
    """
    return ProgrammingError(
        f"{name} is a {what} already: there cannot be a {wanted} of that name",
        hint=f"give it another name, or DROP {what.upper()} {name}",
        position=position(context.text, node),
        statement=context.text,
        code="42P07",
    )


@lru_cache(maxsize=256)
def _parsed(text: str, parse: Parse) -> exp.Expr:
    # What was stored was within the limit of its time.
    tree = parse(text, LARGEST_STATEMENT_BYTES)
    for node in tree.walk():
        # Places in the view's text, which would be drawn under the text of the statement.
        node.meta.clear()
    return tree
