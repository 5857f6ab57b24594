"""The sqlglot dialect ``memql``: DuckDB's SQL and MemQL's statements, to trees and back."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.errors import ErrorLevel, ParseError
from sqlglot.generators.duckdb import DuckDBGenerator
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import Token, TokenType

from memql.engine import syntax


class MemQLParser(DuckDBParser):
    """DuckDB's parser with MemQL's statements, the MATERIALIZE clause and ``generate``."""

    FUNCTION_PARSERS: ClassVar[dict[str, Callable[..., Any]]] = {
        **DuckDBParser.FUNCTION_PARSERS,
        "GENERATE": lambda self: self._parse_generate(),
    }

    # -- statements ---------------------------------------------------------------------------

    def _parse_statement(self) -> exp.Expr | None:
        index = self._index
        for words, parse in _STATEMENTS:
            if self._match_text_seq(*words):
                statement = parse(self)
                if statement is not None:
                    return statement
                self._retreat(index)
        statement = self._parse_materialize(super()._parse_statement())
        if isinstance(statement, syntax.Materialize) and statement.args.get("with_"):
            # WITH belongs to the query that is materialized.
            statement.this.set("with_", statement.args["with_"].pop())
        return statement

    def _parse_create_memql(self) -> exp.Expr | None:
        replace = self._match_text_seq("OR", "REPLACE")
        if self._match_text_seq("MATERIALIZED", "VIEW"):
            return self._parse_create_view(bool(replace))
        if self._curr and self._match_text_seq("MODEL"):
            return self._parse_create_model(bool(replace))
        return None

    def _parse_create_view(self, replace: bool) -> exp.Expr:
        exists = self._parse_if_not_exists()
        name = self._parse_name("a view name")
        refresh = None
        if self._match_text_seq("REFRESH"):
            refresh = self._parse_refresh_mode()
        if not self._match(TokenType.ALIAS):
            self.raise_error("expected AS and the view's query")
        # The materialize clause is parsed here, and not as part of the query, because
        # WITH NO DATA follows it and starts like the clause's own WITH (...).
        query = self._parse_materialize(super()._parse_statement())
        if not isinstance(query, (exp.Query, syntax.Materialize)):
            self.raise_error("expected a query (SELECT ...) after AS")
        no_data = False
        if self._match_text_seq("WITH", "NO", "DATA"):
            no_data = True
        else:
            self._match_text_seq("WITH", "DATA")
        return self.expression(
            syntax.CreateMaterializedView(
                this=name,
                expression=query,
                replace=replace,
                exists=exists,
                refresh=refresh,
                no_data=no_data,
            )
        )

    def _parse_refresh_mode(self) -> str:
        for words in (("ON", "DEMAND"), ("ON", "COMMIT")):
            if self._match_text_seq(*words):
                return " ".join(words)
        if self._match_text_seq("EVERY"):
            interval = self._parse_interval()
            if interval is not None:
                return "EVERY " + interval.sql(dialect="duckdb")
        self.raise_error("expected ON DEMAND, ON COMMIT or EVERY INTERVAL '...' after REFRESH")
        raise AssertionError("raise_error returns only when errors are collected")

    def _parse_create_model(self, replace: bool) -> exp.Expr:
        exists = self._parse_if_not_exists()
        name = self._parse_name("a model name")
        if not self._match(TokenType.FROM):
            self.raise_error("expected FROM 'folder or hub id'")
        source = self._parse_string() or self._parse_placeholder()
        if source is None:
            self.raise_error("expected a folder or hub id in quotes")
        options = self._parse_with_options()
        return self.expression(
            syntax.CreateModel(
                this=name, source=source, options=options, replace=replace, exists=exists
            )
        )

    def _parse_refresh_memql(self) -> exp.Expr:
        if not self._match_text_seq("MATERIALIZED", "VIEW"):
            self.raise_error("expected MATERIALIZED VIEW after REFRESH")
        return self.expression(syntax.RefreshMaterializedView(this=self._parse_name("a view name")))

    def _parse_drop_memql(self) -> exp.Expr | None:
        if self._match_text_seq("MATERIALIZED", "VIEW"):
            exists = self._parse_exists()
            name = self._parse_name("a view name")
            return self.expression(syntax.DropMaterializedView(this=name, exists=exists))
        if self._match_text_seq("MODEL"):
            exists = self._parse_exists()
            name = self._parse_name("a model name")
            return self.expression(syntax.DropModel(this=name, exists=exists))
        return None

    def _parse_show_memql(self) -> exp.Expr:
        for kind in SHOW_KINDS:
            if self._match_text_seq(*kind.split()):
                return self.expression(syntax.ShowCatalog(this=kind))
        self.raise_error("expected " + " or ".join(SHOW_KINDS) + " after SHOW")
        raise AssertionError("raise_error returns only when errors are collected")

    def _parse_explain(self) -> exp.Expr:
        analyze = bool(self._match_text_seq("ANALYZE"))
        options: dict[str, str] = {}
        following = self._tokens[self._index + 1 : self._index + 2]
        if (
            self._curr
            and self._curr.token_type == TokenType.L_PAREN
            and following
            and following[0].text.upper() in EXPLAIN_OPTIONS
        ):
            self._advance()
            while True:
                self._parse_explain_option(options)
                if not self._match(TokenType.COMMA):
                    break
            self._match_r_paren()
            analyze = analyze or options.get("ANALYZE") == "ON"
        if self._curr and self._curr.text.upper() == "EXPLAIN":
            self.raise_error("expected a statement to explain, not another EXPLAIN")
        statement = self._parse_statement()
        if statement is None:
            self.raise_error("expected a statement to explain")
        return self.expression(
            syntax.Explain(
                this=statement,
                analyze=analyze,
                format=options.get("FORMAT", "TEXT"),
                costs=options.get("COSTS", "ON") == "ON",
            )
        )

    def _parse_explain_option(self, options: dict[str, str]) -> None:
        name = self._curr.text.upper() if self._curr else ""
        if name not in EXPLAIN_OPTIONS:
            self.raise_error("expected " + ", ".join(EXPLAIN_OPTIONS))
        self._advance()
        allowed = EXPLAIN_OPTIONS[name]
        value = self._curr.text.upper() if self._curr else ""
        if value in allowed:
            self._advance()
            options[name] = value
        elif name == "FORMAT":
            self.raise_error("expected " + " or ".join(word.lower() for word in allowed))
        else:
            options[name] = "ON"

    # -- clauses ------------------------------------------------------------------------------

    def _parse_materialize(self, query: exp.Expr | None) -> exp.Expr | None:
        if not isinstance(query, exp.Query) or not self._match_text_seq("MATERIALIZE"):
            return query
        if not self._match(TokenType.ALIAS):
            self.raise_error("expected AS after MATERIALIZE")
        if not self._match_texts(syntax.FORMS):
            self.raise_error("expected " + _one_of(syntax.FORMS) + " after MATERIALIZE AS")
        form = self._prev.text.upper()
        model = None
        if self._match(TokenType.FOR):
            if not self._match_text_seq("MODEL"):
                self.raise_error("expected MODEL after FOR")
            model = self._parse_name("a model name")
        options = self._parse_with_options()
        return self.expression(
            syntax.Materialize(this=query, form=form, model=model, options=options)
        )

    def _at_materialize(self) -> bool:
        """Tell whether ``MATERIALIZE AS`` starts here, where an alias could stand too.

        ``FROM m materialize`` is an alias and stays one; behind an implicit alias no ``AS``
        can follow, so two words decide, but for ``WITH materialize AS [MATERIALIZED] (...)``.
        """
        words = [token.text.upper() for token in self._tokens[self._index : self._index + 3]]
        return words[:2] == ["MATERIALIZE", "AS"] and words[2:] not in (
            ["("],
            ["MATERIALIZED"],
            ["NOT"],
        )

    def _parse_group(self, skip_group_by_token: bool = False) -> exp.Group | None:
        # sqlglot reads expressions behind GROUP BY ALL, and would take MATERIALIZE for a column.
        index = self._index
        if self._match(TokenType.GROUP_BY) and self._match(TokenType.ALL):
            if self._at_materialize():
                return self.expression(exp.Group(all=True))
        self._retreat(index)
        return super()._parse_group(skip_group_by_token)

    def _parse_table_alias(
        self, alias_tokens: Collection[TokenType] | None = None
    ) -> exp.TableAlias | None:
        if self._at_materialize():
            return None
        return super()._parse_table_alias(alias_tokens)

    def _parse_alias(self, this: exp.Expr | None, explicit: bool = False) -> exp.Expr | None:
        if self._at_materialize():
            return this
        return super()._parse_alias(this, explicit)

    def _parse_with_options(self) -> list[exp.Expr] | None:
        following = self._tokens[self._index + 1 : self._index + 2]
        if not following or following[0].token_type != TokenType.L_PAREN:
            return None
        if not self._match(TokenType.WITH):
            return None
        self._match_l_paren()
        options = self._parse_csv(lambda: self._parse_option(TokenType.EQ, "="))
        self._match_r_paren()
        return options

    def _parse_option(self, separator: TokenType, sign: str) -> exp.Expr:
        name = self._parse_name("an option name")
        if not self._match(separator):
            self.raise_error(f"expected {sign} after the option {name.name}")
        value = self._parse_disjunction()
        if value is None:
            self.raise_error(f"expected a value for the option {name.name}")
        return self.expression(syntax.Option(this=name, expression=value))

    def _parse_generate(self) -> exp.Expr:
        arguments: list[exp.Expr] = []
        options: list[exp.Expr] = []
        if self._curr and self._curr.token_type == TokenType.DISTINCT:
            self.raise_error("generate takes no DISTINCT; put it into a subquery")
        while self._curr and self._curr.token_type not in (TokenType.R_PAREN, TokenType.ORDER_BY):
            following = self._tokens[self._index + 1 : self._index + 2]
            if following and following[0].token_type == TokenType.COLON_EQ:
                options.append(self._parse_option(TokenType.COLON_EQ, ":="))
            else:
                if options:
                    self.raise_error("expected another option: options come last")
                argument = self._parse_disjunction()
                if argument is None:
                    self.raise_error("expected a question, a column or an option of generate")
                else:
                    arguments.append(argument)
            if not self._match(TokenType.COMMA):
                break
        order = self._parse_order()
        if not 1 <= len(arguments) <= 2:
            self.raise_error(
                "generate takes a question and at most one expression: "
                "generate('question' [, expression] [, option := value] [ORDER BY ...])"
            )
        # The closing parenthesis is matched by sqlglot's function parser.
        return self.expression(
            syntax.Generate(
                this=arguments[0],
                expression=arguments[1] if len(arguments) > 1 else None,
                options=options,
                order=order,
            )
        )

    def _parse_if_not_exists(self) -> bool:
        return bool(self._match_text_seq("IF", "NOT", "EXISTS"))

    def _parse_name(self, what: str) -> exp.Expr:
        name = self._parse_id_var(any_token=False)
        if name is None:
            self.raise_error(f"expected {what}")
            raise AssertionError("raise_error returns only when errors are collected")
        return name

    def _parse_placeholder(self) -> exp.Expr | None:
        # Values are given in the order of the text; a tree's own order is another one.
        start = self._curr.start if self._curr else 0
        placeholder = super()._parse_placeholder()
        if placeholder is not None:
            placeholder.meta["start"] = start
        return placeholder

    # -- errors -------------------------------------------------------------------------------

    def _parse_as_command(self, start: Token) -> exp.Command:
        """Refuse what sqlglot would keep as raw text: nothing unparsed leaves the parser."""
        self.raise_error(self._unfinished(start), token=self._curr or self._prev)
        raise AssertionError("raise_error returns only when errors are collected")

    def _parse_command(self) -> exp.Command:
        return self._parse_as_command(self._prev)

    def _unfinished(self, start: Token) -> str:
        return f"MemQL has no such form of {start.text.upper()}"

    def raise_error(self, message: str, token: Token | None = None) -> None:
        """Raise or collect sqlglot's ParseError with the offset of the token it is about."""
        at_end = token is None and not self._curr
        token = token or self._curr or self._prev or Token.string("")
        error = ParseError.new(message, description=message, line=token.line, col=token.col)
        error.errors[0]["offset"] = token.end + 1 if at_end else token.start
        error.errors[0]["found"] = "" if at_end else token.text
        error.errors[0]["before"] = self._prev.text if self._prev else ""
        if self.error_level == ErrorLevel.IMMEDIATE:
            raise error
        self.errors.append(error)


def _one_of(words: Collection[str]) -> str:
    *others, last = words
    return ", ".join(others) + " or " + last


SHOW_KINDS: tuple[str, ...] = ("MATERIALIZED VIEWS", "MODELS")

EXPLAIN_OPTIONS: dict[str, tuple[str, ...]] = {
    "ANALYZE": ("ON", "OFF"),
    "FORMAT": ("TEXT", "JSON"),
    "COSTS": ("ON", "OFF"),
}

# The words that open a MemQL statement, and what parses the rest. A parser that answers None
# leaves the statement to DuckDB's grammar (CREATE TABLE starts like CREATE MODEL).
_STATEMENTS: tuple[tuple[tuple[str, ...], Callable[[MemQLParser], exp.Expr | None]], ...] = (
    (("EXPLAIN",), MemQLParser._parse_explain),
    (("CREATE",), MemQLParser._parse_create_memql),
    (("DROP",), MemQLParser._parse_drop_memql),
    (("REFRESH",), MemQLParser._parse_refresh_memql),
    (("SHOW",), MemQLParser._parse_show_memql),
)


def _options_sql(generator: DuckDBGenerator, node: exp.Expr, sign: str) -> str:
    return ", ".join(
        f"{generator.sql(option, 'this')} {sign} {generator.sql(option, 'expression')}"
        for option in node.args.get("options") or ()
    )


def _with_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    options = _options_sql(generator, node, "=")
    return f" WITH ({options})" if options else ""


def _materialize_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    model = generator.sql(node, "model")
    return (
        f"{generator.sql(node, 'this')} MATERIALIZE AS {node.args['form']}"
        + (f" FOR MODEL {model}" if model else "")
        + _with_sql(generator, node)
    )


def _generate_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    arguments = [generator.sql(node, "this")]
    if node.args.get("expression"):
        arguments.append(generator.sql(node, "expression"))
    options = _options_sql(generator, node, ":=")
    if options:
        arguments.append(options)
    order = node.args.get("order")
    # Generator.sql of an Order starts with its own space.
    return f"GENERATE({', '.join(arguments)}{generator.sql(order) if order else ''})"


def _create_view_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    refresh = node.args.get("refresh")
    return (
        "CREATE "
        + ("OR REPLACE " if node.args.get("replace") else "")
        + "MATERIALIZED VIEW "
        + ("IF NOT EXISTS " if node.args.get("exists") else "")
        + generator.sql(node, "this")
        + (f" REFRESH {refresh}" if refresh else "")
        + f" AS {generator.sql(node, 'expression')}"
        + (" WITH NO DATA" if node.args.get("no_data") else "")
    )


def _create_model_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    return (
        "CREATE "
        + ("OR REPLACE " if node.args.get("replace") else "")
        + "MODEL "
        + ("IF NOT EXISTS " if node.args.get("exists") else "")
        + f"{generator.sql(node, 'this')} FROM {generator.sql(node, 'source')}"
        + _with_sql(generator, node)
    )


def _drop_sql(kind: str) -> Callable[[DuckDBGenerator, exp.Expr], str]:
    def drop_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
        exists = "IF EXISTS " if node.args.get("exists") else ""
        return f"DROP {kind} {exists}{generator.sql(node, 'this')}"

    return drop_sql


def _explain_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    options = []
    if node.args.get("format") != "TEXT":
        options.append(f"FORMAT {node.args['format']}")
    if not node.args.get("costs"):
        options.append("COSTS OFF")
    return (
        "EXPLAIN "
        + ("ANALYZE " if node.args.get("analyze") else "")
        + (f"({', '.join(options)}) " if options else "")
        + generator.sql(node, "this")
    )


class MemQLGenerator(DuckDBGenerator):
    """Prints MemQL's nodes; everything else is printed as DuckDB's SQL."""

    TRANSFORMS: ClassVar[dict[type[exp.Expr], Callable[..., str]]] = {
        **DuckDBGenerator.TRANSFORMS,
        syntax.Materialize: _materialize_sql,
        syntax.Generate: _generate_sql,
        syntax.CreateMaterializedView: _create_view_sql,
        syntax.RefreshMaterializedView: lambda self, node: (
            f"REFRESH MATERIALIZED VIEW {self.sql(node, 'this')}"
        ),
        syntax.DropMaterializedView: _drop_sql("MATERIALIZED VIEW"),
        syntax.CreateModel: _create_model_sql,
        syntax.DropModel: _drop_sql("MODEL"),
        syntax.Explain: _explain_sql,
        syntax.ShowCatalog: lambda self, node: f"SHOW {node.this}",
        syntax.Option: lambda self, node: (
            f"{self.sql(node, 'this')} = {self.sql(node, 'expression')}"
        ),
    }


class MemQL(DuckDB):
    """The dialect ``memql``: ``sqlglot.parse_one(text, read="memql")``."""

    class Tokenizer(DuckDB.Tokenizer):
        """DuckDB's tokenizer; EXPLAIN is parsed here, and ``?::`` is a parameter with a cast."""

        KEYWORDS: ClassVar[dict[str, TokenType]] = {
            word: token
            for word, token in DuckDB.Tokenizer.KEYWORDS.items()
            if word not in ("EXPLAIN", "?::")
        }

    Parser = MemQLParser

    Generator = MemQLGenerator
