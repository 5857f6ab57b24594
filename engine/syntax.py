"""The nodes that MemQL adds to sqlglot's syntax trees.

Queries, INSERT, UPDATE, DELETE and transactions keep sqlglot's own nodes. ``memql/dialect.py``
turns text into these nodes and back.
"""

from __future__ import annotations

from typing import ClassVar

from sqlglot import exp

FORMS: tuple[str, ...] = ("PLAINTEXT", "ACTIVATION", "PARAMETER", "AUTO")


class Materialize(exp.Expression):
    """``<query> MATERIALIZE AS form [FOR MODEL m] [WITH (option = value, ...)]``.

    It wraps the whole query, set operations included.
    """

    # "with_" only while parsing: sqlglot hands it to whatever follows WITH, the dialect moves it.
    arg_types: ClassVar[dict[str, bool]] = {
        "with_": False,
        "this": True,
        "form": True,
        "model": False,
        "options": False,
    }


class Generate(exp.Expression, exp.AggFunc):
    """``generate(question [, expr] [, option := value] [ORDER BY ...])``, an aggregate.

    Its FILTER is sqlglot's ``exp.Filter`` around it.
    """

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "expression": False,
        "options": False,
        "order": False,
    }
    _sql_names: ClassVar[list[str]] = ["GENERATE"]


class CreateMaterializedView(exp.Expression):
    """``CREATE [OR REPLACE] MATERIALIZED VIEW [IF NOT EXISTS] v ... AS <query>``."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "expression": True,
        "replace": False,
        "exists": False,
        "refresh": False,
        "no_data": False,
    }


class RefreshMaterializedView(exp.Expression):
    """``REFRESH MATERIALIZED VIEW v``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True}


class DropMaterializedView(exp.Expression):
    """``DROP MATERIALIZED VIEW [IF EXISTS] v``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "exists": False}


class CreateModel(exp.Expression):
    """``CREATE [OR REPLACE] MODEL [IF NOT EXISTS] m FROM 'source' [WITH (...)]``."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "source": True,
        "options": False,
        "replace": False,
        "exists": False,
    }


class DropModel(exp.Expression):
    """``DROP MODEL [IF EXISTS] m``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "exists": False}


class Explain(exp.Expression):
    """``EXPLAIN [ANALYZE] [(FORMAT text|json, COSTS on|off)] <statement>``."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "analyze": False,
        "format": False,
        "costs": False,
    }


class ShowCatalog(exp.Expression):
    """``SHOW MATERIALIZED VIEWS`` or ``SHOW MODELS``; ``this`` is the kind as text."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True}


class Option(exp.Expression):
    """``name = value`` of a WITH list, or ``name := value`` of generate."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "expression": True}
