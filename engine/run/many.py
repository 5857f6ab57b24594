"""Runs a statement once for each set of parameters, in as few statements as do the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.batch import batches
from memql.engine.bind.changes import ChangePlan
from memql.engine.bind.parameters import Parameters, Values, name_parameters
from memql.engine.context import StatementContext
from memql.engine.optimize import Optimized
from memql.engine.plancache import KnownPlan
from memql.engine.result import Result
from memql.engine.tables import Tables

if TYPE_CHECKING:
    import pyarrow as pa

# The statements that have a plan, which is kept.
PLANNED = (exp.Query, exp.Insert, exp.Update, exp.Delete, exp.Merge, syntax.Materialize)

Planned = Optimized | ChangePlan | exp.Expr


def run_each(
    tree: exp.Expr,
    rows: Sequence[Parameters] | pa.Table,
    tables: Tables,
    context: StatementContext,
    plan: Callable[[exp.Expr, StatementContext, Values], Optimized | ChangePlan],
    run: Callable[[Planned, StatementContext, Values], Result],
) -> int:
    """Run a statement for each set of parameters; return the rows written.

    Args:
        rows: one set of parameters for each time, or a row of an Arrow table.
        tables: those that the user may name.
        plan: makes the plan of a statement that has one.
        run: runs a plan, or a tree that has none.
    """
    count = 0
    plans: dict[int, KnownPlan] = {}
    files: dict[str, Any] = {}  # a kept plan reads the rows that were read for it
    for batch in batches(tree, rows, tables):
        files.update(batch.tables)
        known = plans.get(id(batch.tree))
        if known is not None:
            values = Values(known.signature.values(batch.parameters, context), context.now, files)
        if known is None or not known.holds(values, context.now):
            named = batch.tree.copy()
            signature = name_parameters(named, context)
            values = Values(signature.values(batch.parameters, context), context.now, files)
            if not isinstance(named, PLANNED):
                count += max(run(named, context, values).rowcount, 0)
                continue
            made = plan(named, context, values)
            known = plans[id(batch.tree)] = KnownPlan(signature, made, values.looked_at)
        count += max(run(known.plan, context, values).rowcount, 0)
    return count
