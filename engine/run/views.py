"""Runs CREATE, REFRESH, DROP and SHOW of materialized views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.options import check_option_names
from memql.engine.bind.parameters import Values
from memql.engine.bind.query import QueryBinder
from memql.engine.context import StatementContext
from memql.engine.names import fold, position, position_of_word
from memql.engine.plan import Materialize, Relation
from memql.engine.printing import print_query
from memql.engine.run.executor import Executor, Trace
from memql.engine.settings import LARGEST_STATEMENT_BYTES
from memql.engine.unbuilt import not_yet
from memql.engine.views import Parse, ViewCatalog, ViewEntry
from memql.errors import Error, NotSupportedError, ProgrammingError


@dataclass(frozen=True)
class ViewRunner:
    """Runs the statement of one view.

    Args:
        views: the views that the user may name.
        executor: runs their queries.
        parse: text to tree.
        write: tree to text.
        locked: runs a change of the catalog in its transaction.
    """

    views: ViewCatalog
    executor: Executor
    parse: Parse
    write: Callable[[exp.Expr], str]
    locked: Callable[[Callable[[], object]], None]

    def create(self, tree: syntax.CreateMaterializedView) -> None:
        """Add a view and, unless WITH NO DATA, compute its form; if that fails it is not there.

        Raises:
            NotSupportedError: a refresh mode that is not there yet, or a view of answers.
            ProgrammingError: the name is taken, or the query is wrong.
        """
        context = self.executor.context
        mode = tree.args.get("refresh")
        refresh = mode.this if mode is not None else "ON DEMAND"
        _check_refresh(refresh, self.executor.context)
        definition = tree.expression
        if definition.find(syntax.Generate):
            raise NotSupportedError(
                "a view of generate is not possible: answers are not kept",
                hint="CREATE MATERIALIZED VIEW v AS SELECT content FROM memories ...",
                position=position(context.text, definition.find(syntax.Generate)),
                statement=context.text,
            )
        if definition.find(exp.Placeholder):
            raise ProgrammingError(
                "a view is stored as text and cannot have parameters",
                hint="write the values into it",
                position=position(context.text, definition.find(exp.Placeholder)),
                statement=context.text,
                code="42P02",
            )
        if fold(tree.this.name).startswith("_memql"):
            raise ProgrammingError(
                f"names that start with _memql are MemQL's own: {tree.this.name}",
                position=position(context.text, tree.this),
                statement=context.text,
                code="42939",
            )
        form, model = "AUTO", None
        if isinstance(definition, syntax.Materialize):
            form = definition.args["form"]
            node = definition.args.get("model")
            model = node.name if node is not None else None
        # Names are checked, and that it can be printed, before the view is stored.
        _check_prints(self._plan(definition).input)
        if model is not None:
            self.executor.models.spec(model, context)
        entry = ViewEntry(
            name=tree.this.name,
            owner=context.owner,
            text=self.write(definition),
            form=form,
            model=model,
            refresh=refresh,
            created_at=context.now,
            refreshed_at=None,
        )
        old = self.views.entry(entry.name)
        added = False

        def add() -> None:
            nonlocal added
            added = self.views.add(
                entry,
                replace=bool(tree.args.get("replace")),
                exists=bool(tree.args.get("exists")),
                node=tree.this,
            )
            if added:
                self._plan(definition)  # a replaced view may read itself now

        self.locked(add)
        if not added or tree.args.get("no_data"):
            return
        try:
            self.refresh(entry)
        except BaseException:
            self.locked(lambda: self._restore(entry, old, tree.this))
            raise

    def refresh(self, entry: ViewEntry) -> None:
        """Compute what is missing of a view's form."""
        self.executor.materialize(self._asked(entry))
        self.locked(lambda: self.views.refreshed(entry))

    def alter(self, tree: syntax.AlterMaterializedView, options: Mapping[str, Any]) -> None:
        """Change when a view is computed ahead.

        Args:
            options: ``refresh``, the mode as text.

        Raises:
            ProgrammingError: an unknown view, option or mode.
            NotSupportedError: a mode that is not there yet.
        """
        if tree.args.get("exists") and self.views.entry(tree.this.name) is None:
            return
        entry = self.views.required(tree.this)
        check_option_names(
            tree.args["options"], ("refresh",), "ALTER MATERIALIZED VIEW", self.executor.context
        )
        _check_refresh(str(options["refresh"]).upper(), self.executor.context)
        self.locked(lambda: self.views.set_refresh(entry, "ON DEMAND"))

    def drop(self, tree: syntax.DropMaterializedView) -> None:
        """Remove a view."""
        if tree.args.get("exists") and self.views.entry(tree.this.name) is None:
            return
        self.locked(lambda: self.views.remove(self.views.required(tree.this)))

    def summary(self) -> list[dict[str, Any]]:
        """Return a row for each view; freshness is tokens compiled / tokens of the current rows."""
        rows = []
        for entry in self.views.entries():
            row: dict[str, Any] = dict.fromkeys(VIEW_COLUMNS)
            row.update(
                name=entry.name,
                owner=entry.owner,
                form=entry.form,
                model=entry.model,
                refresh=entry.refresh,
                created_at=entry.created_at,
                refreshed_at=entry.refreshed_at,
                query=entry.text,
            )
            try:
                row.update(self._counts(entry))
            except Error as error:
                if self.executor.context.cancel.is_set():
                    raise
                row["problem"] = error.message  # one view's missing model hides no other
            rows.append(row)
        return rows

    def _counts(self, entry: ViewEntry) -> dict[str, Any]:
        executor = replace(self.executor, trace=Trace())
        executor.prepare(self._asked(entry))
        for one in executor.trace.prompts:
            prompt, choice = one.prepared.prompt, one.prepared.choice
            fresh = choice.reused_tokens / prompt.tokens if choice.form == "ACTIVATION" else None
            return {
                "rows": len(prompt.segments),
                "tokens": prompt.tokens,
                "compiled_tokens": choice.reused_tokens,
                "freshness": fresh,
            }
        return {"rows": 0, "tokens": 0, "compiled_tokens": 0}

    def _asked(self, entry: ViewEntry) -> Materialize:
        """The plan of a view; AUTO is ACTIVATION here, for a view is there to be computed ahead."""
        plan = self._plan(self.parse(entry.text, LARGEST_STATEMENT_BYTES))
        if plan.target.form != "AUTO":
            return plan
        return replace(plan, target=replace(plan.target, form="ACTIVATION", view=entry.name))

    def _plan(self, definition: exp.Expr) -> Materialize:
        if not isinstance(definition, syntax.Materialize):
            definition = syntax.Materialize(this=definition, form="AUTO")
        plan = QueryBinder(
            self.executor.context, self.views, Values({}, self.executor.context.now)
        ).bind(definition)
        assert isinstance(plan, Materialize)
        return plan

    def _restore(self, entry: ViewEntry, old: ViewEntry | None, node: exp.Expr) -> None:
        self.views.remove(entry)
        if old is not None and old.owner == entry.owner:
            self.views.add(old, replace=False, exists=False, node=node)


def _check_refresh(mode: str, context: StatementContext) -> None:
    place = position_of_word(context.text, "refresh")
    word = mode.upper().split(maxsplit=1)[0] if mode.strip() else ""
    if mode.upper() == "ON COMMIT" or word == "EVERY":
        raise not_yet(
            f"REFRESH {mode.upper()}",
            hint="leave it out and use REFRESH MATERIALIZED VIEW",
            position=place,
            statement=context.text,
        )
    if mode.upper() != "ON DEMAND":
        raise ProgrammingError(
            f"a view is refreshed 'on demand', 'on commit' or 'every <interval>', found {mode!r}",
            position=place,
            statement=context.text,
            code="22023",
        )


def _check_prints(relation: Relation) -> None:
    for cut in relation.cuts:
        _check_prints(cut.input)
    print_query(relation.query)


VIEW_COLUMNS = {
    "name": "VARCHAR",
    "owner": "VARCHAR",
    "form": "VARCHAR",
    "model": "VARCHAR",
    "refresh": "VARCHAR",
    "rows": "BIGINT",
    "tokens": "BIGINT",
    "compiled_tokens": "BIGINT",
    "freshness": "DOUBLE",
    "created_at": "TIMESTAMP WITH TIME ZONE",
    "refreshed_at": "TIMESTAMP WITH TIME ZONE",
    "query": "VARCHAR",
    "problem": "VARCHAR",
}
