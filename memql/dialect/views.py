"""Materialized views: CREATE, REFRESH, ALTER, DROP."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator

from memql.dialect.queries import parse_materialize
from memql.dialect.reader import Printers, Reader, Statements, create_sql, drop_sql, options_sql
from memql.engine import syntax


def _parse_create(reader: Reader, replace: bool = False) -> exp.Expr:
    exists = reader.if_not_exists()
    name = reader.name("a view name")
    refresh = _parse_refresh_mode(reader) if reader.take("REFRESH") else None
    if not reader.take("AS"):
        reader.fail("expected AS and the view's query", choices=("REFRESH", "AS"))
    # The materialize clause is parsed here, and not as part of the query, because
    # WITH NO DATA follows it and starts like the clause's own WITH (...).
    query = parse_materialize(reader, reader.plain_statement())
    if not isinstance(query, (exp.Query, syntax.Materialize)):
        reader.fail("expected a query (SELECT ...) after AS")
    no_data = reader.take("WITH", "NO", "DATA")
    if not no_data:
        reader.take("WITH", "DATA")
    return reader.expression(
        syntax.CreateMaterializedView(
            this=name,
            expression=query,
            replace=replace,
            exists=exists,
            refresh=refresh,
            no_data=no_data,
        )
    )


def _parse_create_or_replace(reader: Reader) -> exp.Expr:
    return _parse_create(reader, replace=True)


def _parse_refresh_mode(reader: Reader) -> exp.Expr:
    mode = reader.take_one(syntax.REFRESH_MODES)
    if mode is None:
        reader.take("ON")
        reader.fail(
            "expected ON DEMAND, ON COMMIT or EVERY INTERVAL '...' after REFRESH",
            choices=("DEMAND", "COMMIT", "EVERY"),
        )
    if mode != "EVERY":
        return reader.expression(syntax.RefreshMode(this=mode))
    token = reader._curr
    interval = reader._parse_interval()
    if not isinstance(interval, exp.Interval):
        reader.fail("expected one INTERVAL '...' after EVERY", token=token or None)
    return reader.expression(syntax.RefreshMode(this=mode, interval=interval))


def _refresh_mode_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    interval = generator.sql(node, "interval")
    return f"{node.this} {interval}" if interval else str(node.this)


def _create_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    refresh = generator.sql(node, "refresh")
    return (
        create_sql(generator, node, "MATERIALIZED VIEW")
        + (f" REFRESH {refresh}" if refresh else "")
        + f" AS {generator.sql(node, 'expression')}"
        + (" WITH NO DATA" if node.args.get("no_data") else "")
    )


def _parse_refresh(reader: Reader) -> exp.Expr:
    return reader.expression(syntax.RefreshMaterializedView(this=reader.name("a view name")))


def _refresh_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    return f"REFRESH MATERIALIZED VIEW {generator.sql(node, 'this')}"


def _parse_alter(reader: Reader) -> exp.Expr:
    exists = reader.if_exists()
    name = reader.name("a view name")
    reader.expect("SET", "SET (option = value, ...)")
    return reader.expression(
        syntax.AlterMaterializedView(this=name, options=reader.option_list(), exists=exists)
    )


def _alter_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    exists = "IF EXISTS " if node.args.get("exists") else ""
    return (
        f"ALTER MATERIALIZED VIEW {exists}{generator.sql(node, 'this')} "
        f"SET ({options_sql(generator, node)})"
    )


def _parse_drop(reader: Reader) -> exp.Expr:
    exists = reader.if_exists()
    return reader.expression(
        syntax.DropMaterializedView(this=reader.name("a view name"), exists=exists)
    )


STATEMENTS: Statements = {
    "CREATE MATERIALIZED VIEW": _parse_create,
    "CREATE OR REPLACE MATERIALIZED VIEW": _parse_create_or_replace,
    "REFRESH MATERIALIZED VIEW": _parse_refresh,
    "ALTER MATERIALIZED VIEW": _parse_alter,
    "DROP MATERIALIZED VIEW": _parse_drop,
}

PRINTERS: Printers = {
    syntax.RefreshMode: _refresh_mode_sql,
    syntax.CreateMaterializedView: _create_sql,
    syntax.RefreshMaterializedView: _refresh_sql,
    syntax.AlterMaterializedView: _alter_sql,
    syntax.DropMaterializedView: drop_sql("MATERIALIZED VIEW"),
}
