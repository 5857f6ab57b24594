"""DESCRIBE and SUMMARIZE: the columns of a table or query, and figures about their values."""

from __future__ import annotations

from dataclasses import replace

from sqlglot import exp

from memql.engine.names import fold, position, quote
from memql.engine.plan import Plan, Select
from memql.engine.printing import Printed
from memql.engine.result import Result, arrow_of, columns_of, rescanned
from memql.engine.run.executor import Executor
from memql.engine.run.relation import forget_rows, run_printed
from memql.engine.tables import Tables
from memql.errors import NotSupportedError


def described_query(tree: exp.Describe | exp.Summarize) -> exp.Query | None:
    """Return the query that a statement asks about; a table is all of its rows."""
    node = tree.this
    if isinstance(node, exp.Query):
        return node
    if isinstance(node, exp.Table):
        return exp.Select(expressions=[exp.Star()]).from_(node.copy())
    return None


def describe(
    tree: exp.Describe | exp.Summarize, plan: Plan, tables: Tables, executor: Executor
) -> Result:
    """Return a row for each column of the plan's rows, as DuckDB does.

    Args:
        plan: of :func:`described_query`.
        tables: the user's own tables: of one the keys and defaults are known too.

    Raises:
        NotSupportedError: a query with generate, MATERIALIZE or a limit in tokens.
    """
    verb = tree.key.upper()
    if not isinstance(plan, Select) or plan.input.parts:
        raise NotSupportedError(
            f"{verb} of a query with generate, MATERIALIZE or a limit in tokens is not possible",
            hint="EXPLAIN shows what such a query does",
            position=position(executor.context.text, tree.this),
            statement=executor.context.text,
        )
    printed = replace(plan.input.printed, sql=f"{verb} {plan.input.printed.sql}")
    if isinstance(tree, exp.Describe) and isinstance(tree.this, exp.Table):
        found = tables.find(tree.this.name, tree.this.db)
        if found is not None and fold(tree.this.name) == fold(found.name):
            printed = Printed(f"DESCRIBE {quote(found.schema)}.{quote(found.name)}", ())
    try:
        running = run_printed(printed, executor.cursor, executor.values, executor.context)
        columns = columns_of(running)
        return Result(columns, rows=rescanned(executor.store, arrow_of(running), columns))
    finally:
        forget_rows(printed, executor.cursor)
