"""Parameters: ``?`` and ``$name`` in a statement become named values for DuckDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlglot import exp

from memql.engine.context import StatementContext
from memql.engine.names import position, unknown
from memql.errors import DataError, ProgrammingError

Parameters = Sequence[Any] | Mapping[str, Any] | None

_POSITIONAL = "memql_p"


def bind_parameters(
    statement: exp.Expr, parameters: Parameters, context: StatementContext
) -> dict[str, Any]:
    """Name every placeholder of ``statement``, in place, and return the values by name.

    Args:
        statement: the tree; ``?`` placeholders become ``$memql_p1``, ``$memql_p2`` ...
        parameters: a sequence for ``?`` and ``$1``, a mapping for ``$name``.

    Raises:
        ProgrammingError: a value is missing or left over, or the styles are mixed.
    """
    for value in parameters.values() if isinstance(parameters, Mapping) else parameters or ():
        _check_text(value)
    placeholders = sorted(
        statement.find_all(exp.Placeholder), key=lambda node: int(node.meta["start"])
    )
    anonymous = [node for node in placeholders if not node.args.get("this")]
    named = [node for node in placeholders if node.args.get("this")]
    numbered = [node for node in named if node.name.isdigit()]
    if anonymous and named:
        raise ProgrammingError("a statement takes either ? or $name parameters, not both")
    if isinstance(parameters, Mapping):
        if not all(isinstance(name, str) for name in parameters):
            raise ProgrammingError("the names of parameters are texts")
        if anonymous or numbered:
            raise ProgrammingError(
                "the statement has ? parameters, but named values were given",
                hint="pass a list or tuple",
            )
        return _bind_named(named, parameters, context)
    values = list(parameters or ())
    if numbered and len(numbered) == len(named):
        return _bind_numbered(numbered, values)
    if named:
        raise ProgrammingError(
            f"the statement has named parameters ({', '.join(sorted({n.name for n in named}))}), "
            + (
                f"but {len(values)} values without names were given" if values else "no value given"
            ),
            hint="pass a dict",
        )
    if len(values) != len(anonymous):
        raise ProgrammingError(
            f"the statement has {len(anonymous)} parameters, {len(values)} values were given"
        )
    for number, node in enumerate(anonymous, start=1):
        node.set("this", f"{_POSITIONAL}{number}")
    return {f"{_POSITIONAL}{number}": value for number, value in enumerate(values, start=1)}


def used_parameters(tree: exp.Expr, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a tree names: DuckDB refuses values that it does not need."""
    names = {node.name for node in tree.find_all(exp.Placeholder)}
    return {name: values[name] for name in sorted(names)}


def _check_text(value: Any) -> None:
    """Refuse halves of characters: DuckDB fails on them without naming the value."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(
                f"a parameter holds half of a character (a lone surrogate) at place "
                f"{error.start + 1} of {value[:40]!r}"
            ) from None
    elif isinstance(value, Mapping):
        for item in (*value.keys(), *value.values()):
            _check_text(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_text(item)


def _bind_named(
    named: Sequence[exp.Placeholder], parameters: Mapping[str, Any], context: StatementContext
) -> dict[str, Any]:
    for node in named:
        if node.name.lower().startswith("memql_"):
            raise ProgrammingError(
                f"parameter names that start with memql_ are MemQL's own: ${node.name}"
            )
        if node.name not in parameters:
            raise ProgrammingError(
                f"no value for the parameter ${node.name}",
                hint=f"given were {', '.join(sorted(parameters)) or 'none'}",
                position=position(context.text, node),
            )
    extra = sorted(set(parameters) - {node.name for node in named})
    if extra:
        raise unknown("parameter", extra[0], [node.name for node in named], context, None)
    return {node.name: parameters[node.name] for node in named}


def _bind_numbered(numbered: Sequence[exp.Placeholder], values: list[Any]) -> dict[str, Any]:
    highest = max(int(node.name) for node in numbered)
    if highest != len(values) or any(int(node.name) < 1 for node in numbered):
        raise ProgrammingError(
            f"the statement has parameters up to ${highest}, {len(values)} values were given"
        )
    bound: dict[str, Any] = {}
    for node in numbered:
        number = int(node.name)
        node.set("this", f"{_POSITIONAL}{number}")
        bound[f"{_POSITIONAL}{number}"] = values[number - 1]
    return bound
