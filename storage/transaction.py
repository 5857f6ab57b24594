"""The life of one user's transaction, and the commit numbers that order all of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from memql.errors import Error, InternalError, ProgrammingError
from memql.storage.failures import is_conflict, translate

if TYPE_CHECKING:
    import duckdb

    from memql.storage.store import Store

_BEGIN, _COMMIT = "begin a transaction", "commit the transaction"
# DuckDB makes the snapshot of a transaction where it first reads the catalog.
_SEE = "FROM _memql.commits LIMIT 0"
_WROTE = "SELECT 1 FROM _memql.memories WHERE version = ? LIMIT 1"
_COPY_VERSIONS = "INSERT INTO _memql.versions SELECT * FROM _memql.memories WHERE version = ?"
_RENUMBER = "UPDATE _memql.memories SET version = ? WHERE version = ?"

# What rows of an explicit transaction carry as their version until it commits: no other one sees
# them before, and a number of its own would tell of the others.
PROVISIONAL = -1

_numbers = itertools.count(1)


def roll_back(cursor: duckdb.DuckDBPyConnection) -> None:
    """End the transaction of a cursor, if there is one, for sure.

    Args:
        cursor: a cursor that nothing else uses.
    """
    import duckdb

    while True:
        try:
            cursor.execute("ROLLBACK")
            return
        except (duckdb.TransactionException, duckdb.ConnectionException):
            return  # there is none: a COMMIT that failed, or the database's end, has ended it
        except duckdb.InterruptException:
            continue  # whoever stops a statement may do so more than once


@contextmanager
def short_transaction(cursor: duckdb.DuckDBPyConnection, asked: str) -> Iterator[None]:
    """A transaction of the engine's own: committed at the end, undone by any error.

    Args:
        cursor: a cursor without a transaction.
        asked: what is done in it, for errors: "publish node 7".

    Raises:
        Error: what DuckDB refused; after a full disk it may be durable all the same.
    """
    import duckdb

    try:
        cursor.execute("BEGIN")
        try:
            yield
            cursor.execute("COMMIT")
        except BaseException:
            # A COMMIT that failed has ended it already; the first error is the one to tell.
            roll_back(cursor)
            raise
    except duckdb.Error as error:
        raise translate(error, asked) from error


class Transaction:
    """One transaction of a user at a time, on a cursor of its own.

    A write statement outside BEGIN takes its commit number first and writes rows with it, under
    the store's commit lock. An explicit transaction writes rows with a provisional negative
    version and gets its number at commit, so that it holds the lock only then. Either way the
    order of the numbers is the order in which DuckDB committed.

    Args:
        store: the store.
        cursor: a cursor that only this transaction and its session use.
        check_cancel: raises what ends the wait for another transaction's commit.
    """

    def __init__(
        self,
        store: Store,
        cursor: duckdb.DuckDBPyConnection,
        check_cancel: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._cursor = cursor
        self._check_cancel = check_cancel
        self._active = False
        self._explicit = False
        self._locked = False
        self._dirty = False
        self._version = 0
        self._number = 0

    @property
    def active(self) -> bool:
        """Whether a transaction is open."""
        return self._active

    @property
    def explicit(self) -> bool:
        """Whether the open transaction was begun by the user."""
        return self._active and self._explicit

    @property
    def number(self) -> int:
        """What tells the open transaction from all others of the process; not for users to see."""
        return self._number

    @property
    def version(self) -> int:
        """The number that rows written now carry: a commit number, or a provisional negative one.

        Raises:
            InternalError: no transaction that may write is open.
        """
        if not self._version:
            raise InternalError("rows were about to be written outside a write transaction")
        return self._version

    @property
    def dirty(self) -> bool:
        """Whether the open transaction may have written: it began to write, or was marked."""
        return self._dirty

    def mark_dirty(self) -> None:
        """Note that a statement of this explicit transaction has written."""
        self._dirty = True

    def begin(self, explicit: bool, write: bool) -> None:
        """Open a transaction: from its first statement on the cursor sees one snapshot.

        Args:
            explicit: begun by the user; may write, whatever `write` says.
            write: the statement writes. Takes the commit lock, unless explicit.

        Raises:
            ProgrammingError: one is open already.
            OperationalError: the store failed.
        """
        if self._active:
            raise ProgrammingError(
                "a transaction is open already",
                hint="COMMIT or ROLLBACK it first.",
                code="25001",
            )
        if explicit:
            self._version = PROVISIONAL
        elif write:
            self._version = self._store.begin_commit(self._check_cancel)
            self._locked = True
        try:
            self._execute("BEGIN", [], _BEGIN)
        except BaseException:
            # An interruption can come out of a BEGIN that was done all the same.
            roll_back(self._cursor)
            self._end()
            raise
        self._active, self._explicit, self._dirty = True, explicit, write
        self._number = next(_numbers)

    def see(self) -> None:
        """Make the snapshot, as the first statement would.

        Raises:
            OperationalError: the store failed.
        """
        self._execute(_SEE, [], _BEGIN)

    def execute(
        self, sql: str, parameters: Sequence[object] | Mapping[str, object], asked: str
    ) -> None:
        """Run a statement in this transaction, with DuckDB's errors turned into MemQL's.

        Args:
            sql: the statement, in DuckDB's SQL.
            parameters: its parameters.
            asked: what it does, for errors: "update memories".

        Raises:
            OperationalError: another transaction changed the same rows; this one is rolled back.
            Error: any other failure. DuckDB then accepts nothing but a rollback.
        """
        import duckdb

        try:
            self._cursor.execute(sql, parameters)
        except duckdb.Error as error:
            raise self.failed(error, asked) from error

    def failed(self, error: duckdb.Error, asked: str) -> Error:
        """The error to raise for one of DuckDB's; a conflict rolls the transaction back.

        Args:
            error: what DuckDB raised for a statement of this transaction.
            asked: what the statement does, for the error's text.
        """
        translated = translate(error, asked)
        if self._active and is_conflict(error):
            self.rollback()
        return translated

    def commit(self, user: str) -> int | None:
        """Make what was written durable and seen by all.

        Args:
            user: who wrote, for the list of commits.

        Returns:
            the commit number; None when no memory was written.

        Raises:
            ProgrammingError: none is open.
            OperationalError: a conflict or a failing store; the transaction is rolled back.
        """
        if not self._active:
            raise ProgrammingError(
                "cannot commit: no transaction is open",
                hint="Open one with BEGIN.",
                code="25P01",
            )
        try:
            if self._explicit:
                return self._commit_explicit(user)
            return self._commit_statement(user)
        except BaseException:
            self._abandon()
            raise
        finally:
            self._end()

    def rollback(self) -> None:
        """Undo what was written; nothing happens when no transaction is open."""
        if not self._active:
            return
        try:
            self._abandon()
        finally:
            self._end()

    def _commit_explicit(self, user: str) -> int | None:
        # Asked of the table, not of a flag: a row that kept its provisional version would be a
        # row without history. A transaction that only read need not wait for a writer.
        self._execute(_WROTE, [self._version], _COMMIT)
        if self._cursor.fetchone() is None:
            self._end_unnumbered()
            return None
        number = self._store.begin_commit(self._check_cancel)
        self._locked = True
        self._execute(_RENUMBER, [number, self._version], _COMMIT)
        self._execute(_COPY_VERSIONS, [number], _COMMIT)
        return self._end_numbered(number, user)

    def _commit_statement(self, user: str) -> int | None:
        if not self._version:
            self._end_unnumbered()
            return None
        self._execute(_COPY_VERSIONS, [self._version], _COMMIT)
        if self._cursor.fetchone() == (0,):
            self._end_unnumbered()
            return None
        return self._end_numbered(self._version, user)

    def _end_unnumbered(self) -> None:
        self._execute("COMMIT", [], _COMMIT)
        self._active = False

    def _end_numbered(self, number: int, user: str) -> int:
        self._execute(
            "INSERT INTO _memql.commits SELECT ?, make_timestamptz(?), ?",
            [number, self._store.commit_time_micros(), user],
            _COMMIT,
        )
        self._execute("COMMIT", [], _COMMIT)
        self._active = False
        self._store.committed(number)
        return number

    def _abandon(self) -> None:
        if not self._active:
            return
        self._active = False
        try:
            roll_back(self._cursor)
        finally:
            if self._locked:
                # An error can follow a commit that was durable all the same (a full disk).
                self._store.reread_commits()

    def _end(self) -> None:
        self._active = self._explicit = self._dirty = False
        self._version = 0
        if self._locked:
            self._locked = False
            self._store.end_commit()

    def _execute(self, sql: str, parameters: list[object], asked: str) -> None:
        import duckdb

        try:
            self._cursor.execute(sql, parameters)
        except duckdb.Error as error:
            raise translate(error, asked) from error
