"""What all grammars read with: words, names, texts, option lists, and how they fail."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable
from typing import NoReturn

from sqlglot import exp
from sqlglot.errors import ErrorLevel, ParseError
from sqlglot.generators.duckdb import DuckDBGenerator
from sqlglot.tokenizer_core import Token, TokenType

from memql.engine import syntax
from memql.engine.duckdb_sql.parser import PlainParser


class Reader(PlainParser):
    """DuckDB's parser with the words that MemQL's grammars are written in."""

    # -- words --------------------------------------------------------------------------------

    def take(self, *words: str) -> bool:
        """Step over ``words`` if all of them stand here, in any case and without quotes."""
        return bool(self._match_text_seq(*words))

    def sees(self, *words: str) -> bool:
        """Tell whether ``words`` stand here."""
        return bool(self._match_text_seq(*words, advance=False))

    def expect(self, words: str, what: str | None = None) -> None:
        """Step over ``words``, separated by spaces, or fail with ``what`` was expected."""
        for word in words.split():
            if not self.take(word):
                self.fail(f"expected {what or words}", choices=[word])

    def expect_one(self, words: Collection[str], after: str) -> str:
        """Step over one of ``words`` and return it, or fail: one of them after ``after``."""
        found = self.take_one(words)
        if found is None:
            self.fail(f"expected {one_of(words)} after {after}", choices=words)
        return found

    def take_one(self, words: Collection[str]) -> str | None:
        """Step over one of ``words`` and return it, if one stands here."""
        return next((word for word in words if self.take(*word.split())), None)

    def token_after(self, count: int = 1) -> Token | None:
        """Return the token ``count`` places behind the current one."""
        place = self._index + count
        return self._tokens[place] if place < len(self._tokens) else None

    def takes_parenthesis(self) -> bool:
        """Step over an opening parenthesis if one stands here."""
        return bool(self._match(TokenType.L_PAREN))

    def sees_parenthesis(self) -> bool:
        """Tell whether an opening parenthesis stands here."""
        return bool(self._match(TokenType.L_PAREN, advance=False))

    # -- names and values ---------------------------------------------------------------------

    def name(self, what: str) -> exp.Expr:
        """Return the name that stands here; ``what`` is how an error calls it."""
        token = self._curr
        name = self._parse_id_var(any_token=False)
        if not isinstance(name, exp.Identifier):
            self.fail(f"expected {what}", token=token or None)
        return name

    def names(self, what: str) -> list[exp.Expr]:
        """Return one or more names, separated by commas."""
        return self._parse_csv(lambda: self.name(what))

    def table(self, what: str = "a table name") -> exp.Table:
        """Return the table, with its schema if one is given, that stands here."""
        parts = [self.name(what)]
        while self._match(TokenType.DOT):
            parts.append(self.name(what))
        if len(parts) > 3:
            self.fail("expected at most a catalog, a schema and a name")
        keys = ("this", "db", "catalog")
        return self.expression(exp.Table(**dict(zip(keys, reversed(parts), strict=False))))

    def text(self, what: str) -> exp.Expr:
        """Return the text in quotes, or the parameter, that stands here."""
        text = self.text_or_none()
        if text is None:
            self.fail(f"expected {what} in quotes, or a parameter")
        return text

    def text_or_none(self) -> exp.Expr | None:
        """Return the text in quotes, or the parameter, if one stands here."""
        return self._parse_string()

    def value(self, what: str) -> exp.Expr:
        """Return the expression that stands here."""
        value = self._parse_disjunction()
        if value is None:
            self.fail(f"expected {what}")
        return value

    def in_parentheses(self, what: str, hint: str) -> exp.Expr:
        """Return the condition that stands here in parentheses."""
        if not self.takes_parenthesis():
            self.fail(f"expected {what} in parentheses", hint=hint)
        condition = self.value(what)
        self._match_r_paren()
        return condition

    # -- parts that several statements have ---------------------------------------------------

    def if_not_exists(self) -> bool:
        return self.take("IF", "NOT", "EXISTS")

    def if_exists(self) -> bool:
        return self.take("IF", "EXISTS")

    def with_options(self) -> list[exp.Expr] | None:
        """Return the options of ``WITH (name = value, ...)``, or None if none stands here."""
        following = self.token_after()
        if following is None or following.token_type != TokenType.L_PAREN:
            return None
        if not self._match(TokenType.WITH):
            return None
        return self.option_list()

    def option_list(self) -> list[exp.Expr]:
        """Return the options of ``(name = value, ...)``."""
        if not self.takes_parenthesis():
            self.fail("expected (option = value, ...)")
        options = self._parse_csv(lambda: self.option(TokenType.EQ, "="))
        self._match_r_paren()
        return options

    def option(self, separator: TokenType, sign: str) -> exp.Expr:
        """Return ``name <sign> value``."""
        name = self.name("an option name")
        if not self._match(separator):
            self.fail(f"expected {sign} after the option {name.name}")
        value = self.value(f"a value for the option {name.name}")
        return self.expression(syntax.Option(this=name, expression=value))

    def plain_statement(self) -> exp.Expr | None:
        """Return a statement of DuckDB's grammar."""
        return PlainParser._parse_statement(self)

    @abstractmethod
    def top_statement(self) -> exp.Expr | None:
        """Return a statement of any grammar; only at the beginning, or behind EXPLAIN."""

    # -- errors -------------------------------------------------------------------------------

    def fail(
        self,
        message: str,
        *,
        token: Token | None = None,
        hint: str | None = None,
        choices: Iterable[str] = (),
    ) -> NoReturn:
        """Raise a syntax error, whatever the error level: there is no tree to go on with.

        Args:
            message: what was expected.
            token: what the error is about; the current token if it is not given.
            hint: what to write instead.
            choices: the words that a mistyped one is compared with.
        """
        error = self._error(message, token)
        error.errors[0]["hint"] = hint
        error.errors[0]["choices"] = tuple(choices)
        raise error

    def unsupported(self, message: str, *, token: Token, hint: str | None = None) -> NoReturn:
        """Raise the error for a statement that is right, but not one that MemQL runs."""
        error = self._error(message, token)
        error.errors[0]["hint"] = hint
        error.errors[0]["unsupported"] = True
        raise error

    def raise_error(self, message: str, token: Token | None = None) -> None:
        """Raise or collect sqlglot's ParseError with the offset of the token it is about."""
        error = self._error(message, token)
        if self.error_level == ErrorLevel.IMMEDIATE:
            raise error
        self.errors.append(error)

    def _error(self, message: str, token: Token | None) -> ParseError:
        at_end = token is None and not self._curr
        token = token or self._curr or self._prev or Token.string("")
        error = ParseError.new(message, description=message, line=token.line, col=token.col)
        error.errors[0]["offset"] = token.end + 1 if at_end else token.start
        error.errors[0]["found"] = "" if at_end else token.text
        error.errors[0]["before"] = self._prev.text if self._prev else ""
        return error


# A statement's words and what parses the rest of it; a node and what prints it.
Statements = dict[str, Callable[[Reader], exp.Expr]]
Printers = dict[type[exp.Expr], Callable[[DuckDBGenerator, exp.Expr], str]]


def one_of(words: Collection[str]) -> str:
    """Return words as a sentence lists them.

    >>> one_of(["TEXT", "VECTOR", "HYBRID"])
    'TEXT, VECTOR or HYBRID'
    """
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def options_sql(generator: DuckDBGenerator, node: exp.Expr, sign: str = "=") -> str:
    """Print the options of a node, separated by commas."""
    return ", ".join(
        f"{option_name_sql(generator, option)} {sign} {generator.sql(option, 'expression')}"
        for option in node.args.get("options") or ()
    )


def option_name_sql(generator: DuckDBGenerator, option: exp.Expr) -> str:
    """Print an option's name; ``order`` needs no quotes there, though DuckDB reserves it."""
    name = option.this
    return generator.sql(name) if name.quoted else str(name.name)


def with_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    """Print `` WITH (options)``, or nothing."""
    options = options_sql(generator, node)
    return f" WITH ({options})" if options else ""


def list_sql(generator: DuckDBGenerator, nodes: Iterable[exp.Expr]) -> str:
    """Print nodes, separated by commas."""
    return ", ".join(generator.sql(node) for node in nodes)


def create_sql(generator: DuckDBGenerator, node: exp.Expr, kind: str) -> str:
    """Print ``CREATE [OR REPLACE] kind [IF NOT EXISTS] name``."""
    replace = "OR REPLACE " if node.args.get("replace") else ""
    exists = "IF NOT EXISTS " if node.args.get("exists") else ""
    return f"CREATE {replace}{kind} {exists}{generator.sql(node, 'this')}"


def drop_sql(kind: str) -> Callable[[DuckDBGenerator, exp.Expr], str]:
    """Return what prints ``DROP kind [IF EXISTS] name``."""

    def print_drop(generator: DuckDBGenerator, node: exp.Expr) -> str:
        exists = "IF EXISTS " if node.args.get("exists") else ""
        return f"DROP {kind} {exists}{generator.sql(node, 'this')}"

    return print_drop
