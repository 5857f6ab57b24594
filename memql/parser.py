"""Text to one statement's tree, with errors that name the place and what was expected."""

from __future__ import annotations

import difflib
import itertools
import logging

from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError, TokenError
from sqlglot.tokenizer_core import Token, TokenType

from memql import dialect
from memql.dialect.words import WORDS
from memql.engine import syntax
from memql.engine.names import place, position
from memql.engine.settings import DEFAULT_STATEMENT_BYTES
from memql.errors import NotSupportedError, ProgrammingError, holds_secret
from memql.nesting import check_nesting, too_deep

MAX_STATEMENT_BYTES = DEFAULT_STATEMENT_BYTES
MAX_STATEMENT_TOKENS = 20_000
# Expressions in brackets reach Python's own recursion limit earlier, at 30 to 40.
MAX_STATEMENT_DEPTH = 60
# Columns, operators and clauses; names and values are not counted. Where sqlglot tries a text in
# several ways, each counts.
MAX_STATEMENT_NODES = 15_000

_OPENING = (TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE)
_CLOSING = (TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE)

# What MemQL has a form for; whether it runs already is the session's to say.
_STATEMENTS = (
    exp.Query,
    exp.Insert,
    exp.Update,
    exp.Delete,
    exp.Merge,
    exp.TruncateTable,
    exp.Copy,
    exp.Describe,
    exp.Summarize,
    exp.Transaction,
    exp.Commit,
    exp.Rollback,
    syntax.Materialize,
    syntax.CreateMaterializedView,
    syntax.RefreshMaterializedView,
    syntax.AlterMaterializedView,
    syntax.DropMaterializedView,
    syntax.CreateModel,
    syntax.DropModel,
    syntax.CreateAdapter,
    syntax.DropAdapter,
    syntax.Restore,
    syntax.Quarantine,
    syntax.Forget,
    syntax.ExportMemories,
    syntax.ImportMemories,
    syntax.Grant,
    syntax.Revoke,
    syntax.GrantRole,
    syntax.RevokeRole,
    syntax.CreateRole,
    syntax.AlterRole,
    syntax.DropRole,
    syntax.CreatePolicy,
    syntax.AlterPolicy,
    syntax.DropPolicy,
    syntax.SetRole,
    syntax.SetSetting,
    syntax.ShowSetting,
    syntax.ShowCatalog,
    syntax.Explain,
    syntax.Advise,
    syntax.Maintain,
    syntax.Evaluate,
)

# What a user defines and drops beside memories.
_OBJECTS = ("TABLE", "VIEW", "TYPE", "SEQUENCE", "INDEX")

# What CREATE may have besides a name and a definition.
_PROPERTIES: dict[str, tuple[type[exp.Expr], ...]] = {
    "TABLE": (exp.TemporaryProperty, exp.WithDataProperty),
    "VIEW": (exp.TemporaryProperty,),
    "SEQUENCE": (exp.TemporaryProperty, exp.SequenceProperties),
}

# sqlglot logs what it falls back on; MemQL refuses those statements with an error of its own.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


def parse(text: str, max_bytes: int = MAX_STATEMENT_BYTES) -> exp.Expr:
    """Return the tree of the one statement in ``text``.

    Args:
        text: a MemQL statement, with or without a closing semicolon.
        max_bytes: the longest text that is read, in UTF-8 bytes.

    Raises:
        ProgrammingError: the text is no statement, or more than one, or too large.
        NotSupportedError: a statement that MemQL does not run.

    >>> type(parse("SELECT content FROM memories MATERIALIZE AS PLAINTEXT")).__name__
    'Materialize'
    """
    statement = _read(text, max_bytes)
    # What is printed may be longer than what was read: a chain of casts becomes brackets.
    check_nesting(statement, lambda printed: _read(printed, 2 * max_bytes))
    _check_kind(statement, text)
    return statement


def _read(text: str, max_bytes: int) -> exp.Expr:
    tokens = _checked_tokens(text, max_bytes)
    try:
        trees = dialect.MemQL().parser(max_nodes=MAX_STATEMENT_NODES).parse(tokens, text)
        # A comment behind the last semicolon is a node of its own.
        statements = [
            node for node in trees if node is not None and not isinstance(node, exp.Semicolon)
        ]
    except ParseError as error:
        raise _syntax_error(error, text, first=tokens[0].text) from None
    except SqlglotError as error:
        raise ProgrammingError(f"syntax error: {error}", code="42601") from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # sqlglot builds its nodes without looking at how many arguments a function got.
        raise ProgrammingError(
            f"syntax error: a function or clause has arguments that do not fit ({error})",
            code="42601",
        ) from error
    except RecursionError:
        raise too_deep() from None
    if not statements:
        raise ProgrammingError("syntax error: the statement is empty", code="42601")
    if len(statements) > 1:
        raise ProgrammingError(
            f"expected one statement, found {len(statements)}",
            hint="execute them one by one",
            position=place(text, _second_start(tokens)),
            statement=text,
            code="42601",
        )
    return statements[0]


def _second_start(tokens: list[Token]) -> int:
    """Return where the second statement of a text begins."""
    words = itertools.dropwhile(lambda token: token.token_type == TokenType.SEMICOLON, tokens)
    behind = itertools.dropwhile(lambda token: token.token_type != TokenType.SEMICOLON, words)
    return next(token.start for token in behind if token.token_type != TokenType.SEMICOLON)


def _checked_tokens(text: str, max_bytes: int) -> list[Token]:
    """Return the tokens of a text that is small enough."""
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise ProgrammingError(
            "the statement holds half of a character (a lone surrogate) "
            f"at place {error.start + 1}",
            code="22021",
        ) from None
    if size > max_bytes:
        raise ProgrammingError(
            f"the statement has {size:,} bytes; at most {max_bytes:,} are accepted",
            hint="pass long values as parameters (? or $name)",
            code="54000",
        )
    if "\x00" in text:
        raise ProgrammingError(
            "syntax error: the statement holds a NUL character",
            hint="leave it out, or write chr(0)",
            position=place(text, text.index("\x00")),
            code="22021",
        )
    try:
        tokens = dialect.MemQL().tokenize(text)
    except TokenError as error:
        raise _token_error(error, text) from None
    if len(tokens) > MAX_STATEMENT_TOKENS:
        raise ProgrammingError(
            f"the statement has {len(tokens):,} words and signs; "
            f"at most {MAX_STATEMENT_TOKENS:,} are accepted",
            hint="pass long lists as parameters (? or $name)",
            code="54000",
        )
    depth = 0
    for token, following in itertools.zip_longest(tokens, tokens[1:]):
        number = None
        if token.token_type in (TokenType.HEX_STRING, TokenType.BIT_STRING):
            number = text[token.start : token.end + 1] if text[token.start] == "0" else None
        elif (
            token.token_type == TokenType.NUMBER
            and following is not None
            and following.start == token.end + 1
            and (following.text[:1].isalpha() or following.text[:1] == "_")
        ) or (
            # ... and 1 . x as a field of a number.
            token.token_type == TokenType.NUMBER
            and following is not None
            and following.token_type == TokenType.DOT
        ):
            number = token.text + following.text
        if number is not None:
            # DuckDB reads 0xFF as 0 AS xFF.
            raise ProgrammingError(
                f"syntax error {_at(number, text)}: expected a number",
                position=place(text, token.start),
                statement=text,
                code="42601",
            )
        if token.token_type in _OPENING:
            depth += 1
            if depth > MAX_STATEMENT_DEPTH:
                raise ProgrammingError(
                    f"syntax error: nested deeper than {MAX_STATEMENT_DEPTH} brackets",
                    hint="split it with WITH (common table expressions)",
                    position=place(text, token.start),
                    statement=text,
                    code="54001",
                )
        elif token.token_type in _CLOSING:
            depth -= 1
    return tokens


def _check_kind(statement: exp.Expr, text: str) -> None:
    start = place(text, len(text) - len(text.lstrip()))
    defined = isinstance(statement, exp.Create | exp.Drop | exp.Alter)
    what = str(statement.args.get("kind") or "").upper() if defined else ""
    objects = ("TABLE",) if isinstance(statement, exp.Alter) else _OBJECTS
    if not isinstance(statement, _STATEMENTS) and what not in objects:
        kind = f"{statement.key.upper()} {what}".rstrip()
        if isinstance(statement, exp.Condition | exp.Alias | exp.Func):
            raise ProgrammingError(
                "syntax error: expected a statement, found an expression",
                hint=None
                if "\n" in text.strip() or holds_secret(text)
                else f"SELECT {text.strip().rstrip(';')}",
                position=start,
                statement=text,
                code="42601",
            )
        raise NotSupportedError(
            f"MemQL does not run {kind} statements", position=start, statement=text
        )
    properties = statement.args.get("properties") if defined else None
    for one in properties.expressions if properties is not None else ():
        if not isinstance(one, _PROPERTIES.get(what, ())):
            # sqlglot reads those of all dialects anywhere, and prints some where none is read.
            word = one.key.removesuffix("property") or one.name
            raise NotSupportedError(
                f"CREATE {what} takes no {word.upper()}",
                position=start,
                statement=text,
            )
    if isinstance(statement, exp.Copy):
        _check_copy(statement, text)
    if isinstance(statement, exp.Create) and what in ("TABLE", "VIEW"):
        made = statement.args.get("expression")
        missing = made is None and what == "VIEW"
        if missing or not isinstance(made, exp.Query | exp.Values | None):
            raise ProgrammingError(
                f"syntax error: expected a query (SELECT ...) in CREATE {what}",
                hint=f"CREATE {what} name AS SELECT ...",
                position=position(text, made) or start,
                statement=text,
                code="42601",
            )
    if isinstance(statement, exp.Transaction | exp.Commit | exp.Rollback):
        for key, value in statement.args.items():
            if value:
                raise NotSupportedError(
                    f"{statement.key.upper()} takes no {key.upper()} in MemQL",
                    position=start,
                    statement=text,
                )
    inner = statement.this if isinstance(statement, syntax.Explain) else statement
    if isinstance(statement, syntax.Explain):
        _check_kind(inner, text)
    if isinstance(inner, syntax.CreateMaterializedView):
        inner = inner.expression
    for node in inner.find_all(syntax.Materialize):
        if node is not inner:
            raise ProgrammingError(
                "MATERIALIZE is the last clause of a top-level query, not of a part of it",
                position=position(text, node),
                statement=text,
                code="42601",
            )
    if isinstance(inner, exp.Insert | exp.Update | exp.Delete | exp.Merge):
        table = inner.this.this if isinstance(inner.this, exp.Schema) else inner.this
        if not isinstance(table, exp.Table):
            raise ProgrammingError(
                f"syntax error: {inner.key.upper()} names the table that it changes",
                position=start,
                statement=text,
                code="42601",
            )
    for node in statement.find_all(exp.SetOperation):
        for side in (node.this, node.expression):
            if not isinstance(side, exp.Query | exp.Values | exp.Table):
                raise ProgrammingError(
                    f"syntax error: expected a query on each side of {node.key.upper()}",
                    position=position(text, side) or start,
                    statement=text,
                    code="42601",
                )
    if any(statement.find_all(exp.Command)):
        raise ProgrammingError(
            "syntax error: a part of the statement was not understood", code="42601"
        )


def _check_copy(statement: exp.Copy, text: str) -> None:
    """Refuse what sqlglot takes for a COPY: names with aliases, files without quotes."""
    files = statement.args.get("files") or []
    named = isinstance(statement.this, exp.Table) and bool(statement.this.alias)
    quoted = all(
        isinstance(file, exp.Placeholder) or (isinstance(file, exp.Literal) and file.is_string)
        for file in files
    )
    if named or not quoted or len(files) != 1:
        raise ProgrammingError(
            "syntax error: expected COPY table TO 'file', COPY table FROM 'file' or "
            "COPY (SELECT ...) TO 'file'",
            position=position(text, statement),
            statement=text,
            code="42601",
        )


def _syntax_error(error: ParseError, text: str, first: str) -> ProgrammingError | NotSupportedError:
    detail = error.errors[0] if error.errors else {}
    offset = min(int(detail.get("offset", 0)), len(text))
    if detail.get("unsupported"):
        return NotSupportedError(
            str(detail["description"]),
            hint=detail["hint"],
            position=place(text, offset),
            statement=text,
        )
    found = str(detail.get("found", ""))
    choices = tuple(map(str, detail.get("choices", ())))
    before = str(detail.get("before", ""))
    expected = _expected(str(detail.get("description") or error))
    if found.upper() == "MATERIALIZE":
        expected = "MATERIALIZE AS ... is the last clause of a top-level query, not of a part of it"
    if found.upper() == "MATCHES":
        expected = "expected a text or a parameter behind MATCHES"
    where = _at(found, text) if found else "at the end"
    too_many = expected.startswith("at most")
    return ProgrammingError(
        f"syntax error {where}: {expected}",
        hint=detail.get("hint")
        or (None if holds_secret(text) else _did_you_mean(found, before, first, choices)),
        position=place(text, offset),
        statement=text,
        code="54001" if too_many else "42601",
    )


def _at(found: str, text: str) -> str:
    """Say at what the error is; what may be a password is not shown."""
    return "here" if holds_secret(text) else f"at '{found}'"


def _expected(description: str) -> str:
    """Say in MemQL's words what sqlglot's parser wanted."""
    if description.startswith("Maximum number of AST nodes"):
        return f"at most {MAX_STATEMENT_NODES:,} columns, operators and clauses are accepted"
    if "Unexpected token" in description:
        return (
            "expected a clause (WHERE, GROUP BY, ORDER BY, LIMIT, MATERIALIZE AS ...) "
            "or the end of the statement"
        )
    if description.startswith("Expected table name"):
        return "expected a table name"
    if description.startswith("Expecting "):
        return "expected " + description.removeprefix("Expecting ")
    if description.startswith("Required keyword"):
        return "expected an expression here"
    return description


def _did_you_mean(found: str, before: str, first: str, choices: tuple[str, ...]) -> str | None:
    """Return a hint for the mistyped word: where the error is, before it, or the first one.

    Args:
        choices: the words that can stand where the error is, if the grammar knows them.
    """
    for word, known in ((found, choices), (found, WORDS), (before, WORDS), (first, WORDS)):
        word = word.upper().lstrip("(")
        if word in known or word in WORDS:
            continue
        nearest = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
        if nearest:
            return f"did you mean {nearest[0]} instead of {word}?"
    return None


def _token_error(error: TokenError, text: str) -> ProgrammingError:
    quote = next((sign for sign in ("'", '"', "$$") if text.count(sign) % 2), None)
    opening, closing = ("/*", "*/") if quote is None else (quote, quote)
    if quote is not None or text.count(opening) > text.count(closing):
        offset = text.rfind(opening)
        return ProgrammingError(
            f"syntax error: expected a closing {closing}",
            position=place(text, offset),
            statement=text,
            code="42601",
        )
    detail = "" if holds_secret(text) else ": " + str(error).splitlines()[0].split(" (")[0]
    return ProgrammingError(
        f"syntax error: the text cannot be read as words and signs{detail}",
        position=place(text, len(text)),
        statement=text,
        code="42601",
    )
