"""The parser: operators, orders, queries; what stands in a query besides types and calls."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.parser import Parser
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import TokenType

from memql.engine.duckdb_sql.calls import CallParser
from memql.engine.duckdb_sql.nodes import Nearest, Operator, Prefix

_NEAREST = ("APPROX", "EXACT")
_METRICS = ("DISTANCE", "SIMILARITY")


def _operator(sign: str) -> Callable[..., exp.Expr]:
    def build(this: exp.Expr | None, expression: exp.Expr | None) -> exp.Expr:
        return Operator(this=this, expression=expression, sign=sign)

    return build


def _range(sign: str) -> Callable[..., exp.Expr | None]:
    def parse(self: PlainParser, this: exp.Expr | None) -> exp.Expr | None:
        operator = Operator(this=this, expression=self._parse_bitwise(), sign=sign)
        return self._parse_escape(self.expression(operator))

    return parse


def _arrow(sign: str) -> Callable[..., exp.Expr]:
    def build(self: PlainParser, this: exp.Expr | None, path: exp.Expr | None) -> exp.Expr:
        return self.expression(Operator(this=this, expression=path, sign=sign))

    return build


def _prefix(sign: str) -> Callable[..., exp.Expr]:
    def parse(self: PlainParser) -> exp.Expr:
        return self.expression(Prefix(this=self._parse_unary(), sign=sign))

    return parse


def _cast(self: PlainParser, this: exp.Expr | None, to: exp.Expr | None) -> exp.Expr:
    cast = self.expression(exp.Cast(this=this, to=to))
    cast.meta["colons"] = True
    return cast


class PlainParser(CallParser):
    """Reads DuckDB's SQL so that it can be printed as it was written."""

    TYPE_CONVERTERS: ClassVar[dict[Any, Any]] = {}
    INTERVAL_SPANS = False

    EXPONENT: ClassVar[dict[TokenType, Any]] = {
        TokenType.CARET: _operator("^"),
        TokenType.DSTAR: _operator("**"),
    }
    BITWISE: ClassVar[dict[TokenType, Any]] = {
        token: kind
        for token, kind in DuckDBParser.BITWISE.items()
        if token in (TokenType.AMP, TokenType.PIPE)
    } | {
        TokenType.LR_ARROW: _operator("<->"),
        TokenType.NULLSAFE_EQ: _operator("<=>"),
    }
    FACTOR: ClassVar[dict[TokenType, Any]] = {
        token: kind for token, kind in DuckDBParser.FACTOR.items() if token != TokenType.LR_ARROW
    }
    EQUALITY: ClassVar[dict[TokenType, Any]] = {
        token: kind
        for token, kind in DuckDBParser.EQUALITY.items()
        if token != TokenType.NULLSAFE_EQ
    }
    JSON_OPERATORS: ClassVar[dict[TokenType, Any]] = {
        TokenType.ARROW: _arrow("->"),
        TokenType.DARROW: _arrow("->>"),
    }
    COLUMN_OPERATORS: ClassVar[dict[TokenType, Any]] = {
        TokenType.DOT: None,
        TokenType.DCOLON: _cast,
    }
    UNARY_PARSERS: ClassVar[dict[TokenType, Any]] = {
        **{
            token: parse
            for token, parse in DuckDBParser.UNARY_PARSERS.items()
            if token in (TokenType.NOT, TokenType.DASH)
        },
        TokenType.PLUS: _prefix("+"),
        TokenType.TILDE: _prefix("~"),
    }
    RANGE_PARSERS: ClassVar[dict[TokenType, Any]] = {
        **{
            token: parse
            for token, parse in DuckDBParser.RANGE_PARSERS.items()
            if token
            in (
                TokenType.BETWEEN,
                TokenType.GLOB,
                TokenType.ILIKE,
                TokenType.IN,
                TokenType.IS,
                TokenType.LIKE,
                TokenType.SIMILAR_TO,
            )
        },
        TokenType.AT_GT: _range("@>"),
        TokenType.LT_AT: _range("<@"),
        TokenType.DAMP: _range("&&"),
        TokenType.TILDE: _range("~"),
        TokenType.IRLIKE: _range("~*"),
        TokenType.CARET_AT: _range("^@"),
    }
    # :name is no parameter: a[:length] is a slice.
    PLACEHOLDER_PARSERS: ClassVar[dict[TokenType, Any]] = {
        token: parse
        for token, parse in DuckDBParser.PLACEHOLDER_PARSERS.items()
        if token != TokenType.COLON
    }

    # -- expressions --------------------------------------------------------------------------

    def _parse_bracket_key_value(self, is_map: bool = False) -> exp.Expr | None:
        # sqlglot takes what stands right before FOR; in DuckDB it is the whole expression.
        element = super()._parse_bracket_key_value(is_map=is_map)
        if element is not None and self._match(TokenType.FOR):
            return self._parse_comprehension(element)
        return element

    def _parse_unary(self) -> exp.Expr | None:
        if self._curr and self._curr.text == "@" and self._curr.token_type != TokenType.STRING:
            self._advance()
            return self.expression(Prefix(this=self._parse_bitwise(), sign="@"))
        return super()._parse_unary()

    def _parse_primary(self) -> exp.Expr | None:
        start = self._curr
        if start and start.token_type == TokenType.STRING:
            self._advance()
            text = start.text
            # DuckDB reads texts on several lines as one.
            while self._curr and self._curr.token_type == TokenType.STRING:
                if self._curr.line == self._prev.line:
                    self.raise_error("expected an operator between two texts")
                text += self._curr.text
                self._advance()
            return exp.Literal.string(text).update_positions(start)
        if self._match_pair(TokenType.DOT, TokenType.NUMBER):
            return exp.Literal.number(f".{self._prev.text}")
        return super()._parse_primary()

    def _parse_bracket(self, this: exp.Expr | None = None) -> exp.Expr | None:
        bracket = super()._parse_bracket(this)
        if isinstance(bracket, exp.Array) and isinstance(this, exp.Column | exp.Identifier):
            bracket.meta["word"] = True  # ARRAY[1, 2], which DuckDB does not call list_value
        return bracket

    def _parse_ordered(
        self, parse_method: Callable[[], exp.Expr | None] | None = None
    ) -> exp.Ordered | None:
        this = parse_method() if parse_method else self._parse_disjunction()
        if this is None:
            return None
        if isinstance(this, exp.Column) and this.name.upper() == "ALL" and not this.this.quoted:
            this = exp.var("ALL")
        desc: bool | None = True if self._match(TokenType.DESC) else None
        if desc is None and self._match(TokenType.ASC):
            desc = False
        nulls_first: bool | None = True if self._match_text_seq("NULLS", "FIRST") else None
        if nulls_first is None and self._match_text_seq("NULLS", "LAST"):
            nulls_first = False
        # Not by self.expression, which wants to know where NULLs stand if nothing is said.
        return exp.Ordered(this=this, desc=desc, nulls_first=nulls_first)

    # -- queries ------------------------------------------------------------------------------

    def _parse_schema(self, this: exp.Expr | None = None) -> exp.Expr | None:
        # INSERT INTO t (VALUES (1)) has no list of columns, INSERT INTO t (values) has.
        if self._curr and self._curr.token_type == TokenType.L_PAREN and self._next:
            begins = self._next.token_type
            if begins == TokenType.FROM or (
                begins == TokenType.VALUES and self._type_at(2) == TokenType.L_PAREN
            ):
                return this
        return super()._parse_schema(this)

    def _parse_alter_table_rename(self) -> exp.AlterRename | exp.RenameColumn | None:
        # The word COLUMN may be left out.
        if not self._match(TokenType.COLUMN, advance=False) and self._next.text.upper() == "TO":
            old = self._parse_column()
            self._match_text_seq("TO")
            return self.expression(exp.RenameColumn(this=old, to=self._parse_column()))
        return super()._parse_alter_table_rename()

    def _parse_generated_as_identity(self) -> Any:
        constraint = super()._parse_generated_as_identity()
        self._match_text_seq("VIRTUAL")  # which all generated columns are
        return constraint

    def _parse_value(self, values: bool = True) -> exp.Tuple | None:
        # VALUES (1), (2), AS t: the last comma is none.
        if self._curr and self._curr.token_type in (TokenType.ALIAS, TokenType.R_PAREN):
            return None
        return super()._parse_value(values)

    def _parse_wrapped_id_vars(self, optional: bool = False) -> list[exp.Expr]:
        # Behind USING KEY of a recursive CTE stand columns and aggregates.
        if [token.text.upper() for token in self._tokens[self._index - 2 : self._index]] == [
            "USING",
            "KEY",
        ]:
            return self._parse_wrapped_csv(self._parse_expression)
        return super()._parse_wrapped_id_vars(optional)

    def _parse_is(self, this: exp.Expr | None) -> exp.Expr | None:
        negated = bool(self._curr) and self._curr.token_type == TokenType.NOT
        condition = super()._parse_is(this)
        if negated and isinstance(condition, exp.Not):
            condition.meta["behind"] = True  # x IS NOT y, and not NOT x IS y
        return condition

    def _parse_in(self, this: exp.Expr | None, alias: bool = False) -> exp.In:
        if self._match(TokenType.L_PAREN, advance=False):
            return super()._parse_in(this, alias)
        # x IN [1, NULL] is not x IN (1, NULL): the one says false where the other says NULL.
        return self.expression(exp.In(this=this, field=self._parse_type()))

    def _parse_range(self, this: exp.Expr | None = None, parse_is: bool = False) -> exp.Expr | None:
        condition = super()._parse_range(this, parse_is)
        if isinstance(condition, exp.Not) and self._prev.token_type == TokenType.NOTNULL:
            condition.meta["behind"] = True
        return condition

    def _parse_between(self, this: exp.Expr | None) -> exp.Between:
        for word in ("SYMMETRIC", "ASYMMETRIC"):
            if self._match_text_seq(word):
                self.raise_error(f"expected a value behind BETWEEN, DuckDB has no {word}")
        return super()._parse_between(this)

    def _negate_range(self, this: exp.Expr | None = None) -> exp.Expr | None:
        if isinstance(this, Operator):
            this.set("sign", f"!{this.args['sign']}")
            return this
        negated = super()._negate_range(this)
        if isinstance(negated, exp.Not):
            negated.meta["behind"] = True
        return negated

    def _parse_paren(self) -> exp.Expr | None:
        paren = super()._parse_paren()
        if isinstance(paren, exp.Tuple) and len(paren.expressions) == 1:
            paren.meta["comma"] = True  # (x,) is a row, (x) is x
        return paren

    def _parse_join(
        self,
        skip_join_token: bool = False,
        parse_bracket: bool = False,
        alias_tokens: Collection[TokenType] | None = None,
    ) -> exp.Join | None:
        index = self._index
        if self._match_text_seq("JOIN", "BY", "(", "TYPE"):
            self._retreat(index)
            return super()._parse_join(skip_join_token, parse_bracket, alias_tokens)
        join = Parser._parse_join(self, skip_join_token, parse_bracket, alias_tokens)
        if join is None:
            return None
        kind = next((word for word in _NEAREST if self._match_text_seq(word, "NEAREST")), "")
        if not kind and not self._match_text_seq("NEAREST"):
            return join
        count = None if self._match_text_seq("BY") else self._parse_primary()
        if count is not None and not self._match_text_seq("BY"):
            self.raise_error("expected BY behind NEAREST")
        metric = next((word for word in _METRICS if self._match_text_seq(word)), None)
        if metric is None:
            self.raise_error("expected DISTANCE or SIMILARITY behind BY")
        join.set(
            "nearest",
            Nearest(this=self._parse_disjunction(), count=count, kind=kind, metric=metric),
        )
        return join

    def _parse_table_alias(
        self, alias_tokens: Collection[TokenType] | None = None
    ) -> exp.TableAlias | None:
        if self._match_text_seq("NEAREST", advance=False) and (
            self._next.token_type == TokenType.NUMBER or self._next.text.upper() == "BY"
        ):
            return None
        if any(self._match_text_seq(word, "NEAREST", advance=False) for word in _NEAREST):
            return None
        return super()._parse_table_alias(alias_tokens)

    def _parse_table_sample(self, as_modifier: bool = False) -> exp.TableSample | None:
        return Parser._parse_table_sample(self, as_modifier=as_modifier)
