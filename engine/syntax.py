"""The nodes that MemQL adds to sqlglot's syntax trees.

Queries, INSERT, UPDATE, DELETE, MERGE and transactions keep sqlglot's own nodes. The package
``memql/dialect`` turns text into these nodes and back. Names are ``exp.Identifier``; words with a
fixed list are upper-case texts; flags are True or left out.
"""

from __future__ import annotations

from typing import ClassVar

from sqlglot import exp

FORMS: tuple[str, ...] = ("PLAINTEXT", "ACTIVATION", "PARAMETER", "AUTO")
SEARCHES: tuple[str, ...] = ("TEXT", "VECTOR", "HYBRID")
POINTS: tuple[str, ...] = ("TIMESTAMP", "VERSION", "VALID")
PRIVILEGES: tuple[str, ...] = ("READ", "WRITE", "MATERIALIZE", "SHARE", "FORGET")
TABLE_PRIVILEGES: tuple[str, ...] = ("SELECT", "INSERT", "UPDATE", "DELETE")
REFRESH_MODES: tuple[str, ...] = ("ON DEMAND", "ON COMMIT", "EVERY")
ROLE_KINDS: tuple[str, ...] = ("USER", "ROLE")
POLICY_COMMANDS: tuple[str, ...] = ("ALL", "SELECT", "INSERT", "UPDATE", "DELETE")

# -- queries -----------------------------------------------------------------------------------


class Materialize(exp.Expression):
    """``<query> MATERIALIZE AS form [FOR MODEL m] [WITH (option = value, ...)]``.

    It wraps the whole query, set operations included.
    """

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "form": True,
        "model": False,
        "options": False,
    }


class Generate(exp.Expression, exp.AggFunc):
    """``generate(question [, expr] [, option := value] [ORDER BY ...] [LIMIT ...])``.

    An aggregate; its FILTER is sqlglot's ``exp.Filter`` around it. ``limit`` is an ``exp.Limit``
    or a :class:`TokenLimit`. ``lineage`` is not part of the text: the binder puts the lineage of
    a row there.
    """

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "expression": False,
        "options": False,
        "order": False,
        "limit": False,
        "lineage": False,
    }
    _sql_names: ClassVar[list[str]] = ["GENERATE"]


class TokenLimit(exp.Expression):
    """``LIMIT n TOKENS`` or ``LIMIT k ROWS n TOKENS``, in the place of an ``exp.Limit``.

    ``this`` is n, ``rows`` is k. ``model`` is not part of the text: the binder names the view's
    model there.
    """

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "rows": False, "model": False}


class Matches(exp.Expression, exp.Binary, exp.Predicate):
    """``column MATCHES 'text' [USING TEXT | VECTOR | HYBRID]``; ``using`` is one of SEARCHES."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "expression": True, "using": False}


class TimeTravel(exp.Expression):
    """``AT (TIMESTAMP | VERSION | VALID => point)`` behind a table, as its arg ``when``.

    ``kind`` is one of POINTS. ``AS OF TIMESTAMP | VERSION point`` is the same node.
    """

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "kind": True}


class Option(exp.Expression):
    """``name = value`` of a WITH list, or ``name := value`` of generate."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "expression": True}


# -- materialized views ------------------------------------------------------------------------


class RefreshMode(exp.Expression):
    """``ON DEMAND``, ``ON COMMIT`` or ``EVERY INTERVAL '...'``.

    ``this`` is one of REFRESH_MODES; ``interval`` an ``exp.Interval`` with EVERY.
    """

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "interval": False}


class CreateMaterializedView(exp.Expression):
    """``CREATE [OR REPLACE] MATERIALIZED VIEW [IF NOT EXISTS] v [REFRESH mode] AS <query>``."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "expression": True,
        "replace": False,
        "exists": False,
        "refresh": False,
        "no_data": False,
    }


class RefreshMaterializedView(exp.Expression):
    """``REFRESH MATERIALIZED VIEW v``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True}


class AlterMaterializedView(exp.Expression):
    """``ALTER MATERIALIZED VIEW [IF EXISTS] v SET (option = value, ...)``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "options": True, "exists": False}


class DropMaterializedView(exp.Expression):
    """``DROP MATERIALIZED VIEW [IF EXISTS] v``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "exists": False}


# -- models and adapters -----------------------------------------------------------------------


class CreateModel(exp.Expression):
    """``CREATE [OR REPLACE] MODEL [IF NOT EXISTS] m FROM 'source' [WITH (...)]``."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "source": True,
        "options": False,
        "replace": False,
        "exists": False,
    }


class DropModel(exp.Expression):
    """``DROP MODEL [IF EXISTS] m``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "exists": False}


class CreateAdapter(exp.Expression):
    """``CREATE [OR REPLACE] ADAPTER [IF NOT EXISTS] a FROM 'folder' FOR MODEL m``."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "source": True,
        "model": True,
        "replace": False,
        "exists": False,
    }


class DropAdapter(exp.Expression):
    """``DROP ADAPTER [IF EXISTS] a``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "exists": False}


# -- the life of memories ----------------------------------------------------------------------


class Restore(exp.Expression):
    """``RESTORE FROM memories [AS alias] [WHERE ...]``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "where": False}


class Quarantine(exp.Expression):
    """``QUARANTINE FROM memories [AS alias] [WHERE ...]``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "where": False}


class Forget(exp.Expression):
    """``FORGET FROM memories [AS alias] WHERE ... [VERIFY]``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "where": True, "verify": False}


class ExportMemories(exp.Expression):
    """``EXPORT MEMORIES TO 'folder'``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True}


class ImportMemories(exp.Expression):
    """``IMPORT MEMORIES FROM 'folder'``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True}


# -- governance --------------------------------------------------------------------------------


class Grant(exp.Expression):
    """``GRANT actions ON MEMORIES [OF owner] TO who [WHERE (...)] [UNTIL t]`` or ``ON TABLE t``.

    ``actions`` is a list of PRIVILEGES, or of TABLE_PRIVILEGES with ``tables``; ``["ALL"]`` is all
    of them. ``owner`` is an identifier or a text literal, ``grantees`` a list of identifiers.
    ``grantable``: WITH GRANT OPTION.
    """

    arg_types: ClassVar[dict[str, bool]] = {
        "actions": True,
        "owner": False,
        "tables": False,
        "grantees": True,
        "where": False,
        "until": False,
        "grantable": False,
    }


class Revoke(exp.Expression):
    """``REVOKE [GRANT OPTION FOR] actions ON MEMORIES [OF owner] | [TABLE] t FROM who``."""

    arg_types: ClassVar[dict[str, bool]] = {
        "actions": True,
        "owner": False,
        "tables": False,
        "grantees": True,
        "grantable": False,
    }


class GrantRole(exp.Expression):
    """``GRANT role, ... TO who, ... [WITH ADMIN OPTION]``."""

    arg_types: ClassVar[dict[str, bool]] = {"roles": True, "grantees": True, "admin": False}


class RevokeRole(exp.Expression):
    """``REVOKE [ADMIN OPTION FOR] role, ... FROM who, ...``."""

    arg_types: ClassVar[dict[str, bool]] = {"roles": True, "grantees": True, "admin": False}


class RoleOption(exp.Expression):
    """An option of CREATE or ALTER USER: ``PASSWORD 'x'``, ``VALID UNTIL t``, ``SUPERUSER`` ...

    ``this`` is the option's words; ``expression`` its value, if it has one.
    """

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "expression": False}


class CreateRole(exp.Expression):
    """``CREATE USER | ROLE [IF NOT EXISTS] name [WITH option ...]``; kind is in ROLE_KINDS."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "kind": True,
        "exists": False,
        "options": False,
    }


class AlterRole(exp.Expression):
    """``ALTER USER | ROLE name WITH option ...`` or ``... RENAME TO name``."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "kind": True,
        "options": False,
        "rename": False,
    }


class DropRole(exp.Expression):
    """``DROP USER | ROLE [IF EXISTS] name, ...``; the names are ``expressions``."""

    arg_types: ClassVar[dict[str, bool]] = {"expressions": True, "kind": True, "exists": False}


class CreatePolicy(exp.Expression):
    """``CREATE POLICY p ON table [FOR command] [TO who] [USING (...)] [WITH CHECK (...)]``.

    ``command`` is one of POLICY_COMMANDS; ``restrictive`` is AS RESTRICTIVE, else permissive.
    """

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "table": True,
        "restrictive": False,
        "command": False,
        "grantees": False,
        "using": False,
        "check": False,
    }


class AlterPolicy(exp.Expression):
    """``ALTER POLICY p ON table [TO who] [USING (...)] [WITH CHECK (...)]`` or ``RENAME TO q``."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "table": True,
        "rename": False,
        "grantees": False,
        "using": False,
        "check": False,
    }


class DropPolicy(exp.Expression):
    """``DROP POLICY [IF EXISTS] p ON table``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "table": True, "exists": False}


class SetRole(exp.Expression):
    """``SET ROLE name``; ``SET ROLE NONE`` and ``RESET ROLE`` have no ``this``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": False}


# -- the session and its upkeep ----------------------------------------------------------------


class SetSetting(exp.Expression):
    """``SET memql.name = value``; without ``expression`` it is DEFAULT, or ``RESET memql.name``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True, "expression": False}


class Explain(exp.Expression):
    """``EXPLAIN [ANALYZE] [(FORMAT text|json|mermaid|html, COSTS on|off)] <statement>``."""

    arg_types: ClassVar[dict[str, bool]] = {
        "this": True,
        "analyze": False,
        "format": False,
        "costs": False,
    }


class ShowCatalog(exp.Expression):
    """``SHOW MATERIALIZED VIEWS``, ``SHOW MODELS`` ...; ``this`` is the kind as text."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True}


class ShowSetting(exp.Expression):
    """``SHOW memql.name``."""

    arg_types: ClassVar[dict[str, bool]] = {"this": True}


class Advise(exp.Expression):
    """``ADVISE [APPLY]``."""

    arg_types: ClassVar[dict[str, bool]] = {"apply": False}


class Maintain(exp.Expression):
    """``MAINTAIN``."""

    arg_types: ClassVar[dict[str, bool]] = {}


class Evaluate(exp.Expression):
    """``EVALUATE VIEW v | SEARCH [USING (<query>)] [WITH (option = value, ...)]``.

    ``this`` is the view's name, left out for SEARCH; ``using`` a query with the test set.
    """

    arg_types: ClassVar[dict[str, bool]] = {
        "this": False,
        "kind": True,
        "using": False,
        "options": False,
    }
