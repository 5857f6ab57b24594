"""The model's step of a plan: prompts of the groups, their answers, and what uses them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from sqlglot import exp

from memql.engine.plan import ANSWERS_TABLE, Answer, Finish, Materialize, Target
from memql.engine.printing import Printed
from memql.engine.result import scannable
from memql.engine.reuse import Brought, Sharing, bring, keep, mend, observe
from memql.engine.run.cut import whole_number
from memql.engine.run.prompts import Prepared, Preparer, rows_of_groups, told
from memql.engine.run.relation import run_printed
from memql.engine.run.statement import Statement
from memql.engine.run.trace import Answered, PromptTrace, Trace
from memql.errors import NotSupportedError, OperationalError
from memql.storage.nodes import DamagedNode, NodeGone

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from memql.engine.model.prefix import Prefix
    from memql.engine.model.runtime import Generation, Runtime
    from memql.engine.model.spec import ModelSpec


@dataclass(frozen=True)
class Groups:
    """The groups of a SELECT with generate, with their prompts.

    Args:
        table: the columns of the relation that the finish reads.
        prompts: for each call and group the answer's column and the prompt, or None: a group
            without rows, or without a question, has none.
    """

    table: pa.Table
    prompts: Sequence[tuple[str, Prepared | None]]


@dataclass(frozen=True)
class Answerer:
    """Makes the answers of one plan, or of one part of it.

    Args:
        trace: filled while it runs.
        write: whether what is computed, and token ids that are new, may be kept.
    """

    statement: Statement
    trace: Trace
    write: bool

    def limits(self, plan: Answer) -> list[tuple[int | None, int | None]]:
        """Return (rows, tokens) of each call's LIMIT.

        Raises:
            DataError: one is no whole number of at least 0.
        """

        def number(node: exp.Expr | None) -> int | None:
            return None if node is None else whole_number(node, what, self.statement)

        what = "LIMIT inside generate"
        return [(number(call.limit_rows), number(call.limit_tokens)) for call in plan.calls]

    def groups(
        self, plan: Answer, table: pa.Table, limits: Sequence[tuple[int | None, int | None]]
    ) -> Groups:
        """Return the groups with their prompts.

        Args:
            table: the rows of ``plan.groups``.
            limits: as :meth:`limits` gives them.

        Raises:
            DataError: a prompt does not fit the model's context.
        """
        preparer = self.preparer(plan, self.spec(plan.target))
        assert self.trace.relation_rows is not None
        prompts: list[tuple[str, Prepared | None]] = []
        for call, (limit_rows, limit_tokens) in zip(plan.calls, limits, strict=True):
            questions = table.column(f"{call.column}_q").to_pylist()
            groups = rows_of_groups(table.column(f"{call.column}_r"))
            for question, rows in zip(questions, groups, strict=True):
                self.trace.relation_rows += len(rows)
                # As for any aggregate: no rows, or no question, give NULL.
                one = None
                if rows and question is not None:
                    one = preparer.prepare(
                        rows, call.ordered, str(question), call.decoding, limit_rows, limit_tokens
                    )
                if one is not None and not one.prompt.segments:
                    one = None  # the LIMIT left no row
                prompts.append((call.column, one))
        return Groups(table.select(range(table.num_columns - 2 * len(plan.calls))), prompts)

    def finish(
        self, plan: Finish, groups: Groups, printed: Printed
    ) -> tuple[duckdb.DuckDBPyConnection, list[Answered]]:
        """Return a cursor with the rows of a finish, and the answers by their number.

        Args:
            printed: the finish as DuckDB reads it.
        """
        prompts = [one for _, one in groups.prompts if one is not None]
        answered = self._answers(plan.input, prompts)
        return self._finished(plan, groups, printed, answered), answered

    def stream(
        self, plan: Finish, groups: Groups, printed: Printed
    ) -> Generator[str, None, tuple[duckdb.DuckDBPyConnection, list[Answered]]]:
        """Give the pieces of the one answer of a plan, then what :meth:`finish` returns.

        Raises:
            NotSupportedError: there are several answers.
        """
        prompts = [one for _, one in groups.prompts if one is not None]
        if len(prompts) > 1:
            raise NotSupportedError(
                f"the query has {len(prompts)} answers, and only one can be streamed",
                hint="ask for one group at a time, or execute the query",
            )
        answered = []
        for prepared in prompts:
            runtime = self._runtime(plan.input)
            answered.append((yield from self._answering(runtime, prepared, in_pieces=True)))
        return self._finished(plan, groups, printed, answered), answered

    def _finished(
        self, plan: Finish, groups: Groups, printed: Printed, answered: Sequence[Answered]
    ) -> duckdb.DuckDBPyConnection:
        import pyarrow as pa

        columns: dict[str, list[int | None]] = {call.column: [] for call in plan.input.calls}
        count = 0
        for column, one in groups.prompts:
            columns[column].append(None if one is None else count)
            count += one is not None
        table = groups.table
        for column, numbers in columns.items():
            texts = [None if number is None else answered[number].text for number in numbers]
            table = table.append_column(column, pa.array(texts, pa.string()))
            table = table.append_column(f"{column}_n", pa.array(numbers, pa.int64()))
        rows = self.statement.store.cursor()
        rows.register(ANSWERS_TABLE, scannable(table))
        run_printed(printed, rows, self.statement.values, self.statement.context)
        return rows

    def note(self, groups: Groups) -> None:
        """Note the prompts of groups that no model is asked about."""
        made = [PromptTrace(one) for _, one in groups.prompts if one is not None]
        self.trace.prompts.extend(made)

    def spec(self, target: Target) -> ModelSpec:
        """Return the model of a plan."""
        if self.trace.spec is None:
            self.trace.spec = self.statement.models.spec(target.model, self.statement.context)
        return self.trace.spec

    def preparer(self, plan: Materialize | Answer, spec: ModelSpec) -> Preparer:
        """Return what makes the prompts of a plan."""
        statement = self.statement
        return Preparer(
            spec,
            statement.segments,
            statement.calibrations,
            statement.store,
            statement.context,
            plan.target,
            plan.input.unproven,
            statement.in_transaction,
            self.write,
            self.trace.explains,
        )

    def _runtime(self, plan: Answer) -> Runtime:
        from memql.engine.model.runtime import load_runtime

        return load_runtime(self.spec(plan.target))

    def _answers(self, plan: Answer, prompts: Sequence[Prepared]) -> list[Answered]:
        """Return the answers to all prompts; those that fit together are made together."""
        if not prompts:
            return []
        from memql.engine.model.batch import plan_batches

        runtime = self._runtime(plan)
        lengths = [(one.prompt.tokens + len(one.tail_ids), one.max_tokens) for one in prompts]
        answered: dict[int, Answered] = {}
        several = len(prompts) > 1 and self.statement.runs("share_prefixes")
        sharing = Sharing() if several else None
        begin = len(self.trace.prompts)
        for numbers in plan_batches(runtime, lengths):
            batch = [prompts[number] for number in numbers]
            if len(batch) == 1:
                made = [_drained(self._answering(runtime, batch[0], sharing, in_pieces=False))]
            else:
                made = self._answer_together(runtime, batch, sharing)
            answered.update(zip(numbers, made, strict=True))
        places = {id(prepared): place for place, prepared in enumerate(prompts)}
        self.trace.prompts[begin:] = sorted(
            self.trace.prompts[begin:], key=lambda trace: places[id(trace.prepared)]
        )
        return [answered[number] for number in range(len(prompts))]

    def _answering(
        self,
        runtime: Runtime,
        prepared: Prepared,
        sharing: Sharing | None = None,
        *,
        in_pieces: bool,
    ) -> Generator[str, None, Answered]:
        self.statement.context.check_cancel()
        started = time.perf_counter()
        brought = self._bring(runtime, prepared, sharing, ahead=sharing is None)
        while True:
            before = time.perf_counter() - started
            try:
                with brought.arriving() as arrival:
                    generation = yield from self._generation(
                        runtime, prepared, brought.prefix, in_pieces=in_pieces
                    )
                break
            except (DamagedNode, NodeGone) as error:
                # No token has come: the first needs all layers.
                mend(error, self.statement.store)
                brought = self._bring(runtime, prepared, sharing)
        if arrival is not None:
            brought = brought.after(arrival)
            observe(brought, runtime, self.statement)
        answered = self._answered(runtime, prepared, brought, generation, before)
        # Written after the answer: nobody waits for the disk before the first token.
        seconds = self._kept(prepared, brought, runtime.spec)
        self.trace.prompts.append(PromptTrace(prepared, brought, answered, seconds))
        return answered

    def _generation(
        self, runtime: Runtime, prepared: Prepared, prefix: Prefix, *, in_pieces: bool
    ) -> Generator[str, None, Generation]:
        assert prepared.decoding is not None
        arguments = (prefix, prepared.tail_ids, prepared.decoding)
        check_cancel = self.statement.context.check_cancel
        if not in_pieces:
            return runtime.generate(*arguments, check_cancel=check_cancel)
        return (yield from runtime.stream(*arguments, check_cancel=check_cancel))

    def _answer_together(
        self, runtime: Runtime, batch: Sequence[Prepared], sharing: Sharing | None
    ) -> list[Answered]:
        from memql.engine.model.batch import Request, answer_together

        context = self.statement.context
        requests, brought, stored_seconds = [], [], []
        started = time.perf_counter()
        for prepared in batch:
            context.check_cancel()
            assert prepared.decoding is not None
            one = self._bring(runtime, prepared, sharing)
            requests.append(Request(one.prefix, prepared.tail_ids, prepared.decoding))
            brought.append(one)
            # Written before the answers: the next prompt may begin with the same rows.
            stored_seconds.append(self._kept(prepared, one, runtime.spec))
        before = time.perf_counter() - started
        generations = answer_together(runtime, requests, check_cancel=context.check_cancel)
        made = []
        for prepared, one, generation, seconds in zip(
            batch, brought, generations, stored_seconds, strict=True
        ):
            answered = self._answered(runtime, prepared, one, generation, before)
            self.trace.prompts.append(PromptTrace(prepared, one, answered, seconds))
            made.append(answered)
        return made

    def _bring(
        self,
        runtime: Runtime,
        prepared: Prepared,
        sharing: Sharing | None,
        *,
        ahead: bool = False,
    ) -> Brought:
        """Return the prompt as a prefix with room for question and answer, and what it took."""
        room = len(prepared.tail_ids) + prepared.max_tokens
        form = prepared.choice.form
        return bring(prepared.prompt, form, runtime, self.statement, room, sharing, ahead=ahead)

    def _answered(
        self,
        runtime: Runtime,
        prepared: Prepared,
        brought: Brought,
        generation: Generation,
        before: float,
    ) -> Answered:
        prompt = prepared.prompt
        return Answered(
            text=generation.text,
            form=prepared.choice.form,
            model=runtime.spec.name,
            memory_ids=tuple(dict.fromkeys(member.id for member in prompt.members)),
            tokens=prompt.tokens,
            reused_tokens=told(brought.way.match.tokens, prepared),
            computed_tokens=told(brought.way.computed_tokens, prepared),
            question_tokens=len(prepared.tail_ids),
            answer_tokens=len(generation.ids),
            first_token_seconds=told(before + generation.first_token_seconds, prepared),
            seconds=told(before + generation.seconds, prepared),
        )

    def _kept(self, prepared: Prepared, brought: Brought, spec: ModelSpec) -> float:
        """Store what was computed, if it should be; return the seconds. A failure is a warning."""
        started = time.perf_counter()
        try:
            self._keep(prepared, brought, spec)
        except OperationalError as error:
            warnings.warn(
                f"the answer stands, but what it computed could not be stored: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
        return time.perf_counter() - started

    def keep(self, prepared: Prepared, brought: Brought | None, spec: ModelSpec) -> bool:
        """Store what was computed, if it should be; tell whether all of the prompt is stored."""
        started = time.perf_counter()
        stored = self._keep(prepared, brought, spec)
        seconds = time.perf_counter() - started
        self.trace.prompts.append(PromptTrace(prepared, brought, None, seconds))
        return stored

    def _keep(self, prepared: Prepared, brought: Brought | None, spec: ModelSpec) -> bool:
        if brought is None or not self.write:
            return False
        return keep(
            prepared.prompt,
            prepared.choice,
            brought,
            spec,
            self.statement.store,
            self.statement.context,
            shared=prepared.shared,
        )


def _drained(running: Generator[str, None, Answered]) -> Answered:
    while True:
        try:
            next(running)
        except StopIteration as end:
            return cast(Answered, end.value)
