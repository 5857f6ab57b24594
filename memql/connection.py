"""The Python door: a DB-API 2.0 connection and its cursors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from memql import errors
from memql.errors import InterfaceError, ProgrammingError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from memql.engine.result import Result
    from memql.engine.session import Session

Parameters = Sequence[Any] | Mapping[str, Any]


def connect(
    store: str | os.PathLike[str] = ":memory:",
    user: str | None = None,
    model: str | None = None,
    memory_limit: str | int | None = None,
    threads: int | None = None,
    allowed_folders: Sequence[str | os.PathLike[str]] | None = None,
    password: str | None = None,
    token: str | None = None,
) -> Connection:
    """Open a store and return a connection to it; a new folder becomes a new store.

    Args:
        store: the store's folder, or ":memory:" for one that ends with the connection.
        user: who asks. A user sees and writes its own memories, and those that grants give; None
            is the administrator of a store without users, who sees all.
        model: the model of queries that name none: the name of a model in the store, a folder
            or a hub id. None is ``tiny``, which ships with MemQL.
        memory_limit: the most memory that the store's DuckDB takes, as '4GB' or in bytes; None is
            a quarter of the machine's. The model has its own besides.
        threads: how many threads run the store's queries; None is one for each processor, at
            most four.
        allowed_folders: the folders in which COPY, read_parquet, read_json and read_csv may read
            and write files; None or an empty list is none. For administrators only.
        password: of the user, in a store that has users.
        token: in the place of a password.

    Raises:
        OperationalError: another process has the store open, the folder is not a store, or nobody
            is let in with this user and password.
        InterfaceError: a limit is out of range, or the store is open here with another one.

    >>> con = connect(":memory:", user="alice")
    >>> con.execute("SELECT count(*) FROM memories").fetchone()
    (0,)
    """
    from memql.dialect import MemQL
    from memql.engine.files import Door
    from memql.engine.govern.names import why_reserved
    from memql.engine.govern.passwords import let_in
    from memql.engine.session import Session
    from memql.parser import parse
    from memql.storage.store import Store

    if user is not None:
        if not isinstance(user, str):
            raise InterfaceError(
                f"the user's name is a text, found {type(user).__name__}", code="22023"
            )
        if not user.strip():
            raise InterfaceError(
                "the user's name is empty", hint="user=None is the administrator", code="22023"
            )
        reserved = why_reserved(user)
        if reserved is not None:
            raise InterfaceError(
                f"a user cannot be called {user}: {reserved}",
                hint="give the user another name",
                code="42939",
            )
        try:
            user.encode("utf-8")
        except UnicodeEncodeError:
            raise InterfaceError(
                "the user's name holds half of a character", code="22021"
            ) from None
    opened = Store.open(store, memory_limit, threads)
    try:
        identity = let_in(opened, user, password, token)
        door = None
        if allowed_folders:
            if not identity.rights(opened, datetime.now(UTC)).administrator:
                raise InterfaceError(
                    f"the user {user} may not be given allowed_folders",
                    hint="only an administrator reads files; in a store without users that is who "
                    "connects without a user",
                    code="42501",
                )
            door = Door.to(allowed_folders, None if store == ":memory:" else os.fspath(store))
        session = Session(
            opened,
            identity,
            model,
            parse,
            lambda tree: tree.sql(dialect=MemQL, comments=False),
            door,
        )
    except BaseException:
        opened.close()
        raise
    return Connection(session)


class Connection:
    """A connection to a store: autocommit unless BEGIN or ``with`` a transaction.

    Used with ``with``, it commits (or, after an error, rolls back) and closes.
    """

    # PEP 249 offers the exceptions here too, for code that holds a connection and no module.
    Warning = errors.Warning
    Error = errors.Error
    InterfaceError = errors.InterfaceError
    DatabaseError = errors.DatabaseError
    DataError = errors.DataError
    OperationalError = errors.OperationalError
    IntegrityError = errors.IntegrityError
    InternalError = errors.InternalError
    ProgrammingError = errors.ProgrammingError
    NotSupportedError = errors.NotSupportedError

    def __init__(self, session: Session) -> None:
        self._session = session
        self._closed = False

    def cursor(self) -> Cursor:
        """Return a new cursor; all cursors of a connection share its transaction."""
        self._check_open()
        return Cursor(self)

    def execute(self, statement: str, parameters: Parameters | None = None) -> Cursor:
        """Run one statement on a new cursor and return it."""
        return self.cursor().execute(statement, parameters)

    def executemany(self, statement: str, parameters: Sequence[Parameters]) -> Cursor:
        """Run one statement for each set of parameters, all or none, on a new cursor."""
        return self.cursor().executemany(statement, parameters)

    def begin(self) -> None:
        """Begin a transaction, as BEGIN does."""
        self._check_open()
        self._session.begin()

    def commit(self) -> None:
        """Commit the open transaction, if there is one."""
        self._check_open()
        self._session.commit()

    def rollback(self) -> None:
        """Undo the open transaction, if there is one."""
        self._check_open()
        self._session.rollback()

    @property
    def user(self) -> str | None:
        """Who asks; None is the administrator of an embedded store."""
        return self._session.user

    @property
    def in_transaction(self) -> bool:
        """Whether BEGIN was given and neither COMMIT nor ROLLBACK."""
        return self._session.in_transaction

    @property
    def progress(self) -> Callable[[int, int], None] | None:
        """Called with (tokens done, tokens in all) while a model computes; None calls nothing."""
        return self._session.progress.report

    @progress.setter
    def progress(self, report: Callable[[int, int], None] | None) -> None:
        self._session.progress.report = report

    def interrupt(self) -> None:
        """Stop the statement that another thread runs on this connection."""
        self._check_open()
        self._session.interrupt()

    def close(self) -> None:
        """Close the connection; an open transaction is undone."""
        self._closed = True
        self._session.close()

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError(
                "the connection is closed",
                hint="open another: memql.connect(...)",
                code="08003",
            )

    def __enter__(self) -> Connection:
        self._check_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._closed:
            try:
                if kind is None:
                    self.commit()
                else:
                    self.rollback()
            finally:
                self.close()


class Cursor:
    """Runs statements and fetches their rows.

    Attributes:
        arraysize: how many rows ``fetchmany`` gives if it is not told.
        connection: the connection it belongs to.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.arraysize = 1
        self._result: Result | None = None
        self._closed = False

    @property
    def description(self) -> list[tuple[str, str, None, None, None, None, None]] | None:
        """For each column (name, type, and five times None); None without rows."""
        if self._result is None or not self._result.columns:
            return None
        return [(c.name, c.type, None, None, None, None, None) for c in self._result.columns]

    @property
    def rowcount(self) -> int:
        """Rows written by the last change; -1 after a query."""
        return self._result.rowcount if self._result is not None else -1

    def execute(self, statement: str, parameters: Parameters | None = None) -> Cursor:
        """Run one statement.

        Args:
            statement: MemQL; ``?`` or ``$name`` stand for parameters.
            parameters: a sequence for ``?``, a mapping for ``$name``.

        Raises:
            Error: see ``memql.errors``.
        """
        self._check_open()
        _check_parameters(parameters)
        self._drop_result()
        self._result = self.connection._session.execute(statement, parameters)
        return self

    def stream(self, statement: str, parameters: Parameters | None = None) -> Iterator[str]:
        """Run a SELECT with one answer and return the pieces of its text as they are made.

        Joined, the pieces are the answer. After the last one the row can be fetched, with the
        answer as ``execute`` gives it; giving the iterator up ends the work.

        Args:
            statement: a SELECT with one ``generate``.
            parameters: as in ``execute``.

        Raises:
            Error: see ``memql.errors``.
        """
        self._check_open()
        _check_parameters(parameters)
        self._drop_result()
        pieces = self.connection._session.stream(statement, parameters)

        def given() -> Iterator[str]:
            try:
                yield from pieces
                self._result = pieces.result
            finally:
                pieces.close()

        return given()

    def progress(self) -> tuple[int, int]:
        """Return (tokens done, tokens in all) of the prompt that a model computes just now.

        For another thread than the one whose statement runs; (0, 0) before a model has computed.
        """
        progress = self.connection._session.progress
        return progress.done_tokens, progress.total_tokens

    def executemany(self, statement: str, parameters: Sequence[Parameters]) -> Cursor:
        """Run one change for each set of parameters: all of them, or none."""
        from memql.engine.result import Result

        self._check_open()
        self._drop_result()
        count = self.connection._session.executemany(statement, list(parameters))
        self._result = Result(rowcount=count)
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row, None after the last."""
        rows = self._wrapped(self._rows().fetchmany(1))
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """Return the next rows, at most ``size`` (default ``arraysize``)."""
        return self._wrapped(self._rows().fetchmany(self.arraysize if size is None else size))

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows that are left."""
        return self._wrapped(self._rows().fetchall())

    def arrow(self) -> pa.Table:
        """Return all rows that are left as an Arrow table; answers are text, forms their id."""
        return self._rows().arrow()

    def df(self) -> pd.DataFrame:
        """Return all rows that are left as a pandas data frame (needs ``memql[pandas]``)."""
        try:
            import pandas  # noqa: F401 - Arrow imports it, and its own error names no way out
        except ImportError:
            raise InterfaceError(
                "df() needs pandas",
                hint="pip install pandas, or use arrow()",
                code="0A000",
            ) from None
        return self.arrow().to_pandas()

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Do nothing, as PEP 249 allows."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Do nothing, as PEP 249 allows."""

    def close(self) -> None:
        """Close the cursor."""
        self._drop_result()
        self._closed = True

    def _wrapped(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        result = self._result
        if result is None or not result.objects:
            return rows
        from memql.values import value_of

        load = self.connection._session.prefix_of
        return [
            tuple(
                value_of(value, load) if column in result.objects and value is not None else value
                for column, value in enumerate(row)
            )
            for row in rows
        ]

    def _rows(self) -> Result:
        self._check_open()
        if self._result is None or not self._result.columns:
            raise ProgrammingError(
                "there are no rows to fetch", hint="execute a query first", code="24000"
            )
        return self._result

    def _drop_result(self) -> None:
        if self._result is not None:
            self._result.close()
            self._result = None

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError(
                "the cursor is closed", hint="open another: connection.cursor()", code="24000"
            )
        self.connection._check_open()

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while (row := self.fetchone()) is not None:
            yield row

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _check_parameters(parameters: Parameters | None) -> None:
    if parameters is not None and (
        isinstance(parameters, str | bytes) or not isinstance(parameters, Sequence | Mapping)
    ):
        raise ProgrammingError(
            f"parameters are a sequence or a mapping, found {type(parameters).__name__}",
            hint="pass [value] for one ?",
            code="22023",
        )
