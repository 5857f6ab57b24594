"""The life of memories: RESTORE, QUARANTINE, FORGET, EXPORT, IMPORT."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator

from memql.dialect.reader import Printers, Reader, Statements
from memql.engine import syntax


def _parse_target(reader: Reader) -> tuple[exp.Expr, exp.Expr | None]:
    """Return the table with its alias, and the WHERE."""
    table = reader.table("memories")
    if reader.take("AS"):
        table.set("alias", exp.TableAlias(this=reader.name("an alias")))
    elif reader._curr and (not reader.sees("VERIFY") or reader.sees("VERIFY", "WHERE")):
        # VERIFY is an alias only where it cannot be the word at the end.
        alias = reader._parse_id_var(any_token=False)
        if alias is not None:
            table.set("alias", exp.TableAlias(this=alias))
    return table, reader._parse_where()


def _parse_restore(reader: Reader) -> exp.Expr:
    table, where = _parse_target(reader)
    return reader.expression(syntax.Restore(this=table, where=where))


def _parse_quarantine(reader: Reader) -> exp.Expr:
    table, where = _parse_target(reader)
    return reader.expression(syntax.Quarantine(this=table, where=where))


def _parse_forget(reader: Reader) -> exp.Expr:
    table, where = _parse_target(reader)
    if where is None:
        reader.fail(
            "expected WHERE, which is mandatory: FORGET erases for good",
            hint="FORGET FROM memories WHERE true erases everything that you may forget",
        )
    verify = reader.take("VERIFY")
    return reader.expression(syntax.Forget(this=table, where=where, verify=verify))


def _change_sql(word: str) -> Callable[[DuckDBGenerator, exp.Expr], str]:
    def print_change(generator: DuckDBGenerator, node: exp.Expr) -> str:
        verify = " VERIFY" if node.args.get("verify") else ""
        return f"{word} FROM {generator.sql(node, 'this')}{generator.sql(node, 'where')}{verify}"

    return print_change


def _parse_export(reader: Reader) -> exp.Expr:
    reader.expect("TO", "TO 'folder'")
    return reader.expression(syntax.ExportMemories(this=reader.text("a folder")))


def _parse_import(reader: Reader) -> exp.Expr:
    reader.expect("FROM", "FROM 'folder'")
    return reader.expression(syntax.ImportMemories(this=reader.text("a folder")))


STATEMENTS: Statements = {
    "RESTORE FROM": _parse_restore,
    "QUARANTINE FROM": _parse_quarantine,
    "FORGET FROM": _parse_forget,
    "EXPORT MEMORIES": _parse_export,
    "IMPORT MEMORIES": _parse_import,
}

PRINTERS: Printers = {
    syntax.Restore: _change_sql("RESTORE"),
    syntax.Quarantine: _change_sql("QUARANTINE"),
    syntax.Forget: _change_sql("FORGET"),
    syntax.ExportMemories: lambda generator, node: (
        f"EXPORT MEMORIES TO {generator.sql(node, 'this')}"
    ),
    syntax.ImportMemories: lambda generator, node: (
        f"IMPORT MEMORIES FROM {generator.sql(node, 'this')}"
    ),
}
