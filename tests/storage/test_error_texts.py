"""Errors of the store that only a failing disk, a failing library or a bug brings about."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import NoReturn

import duckdb
import pytest

from memql.errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InternalError,
    OperationalError,
)
from memql.storage import tensors, transaction
from memql.storage.failures import translate
from memql.storage.store import Store
from memql.storage.tensors import Tensors, TensorsFailed


@pytest.mark.parametrize(
    ("found", "kind", "code", "text"),
    [
        (
            duckdb.TransactionException("Conflict on tuple deletion!"),
            OperationalError,
            "40001",
            "another transaction changed the same rows (Conflict on tuple deletion!)",
        ),
        (
            duckdb.TransactionException("Could not write file: No space left on device"),
            OperationalError,
            "53100",
            "hint: Make room on the disk and run it again.",
        ),
        (
            duckdb.TransactionException("Failed to commit: Cannot open file catalog.duckdb.wal"),
            OperationalError,
            "58030",
            "hint: The transaction was rolled back. Look at the folder of the store and its disk.",
        ),
        (
            duckdb.TransactionException(
                "Failed to commit: PRIMARY KEY or UNIQUE constraint violation: duplicate key"
            ),
            OperationalError,
            "40001",
            "another transaction changed the same rows",
        ),
        (
            duckdb.TransactionException("Current transaction is aborted (please ROLLBACK)"),
            OperationalError,
            "25P02",
            "hint: An error ended the transaction: ROLLBACK it.",
        ),
        (
            duckdb.InterruptException("Interrupted!"),
            OperationalError,
            "57014",
            "the statement was interrupted",
        ),
        (
            duckdb.OutOfMemoryException("could not allocate block"),
            OperationalError,
            "53200",
            "could not allocate block",
        ),
        (
            duckdb.ConstraintException('duplicate key "1"'),
            IntegrityError,
            "23505",
            'duplicate key "1"',
        ),
        (
            duckdb.ConstraintException("CHECK constraint failed"),
            IntegrityError,
            "23000",
            "CHECK constraint failed",
        ),
        (duckdb.ConversionException("no number"), DataError, "22000", "no number"),
        (
            duckdb.InternalException("index out of bounds"),
            InternalError,
            "XX000",
            "hint: Close the store and open it again.",
        ),
        (duckdb.IOException("Input/output error"), OperationalError, "58030", "Input/output error"),
        (duckdb.ConnectionException("no database"), OperationalError, "58000", "no database"),
        (duckdb.SequenceException(""), DatabaseError, "XX000", "SequenceException"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, duckdb.Error) else "",
)
def test_each_kind_of_failure(found: duckdb.Error, kind: type[Error], code: str, text: str) -> None:
    error = translate(found, "insert 3 memories")
    assert type(error) is kind
    assert error.code == code
    assert error.message.startswith("cannot insert 3 memories: ")
    assert text in str(error)


def fail(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))


def test_a_file_system_without_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: fail(errno.ENOLCK))
    with pytest.raises(OperationalError, match="cannot be locked: No locks available") as raised:
        Store.open(tmp_path / "s")
    assert raised.value.hint == "Put the store on a file system that supports flock."
    assert raised.value.code == "58030"


def test_a_store_folder_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="cannot make the store .*: File name too long"):
        Store.open(tmp_path / ("s" * 300))


def test_a_store_folder_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "listdir", lambda *_: fail(errno.EACCES))
    with pytest.raises(OperationalError, match="cannot open the store .*: Permission denied"):
        Store.open(tmp_path)


def test_a_catalog_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object, **__: object) -> NoReturn:
        raise duckdb.IOException("Cannot open file: No space left on device")

    monkeypatch.setattr(duckdb, "connect", connect)
    with pytest.raises(OperationalError, match="cannot make the store .*: .*No space left"):
        Store.open(tmp_path / "s")


def test_rows_that_are_not_where_they_were_appended(tmp_path: Path) -> None:
    stored = Tensors(tmp_path / "t.lance", is_durable=False)
    stored.append(1, [b"k", b"v"])
    assert stored._first_row(stored._open(), 1) >= 0
    with pytest.raises(TensorsFailed, match="rows of node 2 are not where they were appended"):
        stored._first_row(stored._open(), 2)


class PanicException(BaseException):
    """Named as what a panic in Lance becomes."""


def test_a_panic_in_lance() -> None:
    with pytest.raises(TensorsFailed, match="cannot read 3 layers: index out of range"):
        with tensors._lance_errors("read 3 layers"):
            raise PanicException("index out of range")
    with pytest.raises(KeyboardInterrupt):
        with tensors._lance_errors("read 3 layers"):
            raise KeyboardInterrupt


def test_a_catalog_that_fails_while_an_activation_is_kept() -> None:
    cursor = duckdb.connect()
    with pytest.raises(DatabaseError, match="cannot keep an activation: .*nosuch"):
        with transaction.short_transaction(cursor, "keep an activation"):
            cursor.execute("SELECT nosuch")
    # The transaction was ended with the error.
    cursor.execute("BEGIN")
