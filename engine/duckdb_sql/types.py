"""Types and typed literals: ``x::DECIMAL(5, 2)[]``, ``DATE '2026-01-01'``, ``INTERVAL 2 DAY``."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import Token, TokenType

from memql.engine.duckdb_sql.nodes import UNITS, Type

# Words that sqlglot lists as reserved, and that begin a type all the same.
_TYPE_WORDS = frozenset({"struct", "map", "tuple", "row", "binary", "null"})
RESERVED: frozenset[str] = frozenset(DuckDBGenerator.RESERVED_KEYWORDS) - _TYPE_WORDS
_WITH_FIELDS = frozenset({"STRUCT", "ROW", "UNION"})
# The types of two words, by the first. sqlglot makes one token of some of them.
_SECOND_WORDS: dict[str, tuple[str, ...]] = {
    "DOUBLE": ("PRECISION",),
    "CHARACTER": ("VARYING",),
    "CHAR": ("VARYING",),
    "NCHAR": ("VARYING",),
    "BIT": ("VARYING",),
    "NATIONAL": ("CHARACTER", "CHAR", "CHARACTER VARYING", "CHAR VARYING"),
    "NATIONAL CHARACTER": ("VARYING",),
    "NATIONAL CHAR": ("VARYING",),
}
# A typed literal is looked for at each ROW(...): not farther than this many words.
_LONGEST_TYPE = 200
_IN_MODIFIERS = (TokenType.NUMBER, TokenType.COMMA)


class TypeParser(DuckDBParser):
    """Reads the names of types as they stand."""

    # -- types --------------------------------------------------------------------------------

    def _parse_types(
        self,
        check_func: bool = False,
        schema: bool = False,
        allow_identifiers: bool = True,
        with_collation: bool = False,
    ) -> exp.Expr | None:
        self._match_text_seq("SETOF")  # DuckDB reads it, and does nothing with it
        kind = self._named_type()
        if kind is None:
            return None
        while True:
            if self._match(TokenType.ARRAY):
                if self._match(TokenType.L_BRACKET):
                    kind = self._array_of(kind)
                else:
                    kind = Type(this=exp.DType.ARRAY, expressions=[kind], nested=True)
            elif self._match(TokenType.L_BRACKET):
                kind = self._array_of(kind)
            else:
                break
        if with_collation and self._match(TokenType.COLLATE):
            kind.set("collate", self._parse_identifier() or self._parse_column())
        return kind

    def _array_of(self, kind: Type) -> Type:
        """Return the array whose opening bracket was read."""
        length = None if self._match(TokenType.R_BRACKET) else self._parse_disjunction()
        if length is not None and not self._match(TokenType.R_BRACKET):
            self.raise_error("expected ] behind the length of an array")
        return Type(
            this=exp.DType.ARRAY,
            expressions=[kind],
            values=[length] if length is not None else None,
            nested=True,
        )

    def _named_type(self) -> Type | None:
        first = self._curr
        if not first or not self._is_word(first, RESERVED):
            if not (first and first.token_type == TokenType.UNION):
                return None
        self._advance()
        word = " ".join(first.text.upper().split())
        quoted = first.token_type == TokenType.IDENTIFIER
        if not quoted and word in (*_WITH_FIELDS, "TUPLE", "MAP"):
            if self._match(TokenType.L_PAREN):
                field = self._field if word in _WITH_FIELDS else self._element
                fields = self._parse_csv(field)
                self._match_r_paren()
                return self._type(first, [self._type_word(first)], fields, nested=True)
        words = [self._type_word(first)]
        if not quoted and word == "INTERVAL":
            self._interval_unit()  # the unit of INTERVAL YEAR has no meaning in DuckDB
        while not quoted and self._curr and self._curr.text.upper() in _SECOND_WORDS.get(word, ()):
            words = [exp.Var(this=f"{words[0].name} {self._curr.text}")]
            word = f"{word} {self._curr.text.upper()}"
            self._advance()
        while not self._at_method() and self._match(TokenType.DOT):
            if not self._curr or not self._is_word(self._curr, frozenset()):
                self.raise_error("expected the name of a type")
            words.append(self._type_word(self._curr))
            self._advance()
        modifiers: list[exp.Expr] | None = None
        if self._match(TokenType.L_PAREN):
            modifiers = self._parse_csv(self._parse_disjunction)
            self._match_r_paren()
        kind = self._type(first, words, modifiers)
        if word in ("TIMESTAMP", "TIME"):
            for zone in ("WITH", "WITHOUT"):
                if self._match_text_seq(zone, "TIME", "ZONE"):
                    kind.set("suffix", exp.Var(this=f"{zone} TIME ZONE"))
        return kind

    def _at_method(self) -> bool:
        """Tell whether ``.name(`` stands here: a call on the value that was cast."""
        following = self._tokens[self._index : self._index + 3]
        kinds = [token.token_type for token in following]
        return len(kinds) == 3 and kinds[0] == TokenType.DOT and kinds[2] == TokenType.L_PAREN

    def _type(
        self,
        first: Token,
        words: list[exp.Expr],
        expressions: list[exp.Expr] | None,
        nested: bool = False,
    ) -> Type:
        known = first.token_type in self.TYPE_TOKENS and len(words) == 1
        this = exp.DType[first.token_type.name] if known else exp.DType.USERDEFINED
        return Type(this=this, words=words, expressions=expressions, nested=nested)

    def _field(self) -> exp.Expr | None:
        """Return a field of a struct: a name and a type, or a type alone."""
        name, following = self._curr, self._next
        if name and following and self._is_word(following, RESERVED - {"union"}):
            column = self._parse_id_var(any_token=True)
            kind = self._parse_types()
            return self.expression(exp.ColumnDef(this=column, kind=kind))
        return self._parse_types()

    def _element(self) -> exp.Expr | None:
        return self._parse_types()

    def _type_word(self, token: Token) -> exp.Expr:
        if token.token_type == TokenType.IDENTIFIER:
            return exp.Identifier(this=token.text, quoted=True).update_positions(token)
        return exp.Var(this=" ".join(token.text.split())).update_positions(token)

    def _is_word(self, token: Token, without: frozenset[str]) -> bool:
        """Tell whether a token is a name, in quotes or not among those it must not be."""
        if token.token_type == TokenType.IDENTIFIER:
            return True
        if token.token_type == TokenType.STRING:
            return False
        text = token.text.replace(" ", "").replace("_", "a")
        return text.isalnum() and not text[0].isdigit() and token.text.lower() not in without

    # -- typed literals -----------------------------------------------------------------------

    def _parse_type(
        self, parse_interval: bool = True, fallback_to_identifier: bool = False
    ) -> exp.Expr | None:
        if self._at_typed_literal():
            return self._parse_column_ops(self._typed_literal())
        if not fallback_to_identifier:
            atom = self._parse_atom()
            if atom is not None:
                return atom
        interval = self._parse_interval() if parse_interval else None
        if interval is not None:
            return self._parse_column_ops(interval)
        return self._parse_id_var() if fallback_to_identifier else self._parse_column()

    def _typed_literal(self) -> exp.Expr:
        kind = self._parse_types()
        text = self._parse_primary()
        if kind is None or not (isinstance(text, exp.Literal) and text.is_string):
            self.raise_error("expected a text behind the name of a type")
        literal = self.expression(exp.Cast(this=text, to=kind))
        literal.meta["typed"] = True
        return literal

    def _at_typed_literal(self) -> bool:
        """Tell whether a type and a text stand here, as in ``DECIMAL(5, 2) '1.5'``."""
        token, following = self._curr, self._next
        if not token or not following:
            return False
        kind = following.token_type
        if kind == TokenType.STRING:
            place = 1
        elif kind == TokenType.L_PAREN:
            place = 2
            while self._type_at(place) in _IN_MODIFIERS:
                place += 1
            if token.text.upper() in (*_WITH_FIELDS, "TUPLE", "MAP"):
                place = self._behind_fields(place)
            elif place == 2 or self._type_at(place) != TokenType.R_PAREN:
                return False
            else:
                place += 1
        elif kind == TokenType.L_BRACKET:
            place = 1
        elif kind == TokenType.DOT:
            place = 1
            while self._type_at(place) == TokenType.DOT:
                place += 2
        elif following.text.upper() == "WITH" and token.text.upper() in ("TIME", "TIMESTAMP"):
            place = 4
        elif following.text.upper() in _SECOND_WORDS.get(token.text.upper(), ()):
            place, third = 2, self._tokens[self._index + 2 : self._index + 3]
            words = f"{token.text} {following.text}".upper()
            if third and third[0].text.upper() in _SECOND_WORDS.get(words, ()):
                place = 3
        else:
            return False
        while self._type_at(place) == TokenType.L_BRACKET:
            place += 2 if self._type_at(place + 1) == TokenType.R_BRACKET else 3
            if self._type_at(place - 1) != TokenType.R_BRACKET:
                return False
        return (
            self._type_at(place) == TokenType.STRING
            and token.text.upper() != "INTERVAL"
            and self._is_word(token, RESERVED | {"null"})
        )

    def _behind_fields(self, place: int) -> int:
        """Return the place behind the brackets that are open at ``place``."""
        depth = 1
        while depth and place < _LONGEST_TYPE:
            depth += (self._type_at(place) == TokenType.L_PAREN) - (
                self._type_at(place) == TokenType.R_PAREN
            )
            place += 1
        return place

    def _type_at(self, places: int) -> TokenType | None:
        place = self._index + places
        return self._tokens[place].token_type if place < len(self._tokens) else None

    # -- intervals ----------------------------------------------------------------------------

    def _parse_interval(
        self, require_interval: bool = True, parse_function_unit: bool = True
    ) -> exp.Add | exp.Interval | None:
        index = self._index
        if not self._match(TokenType.INTERVAL):
            return None
        if self._match(TokenType.STRING):
            token = self._prev
            text = exp.Literal.string(token.text).update_positions(token)
            return self.expression(exp.Interval(this=text, unit=self._interval_unit()))
        amount = self._parse_unary() if self._curr else None
        unit = self._interval_unit() if amount is not None else None
        if unit is None:
            self._retreat(index)  # a column, or a type, that is called interval
            return None
        return self.expression(exp.Interval(this=amount, unit=unit))

    def _interval_unit(self) -> exp.Expr | None:
        """Return the unit that stands here, if one does."""
        if not self._curr or self._curr.text.upper() not in UNITS:
            return None
        if self._curr.token_type in (TokenType.IDENTIFIER, TokenType.STRING):
            return None
        self._advance()
        unit = exp.Var(this=self._prev.text.upper())
        # Any other word behind TO is not a unit, as the name in INTERVAL '1' YEAR TO bob.
        if self._curr and self._curr.text.upper() == "TO" and self._next:
            if self._next.text.upper() in UNITS:
                self._advance(2)
                end = exp.Var(this=self._prev.text.upper())
                return self.expression(exp.IntervalSpan(this=unit, expression=end))
        return unit
