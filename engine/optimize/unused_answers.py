"""Answers of a part of a query that the rest does not read are not made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sqlglot import exp

from memql.engine.names import fold
from memql.engine.optimize.calls import without_calls
from memql.engine.plan import (
    Cut,
    Finish,
    Generated,
    Part,
    Plan,
    relation_of,
    with_relation,
)


def unused_answers(plan: Plan) -> Plan:
    """``SELECT count(*) FROM (SELECT owner, generate('...') ... GROUP BY owner)``: no answer."""
    relation = relation_of(plan)
    if not any(isinstance(part, Generated) for part in relation.parts):
        return plan
    names = _read(list(_trees(plan)))
    if names is None:
        return plan
    parts: list[Part] = []
    for part in relation.parts:
        if isinstance(part, Generated):
            outputs = part.input.query.expressions
            needed = {
                column.name
                for output in outputs
                if fold(output.alias_or_name) in names
                for column in output.find_all(exp.Column)
            }
            needed |= {
                column.name
                for key, clause in part.input.query.args.items()
                if key != "expressions" and isinstance(clause, exp.Expr)
                for column in clause.find_all(exp.Column)
            }
            unread = [call for call in part.input.input.calls if call.column not in needed]
            # DISTINCT compares all columns, read or not.
            if unread and not part.input.query.args.get("distinct"):
                part = replace(part, input=without_calls(part.input, unread))
        parts.append(part)
    if all(new is old for new, old in zip(parts, relation.parts, strict=True)):
        return plan
    return with_relation(plan, replace(relation, parts=tuple(parts)))


def _trees(plan: Plan) -> Iterator[exp.Expr]:
    """Yield all trees of a plan that may read the rows of a part."""
    relation = relation_of(plan)
    yield relation.query
    if isinstance(plan, Finish):
        yield from (tree for call in plan.input.calls for tree in (call.question, call.rows))
    for part in relation.parts:
        if isinstance(part, Cut):
            yield part.input.query
        else:
            yield from _trees(part.input)


def _read(trees: list[exp.Expr]) -> set[str] | None:
    """Return the names that trees read, and perhaps more; None where they may read any."""
    nodes = [node for tree in trees for node in tree.walk()]
    scans = [node for node in nodes if isinstance(node, exp.Subquery) and _is_scan(node)]
    aliases = {fold(scan.alias_or_name) for scan in scans}
    passed_on = {id(scan.this.expressions[0]) for scan in scans}
    names = set()
    for node in nodes:
        if isinstance(node, exp.Identifier):
            names.add(fold(node.name))
        elif (
            (
                isinstance(node, exp.Star)
                and not isinstance(node.parent, exp.Count)
                and id(node) not in passed_on
            )
            or isinstance(node, exp.Columns | exp.SetOperation | exp.Pivot)
            or (isinstance(node, exp.Column) and not node.table and fold(node.name) in aliases)
            or (isinstance(node, exp.Join) and node.args.get("method"))
            or (isinstance(node, exp.TableAlias) and node.columns)
        ):
            return None
    return names


def _is_scan(node: exp.Subquery) -> bool:
    """Tell whether a subquery in FROM is all rows of a part, whose columns others name."""
    query = node.this
    if not isinstance(node.parent, exp.From | exp.Join) or not isinstance(query, exp.Select):
        return False
    if {key for key, value in query.args.items() if value} != {"expressions", "from_"}:
        return False
    return type(query.expressions[0]) is exp.Star and len(query.expressions) == 1
