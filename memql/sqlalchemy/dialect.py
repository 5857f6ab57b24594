"""The dialect itself: what it can do, how it connects, begins and ends transactions."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any
from weakref import WeakSet

from sqlalchemy import exc, pool
from sqlalchemy import types as sqltypes
from sqlalchemy.engine import URL, default

import memql
from memql.sqlalchemy.compiler import (
    NAME,
    JSONIndex,
    JSONPath,
    MemQLCompiler,
    MemQLDDLCompiler,
    MemQLIdentifierPreparer,
    MemQLNumeric,
    MemQLTypeCompiler,
    next_value,
)
from memql.sqlalchemy.reflection import Reflection

# Of `connect`, what may stand behind the ? of a URL.
_OPTIONS = ("model", "memory_limit", "threads", "token", "allowed_folders")
_SNAPSHOT, _AUTOCOMMIT = "SNAPSHOT", "AUTOCOMMIT"

# SQLAlchemy's own, which stands around the driver's.
_Refused = exc.NotSupportedError


class MemQLExecutionContext(default.DefaultExecutionContext):
    """One execution of a statement."""

    def fire_sequence(self, seq: Any, type_: Any) -> Any:
        """Return the next value of a sequence, where INSERT cannot give it."""
        return self._execute_scalar(f"SELECT {next_value(seq)}", type_)


class MemQLDialect(Reflection, default.DefaultDialect):
    """SQLAlchemy's dialect of MemQL.

    ``memql://`` is a store in memory, ``memql:///agent.memql`` a folder,
    ``memql://alice:password@/agent.memql?model=tiny`` the folder as a user.

    >>> from sqlalchemy import create_engine, text
    >>> with create_engine("memql://").connect() as con:
    ...     con.execute(text("SELECT count(*) FROM memories")).scalar()
    0
    """

    name = NAME
    driver = NAME
    default_paramstyle = "qmark"
    default_schema_name = None
    execution_ctx_cls = MemQLExecutionContext
    statement_compiler = MemQLCompiler
    ddl_compiler = MemQLDDLCompiler
    type_compiler_cls = MemQLTypeCompiler
    preparer = MemQLIdentifierPreparer
    colspecs = {
        sqltypes.JSON.JSONIndexType: JSONIndex,
        sqltypes.JSON.JSONPathType: JSONPath,
        sqltypes.Numeric: MemQLNumeric,
        sqltypes.Float: sqltypes.Float,
    }

    supports_statement_cache = True
    supports_native_boolean = True
    supports_native_decimal = True
    supports_native_uuid = True
    supports_native_enum = False
    supports_sane_rowcount = True
    supports_sane_multi_rowcount = True
    supports_default_values = True
    supports_empty_insert = False
    supports_multivalues_insert = True
    supports_sequences = True
    sequences_optional = False
    supports_comments = False
    supports_is_distinct_from = True
    postfetch_lastrowid = False
    preexecute_autoincrement_sequences = False
    insert_returning = True
    update_returning = True
    delete_returning = True
    insert_executemany_returning = True
    use_insertmanyvalues = True
    tuple_in_values = True
    div_is_floordiv = False
    requires_name_normalize = False
    # Of PostgreSQL's compiler.
    _backslash_escapes = False

    def __init__(
        self,
        json_serializer: Callable[[Any], str] | None = None,
        json_deserializer: Callable[[str], Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        # SQLAlchemy's own names: its type JSON looks for them.
        self._json_serializer = json_serializer
        self._json_deserializer = json_deserializer
        # A connection of the driver has no place for what SQLAlchemy knows of it.
        self._autocommits: WeakSet[memql.Connection] = WeakSet()

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """Return the driver."""
        return memql

    @classmethod
    def get_pool_class(cls, url: URL) -> type[pool.Pool]:
        """Return the pool: a store in memory ends with its connection, so that one stays open."""
        return pool.QueuePool if url.database else pool.SingletonThreadPool

    def create_connect_args(self, url: URL) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of ``connect`` for a URL.

        Raises:
            ArgumentError: the URL has a host, or an option that ``connect`` does not have.
        """
        if url.host or url.port:
            raise exc.ArgumentError(
                f"a memql URL names no host, found {url.host}: a store is a folder, as in "
                "memql:///agent.memql, or with a user memql://alice:password@/agent.memql"
            )
        options: dict[str, Any] = dict(url.query)
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise exc.ArgumentError(
                f"a memql URL has no option {unknown[0]}; there are {', '.join(_OPTIONS)}"
            )
        if "threads" in options:
            options["threads"] = int(options["threads"])
        folders = options.get("allowed_folders")
        if isinstance(folders, str):
            options["allowed_folders"] = [folders]
        return [url.database or ":memory:"], {
            "user": url.username,
            "password": url.password,
            **options,
        }

    def is_disconnect(self, e: Exception, connection: Any, cursor: Any) -> bool:
        """Tell whether an error means that the connection cannot be used any more."""
        return isinstance(e, memql.Error) and e.code == "08003"

    # -- transactions -------------------------------------------------------------------------

    def do_begin(self, dbapi_connection: Any) -> None:
        """Begin a transaction: the driver commits every statement by itself."""
        # What comes here is the pool's stand-in of a connection.
        raw = dbapi_connection.dbapi_connection
        if raw not in self._autocommits and not raw.in_transaction:
            raw.begin()

    def do_savepoint(self, connection: Any, name: str) -> None:
        """Refuse: there are no transactions inside of others."""
        refusal = memql.NotSupportedError("MemQL has no savepoints")
        raise _Refused("SAVEPOINT", None, refusal)

    def get_isolation_level_values(self, dbapi_connection: Any) -> list[Any]:
        """Return the levels that there are."""
        return [_SNAPSHOT, _AUTOCOMMIT]

    def get_default_isolation_level(self, dbapi_conn: Any) -> Any:
        """Return the level of a connection that asks for none."""
        return _SNAPSHOT

    def get_isolation_level(self, dbapi_connection: Any) -> Any:
        """Return the level of a connection."""
        return _AUTOCOMMIT if dbapi_connection in self._autocommits else _SNAPSHOT

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> None:
        """Set the level; statements on users and roles, for one, run in AUTOCOMMIT only."""
        if level == _AUTOCOMMIT:
            dbapi_connection.rollback()
            self._autocommits.add(dbapi_connection)
        else:
            self._autocommits.discard(dbapi_connection)

    def detect_autocommit_setting(self, dbapi_conn: Any) -> bool:
        """Tell whether a connection commits every statement by itself."""
        return dbapi_conn in self._autocommits

    def _get_server_version_info(self, connection: Any) -> tuple[int, ...]:
        return tuple(int(part) for part in memql.__version__.split("."))

    def _get_default_schema_name(self, connection: Any) -> str:
        # An owner is a schema; who has none of these names is the administrator.
        return connection.connection.dbapi_connection.user or "local"
