"""The model's step of a plan: prompts of the groups, their answers, and what uses them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from memql.engine.plan import ANSWERS_TABLE, Answer, Finish, Materialize, Target
from memql.engine.printing import Printed
from memql.engine.result import scannable
from memql.engine.reuse import Brought, bring, keep
from memql.engine.run.cut import whole_number
from memql.engine.run.prompts import Prepared, Preparer, rows_of_group, told
from memql.engine.run.relation import run_printed
from memql.engine.run.statement import Statement
from memql.engine.run.trace import Answered, PromptTrace, Trace
from memql.errors import OperationalError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

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
                prompts.append((call.column, one))
        return Groups(table.select(range(table.num_columns - 2 * len(plan.calls))), prompts)

    def finish(
        self, plan: Finish, groups: Groups, printed: Printed
    ) -> tuple[duckdb.DuckDBPyConnection, list[Answered]]:
        """Return a cursor with the rows of a finish, and the answers by their number.

        Args:
            printed: the finish as DuckDB reads it.
        """
        import pyarrow as pa

        answered: list[Answered] = []
        columns: dict[str, list[int | None]] = {call.column: [] for call in plan.input.calls}
        for column, one in groups.prompts:
            columns[column].append(None if one is None else len(answered))
            if one is not None:
                answered.append(self._answer(plan.input, one))
        table = groups.table
        for column, numbers in columns.items():
            texts = [None if number is None else answered[number].text for number in numbers]
            table = table.append_column(column, pa.array(texts, pa.string()))
            table = table.append_column(f"{column}_n", pa.array(numbers, pa.int64()))
        rows = self.statement.store.cursor()
        rows.register(ANSWERS_TABLE, scannable(table))
        run_printed(printed, rows, self.statement.values, self.statement.context)
        return rows, answered

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

    def _answer(self, plan: Answer, prepared: Prepared) -> Answered:
        from memql.engine.model.runtime import load_runtime

        prompt, choice = prepared.prompt, prepared.choice
        context = self.statement.context
        context.check_cancel()
        runtime = load_runtime(self.spec(plan.target))
        room = len(prepared.tail_ids) + prepared.max_tokens
        started = time.perf_counter()
        brought = bring(prompt, choice.form, runtime, self.statement, room)
        before = time.perf_counter() - started
        generation = runtime.generate(
            brought.prefix,
            prepared.tail_ids,
            max_tokens=prepared.max_tokens,
            check_cancel=context.check_cancel,
        )
        answered = Answered(
            text=generation.text.strip(),
            form=choice.form,
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
        # Written after the answer: nobody waits for the disk before the first token.
        try:
            self.keep(prepared, brought, runtime.spec, answered)
        except OperationalError as error:
            warnings.warn(
                f"the answer stands, but what it computed could not be stored: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
        return answered

    def keep(
        self,
        prepared: Prepared,
        brought: Brought | None,
        spec: ModelSpec,
        answered: Answered | None = None,
    ) -> bool:
        """Store what was computed, if it should be; tell whether all of the prompt is stored."""
        started = time.perf_counter()
        stored = False
        if brought is not None and self.write:
            statement = self.statement
            stored = keep(
                prepared.prompt,
                prepared.choice,
                brought,
                spec,
                statement.store,
                statement.context,
                shared=prepared.shared,
            )
        seconds = time.perf_counter() - started
        self.trace.prompts.append(PromptTrace(prepared, brought, answered, seconds))
        return stored
