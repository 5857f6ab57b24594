"""The parser: which grammar reads a statement, and where MemQL's clauses enter DuckDB's."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ClassVar

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
    tables,
    views,
)
from memql.dialect.reader import Reader, Statements, one_of
from memql.engine.duckdb_sql.parser import PlainParser

STATEMENTS: Statements = {
    **views.STATEMENTS,
    **models.STATEMENTS,
    **lifecycle.STATEMENTS,
    **grants.STATEMENTS,
    **roles.STATEMENTS,
    **policies.STATEMENTS,
    **session.STATEMENTS,
    **tables.STATEMENTS,
}

# What DuckDB's grammar has behind the first words that both have. MemQL does not run these
# statements; it parses them to say so, and not that there is a mistype.
_DUCKDB_KINDS: dict[str, tuple[str, ...]] = {
    "CREATE": tuple(
        "TABLE TEMP TEMPORARY VIEW INDEX UNIQUE SCHEMA SEQUENCE TYPE MACRO FUNCTION "
        "RECURSIVE DATABASE TRIGGER UNLOGGED".split()
    ),
    "ALTER": tuple("TABLE VIEW SCHEMA SEQUENCE INDEX TYPE DATABASE".split()),
    "DROP": tuple("TABLE VIEW INDEX SCHEMA SEQUENCE TYPE MACRO FUNCTION DATABASE TRIGGER".split()),
}


# What the parentheses of a WITH can hold; the session refuses some of it with reasons.
_IN_WITH = (exp.Query, exp.DML)


def _statements_by_first_word() -> dict[str, list[tuple[list[str], Callable[[Reader], exp.Expr]]]]:
    found: dict[str, list[tuple[list[str], Callable[[Reader], exp.Expr]]]] = {}
    # The longest first: SET ROLE before SET.
    for words, parse in sorted(STATEMENTS.items(), key=lambda item: -len(item[0].split())):
        found.setdefault(words.split()[0], []).append((words.split(), parse))
    return found


_BY_FIRST_WORD = _statements_by_first_word()


class MemQLParser(Reader):
    """DuckDB's parser with MemQL's statements and clauses."""

    FUNCTION_PARSERS: ClassVar[dict[str, Callable[..., Any]]] = {
        **PlainParser.FUNCTION_PARSERS,
        "GENERATE": queries.parse_generate,
    }

    # $$text$$ and E'text' are printed as 'text'; as a literal they are the same node then. The
    # tokenizer has put what the escapes of E'...' stand for.
    STRING_PARSERS: ClassVar[dict[TokenType, Callable[..., Any]]] = {
        **PlainParser.STRING_PARSERS,
        TokenType.RAW_STRING: PlainParser.STRING_PARSERS[TokenType.STRING],
        TokenType.HEREDOC_STRING: PlainParser.STRING_PARSERS[TokenType.STRING],
        TokenType.BYTE_STRING: PlainParser.STRING_PARSERS[TokenType.STRING],
    }
    PRIMARY_PARSERS: ClassVar[dict[TokenType, Callable[..., Any]]] = {
        **PlainParser.PRIMARY_PARSERS,
        **STRING_PARSERS,
    }

    # -- statements ---------------------------------------------------------------------------

    def _parse_statement(self) -> exp.Expr | None:
        # Also called for the query of a WITH and for what follows it, where DuckDB's statements
        # can stand; a MATERIALIZE there belongs to the whole and is read at the end.
        return self.top_statement() if self._index == 0 else self.plain_statement()

    def top_statement(self) -> exp.Expr | None:
        first = self._curr.text.upper() if self._curr else ""
        grammars = _BY_FIRST_WORD.get(first)
        if grammars is None or not self.sees(first):
            return queries.parse_materialize(self, queries.as_query(self, self.plain_statement()))
        for words, parse in grammars:
            if self.take(*words):
                return parse(self)
        start = self._index
        self._advance()
        replace = "OR REPLACE " if first == "CREATE" and self.take("OR", "REPLACE") else ""
        if self._curr and self._curr.text.upper() in _DUCKDB_KINDS.get(first, ()):
            self._retreat(start)
            return self.plain_statement()
        opening = f"{first} {replace}"
        expected = [
            words.removeprefix(opening)
            for words in STATEMENTS
            if words.startswith(opening) and not words.startswith(f"{opening}OR ")
        ]
        self.fail(
            f"expected {one_of(expected)} after {opening.rstrip()}",
            choices=" ".join(expected).split(),
        )

    def _parse_cte(self) -> exp.CTE | exp.FunctionSpecification | None:
        start = self._curr
        cte = super()._parse_cte()
        if isinstance(cte, exp.CTE) and isinstance(cte.this, exp.Pivot):
            cte.set("this", queries.as_query(self, cte.this))
        if isinstance(cte, exp.CTE) and not isinstance(cte.this, _IN_WITH):
            self.fail("expected a query (SELECT ...) in WITH", token=start or None)
        return cte

    def _parse_commit_or_rollback(self) -> exp.Commit | exp.Rollback:
        start = self._index
        node = super()._parse_commit_or_rollback()
        for token in self._tokens[start : self._index]:
            if token.text.upper() == "CHAIN":  # sqlglot forgets it behind ROLLBACK
                self.unsupported(f"{node.key.upper()} takes no CHAIN in MemQL", token=token)
        return node

    # -- clauses ------------------------------------------------------------------------------

    def _parse_limit(
        self,
        this: exp.Expr | None = None,
        top: bool = False,
        skip_limit_token: bool = False,
    ) -> exp.Expr | None:
        if top or this is not None or not (skip_limit_token or self._match(TokenType.LIMIT)):
            return super()._parse_limit(this, top, skip_limit_token)
        return clauses.parse_limit(self)

    def _can_parse_limit_or_offset(self) -> bool:
        # Both words are reserved in DuckDB. sqlglot would parse the clause to find out, and once
        # more to read it: nested ones would take exponential time.
        return bool(self._match_set((TokenType.LIMIT, TokenType.OFFSET), advance=False))

    def _parse_range(self, this: exp.Expr | None = None, parse_is: bool = False) -> exp.Expr | None:
        this = super()._parse_range(this, parse_is)
        if this is not None and clauses.at_matches(self):
            return clauses.parse_matches(self, this)
        return this

    def _parse_historical_data(self) -> exp.HistoricalData | None:
        # sqlglot only stores what this returns in the table's arg "when".
        return clauses.parse_time_travel(self)  # type: ignore[return-value]

    def _parse_version(self) -> exp.Version | None:
        clauses.refuse_other_spellings(self)
        return None

    def _parse_changes(self) -> exp.Changes | None:
        clauses.refuse_other_spellings(self)
        return None

    def _parse_table(
        self,
        schema: bool = False,
        joins: bool = False,
        alias_tokens: Collection[TokenType] | None = None,
        parse_bracket: bool = False,
        is_db_reference: bool = False,
        parse_partition: bool = False,
        consume_pipe: bool = False,
    ) -> exp.Expr | None:
        table = super()._parse_table(
            schema, joins, alias_tokens, parse_bracket, is_db_reference, parse_partition
        )
        if isinstance(table, exp.AtIndex):
            clauses.refuse_bare_at(self)
        clauses.refuse_other_spellings(self)
        return table

    def _parse_pipe_syntax_query(self, query: exp.Query) -> exp.Query | None:
        # BigQuery's, not DuckDB's; and its reading time is quadratic in the number of pipes.
        self.fail("expected the end of the query: MemQL has no |> operators")

    def _parse_group(self, skip_group_by_token: bool = False) -> exp.Group | None:
        # sqlglot reads expressions behind GROUP BY ALL, and would take MATERIALIZE for a column.
        index = self._index
        if self._match(TokenType.GROUP_BY) and self._match(TokenType.ALL):
            if queries.at_materialize(self):
                return self.expression(exp.Group(all=True))
        self._retreat(index)
        return super()._parse_group(skip_group_by_token)

    def _parse_table_alias(
        self, alias_tokens: Collection[TokenType] | None = None
    ) -> exp.TableAlias | None:
        if queries.at_materialize(self):
            return None
        return super()._parse_table_alias(alias_tokens)

    def _parse_alias(self, this: exp.Expr | None, explicit: bool = False) -> exp.Expr | None:
        if queries.at_materialize(self):
            return this
        return super()._parse_alias(this, explicit)

    def _parse_placeholder(self) -> exp.Expr | None:
        # Values are given in the order of the text; a tree's own order is another one.
        start = self._curr.start if self._curr else 0
        placeholder = super()._parse_placeholder()
        if placeholder is not None:
            placeholder.meta["start"] = start
        return placeholder

    # -- what sqlglot gives up on -------------------------------------------------------------

    def _parse_as_command(self, start: Token) -> exp.Command:
        """Refuse what sqlglot would keep as raw text: nothing unparsed leaves the parser."""
        self.fail(
            f"MemQL has no such form of {start.text.upper()}",
            token=self._curr or self._prev or None,
        )

    def _parse_command(self) -> exp.Command:
        return self._parse_as_command(self._prev)
