"""A disk that forgets at a loss of power what nobody waited for."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memql.storage import durable
from tests.storage.crash.steps import Patch

# DuckDB syncs its files itself, out of Python's sight: they are taken as they are.
_OF_DUCKDB = "catalog."
_LOCK = "lock"

_FOLDER = -1  # in place of a file's inode


class Disk:
    """What of a folder is on the disk for sure: the bytes of files and the names in folders.

    A name leads to an inode, as on a real disk: a file may have its bytes there and no name, or
    a name and no bytes.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._bytes: dict[int, bytes] = {}
        self._names: dict[Path, dict[str, int]] = {}

    def watch(self, patch: Patch) -> None:
        """Learn from the product's sync calls from now on.

        Args:
            patch: sets an attribute of an object.
        """
        patch(durable, "sync_file", self._after(durable.sync_file, self._synced_file))
        patch(durable, "sync_folder", self._after(durable.sync_folder, self._synced_folder))

    def cut(self, target: Path, source: random.Random) -> int:
        """Write what the disk may hold after a loss of power right now.

        What was synced is there. Of all else anything may be: a new name or none, the old
        name of a removed file, and of a file the first bytes, or none.

        Args:
            target: a new folder for it.
            source: draws what of it.

        Returns:
            how many files and names were not safe.
        """
        return self._cut(self._root, target, source)

    def _cut(self, folder: Path, target: Path, source: random.Random) -> int:
        target.mkdir(parents=True)
        unsafe = 0
        now = _names_in(folder) if folder.is_dir() else {}
        safe = self._names.get(folder, {})
        for name in sorted(now.keys() | safe.keys()):
            if folder == self._root and name.startswith((_OF_DUCKDB, _LOCK)):
                if name in now:
                    (target / name).write_bytes((folder / name).read_bytes())
                continue
            inode = now.get(name)
            if inode != safe.get(name):
                unsafe += 1
                inode = source.choice((inode, safe.get(name)))
            if inode is None:
                continue
            if inode == _FOLDER:
                unsafe += self._cut(folder / name, target / name, source)
                continue
            written = (folder / name).read_bytes() if now.get(name) == inode else b""
            if written and self._bytes.get(inode) != written:
                unsafe += 1
                whole, size = written, source.randrange(len(written))
                written = source.choice((whole[:size], whole[:size].ljust(len(whole), b"\0")))
            (target / name).write_bytes(written or self._bytes.get(inode, b""))
        return unsafe

    def _after(
        self, wrapped: Callable[[Path], None], noted: Callable[[Path], None]
    ) -> Callable[[Path], None]:
        def sync(path: Path) -> Any:
            wrapped(path)
            if path.is_relative_to(self._root):
                noted(path)

        return sync

    def _synced_file(self, path: Path) -> None:
        self._bytes[path.stat().st_ino] = path.read_bytes()

    def _synced_folder(self, path: Path) -> None:
        self._names[path] = _names_in(path)


def _names_in(folder: Path) -> dict[str, int]:
    return {
        path.name: _FOLDER if path.is_dir() else path.stat().st_ino for path in folder.iterdir()
    }
