"""Runs relations whose parts DuckDB cannot run: those run before, and are read as tables."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
from sqlglot import exp

from memql.engine.bind.parts import scanned_part
from memql.engine.failures import translate
from memql.engine.plan import LINEAGE_COLUMN, Generated, Part, Relation
from memql.engine.printing import print_query
from memql.engine.result import Column, arrow_of, columns_of, scannable
from memql.engine.run.answers import Answerer
from memql.engine.run.cut import Cutter
from memql.engine.run.relation import forget_rows, run_printed
from memql.engine.run.statement import Statement
from memql.engine.run.trace import Trace
from memql.storage.transaction import roll_back

if TYPE_CHECKING:
    import pyarrow as pa

Columns = tuple[Column, ...]


@dataclass(frozen=True)
class PartRunner:
    """Runs relations that have parts.

    Args:
        statement: outside a transaction nothing else may run on its cursor.
        write: whether what is computed, and token ids that are new, may be kept.
        answers: whether a model may be asked; else what reads answers does not run.
    """

    statement: Statement
    write: bool
    answers: bool

    def table(
        self, relation: Relation, model: str | None, trace: Trace
    ) -> tuple[pa.Table | None, Columns]:
        """Return all rows of a relation, and its columns; None if it reads answers not made.

        Args:
            model: whose tokens are counted where a limit names none; None for the connection's.
            trace: of the relation.

        Raises:
            DataError: a limit is no whole number of at least 0.
            Error: as :func:`run_printed`.
        """
        columns: dict[str, Columns] = {}
        missing: set[str] = set()
        answering_seconds = 0.0
        started = time.perf_counter()
        with self._snapshot():
            try:
                for part in relation.parts:
                    began = time.perf_counter()
                    table, shown = self._part(part, model, columns, missing, trace)
                    if isinstance(part, Generated):
                        answering_seconds += time.perf_counter() - began
                    if table is None:
                        missing.add(part.table)
                        continue
                    columns[part.table] = shown
                    if scanned_part(relation.query) == part.table:
                        kept = _kept(shown, lineage=relation.traced)
                        return table.select(kept), tuple(shown[i] for i in kept)
                    numbered = table.rename_columns([f"c{i}" for i in range(table.num_columns)])
                    self.statement.cursor.register(part.table, scannable(numbered))
                return self._rows(relation, columns, missing)
            except duckdb.Error as error:
                raise translate(error, self.statement.context) from error
            finally:
                trace.relation_seconds = time.perf_counter() - started - answering_seconds
                # After an error DuckDB refuses this too, and the error must not be hidden by it.
                with contextlib.suppress(duckdb.Error):
                    for name in columns:
                        self.statement.cursor.unregister(name)

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Let all parts of a relation see the memories as they are at one moment."""
        if self.statement.in_transaction:
            yield
            return
        try:
            self.statement.cursor.begin()
            yield
        finally:
            roll_back(self.statement.cursor)

    def _rows(
        self, relation: Relation, columns: Mapping[str, Columns], missing: set[str]
    ) -> tuple[pa.Table | None, Columns]:
        """Run the query of a relation over the parts that have run."""
        if any(table.name in missing for table in relation.query.find_all(exp.Table)):
            return None, ()
        printed = relation.printed
        if columns:
            printed = print_query(_with_types(relation.query, columns, lineage=relation.traced))
        statement = self.statement
        try:
            running = run_printed(printed, statement.cursor, statement.values, statement.context)
            shown = columns_of(running)
            return arrow_of(running), shown
        finally:
            forget_rows(printed, statement.cursor)

    def _part(
        self,
        part: Part,
        model: str | None,
        columns: Mapping[str, Columns],
        missing: set[str],
        trace: Trace,
    ) -> tuple[pa.Table | None, Columns]:
        if isinstance(part, Generated):
            done = trace.parts[part.table] = Trace(explains=trace.explains)
            return self._generated(part, columns, missing, done)
        query = part.input.query
        if any(table.name in missing for table in query.find_all(exp.Table)):
            return None, ()
        query = _with_types(query, columns, lineage=part.input.traced)
        kept, trace.parts[part.table] = Cutter(self.statement, self.write).cut(part, query, model)
        return kept.table, kept.columns

    def _generated(
        self, part: Generated, columns: Mapping[str, Columns], missing: set[str], trace: Trace
    ) -> tuple[pa.Table | None, Columns]:
        plan = part.input
        answerer = Answerer(self.statement, trace, self.write)
        limits = answerer.limits(plan.input)
        started = time.perf_counter()
        table, _ = self._rows(plan.input.groups, columns, missing)
        trace.relation_seconds = time.perf_counter() - started
        if table is None:
            answerer.spec(plan.input.target)
            trace.relation_rows = None
            return None, ()
        groups = answerer.groups(plan.input, table, limits)
        if not self.answers:
            answerer.note(groups)
            return None, ()
        rows, _ = answerer.finish(plan, groups, plan.rows)
        shown = columns_of(rows)
        return arrow_of(rows), shown


def _kept(columns: Columns, *, lineage: bool) -> list[int]:
    return [i for i, column in enumerate(columns) if lineage or column.name != LINEAGE_COLUMN]


def _with_types(query: exp.Query, columns: Mapping[str, Columns], *, lineage: bool) -> exp.Query:
    """Return a query that reads the tables of parts with the names and types that their rows had.

    Arrow has no type of its own for some of DuckDB's, and a table no two columns of one name.
    """
    if not columns:
        return query
    query = query.copy()
    for table in list(query.find_all(exp.Table)):
        if table.name not in columns:
            continue
        shown = columns[table.name]
        casts = [
            exp.alias_(
                exp.Cast(this=exp.column(f"c{i}", quoted=True), to=exp.Var(this=shown[i].type)),
                shown[i].name,
                quoted=True,
            )
            for i in _kept(shown, lineage=lineage)
        ]
        start = exp.From(this=exp.Table(this=exp.to_identifier(table.name, quoted=True)))
        alias = exp.TableAlias(this=exp.to_identifier(table.alias_or_name, quoted=True))
        table.replace(exp.Subquery(this=exp.Select(expressions=casts, from_=start), alias=alias))
    return query
