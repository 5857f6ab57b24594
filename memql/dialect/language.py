"""The dialect's class: its tokenizer, its parser, its generator."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.generators.duckdb import DuckDBGenerator
from sqlglot.tokenizer_core import TokenType

from memql.dialect import (
    clauses,
    grants,
    lifecycle,
    models,
    policies,
    queries,
    roles,
    session,
    views,
)
from memql.dialect.parser import MemQLParser
from memql.engine import syntax


class MemQLGenerator(DuckDBGenerator):
    """Prints MemQL's nodes; everything else is printed as DuckDB's SQL."""

    TRANSFORMS: ClassVar[dict[type[exp.Expr], Callable[..., str]]] = {
        **DuckDBGenerator.TRANSFORMS,
        **queries.PRINTERS,
        **clauses.PRINTERS,
        **views.PRINTERS,
        **models.PRINTERS,
        **lifecycle.PRINTERS,
        **grants.PRINTERS,
        **roles.PRINTERS,
        **policies.PRINTERS,
        **session.PRINTERS,
        syntax.Option: lambda self, node: (
            f"{self.sql(node, 'this')} = {self.sql(node, 'expression')}"
        ),
    }


class MemQL(DuckDB):
    """The dialect ``memql``: ``sqlglot.parse_one(text, read="memql")``."""

    class Tokenizer(DuckDB.Tokenizer):
        """DuckDB's tokenizer, but for three words.

        EXPLAIN and RESET are read by MemQL's grammar; ``?::`` is a parameter with a cast.
        """

        KEYWORDS: ClassVar[dict[str, TokenType]] = {
            word: token
            for word, token in DuckDB.Tokenizer.KEYWORDS.items()
            if word not in ("EXPLAIN", "RESET", "?::")
        }

    Parser = MemQLParser

    Generator = MemQLGenerator
