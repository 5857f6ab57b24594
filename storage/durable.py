"""Makes what was written survive a loss of power: fsync of files, and of folders for names."""

from __future__ import annotations

import os
from pathlib import Path

Stamp = tuple[int, int, int]  # inode, bytes, mtime in nanoseconds


def sync_file(path: Path) -> None:
    """Wait until the bytes of a file are on the disk.

    Args:
        path: a file that exists.

    Raises:
        OSError: the disk reports an error.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk.

    Args:
        path: a folder that exists.

    Raises:
        OSError: the disk reports an error.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path, synced: dict[Path, Stamp]) -> None:
    """Sync every file and folder under a folder that is new or changed since it was synced last.

    Files go before the folder that names them, folders before their parents, so that a name
    never reaches the disk before its bytes.

    Args:
        root: the folder; its own name in its parent is not synced.
        synced: what was synced already; brought up to date.

    Raises:
        OSError: the disk reports an error; what was synced until then is recorded.
    """
    seen: set[Path] = set()
    for name, _, files in os.walk(root, topdown=False):
        folder = Path(name)
        for file in files:
            path = folder / file
            stamp = stamp_of(path)
            seen.add(path)
            if synced.get(path) != stamp:
                sync_file(path)
                synced[path] = stamp
        stamp = stamp_of(folder)
        seen.add(folder)
        if synced.get(folder) != stamp:
            sync_folder(folder)
            synced[folder] = stamp
    for path in synced.keys() - seen:
        del synced[path]


def stamp_of(path: Path) -> Stamp:
    """What tells one state of a file from another.

    Args:
        path: a file or folder that exists.
    """
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
