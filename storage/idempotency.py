"""Keys by which a write that is tried again is known: each is of one memory, for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from memql.errors import OperationalError
from memql.storage.failures import translate

if TYPE_CHECKING:
    import duckdb

# The column of INSERT INTO memories; no query reads it.
KEY_COLUMN = "idempotency_key"

KeyName = tuple[str, str]


@dataclass(frozen=True)
class Written:
    """What was written under a key.

    Args:
        memory_id: of the memory.
        digest: of what the statement gave.
    """

    memory_id: str
    digest: bytes


def lookup(cursor: duckdb.DuckDBPyConnection, names: Sequence[KeyName]) -> dict[KeyName, Written]:
    """Return what was written under keys; one that is new is missing.

    Args:
        cursor: in whose transaction they are looked up.
        names: (whose key, key).
    """
    rows = cursor.execute(
        "SELECT k.owner, k.key, k.memory_id, k.digest FROM _memql.idempotency_keys AS k "
        "JOIN (SELECT unnest($1::VARCHAR[]) AS owner, unnest($2::VARCHAR[]) AS key) AS asked "
        "ON k.owner = asked.owner AND k.key = asked.key",
        [[owner for owner, _ in names], [key for _, key in names]],
    ).fetchall()
    return {(owner, key): Written(str(memory), digest) for owner, key, memory, digest in rows}


def add(
    cursor: duckdb.DuckDBPyConnection, written: Mapping[KeyName, Written], now: datetime
) -> None:
    """Keep new keys, in the transaction that writes their memories.

    Raises:
        OperationalError: another transaction used one of them meanwhile.
    """
    import duckdb

    try:
        cursor.execute(
            "INSERT INTO _memql.idempotency_keys SELECT unnest($1::VARCHAR[]), "
            "unnest($2::VARCHAR[]), unnest($3::UUID[]), unnest($4::BLOB[]), $5",
            [
                [owner for owner, _ in written],
                [key for _, key in written],
                [one.memory_id for one in written.values()],
                [one.digest for one in written.values()],
                now,
            ],
        )
    except duckdb.ConstraintException as error:
        raise OperationalError(
            "another transaction used one of these idempotency keys meanwhile",
            hint="ROLLBACK and try again: the memory is there then",
            code="40001",
        ) from error
    except duckdb.Error as error:
        raise translate(error, "keep idempotency keys") from error
