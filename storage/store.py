"""The store: a folder with a DuckDB catalog and Lance datasets, opened by one process."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from memql.errors import InterfaceError, InternalError, OperationalError
from memql.storage.folder import MEMORY, connect, make_folder
from memql.storage.limits import Limits, limits_of, show_bytes
from memql.storage.lock import FILE_NAME, StoreLock
from memql.storage.schema import migrate

if TYPE_CHECKING:
    import duckdb

    from memql.storage.activations import Activations

_open_stores: dict[str, Store] = {}
_registry = threading.Lock()
_alive: weakref.WeakSet[Store] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """Let a forked child never end what is its parent's: DuckDB's log, and a temporary folder.

    Closing a database writes its log into its file and removes the log, under the parent that goes
    on writing into it. The child's references are therefore never given up, not at its exit either.
    """
    for store in _alive:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(store._connection))
        if store._temporary is not None:
            store._temporary.detach()


os.register_at_fork(after_in_child=_leave_to_parent)

# How often a statement looks whether a commit of others has ended.
_RIGHTS_SECONDS = 0.0005

# How long a statement that waits for another's commit may overlook that it was interrupted.
_ASK_AGAIN_SECONDS = 0.02


class Store:
    """One opened store, shared by all of the process that open the same folder.

    Get one from `Store.open`. Each session and each thread takes a cursor of its own; the
    store's own methods may be called from any thread.

    Args:
        name: what the user called it, made absolute, or ":memory:".
        folder: where its files are; None for a store in memory.
        limits: what its DuckDB may take.
    """

    def __init__(self, name: str, folder: Path | None, limits: Limits) -> None:
        self.name = name
        self.limits = limits
        self.commit_lock = threading.RLock()
        self._holders = 1
        self._closed = False
        self._pid = os.getpid()
        self._committing = False
        self._last_commit = 0
        self._last_commit_micros = 0
        self._catalog_version = 0
        self._rights_version = 0
        self._rights_changing = 0
        self._activations: Activations | None = None
        self._opening = threading.Lock()
        self._temporary: weakref.finalize[[str, bool], Store] | None = None
        self._folder = folder
        self._lock = None if folder is None else StoreLock(folder)
        try:
            self._connection = connect(name, folder, limits)
            try:
                migrate(self._connection, name)
                self._connection.execute("SET lock_configuration = true")
                self.reread_commits()
                self._check_whole()
                self._recover()
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise
        _alive.add(self)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        memory_limit: str | int | None = None,
        threads: int | None = None,
    ) -> Store:
        """Open a store; a missing or empty folder is made into one.

        Opening the same folder again in this process gives the same store, which closes when
        each opening has been closed. ":memory:" is a new store each time.

        Args:
            path: the store's folder, or ":memory:".
            memory_limit: the most memory of its DuckDB, as '4GB' or in bytes; None is a quarter
                of the machine's, or what holds if the store is open.
            threads: how many threads run its queries; None is up to four, or what holds.

        Raises:
            OperationalError: another process has it open, it is not a store, it is damaged, or
                it is of a newer format.
            InterfaceError: a limit is out of range, the store is open with another one, or it was
                open when this process was forked.
        """
        if os.fspath(path) == MEMORY:
            return cls(MEMORY, None, limits_of(memory_limit, threads))
        folder = Path(os.path.realpath(path))
        with _registry:
            store = _open_stores.get(str(folder))
            if store is not None:
                # DuckDB would find the database again that it had before the fork, and write over
                # what others have written since.
                store.check_open()
                _check_same(store, limits_of(memory_limit, threads, store.limits))
                store._holders += 1
                return store
            limits = limits_of(memory_limit, threads)
            make_folder(folder)
            store = cls(str(folder), folder, limits)
            _open_stores[str(folder)] = store
            return store

    @property
    def folder(self) -> Path:
        """The folder of the store's files; for a store in memory one that `close` removes."""
        with self._opening:
            if self._folder is None:
                made = tempfile.mkdtemp(prefix="memql-")
                self._temporary = weakref.finalize(self, shutil.rmtree, made, True)
                self._folder = Path(made)
            return self._folder

    @property
    def is_inherited(self) -> bool:
        """Whether another process opened the store, of which this one is a fork."""
        return self._pid != os.getpid()

    @property
    def durable(self) -> bool:
        """Whether the store outlives the process."""
        return self._lock is not None

    @property
    def activations(self) -> Activations:
        """The nodes of the activation tree."""
        from memql.storage.activations import Activations

        folder = self.folder
        with self._opening:
            if self._activations is None:
                self._activations = Activations(self, folder)
            return self._activations

    def check_open(self) -> None:
        """Make sure that the store can be used here.

        Raises:
            InterfaceError: the store is closed, or was opened before this process was forked.
        """
        if self._closed:
            raise InterfaceError(
                f"the store {self.name} is closed", hint="Open it again.", code="08003"
            )
        if self.is_inherited:
            raise InterfaceError(
                f"the store {self.name} was opened by pid {self._pid}, before a fork",
                hint="Open a store after forking, or in a process that is started anew.",
                code="08003",
            )

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A new cursor of the catalog, for one session or thread.

        Raises:
            InterfaceError: the store is closed, or was opened before this process was forked.
        """
        self.check_open()
        return self._connection.cursor()

    def close(self) -> None:
        """Give up one opening; the last one closes the files and lets other processes in.

        In a process forked from the opener nothing happens: the files are the opener's.
        """
        if self.is_inherited:
            return
        with _registry:
            if self._closed:
                return
            self._holders -= 1
            if self._holders:
                return
            self._closed = True
            if _open_stores.get(self.name) is self:
                del _open_stores[self.name]
            # A commit under way in another thread ends first.
            with self.commit_lock:
                self._connection.close()
            if self._temporary is not None:
                self._temporary()
            if self._lock is not None:
                self._lock.release()

    def take_commit_lock(self, check_cancel: Callable[[], None]) -> None:
        """Wait for the commit lock; who takes it releases it.

        Args:
            check_cancel: raises what ends the wait; asked again and again.
        """
        while not self.commit_lock.acquire(timeout=_ASK_AGAIN_SECONDS):
            check_cancel()

    def begin_commit(self, check_cancel: Callable[[], None] = lambda: None) -> int:
        """Take the commit lock and the next commit number; `end_commit` gives the lock back.

        Args:
            check_cancel: raises what ends the wait for the lock.

        Raises:
            InternalError: this thread is in the middle of another commit.
        """
        self.take_commit_lock(check_cancel)
        if self._committing:
            # The lock is reentrant for publishing inside a statement; a number is not.
            self.commit_lock.release()
            raise InternalError("a write statement began inside another write statement")
        self._committing = True
        return self._last_commit + 1

    def end_commit(self) -> None:
        """Give back the commit lock, whatever became of the number."""
        self._committing = False
        self.commit_lock.release()

    def committed(self, number: int) -> None:
        """Note that a commit is durable.

        Args:
            number: its number; the caller holds the commit lock.
        """
        self._last_commit = number
        if self._lock is not None:
            self._lock.acknowledge(number)

    @property
    def catalog_version(self) -> int:
        """How often views, models, users or grants were changed since the store was opened."""
        return self._catalog_version

    def catalog_changed(self) -> None:
        """Note that a change of the catalog was committed: what was planned before may not hold."""
        with self._opening:
            self._catalog_version += 1

    @property
    def rights_version(self) -> int:
        """How often users, roles, grants or policies were changed since the store was opened."""
        return self._rights_version

    @contextmanager
    def changing_rights(self) -> Iterator[None]:
        """Hold around a commit that may change users, roles, grants, policies or what they name."""
        with self._opening:
            self._rights_changing += 1
        try:
            yield
        finally:
            # An error can follow a commit that was durable all the same (a full disk).
            try:
                self.rights_changed()
            finally:
                with self._opening:
                    self._rights_changing -= 1

    @property
    def rights_are_changing(self) -> bool:
        """Whether a commit is under way that may change them."""
        return self._rights_changing > 0

    def wait_for_rights(self, check_cancel: Callable[[], None]) -> None:
        """Wait until no commit that may change them is under way.

        Args:
            check_cancel: raises what ends the wait; asked again and again.
        """
        while self.rights_are_changing:
            check_cancel()
            time.sleep(_RIGHTS_SECONDS)

    def rights_changed(self) -> None:
        """Note that a change of users, roles, grants or policies was committed."""
        with self._opening:
            self._rights_version += 1
            self._catalog_version += 1

    @property
    def last_commit(self) -> int:
        """The number of the newest commit; 0 before the first."""
        return self._last_commit

    def commit_time_micros(self) -> int:
        """The time for the next commit, microseconds since 1970.

        It is never before that of the last commit: AT (TIMESTAMP) reads commit times in the
        order of their numbers, also after the clock was set back.
        """
        self._last_commit_micros = max(time.time_ns() // 1000, self._last_commit_micros)
        return self._last_commit_micros

    def reread_commits(self) -> None:
        """Learn from the catalog which commit was the last."""
        cursor = self._connection.cursor()
        found = cursor.execute(
            'SELECT coalesce(max(number), 0), coalesce(epoch_us(max("at")), 0) FROM _memql.commits'
        ).fetchall()
        self._last_commit, self._last_commit_micros = found[0]

    def _check_whole(self) -> None:
        if self._lock is not None and self._lock.acknowledged > self._last_commit:
            raise OperationalError(
                f"the store {self.name} is damaged: its catalog ends with commit "
                f"{self._last_commit}, but commit {self._lock.acknowledged} was acknowledged",
                hint=f"Restore the folder from a copy, or remove its file {FILE_NAME!r} to go on "
                "without what is lost.",
                code="XX001",
            )

    def _recover(self) -> None:
        # Fetched to its end: half a result keeps its transaction open, and a transaction that is
        # open as long as the store keeps DuckDB from ever writing its log into the file.
        unfinished = self._connection.execute(
            "SELECT EXISTS (FROM _memql.intents) OR EXISTS (FROM _memql.tombstones)"
        ).fetchall()
        if unfinished == [(True,)]:
            from memql.storage.tensors import TensorsFailed

            # Derived forms do not keep the memories from being read: what cannot be finished now
            # is out of everybody's reach all the same, and the next opening tries again.
            with suppress(TensorsFailed):
                self.activations.recover()


def _check_same(store: Store, asked: Limits) -> None:
    # DuckDB's own settings are locked once it is open, and it serves all connections.
    has = store.limits
    for name, found, wanted in (
        ("memory_limit", show_bytes(has.memory_bytes), show_bytes(asked.memory_bytes)),
        ("threads", str(has.threads), str(asked.threads)),
    ):
        if found != wanted:
            raise InterfaceError(
                f"the store {store.name} is open in this process with {name} {found}: "
                f"it cannot have {wanted} too",
                hint=f"leave {name} out to share it, or close its other connections first",
                code="55006",
            )
