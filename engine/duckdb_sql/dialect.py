"""DuckDB's dialect without translation."""

from __future__ import annotations

from typing import ClassVar

from sqlglot.dialects.duckdb import DuckDB

from memql.engine.duckdb_sql.generator import PlainGenerator
from memql.engine.duckdb_sql.parser import PlainParser


class PlainDuckDB(DuckDB):
    """DuckDB's SQL as it is written, and as it is printed for DuckDB."""

    # A list's first element is 1 in both directions: m[1] is not printed as m[1 + 0].
    INDEX_OFFSET = 0

    class Tokenizer(DuckDB.Tokenizer):
        """DuckDB's tokenizer without ``$tag$text$tag$``, which ``$x][$y`` looks like."""

        HEREDOC_STRINGS: ClassVar[list[str | tuple[str, str]]] = []
        HEX_STRINGS: ClassVar[list[str | tuple[str, str]]] = [("x'", "'"), ("X'", "'")]
        BIT_STRINGS: ClassVar[list[str | tuple[str, str]]] = [("b'", "'"), ("B'", "'")]

    Parser = PlainParser

    Generator = PlainGenerator
