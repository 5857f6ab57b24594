"""Options of clauses and functions: names and types checked, the nearest name in the error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from sqlglot import exp

from memql.engine import syntax
from memql.engine.context import StatementContext
from memql.engine.model.decoding import HOTTEST, MOST_STOPS, Decoding
from memql.engine.names import position, unknown
from memql.engine.settings import MAX_ANSWER_TOKENS
from memql.errors import DataError, Position, ProgrammingError

GENERATE_OPTIONS = ("max_tokens", "temperature", "top_p", "stop", "seed")
MATERIALIZE_OPTIONS = ("order",)


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
) -> Decoding:
    """Return how the answers of a generate are made.

    Raises:
        ProgrammingError: an unknown option.
        DataError: a value of a wrong type, or out of its range.
    """
    given = call.args.get("options")
    check_option_names(given, GENERATE_OPTIONS, "generate", context)
    options = option_values(given, values, context)
    options.setdefault("max_tokens", context.settings.max_tokens)
    for name, (fits, wanted) in _GENERATE_VALUES.items():
        if name in options and not fits(options[name]):
            raise DataError(
                f"{name} is {wanted}, found {options[name]!r}",
                position=_place_of(name, given, context),
                statement=context.text,
                code="22023",
            )
    if "stop" in options:
        stop = options["stop"]
        options["stop"] = (stop,) if isinstance(stop, str) else tuple(stop)
    return Decoding(**options)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _are_texts(value: object) -> bool:
    texts = [value] if isinstance(value, str) else value
    return (
        isinstance(texts, list | tuple)
        and 1 <= len(texts) <= MOST_STOPS
        and all(isinstance(text, str) and text for text in texts)
    )


# Of each option what it must be, and how that is said.
_GENERATE_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "max_tokens": (
        lambda value: _is_whole(value, 1, MAX_ANSWER_TOKENS),
        f"a whole number from 1 to {MAX_ANSWER_TOKENS:,}",
    ),
    "temperature": (
        lambda value: _is_number(value) and 0 <= value <= HOTTEST,
        f"a number from 0 to {HOTTEST:g}",
    ),
    "top_p": (
        lambda value: _is_number(value) and 0 < value <= 1,
        "a number above 0 and at most 1",
    ),
    "stop": (_are_texts, f"a text or a list of at most {MOST_STOPS} texts, none of them empty"),
    "seed": (lambda value: _is_whole(value, 0, 2**63 - 1), "a whole number of at least 0"),
}


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
    """Return the value of a literal, a list of them, a word or a parameter.

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
    if isinstance(node, exp.Array):
        return [constant_value(item, what, values, context) for item in node.expressions]
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
