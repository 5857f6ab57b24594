"""Token ids of rendered rows, kept so that nothing is tokenized twice."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

ID_BYTES = 4  # int32, little endian

SegmentKey = tuple[uuid.UUID, int, bytes]


@dataclass(frozen=True)
class Segment:
    """The token ids of one rendered row.

    Args:
        memory_id: the memory it was rendered from.
        version: the memory's version.
        rendering: 16-byte digest of the rendered text.
        ids: the token ids, int32, little endian.
    """

    memory_id: uuid.UUID
    version: int
    rendering: bytes
    ids: bytes

    @property
    def tokens(self) -> int:
        """How many tokens."""
        return len(self.ids) // ID_BYTES

    @property
    def digest(self) -> bytes:
        """16-byte digest of the token ids."""
        return hashlib.blake2b(self.ids, digest_size=16).digest()


def lookup(
    cursor: duckdb.DuckDBPyConnection, tokenizer: str, rows: Sequence[SegmentKey]
) -> dict[SegmentKey, bytes]:
    """The token ids of those rows that were tokenized before.

    Args:
        cursor: a cursor of the store.
        tokenizer: the digest of the tokenizer.
        rows: (memory id, version, 16-byte digest of the rendered text).

    Returns:
        token ids as int32, little endian; rows that are not known, or whose ids no longer match
        their digest, are not in it.
    """
    if not rows:
        return {}
    found = cursor.execute(
        """
        WITH asked AS (
            SELECT DISTINCT unnest($1::UUID[]) AS memory_id, unnest($2::BIGINT[]) AS version,
                unnest($3::BLOB[]) AS rendering
        )
        SELECT s.memory_id, s.version, s.rendering, s.ids, s.digest
        FROM _memql.segments AS s JOIN asked USING (memory_id, version, rendering)
        WHERE s.tokenizer = $4
        """,
        [
            [memory_id for memory_id, _, _ in rows],
            [version for _, version, _ in rows],
            [rendering for _, _, rendering in rows],
            tokenizer,
        ],
    ).fetchall()
    segments = {Segment(*row[:4]): row[4] for row in found}
    return {
        (segment.memory_id, segment.version, segment.rendering): segment.ids
        for segment, digest in segments.items()
        if segment.digest == digest
    }


def add(cursor: duckdb.DuckDBPyConnection, tokenizer: str, segments: Sequence[Segment]) -> None:
    """Keep the token ids of rows; those already known stay as they are.

    Args:
        cursor: a cursor of the store; the rows belong to its transaction.
        tokenizer: the digest of the tokenizer.
        segments: what to keep.

    Raises:
        duckdb.TransactionException: another transaction is adding the same rows.
    """
    if not segments:
        return
    cursor.execute(
        """
        INSERT INTO _memql.segments (memory_id, version, rendering, tokenizer, tokens, ids, digest)
        SELECT unnest($1::UUID[]), unnest($2::BIGINT[]), unnest($3::BLOB[]), $4,
            unnest($5::INTEGER[]), unnest($6::BLOB[]), unnest($7::BLOB[])
        ON CONFLICT DO NOTHING
        """,
        [
            [segment.memory_id for segment in segments],
            [segment.version for segment in segments],
            [segment.rendering for segment in segments],
            tokenizer,
            [segment.tokens for segment in segments],
            [segment.ids for segment in segments],
            [segment.digest for segment in segments],
        ],
    )
