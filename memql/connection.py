"""The Python door: ``connect`` and the DB-API 2.0 connection that it gives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from memql import errors
from memql.cursor import Cursor, Parameters
from memql.errors import InterfaceError
from memql.rows import Row, RowFactory, tuple_row

if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import TypeVar

    from memql.engine.session import Session

    Other = TypeVar("Other")


def connect(
    store: str | os.PathLike[str] = ":memory:",
    user: str | None = None,
    model: str | None = None,
    memory_limit: str | int | None = None,
    threads: int | None = None,
    allowed_folders: Sequence[str | os.PathLike[str]] | None = None,
    password: str | None = None,
    token: str | None = None,
    row_factory: RowFactory[Row] | None = None,
) -> Connection[Row]:
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
        row_factory: in which form cursors give rows (see ``memql.rows``); None is tuples.

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
    factory: RowFactory[Any] = tuple_row if row_factory is None else row_factory
    return Connection(session, factory, opened.name)


class Connection(Generic[Row]):
    """A connection to a store: autocommit unless a transaction is begun.

    Used with ``with``, it commits (or, after an error, rolls back) and closes.

    Attributes:
        row_factory: makes the rows of new cursors (see ``memql.rows``).

    >>> import memql
    >>> with memql.connect() as con:
    ...     con.execute("SELECT 1").fetchone()
    (1,)
    >>> con
    <memql.Connection, closed>
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

    def __init__(self, session: Session, row_factory: RowFactory[Row], store: str) -> None:
        self.row_factory = row_factory
        self._store = store
        self._session = session
        self._closed = False

    # -- statements -----------------------------------------------------------------------------

    @overload
    def cursor(self) -> Cursor[Row]: ...
    @overload
    def cursor(self, row_factory: RowFactory[Other]) -> Cursor[Other]: ...
    def cursor(self, row_factory: RowFactory[Any] | None = None) -> Cursor[Any]:
        """Return a new cursor; all cursors of a connection share its transaction.

        Args:
            row_factory: in which form it gives rows; None is the connection's.

        Raises:
            InterfaceError: the connection is closed.

        >>> import memql
        >>> from memql.rows import dict_row
        >>> memql.connect().cursor(row_factory=dict_row).execute("SELECT 1 AS a").fetchall()
        [{'a': 1}]
        """
        self._check_open()
        return Cursor(self, self.row_factory if row_factory is None else row_factory)

    def execute(self, statement: str, parameters: Parameters | None = None) -> Cursor[Row]:
        """Run one statement on a new cursor and return it.

        Args:
            statement: MemQL; ``?`` or ``$name`` stand for parameters.
            parameters: a sequence for ``?``, a mapping for ``$name``.

        Raises:
            Error: see ``memql.errors``; outside of a transaction nothing of the statement stays.

        >>> import memql
        >>> memql.connect().execute("SELECT ? || '!'", ["tea"]).fetchone()
        ('tea!',)
        """
        return self.cursor().execute(statement, parameters)

    def executemany(
        self, statement: str, parameters: Sequence[Parameters] | pa.Table
    ) -> Cursor[Row]:
        """Run one change for each set of parameters, all or none, on a new cursor.

        Args:
            statement: a change.
            parameters: one set for each time; of an Arrow table or a data frame each row is one.

        Raises:
            Error: as ``execute``.

        >>> import memql
        >>> con = memql.connect()
        >>> con.executemany("INSERT INTO memories (content) VALUES (?)", [["a"], ["b"]]).rowcount
        2
        """
        return self.cursor().executemany(statement, parameters)

    def ingest(
        self,
        table: str,
        data: Any,
        mode: Literal["append", "create", "replace", "create_append"] = "append",
    ) -> int:
        """Insert the rows of a table or data frame, all or none; return how many.

        Args:
            table: ``memories``, or the name of a table; of another owner's as ``owner.name``.
            data: an Arrow table or reader, a pandas or polars data frame, or anything else with
                ``__arrow_c_stream__``. Columns go by their names, in any order; those that it
                lacks get their defaults.
            mode: ``append`` to a table that is there, ``create`` one, ``replace`` what is there,
                or ``create_append``: create it if it is not there. ``memories`` takes ``append``.

        Raises:
            InterfaceError: the data is nothing like a table, or there is no such mode.
            ProgrammingError: an unknown table or column.
            IntegrityError, DataError: a value that the table does not take.

        >>> import memql, pyarrow as pa
        >>> con = memql.connect()
        >>> con.ingest("memories", pa.table({"content": ["a", "b"], "kind": ["fact", None]}))
        2
        """
        from memql.ingest import ingest

        self._check_open()
        return ingest(self, table, data, mode)

    # -- transactions ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin a transaction, as BEGIN does.

        Raises:
            ProgrammingError: one is open.

        >>> import memql
        >>> con = memql.connect()
        >>> con.begin()
        >>> con.in_transaction
        True
        """
        self._check_open()
        self._session.begin()

    def commit(self) -> None:
        """Commit the open transaction, if there is one.

        Raises:
            OperationalError: another transaction changed the same rows first; this one is undone.

        >>> import memql
        >>> memql.connect().commit()
        """
        self._check_open()
        self._session.commit()

    def rollback(self) -> None:
        """Undo the open transaction, if there is one.

        >>> import memql
        >>> con = memql.connect()
        >>> con.begin()
        >>> _ = con.execute("INSERT INTO memories (content) VALUES ('a')")
        >>> con.rollback()
        >>> con.execute("SELECT count(*) FROM memories").fetchone()
        (0,)
        """
        self._check_open()
        self._session.rollback()

    @contextmanager
    def transaction(self) -> Iterator[Connection[Row]]:
        """Begin a transaction; commit it at the end of ``with``, or undo it after an error.

        Raises:
            ProgrammingError: a transaction is open: they do not nest.

        >>> import memql
        >>> con = memql.connect()
        >>> with con.transaction():
        ...     _ = con.execute("INSERT INTO memories (content) VALUES ('a')")
        >>> con.in_transaction, con.execute("SELECT count(*) FROM memories").fetchone()
        (False, (1,))
        """
        self.begin()
        try:
            yield self
        except BaseException:
            if not self._closed:
                self.rollback()
            raise
        self.commit()

    @property
    def in_transaction(self) -> bool:
        """Whether BEGIN was given and neither COMMIT nor ROLLBACK.

        >>> import memql
        >>> memql.connect().in_transaction
        False
        """
        return self._session.in_transaction

    # -- what runs ------------------------------------------------------------------------------

    @property
    def user(self) -> str | None:
        """Who asks; None is the administrator of an embedded store.

        >>> import memql
        >>> memql.connect(user="alice").user
        'alice'
        """
        return self._session.user

    @property
    def progress(self) -> Callable[[int, int], None] | None:
        """Called with (tokens done, tokens in all) while a model computes; None calls nothing.

        >>> import memql
        >>> con = memql.connect()
        >>> _ = con.execute("INSERT INTO memories (content) VALUES ('Ann likes tea.')")
        >>> con.progress = lambda done, total: print(f"{done} of {total} tokens")
        >>> _ = con.execute("SELECT content FROM memories MATERIALIZE AS ACTIVATION")
        14 of 14 tokens
        """
        return self._session.progress.report

    @progress.setter
    def progress(self, report: Callable[[int, int], None] | None) -> None:
        self._session.progress.report = report

    def interrupt(self) -> None:
        """Stop the statement that another thread runs on this connection.

        That statement raises ``OperationalError``; where none runs nothing happens.

        >>> import memql
        >>> memql.connect().interrupt()
        """
        self._check_open()
        self._session.interrupt()

    def close(self) -> None:
        """Close the connection; an open transaction is undone.

        >>> import memql
        >>> con = memql.connect()
        >>> con.close()
        >>> con.execute("SELECT 1")
        Traceback (most recent call last):
        memql.errors.InterfaceError: the connection is closed
        hint: open another: memql.connect(...)
        """
        self._closed = True
        self._session.close()

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError(
                "the connection is closed",
                hint="open another: memql.connect(...)",
                code="08003",
            )

    def __enter__(self) -> Connection[Row]:
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

    def __repr__(self) -> str:
        if self._closed:
            return "<memql.Connection, closed>"
        who = "the administrator" if self.user is None else self.user
        state = ", in a transaction" if self.in_transaction else ""
        return f"<memql.Connection to {self._store} as {who}{state}>"
