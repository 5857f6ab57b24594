"""What DuckDB raises, in MemQL's errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from memql.errors import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InternalError,
    OperationalError,
)

if TYPE_CHECKING:
    import duckdb


# DuckDB has one class for its conflicts and for a COMMIT that the disk has failed; who is told of a
# conflict runs the transaction again, and again.
CONFLICT = (
    "(?i)conflict|(another|different|concurrent|other) transaction|constraint violation"
    "|altered or dropped"
)
_FULL = "Could not write file|No space left|File too large"


def is_conflict(error: duckdb.Error) -> bool:
    """Whether another transaction won a race for the same rows.

    Args:
        error: what DuckDB raised.
    """
    return type(error).__name__ == "TransactionException" and bool(re.search(CONFLICT, str(error)))


def translate(error: duckdb.Error, asked: str) -> Error:
    """The error of MemQL that stands for an error of DuckDB.

    Args:
        error: what DuckDB raised.
        asked: what MemQL was doing, such as "insert 3 memories".
    """
    import duckdb

    found = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, duckdb.TransactionException):
        if is_conflict(error):
            return OperationalError(
                f"cannot {asked}: another transaction changed the same rows ({found})",
                hint="The transaction was rolled back and nothing of it is kept: run it again.",
                code="40001",
            )
        if re.search(_FULL, found):
            return OperationalError(
                f"cannot {asked}: {found}",
                hint="Make room on the disk and run it again.",
                code="53100",
            )
        if "aborted" in found:
            return OperationalError(
                f"cannot {asked}: {found}",
                hint="An error ended the transaction: ROLLBACK it.",
                code="25P02",
            )
        return OperationalError(
            f"cannot {asked}: {found}",
            hint="The transaction was rolled back. Look at the folder of the store and its disk.",
            code="58030",
        )
    if isinstance(error, duckdb.InterruptException):
        return OperationalError(f"cannot {asked}: the statement was interrupted", code="57014")
    if isinstance(error, duckdb.OutOfMemoryException):
        return OperationalError(f"cannot {asked}: {found}", code="53200")
    if isinstance(error, duckdb.IntegrityError):
        taken = "duplicate key" in found.lower()
        return IntegrityError(f"cannot {asked}: {found}", code="23505" if taken else "23000")
    if isinstance(error, duckdb.DataError):
        return DataError(f"cannot {asked}: {found}")
    if isinstance(error, duckdb.InternalError):
        return InternalError(f"cannot {asked}: {found}", hint="Close the store and open it again.")
    if isinstance(error, duckdb.IOException):
        return OperationalError(f"cannot {asked}: {found}", code="58030")
    if isinstance(error, duckdb.OperationalError):
        return OperationalError(f"cannot {asked}: {found}")
    return DatabaseError(f"cannot {asked}: {found}")
