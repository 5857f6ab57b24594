"""Rows to a prompt: canonical order, segments and the keys of their boundaries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

ID_TYPE = np.dtype("<i4")


@dataclass(frozen=True)
class Member:
    """One memory, in one version, that a row was made from.

    Args:
        created_us: when it was created, in microseconds since 1970.
        kept: whether who asks may keep derived forms of it.
    """

    owner: str
    created_us: int
    id: UUID
    version: int
    kept: bool = True


@dataclass(frozen=True)
class Row:
    """One rendered row.

    Args:
        text: what the model reads.
        members: the memories it was made from, in FROM order; none if it comes from no memory
            or its lineage is not proven.
    """

    text: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Segment:
    """The token ids of one row.

    Args:
        ids: token ids.
        key: of the boundary behind it.
    """

    row: Row
    ids: tuple[int, ...]
    key: bytes


@dataclass(frozen=True)
class Prompt:
    """Head and segments: what is the same for every question over the same rows.

    Args:
        head_ids: token ids before the first segment.
        root_key: key of the boundary behind the head.
        segments: in prompt order.
        shares_head: whether the head alone may be loaded. It comes from no memory: to load it
            would tell a user that somebody has compiled something.
    """

    head_ids: tuple[int, ...]
    root_key: bytes
    segments: tuple[Segment, ...]
    shares_head: bool = True

    @cached_property
    def tokens(self) -> int:
        """Tokens of head and segments."""
        return len(self.head_ids) + sum(len(segment.ids) for segment in self.segments)

    @property
    def ids(self) -> list[int]:
        """Token ids of head and segments."""
        ids = list(self.head_ids)
        for segment in self.segments:
            ids.extend(segment.ids)
        return ids

    @cached_property
    def boundaries(self) -> Sequence[tuple[bytes, int]]:
        """(key, tokens up to it) of each boundary, the root first."""
        tokens = len(self.head_ids)
        boundaries = [(self.root_key, tokens)]
        for segment in self.segments:
            tokens += len(segment.ids)
            boundaries.append((segment.key, tokens))
        return boundaries

    @cached_property
    def members(self) -> Sequence[Member]:
        """The memories of all rows, each once, in prompt order."""
        return list(dict.fromkeys(m for segment in self.segments for m in segment.row.members))


def read_members(lineage: pa.ListArray) -> list[tuple[Member, ...]]:
    """Return the members of each row, each memory once, in FROM order.

    Args:
        lineage: a row's memories, as structs.
    """
    found = lineage.values
    owners, versions, ids = (found.field(name) for name in ("owner", "version", "id"))
    has_kept = "kept" in [field.name for field in found.type]
    members = [
        Member(owner, created_us, UUID(bytes=id_bytes), version, bool(kept))
        for owner, created_us, id_bytes, version, kept in zip(
            owners.to_pylist(),
            # As numbers: a datetime for each of them takes longer than all the rest.
            found.field("created_at").cast("int64").to_pylist(),
            ids.storage.to_pylist(),
            versions.to_pylist(),
            found.field("kept").to_pylist() if has_kept else repeat(True),
            strict=False,
        )
    ]
    rows = [members[start:stop] for start, stop in bounds_of(lineage)]
    return [tuple(row if len(row) < 2 else dict.fromkeys(row)) for row in rows]


def bounds_of(lists: pa.ListArray) -> Iterator[tuple[int, int]]:
    """Yield for each list where it begins and ends in ``lists.values``; NULL is an empty one."""
    offsets = lists.offsets.to_pylist()
    for start, stop, is_null in zip(
        offsets, offsets[1:], lists.is_null().to_pylist(), strict=False
    ):
        yield start, start if is_null else stop


def canonical_order(rows: Sequence[Row], owner: str) -> list[Row]:
    """Return rows in the order in which the prompt holds them if the query names none.

    Rows of other owners first, by owner, the user's own last, then by creation: shared memories
    make a shared prefix, and new ones append. Rows from no memory come last, by their text.

    Args:
        rows: in any order.
        owner: the user's own.
    """

    def place(row: Row) -> tuple[Any, ...]:
        if not row.members:
            return (1, (), row.text)
        members = [(m.owner == owner, m.owner, m.created_us, m.id.bytes) for m in row.members]
        return (0, members, row.text)

    return sorted(rows, key=place)


def mark_of(row: Row, ids: Sequence[int], owner: str) -> bytes:
    """Return what a segment adds to the key of the boundary before it.

    The ids of its memories and the digest of its token ids: whoever reaches the boundary behind
    it has just selected exactly those memories with those texts.

    Args:
        row: the row.
        ids: its token ids.
        owner: who asks; part of the mark of rows that come from no memory.
    """
    digest = hashlib.sha256(np.asarray(ids, dtype=ID_TYPE).tobytes()).digest()
    if row.members:
        who = b"m" + b"".join(member.id.bytes for member in row.members)
    else:
        who = b"u" + owner.encode()
    return len(who).to_bytes(4, "little") + who + digest


def next_key(parent: bytes, mark: bytes) -> bytes:
    """Return the key of the boundary behind a segment: SHA-256 of the parent's key and the mark."""
    return hashlib.sha256(parent + mark).digest()


def assemble(
    rows: Sequence[Row],
    row_ids: Sequence[Sequence[int]],
    marks: Sequence[bytes],
    head_ids: Sequence[int],
    root_key: bytes,
) -> Prompt:
    """Return the prompt of rows that are in prompt order.

    Args:
        rows: rendered rows.
        row_ids: the token ids of each row's segment.
        marks: what each segment adds to the key of the boundary before it.
        head_ids: token ids before the first segment.
        root_key: the model's key for that head.
    """
    segments = []
    key = root_key
    for row, ids, mark in zip(rows, row_ids, marks, strict=True):
        key = next_key(key, mark)
        segments.append(Segment(row, tuple(ids), key))
    return Prompt(tuple(head_ids), root_key, tuple(segments))
