"""What holds of every plan: looked at after each rule while the tests run."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from memql.engine.plan import (
    LINEAGE_COLUMN,
    PART_TABLE,
    VISIBLE_TABLE,
    Cut,
    Finish,
    Materialize,
    Plan,
    relation_of,
)
from memql.errors import InternalError


def verify(plan: Plan, known: frozenset[str] = frozenset()) -> None:
    """Check that a plan reads only what is there, and memories only through the policy.

    Args:
        known: the tables of parts that run before the plan.

    Raises:
        InternalError: it does not; a rule is wrong.
    """
    relation = relation_of(plan)
    for part in relation.parts:
        if isinstance(part, Cut):
            _check_tables(part.input.query, known)
        else:
            verify(part.input, known)
        known |= {part.table}
    _check_tables(relation.query, known)
    if isinstance(plan, Finish):
        _check_finish(plan, known)
    elif isinstance(plan, Materialize) and relation.traced and not relation.parts:
        _check(LINEAGE_COLUMN in _shown(relation.query), "the rows have lost their lineage")


def _check(right: bool, problem: str) -> None:
    if not right:
        raise InternalError(f"a plan is wrong: {problem}")


def _check_tables(tree: exp.Expr, known: frozenset[str]) -> None:
    for table in tree.find_all(exp.Table):
        if table.name.startswith(PART_TABLE):
            _check(table.name in known, f"{table.name} is read before it is there")
        if table.name == "memories" and table.db == "_memql":
            _check(_is_policy(table), "memories are read past the policy")


def _is_policy(table: exp.Table) -> bool:
    """Tell whether a table stands where the policy reads memories."""
    cte = table.find_ancestor(exp.CTE)
    return cte is not None and cte.alias.startswith(VISIBLE_TABLE)


def _check_finish(plan: Finish, known: frozenset[str]) -> None:
    relation = plan.input.input.query
    columns = {one.alias_or_name for one in relation.args["expressions"]}
    answers = {call.column for call in plan.input.calls}
    _check(bool(columns or answers), "groups without a column")
    for column in plan.query.find_all(exp.Column):
        found = column.name in columns | answers
        _check(found or _is_inner(column, plan), f"{column.name} is read and not there")
    for name in plan.answer_columns:
        _check(name is None or name in answers, f"the answer {name} is shown and not made")
    for call in plan.input.calls:
        _check_tables(call.rows, known)
        _check_tables(call.question, known)


def _is_inner(column: exp.Column, plan: Finish) -> bool:
    """Tell whether a column of a finish belongs to a subquery or a lambda inside of it."""
    query = column.find_ancestor(exp.Query)
    return query is not plan.query or column.find_ancestor(exp.Lambda) is not None


def _shown(query: exp.Query) -> Iterator[str]:
    return (one.alias_or_name for one in query.selects)
