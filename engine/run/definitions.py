"""Runs definitions: views, models, and the user's ordinary tables."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.definitions import DEFINITIONS, bind_definition
from memql.engine.bind.options import option_values
from memql.engine.bind.query import QueryBinder
from memql.engine.catalogchanges import CatalogChanges
from memql.engine.govern.statements import GOVERNING, Governor
from memql.engine.result import Result
from memql.engine.rights import Identity, RightsChanged, rights_hold
from memql.engine.run.executor import Executor
from memql.engine.run.tables import run_definition
from memql.engine.run.views import ViewRunner
from memql.engine.unbuilt import refusal


@dataclass(frozen=True)
class Definer:
    """Runs the definition that one statement is.

    Args:
        executor: on the cursor of the session's transaction.
        binder: binds the queries in it.
        views: runs what concerns views.
        identity: who the connection is.
        changes: through which the catalog is changed.
    """

    executor: Executor
    binder: QueryBinder
    views: ViewRunner
    identity: Identity
    changes: CatalogChanges

    def run(self, tree: exp.Expr) -> Result:
        """Run a definition.

        Raises:
            NotSupportedError: the statement is not one that MemQL runs.
            RightsChanged: who may read what changed meanwhile; nothing of it stays.
        """
        context, values, models = (
            self.executor.context,
            self.executor.values,
            self.executor.models,
        )
        views = self.views.views
        if isinstance(tree, syntax.CreateMaterializedView):
            self.views.create(tree)
        elif isinstance(tree, syntax.RefreshMaterializedView):
            self.views.refresh(views.required(tree.this))
        elif isinstance(tree, syntax.AlterMaterializedView):
            options = option_values(tree.args["options"], values, context)
            self.views.alter(tree, options)
        elif isinstance(tree, syntax.DropMaterializedView):
            self.views.drop(tree)
        elif isinstance(tree, syntax.CreateModel):
            self.changes.locked(lambda: models.create(tree, values, context))
        elif isinstance(tree, syntax.DropModel):
            self.changes.locked(lambda: models.drop(tree, context))
        elif isinstance(tree, GOVERNING):
            Governor(self.executor, self.binder, self.views, self.identity, self.changes).run(tree)
        elif isinstance(tree, DEFINITIONS):
            return self._define(tree)
        else:
            raise refusal(tree)
        return Result()

    def _define(self, tree: exp.Expr) -> Result:
        if str(tree.args.get("kind") or "").upper() == "VIEW":
            if isinstance(tree, exp.Create):
                self.views.create_plain(tree)
                return Result()
            if isinstance(tree, exp.Drop):
                self.views.drop_plain(tree)
                return Result()
        context, counts = self.executor.context, list[int]()
        reads = tree.find(exp.Query) is not None

        def define() -> None:
            # Bound inside the transaction: the name is free then and stays so.
            executor = replace(self.executor, in_transaction=True)
            counts.append(run_definition(bind_definition(tree, self.binder), executor))
            # The rights were read before the rows that are kept.
            own = not self.executor.in_transaction
            if reads and own and not rights_hold(context.rights, self.executor.store):
                raise RightsChanged

        # A query takes its time: others must be able to commit meanwhile.
        (self.changes.alone if reads else self.changes.locked)(define)
        return Result(rowcount=counts[0])
