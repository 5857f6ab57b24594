"""Row policies: CREATE, ALTER, DROP."""

from __future__ import annotations

from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator

from memql.dialect.reader import Printers, Reader, Statements, drop_sql, list_sql
from memql.engine import syntax


def _parse_create(reader: Reader) -> exp.Expr:
    name, table = _parse_name_on_table(reader)
    restrictive = False
    if reader.take("AS"):
        kind = reader.expect_one(("PERMISSIVE", "RESTRICTIVE"), "AS")
        restrictive = kind == "RESTRICTIVE"
    command = None
    if reader.take("FOR"):
        command = reader.expect_one(syntax.POLICY_COMMANDS, "FOR")
    policy = syntax.CreatePolicy(
        this=name, table=table, restrictive=restrictive or None, command=command
    )
    _parse_conditions(reader, policy)
    if reader._curr:
        reader.fail(
            "expected AS, FOR, TO, USING, WITH CHECK or the end, in this order",
            choices=("AS", "FOR", "TO", "USING", "WITH"),
        )
    return reader.expression(policy)


def _create_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    command = node.args.get("command")
    return (
        f"CREATE POLICY {generator.sql(node, 'this')} ON {generator.sql(node, 'table')}"
        + (" AS RESTRICTIVE" if node.args.get("restrictive") else "")
        + (f" FOR {command}" if command else "")
        + _conditions_sql(generator, node)
    )


def _parse_alter(reader: Reader) -> exp.Expr:
    name, table = _parse_name_on_table(reader)
    policy = syntax.AlterPolicy(this=name, table=table)
    if reader.take("RENAME"):
        reader.expect("TO", "TO and the new name")
        policy.set("rename", reader.name("the new name"))
    elif not _parse_conditions(reader, policy):
        reader.fail(
            "expected RENAME TO, TO, USING or WITH CHECK",
            choices=("RENAME", "TO", "USING", "WITH"),
        )
    return reader.expression(policy)


def _alter_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    rename = generator.sql(node, "rename")
    return (
        f"ALTER POLICY {generator.sql(node, 'this')} ON {generator.sql(node, 'table')}"
        + (f" RENAME TO {rename}" if rename else "")
        + _conditions_sql(generator, node)
    )


def _parse_drop(reader: Reader) -> exp.Expr:
    exists = reader.if_exists()
    name, table = _parse_name_on_table(reader)
    return reader.expression(syntax.DropPolicy(this=name, table=table, exists=exists))


def _drop_policy_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    return f"{drop_sql('POLICY')(generator, node)} ON {generator.sql(node, 'table')}"


def _parse_name_on_table(reader: Reader) -> tuple[exp.Expr, exp.Expr]:
    name = reader.name("the policy's name")
    reader.expect("ON", "ON and a table")
    return name, reader.table()


def _parse_conditions(reader: Reader, policy: exp.Expr) -> bool:
    """Set TO, USING and WITH CHECK of a policy; tell whether there was one of them."""
    if reader.take("TO"):
        policy.set("grantees", reader.names("the name of a user or role"))
    for words, key in ((("USING",), "using"), (("WITH", "CHECK"), "check")):
        if reader.take(*words):
            hint = "CREATE POLICY p ON memories USING (owner = 'alice')"
            policy.set(key, reader.in_parentheses("the condition of a policy", hint))
    return any(policy.args.get(key) for key in ("grantees", "using", "check"))


def _conditions_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    grantees = node.args.get("grantees")
    using, check = generator.sql(node, "using"), generator.sql(node, "check")
    return (
        (f" TO {list_sql(generator, grantees)}" if grantees else "")
        + (f" USING ({using})" if using else "")
        + (f" WITH CHECK ({check})" if check else "")
    )


STATEMENTS: Statements = {
    "CREATE POLICY": _parse_create,
    "ALTER POLICY": _parse_alter,
    "DROP POLICY": _parse_drop,
}

PRINTERS: Printers = {
    syntax.CreatePolicy: _create_sql,
    syntax.AlterPolicy: _alter_sql,
    syntax.DropPolicy: _drop_policy_sql,
}
