"""The administrator's door: files are read and written in folders that were named at connect().

A store's own DuckDB is locked and reaches no file. What a statement reads comes through another
one, in memory, that reaches these folders alone and holds nothing else.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from memql.engine.names import quote
from memql.engine.result import arrow_of, scannable
from memql.errors import InterfaceError, NotSupportedError, OperationalError, ProgrammingError

if TYPE_CHECKING:
    import pyarrow as pa

# The functions that read files, and the format that each reads.
READERS: dict[str, str] = {
    "read_parquet": "parquet",
    "parquet_scan": "parquet",
    "read_json": "json",
    "read_json_auto": "json",
    "read_ndjson": "json",
    "read_csv": "csv",
    "read_csv_auto": "csv",
}

_READ_OPTIONS: dict[str, frozenset[str]] = {
    "parquet": frozenset({"binary_as_string", "filename", "hive_partitioning", "union_by_name"}),
    "json": frozenset(
        "columns compression convert_strings_to_integers dateformat filename format "
        "hive_partitioning ignore_errors maximum_depth maximum_object_size records sample_size "
        "timestampformat union_by_name".split()
    ),
    "csv": frozenset(
        "all_varchar auto_detect columns comment compression dateformat decimal_separator delim "
        "delimiter encoding escape filename header hive_partitioning ignore_errors max_line_size "
        "names normalize_names null_padding nullstr parallel quote sample_size sep skip "
        "strict_mode timestampformat types union_by_name".split()
    ),
}
_WRITE_OPTIONS: dict[str, frozenset[str]] = {
    "parquet": frozenset({"compression", "compression_level", "row_group_size"}),
    "json": frozenset({"array", "compression", "dateformat", "timestampformat"}),
    "csv": frozenset(
        "compression dateformat delim delimiter escape force_quote header nullstr quote sep "
        "timestampformat".split()
    ),
}
# The draft of a file has another ending, by which DuckDB would know it.
_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
FORMATS = tuple(_WRITE_OPTIONS)
_BY_ENDING = {".parquet": "parquet", ".json": "json", ".jsonl": "json", ".ndjson": "json"}


def format_of(path: str) -> str:
    """Return the format that the name of a file tells: parquet, json or csv."""
    ending = next((one for one in Path(path).suffixes if one.lower() in _BY_ENDING), "")
    return _BY_ENDING.get(ending.lower(), "csv")


@dataclass(frozen=True)
class Door:
    """Reads and writes files below some folders.

    Args:
        folders: without links and ``..``.
        store: the store's own folder, in which nothing is read or written.
    """

    folders: tuple[str, ...]
    store: str | None

    @classmethod
    def to(cls, folders: Sequence[str | os.PathLike[str]], store: str | None) -> Door:
        """Open the door to some folders.

        Raises:
            InterfaceError: a folder is not there, or it is in the store's own.
        """
        if isinstance(folders, str | os.PathLike):
            raise InterfaceError(
                "allowed_folders takes a list of folders",
                hint=f"allowed_folders=[{os.fspath(folders)!r}]",
                code="22023",
            )
        real = tuple(os.path.realpath(folder) for folder in folders)
        for given, found in zip(folders, real, strict=True):
            if not os.path.isdir(found):
                raise InterfaceError(
                    f"the allowed folder {os.fspath(given)} is not a folder that is there",
                    hint="make it first, and name folders, not files",
                    code="58P01",
                )
            if store is not None and _is_inside(found, store):
                raise InterfaceError(
                    f"the allowed folder {os.fspath(given)} is a part of the store",
                    hint="name a folder outside of the store's",
                    code="42501",
                )
        return cls(real, None if store is None else os.path.realpath(store))

    def columns(self, function: str, paths: Sequence[str], options: Mapping[str, str]) -> list[str]:
        """Return the names of the columns that :meth:`read` gives."""
        return list(self.read(function, paths, options, rows=0).column_names)

    def read(
        self,
        function: str,
        paths: Sequence[str],
        options: Mapping[str, str],
        rows: int | None = None,
    ) -> pa.Table:
        """Return the rows of files.

        Args:
            function: one of READERS.
            paths: names of files; ``*`` and ``?`` stand for several.
            options: printed literals by name.
            rows: at most so many; None is all.

        Raises:
            ProgrammingError: a file outside of the folders, or an unknown option.
            OperationalError: a file that cannot be read.
        """
        kind = READERS[function.lower()]
        self._check_options(options, _READ_OPTIONS[kind], function)
        files = [name for path in paths for name in self._found(path)]
        with self._opened() as connection:
            limit = "" if rows is None else f" LIMIT {rows}"
            given = "".join(f", {quote(name)} := {value}" for name, value in options.items())
            try:
                running = connection.execute(
                    f"SELECT * FROM {function.lower()}($files{given}){limit}", {"files": files}
                )
                return arrow_of(running)
            except duckdb.Error as error:
                raise _failed(error, "read", ", ".join(paths)) from error

    def write(self, table: pa.Table, path: str, kind: str, options: Mapping[str, str]) -> int:
        """Write rows to a file, whole or not at all; return how many they are.

        Args:
            kind: one of FORMATS.
            options: printed literals by name.

        Raises:
            ProgrammingError: a file outside of the folders, or an unknown option.
            OperationalError: the file cannot be written.
        """
        self._check_options(options, _WRITE_OPTIONS[kind], f"COPY TO a {kind} file")
        target = self._checked(path)
        draft = os.path.join(
            os.path.dirname(target), f".{os.path.basename(target)}.{os.urandom(4).hex()}.part"
        )
        ending = os.path.splitext(target)[1].lower()
        if kind != "parquet" and ending in _COMPRESSED and "compression" not in options:
            options = {**options, "compression": f"'{_COMPRESSED[ending]}'"}
        parts = [f"FORMAT {kind}", *(f"{quote(name)} {value}" for name, value in options.items())]
        with self._opened() as connection:
            connection.register("rows", scannable(table))
            try:
                connection.execute(f"COPY rows TO {_text(draft)} ({', '.join(parts)})")
                os.replace(draft, target)
            except duckdb.Error as error:
                raise _failed(error, "write", path) from error
            except OSError as error:
                raise OperationalError(
                    f"cannot write the file {path}: {error.strerror}", code="58030"
                ) from error
            finally:
                if os.path.exists(draft):
                    os.unlink(draft)
        return int(table.num_rows)

    def _found(self, path: str) -> list[str]:
        """Return the files that a path with ``*`` and ``?`` stands for."""
        if not glob.has_magic(path):
            return [self._checked(path)]
        if not self._is_allowed(path[: min(path.find(sign) % (len(path) + 1) for sign in "*?[")]):
            raise self._outside(path)
        files = [self._checked(found) for found in sorted(glob.glob(path, recursive=True))]
        if not files:
            raise OperationalError(f"no file is called {path}", code="58P01")
        return files

    def _checked(self, path: str) -> str:
        """Return the real name of a file, links followed.

        Raises:
            ProgrammingError: it is outside of the folders, or in the store's own.
        """
        if not self._is_allowed(path):
            raise self._outside(path)
        return os.path.realpath(path)

    def _is_allowed(self, path: str) -> bool:
        if "://" in path or "\0" in path:
            return False
        real = os.path.realpath(path)
        inside = any(_is_inside(real, folder) for folder in self.folders)
        return inside and not (self.store is not None and _is_inside(real, self.store))

    def _outside(self, path: str) -> ProgrammingError:
        return ProgrammingError(
            f"the file {path} is not in a folder that this connection may use",
            hint="allowed are " + ", ".join(self.folders),
            code="42501",
        )

    def _check_options(self, options: Mapping[str, str], known: frozenset[str], what: str) -> None:
        for name in options:
            if name.lower() not in known:
                raise NotSupportedError(
                    f"{what} takes no option {name}",
                    hint="possible are " + ", ".join(sorted(known)),
                )

    def _opened(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(
            ":memory:",
            config={
                "arrow_lossless_conversion": True,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "python_enable_replacements": False,
            },
        )
        folders = ", ".join(_text(folder) for folder in self.folders)
        connection.execute(f"SET allowed_directories = [{folders}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        return connection


def _is_inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _failed(error: duckdb.Error, verb: str, path: str) -> OperationalError:
    message = str(error).split("\n\nLINE ")[0]
    return OperationalError(f"cannot {verb} {path}: {message}", code="58030")
