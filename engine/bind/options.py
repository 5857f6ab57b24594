"""Options of clauses and functions: names and types checked, the nearest name in the error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from memql.engine import syntax
from memql.engine.context import StatementContext
from memql.engine.names import position, unknown
from memql.engine.settings import MAX_ANSWER_TOKENS
from memql.errors import DataError, Position, ProgrammingError

GENERATE_OPTIONS = ("max_tokens",)
MATERIALIZE_OPTIONS = ("order",)


@dataclass(frozen=True)
class GenerateOptions:
    """Options of one generate; ``max_tokens`` is the longest answer in tokens."""

    max_tokens: int


def option_values(
    options: Iterable[exp.Expr] | None, values: Mapping[str, Any], context: StatementContext
) -> dict[str, Any]:
    """Return options by lower-case name; a value is a literal, a word or a parameter.

    Raises:
        ProgrammingError: an option is given twice or is an expression.
    """
    result: dict[str, Any] = {}
    for option in options or ():
        name = option.this.name.lower()
        if name in result:
            raise ProgrammingError(
                f"the option {name} is given twice",
                position=position(context.text, option.this),
                statement=context.text,
                code="42601",
            )
        result[name] = constant_value(option.expression, f"the option {name}", values, context)
    return result


def check_option_names(
    given: Iterable[exp.Expr] | None, known: Iterable[str], what: str, context: StatementContext
) -> None:
    """Refuse an option that is not known, with the nearest that is."""
    known = tuple(known)
    for option in given or ():
        if option.this.name.lower() not in known:
            raise unknown(f"option of {what}", option.this.name, known, context, option.this)


def generate_options(
    call: syntax.Generate, values: Mapping[str, Any], context: StatementContext
) -> GenerateOptions:
    """Return the options of a generate.

    Raises:
        ProgrammingError: an unknown option.
        DataError: max_tokens is no whole number of at least 1.
    """
    given = call.args.get("options")
    check_option_names(given, GENERATE_OPTIONS, "generate", context)
    options = option_values(given, values, context)
    max_tokens = options.get("max_tokens", context.settings.max_tokens)
    if (
        not isinstance(max_tokens, int)
        or isinstance(max_tokens, bool)
        or not 1 <= max_tokens <= MAX_ANSWER_TOKENS
    ):
        raise DataError(
            f"max_tokens is a whole number from 1 to {MAX_ANSWER_TOKENS:,}, found {max_tokens!r}",
            position=_place_of("max_tokens", given, context),
            statement=context.text,
            code="22023",
        )
    return GenerateOptions(max_tokens)


def materialize_order(
    given: Iterable[exp.Expr] | None, values: Mapping[str, Any], context: StatementContext
) -> str:
    """Return the option ``order`` of MATERIALIZE: 'canonical' or 'reuse'.

    Raises:
        ProgrammingError: an unknown option or value.
    """
    check_option_names(given, MATERIALIZE_OPTIONS, "MATERIALIZE", context)
    order = option_values(given, values, context).get("order", "canonical")
    if order not in ("canonical", "reuse"):
        raise ProgrammingError(
            f"the option order is 'canonical' or 'reuse', found {order!r}",
            position=_place_of("order", given, context),
            statement=context.text,
            code="22023",
        )
    return str(order)


def _place_of(
    name: str, given: Iterable[exp.Expr] | None, context: StatementContext
) -> Position | None:
    nodes = [option.this for option in given or () if option.this.name.lower() == name]
    return position(context.text, nodes[0]) if nodes else None


def constant_value(
    node: exp.Expr, what: str, values: Mapping[str, Any], context: StatementContext
) -> Any:
    """Return the value of a literal, a word or a parameter.

    Args:
        what: whose value it is, for the error.

    Raises:
        ProgrammingError: it is an expression.
    """
    if isinstance(node, exp.Placeholder):
        return values[node.name]
    if isinstance(node, exp.Literal):
        if node.is_string:
            return node.name
        return int(node.name) if node.is_int else float(node.name)
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and node.this.is_number:
        return -constant_value(node.this, what, values, context)
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if isinstance(node, exp.Null):
        return None
    if isinstance(node, exp.Identifier | exp.Var) or (
        isinstance(node, exp.Column) and not node.table
    ):
        return node.name
    raise ProgrammingError(
        f"{what} takes a literal, a word or a parameter",
        position=position(context.text, node),
        statement=context.text,
        code="42601",
    )
