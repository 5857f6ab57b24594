"""Runs the plan of a query: DuckDB for the relation, the model for the answers."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from memql.engine.optimize import Optimized
from memql.engine.plan import Answer, Finish, Materialize, Plan, Relation, Select
from memql.engine.result import Column, Result, columns_of, rescanned, scannable
from memql.engine.reuse import Brought, bring
from memql.engine.run.answers import Answerer, Groups
from memql.engine.run.parts import PartRunner
from memql.engine.run.prompts import Prepared, rows_of_table, told
from memql.engine.run.relation import run_printed, to_arrow
from memql.engine.run.statement import Statement
from memql.engine.run.trace import Answered as Answered
from memql.engine.run.trace import PromptTrace, Trace
from memql.errors import ProgrammingError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from memql.engine.model.prefix import Prefix
    from memql.engine.model.spec import ModelSpec


@dataclass(frozen=True)
class Materialized:
    """A derived form, as a value that can be serialized but for ``prefix``.

    Args:
        id: of this materialization.
        key: the boundary that names the activation in the store, hex; None for text, and for
            what could not be stored.
        text: head and segments as text.
        row_order: the rows' memories in prompt order.
        prefix: the KV itself where it could not be stored.
    """

    id: str
    form: str
    model: str
    key: str | None
    text: str
    rows: tuple[str, ...]
    token_ids: tuple[int, ...]
    tokens: int
    reused_tokens: int | None
    computed_tokens: int | None
    bytes: int | None
    memory_ids: tuple[UUID, ...]
    row_order: tuple[tuple[UUID, ...], ...]
    spec: ModelSpec = field(repr=False)
    level: str = "exact"
    prefix: Prefix | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Executor(Statement):
    """Runs the plans of one statement.

    Args:
        trace: what happened, for EXPLAIN.
    """

    trace: Trace = field(default_factory=Trace)

    def run(self, plan: Plan) -> Result:
        """Run a plan."""
        if isinstance(plan, Select):
            return self._select(plan)
        if isinstance(plan, Materialize):
            return self._materialize_result(self.materialize(plan))
        return self._finish(plan)

    def prepare(self, plan: Plan) -> None:
        """Run a plan as far as EXPLAIN does: relation and token counts; no answers."""
        if isinstance(plan, Select):
            rows = self._rows(plan.input, None, write=False, answers=False)
            self.trace.relation_rows = None if rows is None else rows.num_rows
        elif isinstance(plan, Materialize):
            prepared = self._prepare_materialize(plan, write=False)
            if prepared is not None:
                self.trace.prompts.append(PromptTrace(prepared))
        else:
            answerer = self._answerer(write=False)
            groups = self._groups(plan.input, answerer, answers=False)
            if groups is not None:
                answerer.note(groups)

    # -- the relational part ------------------------------------------------------------------

    def table(self, relation: Relation, model: str | None, *, write: bool) -> pa.Table:
        """Return all rows of a relation.

        Args:
            model: whose tokens its limits in tokens count; None for the connection's.
            write: whether what is computed, and token ids that are new, may be kept.
        """
        return self._rows(relation, model, write=write, answers=True)

    def _rows(
        self, relation: Relation, model: str | None, *, write: bool, answers: bool
    ) -> pa.Table | None:
        """Return all rows of a relation; None if it reads answers, and none may be made."""
        if relation.reads_often:
            runner = PartRunner(self, write, answers)
            return runner.table(relation, model, self.trace)[0]
        started = time.perf_counter()
        table = to_arrow(relation.printed, self.cursor, self.values, self.context)
        self.trace.relation_seconds = time.perf_counter() - started
        return table

    def _select(self, plan: Select) -> Result:
        # On the cursor of a transaction nothing waits, and no rows of memories stay behind.
        if plan.input.reads_often or (self.in_transaction and plan.input.printed.visible):
            runner = PartRunner(self, write=True, answers=True)
            table, shown = runner.table(plan.input, None, self.trace)
            return Result(shown, rows=rescanned(self.store, table, shown))
        # Rows wait in DuckDB until they are fetched.
        started = time.perf_counter()
        rows = run_printed(plan.input.printed, self.cursor, self.values, self.context)
        self.trace.relation_seconds = time.perf_counter() - started
        return Result(columns_of(rows), rows=rows)

    def _answerer(self, *, write: bool) -> Answerer:
        return Answerer(self, self.trace, write)

    # -- materialize --------------------------------------------------------------------------

    def materialize(self, plan: Materialize) -> Materialized | None:
        """Bring the rows of a plan into its form; None if there are no rows."""
        prepared = self._prepare_materialize(plan, write=True)
        if prepared is None:
            return None
        prompt, choice = prepared.prompt, prepared.choice
        answerer = self._answerer(write=True)
        spec = answerer.spec(plan.target)
        brought: Brought | None = None
        whole = (
            choice.form == "ACTIVATION"
            and choice.match.tokens == prompt.tokens
            and (choice.keep or not prepared.shared)
        )
        if choice.form == "ACTIVATION" and not whole:
            from memql.engine.model.runtime import load_runtime

            runtime = load_runtime(spec)
            brought = bring(prompt, choice.form, runtime, self, room_tokens=0)
        # What is stored to its end is only named: it is read when somebody uses it.
        reused = prompt.tokens if whole else 0
        if brought is not None:
            reused = brought.way.match.tokens
        stored = answerer.keep(prepared, brought, spec) or whole
        key = prompt.boundaries[-1][0].hex() if stored else None
        tokens = self.segments.tokens(spec)
        rows = tuple(segment.row.text for segment in prompt.segments)
        return Materialized(
            id=key or str(uuid4()),
            form=choice.form,
            model=spec.name,
            key=key,
            text=spec.template.head + "".join(tokens.segment_text(row) for row in rows),
            rows=rows,
            token_ids=tuple(prompt.ids),
            tokens=prompt.tokens,
            reused_tokens=told(reused, prepared),
            computed_tokens=told(prompt.tokens - reused, prepared),
            bytes=told(
                prompt.tokens * spec.bytes_per_token if choice.form == "ACTIVATION" else 0, prepared
            ),
            memory_ids=tuple(dict.fromkeys(member.id for member in prompt.members)),
            row_order=tuple(
                tuple(member.id for member in segment.row.members) for segment in prompt.segments
            ),
            spec=spec,
            prefix=brought.prefix if brought is not None and key is None else None,
        )

    def _prepare_materialize(self, plan: Materialize, *, write: bool) -> Prepared | None:
        table = self.table(plan.input, plan.target.model, write=write)
        rows = rows_of_table(table, self.store.cursor())
        self.trace.relation_rows = len(rows)
        answerer = self._answerer(write=write)
        spec = answerer.spec(plan.target)
        if not rows:
            return None
        return answerer.preparer(plan, spec).prepare(rows, plan.ordered, None, None)

    def _materialize_result(self, made: Materialized | None) -> Result:
        import pyarrow as pa

        columns = MATERIALIZE_COLUMNS
        values: dict[str, Any] = dict.fromkeys((name for name, _ in columns), None)
        if made is None:
            values.update(tokens=0, reused_tokens=0, computed_tokens=0, bytes=0)
            values.update(memory_ids=[], row_order=[])
        else:
            values = {
                "materialized": made.id,
                "form": made.form,
                "model": made.model,
                "tokens": made.tokens,
                "reused_tokens": made.reused_tokens,
                "computed_tokens": made.computed_tokens,
                "bytes": made.bytes,
                "memory_ids": [str(memory) for memory in made.memory_ids],
                "row_order": [[str(one) for one in row] for row in made.row_order],
                "level": made.level,
            }
        types = {
            "BIGINT": pa.int64(),
            "VARCHAR": pa.string(),
            "UUID[]": pa.list_(pa.string()),
            "UUID[][]": pa.list_(pa.list_(pa.string())),
        }
        schema = pa.schema([(name, types[kind]) for name, kind in columns])
        table = pa.Table.from_pylist([values], schema=schema)
        table = table.append_column("_memql_n", pa.array([0], pa.int64()))
        casts = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in columns)
        rows = self.store.cursor()
        rows.register("_memql_result", scannable(table))
        rows.execute(f"SELECT {casts}, _memql_n FROM _memql_result")
        shown = columns_of(rows)[: len(columns)]
        return Result(shown, rows=rows, objects={0: (len(columns), [made])})

    # -- generate -----------------------------------------------------------------------------

    def _groups(self, plan: Answer, answerer: Answerer, *, answers: bool) -> Groups | None:
        limits = answerer.limits(plan)
        table = self._rows(plan.groups, plan.target.model, write=answerer.write, answers=answers)
        if table is None:
            answerer.spec(plan.target)
            self.trace.relation_rows = None
            return None
        return answerer.groups(plan, table, limits)

    def _finish(self, plan: Finish) -> Result:
        answerer = self._answerer(write=True)
        groups = self._groups(plan.input, answerer, answers=True)
        assert groups is not None
        return self._finished(plan, *answerer.finish(plan, groups, plan.shown))

    def stream(self, planned: object) -> Generator[str, None, Result]:
        """Give the pieces of a query's one answer, then its result.

        Args:
            planned: what a session made of a statement.

        Raises:
            ProgrammingError: the statement has no answer of its own, or several.
        """
        plan = planned.plan if isinstance(planned, Optimized) else None
        if not isinstance(plan, Finish):
            raise ProgrammingError(
                "stream() takes a SELECT with generate",
                hint="execute() runs every statement",
                statement=self.context.text,
                code="42809",
            )
        answerer = self._answerer(write=True)
        groups = self._groups(plan.input, answerer, answers=True)
        assert groups is not None
        return self._finished(plan, *(yield from answerer.stream(plan, groups, plan.shown)))

    def _finished(
        self, plan: Finish, rows: duckdb.DuckDBPyConnection, answered: Sequence[Answered]
    ) -> Result:
        width = len(plan.query.expressions)
        shown_answers = [i for i, name in enumerate(plan.answer_columns) if name is not None]
        if plan.query.args.get("distinct"):
            shown_answers = []
        objects = {
            output: (width + number, answered) for number, output in enumerate(shown_answers)
        }
        shown: tuple[Column, ...] = columns_of(rows)[:width]
        return Result(shown, rows=rows, objects=objects)


MATERIALIZE_COLUMNS: tuple[tuple[str, str], ...] = (
    ("materialized", "VARCHAR"),
    ("form", "VARCHAR"),
    ("model", "VARCHAR"),
    ("tokens", "BIGINT"),
    ("reused_tokens", "BIGINT"),
    ("computed_tokens", "BIGINT"),
    ("bytes", "BIGINT"),
    ("memory_ids", "UUID[]"),
    ("row_order", "UUID[][]"),
    ("level", "VARCHAR"),
)
