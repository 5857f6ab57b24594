"""``LIMIT n TOKENS``: the longest leading run of rows whose segments fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
from sqlglot import exp

from memql.engine.bind.parameters import Values
from memql.engine.bind.sources import MEMORY_NAMES
from memql.engine.context import StatementContext
from memql.engine.failures import of_text, translate
from memql.engine.models import Models
from memql.engine.names import position
from memql.engine.plan import LINEAGE_COLUMN, Cut, Relation
from memql.engine.printing import print_query
from memql.engine.result import Column, arrow_of, columns_of
from memql.engine.run.prompts import rendered_rows
from memql.engine.run.relation import run_printed
from memql.engine.segments import Segments
from memql.errors import DataError
from memql.storage.store import Store
from memql.storage.transaction import roll_back

if TYPE_CHECKING:
    import pyarrow as pa

    from memql.engine.model.spec import ModelSpec

# Rows that are read ahead of what is counted; behind the limit no more are asked for.
BATCH_ROWS = 2048

# The most rows that a bound may ask for: past it a whole sort is no dearer than a top-n.
MOST_TOP_ROWS = 100_000

LARGEST_LIMIT = 2**62


@dataclass(frozen=True)
class CutTrace:
    """What a limit in tokens left, for EXPLAIN."""

    limit: int
    rows: int
    tokens: int
    model: str


@dataclass(frozen=True)
class Cutter:
    """Runs relations that have limits in tokens.

    Args:
        cursor: the statement's; outside a transaction nothing else may run on it.
        in_transaction: whether it has a transaction open already.
        traces: by the cut's table, filled as the cuts run.
        write: whether token ids that are new may be kept in the catalog.
    """

    store: Store
    cursor: duckdb.DuckDBPyConnection
    in_transaction: bool
    models: Models
    segments: Segments
    context: StatementContext
    values: Values
    traces: dict[str, CutTrace]
    write: bool

    def table(
        self, relation: Relation, model: str | None, *, lineage: bool
    ) -> tuple[pa.Table, tuple[Column, ...]]:
        """Return all rows of a relation, and its columns.

        Args:
            model: whose tokens are counted where a cut names none; None for the connection's.
            lineage: whether the relation sees the lineage of its cuts, which may be traced
                where it is not itself.

        Raises:
            DataError: a limit is no whole number of at least 0.
            Error: as :func:`run_printed`.
        """
        columns: dict[str, tuple[Column, ...]] = {}
        table: pa.Table | None = None
        with self._snapshot():
            try:
                for cut in relation.cuts:
                    table, columns[cut.table] = self._cut(cut, model, columns)
                    if _reads_all_of(relation.query, cut.table):
                        kept = _kept(columns[cut.table], lineage=lineage)
                        return table.select(kept), tuple(columns[cut.table][i] for i in kept)
                    numbered = table.rename_columns([f"c{i}" for i in range(table.num_columns)])
                    self.cursor.register(cut.table, numbered)
                printed = print_query(_with_types(relation.query, columns, lineage=lineage))
                running = run_printed(printed, self.cursor, self.values, self.context)
                shown = columns_of(running)
                return arrow_of(running), shown
            except duckdb.Error as error:
                raise translate(error, self.context) from error
            finally:
                # After an error DuckDB refuses this too, and the error must not be hidden by it.
                with contextlib.suppress(duckdb.Error):
                    for name in columns:
                        self.cursor.unregister(name)

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Let all parts of a relation see the memories as they are at one moment."""
        if self.in_transaction:
            yield
            return
        try:
            self.cursor.begin()
            yield
        finally:
            roll_back(self.cursor)

    def _cut(
        self, cut: Cut, model: str | None, columns: dict[str, tuple[Column, ...]]
    ) -> tuple[pa.Table, tuple[Column, ...]]:
        room = whole_number(cut.tokens, "LIMIT n TOKENS", self.cursor, self.values, self.context)
        spec = self.models.spec(cut.model or model, self.context)
        query = _with_types(cut.input.query, columns, lineage=True)
        kept = None
        if query.args.get("limit") is None and room <= MOST_TOP_ROWS:
            # Every text has a token, so that DuckDB need not sort more rows than there is room
            # for; only rows without text could make it too few.
            top = query.copy()
            top.set("limit", exp.Limit(expression=exp.Literal.number(room + 1)))
            kept = self._leading(top, spec, room)
            if not kept.ended and kept.table.num_rows > room:
                kept = None
        if kept is None:
            kept = self._leading(query, spec, room)
        self.traces[cut.table] = CutTrace(room, kept.table.num_rows, kept.tokens, spec.name)
        return kept.table, kept.columns

    def _leading(self, query: exp.Query, spec: ModelSpec, room_tokens: int) -> _Leading:
        """Run a query until a row does not fit."""
        import pyarrow as pa

        printed = print_query(query)
        running = self.cursor.sql(printed.sql, params=self.values.of(printed.parameters))
        columns = tuple(
            Column(name, str(kind))
            for name, kind in zip(running.columns, running.types, strict=True)
        )
        # DuckDB 1.5 calls it fetch_arrow_reader.
        name = "to_arrow_reader" if hasattr(running, "to_arrow_reader") else "fetch_arrow_reader"
        reader = getattr(running, name)(BATCH_ROWS)
        kept: list[pa.Table] = []
        used, ended = 0, False
        scratch = self.store.cursor()
        try:
            for batch in reader:
                self.context.check_cancel()
                part = pa.Table.from_batches([batch])
                rows = _rendered(part, columns, scratch)
                room = room_tokens - used
                fitting, tokens = self.segments.leading(
                    rows, spec, room, self.context.check_cancel, write=self.write
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
            raise translate(of_text(str(error)), self.context) from error
        finally:
            reader.close()
        return _Leading(table, columns, used, ended)


@dataclass(frozen=True)
class _Leading:
    """Leading rows of a query with the tokens of their segments.

    Args:
        ended: whether a row behind them did not fit; else the query has no more rows.
    """

    table: pa.Table
    columns: tuple[Column, ...]
    tokens: int
    ended: bool


def whole_number(
    node: exp.Expr,
    what: str,
    cursor: duckdb.DuckDBPyConnection,
    values: Values,
    context: StatementContext,
) -> int:
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
        value = values.of([node.name])[node.name]
    else:
        printed = print_query(exp.select(node.copy()))
        found = run_printed(printed, cursor, values, context).fetchall()
        value = found[0][0]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_LIMIT:
        raise DataError(
            f"{what} takes a whole number of at least 0, found {value!r}",
            position=position(context.text, node),
            statement=context.text,
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


def _reads_all_of(query: exp.Expr, table: str) -> bool:
    """Tell whether a query is nothing but ``SELECT * FROM table``."""
    if not isinstance(query, exp.Select):
        return False
    clauses = {key for key, value in query.args.items() if value}
    source = query.args["from_"].this if "from_" in clauses else None
    return (
        clauses == {"expressions", "from_"}
        and len(query.expressions) == 1
        and isinstance(query.expressions[0], exp.Star)
        and not any(query.expressions[0].args.values())
        and isinstance(source, exp.Table)
        and source.name == table
        and {key for key, value in source.args.items() if value} == {"this"}
    )


def _kept(columns: tuple[Column, ...], *, lineage: bool) -> list[int]:
    return [i for i, column in enumerate(columns) if lineage or column.name != LINEAGE_COLUMN]


def _with_types(
    query: exp.Query, columns: dict[str, tuple[Column, ...]], *, lineage: bool
) -> exp.Query:
    """Return a query that reads cut tables with the names and types that their rows had.

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
