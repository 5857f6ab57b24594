"""Rights: GRANT and REVOKE, on memories, on tables, and of roles."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator
from sqlglot.tokenizer_core import Token, TokenType

from memql.dialect.reader import Printers, Reader, Statements, list_sql, one_of
from memql.engine import syntax


@dataclass(frozen=True)
class _Rights:
    """What stands between GRANT or REVOKE and TO or FROM: rights on something."""

    actions: list[str]
    owner: exp.Expr | None
    tables: list[exp.Expr] | None


# -- GRANT -------------------------------------------------------------------------------------


def _parse_grant(reader: Reader) -> exp.Expr:
    rights = _parse_rights(reader, "TO")
    if not isinstance(rights, _Rights):
        reader.expect("TO", "TO and who gets the role")
        grantees = reader.names("the name of a user or role")
        admin = reader.take("WITH", "ADMIN", "OPTION")
        return reader.expression(
            syntax.GrantRole(roles=rights, grantees=grantees, admin=admin or None)
        )
    reader.expect("TO", "TO and who gets the right")
    grantees = reader.names("the name of a user or role")
    where = _parse_predicate(reader)
    until = reader.value("a time after UNTIL") if reader.take("UNTIL") else None
    grantable = reader.take("WITH", "GRANT", "OPTION")
    return reader.expression(
        syntax.Grant(
            actions=rights.actions,
            owner=rights.owner,
            tables=rights.tables,
            grantees=grantees,
            where=where,
            until=until,
            grantable=grantable or None,
        )
    )


def _parse_predicate(reader: Reader) -> exp.Expr | None:
    if not reader.take("WHERE"):
        return None
    hint = "GRANT READ ON MEMORIES TO bob WHERE (kind = 'fact')"
    condition = reader.in_parentheses("the condition of a grant", hint)
    if reader._curr and not reader.sees("UNTIL") and not reader.sees("WITH"):
        reader.fail(
            "expected UNTIL, WITH GRANT OPTION or the end",
            hint="the whole condition stands in parentheses: WHERE (a AND b)",
        )
    return reader.expression(exp.Where(this=condition))


def _grant_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    where = node.args.get("where")
    until = generator.sql(node, "until")
    return (
        f"GRANT {_rights_sql(generator, node)} TO {list_sql(generator, node.args['grantees'])}"
        + (f" WHERE ({generator.sql(where, 'this')})" if where is not None else "")
        + (f" UNTIL {until}" if until else "")
        + (" WITH GRANT OPTION" if node.args.get("grantable") else "")
    )


def _grant_role_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    return (
        f"GRANT {list_sql(generator, node.args['roles'])} "
        f"TO {list_sql(generator, node.args['grantees'])}"
        + (" WITH ADMIN OPTION" if node.args.get("admin") else "")
    )


# -- REVOKE ------------------------------------------------------------------------------------


def _parse_revoke(reader: Reader) -> exp.Expr:
    option = reader.take_one(("GRANT OPTION FOR", "ADMIN OPTION FOR"))
    rights = _parse_rights(reader, "FROM")
    roles = not isinstance(rights, _Rights)
    if option is not None and option.startswith("ADMIN") != roles:
        reader.fail(
            "ADMIN OPTION FOR is of roles, GRANT OPTION FOR of rights ON something",
            token=reader._prev,
        )
    reader.expect("FROM", "FROM and who loses it")
    grantees = reader.names("the name of a user or role")
    if not isinstance(rights, _Rights):
        return reader.expression(
            syntax.RevokeRole(roles=rights, grantees=grantees, admin=bool(option) or None)
        )
    return reader.expression(
        syntax.Revoke(
            actions=rights.actions,
            owner=rights.owner,
            tables=rights.tables,
            grantees=grantees,
            grantable=bool(option) or None,
        )
    )


def _revoke_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    option = "GRANT OPTION FOR " if node.args.get("grantable") else ""
    return (
        f"REVOKE {option}{_rights_sql(generator, node)} "
        f"FROM {list_sql(generator, node.args['grantees'])}"
    )


def _revoke_role_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    option = "ADMIN OPTION FOR " if node.args.get("admin") else ""
    return (
        f"REVOKE {option}{list_sql(generator, node.args['roles'])} "
        f"FROM {list_sql(generator, node.args['grantees'])}"
    )


# -- what both have ----------------------------------------------------------------------------


def _parse_rights(reader: Reader, end: str) -> _Rights | list[exp.Expr]:
    """Return the rights ON something, or the names of roles if no ON follows them.

    A role may have the name of a right: what follows the list decides.
    """
    start = reader._index
    words: list[Token] = []
    while reader._curr and not reader.sees("ON") and not reader.sees(end):
        words.append(reader._curr)
        reader._advance()
        if reader.take("PRIVILEGES") or reader._match(TokenType.COMMA):
            continue
        break
    if not words and reader.sees("ON"):
        reader.fail("expected READ, SELECT, ALL or another right before ON")
    if reader.take("ON"):
        return _parse_object(reader, words)
    if reader.sees(end):
        reader._retreat(start)
        return reader.names("a right or a role")
    reader.fail(
        f"expected ON MEMORIES, ON a table, or {end} after the name of a role",
        choices=("ON", end, "PRIVILEGES"),
    )


def _parse_object(reader: Reader, words: list[Token]) -> _Rights:
    if reader.take("MEMORIES"):
        actions = _actions(reader, words, syntax.PRIVILEGES, "MEMORIES")
        owner = None
        if reader.take("OF"):
            owner = reader.text_or_none() or reader.name("the name of the owner")
        return _Rights(actions, owner, None)
    actions = _actions(reader, words, syntax.TABLE_PRIVILEGES, "a table")
    reader.take("TABLE")
    return _Rights(actions, None, reader._parse_csv(lambda: reader.table("MEMORIES or a table")))


def _actions(reader: Reader, words: list[Token], allowed: tuple[str, ...], on: str) -> list[str]:
    if [token.text.upper() for token in words] == ["ALL"]:
        return ["ALL"]
    for token in words:
        quoted = token.token_type in reader.TEXT_MATCH_EXCLUDED_TOKENS
        if quoted or token.text.upper() not in allowed:
            reader.fail(
                f"expected {one_of((*allowed, 'ALL'))}: these are the rights on {on}",
                token=token,
                choices=(*allowed, "ALL"),
            )
    return [token.text.upper() for token in words]


def _rights_sql(generator: DuckDBGenerator, node: exp.Expr) -> str:
    tables = node.args.get("tables")
    owner = generator.sql(node, "owner")
    if tables:
        place = f"TABLE {list_sql(generator, tables)}"
    else:
        place = f"MEMORIES OF {owner}" if owner else "MEMORIES"
    return f"{', '.join(node.args['actions'])} ON {place}"


STATEMENTS: Statements = {"GRANT": _parse_grant, "REVOKE": _parse_revoke}

PRINTERS: Printers = {
    syntax.Grant: _grant_sql,
    syntax.GrantRole: _grant_role_sql,
    syntax.Revoke: _revoke_sql,
    syntax.RevokeRole: _revoke_role_sql,
}
