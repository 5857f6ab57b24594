"""Work on a disk that becomes full, in a process of its own: what it says is checked by a test.

Usage: python -m tests.storage.crash.disk FOLDER SEED ROUNDS KIND [lie], where KIND is "tmpfs" for
a small file system mounted on FOLDER for this process alone, or "files" for a limit on the size
of each file. With "lie" an operation that failed is taken for done, which must be noticed.
"""

from __future__ import annotations

import copy
import ctypes
import json
import os
import random
import resource
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import memql
from tests.storage.crash.oracle import Read, Violation, settle
from tests.storage.crash.work import Expected, Operation, Work

TMPFS_BYTES = 48 * 1024 * 1024
# From not a page to enough for some operations.
_MOST_FREE_BYTES = 96 * 1024
_OPERATIONS_A_ROUND = 25

_MS_NONE = 0


class _TmpFs:
    """A file system with a ballast that leaves as much room as is wanted."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        size = f"size={TMPFS_BYTES}".encode()
        if libc.mount(b"memql", str(folder).encode(), b"tmpfs", _MS_NONE, size):
            raise OSError(ctypes.get_errno(), "mount")
        self._ballast = folder / "ballast"
        self._folder = folder

    def leave(self, free_bytes: int) -> None:
        status = os.statvfs(self._folder)
        size = status.f_bavail * status.f_frsize - free_bytes
        if size > 0:
            with open(self._ballast, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, size)

    def leave_enough(self) -> None:
        self._ballast.unlink(missing_ok=True)


class _FileLimit:
    """A limit on the size of files: the catalog's log, mostly, grows into it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def leave(self, free_bytes: int) -> None:
        sizes = [path.stat().st_size for path in self._folder.rglob("*.wal")]
        limit = max([4096, *sizes]) + free_bytes // 8
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def leave_enough(self) -> None:
        limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def main() -> None:
    """Fill the disk again and again; print what was done, or what was wrong."""
    folder, seed, rounds, kind = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    warnings.filterwarnings("ignore", "the answer stands")
    disk = _TmpFs(folder) if kind == "tmpfs" else _FileLimit(folder)
    source = random.Random(seed)
    counted: Counter[str] = Counter()
    read = Read()
    expected, store = Expected(), folder / "0"
    for number in range(rounds):
        if number % 10 == 0:
            expected, store = Expected(), folder / str(number)
        _round(disk, store, expected, source, seed + number, counted)
        disk.leave_enough()
        # In the round what failed was compared with both; from here on it is one or the other.
        read.add(settle(store, expected, []))
        counted["rounds"] += 1
    print(json.dumps({"counted": counted, "read": read.__dict__}))


def _round(
    disk: _TmpFs | _FileLimit,
    store: Path,
    expected: Expected,
    source: random.Random,
    seed: int,
    counted: Counter[str],
) -> None:
    pending: list[Operation] = []

    def hear(told: dict[str, Any]) -> None:
        if "begin" in told:
            pending[:] = [Operation.of(told["begin"])]
        else:
            pending.clear()
            counted["done"] += 1

    early = source.random() < 0.2
    if early:
        disk.leave(source.randrange(_MOST_FREE_BYTES))
    work = None
    try:
        work = Work(store, expected, seed, hear)
        if not early:
            work.run(source.randrange(3))
            disk.leave(source.randrange(_MOST_FREE_BYTES))
        work.run(_OPERATIONS_A_ROUND)
    except memql.Error as error:
        counted[type(error).__name__] += 1
        counted[f"code {error.code}"] += 1
        if "lie" in sys.argv:
            for operation in pending:
                expected.apply(operation)
            pending.clear()
    finally:
        if work is not None:
            # What the user sees now, before anything is opened again: never half of a change.
            _look(work, expected, pending, counted)
            try:
                work.close()
            except memql.Error:
                counted["failed to close"] += 1
    disk.leave_enough()
    settle(store, expected, pending)


def _look(work: Work, expected: Expected, pending: list[Operation], counted: Counter[str]) -> None:
    after = copy.deepcopy(expected)
    for operation in pending:
        after.apply(operation)
    wanted = [
        {name: each.memories[name][-1][0] for name in each.alive()} for each in (expected, after)
    ]
    try:
        work.roll_back()
        found = work.answer()
    except memql.Error as error:
        counted[f"not read: {error.code}"] += 1
        return
    counted["read while full"] += 1
    if found not in wanted:
        raise Violation(f"answered {found} on a full disk, where {wanted} were acknowledged")


def run(folder: Path, seed: int, rounds: int, *kind: str) -> dict[str, Any]:
    """Run it in a process of its own and return what it printed.

    Args:
        folder: an empty folder.
        seed: of all that is drawn.
        rounds: how often the disk becomes full.
        kind: "tmpfs" or "files", and "lie" if it is to be wrong.

    Raises:
        Violation: something was wrong; the text is the process's.
    """
    # A namespace of its own: the mount is seen by nobody else, and ends with the process.
    apart = ["unshare", "--user", "--map-root-user", "--mount"] if "tmpfs" in kind else []
    module = ["-m", "tests.storage.crash.disk", str(folder), str(seed), str(rounds), *kind]
    done = subprocess.run([*apart, sys.executable, *module], capture_output=True, text=True)
    if done.returncode:
        raise Violation(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def can_mount(folder: Path) -> bool:
    """Whether this user may mount a file system of its own.

    Args:
        folder: an empty folder.
    """
    command = "mount -t tmpfs -o size=1m none " + str(folder)
    try:
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", command],
            capture_output=True,
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    main()
