"""The lock file of a store: one process at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import zlib
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

    The file also says which commit was acknowledged last, which DuckDB cannot: where its log is
    damaged in a length it takes the rest for a commit that was never finished, and leaves it out
    without a word. Nothing waits for this note to reach the disk, so after a loss of power it may
    be an older one.

    Args:
        folder: the store folder; it exists.

    Attributes:
        acknowledged: number of the last commit of an earlier process; 0 if it is not known.

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
        self._holds: dict[str, int | str] = {"pid": os.getpid(), "host": socket.gethostname()}
        self.acknowledged = self._found()
        self.acknowledge(self.acknowledged)

    def acknowledge(self, commit: int) -> None:
        """Note that a commit is durable.

        Args:
            commit: its number.
        """
        note = {"commit": commit, "check": zlib.crc32(b"%d" % commit)}
        text = json.dumps(self._holds | note).encode()
        try:
            os.pwrite(self._descriptor, text, 0)
            os.ftruncate(self._descriptor, len(text))
        except OSError:
            # The commit stands. A note that is missing or torn is as good as an old one.
            return

    def release(self) -> None:
        """Let other processes open the store."""
        if self._descriptor in _held:
            _held.remove(self._descriptor)
            os.close(self._descriptor)

    def _found(self) -> int:
        try:
            found = json.loads(os.pread(self._descriptor, 4096, 0))
            commit = int(found["commit"])
            return commit if found["check"] == zlib.crc32(b"%d" % commit) else 0
        except (ValueError, KeyError, TypeError):
            return 0

    def _holder(self) -> str:
        try:
            found = json.loads(os.pread(self._descriptor, 4096, 0))
            return f"pid {int(found['pid'])} on host {found['host']}"
        except (ValueError, KeyError, TypeError):
            # The other process has taken the lock and not yet written its name.
            return "its pid is not known yet"
