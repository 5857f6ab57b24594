"""The rows of a statement as a table in a notebook."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from memql import html
from memql.cli.output import is_plan, make_console, write_rows
from memql.cli.values import as_text
from memql.cursor import Cursor
from memql.values import Activation, Answer, Prompt

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

# More rows make a notebook slow; the table object has them all.
SHOWN_ROWS = 100
_SHOWN_CHARACTERS = 2_000


class Table:
    """The rows of a statement, shown as a table.

    Iterating it gives the rows as tuples, in which an answer is an ``Answer``.

    Args:
        cursor: after ``execute``; its rows are fetched.
        limit: the most rows to show; 0 shows all.
    """

    def __init__(self, cursor: Cursor[tuple[Any, ...]], limit: int = SHOWN_ROWS) -> None:
        self._description = cursor.description or []
        self._rows = cursor.fetchall()
        self._limit = limit or len(self._rows)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [column[0] for column in self._description]

    def df(self) -> pd.DataFrame:
        """Return the rows as a pandas data frame (needs ``memql[pandas]``)."""
        import pandas as pd

        return pd.DataFrame(self._rows, columns=self.columns)

    def pl(self) -> pl.DataFrame:
        """Return the rows as a polars data frame (needs ``memql[polars]``)."""
        import polars as pl

        return pl.DataFrame(self._rows, schema=self.columns, orient="row")

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        text = io.StringIO()
        write_rows(self._description, self._shown(), make_console(text))
        return "\n".join((text.getvalue().rstrip("\n"), *self._notes()))

    def _repr_html_(self) -> str:
        rows = self._shown()
        if is_plan(self._description):
            return html.plan([as_text(line) for (line,) in rows])
        if any(isinstance(value, Activation | Prompt) for row in rows for value in row):
            pairs = [pair for row in rows for pair in zip(self.columns, row, strict=True)]
            table = html.record(pairs)
        else:
            table = html.table(self.columns, rows)
        return table + "".join(map(html.note, self._notes()))

    def _shown(self) -> list[tuple[Any, ...]]:
        if is_plan(self._description):
            return self._rows
        return [tuple(map(_cut, row)) for row in self._rows[: self._limit]]

    def _notes(self) -> list[str]:
        notes = []
        answers = [value for row in self._rows for value in row if isinstance(value, Answer)]
        if len(answers) == 1:
            notes.append(answers[0].taken)
        if len(self._rows) > self._limit and not is_plan(self._description):
            notes.append(
                f"{len(self._rows):,} rows, the first {self._limit:,} shown; .df() has them all"
            )
        elif not self._rows:
            notes.append("0 rows")
        return notes


def _cut(value: Any) -> Any:
    """Return a value as it is shown: a long text is cut, and says how much."""
    if not isinstance(value, str) or len(value) <= _SHOWN_CHARACTERS:
        return value
    left = len(value) - _SHOWN_CHARACTERS
    return f"{value[:_SHOWN_CHARACTERS]}... ({left:,} more characters)"
