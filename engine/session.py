"""One connection's session: its user, its transaction, and how each statement is run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from threading import Event, RLock
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.changes import ChangePlan, bind_change
from memql.engine.bind.files import bind_copy
from memql.engine.bind.parameters import Parameters, Values, name_parameters
from memql.engine.bind.query import QueryBinder
from memql.engine.bind.writes import TableChange
from memql.engine.catalog import CatalogTable
from memql.engine.catalogchanges import CatalogChanges
from memql.engine.context import Progress, StatementContext, check_cancel
from memql.engine.deadline import Deadline
from memql.engine.failures import translated
from memql.engine.files import Door
from memql.engine.govern.override import note_reading, set_override
from memql.engine.models import Models
from memql.engine.optimize import RULES, Optimized, optimize, optimize_change
from memql.engine.plancache import KnownPlan, PlanKey, cache_of, types_of
from memql.engine.result import Result, arrow_of, rescanned, result_of
from memql.engine.reuse import load_again
from memql.engine.rights import (
    MOST_TRIES,
    Identity,
    RightsChanged,
    rights_changed,
    rights_hold,
)
from memql.engine.run.catalog import SHOWN, catalog_tables
from memql.engine.run.change import run_change
from memql.engine.run.copy import copy_out
from memql.engine.run.definitions import Definer
from memql.engine.run.describe import describe, described_query
from memql.engine.run.executor import Executor, Materialized
from memql.engine.run.explain import explain
from memql.engine.run.many import PLANNED, run_each
from memql.engine.run.settings import changed_settings, setting_of
from memql.engine.run.views import ViewRunner
from memql.engine.segments import Segments
from memql.engine.settings import Settings
from memql.engine.stream import AnswerStream
from memql.engine.tables import Tables
from memql.engine.views import ViewCatalog
from memql.errors import Error, InterfaceError, NotSupportedError, ProgrammingError
from memql.storage.store import Store
from memql.storage.transaction import Transaction

if TYPE_CHECKING:
    import pyarrow as pa

    from memql.engine.model.prefix import Prefix


class Session:
    """Runs the statements of one connection, one at a time.

    Args:
        store: the open store; the session gives it up when it closes.
        user: who asks.
        model: the model of queries that name none: a name, a folder or a hub id; None is tiny.
        parse: text to one statement's tree; the second argument is the most bytes of a text.
        write: a tree to text.
        door: through which files are read and written; None where there are none.
    """

    def __init__(
        self,
        store: Store,
        user: Identity,
        model: str | None,
        parse: Callable[[str, int], exp.Expr],
        write: Callable[[exp.Expr], str],
        door: Door | None = None,
    ) -> None:
        self._store = store
        self._identity = user
        self._parse = parse
        self._write = write
        self._door = door
        self._cursor = store.cursor()
        self._transaction = Transaction(store, self._cursor, self._check_cancel)
        self._changes = CatalogChanges(store, self._cursor, self._transaction, self._check_cancel)
        self._looked_up: tuple[tuple[int, int], dict[tuple[str, str], Mapping[str, Any]]]
        self._looked_up = ((0, -1), {})
        self._plans = cache_of(store)
        self._defaults = Settings.at_opening(model, store.limits)
        self._settings = self._defaults
        self._models = Models(self._cursor, self._catalog_key)
        self._segments = Segments(store)
        self._cancel = Event()
        self._lock = RLock()
        self._closed = False
        # Where the statement of this moment runs in DuckDB, for interrupt().
        self._running = self._cursor
        self.progress = Progress()

    # -- statements ---------------------------------------------------------------------------

    def execute(self, text: str, parameters: Parameters = None) -> Result:
        """Run one statement.

        Args:
            text: the statement.
            parameters: values for ``?`` (a sequence) or ``$name`` (a mapping).

        Raises:
            Error: see ``memql.errors``; outside BEGIN nothing of the statement stays.
        """
        with self._lock:
            self._check_open()
            context, deadline = self._begun(text)
            with self._watched(context, deadline, self.interrupt):
                result = self._execute(context, parameters)
        if result.rows is not None:
            rows = result.rows
            result.guard = lambda: self._watched(context, deadline, rows.interrupt)
        return result

    def _execute(self, context: StatementContext, parameters: Parameters) -> Result:
        self.note(context)
        for _ in range(MOST_TRIES):
            planned, values = self.planned(context, parameters)
            try:
                result = self._run_any(planned, context, values)
                if not isinstance(planned, _READING) or self._rights_hold(context):
                    return result
                result.close()
            except (Error, duckdb.Error):
                # What failed may have been read by a right that was gone already.
                if not isinstance(planned, _RERUN) or self._rights_hold(context):
                    raise
            except RightsChanged:
                pass  # rolled back
            self._store.wait_for_rights(context.check_cancel)
            context = self._context(context.text)
        raise rights_changed()

    def note(self, context: StatementContext) -> None:
        """Write into the audit what a reader over all policies reads."""
        if context.rights.override:
            tree = self._parse(context.text, context.settings.max_statement_bytes)
            note_reading(tree, self._write, self._store, context)

    def stream(self, text: str, parameters: Parameters = None) -> AnswerStream:
        """Begin a query with one answer; arguments and errors are those of :meth:`execute`."""
        return AnswerStream(self, text, parameters)

    def _run_any(
        self, planned: Optimized | ChangePlan | exp.Expr, context: StatementContext, values: Values
    ) -> Result:
        if isinstance(planned, exp.Expr):
            return self._run(planned, context, values)
        return self._run_plan(planned, context, values)

    def _rights_hold(self, context: StatementContext) -> bool:
        return self._transaction.active or rights_hold(context.rights, self._store)

    def planned(
        self, context: StatementContext, parameters: Parameters
    ) -> tuple[Optimized | ChangePlan | exp.Expr, Values]:
        """Return what a text asks for, kept from the last time or new, and its parameters' values.

        A query or a change is a plan; any other statement is its tree.
        """
        key = PlanKey(
            context.text,
            types_of(parameters),
            self._catalog_key(),
            context.rights.key,
            context.settings.of_planning,
        )
        keeps = context.settings.plan_cache
        known = self._plans.get(key) if keeps else None
        if known is not None:
            values = Values(known.signature.values(parameters, context), context.now)
            if known.holds(values, context.now):
                return known.plan, values
        tree = self._parse(context.text, context.settings.max_statement_bytes)
        signature = name_parameters(tree, context)
        values = Values(signature.values(parameters, context), context.now)
        if not isinstance(tree, PLANNED):
            return tree, values
        plan = self._plan(tree, context, values)
        if keeps:
            self._plans.put(key, KnownPlan(signature, plan, values.looked_at))
        return plan, values

    def executemany(self, text: str, rows: Sequence[Parameters] | pa.Table) -> int:
        """Run one change for each set of parameters, all or none; return the rows written."""
        with self._lock:
            self._check_open()
            context, deadline = self._begun(text)
            own = not self._transaction.active
            with self._watched(context, deadline, self.interrupt):
                if own:
                    # As one statement: its rows get their number at once, not at the commit.
                    self._changes.begin(explicit=False)
                try:
                    self.note(context)
                    tree = self._parse(text, context.settings.max_statement_bytes)
                    tables = self._views(context).tables
                    count = run_each(tree, rows, tables, context, self._plan, self._run_any)
                    if own and not rights_hold(context.rights, self._store):
                        raise rights_changed()
                except BaseException:
                    if own:
                        self._transaction.rollback()
                    raise
                if own:
                    self._commit()
            return count

    def _begun(self, text: str) -> tuple[StatementContext, Deadline]:
        self._cancel.clear()
        self.progress.begin()
        self._running = self._cursor
        return self._context(text), Deadline(self._settings.statement_timeout)

    @contextlib.contextmanager
    def _watched(
        self, context: StatementContext, deadline: Deadline, stop: Callable[[], None]
    ) -> Iterator[None]:
        """Hold what runs inside to the time limit, and say DuckDB's errors in MemQL's words."""
        with deadline.running(stop), translated(context):
            yield

    # -- planned statements -------------------------------------------------------------------

    def _plan(
        self, tree: exp.Expr, context: StatementContext, values: Values
    ) -> Optimized | ChangePlan:
        binder = self._binder(context, values)
        off = context.settings.disabled_rules
        rules = tuple(rule for rule in RULES if rule.__name__ not in off)
        if isinstance(tree, exp.Insert | exp.Update | exp.Delete | exp.Merge):
            return optimize_change(bind_change(tree, binder), rules)
        assert isinstance(tree, exp.Query | syntax.Materialize)
        return optimize(binder.bind(tree), rules)

    def _run_plan(
        self, plan: Optimized | ChangePlan, context: StatementContext, values: Values
    ) -> Result:
        if not isinstance(plan, Optimized):
            return self._change(plan, context, values)
        result = self.executor(context, values).run(plan.plan)
        if result.rows is self._cursor:
            # The next statement of the transaction needs the cursor on which the rows wait.
            result.rows = rescanned(self._store, arrow_of(self._cursor), result.columns)
        return result

    def _change(self, plan: ChangePlan, context: StatementContext, values: Values) -> Result:
        own = not self._transaction.active
        if own:
            # Only commits that wrote memories are numbered.
            numbered = not isinstance(plan, TableChange)
            self._transaction.begin(explicit=False, write=numbered)
        try:
            executor = self._executor(self._cursor, context, values)
            result = run_change(plan, executor, self._transaction)
            if own and not rights_hold(context.rights, self._store):
                raise RightsChanged
        except BaseException:
            if own:
                self._transaction.rollback()
            raise
        if own:
            self._transaction.commit(context.owner)
        return result

    # -- other statements ---------------------------------------------------------------------

    def _run(self, tree: exp.Expr, context: StatementContext, values: Values) -> Result:
        if isinstance(tree, exp.Transaction):
            self.begin()
        elif isinstance(tree, exp.Commit):
            self._commit()
        elif isinstance(tree, exp.Rollback):
            self.rollback()
        elif isinstance(tree, syntax.Explain):
            return self._explain(tree, context, values)
        elif isinstance(tree, exp.Copy):
            return self._copy(tree, context, values)
        elif isinstance(tree, exp.Describe | exp.Summarize):
            return self._describe(tree, context, values)
        elif isinstance(tree, syntax.ShowCatalog) and tree.this in SHOWN:
            table = self._catalog(context)[SHOWN[tree.this]]
            return result_of(self._store, table.rows(), table.types)
        elif isinstance(tree, syntax.ShowSetting):
            setting = setting_of(tree.this, context)
            shown = setting.show(getattr(self._settings, setting.name))
            return result_of(self._store, [{setting.name: shown}], {setting.name: "VARCHAR"})
        elif isinstance(tree, syntax.SetSetting):
            changed = changed_settings(tree, self._defaults, self._models, values, context)
            if changed.override != self._settings.override:
                set_override(changed.override, self._identity, self._store, context)
            self._settings = changed
        else:
            binder = self._binder(context, values)
            executor = self._executor(self._cursor, context, values)
            runner = self._view_runner(context)
            return Definer(executor, binder, runner, self._identity, self._changes).run(tree)
        return Result()

    def _explain(self, tree: syntax.Explain, context: StatementContext, values: Values) -> Result:
        if not isinstance(tree.this, PLANNED):
            raise NotSupportedError("EXPLAIN takes a query, INSERT, UPDATE or DELETE")
        plan = self._plan(tree.this, context, values)
        lines = explain(tree, plan, self.executor(context, values))
        return result_of(self._store, [{"plan": line} for line in lines], {"plan": "VARCHAR"})

    def _copy(self, tree: exp.Copy, context: StatementContext, values: Values) -> Result:
        copy = bind_copy(tree, self._views(context).tables, values, context)
        plan = self._plan(copy if isinstance(copy, exp.Insert) else copy.query, context, values)
        result = self._run_plan(plan, context, values)
        if isinstance(copy, exp.Insert):
            return result
        if not self._rights_hold(context):
            result.close()
            raise RightsChanged
        return copy_out(copy, result, context)

    def _describe(
        self, tree: exp.Describe | exp.Summarize, context: StatementContext, values: Values
    ) -> Result:
        query = described_query(tree)
        planned = self._plan(query, context, values) if query is not None else None
        if not isinstance(planned, Optimized):
            raise NotSupportedError(f"{tree.key.upper()} takes a table or a query")
        executor = self.executor(context, values)
        return describe(tree, planned.plan, self._views(context).tables, executor)

    def _catalog(self, context: StatementContext) -> dict[str, CatalogTable]:
        return catalog_tables(self._view_runner(context), self._models, self._defaults)

    # -- transactions -------------------------------------------------------------------------

    @property
    def user(self) -> str | None:
        """Who asks; None is the administrator of an embedded store."""
        return self._identity.user

    @property
    def in_transaction(self) -> bool:
        """Whether BEGIN was given and neither COMMIT nor ROLLBACK."""
        return self._transaction.active

    def begin(self) -> None:
        """Begin a transaction.

        Raises:
            ProgrammingError: one is open.
        """
        with self._lock:
            self._check_open()
            if self._transaction.active:
                raise ProgrammingError(
                    "a transaction is open already",
                    hint="COMMIT or ROLLBACK it first",
                    code="25001",
                )
            self._changes.begin(explicit=True)

    def commit(self) -> None:
        """Commit the open transaction; without one nothing happens."""
        with self._lock:
            self._check_open()
            self._cancel.clear()  # who was interrupted before waits for another commit all the same
            self._commit()

    def _commit(self) -> None:
        if self._transaction.active:
            self._changes.commit(self._context("").owner)

    def rollback(self) -> None:
        """Undo the open transaction; without one nothing happens."""
        with self._lock:
            self._check_open()
            if self._transaction.active:
                self._transaction.rollback()

    def interrupt(self) -> None:
        """Stop the statement that another thread runs on this session."""
        self._cancel.set()
        self._running.interrupt()

    def close(self) -> None:
        """Undo an open transaction and give up the store."""
        if self._store.is_inherited:
            self._closed = True
            return
        with self._lock:
            if self._closed:
                return
            if self._transaction.active:
                self._transaction.rollback()
            self._closed = True
            self._cursor.close()
            self._store.close()

    # -- derived forms ------------------------------------------------------------------------

    def prefix_of(self, made: Materialized, room_tokens: int) -> Prefix:
        """Return a fresh prefix with a materialized activation in it, and room behind it."""
        with self._lock:
            self._check_open()
            return load_again(made, room_tokens, self._store)

    # -- parts --------------------------------------------------------------------------------

    def _check_cancel(self) -> None:
        check_cancel(self._cancel)

    def _context(self, text: str) -> StatementContext:
        now = datetime.now(UTC)
        rights = self._identity.rights(self._store, now)
        if self._settings.override != self._identity.override:  # who set it is demoted
            self._settings = replace(self._settings, override=self._identity.override)
        return StatementContext(
            self._changes.with_seen(replace(rights, shared=self._settings.shared_memories)),
            now,
            text,
            cancel=self._cancel,
            progress=self.progress,
            settings=self._settings,
            door=self._door if rights.administrator else None,
        )

    def executor(self, context: StatementContext, values: Values) -> Executor:
        """What runs a query: in the open transaction, else on a cursor for it alone.

        Outside a transaction its rows wait on that cursor until they are fetched.
        """
        cursor = self._cursor if self._transaction.active else self._own_cursor()
        return self._executor(cursor, context, values)

    def _own_cursor(self) -> duckdb.DuckDBPyConnection:
        self._running = self._store.cursor()
        return self._running

    def _views(self, context: StatementContext) -> ViewCatalog:
        version = self._catalog_key()
        if self._looked_up[0] != version:
            self._looked_up = (version, {})
        tables = Tables(self._cursor, context, self._looked_up[1])
        return ViewCatalog(self._cursor, context, self._parse, tables)

    def _catalog_key(self) -> tuple[int, int]:
        """What changes with each definition that this session can see."""
        if self._transaction.active:
            return self._transaction.number, self._changes.count
        return 0, self._store.catalog_version

    def _view_runner(self, context: StatementContext) -> ViewRunner:
        return ViewRunner(
            self._views(context),
            self._executor(self._cursor, context, Values({}, context.now)),
            self._parse,
            self._write,
            self._changes.locked,
        )

    def _binder(self, context: StatementContext, values: Values) -> QueryBinder:
        return QueryBinder(context, self._views(context), values, self._catalog(context))

    def _executor(
        self, cursor: duckdb.DuckDBPyConnection, context: StatementContext, values: Values
    ) -> Executor:
        return Executor(
            self._store,
            cursor,
            self._transaction.active,
            self._models,
            self._segments,
            context,
            values,
        )

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError(
                "the connection is closed", hint="open another: memql.connect(...)", code="08003"
            )
        self._store.check_open()


# What gives out what it has read.
_READING = Optimized | syntax.Explain | exp.Describe | exp.Summarize
# What an error may tell of it: of a change, and of a query whose rows are kept, too.
_RERUN = _READING | ChangePlan | exp.Create | exp.Copy
