"""The lock file of a store: one process at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from pathlib import Path

from memql.errors import OperationalError

FILE_NAME = "lock"

_held: set[int] = set()  # open files of the locks of this process


def _leave_to_parent() -> None:
    """Close what a forked child shares with its parent, which stays the holder."""
    while _held:
        os.close(_held.pop())


# Otherwise a child would keep the store locked after its parent has died.
os.register_at_fork(after_in_child=_leave_to_parent)


class StoreLock:
    """Holds a store folder for this process until it is released or the process ends.

    It is a flock on a file of its own, because DuckDB's lock on the catalog is lost as soon as
    anything in the process opens and closes that file again. The kernel drops a flock with its
    process, so nothing is left to clean up after a crash.

    Args:
        folder: the store folder; it exists.

    Raises:
        OperationalError: another process has the store open, or the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / FILE_NAME
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise OperationalError(
                f"the store {folder} cannot be locked: {path}: {error.strerror}",
                hint="Opening a store needs the right to write in its folder.",
                code="58030",
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = self._holder()
            os.close(self._descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise OperationalError(
                    f"the store {folder} cannot be locked: {error.strerror}",
                    hint="Put the store on a file system that supports flock.",
                    code="58030",
                ) from error
            raise OperationalError(
                f"the store {folder} is opened by another process: {holder}",
                hint="One process opens a store. Close it there, or end that process.",
                code="55006",
            ) from error
        _held.add(self._descriptor)
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def release(self) -> None:
        """Let other processes open the store."""
        if self._descriptor in _held:
            _held.remove(self._descriptor)
            os.close(self._descriptor)

    def _holder(self) -> str:
        try:
            found = json.loads(os.pread(self._descriptor, 4096, 0))
            return f"pid {int(found['pid'])} on host {found['host']}"
        except (ValueError, KeyError, TypeError):
            # The other process has taken the lock and not yet written its name.
            return "its pid is not known yet"
