"""Calls of functions: under the name that was written, with their arguments in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import TokenType

from memql.engine.duckdb_sql.nodes import AGGREGATES, Aggregate, ExportState
from memql.engine.duckdb_sql.types import TypeParser

# current_date and the like, which are called by their name alone.
WITHOUT_BRACKETS = frozenset(DuckDBParser.NO_PAREN_FUNCTIONS.values())
_FRAMES = ("ROWS", "RANGE", "GROUPS")


class CallParser(TypeParser):
    """Reads a call as a call: sqlglot has a class of its own for each function it knows."""

    # What is more than a call: others look for these classes.
    FUNCTIONS: ClassVar[dict[str, Callable[..., exp.Expr]]] = {
        "COUNT": exp.Count.from_arg_list,
        "COLUMNS": exp.Columns.from_arg_list,
        "UNNEST": exp.Explode.from_arg_list,
    }
    FUNCTION_PARSERS: ClassVar[dict[str, Callable[..., Any]]] = {
        **{name: DuckDBParser.FUNCTION_PARSERS[name] for name in ("CAST", "TRY_CAST")},
        "EXTRACT": lambda self: self._parse_extract(),
        "OVERLAY": lambda self: self._words_between("overlay", ("PLACING", "FROM", "FOR")),
        "POSITION": lambda self: self._parse_position(),
        "SUBSTRING": lambda self: self._words_between("substring", ("FROM", "FOR")),
        "TRIM": lambda self: self._parse_trim(),
    }
    SUBQUERY_TOKENS: ClassVar[set[TokenType]] = {
        *DuckDBParser.SUBQUERY_TOKENS,
        TokenType.FROM,
        TokenType.VALUES,
    }
    NO_PAREN_FUNCTION_PARSERS: ClassVar[dict[str, Callable[..., Any]]] = {
        name: DuckDBParser.NO_PAREN_FUNCTION_PARSERS[name] for name in ("ANY", "CASE")
    }

    def _parse_function_call(
        self,
        functions: dict[str, Callable[..., Any]] | None = None,
        anonymous: bool = False,
        optional_parens: bool = True,
        any_token: bool = False,
    ) -> exp.Expr | None:
        token = self._curr
        if token and token.text.upper() == "MAP" and self._type_at(1) == TokenType.L_BRACE:
            self._advance()
            return self.expression(exp.ToMap(this=self._parse_bracket()))
        call = super()._parse_function_call(functions, anonymous, optional_parens, any_token)
        if call is not None and type(call) in WITHOUT_BRACKETS and self._prev is token:
            call.meta["word"] = token.text
        return call

    def _parse_function_args(self, alias: bool = False) -> list[exp.Expr]:
        arguments = super()._parse_function_args(alias)
        for argument in arguments:
            # The a of struct_pack(a := 1) is no column.
            if isinstance(argument, exp.PropertyEQ) and isinstance(argument.this, exp.Column):
                argument.set("this", argument.this.this)
        return arguments

    # -- calls with words between their arguments ---------------------------------------------

    def _call(self, name: str, arguments: list[exp.Expr]) -> exp.Expr:
        # In quotes, because position(a, b) without them is no SQL.
        quoted = exp.Identifier(this=name, quoted=True)
        return self.expression(exp.Anonymous(this=quoted, expressions=arguments))

    def _words_between(self, name: str, words: tuple[str, ...]) -> exp.Expr:
        arguments = self._parse_csv(self._parse_assignment)
        for number, word in enumerate(words, start=1):
            if self._match_text_seq(word):
                if word == "FOR" and len(arguments) == 1 and number > 1:
                    arguments.append(exp.Literal.number(1))
                arguments.extend(filter(None, [self._parse_assignment()]))
        return self._call(name, arguments)

    def _parse_position(self, haystack_first: bool = False) -> Any:
        # position('b' IN x) is "position"(x, 'b').
        needle = self._parse_bitwise()
        arguments = [needle] if needle is not None else []
        if self._match(TokenType.IN):
            haystack = self._parse_bitwise()
            arguments = [haystack, *arguments] if haystack is not None else arguments
        while self._match(TokenType.COMMA):
            arguments.extend(filter(None, [self._parse_assignment()]))
        return self._call("position", arguments)

    def _parse_trim(self) -> Any:
        side = next((s for s in ("LEADING", "TRAILING", "BOTH") if self._match_text_seq(s)), "BOTH")
        name = {"LEADING": "ltrim", "TRAILING": "rtrim", "BOTH": "trim"}[side]
        characters = None if self._match(TokenType.FROM) else self._parse_assignment()
        if characters is not None and self._match(TokenType.FROM):
            arguments = [*self._parse_csv(self._parse_assignment), characters]
        elif characters is not None:
            arguments = [characters]
            while self._match(TokenType.COMMA):
                arguments.extend(filter(None, [self._parse_assignment()]))
        else:
            arguments = self._parse_csv(self._parse_assignment)
        return self._call(name, arguments)

    def _parse_extract(self) -> Any:
        part: exp.Expr | None = None
        if self._match(TokenType.STRING):
            part = exp.Literal.string(self._prev.text)
        elif self._curr and self._curr.token_type == TokenType.IDENTIFIER:
            part = self._parse_identifier()
        else:
            part = self._parse_var(any_token=True)
        if part is None or not self._match(TokenType.FROM):
            self.raise_error("expected EXTRACT(part FROM value)")
        return self.expression(exp.Extract(this=part, expression=self._parse_bitwise()))

    # -- what follows a call ------------------------------------------------------------------

    def _parse_window(self, this: exp.Expr | None, alias: bool = False) -> exp.Expr | None:
        if alias:
            self._match(TokenType.ALIAS)
            return self._window(this, "AS")
        if isinstance(this, exp.Anonymous) and type(this) is exp.Anonymous:
            this = _aggregate(this)
        if self._match_text_seq("WITHIN", "GROUP"):
            order = self._parse_wrapped(self._parse_order)
            this = self.expression(exp.WithinGroup(this=this, expression=order))
        if self._match_pair(TokenType.FILTER, TokenType.L_PAREN):
            self._match(TokenType.WHERE)
            where = self._parse_where(skip_where_token=True)
            this = self.expression(exp.Filter(this=this, expression=where))
            self._match_r_paren()
        if isinstance(this, exp.Func | exp.Filter | exp.WithinGroup):
            if self._match_text_seq("EXPORT_STATE"):
                this = self.expression(ExportState(this=this))
        if self._match(TokenType.OVER):
            return self._window(this, "OVER")
        return this

    def _window(self, this: exp.Expr | None, over: str) -> exp.Expr:
        if not self._match(TokenType.L_PAREN):
            name = self._parse_id_var(any_token=False)
            return self.expression(exp.Window(this=this, alias=name, over=over))
        name = None
        if self._curr and self._curr.text.upper() not in _FRAMES:
            name = self._parse_id_var(any_token=False, tokens=self.WINDOW_ALIAS_TOKENS)
        partition, order = self._parse_partition_and_order()
        spec = self._frame()
        self._match_r_paren()
        return self.expression(
            exp.Window(
                this=this, partition_by=partition, order=order, spec=spec, alias=name, over=over
            )
        )

    def _frame(self) -> exp.Expr | None:
        kind = next((word for word in _FRAMES if self._match_text_seq(word)), None)
        if kind is None:
            return None
        between = self._match(TokenType.BETWEEN)
        start = self._parse_window_spec()
        end = self._parse_window_spec() if between and self._match(TokenType.AND) else {}
        exclude = (
            self._parse_var_from_options(self.WINDOW_EXCLUDE_OPTIONS)
            if self._match_text_seq("EXCLUDE")
            else None
        )
        return self.expression(
            exp.WindowSpec(
                kind=kind,
                start=start["value"],
                start_side=start["side"],
                end=end.get("value"),
                end_side=end.get("side"),
                exclude=exclude,
            )
        )


def _aggregate(call: exp.Anonymous) -> exp.Anonymous:
    """Return a call as one of an aggregate, if its name is one's."""
    if call.name.lower() not in AGGREGATES:
        return call
    aggregate = Aggregate(this=call.this, expressions=call.expressions)
    aggregate.meta.update(call.meta)
    aggregate.comments = call.comments
    return aggregate
