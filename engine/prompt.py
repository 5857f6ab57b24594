"""Rows to a prompt: canonical order, segments and the keys of their boundaries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np

ID_TYPE = np.dtype("<i4")


@dataclass(frozen=True)
class Member:
    """One memory, in one version, that a row was made from.

    Args:
        kept: whether who asks may keep derived forms of it.
    """

    owner: str
    created_at: datetime
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

    @property
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

    @property
    def boundaries(self) -> list[tuple[bytes, int]]:
        """(key, tokens up to it) of each boundary, the root first."""
        tokens = len(self.head_ids)
        boundaries = [(self.root_key, tokens)]
        for segment in self.segments:
            tokens += len(segment.ids)
            boundaries.append((segment.key, tokens))
        return boundaries

    @property
    def members(self) -> list[Member]:
        """The memories of all rows, each once, in prompt order."""
        return list(dict.fromkeys(m for segment in self.segments for m in segment.row.members))


def read_members(lineage: Sequence[Mapping[str, Any]] | None) -> tuple[Member, ...]:
    """Return the members in a row's lineage column, each memory once, in FROM order."""
    members = (
        Member(
            item["owner"],
            item["created_at"],
            UUID(str(item["id"])),
            item["version"],
            bool(item.get("kept", True)),
        )
        for item in lineage or ()
    )
    return tuple(dict.fromkeys(members))


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
        members = [(m.owner == owner, m.owner, m.created_at, m.id.bytes) for m in row.members]
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
