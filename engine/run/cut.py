"""``LIMIT n TOKENS``: the longest leading run of rows whose segments fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from memql.engine.bind.sources import MEMORY_NAMES
from memql.engine.failures import of_text, translate
from memql.engine.names import position
from memql.engine.plan import Cut
from memql.engine.printing import print_query
from memql.engine.result import Column
from memql.engine.run.prompts import rendered_rows
from memql.engine.run.relation import forget_rows, register_rows, run_printed
from memql.engine.run.statement import Statement
from memql.engine.run.trace import CutTrace
from memql.errors import DataError

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from memql.engine.model.spec import ModelSpec

# Rows that are read ahead of what is counted; behind the limit no more are asked for.
BATCH_ROWS = 2048

# The most rows that a bound may ask for: past it a whole sort is no dearer than a top-n.
MOST_TOP_ROWS = 100_000

LARGEST_LIMIT = 2**62


@dataclass(frozen=True)
class Leading:
    """Leading rows of a query with the tokens of their segments.

    Args:
        ended: whether a row behind them did not fit; else the query has no more rows.
    """

    table: pa.Table
    columns: tuple[Column, ...]
    tokens: int
    ended: bool


@dataclass(frozen=True)
class Cutter:
    """Runs queries with a limit in tokens.

    Args:
        write: whether token ids that are new may be kept in the catalog.
    """

    statement: Statement
    write: bool

    def cut(self, cut: Cut, query: exp.Query, model: str | None) -> tuple[Leading, CutTrace]:
        """Return the leading rows that fit.

        Args:
            query: the query of the cut, as it reads the parts before it.
            model: whose tokens are counted where the cut names none; None for the connection's.

        Raises:
            DataError: the limit is no whole number of at least 0.
            Error: as :func:`run_printed`.
        """
        room = whole_number(cut.tokens, "LIMIT n TOKENS", self.statement)
        spec = self.statement.models.spec(cut.model or model, self.statement.context)
        kept = None
        if cut.bounded and room <= MOST_TOP_ROWS:
            top = query.copy()
            top.set("limit", exp.Limit(expression=exp.Literal.number(room + 1)))
            kept = self._leading(top, spec, room)
            if not kept.ended and kept.table.num_rows > room:
                kept = None
        if kept is None:
            kept = self._leading(query, spec, room)
        return kept, CutTrace(room, kept.table.num_rows, kept.tokens, spec.name)

    def _leading(self, query: exp.Query, spec: ModelSpec, room_tokens: int) -> Leading:
        """Run a query until a row does not fit."""
        import pyarrow as pa

        printed = print_query(query)
        statement, context = self.statement, self.statement.context
        params = statement.values.of(printed.parameters)
        register_rows(printed, statement.cursor, statement.values)
        running = statement.cursor.sql(printed.sql, params=params)
        columns = tuple(
            Column(name, str(kind))
            for name, kind in zip(running.columns, running.types, strict=True)
        )
        # DuckDB 1.5 calls it fetch_arrow_reader.
        name = "to_arrow_reader" if hasattr(running, "to_arrow_reader") else "fetch_arrow_reader"
        reader = getattr(running, name)(BATCH_ROWS)
        kept: list[pa.Table] = []
        used, ended = 0, False
        scratch = statement.store.cursor()
        try:
            for batch in reader:
                context.check_cancel()
                part = pa.Table.from_batches([batch])
                rows = _rendered(part, columns, scratch)
                room = room_tokens - used
                fitting, tokens = statement.segments.leading(
                    rows, spec, room, context.check_cancel, write=self.write
                )
                used += tokens
                kept.append(part.slice(0, fitting))
                ended = fitting < part.num_rows
                if ended:
                    break
            table = pa.Table.from_batches([], reader.schema)
            if kept:
                table = pa.concat_tables(kept)
        except (OSError, pa.ArrowException) as error:
            # What fails behind the first rows comes through Arrow, as text.
            raise translate(of_text(str(error)), context) from error
        finally:
            reader.close()
            forget_rows(printed, statement.cursor)
        return Leading(table, columns, used, ended)


def whole_number(node: exp.Expr, what: str, statement: Statement) -> int:
    """Return the value of the number in a LIMIT.

    Args:
        node: an expression without columns.
        what: the clause, for the error.

    Raises:
        DataError: it is no whole number, or less than 0.
    """
    value: Any
    if isinstance(node, exp.Literal) and node.is_int:
        value = int(node.name)
    elif isinstance(node, exp.Placeholder):
        value = statement.values.of([node.name])[node.name]
    else:
        printed = print_query(exp.select(node.copy()))
        running = run_printed(printed, statement.cursor, statement.values, statement.context)
        value = running.fetchall()[0][0]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_LIMIT:
        raise DataError(
            f"{what} takes a whole number of at least 0, found {value!r}",
            position=position(statement.context.text, node),
            statement=statement.context.text,
            code="22023",
        )
    return value


def _rendered(
    part: pa.Table, columns: tuple[Column, ...], scratch: duckdb.DuckDBPyConnection
) -> list[Any]:
    """Return the rows as text; what holds all columns of a memory is read by its content."""
    names = [column.name for column in columns]
    width = len(MEMORY_NAMES)
    numbers = [i for i, name in enumerate(names) if not name.startswith("_memql")]
    for start in range(len(names) - width + 1):
        if tuple(names[start : start + width]) == MEMORY_NAMES:
            content = start + MEMORY_NAMES.index("content")
            numbers = [i for i in numbers if i == content or not start <= i < start + width]
    return rendered_rows(part, names, numbers, scratch)
