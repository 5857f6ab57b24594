"""Queries that a model reads: the MATERIALIZE clause and the aggregate ``generate``."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator
from sqlglot.tokenizer_core import TokenType

from memql.dialect.reader import Printers, Reader, options_sql, with_sql
from memql.engine import syntax

# -- MATERIALIZE AS ----------------------------------------------------------------------------


def as_query(reader: Reader, node: exp.Expr | None) -> exp.Expr | None:
    """Return VALUES, PIVOT and UNPIVOT that stand alone as the SELECT that reads them."""
    if isinstance(node, exp.Values):
        source: exp.Expr = node
    elif isinstance(node, exp.Pivot):
        source = exp.Subquery(this=node)
    else:
        return node
    select = exp.Select(expressions=[exp.Star()])
    for key in ("with_", "order", "limit", "offset"):
        if node.args.get(key) is not None:
            select.set(key, node.args[key].pop())
    select.set("from_", exp.From(this=source))
    return reader._parse_query_modifiers(select)


def parse_materialize(reader: Reader, query: exp.Expr | None) -> exp.Expr | None:
    """Return ``query`` with the MATERIALIZE clause that follows it, if one does."""
    if not isinstance(query, exp.Query) or not reader.take("MATERIALIZE"):
        return query
    if not reader.take("AS"):
        reader.fail("expected AS after MATERIALIZE")
    form = reader.expect_one(syntax.FORMS, "MATERIALIZE AS")
    model = None
    if reader.take("FOR"):
        reader.expect("MODEL", "MODEL after FOR")
        model = reader.name("a model name")
    options = reader.with_options()
    return reader.expression(
        syntax.Materialize(this=query, form=form, model=model, options=options)
    )


def at_materialize(reader: Reader) -> bool:
    """Tell whether ``MATERIALIZE AS`` starts here, where an alias could stand too.

    ``FROM m materialize`` is an alias and stays one; behind an implicit alias no ``AS``
    can follow, so two words decide, but for ``WITH materialize AS [MATERIALIZED] (...)``.
    """
    if not reader.sees("MATERIALIZE", "AS"):
        return False
    third = reader.token_after(2)
    return third is None or third.text.upper() not in ("(", "MATERIALIZED", "NOT")


def _materialize_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    model = generator.sql(node, "model")
    return (
        f"{generator.sql(node, 'this')} MATERIALIZE AS {node.args['form']}"
        + (f" FOR MODEL {model}" if model else "")
        + with_sql(generator, node)
    )


# -- generate ----------------------------------------------------------------------------------


def parse_generate(reader: Reader) -> exp.Expr:
    """Return generate; its parentheses are matched by sqlglot's function parser."""
    word = reader._tokens[reader._index - 2]
    arguments: list[exp.Expr] = []
    options: list[exp.Expr] = []
    if reader.sees("DISTINCT"):
        reader.fail("generate takes no DISTINCT; put it into a subquery")
    ends = (TokenType.R_PAREN, TokenType.ORDER_BY, TokenType.LIMIT)
    while reader._curr and reader._curr.token_type not in ends:
        following = reader.token_after()
        if following is not None and following.token_type == TokenType.COLON_EQ:
            options.append(reader.option(TokenType.COLON_EQ, ":="))
        else:
            if options:
                reader.fail("expected another option: options come last")
            arguments.append(reader.value("a question, a column or an option of generate"))
        if not reader._match(TokenType.COMMA):
            break
    order = reader._parse_order()
    limit = reader._parse_limit() if reader.sees("LIMIT") else None
    if not 1 <= len(arguments) <= 2:
        reader.fail(
            "generate takes a question and at most one expression: generate('question' "
            "[, expression] [, option := value] [ORDER BY ...] [LIMIT ...])"
        )
    return reader.expression(
        syntax.Generate(
            this=arguments[0],
            expression=arguments[1] if len(arguments) > 1 else None,
            options=options,
            order=order,
            limit=limit,
        ).update_positions(word)
    )


def _generate_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    arguments = [generator.sql(node, "this")]
    if node.args.get("expression"):
        arguments.append(generator.sql(node, "expression"))
    options = options_sql(generator, node, ":=")
    if options:
        arguments.append(options)
    # The text of an Order or a Limit starts with its own space.
    return (
        f"GENERATE({', '.join(arguments)}"
        f"{generator.sql(node, 'order')}{generator.sql(node, 'limit')})"
    )


PRINTERS: Printers = {syntax.Materialize: _materialize_sql, syntax.Generate: _generate_sql}
