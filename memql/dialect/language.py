"""The dialect's class: its tokenizer, its parser, its generator."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

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
from memql.dialect.reader import option_name_sql
from memql.engine import syntax
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.duckdb_sql.generator import PlainGenerator


class MemQLGenerator(PlainGenerator):
    """Prints MemQL's nodes; everything else is printed as DuckDB's SQL."""

    # Parentheses around these would be read as one more node, and printed in one more pair.
    UNWRAPPED_INTERVAL_VALUES = (  # type: ignore[assignment]
        *PlainGenerator.UNWRAPPED_INTERVAL_VALUES,
        exp.Subquery,
        exp.Placeholder,
    )

    TRANSFORMS: ClassVar[dict[type[exp.Expr], Callable[..., str]]] = {
        **PlainGenerator.TRANSFORMS,
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
            f"{option_name_sql(self, node)} = {self.sql(node, 'expression')}"
        ),
    }


# EXPLAIN and RESET are read by MemQL's grammar; ?:: is a parameter with a cast.
_KEYWORDS: dict[str, TokenType] = {
    word: token
    for word, token in PlainDuckDB.Tokenizer.KEYWORDS.items()
    if word not in ("EXPLAIN", "RESET", "?::")
}
# Where a text such as $tag$it's$tag$ may begin.
_TAG = re.compile(r"\$[^\W\d]\w*\$")


class _TagTokenizer(PlainDuckDB.Tokenizer):
    """Reads ``$tag$text$tag$``, and stumbles over ``$x||$y``: it takes ``$x||$`` for a tag."""

    KEYWORDS: ClassVar[dict[str, TokenType]] = _KEYWORDS
    HEREDOC_STRINGS: ClassVar[list[str | tuple[str, str]]] = ["$"]


class MemQL(PlainDuckDB):
    """The dialect ``memql``: ``sqlglot.parse_one(text, read="memql")``."""

    class Tokenizer(PlainDuckDB.Tokenizer):
        """DuckDB's tokenizer, but that a parameter may stand before any sign."""

        KEYWORDS: ClassVar[dict[str, TokenType]] = _KEYWORDS
        HEREDOC_STRINGS: ClassVar[list[str | tuple[str, str]]] = []
        RAW_STRINGS: ClassVar[list[str | tuple[str, str]]] = ["$$"]

        def tokenize(self, sql: str) -> list[Token]:
            """Return the tokens of a text."""
            if _TAG.search(sql):
                # The space: looking for the end of a tag, it stumbles over '' at the very end.
                return _TagTokenizer(dialect=self.dialect).tokenize(sql + " ")
            return super().tokenize(sql)

    Parser = MemQLParser

    Generator = MemQLGenerator
