"""A plan in a notebook: drawn, and as text in a terminal."""

from __future__ import annotations

import json

from memql.engine.run.operator import as_mermaid, as_text, operator_of
from memql.engine.run.page import as_fragment, as_page


class Plan:
    """The plan of a statement.

    Args:
        document: what ``EXPLAIN (FORMAT json)`` gave.
        statement: what was explained.
    """

    def __init__(self, document: str, statement: str) -> None:
        self._operator = operator_of(json.loads(document))
        self._statement = statement

    def page(self) -> str:
        """Return it as an HTML page that stands alone."""
        return as_page(self._operator, self._statement, costs=True)

    def mermaid(self) -> str:
        """Return it as a mermaid flowchart."""
        return "\n".join(as_mermaid(self._operator, costs=True))

    def __repr__(self) -> str:
        return "\n".join(as_text(self._operator, costs=True))

    def _repr_html_(self) -> str:
        return as_fragment(self._operator, self._statement, costs=True)
