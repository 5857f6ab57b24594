"""Runs the plan of a query: DuckDB for the relation, the model for the answers."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from sqlglot import exp

from memql.engine.bind.parameters import Values
from memql.engine.context import StatementContext
from memql.engine.models import Models
from memql.engine.plan import (
    ANSWERS_TABLE,
    Answer,
    Finish,
    GenerateCall,
    Materialize,
    Plan,
    Relation,
    Select,
)
from memql.engine.result import Column, Result, columns_of, rescanned
from memql.engine.reuse import Brought, bring, keep
from memql.engine.run.cut import Cutter, CutTrace, whole_number
from memql.engine.run.prompts import Prepared, Preparer, rows_of_group, rows_of_table
from memql.engine.run.relation import run_printed, to_arrow
from memql.engine.segments import Segments
from memql.errors import OperationalError
from memql.storage.store import Store

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from memql.engine.model.prefix import Prefix
    from memql.engine.model.spec import ModelSpec


@dataclass(frozen=True)
class Answered:
    """An answer of the model and what it took.

    Args:
        memory_ids: the memories that were read, in prompt order.
        tokens: tokens of head and segments: reused + computed.
        question_tokens: tokens of the question and what follows it.
        answer_tokens: tokens of the answer.
        first_token_seconds: from the prompt's ids to the first token, loading included.
    """

    text: str
    form: str
    model: str
    memory_ids: tuple[UUID, ...]
    tokens: int
    reused_tokens: int
    computed_tokens: int
    question_tokens: int
    answer_tokens: int
    first_token_seconds: float
    seconds: float


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
    reused_tokens: int
    computed_tokens: int
    bytes: int
    memory_ids: tuple[UUID, ...]
    row_order: tuple[tuple[UUID, ...], ...]
    spec: ModelSpec = field(repr=False)
    level: str = "exact"
    prefix: Prefix | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class PromptTrace:
    """What happened to one prompt, for EXPLAIN; ``brought`` is None where it came as text."""

    prepared: Prepared
    brought: Brought | None = None
    answered: Answered | None = None
    store_seconds: float = 0.0


@dataclass
class Trace:
    """What happened while a plan ran, for EXPLAIN."""

    relation_rows: int = 0
    relation_seconds: float = 0.0
    prompts: list[PromptTrace] = field(default_factory=list)
    cuts: dict[str, CutTrace] = field(default_factory=dict)
    spec: ModelSpec | None = None


@dataclass
class Executor:
    """Runs the plans of one statement.

    Args:
        cursor: the cursor of the statement's transaction, or one of its own.
        in_transaction: whether a transaction is open on it.
        values: the statement's parameters by name.
    """

    store: Store
    cursor: duckdb.DuckDBPyConnection
    in_transaction: bool
    models: Models
    segments: Segments
    context: StatementContext
    values: Values
    trace: Trace = field(default_factory=Trace)

    def run(self, plan: Plan) -> Result:
        """Run a plan."""
        if isinstance(plan, Select):
            return self._select(plan)
        if isinstance(plan, Materialize):
            return self._materialize_result(self.materialize(plan))
        return self._finish(plan)

    def prepare(self, plan: Plan) -> None:
        """Run a plan as far as EXPLAIN does: the relation and the token counts, never a model."""
        if isinstance(plan, Select):
            table = self.table(plan.input, None, write=False, lineage=False)
            self.trace.relation_rows = table.num_rows
        elif isinstance(plan, Materialize):
            prepared = self._prepare_materialize(plan, write=False)
            if prepared is not None:
                self.trace.prompts.append(PromptTrace(prepared))
        else:
            for _, prepared in self._prepare_answers(plan.input, write=False)[1]:
                if prepared is not None:
                    self.trace.prompts.append(PromptTrace(prepared))

    # -- the relational part ------------------------------------------------------------------

    def table(
        self, relation: Relation, model: str | None, *, write: bool, lineage: bool = True
    ) -> pa.Table:
        """Return all rows of a relation.

        Args:
            model: whose tokens its limits in tokens count; None for the connection's.
            write: whether token ids that are new may be kept.
            lineage: whether the relation is to see the lineage of its limits' rows.
        """
        started = time.perf_counter()
        if relation.cuts:
            table = self._cutter(write=write).table(relation, model, lineage=lineage)[0]
        else:
            table = to_arrow(relation.printed, self.cursor, self.values, self.context)
        self.trace.relation_seconds = time.perf_counter() - started
        return table

    def _select(self, plan: Select) -> Result:
        started = time.perf_counter()
        if plan.input.cuts:
            table, shown = self._cutter(write=True).table(plan.input, None, lineage=False)
            rows = rescanned(self.store, table, shown)
        else:
            # Rows wait in DuckDB until they are fetched.
            rows = run_printed(plan.input.printed, self.cursor, self.values, self.context)
            shown = columns_of(rows)
        self.trace.relation_seconds = time.perf_counter() - started
        return Result(shown, rows=rows)

    def _cutter(self, *, write: bool) -> Cutter:
        return Cutter(
            self.store,
            self.cursor,
            self.in_transaction,
            self.models,
            self.segments,
            self.context,
            self.values,
            self.trace.cuts,
            write,
        )

    # -- materialize --------------------------------------------------------------------------

    def materialize(self, plan: Materialize) -> Materialized | None:
        """Bring the rows of a plan into its form; None if there are no rows."""
        prepared = self._prepare_materialize(plan, write=True)
        if prepared is None:
            return None
        prompt, choice = prepared.prompt, prepared.choice
        spec = self._spec(plan)
        brought: Brought | None = None
        if choice.form == "ACTIVATION":
            from memql.engine.model.runtime import load_runtime

            runtime = load_runtime(spec)
            brought = bring(prompt, runtime, self.store, self.context, room_tokens=0)
        stored = self._keep(prepared, brought, spec)
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
            reused_tokens=brought.reused_tokens if brought else 0,
            computed_tokens=brought.computed_tokens if brought else prompt.tokens,
            bytes=prompt.tokens * spec.bytes_per_token if brought else 0,
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
        spec = self._spec(plan)
        if not rows:
            return None
        return self._preparer(plan, spec, write=write).prepare(rows, plan.ordered, None, 0)

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
        rows.register("_memql_result", table)
        rows.execute(f"SELECT {casts}, _memql_n FROM _memql_result")
        shown = columns_of(rows)[: len(columns)]
        return Result(shown, rows=rows, objects={0: (len(columns), [made])})

    # -- generate -----------------------------------------------------------------------------

    def _prepare_answers(
        self, plan: Answer, *, write: bool
    ) -> tuple[pa.Table, list[tuple[str, Prepared | None]]]:
        """Return the groups, and for each call and group (answer column, prompt or None).

        A group without rows, or without a question, has no prompt.
        """
        limits = [self._limits(call) for call in plan.calls]
        table = self.table(plan.groups, plan.target.model, write=write)
        groups = table.select(range(table.num_columns - 2 * len(plan.calls)))
        spec = self._spec(plan)
        preparer = self._preparer(plan, spec, write=write)
        prepared: list[tuple[str, Prepared | None]] = []
        for call, (limit_rows, limit_tokens) in zip(plan.calls, limits, strict=True):
            questions = table.column(f"{call.column}_q").to_pylist()
            lists = table.column(f"{call.column}_r").to_pylist()
            for question, items in zip(questions, lists, strict=True):
                rows = rows_of_group(items)
                self.trace.relation_rows += len(rows)
                # As for any aggregate: no rows, or no question, give NULL.
                one = None
                if rows and question is not None:
                    one = preparer.prepare(
                        rows, call.ordered, str(question), call.max_tokens, limit_rows, limit_tokens
                    )
                if one is not None and not one.prompt.segments:
                    one = None  # the LIMIT left no row
                prepared.append((call.column, one))
        return groups, prepared

    def _limits(self, call: GenerateCall) -> tuple[int | None, int | None]:
        def number(node: exp.Expr | None) -> int | None:
            if node is None:
                return None
            return whole_number(
                node, "LIMIT inside generate", self.cursor, self.values, self.context
            )

        return number(call.limit_rows), number(call.limit_tokens)

    def _finish(self, plan: Finish) -> Result:
        import pyarrow as pa

        answered: list[Answered] = []
        columns: dict[str, list[int | None]] = {call.column: [] for call in plan.input.calls}
        table, prepared = self._prepare_answers(plan.input, write=True)
        for column, one in prepared:
            columns[column].append(None if one is None else len(answered))
            if one is not None:
                answered.append(self._answer(plan.input, one))
        for column, numbers in columns.items():
            texts = [None if number is None else answered[number].text for number in numbers]
            table = table.append_column(column, pa.array(texts, pa.string()))
            table = table.append_column(f"{column}_n", pa.array(numbers, pa.int64()))
        width = len(plan.query.expressions)
        shown_answers = [i for i, name in enumerate(plan.answer_columns) if name is not None]
        if plan.query.args.get("distinct"):
            shown_answers = []
        objects = {
            output: (width + number, answered) for number, output in enumerate(shown_answers)
        }
        rows = self.store.cursor()
        rows.register(ANSWERS_TABLE, table)
        run_printed(plan.shown, rows, self.values, self.context)
        shown: tuple[Column, ...] = columns_of(rows)[:width]
        return Result(shown, rows=rows, objects=objects)

    def _answer(self, plan: Answer, prepared: Prepared) -> Answered:
        from memql.engine.model.runtime import load_runtime

        prompt, choice = prepared.prompt, prepared.choice
        self.context.check_cancel()
        runtime = load_runtime(self._spec(plan))
        room = len(prepared.tail_ids) + prepared.max_tokens
        brought: Brought | None = None
        started = time.perf_counter()
        if choice.form == "ACTIVATION":
            brought = bring(prompt, runtime, self.store, self.context, room)
            prefix = brought.prefix
        else:
            # Split where an activation is, so that both forms add in the same order.
            prefix = runtime.prefix(prompt.tokens + room)
            runtime.extend(
                prefix,
                prompt.ids,
                on_progress=self.context.progress,
                check_cancel=self.context.check_cancel,
            )
        before = time.perf_counter() - started
        generation = runtime.generate(
            prefix,
            prepared.tail_ids,
            max_tokens=prepared.max_tokens,
            check_cancel=self.context.check_cancel,
        )
        answered = Answered(
            text=generation.text.strip(),
            form=choice.form,
            model=runtime.spec.name,
            memory_ids=tuple(dict.fromkeys(member.id for member in prompt.members)),
            tokens=prompt.tokens,
            reused_tokens=brought.reused_tokens if brought else 0,
            computed_tokens=brought.computed_tokens if brought else prompt.tokens,
            question_tokens=len(prepared.tail_ids),
            answer_tokens=len(generation.ids),
            first_token_seconds=before + generation.first_token_seconds,
            seconds=before + generation.seconds,
        )
        # Written after the answer: nobody waits for the disk before the first token.
        try:
            self._keep(prepared, brought, runtime.spec, answered)
        except OperationalError as error:
            warnings.warn(
                f"the answer stands, but what it computed could not be stored: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
        return answered

    def _keep(
        self,
        prepared: Prepared,
        brought: Brought | None,
        spec: ModelSpec,
        answered: Answered | None = None,
    ) -> bool:
        """Store what was computed, if it should be; tell whether all of the prompt is stored."""
        started = time.perf_counter()
        stored = False
        if brought is not None:
            stored = keep(prepared.prompt, prepared.choice, brought, spec, self.store, self.context)
        seconds = time.perf_counter() - started
        self.trace.prompts.append(PromptTrace(prepared, brought, answered, seconds))
        return stored

    # -- shared -------------------------------------------------------------------------------

    def _spec(self, plan: Materialize | Answer) -> ModelSpec:
        if self.trace.spec is None:
            self.trace.spec = self.models.spec(plan.target.model, self.context)
        return self.trace.spec

    def _preparer(self, plan: Materialize | Answer, spec: ModelSpec, *, write: bool) -> Preparer:
        return Preparer(
            spec,
            self.segments,
            self.store,
            self.context,
            plan.target,
            plan.input.unproven,
            write,
        )


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
