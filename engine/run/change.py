"""Runs INSERT, UPDATE and DELETE on memories inside a write transaction."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from memql.engine.bind.changes import (
    ChangePlan,
    DeletePlan,
    InsertPlan,
    MemoryChange,
    UpdatePlan,
)
from memql.engine.bind.policy import readable
from memql.engine.bind.sources import MEMORY_NAMES
from memql.engine.bind.writes import TableChange
from memql.engine.context import StatementContext
from memql.engine.names import quote
from memql.engine.printing import print_query
from memql.engine.result import Result, arrow_of, columns_of, plain_arrow, rescanned
from memql.engine.run.executor import Executor
from memql.engine.run.idempotency import new_rows
from memql.engine.run.relation import run_printed, translate
from memql.engine.run.tables import run_table_change
from memql.engine.run.written import check_inserted, check_updated
from memql.errors import DataError, IntegrityError, ProgrammingError
from memql.storage import memories
from memql.storage.idempotency import KEY_COLUMN
from memql.storage.transaction import Transaction

if TYPE_CHECKING:
    import pyarrow as pa


# What Python's datetime can hold, in microseconds since 1970: a time outside it could be stored
# but never be read again.
EARLIEST_MICROS = -62_135_596_800_000_000
LATEST_MICROS = 253_402_300_799_999_999


def run_change(plan: ChangePlan, executor: Executor, transaction: Transaction) -> Result:
    """Run a change of memories or of an ordinary table, on the cursor of a transaction.

    Raises:
        Error: see :meth:`ChangeRunner.run`.
    """
    if isinstance(plan, TableChange):
        return run_table_change(plan, executor)
    return ChangeRunner(executor, transaction).run(plan)


@dataclass(frozen=True)
class ChangeRunner:
    """Runs the changes of one statement.

    Args:
        executor: runs the query for what to write, on the cursor of ``transaction``.
    """

    executor: Executor
    transaction: Transaction

    @property
    def cursor(self) -> duckdb.DuckDBPyConnection:
        """The cursor of the transaction."""
        return self.executor.cursor

    @property
    def context(self) -> StatementContext:
        """The statement."""
        return self.executor.context

    def run(self, plan: MemoryChange) -> Result:
        """Run a change; the result has the RETURNING rows, if any, and the row count.

        Raises:
            DataError: a value is out of range or of the wrong type.
            IntegrityError: an id is taken, or content is NULL.
            ProgrammingError: the user may not write for that owner.
            OperationalError: another transaction changed the same rows.
        """
        table = self.executor.table(plan.relation, None, write=False)
        count = table.num_rows
        try:
            if isinstance(plan, InsertPlan):
                # What is missing is filled in with columns in Arrow's own types.
                ids, count = self._insert(plan, plain_arrow(table))
            elif isinstance(plan, UpdatePlan):
                ids = self._update(plan, table)
            else:
                assert isinstance(plan, DeletePlan)
                ids = self._set(table, {"state": "'archived'"})
            if count:
                self.transaction.mark_dirty()
            return self._returned(plan.returning, ids, count, repeats=count < len(ids))
        except duckdb.Error as error:
            raise translate(error, self.context) from error

    def _insert(self, plan: InsertPlan, table: pa.Table) -> tuple[pa.Array, int]:
        """Insert rows; return the ids of all, and how many were not there already."""
        import pyarrow as pa

        count = table.num_rows
        if "id" in plan.columns and self.context.user is not None:
            raise ProgrammingError(
                "only the administrator may choose the id of a memory",
                hint="leave the column id out; RETURNING id tells it",
                code="42501",
            )
        self._check_values(table, plan.columns)
        ids = pa.array(memories.new_id_texts(count), pa.string())
        moment = pa.timestamp("us", tz="UTC")
        now = pa.scalar(self.context.now, moment)
        defaults: dict[str, pa.Scalar] = {
            "owner": pa.scalar(self.context.owner),
            "created_at": now,
            "hold": pa.scalar(False),
        }
        columns: dict[str, Any] = {}
        for name in MEMORY_NAMES:
            given = table.column(name) if name in plan.columns else None
            if name == "id":
                columns[name] = ids if given is None else _or_else(given, ids)
            elif name in defaults:
                default = _repeat(defaults[name], count)
                columns[name] = default if given is None else _or_else(given, default)
            elif given is not None:
                columns[name] = given
        columns["updated_at"] = _repeat(now, count)
        columns["state"] = _repeat(pa.scalar("active"), count)
        columns["version"] = _repeat(pa.scalar(self.transaction.version, pa.int64()), count)
        rows = pa.table(columns)
        ids = rows.column("id")
        if count:
            check_inserted(rows, self.executor)
            if KEY_COLUMN in plan.columns:
                rows, ids = new_rows(rows, table.column(KEY_COLUMN), self.executor)
            if rows.num_rows:
                memories.insert(self.cursor, rows)
        return ids, rows.num_rows

    def _update(self, plan: UpdatePlan, table: pa.Table) -> pa.Array:
        renamed = table.rename_columns(["id", *plan.columns])
        self._check_values(renamed, plan.columns)
        for name in ("owner", "created_at", "hold"):
            if name in plan.columns and renamed.column(name).null_count:
                raise IntegrityError(f"the column {name} of a memory cannot be NULL", code="23502")
        if renamed.num_rows:
            check_updated(renamed, plan.columns, self.executor)
        return self._set(renamed, {name: f"_memql_new.{quote(name)}" for name in plan.columns})

    def _set(self, table: pa.Table, assignments: dict[str, str]) -> pa.Array:
        if table.num_rows:
            self.cursor.register("_memql_new", table)
            sets = ", ".join(f"{quote(name)} = {value}" for name, value in assignments.items())
            try:
                self.cursor.execute(
                    f'UPDATE "_memql"."memories" AS m SET {sets}, "updated_at" = $now, '
                    '"version" = $version FROM _memql_new WHERE m."id" = _memql_new."id"::UUID',
                    {"now": self.context.now, "version": self.transaction.version},
                )
            finally:
                self._forget("_memql_new")
        return table.column("id")

    def _forget(self, table: str) -> None:
        # After an error DuckDB refuses this too, and the error must not be hidden by that.
        with contextlib.suppress(duckdb.Error):
            self.cursor.unregister(table)

    def _check_values(self, table: pa.Table, columns: tuple[str, ...]) -> None:
        import pyarrow.compute as pc

        for name in ("content", "owner"):
            if name not in columns:
                continue
            if name == "content" and table.column(name).null_count:
                row = _first(pc.is_null(table.column(name)))
                raise IntegrityError(
                    f"the content of a memory cannot be NULL (row {row})", code="23502"
                )
        if "owner" in columns:
            owners = set(pc.unique(table.column("owner")).to_pylist()) - {None}
            if "" in owners:
                raise DataError("the owner of a memory cannot be empty", code="22023")
        for name in ("created_at", "valid_from", "valid_to", "expires_at"):
            if name in columns:
                micros = table.column(name).cast("int64")
                early = pc.less(micros, EARLIEST_MICROS)
                outside = pc.fill_null(pc.or_(early, pc.greater(micros, LATEST_MICROS)), False)
                if pc.any(outside).as_py():
                    raise DataError(
                        f"{name} is a time of the years 1 to 9999 (row {_first(outside)})",
                        code="22008",
                    )
        for name in ("importance", "trust"):
            if name not in columns:
                continue
            column = table.column(name)
            good = pc.fill_null(
                pc.and_(pc.greater_equal(column, 0), pc.less_equal(column, 1)), True
            )
            if not pc.all(good, min_count=0).as_py():
                row = _first(pc.invert(good))
                value = column[row - 1].as_py()
                raise DataError(
                    f"{name} is a number from 0 to 1, found {value} (row {row})", code="22003"
                )

    def _returned(
        self, returning: exp.Select | None, ids: pa.Array, count: int, *, repeats: bool
    ) -> Result:
        """Return the RETURNING rows of memories.

        Args:
            repeats: whether some were written before, under an idempotency key: what became of
                these is shown to who may read them.
        """
        if returning is None:
            return Result(rowcount=count)
        import pyarrow as pa

        query = returning.copy()
        table = exp.to_table("_memql.memories", dialect="duckdb")
        table.set("alias", query.args["from_"].this.args["alias"].copy())
        names = pa.table({"id": ids})
        self.cursor.register("_memql_ids", names)
        try:
            query.set("from_", exp.From(this=table))
            query = query.where('id IN (SELECT CAST("id" AS UUID) FROM "_memql_ids")', copy=False)
            condition = readable(self.context.rights) if repeats else None
            if condition is not None:
                query = query.where(condition, copy=False)
            query = query.order_by("id", copy=False)
            running = run_printed(
                print_query(query), self.cursor, self.executor.values, self.context
            )
            columns = columns_of(running)
            rows = rescanned(self.executor.store, arrow_of(running), columns)
        finally:
            self._forget("_memql_ids")
        return Result(columns, rowcount=count, rows=rows)


def _repeat(value: pa.Scalar, count: int) -> pa.Array:
    import pyarrow as pa

    return pa.repeat(value, count)


def _or_else(given: pa.ChunkedArray, default: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.coalesce(given, default)


def _first(flags: pa.ChunkedArray) -> int:
    """Return the number, from 1, of the first row whose flag is true."""
    import pyarrow.compute as pc

    return int(pc.index(flags, True).as_py()) + 1
