"""Clauses of queries: LIMIT with TOKENS, MATCHES, and AT for time travel."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator
from sqlglot.tokenizer_core import TokenType

from memql.dialect.reader import Printers, Reader, one_of
from memql.engine import syntax

# -- LIMIT n TOKENS ----------------------------------------------------------------------------

# What an amount of tokens can begin with. Other words behind LIMIT k ROWS are what follows in
# DuckDB's grammar: ONLY, WITH TIES, OFFSET, UNION ...
_AMOUNT_STARTS = (
    TokenType.NUMBER,
    TokenType.PLACEHOLDER,
    TokenType.PARAMETER,
    TokenType.L_PAREN,
    TokenType.DASH,
)


def parse_limit(reader: Reader) -> exp.Expr:
    """Return what follows LIMIT: a TokenLimit, or sqlglot's Limit."""
    comments = reader._prev_comments
    # ALL is no amount.
    amount = exp.var("ALL") if reader._match(TokenType.ALL) else reader._parse_term(parse_mod=False)
    if reader.take("TOKENS"):
        return _token_limit(reader, amount, None)
    if reader.sees("TOKEN"):
        reader.fail("expected TOKENS", hint="LIMIT 2000 TOKENS")
    following = reader.token_after()
    if following and following.token_type in _AMOUNT_STARTS and reader.take("ROWS"):
        tokens = reader._parse_term(parse_mod=False)
        reader.expect("TOKENS", "TOKENS after LIMIT k ROWS n")
        return _token_limit(reader, tokens, amount)
    limit_options = reader._parse_limit_options()
    if reader._match(TokenType.COMMA, advance=False):
        reader.fail("expected one number", hint="LIMIT rows OFFSET rows")
    return reader.expression(
        exp.Limit(expression=amount, limit_options=limit_options), comments=comments
    )


def _token_limit(reader: Reader, tokens: exp.Expr | None, rows: exp.Expr | None) -> exp.Expr:
    for amount in (tokens, rows):
        if isinstance(amount, exp.Var):
            reader.fail("expected a number of tokens, not ALL")
    assert tokens is not None, "without an amount TOKENS is read as one"
    return reader.expression(syntax.TokenLimit(this=tokens, rows=rows))


def _token_limit_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    rows = f"{generator.sql(node, 'rows')} ROWS " if node.args.get("rows") else ""
    return f"{generator.seg('LIMIT')} {rows}{generator.sql(node, 'this')} TOKENS"


# -- MATCHES -----------------------------------------------------------------------------------


def at_matches(reader: Reader) -> bool:
    """Tell whether ``MATCHES 'text'`` starts here; without a text the word is an alias."""
    following = reader.token_after()
    return (
        following is not None
        and (
            following.token_type in reader.STRING_PARSERS
            or following.token_type in (TokenType.PLACEHOLDER, TokenType.PARAMETER)
        )
        and reader.sees("MATCHES")
    )


def parse_matches(reader: Reader, column: exp.Expr) -> exp.Expr:
    """Return ``column MATCHES 'text' [USING TEXT | VECTOR | HYBRID]``."""
    reader.take("MATCHES")
    text = reader.text("the text to look for")
    using = None
    following = reader.token_after()
    # USING SAMPLE follows a query, USING (...) is a join's, and other words are mistypes.
    if (
        following is not None
        and following.text.upper() not in ("SAMPLE", "(")
        and reader.take("USING")
    ):
        using = reader.expect_one(syntax.SEARCHES, "USING")
    return reader.expression(syntax.Matches(this=column, expression=text, using=using))


def _matches_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    using = node.args.get("using")
    return f"{generator.sql(node, 'this')} MATCHES {generator.sql(node, 'expression')}" + (
        f" USING {using}" if using else ""
    )


# -- AT (... => ...) ---------------------------------------------------------------------------

AT_HINT = "memories AT (" + " | ".join(syntax.POINTS) + " => ...)"


def parse_time_travel(reader: Reader) -> exp.Expr | None:
    """Return the AT or AS OF clause that starts here, if one does.

    ``FROM t at (a, b)`` is an alias with columns: the arrow decides.
    """
    for kind in ("TIMESTAMP", "VERSION"):
        if reader.take("AS", "OF", kind):
            return _time_travel(reader, kind)
    arrow = reader.token_after(3)
    if (
        (reader.sees("AT", "(") or reader.sees("BEFORE", "("))
        and arrow is not None
        and arrow.token_type in (TokenType.FARROW, TokenType.EQ, TokenType.COLON_EQ)
    ):
        if not reader.take("AT", "("):
            reader.fail("expected AT for time travel", hint=AT_HINT)
        kind = reader.expect_one(syntax.POINTS, "AT (")
        if not reader._match(TokenType.FARROW):
            reader.fail("expected =>", hint=AT_HINT)
        node = _time_travel(reader, kind)
        reader._match_r_paren()
        return node
    return None


def _time_travel(reader: Reader, kind: str) -> exp.Expr:
    point = reader._parse_bitwise()
    if point is None:
        reader.fail(f"expected a {'number' if kind == 'VERSION' else 'time'} after {kind}")
    return reader.expression(syntax.TimeTravel(this=point, kind=kind))


def refuse_other_spellings(reader: Reader) -> None:
    """Fail where another dialect's time travel starts."""
    for words in (*reader.VERSION_PHRASES, ("CHANGES", "(", "INFORMATION")):
        if reader.sees(*words):
            reader.fail("expected AT for time travel", hint=AT_HINT)


def refuse_bare_at(reader: Reader) -> None:
    """Fail at ``memories m AT x``, which sqlglot reads as an index in a list.

    ``memories VALID AT '...'`` is such a case, with the alias ``VALID``.
    """
    place = reader._index - 1
    while place > 0 and reader._tokens[place].text.upper() != "AT":
        place -= 1
    kind = reader._tokens[place - 1].text.upper()
    reader.fail(
        f"expected AT ({one_of(syntax.POINTS)} => ...)",
        token=reader._tokens[place],
        hint=f"AT ({kind} => ...)" if kind in syntax.POINTS else AT_HINT,
    )


def _time_travel_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    return f"AT ({node.args['kind']} => {generator.sql(node, 'this')})"


PRINTERS: Printers = {
    syntax.TokenLimit: _token_limit_sql,
    syntax.Matches: _matches_sql,
    syntax.TimeTravel: _time_travel_sql,
}
