"""Runs one statement of governance: its rows and its row of the audit are one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.options import constant_value
from memql.engine.bind.query import QueryBinder
from memql.engine.catalogchanges import CatalogChanges
from memql.engine.context import StatementContext
from memql.engine.govern.grants import grant, revoke
from memql.engine.govern.policies import alter_policy, create_policy, drop_policy
from memql.engine.govern.roles import grant_role, revoke_role, set_role
from memql.engine.govern.ruling import Change, Ruling, note, without_literals
from memql.engine.govern.users import alter_role, create_role, drop_role
from memql.engine.names import not_possible, position, unknown
from memql.engine.rights import Identity
from memql.engine.run.executor import Executor
from memql.engine.run.views import ViewRunner
from memql.errors import DataError


@dataclass(frozen=True)
class Governor:
    """Runs one statement of governance.

    Args:
        executor: on the cursor of the session's transaction.
        binder: binds the moments in it.
        views: the views and tables that it may name.
        identity: who the connection is.
        changes: through which the catalog is changed.
    """

    executor: Executor
    binder: QueryBinder
    views: ViewRunner
    identity: Identity
    changes: CatalogChanges

    @property
    def context(self) -> StatementContext:
        """The statement."""
        return self.executor.context

    def run(self, tree: exp.Expr) -> None:
        """Run a statement of governance.

        Raises:
            ProgrammingError: a transaction is open, a name is unknown or taken, or who asks may
                not do this.
        """
        name, make = _STATEMENTS[type(tree)]
        action = f"{name} {tree.args['kind']}" if "kind" in tree.args else name
        self.changes.refuse_inside(action)
        # Values are read and passwords hashed first: nobody waits for that.
        change = make(tree, self)

        def rule() -> None:
            rights = self.identity.rights(self.executor.store, self.context.now)
            ruling = Ruling(rights, self.executor.cursor, self.context)
            target = change(ruling)
            text = self.views.write(without_literals(tree))
            note(ruling.cursor, rights, action, target, {"statement": text})

        self.changes.governed(rule)
        if isinstance(tree, syntax.SetRole):
            self.identity.role = None if tree.this is None else tree.this.name

    # -- values in statements -----------------------------------------------------------------

    def constant(self, node: exp.Expr, what: str) -> Any:
        """Return the value of a literal, a word or a parameter."""
        return constant_value(node, what, self.executor.values, self.context)

    def moment(self, node: exp.Expr, what: str) -> datetime | None:
        """Return the time that an expression is; None for 'infinity'.

        Args:
            what: the words before it, for errors.

        Raises:
            DataError: it is no time.
            NotSupportedError: it reads rows.
        """
        place = position(self.context.text, node)
        if node.find(exp.Query, exp.AggFunc, exp.Window, exp.Unnest, exp.Explode) is not None:
            raise not_possible(f"a query behind {what}", self.context, place)
        column = node.find(exp.Column)
        if column is not None:
            raise unknown("column", column.name, [], self.context, column)
        cast = exp.Cast(this=node.copy(), to=exp.DataType(this=exp.DType.TIMESTAMPTZ))
        query = exp.Select(expressions=[exp.alias_(cast, "moment")])
        rows = self.executor.run(self.binder.bind(query)).rows
        assert rows is not None  # a query
        [(value, *_)] = rows.fetchall()  # nothing in the expression makes more rows, or none
        if value == datetime.max:
            return None  # DuckDB's 'infinity'
        if not isinstance(value, datetime):
            raise DataError(
                f"{what} takes a time up to the year 9999, found {value or 'NULL'}",
                hint="UNTIL 'infinity' is no end",
                position=place,
                statement=self.context.text,
                code="22008",
            )
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# What the audit calls each, and what makes its change.
_STATEMENTS: Mapping[type[exp.Expr], tuple[str, Callable[[Any, Governor], Change]]] = {
    syntax.CreateRole: ("CREATE", create_role),
    syntax.AlterRole: ("ALTER", alter_role),
    syntax.DropRole: ("DROP", drop_role),
    syntax.GrantRole: ("GRANT", grant_role),
    syntax.RevokeRole: ("REVOKE", revoke_role),
    syntax.SetRole: ("SET ROLE", set_role),
    syntax.Grant: ("GRANT", grant),
    syntax.Revoke: ("REVOKE", revoke),
    syntax.CreatePolicy: ("CREATE POLICY", create_policy),
    syntax.AlterPolicy: ("ALTER POLICY", alter_policy),
    syntax.DropPolicy: ("DROP POLICY", drop_policy),
}
GOVERNING: tuple[type[exp.Expr], ...] = tuple(_STATEMENTS)
