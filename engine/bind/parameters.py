"""Parameters: ``?`` and ``$name`` in a statement become named values for DuckDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from memql.engine.context import StatementContext
from memql.engine.names import position, unknown
from memql.errors import DataError, Position, ProgrammingError

if TYPE_CHECKING:
    import pyarrow as pa

Parameters = Sequence[Any] | Mapping[str, Any] | None

# The statement's own moment: a value and not a part of the text, so that a plan can be run again.
NOW_PARAMETER = "memql_now"
_POSITIONAL = "memql_p"


class Values(dict[str, Any]):
    """A statement's values by parameter name; it notes which ones were looked at.

    A plan for which the binder looked at a value (an option, say) holds for that value only.
    ``tables`` are the rows of the files that it reads, by the names that the plan has for them.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        now: datetime,
        tables: dict[str, pa.Table] | None = None,
    ) -> None:
        super().__init__(values)
        super().__setitem__(NOW_PARAMETER, now)
        self.looked_at: dict[str, Any] = {}
        self.tables = {} if tables is None else tables

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        self.looked_at[name] = value
        return value

    def hold_for_now(self) -> None:
        """Note that what is bound is right at this moment only."""
        self.looked_at[NOW_PARAMETER] = super().__getitem__(NOW_PARAMETER)

    def of(self, names: Sequence[str]) -> dict[str, Any]:
        """Return some of the values, to run a plan with: this is no looking."""
        return {name: super(Values, self).__getitem__(name) for name in names}


@dataclass(frozen=True)
class Signature:
    """The parameters of a statement, without values.

    Args:
        anonymous: how many ``?`` there are.
        highest: the highest number of ``$1``, ``$2`` ...; 0 if there are none.
        lowest: the lowest such number.
        named: the names of ``$name`` in the order of the text, with their places.
        numbered_only: whether all names are numbers.
    """

    anonymous: int
    highest: int
    lowest: int
    named: tuple[tuple[str, Position | None], ...]
    numbered_only: bool

    def values(self, parameters: Parameters, context: StatementContext) -> dict[str, Any]:
        """Return the values by name.

        Args:
            parameters: a sequence for ``?`` and ``$1``, a mapping for ``$name``.

        Raises:
            ProgrammingError: a value is missing or left over, or of the other style.
            DataError: a text holds half of a character.
        """
        for value in parameters.values() if isinstance(parameters, Mapping) else parameters or ():
            _check_text(value)
        if isinstance(parameters, Mapping):
            return self._named_values(parameters, context)
        values = list(parameters or ())
        if self.named and self.numbered_only:
            return self._numbered_values(values)
        if self.named:
            names = ", ".join(sorted({name for name, _ in self.named}))
            given = f"{len(values)} values without names were given" if values else "no value given"
            raise ProgrammingError(
                f"the statement has named parameters ({names}), but {given}",
                hint="pass a dict",
                code="42P02",
            )
        if len(values) != self.anonymous:
            raise ProgrammingError(
                f"the statement has {self.anonymous} parameters, {len(values)} values were given",
                code="42P02",
            )
        return {f"{_POSITIONAL}{number}": value for number, value in enumerate(values, start=1)}

    def _named_values(
        self, parameters: Mapping[str, Any], context: StatementContext
    ) -> dict[str, Any]:
        if not all(isinstance(name, str) for name in parameters):
            raise ProgrammingError("the names of parameters are texts", code="42P02")
        if self.anonymous or self.highest:
            raise ProgrammingError(
                "the statement has ? parameters, but named values were given",
                hint="pass a list or tuple",
                code="42P02",
            )
        for name, place in self.named:
            if name.lower().startswith("memql_"):
                raise ProgrammingError(
                    f"parameter names that start with memql_ are MemQL's own: ${name}",
                    position=place,
                    statement=context.text,
                    code="42602",
                )
            if name not in parameters:
                raise ProgrammingError(
                    f"no value for the parameter ${name}",
                    hint=f"given were {', '.join(sorted(parameters)) or 'none'}",
                    position=place,
                    statement=context.text,
                    code="42P02",
                )
        names = [name for name, _ in self.named]
        extra = sorted(set(parameters) - set(names))
        if extra:
            raise unknown("parameter", extra[0], names, context, None)
        return {name: parameters[name] for name in names}

    def _numbered_values(self, values: list[Any]) -> dict[str, Any]:
        if self.highest != len(values) or self.lowest < 1:
            raise ProgrammingError(
                f"the statement has parameters up to ${self.highest}, "
                f"{len(values)} values were given",
                code="42P02",
            )
        return {
            f"{_POSITIONAL}{name}": values[int(name) - 1]
            for name in sorted({name for name, _ in self.named})
        }


def name_parameters(statement: exp.Expr, context: StatementContext) -> Signature:
    """Name every placeholder of ``statement``, in place, and return what they ask for.

    Args:
        statement: the tree; ``?`` placeholders become ``$memql_p1``, ``$memql_p2`` ...

    Raises:
        ProgrammingError: the styles are mixed.
    """
    placeholders = sorted(
        statement.find_all(exp.Placeholder), key=lambda node: int(node.meta["start"])
    )
    anonymous = [node for node in placeholders if not node.args.get("this")]
    named = [node for node in placeholders if node.args.get("this")]
    numbered = [node for node in named if node.name.isascii() and node.name.isdigit()]
    if anonymous and named:
        raise ProgrammingError(
            "a statement takes either ? or $name parameters, not both",
            position=position(context.text, named[0]),
            statement=context.text,
            code="42P02",
        )
    numbers = [int(node.name) for node in numbered]
    signature = Signature(
        anonymous=len(anonymous),
        highest=max(numbers, default=0),
        lowest=min(numbers, default=0),
        named=tuple((node.name, position(context.text, node)) for node in named),
        numbered_only=len(numbered) == len(named),
    )
    for number, node in enumerate(anonymous, start=1):
        node.set("this", f"{_POSITIONAL}{number}")
    if signature.numbered_only:
        for node in numbered:
            node.set("this", f"{_POSITIONAL}{int(node.name)}")
    return signature


def _check_text(value: Any) -> None:
    """Refuse halves of characters: DuckDB fails on them without naming the value."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(
                f"a parameter holds half of a character (a lone surrogate) at place "
                f"{error.start + 1} of its {len(value)}",
                code="22021",
            ) from None
    elif isinstance(value, Mapping):
        for item in (*value.keys(), *value.values()):
            _check_text(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_text(item)
