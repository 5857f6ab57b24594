"""Why the rows of a query cannot be traced to memories."""

from __future__ import annotations


class Untraceable(Exception):
    """Rows of the query cannot be traced to memories; the text says why."""
