"""Rows to token ids, kept so that nothing is tokenized twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import numpy as np

from memql.engine.model.spec import ModelSpec
from memql.engine.model.tokens import Tokens
from memql.engine.order import reuse_order
from memql.engine.prompt import ID_TYPE, Prompt, Row, assemble, mark_of
from memql.storage import segments as catalog
from memql.storage.store import Store

SegmentKey = tuple[UUID, int, bytes]

# About 100 MB of ids at 25 tokens a row; past it the memory of this process starts anew.
MAX_REMEMBERED = 500_000
# Rows whose tokens are counted at once: what lies behind a limit is not tokenized in vain.
LEADING_ROWS = 64
LEADING_CHARACTERS = 64 * 1024


class Segments:
    """The token ids of rows, in memory and in the catalog.

    Args:
        store: the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, dict[SegmentKey, tuple[int, ...]]] = {}
        self._tokens: dict[ModelSpec, Tokens] = {}

    def tokens(self, spec: ModelSpec) -> Tokens:
        """Return the tokenizer of a model."""
        if spec not in self._tokens:
            self._tokens[spec] = Tokens(spec)
        return self._tokens[spec]

    def prompt(
        self,
        rows: Sequence[Row],
        spec: ModelSpec,
        owner: str,
        *,
        for_reuse: bool = False,
        write: bool = True,
    ) -> Prompt:
        """Return the prompt of rows that are in prompt order.

        Args:
            rows: rendered rows.
            spec: the model.
            owner: who asks.
            for_reuse: whether their order may change, for the longest prefix that is stored.
            write: whether ids that are new may be kept in the catalog.
        """
        head = self.tokens(spec).head
        root_key = spec.root_key(head)
        ids = self._ids(rows, spec, write=write)
        marks = [mark_of(row, one, owner) for row, one in zip(rows, ids, strict=True)]
        if for_reuse:
            tree = self._store.activations.tree
            order = reuse_order(marks, [len(one) for one in ids], root_key, tree)
            rows, ids = [rows[i] for i in order], [ids[i] for i in order]
            marks = [marks[i] for i in order]
        return assemble(rows, ids, marks, head, root_key)

    def leading(
        self,
        rows: Sequence[Row | None],
        spec: ModelSpec,
        room_tokens: int,
        check_cancel: Callable[[], None],
        *,
        write: bool = True,
    ) -> tuple[int, int]:
        """Return how many leading rows fit, and the tokens of their segments.

        Args:
            rows: rendered rows in their order; None for a row without text, which has no token.
            spec: the model whose tokens are counted.
            room_tokens: tokens that there is room for.
            check_cancel: raises what ends the counting.
            write: whether ids that are new may be kept in the catalog.
        """
        used = 0
        for start, stop in _parts(rows):
            check_cancel()
            part = rows[start:stop]
            ids = iter(self._ids([row for row in part if row is not None], spec, write=write))
            for number, row in enumerate(part, start=start):
                tokens = 0 if row is None else len(next(ids))
                if used + tokens > room_tokens:
                    return number, used
                used += tokens
        return len(rows), used

    def _ids(self, rows: Sequence[Row], spec: ModelSpec, *, write: bool) -> list[Sequence[int]]:
        tokens = self.tokens(spec)
        known = self._known.setdefault(spec.tokenizer_digest, {})
        keys = [_key(row, tokens) for row in rows]
        unknown = {key for key in keys if key is not None and key not in known}
        self._recall(spec, [key for key in unknown if key[1] > 0], known)
        new = [i for i, key in enumerate(keys) if key is None or key not in known]
        fresh = dict(
            zip(new, tokens.segments([rows[i].text for i in new]) if new else (), strict=True)
        )
        ids: list[Sequence[int]] = []
        for i, key in enumerate(keys):
            ids.append(fresh[i] if i in fresh else known[key])  # type: ignore[index]
        if write:
            kept = {i for i in fresh if all(member.kept for member in rows[i].members)}
            self._remember(spec, {i: fresh[i] for i in kept}, keys)
        if len(known) > MAX_REMEMBERED:
            known.clear()
        known.update({key: tuple(fresh[i]) for i in fresh if (key := keys[i]) is not None})
        return ids

    def _recall(
        self, spec: ModelSpec, asked: Sequence[SegmentKey], known: dict[SegmentKey, tuple[int, ...]]
    ) -> None:
        if not asked:
            return
        found = catalog.lookup(self._store.cursor(), spec.tokenizer_digest, asked)
        for key, ids in found.items():
            known[key] = tuple(np.frombuffer(ids, dtype=ID_TYPE).tolist())

    def _remember(
        self, spec: ModelSpec, fresh: dict[int, list[int]], keys: Sequence[SegmentKey | None]
    ) -> None:
        segments = {
            key: catalog.Segment(*key, np.asarray(fresh[i], dtype=ID_TYPE).tobytes())
            for i in fresh
            if (key := keys[i]) is not None and key[1] > 0
        }
        if segments:
            # Under the commit lock: two threads that add the same rows would conflict. A reader
            # waits for no writer only to keep what it has counted.
            if not self._store.commit_lock.acquire(blocking=False):
                return
            try:
                catalog.add(self._store.cursor(), spec.tokenizer_digest, list(segments.values()))
            finally:
                self._store.commit_lock.release()


def _parts(rows: Sequence[Row | None]) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of runs of rows that are few and short enough to be counted at once."""
    start = characters = 0
    for number, row in enumerate(rows):
        characters += 0 if row is None else len(row.text)
        if number + 1 - start >= LEADING_ROWS or characters >= LEADING_CHARACTERS:
            yield start, number + 1
            start, characters = number + 1, 0
    if start < len(rows):
        yield start, len(rows)


def _key(row: Row, tokens: Tokens) -> SegmentKey | None:
    """The catalog's key of a row; None for rows of no memory or several, which it cannot name."""
    if len(row.members) != 1:
        return None
    rendered = tokens.segment_text(row.text)
    digest = hashlib.sha256(rendered.encode("utf-8", "surrogatepass")).digest()[:16]
    return row.members[0].id, row.members[0].version, digest
