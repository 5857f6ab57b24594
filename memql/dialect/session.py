"""The session and its upkeep: SET, SHOW, EXPLAIN, ADVISE, MAINTAIN, EVALUATE."""

from __future__ import annotations

from typing import NoReturn

from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator
from sqlglot.tokenizer_core import TokenType

from memql.dialect.reader import Printers, Reader, Statements, one_of, with_sql
from memql.engine import syntax

SHOW_KINDS: tuple[str, ...] = (
    "MATERIALIZED VIEWS",
    "MODELS",
    "ADAPTERS",
    "CUBES",
    "SETTINGS",
    "USERS",
    "ROLES",
    "GRANTS",
    "POLICIES",
    "JOBS",
    "TABLES",
)

EXPLAIN_OPTIONS: dict[str, tuple[str, ...]] = {
    "ANALYZE": ("ON", "OFF"),
    "FORMAT": ("TEXT", "JSON", "MERMAID", "HTML"),
    "COSTS": ("ON", "OFF"),
}

EVALUATE_KINDS: tuple[str, ...] = ("VIEW", "SEARCH")

# -- SET, RESET, SHOW --------------------------------------------------------------------------


def _parse_set(reader: Reader) -> exp.Expr:
    reader.take("SESSION")
    name = _parse_setting_name(reader, "SET")
    if not reader._match(TokenType.EQ) and not reader.take("TO"):
        reader.fail("expected = or TO and a value")
    value = None if reader.take("DEFAULT") else _parse_setting_value(reader)
    return reader.expression(syntax.SetSetting(this=name, expression=value))


def _parse_reset(reader: Reader) -> exp.Expr:
    return reader.expression(syntax.SetSetting(this=_parse_setting_name(reader, "RESET")))


def _parse_setting_name(reader: Reader, statement: str) -> exp.Expr:
    if reader.take("MEMQL", "."):
        return reader.name("the setting's name")
    _refuse_setting(reader, statement)


def _refuse_setting(reader: Reader, statement: str) -> NoReturn:
    token = reader._curr
    if not token:
        reader.fail(f"expected memql.<name> after {statement}")
    name = token.text
    while (dot := reader.token_after()) is not None and dot.token_type == TokenType.DOT:
        reader._advance(2)
        name += f".{reader._curr.text if reader._curr else ''}"
    reader.unsupported(
        f"{statement} {name} is not something that MemQL does",
        token=token,
        hint="settings are SET memql.<name> = value; SHOW SETTINGS lists them",
    )


def _parse_setting_value(reader: Reader) -> exp.Expr:
    """Return a literal, a parameter, a negative number, or a word as ``exp.Var``."""
    if reader.take("-"):
        number = reader._parse_number()
        if not isinstance(number, exp.Literal):
            reader.fail("expected a number after -")
        return exp.Neg(this=number)
    value = reader.text_or_none() or reader._parse_number()
    if value is not None:
        return value
    literals = (TokenType.NULL, TokenType.TRUE, TokenType.FALSE)
    literal = reader._parse_primary() if reader._match_set(literals, advance=False) else None
    word = literal or reader._parse_var(any_token=True)
    if word is None or (isinstance(word, exp.Var) and not word.name.isidentifier()):
        reader.fail("expected a value: a text, a number, a word or a parameter", token=reader._prev)
    return word


def _set_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    value = generator.sql(node, "expression")
    return f"SET memql.{generator.sql(node, 'this')} = {value or 'DEFAULT'}"


def _parse_show(reader: Reader) -> exp.Expr:
    if reader.take("MEMQL", "."):
        return reader.expression(syntax.ShowSetting(this=reader.name("the setting's name")))
    kind = reader.take_one(SHOW_KINDS)
    if kind is None:
        reader.fail(
            f"expected {', '.join(SHOW_KINDS)} or memql.<setting> after SHOW",
            choices=[*SHOW_KINDS, "MATERIALIZED"],
        )
    return reader.expression(syntax.ShowCatalog(this=kind))


# -- EXPLAIN -----------------------------------------------------------------------------------


def _parse_explain(reader: Reader) -> exp.Expr:
    analyze = reader.take("ANALYZE")
    options: dict[str, str] = {}
    following = reader.token_after()
    if (
        reader.sees_parenthesis()
        and following is not None
        and (following.token_type == TokenType.VAR or following.text.upper() in EXPLAIN_OPTIONS)
    ):
        reader.takes_parenthesis()
        while True:
            _parse_explain_option(reader, options)
            if not reader._match(TokenType.COMMA):
                break
        reader._match_r_paren()
        analyze = analyze or options.get("ANALYZE") == "ON"
    if reader.sees("EXPLAIN"):
        reader.fail("expected a statement to explain, not another EXPLAIN")
    statement = reader.top_statement()
    if statement is None:
        reader.fail("expected a statement to explain")
    return reader.expression(
        syntax.Explain(
            this=statement,
            analyze=analyze,
            format=options.get("FORMAT", "TEXT"),
            costs=options.get("COSTS", "ON") == "ON",
        )
    )


def _parse_explain_option(reader: Reader, options: dict[str, str]) -> None:
    name = reader.take_one(EXPLAIN_OPTIONS)
    if name is None:
        reader.fail("expected " + ", ".join(EXPLAIN_OPTIONS), choices=EXPLAIN_OPTIONS)
    allowed = EXPLAIN_OPTIONS[name]
    value = reader.take_one(allowed)
    if value is None and name == "FORMAT":
        reader.fail("expected " + one_of([word.lower() for word in allowed]), choices=allowed)
    options[name] = value or "ON"


def _explain_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    options = []
    if node.args.get("format") not in (None, "TEXT"):
        options.append(f"FORMAT {node.args['format']}")
    if not node.args.get("costs"):
        options.append("COSTS OFF")
    return (
        "EXPLAIN "
        + ("ANALYZE " if node.args.get("analyze") else "")
        + (f"({', '.join(options)}) " if options else "")
        + generator.sql(node, "this")
    )


# -- ADVISE, MAINTAIN, EVALUATE ----------------------------------------------------------------


def _parse_advise(reader: Reader) -> exp.Expr:
    return reader.expression(syntax.Advise(apply=reader.take("APPLY") or None))


def _advise_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    return "ADVISE APPLY" if node.args.get("apply") else "ADVISE"


def _parse_maintain(reader: Reader) -> exp.Expr:
    return reader.expression(syntax.Maintain())


def _parse_evaluate(reader: Reader) -> exp.Expr:
    kind = reader.expect_one(EVALUATE_KINDS, "EVALUATE")
    name = reader.name("a view name") if kind == "VIEW" else None
    using = None
    if reader.take("USING"):
        if not reader.takes_parenthesis():
            reader.fail("expected a query in parentheses after USING")
        using = reader.plain_statement()
        if not isinstance(using, exp.Query):
            reader.fail("expected a query (SELECT ...) after USING (")
        reader._match_r_paren()
    options = reader.with_options()
    return reader.expression(syntax.Evaluate(this=name, kind=kind, using=using, options=options))


def _evaluate_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    name, using = generator.sql(node, "this"), generator.sql(node, "using")
    return (
        f"EVALUATE {node.args['kind']}"
        + (f" {name}" if name else "")
        + (f" USING ({using})" if using else "")
        + with_sql(generator, node)
    )


STATEMENTS: Statements = {
    "EXPLAIN": _parse_explain,
    "SHOW": _parse_show,
    "SET": _parse_set,
    "RESET": _parse_reset,
    "ADVISE": _parse_advise,
    "MAINTAIN": _parse_maintain,
    "EVALUATE": _parse_evaluate,
}

PRINTERS: Printers = {
    syntax.Explain: _explain_sql,
    syntax.ShowCatalog: lambda generator, node: f"SHOW {node.this}",
    syntax.ShowSetting: lambda generator, node: f"SHOW memql.{generator.sql(node, 'this')}",
    syntax.SetSetting: _set_sql,
    syntax.Advise: _advise_sql,
    syntax.Maintain: lambda generator, node: "MAINTAIN",
    syntax.Evaluate: _evaluate_sql,
}
