"""A prompt into a model's cache: loaded as far as it pays, computed, and kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from memql.engine.choice import NOTHING, Choice, Match, Way, is_cheaper, match, way_to, ways
from memql.engine.context import StatementContext
from memql.engine.model.spec import LAYOUT, ModelSpec
from memql.engine.prompt import Prompt
from memql.engine.run.statement import Statement
from memql.storage.nodes import DamagedNode, LayerHeader, NodeGone, NodeHeader
from memql.storage.store import Store

if TYPE_CHECKING:
    from memql.engine.model.prefix import Prefix
    from memql.engine.model.runtime import Runtime
    from memql.engine.run.executor import Materialized
    from memql.storage.activations import Activations

# Of prompts that are held because others of the statement may begin like them.
MOST_HELD_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Brought:
    """A prompt inside a model's cache, and what it took.

    Args:
        prefix: head and segments as KV.
        way: how it came there.
        load_seconds: time to load what was loaded.
        compute_seconds: time to compute the rest.
        copied: whether it begins like an earlier prompt of the statement, and that was copied.
    """

    prefix: Prefix
    way: Way
    load_seconds: float
    compute_seconds: float
    copied: bool = False


class Sharing:
    """The prompts of one statement whose keys and values are in memory: others begin like them."""

    def __init__(self) -> None:
        self._held: list[tuple[frozenset[bytes], Prefix]] = []

    def add(self, prompt: Prompt, prefix: Prefix) -> None:
        """Hold a prompt for those that come; the oldest make room.

        Args:
            prompt: head and segments.
            prefix: their keys and values; nothing may be changed in it but behind them.
        """
        if prefix.stores_tokens:
            self._held.append((frozenset(key for key, _ in prompt.boundaries), prefix))
        while sum(held.bytes for _, held in self._held) > MOST_HELD_BYTES:
            del self._held[0]

    def longest(self, prompt: Prompt) -> tuple[Match, Prefix] | None:
        """Return the deepest boundary that a prompt has in common with one held, and that one."""
        boundaries = prompt.boundaries
        for segments in range(len(boundaries) - 1, -1, -1):
            key, tokens = boundaries[segments]
            for keys, prefix in self._held:
                if tokens and key in keys:
                    return Match(key, segments, tokens), prefix
        return None


def bring(
    prompt: Prompt,
    form: str,
    runtime: Runtime,
    statement: Statement,
    room_tokens: int,
    sharing: Sharing | None = None,
) -> Brought:
    """Load what is stored of a prompt as far as it pays, and compute the rest.

    Text is computed as a whole. It is split where an activation is, so that both forms add in the
    same order. A damaged node is quarantined and its tokens are computed from text.

    Args:
        prompt: head and segments.
        form: ACTIVATION or PLAINTEXT.
        runtime: the model.
        room_tokens: room to leave for question and answer.
        sharing: earlier prompts of the statement, whose common beginning is copied; None where
            nothing is shared.
    """
    store, context = statement.store, statement.context
    prefix = runtime.prefix(prompt.tokens + room_tokens)
    started = time.perf_counter()
    calibration = statement.calibration(runtime.spec)
    shared = None if sharing is None or not prefix.stores_tokens else sharing.longest(prompt)
    sound, is_copied = True, False
    while True:
        # Matched anew: an earlier prompt of this statement may have stored a part of this one.
        found = match(prompt, store) if form == "ACTIVATION" else NOTHING
        way = ways(prompt, found, store, calibration)[0]
        if shared is not None:
            copied = way_to(prompt.tokens, shared[0], 0, 0, calibration)
            if is_cheaper(copied, way):
                prefix.copy(shared[1], copied.match.tokens)
                way, is_copied = copied, True
                break
        if way.match.key is None:
            break
        try:
            load_chain(way.match.key, prefix, store.activations)
            break
        except DamagedNode as damage:
            sound = False
            prefix.truncate(0)
            store.activations.quarantine(damage.node_id, damage.message)
        except NodeGone:
            sound = False
            prefix.truncate(0)
    loaded = time.perf_counter()
    ids = prompt.ids[way.match.tokens :]
    if ids:
        runtime.extend(prefix, ids, on_progress=context.progress, check_cancel=context.check_cancel)
    ended = time.perf_counter()
    if sound:
        observe = statement.calibrations.observe
        observe(runtime.spec, "load", way.load_seconds, loaded - started)
        observe(runtime.spec, "compute", way.compute_seconds, ended - loaded)
    if sharing is not None:
        sharing.add(prompt, prefix)
    return Brought(prefix, way, loaded - started, ended - loaded, is_copied)


def load_chain(key: bytes, prefix: Prefix, activations: Activations) -> None:
    """Load the nodes that lead to a boundary into an empty prefix.

    Raises:
        DamagedNode: stored bytes are not those that were written.
        NodeGone: the boundary is no longer there.
    """
    slices = activations.chain(key)
    prefix.load(
        [(part.node.header.tokens, part.take_tokens) for part in slices],
        activations.read_chain(slices),
        dtype=slices[0].node.header.dtype,
    )


def load_again(made: Materialized, room_tokens: int, store: Store) -> Prefix:
    """Return a fresh prefix with an activation that was made before.

    What is no longer stored is computed again from its token ids.

    Args:
        made: the activation.
        room_tokens: room to leave behind it.
    """
    from memql.engine.model.runtime import load_runtime

    runtime = load_runtime(made.spec)
    prefix = runtime.prefix(made.tokens + room_tokens)
    if made.key is not None and prefix.stores_tokens:
        try:
            load_chain(bytes.fromhex(made.key), prefix, store.activations)
        except DamagedNode as damage:
            store.activations.quarantine(damage.node_id, damage.message)
            prefix.truncate(0)
        except NodeGone:
            prefix.truncate(0)
    if prefix.tokens == 0:
        runtime.extend(prefix, list(made.token_ids))
    return prefix


def keep(
    prompt: Prompt,
    choice: Choice,
    brought: Brought,
    spec: ModelSpec,
    store: Store,
    context: StatementContext,
    *,
    shared: bool,
) -> bool:
    """Store what was computed if ``choice`` says so; tell whether all of the prompt is stored now.

    Where a row is another owner's, what others have stored is no answer.

    The prefix must be as :func:`bring` left it; generating from it changes nothing in it.

    Raises:
        OperationalError: the disk or the catalog failed; nothing is kept.
    """
    if not brought.way.computed_tokens and (choice.keep or not shared):
        return True
    if not choice.keep:
        return False
    # Where computing was cheaper than loading, a part of what was computed is stored already.
    prefix, found = brought.prefix, match(prompt, store)
    start, stop = found.tokens, prompt.tokens
    if start == stop:
        return True
    layers = tuple(LayerHeader(*shape) for shape in prefix.layer_shapes(start, stop))
    header = NodeHeader(spec.model_digest, spec.dtype, LAYOUT, stop - start, layers)
    # An empty head has no token and so no boundary of its own.
    boundaries = [(key, tokens - start) for key, tokens in prompt.boundaries if tokens > start]
    store.activations.put(
        header,
        found.key,
        start,
        boundaries,
        _lineage(prompt, found),
        prefix.payload(start, stop),
        context.owner,
    )
    return match(prompt, store).segments == len(prompt.segments)


def _lineage(prompt: Prompt, found: Match) -> Sequence[tuple[UUID, int]]:
    """The (memory id, version) pairs of the segments that the new node holds.

    What its tokens took from the segments before it is named by the nodes that it continues: a
    node does not outlive its parent.
    """
    members = (m for segment in prompt.segments[found.segments :] for m in segment.row.members)
    return list(dict.fromkeys((member.id, member.version) for member in members))
