"""Rows of a relation to prompts, and what is known of each before a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import TYPE_CHECKING, TypeVar

from memql.engine.calibrations import Calibrations
from memql.engine.choice import Choice, choose, match
from memql.engine.context import StatementContext
from memql.engine.cost import Calibration
from memql.engine.missing import why_not_stored
from memql.engine.model.decoding import Decoding
from memql.engine.model.spec import ModelSpec
from memql.engine.plan import LINEAGE_COLUMN, Target
from memql.engine.prompt import Member, Prompt, Row, bounds_of, canonical_order, read_members
from memql.engine.segments import Segments
from memql.errors import DataError, InternalError
from memql.storage.store import Store

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Figure = TypeVar("Figure", int, float)


@dataclass(frozen=True)
class Prepared:
    """A prompt with its form chosen; nothing of it has been computed.

    Args:
        tail_ids: token ids of the question and what follows it; empty without a question.
        decoding: how it is answered; None without a question.
        shared: whether a row is another owner's. Who asks is not told what is stored of it, which
            is what others have asked.
        next_reason: for EXPLAIN, why the first segment that is not loaded cannot be; else None.
    """

    prompt: Prompt
    choice: Choice
    question: str | None
    tail_ids: tuple[int, ...]
    decoding: Decoding | None
    shared: bool
    next_reason: str | None = None

    @property
    def max_tokens(self) -> int:
        """The longest answer, 0 without a question."""
        return 0 if self.decoding is None else self.decoding.max_tokens


def told(figure: Figure, prepared: Prepared) -> Figure | None:
    """Return what a prompt took, None where that tells what others have stored."""
    return None if prepared.shared else figure


@dataclass(frozen=True)
class Preparer:
    """Prepares the prompts of one statement for one model.

    Args:
        unproven: why the rows cannot be traced to memories, or None.
        in_transaction: whether what is computed may be undone.
        write: whether token ids that are new may be kept.
        explains: whether EXPLAIN asks.
    """

    spec: ModelSpec
    segments: Segments
    calibrations: Calibrations
    store: Store
    context: StatementContext
    target: Target
    unproven: str | None
    in_transaction: bool
    write: bool
    explains: bool = False

    def prepare(
        self,
        rows: Sequence[Row],
        ordered: bool,
        question: str | None,
        decoding: Decoding | None,
        limit_rows: int | None = None,
        limit_tokens: int | None = None,
    ) -> Prepared:
        """Return the prompt of rows with its form.

        Args:
            rows: as the relation gave them.
            ordered: whether they stand in the user's order.
            question: what is asked, or None.
            decoding: how it is answered; None without a question.
            limit_rows: how many rows at most, or None.
            limit_tokens: tokens of their segments at most, or None.

        Raises:
            DataError: prompt and answer do not fit the model's context.
        """
        if not ordered:
            rows = canonical_order(rows, self.context.owner)
        rows = rows[:limit_rows]
        if limit_tokens is not None:
            fitting, _ = self.segments.leading(
                rows, self.spec, limit_tokens, self.context.check_cancel, write=self.write
            )
            rows = rows[:fitting]
        shared = self.context.user is not None and any(
            member.owner != self.context.owner for row in rows for member in row.members
        )
        prompt = self.segments.prompt(
            rows,
            self.spec,
            self.context.owner,
            # The order would tell what others have stored of their rows.
            for_reuse=self.target.order == "reuse" and not ordered and not shared,
            write=self.write,
        )
        if self.context.user is not None:
            prompt = replace(prompt, shares_head=False)
        tail: list[int] = []
        if question is not None:
            tail = self.segments.tokens(self.spec).tail(question)
        max_tokens = 0 if decoding is None else decoding.max_tokens
        self._check_context(prompt, len(tail), max_tokens)
        unstorable = self._unstorable(prompt)
        choice = choose(
            prompt,
            self.target,
            self.spec,
            self.store,
            unstorable,
            len(tail) + max_tokens,
            self._calibration(prompt),
            shared=shared,
        )
        reason = self._next_reason(prompt, choice) if self.explains and not shared else None
        return Prepared(prompt, choice, question, tuple(tail), decoding, shared, reason)

    def _calibration(self, prompt: Prompt) -> Calibration | None:
        """Return what is known of the model's speed, measured now where a choice hangs on it."""
        if "cost_of_loading" in self.context.settings.disabled_rules:
            return None
        named = self.context.user is not None
        if not named and (known := self.calibrations.known(self.spec)) is not None:
            return known
        if self.target.form == "PLAINTEXT" or match(prompt, self.store).key is None:
            # Nothing is stored that could be loaded. What is known is not told a named user then:
            # it is known because somebody has stored something.
            return None
        if not self.write and not named:
            return None
        return self.calibrations.measured(self.spec)

    def _next_reason(self, prompt: Prompt, choice: Choice) -> str | None:
        loaded = choice.way.match.segments
        if choice.form != "ACTIVATION" or loaded == len(prompt.segments):
            return None
        if loaded < choice.match.segments:
            return "computing is cheaper than loading"
        return why_not_stored(prompt.segments[loaded], self.spec, self.store)

    def _unstorable(self, prompt: Prompt) -> str | None:
        if self.unproven is not None:
            return f"lineage not proven: {self.unproven}"
        if self.in_transaction:
            # It may be undone, and rows need not be memories to be its own: what a table of the
            # transaction says can stand beside a memory that was committed long ago.
            return "the transaction is not committed"
        others = sorted({member.owner for member in prompt.members if not member.kept})
        if others:
            return f"no right to MATERIALIZE memories of {', '.join(others)}"
        return None

    def _check_context(self, prompt: Prompt, tail_tokens: int, max_tokens: int) -> None:
        needed = prompt.tokens + tail_tokens + max_tokens
        if needed <= self.spec.context_tokens:
            return
        parts = f"{len(prompt.segments):,} rows make {prompt.tokens:,} tokens"
        if tail_tokens:
            parts += f", the question {tail_tokens:,}, the answer up to {max_tokens:,}"
        raise DataError(
            f"{parts}: together {needed:,}, but the model {self.spec.name} has a context of "
            f"{self.spec.context_tokens:,} tokens",
            hint="select fewer rows: a narrower WHERE, or FROM (SELECT content FROM memories "
            "... LIMIT n)",
            code="54000",
        )


def rows_of_groups(lists: pa.ChunkedArray) -> list[list[Row]]:
    """Return the rows in each list of the list column of a generate; NULL is no row."""
    groups: list[list[Row]] = []
    for chunk in lists.chunks:
        items = chunk.values
        texts = items.field("text").to_pylist()
        has_lineage = "lineage" in [field.name for field in items.type]
        members = read_members(items.field("lineage")) if has_lineage else repeat((), len(texts))
        rows = [Row(text, one) for text, one in zip(texts, members, strict=True)]
        groups += [rows[start:stop] for start, stop in bounds_of(chunk)]
    return groups


def rows_of_table(table: pa.Table, scratch: duckdb.DuckDBPyConnection) -> list[Row]:
    """Return the rows of a materialized relation, each rendered; rows without text are left out.

    Args:
        table: the relation's rows; the column of lineage is not shown.
        scratch: a cursor for turning values into text as DuckDB does.
    """
    names = table.column_names
    if names.count(LINEAGE_COLUMN) > 1:
        raise InternalError("the rows of a relation have two lineages")
    # By number: names may repeat, and UNION BY NAME puts the lineage between them.
    numbers = [i for i, name in enumerate(names) if name != LINEAGE_COLUMN]
    rows = rendered_rows(table, names, numbers, scratch)
    return [row for row in rows if row is not None]


def rendered_rows(
    table: pa.Table,
    all_names: Sequence[str],
    numbers: Sequence[int],
    scratch: duckdb.DuckDBPyConnection,
) -> list[Row | None]:
    """Return each row as its value or values.

    One column is shown as its value; several as ``name: value; ...``. NULLs are left out; a row
    of NULLs only has no text and is None.

    Args:
        table: rows.
        all_names: the names of its columns.
        numbers: the columns to show.
        scratch: a cursor for turning values into text as DuckDB does.
    """
    import pyarrow as pa

    names = [all_names[i] for i in numbers]
    lineage: Iterable[tuple[Member, ...]] = repeat((), table.num_rows)
    if LINEAGE_COLUMN in all_names:
        chunks = table.column(all_names.index(LINEAGE_COLUMN)).chunks
        lineage = chain.from_iterable(read_members(chunk) for chunk in chunks)
    shown = table.select(numbers)
    if any(not pa.types.is_string(kind) for kind in shown.schema.types):
        from memql.engine.result import arrow_of, scannable

        # Columns are taken by number: two may have one name.
        shown = shown.rename_columns([f"c{i}" for i in range(len(names))])
        scratch.register("_memql_shown", scannable(shown))
        casts = ", ".join(f"CAST(c{i} AS VARCHAR)" for i in range(len(names)))
        shown = arrow_of(scratch.execute(f"SELECT {casts} FROM _memql_shown"))
        scratch.unregister("_memql_shown")
    columns = [shown.column(i).to_pylist() for i in range(len(names))]
    rows: list[Row | None] = []
    for number, members in enumerate(lineage):
        values = [column[number] for column in columns]
        if len(values) == 1:
            text = values[0]
        else:
            text = "; ".join(
                f"{name}: {value}"
                for name, value in zip(names, values, strict=True)
                if value is not None
            )
        shows = text is not None and (len(values) == 1 or text)
        rows.append(Row(text, members) if shows else None)
    return rows
