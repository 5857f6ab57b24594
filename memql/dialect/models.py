"""Models and adapters: CREATE, DROP."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator

from memql.dialect.reader import Printers, Reader, Statements, create_sql, drop_sql, with_sql
from memql.engine import syntax


def _parse_model(reader: Reader, replace: bool = False) -> exp.Expr:
    exists = reader.if_not_exists()
    name = reader.name("a model name")
    reader.expect("FROM", "FROM 'folder or hub id'")
    source = reader.text("a folder or hub id")
    options = reader.with_options()
    return reader.expression(
        syntax.CreateModel(
            this=name, source=source, options=options, replace=replace, exists=exists
        )
    )


def _parse_model_or_replace(reader: Reader) -> exp.Expr:
    return _parse_model(reader, replace=True)


def _model_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    return (
        create_sql(generator, node, "MODEL")
        + f" FROM {generator.sql(node, 'source')}"
        + with_sql(generator, node)
    )


def _parse_drop_model(reader: Reader) -> exp.Expr:
    exists = reader.if_exists()
    return reader.expression(syntax.DropModel(this=reader.name("a model name"), exists=exists))


def _parse_adapter(reader: Reader, replace: bool = False) -> exp.Expr:
    exists = reader.if_not_exists()
    name = reader.name("an adapter name")
    reader.expect("FROM", "FROM 'folder'")
    source = reader.text("the adapter's folder")
    reader.expect("FOR MODEL", "FOR MODEL and the model's name")
    model = reader.name("a model name")
    return reader.expression(
        syntax.CreateAdapter(this=name, source=source, model=model, replace=replace, exists=exists)
    )


def _parse_adapter_or_replace(reader: Reader) -> exp.Expr:
    return _parse_adapter(reader, replace=True)


def _adapter_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    return (
        create_sql(generator, node, "ADAPTER")
        + f" FROM {generator.sql(node, 'source')} FOR MODEL {generator.sql(node, 'model')}"
    )


def _parse_drop_adapter(reader: Reader) -> exp.Expr:
    exists = reader.if_exists()
    return reader.expression(syntax.DropAdapter(this=reader.name("an adapter name"), exists=exists))


STATEMENTS: Statements = {
    "CREATE MODEL": _parse_model,
    "CREATE OR REPLACE MODEL": _parse_model_or_replace,
    "DROP MODEL": _parse_drop_model,
    "CREATE ADAPTER": _parse_adapter,
    "CREATE OR REPLACE ADAPTER": _parse_adapter_or_replace,
    "DROP ADAPTER": _parse_drop_adapter,
}

PRINTERS: Printers = {
    syntax.CreateModel: _model_sql,
    syntax.DropModel: drop_sql("MODEL"),
    syntax.CreateAdapter: _adapter_sql,
    syntax.DropAdapter: drop_sql("ADAPTER"),
}
