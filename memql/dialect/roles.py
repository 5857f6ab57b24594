"""Users and roles: CREATE, ALTER, DROP, and SET ROLE."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator

from memql.dialect.reader import Printers, Reader, Statements, create_sql, list_sql, one_of
from memql.engine import syntax

# The options of CREATE and ALTER, and whether a value follows.
ROLE_OPTIONS: dict[str, bool] = {
    "PASSWORD": True,
    "TOKEN": True,
    "VALID UNTIL": True,
    "SUPERUSER": False,
    "NOSUPERUSER": False,
}


def _parse_create(kind: str) -> Callable[[Reader], exp.Expr]:
    def parse(reader: Reader) -> exp.Expr:
        exists = reader.if_not_exists()
        name = reader.name(f"the {kind.lower()}'s name")
        options = _parse_options(reader)
        return reader.expression(
            syntax.CreateRole(this=name, kind=kind, exists=exists, options=options or None)
        )

    return parse


def _create_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    return create_sql(generator, node, node.args["kind"]) + _options_sql(generator, node)


def _parse_alter(kind: str) -> Callable[[Reader], exp.Expr]:
    def parse(reader: Reader) -> exp.Expr:
        name = reader.name(f"the {kind.lower()}'s name")
        if reader.take("RENAME"):
            reader.expect("TO", "TO and the new name")
            rename = reader.name("the new name")
            return reader.expression(syntax.AlterRole(this=name, kind=kind, rename=rename))
        options = _parse_options(reader)
        if not options:
            reader.fail(
                f"expected RENAME TO, {one_of([*ROLE_OPTIONS])}",
                choices=("RENAME", "WITH", *ROLE_OPTIONS),
            )
        return reader.expression(syntax.AlterRole(this=name, kind=kind, options=options))

    return parse


def _alter_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    rename = generator.sql(node, "rename")
    return (
        f"ALTER {node.args['kind']} {generator.sql(node, 'this')}"
        + (f" RENAME TO {rename}" if rename else "")
        + _options_sql(generator, node)
    )


def _parse_drop(kind: str) -> Callable[[Reader], exp.Expr]:
    def parse(reader: Reader) -> exp.Expr:
        exists = reader.if_exists()
        names = reader.names(f"the {kind.lower()}'s name")
        return reader.expression(syntax.DropRole(expressions=names, kind=kind, exists=exists))

    return parse


def _drop_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    exists = "IF EXISTS " if node.args.get("exists") else ""
    return f"DROP {node.args['kind']} {exists}{list_sql(generator, node.expressions)}"


# -- the options -------------------------------------------------------------------------------


def _parse_options(reader: Reader) -> list[exp.Expr]:
    required = reader.take("WITH")
    options: list[exp.Expr] = []
    while reader._curr or (required and not options):
        token = reader._curr
        option = reader.take_one(ROLE_OPTIONS)
        if option is None:
            reader.fail(f"expected {one_of([*ROLE_OPTIONS])}", choices=_option_words())
        if any(option == before.this for before in options):
            reader.fail(f"{option} stands there twice", token=token)
        value = _parse_option_value(reader, option) if ROLE_OPTIONS[option] else None
        options.append(reader.expression(syntax.RoleOption(this=option, expression=value)))
    return options


def _option_words() -> list[str]:
    return [word for option in ROLE_OPTIONS for word in option.split()]


def _parse_option_value(reader: Reader, option: str) -> exp.Expr:
    if option == "VALID UNTIL":
        return reader.value("a time after VALID UNTIL")
    if reader.take("NULL"):
        return exp.Null()
    return reader.text(f"the {option.lower()}")


def _options_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    options = node.args.get("options")
    return " WITH " + " ".join(generator.sql(option) for option in options) if options else ""


def _option_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    value = generator.sql(node, "expression")
    return f"{node.this} {value}" if value else str(node.this)


# -- SET ROLE ----------------------------------------------------------------------------------


def _parse_set_role(reader: Reader) -> exp.Expr:
    if reader.take("NONE"):
        return reader.expression(syntax.SetRole())
    return reader.expression(syntax.SetRole(this=reader.name("a role's name or NONE")))


def _parse_reset_role(reader: Reader) -> exp.Expr:
    return reader.expression(syntax.SetRole())


def _set_role_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    return f"SET ROLE {generator.sql(node, 'this') or 'NONE'}"


STATEMENTS: Statements = {
    **{f"CREATE {kind}": _parse_create(kind) for kind in syntax.ROLE_KINDS},
    **{f"ALTER {kind}": _parse_alter(kind) for kind in syntax.ROLE_KINDS},
    **{f"DROP {kind}": _parse_drop(kind) for kind in syntax.ROLE_KINDS},
    "SET ROLE": _parse_set_role,
    "RESET ROLE": _parse_reset_role,
}

PRINTERS: Printers = {
    syntax.CreateRole: _create_sql,
    syntax.AlterRole: _alter_sql,
    syntax.DropRole: _drop_sql,
    syntax.RoleOption: _option_sql,
    syntax.SetRole: _set_role_sql,
}
