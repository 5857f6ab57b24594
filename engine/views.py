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
from memql.engine.names import position, position_of_word, unknown
from memql.engine.settings import LARGEST_STATEMENT_BYTES
from memql.engine.tables import Tables
from memql.errors import ProgrammingError

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
    """The views that one user may name: the user's own; all of them for the administrator.

    ``tables`` are the ordinary tables.

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
        """Return the views by name."""
        rows = self._cursor.execute(
            'SELECT "name", "owner", "text", "form", "model", "refresh", "created_at", '
            '"refreshed_at" FROM "_memql"."views" WHERE $everybody OR "owner" = $owner '
            'ORDER BY "name", "owner"',
            {"everybody": self._context.user is None, "owner": self._context.owner},
        ).fetchall()
        return [ViewEntry(*row) for row in rows]

    def names(self) -> Sequence[str]:
        """Return the names of all views that the user may name."""
        return [entry.name for entry in self.entries()]

    def own_names(self) -> Sequence[str]:
        """Return the names of the user's own views."""
        return [entry.name for entry in self.entries() if entry.owner == self._tables.owner]

    def find(self, name: str) -> ViewDefinition | None:
        """Return a view by name: the user's own before another's."""
        entry = self.entry(name)
        return None if entry is None else self.definition(entry)

    def relations(self) -> list[dict[str, Any]]:
        """Return a row for each ordinary table and view of the user's own."""
        rows: list[dict[str, Any]] = [
            {"name": table.name, "kind": "table", "columns": len(table.columns)}
            for table in self._tables.all()
        ]
        for entry in self.entries():
            if entry.owner == self._context.owner:
                rows.append({"name": entry.name, "kind": entry.kind, "columns": None})
        return sorted(rows, key=lambda row: str(row["name"]))

    def entry(self, name: str) -> ViewEntry | None:
        """Return the catalog's entry of a view, or None.

        Raises:
            ProgrammingError: the administrator named a view that several users have.
        """
        named = [entry for entry in self.entries() if entry.name.lower() == name.lower()]
        own = [entry for entry in named if entry.owner == self._tables.owner]
        if own or self._tables.named_by is not None:
            return own[0] if own else None  # the text of a view means its owner's names only
        if len(named) > 1:
            owners = ", ".join(entry.owner for entry in named)
            raise ProgrammingError(
                f"several users have a view {name}: {owners}",
                hint="connect as one of them",
                position=position_of_word(self._context.text, name),
                statement=self._context.text,
                code="42P09",
            )
        return named[0] if named else None

    def required(self, node: exp.Expr) -> ViewEntry:
        """Return the entry of the materialized view that ``node`` names.

        Raises:
            ProgrammingError: there is none, with the nearest name.
        """
        entry = self.entry(node.name)
        if entry is None or entry.form is None:
            known = [entry.name for entry in self.entries() if entry.form is not None]
            raise unknown("materialized view", node.name, known, self._context, node)
        return entry

    def definition(self, entry: ViewEntry) -> ViewDefinition:
        """Return a view as the binder needs it."""
        tree = _parsed(entry.text, self._parse)
        query = tree.this if isinstance(tree, syntax.Materialize) else tree
        assert isinstance(query, exp.Query)
        return ViewDefinition(entry.name, entry.owner, query, entry.form, entry.model)

    def add(self, entry: ViewEntry, *, replace: bool, exists: bool, node: exp.Expr) -> bool:
        """Add a view; tell whether it was added.

        Raises:
            ProgrammingError: the name is taken.
        """
        if entry.name.lower() == MEMORIES:
            raise ProgrammingError(
                "a view cannot be called memories",
                hint="give it another name",
                position=position(self._context.text, node),
                statement=self._context.text,
                code="42939",
            )
        old = [
            one
            for one in self.entries()
            if one.name.lower() == entry.name.lower() and one.owner == entry.owner
        ]
        kind = entry.kind
        if self._tables.find(entry.name) is not None:
            raise taken(entry.name, "table", kind, self._context, node)
        if old and old[0].kind != kind:
            raise taken(entry.name, old[0].kind, kind, self._context, node)
        if old and exists and not replace:
            return False
        if old and not replace:
            raise ProgrammingError(
                f"the {kind} {entry.name} exists already",
                hint=f"CREATE OR REPLACE {kind.upper()} replaces it",
                position=position(self._context.text, node),
                statement=self._context.text,
                code="42P07",
            )
        for one in old:
            self.remove(one)
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

    def remove(self, entry: ViewEntry) -> None:
        """Remove a view; what was compiled for it stays until it is evicted."""
        self._cursor.execute(
            'DELETE FROM "_memql"."views" WHERE "name" = $name AND "owner" = $owner',
            {"name": entry.name, "owner": entry.owner},
        )

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


TABLE_COLUMNS = {"name": "VARCHAR", "kind": "VARCHAR", "columns": "BIGINT"}


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
