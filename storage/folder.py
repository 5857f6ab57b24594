"""The folder of a store: made, checked, and its catalog opened by DuckDB."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from memql.errors import OperationalError
from memql.storage import durable
from memql.storage.limits import Limits
from memql.storage.lock import FILE_NAME

if TYPE_CHECKING:
    import duckdb

MEMORY = ":memory:"
CATALOG = "catalog.duckdb"
_NEW_CATALOG = "catalog.new.duckdb"
# DuckDB's own name for where it puts what does not fit into memory.
SPILL = f"{CATALOG}.tmp"
# Where the speed of the disk is measured.
SCRATCH = "scratch"

# A second wall behind the engine's allow-lists: no files, no network, no extensions. What it
# leaves open (COPY over its own file, for one) the engine keeps out.
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    # A name is a table, never a variable of the program that calls.
    "python_enable_replacements": False,
    # Otherwise HUGEINT, BIT and TIMETZ change on their way through Arrow, and casting back what
    # became of a HUGEINT is a fatal error, after which DuckDB refuses the whole database.
    "arrow_lossless_conversion": True,
}


def _check_path(path: str) -> None:
    # DuckDB ends the name of its log before a "?" and takes "\\" for "/", which may be another
    # store's folder; Lance has no files where a control character is, and neither has bytes that
    # are no UTF-8, which Python reads as surrogates.
    odd = re.search(r"[?\\\x00-\x1f\x7f\ud800-\udfff]", path)
    if odd is not None:
        raise OperationalError(
            f"the path of a store cannot hold the character {odd[0]!r}: {path!r}",
            hint="Rename the folder, or put the store into another one.",
            code="42602",
        )


def make_folder(folder: Path) -> None:
    hint = "Give the folder of a store, or a new or empty folder to make one."
    _check_path(str(folder))
    # Not Path.exists, which raises for a name that is too long.
    if not os.path.exists(folder):
        if not os.path.isdir(folder.parent):
            raise OperationalError(
                f"cannot make the store {folder}: there is no folder {folder.parent}",
                hint="Make that folder first, or check the path.",
                code="58P01",
            )
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OperationalError(
                f"cannot make the store {folder}: {error.strerror}", code="58030"
            ) from error
        durable.sync_folder(folder.parent)
    if not folder.is_dir():
        raise OperationalError(
            f"{folder} is not a MemQL store: it is a file", hint=hint, code="42809"
        )
    try:
        names = set(os.listdir(folder))
    except OSError as error:
        raise OperationalError(
            f"cannot open the store {folder}: {error.strerror}", code="58030"
        ) from error
    # A crash while the store was made leaves these behind.
    unfinished = {FILE_NAME, _NEW_CATALOG, f"{_NEW_CATALOG}.wal"}
    if CATALOG not in names and names - unfinished:
        raise OperationalError(
            f"{folder} is not a MemQL store: it holds {len(names)} files or folders, "
            f"but no {CATALOG}",
            hint=hint,
            code="42809",
        )


def connect(name: str, folder: Path | None, limits: Limits) -> duckdb.DuckDBPyConnection:
    import duckdb

    # A store in memory writes nothing to the disk: what does not fit is an error.
    config = _CONFIG | {
        "memory_limit": f"{limits.memory_bytes}B",
        "threads": limits.threads,
        "temp_directory": "" if folder is None else str(folder / SPILL),
        "max_temp_directory_size": f"{limits.spill_bytes}B",
    }
    if folder is None:
        connection = duckdb.connect(MEMORY, config=config)
    else:
        # A crash leaves texts of memories there, and DuckDB does not look at it again.
        for left in (SPILL, SCRATCH):
            shutil.rmtree(folder / left, ignore_errors=True)
        if not (folder / CATALOG).exists():
            _make_catalog(folder)
        try:
            connection = duckdb.connect(str(folder / CATALOG), config=config)
        except duckdb.Error as error:
            found = str(error).strip().splitlines()[0]
            if "Could not set lock" in found:
                raise OperationalError(
                    f"the catalog of the store {name} is opened by another program: {found}",
                    hint="Close the program that has catalog.duckdb open.",
                    code="55006",
                ) from error
            raise OperationalError(
                f"the store {name} is damaged: its catalog.duckdb cannot be opened: {found}",
                hint="Restore the folder from a copy.",
                code="XX001",
            ) from error
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    return connection


def _make_catalog(folder: Path) -> None:
    """Make an empty catalog under another name first, so that no crash leaves half of one."""
    import duckdb

    new = folder / _NEW_CATALOG
    new.unlink(missing_ok=True)
    Path(f"{new}.wal").unlink(missing_ok=True)
    try:
        duckdb.connect(str(new), config=_CONFIG).close()
        durable.sync_file(new)
        os.replace(new, folder / CATALOG)
        durable.sync_folder(folder)
    except (duckdb.Error, OSError) as error:
        raise OperationalError(f"cannot make the store {folder}: {error}", code="58030") from error
