"""One connection's session: its user, its transaction, and how each statement is run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event, RLock
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.batch import batches
from memql.engine.bind.changes import bind_change
from memql.engine.bind.options import option_values
from memql.engine.bind.parameters import Parameters, bind_parameters
from memql.engine.bind.query import QueryBinder
from memql.engine.context import StatementContext
from memql.engine.models import MODEL_COLUMNS, Models, summary
from memql.engine.optimize import Optimized, optimize
from memql.engine.result import Result, arrow_of
from memql.engine.run.change import ChangeRunner, rescanned
from memql.engine.run.executor import Executor, Materialized
from memql.engine.run.explain import Operator, as_json, as_text, explain_plan, shown_sql
from memql.engine.run.relation import translate
from memql.engine.run.views import VIEW_COLUMNS, ViewRunner
from memql.engine.segments import Segments
from memql.engine.views import ViewCatalog
from memql.errors import InterfaceError, NotSupportedError, ProgrammingError
from memql.storage.store import Store
from memql.storage.transaction import Transaction

if TYPE_CHECKING:
    from memql.engine.model.prefix import Prefix

Progress = Callable[[int, int], None]


class Session:
    """Runs the statements of one connection, one at a time.

    Args:
        store: the open store; the session gives it up when it closes.
        user: who asks; None is the administrator of an embedded store.
        model: the model of queries that name none: a name, a folder or a hub id; None is tiny.
        parse: text to one statement's tree.
        write: a tree to text.
    """

    def __init__(
        self,
        store: Store,
        user: str | None,
        model: str | None,
        parse: Callable[[str], exp.Expr],
        write: Callable[[exp.Expr], str],
    ) -> None:
        self._store = store
        self._user = user
        self._parse = parse
        self._write = write
        self._cursor = store.cursor()
        self._transaction = Transaction(store, self._cursor)
        self._models = Models(self._cursor, model)
        self._segments = Segments(store)
        self._cancel = Event()
        self._lock = RLock()
        self._closed = False
        # Where the statement of this moment runs in DuckDB, for interrupt().
        self._running = self._cursor
        self.progress: Progress | None = None

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
            return self._execute_tree(self._parse(text), text, parameters)

    def _execute_tree(self, tree: exp.Expr, text: str, parameters: Parameters) -> Result:
        self._cancel.clear()
        self._running = self._cursor
        context = self._context(text)
        try:
            values = bind_parameters(tree, parameters, context)
            return self._run(tree, context, values)
        except duckdb.Error as error:
            raise translate(error, context) from error
        except RecursionError:
            # A long chain such as x::INT::INT::... parses without brackets.
            raise ProgrammingError("the statement is nested too deeply") from None

    def executemany(self, text: str, rows: list[Parameters]) -> int:
        """Run one change for each set of parameters, all or none; return the rows written."""
        with self._lock:
            self._check_open()
            own = not self._transaction.active
            if own:
                self.begin()
            try:
                count = sum(
                    max(self._execute_tree(batch, text, values).rowcount, 0)
                    for batch, values in batches(self._parse(text), rows)
                )
            except BaseException:
                if own:
                    self.rollback()
                raise
            if own:
                self.commit()
            return count

    def _run(self, tree: exp.Expr, context: StatementContext, values: dict[str, Any]) -> Result:
        if isinstance(tree, exp.Transaction):
            self.begin()
        elif isinstance(tree, exp.Commit):
            self.commit()
        elif isinstance(tree, exp.Rollback):
            self.rollback()
        elif isinstance(tree, exp.Query | syntax.Materialize):
            return self._query(tree, context, values)
        elif isinstance(tree, exp.Insert | exp.Update | exp.Delete):
            return self._change(tree, context, values)
        elif isinstance(tree, syntax.Explain):
            return self._explain(tree, context, values)
        elif isinstance(tree, syntax.ShowCatalog):
            return self._show(tree, context)
        else:
            return self._define(tree, context, values)
        return Result()

    def _query(
        self,
        tree: exp.Query | syntax.Materialize,
        context: StatementContext,
        values: dict[str, Any],
    ) -> Result:
        optimized = self._optimized(tree, context, values)
        if not self._transaction.active:
            return self._executor(self._own_cursor(), context, values).run(optimized.plan)
        result = self._executor(self._cursor, context, values).run(optimized.plan)
        if result.rows is self._cursor:
            # The next statement of the transaction needs the cursor on which the rows wait.
            result.rows = rescanned(self._store, arrow_of(self._cursor), result.columns)
        return result

    def _change(
        self,
        tree: exp.Insert | exp.Update | exp.Delete,
        context: StatementContext,
        values: dict[str, Any],
    ) -> Result:
        binder = QueryBinder(context, self._views(context), values)
        plan = bind_change(tree, binder)

        def run() -> Result:
            return ChangeRunner(self._store, self._cursor, self._transaction, context, values).run(
                plan
            )

        return self._in_transaction(run, context)

    def _in_transaction(self, run: Callable[[], Result], context: StatementContext) -> Result:
        """Run a change in the open transaction, or in one of its own."""
        if self._transaction.active:
            return run()
        self._transaction.begin(explicit=False, write=True)
        try:
            result = run()
        except BaseException:
            self._transaction.rollback()
            raise
        self._transaction.commit(context.owner)
        return result

    # -- definitions --------------------------------------------------------------------------

    def _define(self, tree: exp.Expr, context: StatementContext, values: dict[str, Any]) -> Result:
        if isinstance(tree, syntax.CreateMaterializedView):
            if values:
                raise ProgrammingError("a view is stored as text and cannot have parameters")
            self._view_runner(context).create(tree)
        elif isinstance(tree, syntax.RefreshMaterializedView):
            self._view_runner(context).refresh(self._views(context).required(tree.this))
        elif isinstance(tree, syntax.DropMaterializedView):
            self._view_runner(context).drop(tree)
        elif isinstance(tree, syntax.CreateModel):
            source = tree.args["source"]
            path = values[source.name] if isinstance(source, exp.Placeholder) else source.name
            options = option_values(tree.args.get("options"), values, context)
            self._locked(
                lambda: self._models.create(
                    tree.this.name,
                    str(path),
                    options,
                    replace=bool(tree.args.get("replace")),
                    exists=bool(tree.args.get("exists")),
                    context=context,
                ),
                context,
            )
        elif isinstance(tree, syntax.DropModel):
            self._locked(
                lambda: self._models.drop(
                    tree.this.name,
                    exists=bool(tree.args.get("exists")),
                    context=context,
                    node=tree.this,
                ),
                context,
            )
        else:
            raise NotSupportedError(f"MemQL does not run {tree.key.upper()} statements")
        return Result()

    def _locked(self, run: Callable[[], object], context: StatementContext) -> None:
        """Change the catalog: in the open transaction, or alone under the commit lock."""
        if self._transaction.active:
            run()
            return
        try:
            with self._store.commit_lock:
                self._cursor.begin()
                try:
                    run()
                    self._cursor.commit()
                except BaseException:
                    self._cursor.rollback()
                    raise
        except duckdb.Error as error:
            raise translate(error, context) from error

    # -- looking ------------------------------------------------------------------------------

    def _explain(
        self, tree: syntax.Explain, context: StatementContext, values: dict[str, Any]
    ) -> Result:
        inner = tree.this
        analyze, costs = bool(tree.args.get("analyze")), bool(tree.args.get("costs"))
        if isinstance(inner, exp.Insert | exp.Update | exp.Delete):
            plan = bind_change(inner, QueryBinder(context, self._views(context), values))
            if analyze:
                raise NotSupportedError(
                    "EXPLAIN ANALYZE of a change is not possible: it would write",
                    hint="EXPLAIN shows its plan and writes nothing",
                )
            sql = shown_sql(plan.relation.query)
            details = {"policy": plan.relation.policy} if plan.relation.policy else {}
            operator = Operator(inner.key.capitalize(), {**details, "rows from": sql})
        elif isinstance(inner, exp.Query | syntax.Materialize):
            optimized = self._optimized(inner, context, values)
            cursor = self._cursor if self._transaction.active else self._own_cursor()
            executor = self._executor(cursor, context, values)
            if analyze:
                result = executor.run(optimized.plan)
                rows = result.fetchall()
                if not executor.trace.prompts:
                    executor.trace.relation_rows = len(rows)
            else:
                executor.prepare(optimized.plan)
            operator = explain_plan(
                optimized.plan, optimized.fired, executor.trace, analyzed=analyze
            )
        else:
            raise NotSupportedError("EXPLAIN takes a query, INSERT, UPDATE or DELETE")
        if tree.args.get("format") == "JSON":
            lines = [as_json(operator, costs=costs)]
        else:
            lines = as_text(operator, costs=costs)
        return self._table({"plan": lines}, {"plan": "VARCHAR"})

    def _show(self, tree: syntax.ShowCatalog, context: StatementContext) -> Result:
        if tree.this == "MODELS":
            return self._table_of(summary(self._models.entries()), MODEL_COLUMNS)
        return self._table_of(self._view_runner(context).summary(), VIEW_COLUMNS)

    def _table_of(self, rows: list[dict[str, Any]], types: dict[str, str]) -> Result:
        return self._table({name: [row[name] for row in rows] for name in types}, types)

    def _table(self, columns: dict[str, list[Any]], types: dict[str, str]) -> Result:
        import pyarrow as pa

        from memql.engine.result import Column

        kinds = {
            "VARCHAR": pa.string(),
            "BIGINT": pa.int64(),
            "BOOLEAN": pa.bool_(),
            "DOUBLE": pa.float64(),
            "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", tz="UTC"),
        }
        table = pa.table({name: pa.array(columns[name], kinds[types[name]]) for name in types})
        shown = tuple(Column(name, kind) for name, kind in types.items())
        return Result(shown, rows=rescanned(self._store, table, shown))

    # -- transactions -------------------------------------------------------------------------

    @property
    def user(self) -> str | None:
        """Who asks; None is the administrator of an embedded store."""
        return self._user

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
                raise ProgrammingError("a transaction is open already")
            self._transaction.begin(explicit=True, write=True)

    def commit(self) -> None:
        """Commit the open transaction; without one nothing happens."""
        with self._lock:
            self._check_open()
            if self._transaction.active:
                self._transaction.commit(self._context("").owner)

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
        """Return a fresh prefix with a materialized activation in it.

        What is no longer stored is computed again from its token ids.

        Args:
            made: an activation that this session materialized.
            room_tokens: room to leave behind it.
        """
        from memql.engine.model.runtime import load_runtime
        from memql.engine.reuse import load_chain
        from memql.storage.nodes import DamagedNode, NodeGone

        with self._lock:
            self._check_open()
            runtime = load_runtime(made.spec)
            prefix = runtime.prefix(made.tokens + room_tokens)
            if made.key is not None:
                try:
                    load_chain(bytes.fromhex(made.key), prefix, self._store)
                except DamagedNode as damage:
                    self._store.activations.quarantine(damage.node_id, damage.message)
                    prefix.truncate(0)
                except NodeGone:
                    prefix.truncate(0)
            if prefix.tokens == 0:
                runtime.extend(prefix, list(made.token_ids))
            return prefix

    # -- parts --------------------------------------------------------------------------------

    def _context(self, text: str) -> StatementContext:
        return StatementContext(
            self._user, datetime.now(UTC), text, cancel=self._cancel, progress=self.progress
        )

    def _own_cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor for one query outside a transaction: its rows wait there until fetched."""
        self._running = self._store.cursor()
        return self._running

    def _views(self, context: StatementContext) -> ViewCatalog:
        return ViewCatalog(self._cursor, context, self._parse)

    def _view_runner(self, context: StatementContext) -> ViewRunner:
        return ViewRunner(
            self._views(context),
            self._executor(self._cursor, context, {}),
            self._parse,
            self._write,
            lambda run: self._locked(run, context),
        )

    def _optimized(
        self,
        tree: exp.Query | syntax.Materialize,
        context: StatementContext,
        values: dict[str, Any],
    ) -> Optimized:
        return optimize(QueryBinder(context, self._views(context), values).bind(tree))

    def _executor(
        self, cursor: duckdb.DuckDBPyConnection, context: StatementContext, values: dict[str, Any]
    ) -> Executor:
        return Executor(self._store, cursor, self._models, self._segments, context, values)

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError(
                "the connection is closed", hint="open another: memql.connect(...)"
            )
