"""Runs CREATE, REFRESH, DROP and SHOW of views."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.options import check_option_names
from memql.engine.bind.query import QueryBinder
from memql.engine.catalog import SCHEMA
from memql.engine.context import StatementContext
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.names import fold, position, position_of_word, unknown
from memql.engine.plan import Materialize, Select, print_all
from memql.engine.run.executor import Executor
from memql.engine.run.relation import forget_rows, run_printed
from memql.engine.run.trace import Trace
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
        _check_no_parameters(definition, context)
        _check_name(tree.this, context)
        form, model = "AUTO", None
        if isinstance(definition, syntax.Materialize):
            form = definition.args["form"]
            node = definition.args.get("model")
            model = node.name if node is not None else None
        # Names are checked, and that it can be printed, before the view is stored.
        print_all(self._plan(definition).input)
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
        old = self.views.own(entry.name)
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
        if not added or tree.args.get("no_data") or self.executor.in_transaction:
            return
        try:
            self.refresh(entry)
        except BaseException:
            self.locked(lambda: self._undo(entry, old, tree.this))
            raise

    def create_plain(self, tree: exp.Create) -> None:
        """Add a plain view, which is kept as text.

        Raises:
            ProgrammingError: the name is taken, or the query is wrong.
            NotSupportedError: a form that MemQL does not have.
        """
        context = self.executor.context
        named = tree.this if isinstance(tree.this, exp.Schema) else None
        table = named.this if named is not None else tree.this
        odd = [one.key for one in (tree.args.get("properties") or exp.Properties()).expressions]
        if odd or table.args.get("db") is not None:
            what = "of another schema" if table.args.get("db") is not None else f"with {odd[0]}"
            raise NotSupportedError(
                f"a view {what} is not possible",
                hint="CREATE VIEW v AS SELECT ...",
                position=position(context.text, table),
                statement=context.text,
            )
        query = tree.expression
        if isinstance(query, exp.Values):
            query = exp.Select(expressions=[exp.Star()]).from_(query.copy())
        assert isinstance(query, exp.Query)  # the parser reads nothing else there
        _check_no_parameters(query, context)
        _check_name(table, context)
        if named is not None:
            alias = exp.TableAlias(this=table.this.copy(), columns=named.expressions)
            query = exp.Select(expressions=[exp.Star()]).from_(
                exp.Subquery(this=query.copy(), alias=alias)
            )
        entry = ViewEntry(
            table.name, context.owner, self.write(query), None, None, "", context.now, None
        )

        def add() -> None:
            if self.views.add(
                entry,
                replace=bool(tree.args.get("replace")),
                exists=bool(tree.args.get("exists")),
                node=table,
            ):
                self._check_plain(query, entry)

        self.locked(add)

    def _check_plain(self, query: exp.Query, entry: ViewEntry) -> None:
        """Bind a view's query, through its name: names, types and circles show now."""
        scan = exp.Select(expressions=[exp.Star()]).from_(
            exp.Table(this=exp.to_identifier(entry.name, quoted=True))
        )
        plan = self._binder().bind(scan)
        if isinstance(plan, Select) and not plan.input.parts:
            printed = plan.input.printed
            empty = replace(printed, sql=f"SELECT * FROM ({printed.sql}) LIMIT 0")
            executor = self.executor
            try:
                run_printed(empty, executor.cursor, executor.values, executor.context)
            finally:
                forget_rows(empty, executor.cursor)

    def drop_plain(self, tree: exp.Drop) -> None:
        """Remove plain views.

        Raises:
            ProgrammingError: there is no such view, or it is a materialized one.
        """
        context = self.executor.context

        def drop() -> None:
            for node in tree.args.get("tables") or [tree.this]:
                entry = self.views.own(node.name)
                if entry is None or node.args.get("db"):
                    if tree.args.get("exists"):
                        continue
                    name = node.sql(dialect=PlainDuckDB)
                    raise unknown("view", name, self.views.own_names(), context, node)
                if entry.form is not None:
                    raise ProgrammingError(
                        f"{entry.name} is a materialized view",
                        hint=f"DROP MATERIALIZED VIEW {entry.name}",
                        position=position(context.text, node),
                        statement=context.text,
                        code="42809",
                    )
                self.views.remove(entry)

        self.locked(drop)

    def refresh(self, entry: ViewEntry) -> None:
        """Compute what is missing of a view's form.

        Raises:
            ProgrammingError: a transaction is open, in which nothing computed is stored.
        """
        if self.executor.in_transaction:
            raise ProgrammingError(
                f"the view {entry.name} cannot be refreshed inside a transaction, which stores "
                "nothing that it computes",
                hint="COMMIT or ROLLBACK it first",
                code="25001",
            )
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
        if tree.args.get("exists") and self.views.own(tree.this.name) is None:
            return
        entry = self.views.required(tree.this)
        check_option_names(
            tree.args["options"], ("refresh",), "ALTER MATERIALIZED VIEW", self.executor.context
        )
        _check_refresh(str(options["refresh"]).upper(), self.executor.context)
        self.locked(lambda: self.views.set_refresh(entry, "ON DEMAND"))

    def drop(self, tree: syntax.DropMaterializedView) -> None:
        """Remove a view."""
        if tree.args.get("exists") and self.views.own(tree.this.name) is None:
            return
        self.locked(lambda: self.views.remove(self.views.required(tree.this)))

    def summary(self) -> list[dict[str, Any]]:
        """Return a row for each view; freshness is tokens compiled / tokens of the current rows.

        What is counted is known of the user's own only, and what is stored only where all rows are.
        """
        rights = self.executor.context.rights
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
            )
            if rights.name is not None and entry.owner not in rights.owners:
                rows.append(row)  # its text names what it reads, which may be hidden
                continue
            row.update(query=entry.text, refreshed_at=entry.refreshed_at)
            try:
                if entry.form is not None:
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
            if one.prepared.shared:
                return {"rows": len(prompt.segments)}
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
        plan = self._plan(self.parse(entry.text, LARGEST_STATEMENT_BYTES), entry.owner)
        if plan.target.form != "AUTO":
            return plan
        return replace(plan, target=replace(plan.target, form="ACTIVATION", view=entry.name))

    def _plan(self, definition: exp.Expr, owner: str | None = None) -> Materialize:
        if not isinstance(definition, syntax.Materialize):
            definition = syntax.Materialize(this=definition, form="AUTO")
        plan = self._binder(owner).bind(definition)
        assert isinstance(plan, Materialize)
        return plan

    def _binder(self, owner: str | None = None) -> QueryBinder:
        views = self.views if owner is None else self.views.of(owner)
        return QueryBinder(self.executor.context, views, self.executor.values)

    def _undo(self, entry: ViewEntry, old: ViewEntry | None, node: exp.Expr) -> None:
        if old is None:
            self.views.remove(entry)
        else:
            self.views.add(old, replace=True, exists=False, node=node)


def _check_no_parameters(query: exp.Expr, context: StatementContext) -> None:
    found = query.find(exp.Placeholder)
    if found is not None:
        raise ProgrammingError(
            "a view is stored as text and cannot have parameters",
            hint="write the values into it",
            position=position(context.text, found),
            statement=context.text,
            code="42P02",
        )


def _check_name(node: exp.Expr, context: StatementContext) -> None:
    if fold(node.name).startswith("_memql") or fold(node.name) == SCHEMA:
        which = "memql" if fold(node.name) == SCHEMA else "names that start with _memql"
        raise ProgrammingError(
            f"{which} are MemQL's own: {node.name}",
            position=position(context.text, node),
            statement=context.text,
            code="42939",
        )


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
