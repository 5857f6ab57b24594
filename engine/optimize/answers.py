"""What the rules over :class:`Finish` share: reading its columns."""

from __future__ import annotations

from sqlglot import exp

from memql.engine.plan import Finish


def uses_answers(node: exp.Expr, plan: Finish) -> bool:
    """Tell whether an expression over the answers needs the model."""
    answers = {call.column for call in plan.input.calls}
    return any(column.name in answers for column in node.find_all(exp.Column))


def over_relation(node: exp.Expr, plan: Finish) -> exp.Expr:
    """Return an expression over the answers as one over the relation's own sources."""
    query = plan.input.input.query
    expressions = {projection.alias: projection.unalias() for projection in query.expressions}

    def replace(part: exp.Expr) -> exp.Expr:
        if isinstance(part, exp.Column) and part.name in expressions:
            return exp.paren(expressions[part.name].copy())
        return part

    return node.transform(replace)
