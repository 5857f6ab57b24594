"""The audit: rows that are only ever added, each bound to the one before by its hash."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

ORIGIN = bytes(32)  # the prev_hash of the first row


def append(
    cursor: duckdb.DuckDBPyConnection,
    user: str,
    action: str,
    target: str,
    detail: Mapping[str, str | int],
) -> None:
    """Add a row to the audit, inside the cursor's transaction.

    The caller holds the store's commit lock until the transaction has ended: two writers that
    both follow the same row would fork the chain.

    Args:
        cursor: a cursor with an open transaction.
        user: who did it.
        action: what was done, such as "quarantine".
        target: to what, such as "node 7".
        detail: figures and reasons; statements only normalized, without literals.
    """
    last = cursor.execute("SELECT seq, hash FROM _memql.audit ORDER BY seq DESC LIMIT 1").fetchone()
    seq, prev_hash = (last[0] + 1, last[1]) if last else (1, ORIGIN)
    at_micros = time.time_ns() // 1000
    text = json.dumps(dict(detail), sort_keys=True)
    digest = _hash(prev_hash, seq, at_micros, user, action, target, text)
    cursor.execute(
        "INSERT INTO _memql.audit SELECT ?, make_timestamptz(?), ?, ?, ?, ?, ?, ?",
        [seq, at_micros, user, action, target, text, prev_hash, digest],
    )


def first_broken(cursor: duckdb.DuckDBPyConnection) -> int | None:
    """The number of the first audit row that was changed, or follows one that is gone.

    Args:
        cursor: a cursor of the store.

    Returns:
        the row's `seq`; None when the chain is whole. Rows cut from the end cannot be seen here.
    """
    rows = cursor.execute(
        'SELECT seq, epoch_us("at"), user_name, action, target, detail, prev_hash, hash'
        " FROM _memql.audit ORDER BY seq"
    ).fetchall()
    expected, prev_hash = 1, ORIGIN
    for seq, at_micros, user, action, target, detail, found_prev, found in rows:
        digest = _hash(prev_hash, seq, at_micros, user, action, target, detail)
        if seq != expected or found_prev != prev_hash or found != digest:
            return int(seq)
        expected, prev_hash = seq + 1, found
    return None


def _hash(
    prev_hash: bytes, seq: int, at_micros: int, user: str, action: str, target: str, detail: str
) -> bytes:
    row = json.dumps([seq, at_micros, user, action, target, detail])
    return hashlib.sha256(prev_hash + row.encode()).digest()
