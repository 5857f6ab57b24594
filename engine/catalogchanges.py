"""Changes of the catalog that a session makes: definitions, and who may do what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from memql.engine.rights import Catalog, Rights
from memql.errors import ProgrammingError
from memql.storage import governance
from memql.storage.failures import translate
from memql.storage.transaction import Transaction, roll_back

if TYPE_CHECKING:
    import duckdb

    from memql.storage.store import Store


class CatalogChanges:
    """Changes the catalog in the session's open transaction, or in one for each change.

    Args:
        store: the store.
        cursor: the session's own.
        transaction: the session's, on that cursor.
        check_cancel: raises what ends the wait for another's commit.

    Attributes:
        count: goes up with each change inside the open transaction, before and behind it.
    """

    _version: int | None
    _seen: Catalog | None

    def __init__(
        self,
        store: Store,
        cursor: duckdb.DuckDBPyConnection,
        transaction: Transaction,
        check_cancel: Callable[[], None],
    ) -> None:
        self._store = store
        self._cursor = cursor
        self._transaction = transaction
        self._check_cancel = check_cancel
        self.count = 0

    def begin(self, *, explicit: bool) -> None:
        """Open the session's transaction.

        Args:
            explicit: begun by the user.
        """
        self._version, self._seen, self.count = None, None, 0
        self._transaction.begin(explicit=explicit, write=True)

    def with_seen(self, rights: Rights) -> Rights:
        """Return rights that are committed now with what the open transaction sees of them.

        The first statement of a transaction makes its snapshot.

        Raises:
            OperationalError: it cannot be read.
        """
        import duckdb

        if not self._transaction.explicit:
            return rights
        if self._version is None:
            # Read before the snapshot is made: what is granted in between counts as granted since.
            self._version = self._store.rights_version
            self._transaction.see()
        changed = self._store.rights_version != self._version or self._store.rights_are_changing
        if self._seen is None and changed:
            try:
                self._seen = Catalog(governance.read(self._cursor))
            except duckdb.Error as error:
                # In one that an error has ended nothing but a ROLLBACK will run.
                ended = isinstance(error, duckdb.TransactionException) and "aborted" in str(error)
                if not ended:
                    raise translate(error, "read who may read what") from error
        return replace(rights, seen=self._seen)

    def locked(self, run: Callable[[], object]) -> None:
        """Change the catalog: in the open transaction, or alone under the commit lock."""
        if not self._transaction.active:
            self._store.take_commit_lock(self._check_cancel)
        try:
            self.alone(run)
        finally:
            if not self._transaction.active:
                self._store.commit_lock.release()

    def alone(self, run: Callable[[], object]) -> None:
        """Change the catalog: in the open transaction, or in one of its own."""
        if self._transaction.active:
            self.count += 1
            try:
                run()
            finally:
                self.count += 1
            return
        try:
            self._cursor.begin()
            run()
            with self._store.changing_rights():  # what is dropped takes its grants along
                self._cursor.commit()
        except BaseException:
            roll_back(self._cursor)
            raise

    def commit(self, owner: str) -> None:
        """Commit the open transaction.

        Args:
            owner: who wrote, for the list of commits.
        """
        if not self.count:
            self._transaction.commit(owner)
            return
        with self._store.changing_rights():  # what is dropped takes its grants along
            self._transaction.commit(owner)

    def refuse_inside(self, what: str) -> None:
        """Refuse a change of who may do what inside a transaction: it holds for all at once.

        Args:
            what: the statement.

        Raises:
            ProgrammingError: a transaction is open.
        """
        if self._transaction.active:
            raise ProgrammingError(
                f"{what} is not possible inside a transaction: it holds for everybody at once",
                hint="COMMIT or ROLLBACK first",
                code="25001",
            )

    def governed(self, run: Callable[[], object]) -> None:
        """Change who may do what: under the commit lock, in a transaction of its own."""
        self._store.take_commit_lock(self._check_cancel)
        try:
            try:
                self._cursor.begin()
                run()
            except BaseException:
                roll_back(self._cursor)
                raise
            with self._store.changing_rights():
                try:
                    self._cursor.commit()
                except BaseException:
                    roll_back(self._cursor)
                    raise
        finally:
            self._store.commit_lock.release()
