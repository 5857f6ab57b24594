"""Digests of files outside the store, kept so that large ones are read once."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

# They are rows of the store's settings, under the file's path.
_PREFIX = "sha256 of "

# A file that is written again within a tick of its file system's clock has the time that it had.
_SETTLED_NS = 2_000_000_000


@dataclass(frozen=True)
class FileDigest:
    """The digest of a file as it was.

    Args:
        path: of the file, links resolved.
        size_bytes: its size.
        mtime_ns: when it was written last.
        inode: its number in the file system.
        sha256: of its bytes, hex.
    """

    path: str
    size_bytes: int
    mtime_ns: int
    inode: int
    sha256: str

    @property
    def is_current(self) -> bool:
        """Whether the file is there, and was not written since as far as the system tells."""
        try:
            found = Path(self.path).stat()
        except OSError:
            return False
        stamp = (found.st_size, found.st_mtime_ns, found.st_ino)
        return stamp == (self.size_bytes, self.mtime_ns, self.inode)


def recall(cursor: duckdb.DuckDBPyConnection) -> list[FileDigest]:
    """The digests that are kept.

    Args:
        cursor: any cursor of the store.
    """
    rows = cursor.execute(
        "SELECT name, value FROM _memql.settings WHERE starts_with(name, ?) ORDER BY name",
        [_PREFIX],
    ).fetchall()
    return [FileDigest(name.removeprefix(_PREFIX), **json.loads(value)) for name, value in rows]


def remember(cursor: duckdb.DuckDBPyConnection, found: Iterable[FileDigest]) -> None:
    """Keep digests, each in the place of an older one of its file.

    Args:
        cursor: in the transaction that they belong to.
        found: those to keep; files that were written just now are left out.
    """
    now = time.time_ns()
    for one in found:
        if now - one.mtime_ns < _SETTLED_NS:
            continue
        value = asdict(one)
        name = _PREFIX + value.pop("path")
        cursor.execute("DELETE FROM _memql.settings WHERE name = ?", [name])
        cursor.execute("INSERT INTO _memql.settings VALUES (?, ?)", [name, json.dumps(value)])


def changed(cursor: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Read all files whose digests are kept, and name those that have other bytes now.

    Files that are gone, or were written since, are no concern: they are read when they are used.

    Args:
        cursor: any cursor of the store.
    """
    for one in recall(cursor):
        if not one.is_current:
            continue
        try:
            with Path(one.path).open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            yield f"{one.path} cannot be read: {error.strerror}"
            continue
        if sha256 != one.sha256:
            yield (
                f"{one.path} has other bytes than when a model was made of it, with the same size "
                "and time: what was computed with it may be wrong"
            )
