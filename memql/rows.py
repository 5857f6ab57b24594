"""Row factories: in which form a cursor gives its rows.

A row factory is asked once for each result, with the cursor, and returns what makes a row of a
tuple of values. Any function of that kind is one; these are the usual ones.

>>> import memql
>>> con = memql.connect(row_factory=dict_row)
>>> con.execute("SELECT 1 AS a, 'x' AS b").fetchone()
{'a': 1, 'b': 'x'}
"""

from __future__ import annotations

import keyword
import re
from collections import namedtuple
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from memql.errors import ProgrammingError

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from memql.cursor import Cursor

    Row = TypeVar("Row", default=tuple[Any, ...])
    Row_co = TypeVar("Row_co", covariant=True, default=tuple[Any, ...])
else:
    # Defaults are for type checkers; Python 3.11 knows none.
    from typing import TypeVar

    Row = TypeVar("Row")
    Row_co = TypeVar("Row_co", covariant=True)

__all__ = [
    "RowFactory",
    "RowMaker",
    "class_row",
    "dict_row",
    "namedtuple_row",
    "scalar_row",
    "tuple_row",
]


class RowMaker(Protocol[Row_co]):
    """Makes a row of the values of its columns.

    >>> make: RowMaker[int] = len
    >>> make((7, 8))
    2
    """

    def __call__(self, values: tuple[Any, ...], /) -> Row_co: ...


class RowFactory(Protocol[Row_co]):
    """Makes the :class:`RowMaker` of a result, whose columns ``cursor.description`` tells.

    >>> def first_letters(cursor: "Cursor[Any]") -> RowMaker[str]:
    ...     return lambda values: "".join(str(value)[0] for value in values)
    >>> import memql
    >>> memql.connect(row_factory=first_letters).execute("SELECT 'Alice', 'Bob'").fetchone()
    'AB'
    """

    def __call__(self, cursor: Cursor[Any], /) -> RowMaker[Row_co]: ...


def tuple_row(cursor: Cursor[Any]) -> RowMaker[tuple[Any, ...]]:
    """Give rows as tuples, as a cursor does by itself.

    >>> import memql
    >>> memql.connect(row_factory=tuple_row).execute("SELECT 1 AS a, 2 AS b").fetchall()
    [(1, 2)]
    """
    return _itself


def _itself(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return values


def dict_row(cursor: Cursor[Any]) -> RowMaker[dict[str, Any]]:
    """Give rows as dicts by the names of the columns.

    Raises:
        ProgrammingError: two columns have one name: one of them would be lost.

    >>> import memql
    >>> memql.connect(row_factory=dict_row).execute("SELECT 1 AS a, 2 AS b").fetchall()
    [{'a': 1, 'b': 2}]
    """
    names = _names(cursor, "dict_row")
    return lambda values: dict(zip(names, values, strict=True))


def namedtuple_row(cursor: Cursor[Any]) -> RowMaker[NamedTuple]:
    """Give rows as named tuples; what cannot be in a name becomes ``_``.

    Raises:
        ProgrammingError: two columns have one name.

    >>> import memql
    >>> con = memql.connect(row_factory=namedtuple_row)
    >>> con.execute("SELECT 1 AS a, count(*) FROM memories").fetchone()
    Row(a=1, count_star__=0)
    """
    names = _distinct([_identifier(name) for name in _names(cursor, "")], "namedtuple_row")
    made = namedtuple("Row", names)  # type: ignore[misc]  # the names are those of the result
    return made._make


def class_row(cls: Callable[..., Row]) -> RowFactory[Row]:
    """Give rows as objects of a class, which is called with each column by its name.

    Args:
        cls: a class or function, such as a dataclass.

    Raises:
        ProgrammingError: two columns have one name.

    >>> import memql
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Taste:
    ...     content: str
    ...     trust: float
    >>> con = memql.connect(row_factory=class_row(Taste))
    >>> con.execute("SELECT 'Ann likes tea.' AS content, 0.5::DOUBLE AS trust").fetchone()
    Taste(content='Ann likes tea.', trust=0.5)
    """

    def factory(cursor: Cursor[Any], /) -> RowMaker[Row]:
        names = _names(cursor, "class_row")
        return lambda values: cls(**dict(zip(names, values, strict=True)))

    return factory


def scalar_row(cursor: Cursor[Any]) -> RowMaker[Any]:
    """Give the value of the first column in the place of each row.

    >>> import memql
    >>> memql.connect(row_factory=scalar_row).execute("SELECT unnest([3, 4])").fetchall()
    [3, 4]
    """
    return lambda values: values[0]


def _names(cursor: Cursor[Any], factory: str) -> list[str]:
    """Return the names of the columns; a factory that needs them to differ is named."""
    names = [column[0] for column in cursor.description or ()]
    return _distinct(names, factory) if factory else names


def _distinct(names: list[str], factory: str) -> list[str]:
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ProgrammingError(
                f"{factory} needs columns of different names, two are called {name}",
                hint="name one of them: SELECT a AS other",
                code="42701",
            )
    return names


def _identifier(name: str) -> str:
    """Return a name that a named tuple may have.

    >>> _identifier("count_star()"), _identifier("1st"), _identifier("class"), _identifier("_a")
    ('count_star__', 'f1st', 'fclass', 'f_a')
    """
    name = re.sub(r"\W", "_", name)
    return f"f{name}" if not name or name[0] in "_0123456789" or keyword.iskeyword(name) else name
