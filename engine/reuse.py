"""A prompt into a model's cache: loaded as far as it pays, computed, and kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from memql.engine.choice import NOTHING, Choice, Match, Way, match, ways
from memql.engine.context import StatementContext
from memql.engine.model.spec import LAYOUT, ModelSpec
from memql.engine.prompt import Prompt
from memql.engine.run.statement import Statement
from memql.storage.nodes import DamagedNode, LayerHeader, NodeGone, NodeHeader
from memql.storage.store import Store

if TYPE_CHECKING:
    from memql.engine.model.prefix import Prefix
    from memql.engine.model.runtime import Runtime
    from memql.storage.activations import Activations


@dataclass(frozen=True)
class Brought:
    """A prompt inside a model's cache, and what it took.

    Args:
        prefix: head and segments as KV.
        way: how it came there.
        load_seconds: time to load what was loaded.
        compute_seconds: time to compute the rest.
    """

    prefix: Prefix
    way: Way
    load_seconds: float
    compute_seconds: float


def bring(
    prompt: Prompt,
    form: str,
    runtime: Runtime,
    statement: Statement,
    room_tokens: int,
) -> Brought:
    """Load what is stored of a prompt as far as it pays, and compute the rest.

    Text is computed as a whole. It is split where an activation is, so that both forms add in the
    same order. A damaged node is quarantined and its tokens are computed from text.

    Args:
        prompt: head and segments.
        form: ACTIVATION or PLAINTEXT.
        runtime: the model.
        room_tokens: room to leave for question and answer.
    """
    store, context = statement.store, statement.context
    prefix = runtime.prefix(prompt.tokens + room_tokens)
    started = time.perf_counter()
    calibration = statement.calibrations.known(runtime.spec)
    way, sound = ways(prompt, NOTHING, store, calibration)[0], True
    while form == "ACTIVATION":
        # Matched anew: an earlier prompt of this statement may have stored a part of this one.
        way = ways(prompt, match(prompt, store), store, calibration)[0]
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
    return Brought(prefix, way, loaded - started, ended - loaded)


def load_chain(key: bytes, prefix: Prefix, activations: Activations) -> None:
    """Load the nodes that lead to a boundary into an empty prefix.

    Raises:
        DamagedNode: stored bytes are not those that were written.
        NodeGone: the boundary is no longer there.
    """
    slices = activations.chain(key)
    layers = list(activations.read_chain(slices))
    for number, part in enumerate(slices):
        header = part.node.header
        prefix.load(
            header.tokens,
            part.take_tokens,
            iter([layer[number] for layer in layers]),
            dtype=header.dtype,
        )


def load_again(
    key: str | None, token_ids: Sequence[int], prefix: Prefix, runtime: Runtime, store: Store
) -> None:
    """Fill an empty prefix with an activation that was made before; what is gone is computed anew.

    Args:
        key: its boundary, hex; None for one that was not stored.
        token_ids: all of its tokens.
    """
    if key is not None:
        try:
            load_chain(bytes.fromhex(key), prefix, store.activations)
        except DamagedNode as damage:
            store.activations.quarantine(damage.node_id, damage.message)
            prefix.truncate(0)
        except NodeGone:
            prefix.truncate(0)
    if prefix.tokens == 0:
        runtime.extend(prefix, list(token_ids))


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
