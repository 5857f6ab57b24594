"""A prompt into a model's cache: loaded as far as it pays, computed, and kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
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
    from memql.engine.model.arrival import Arrival
    from memql.engine.model.prefix import Prefix
    from memql.engine.model.runtime import Runtime
    from memql.engine.run.executor import Materialized
    from memql.storage.activations import Activations

# Of prompts that are held because others of the statement may begin like them.
MOST_HELD_BYTES = 256 * 2**20

# What loads in less is there before a thread has begun.
OVERLAP_SECONDS = 0.005


@dataclass(frozen=True)
class Brought:
    """A prompt inside a model's cache, and what it took.

    Args:
        prefix: head and segments as KV.
        way: how it came there.
        load_seconds: time to load what was loaded.
        compute_seconds: time to compute the rest.
        overlapped_seconds: how long loading went on while a model computed.
        copied: whether it begins like an earlier prompt of the statement, and that was copied.
        arriving: loads the prompt while its block feeds what follows; does nothing where it is
            loaded already.
    """

    prefix: Prefix
    way: Way
    load_seconds: float
    compute_seconds: float
    overlapped_seconds: float = 0.0
    copied: bool = False
    arriving: Callable[[], AbstractContextManager[Arrival | None]] = nullcontext

    def after(self, arrival: Arrival) -> Brought:
        """Return it with how long loading took, after the block of ``arriving``."""
        overlapped_seconds = max(arrival.seconds - arrival.waited_seconds, 0.0)
        return replace(self, load_seconds=arrival.seconds, overlapped_seconds=overlapped_seconds)

    @property
    def seconds(self) -> float:
        """Time of all of it."""
        return self.load_seconds + self.compute_seconds - self.overlapped_seconds


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
    *,
    ahead: bool = False,
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
        ahead: whether a prompt that is stored to its end may be given back before it is loaded:
            who feeds what follows does so inside ``arriving``, and tries again with
            :func:`mend` where that fails.
    """
    store = statement.store
    prefix = runtime.prefix(prompt.tokens + room_tokens)
    started = time.perf_counter()
    calibration = statement.calibration(runtime.spec)
    shared = None if sharing is None or not prefix.stores_tokens else sharing.longest(prompt)
    sound = True
    while True:
        # Matched anew: an earlier prompt of this statement may have stored a part of this one.
        found = match(prompt, store) if form == "ACTIVATION" else NOTHING
        way = ways(prompt, found, store, calibration)[0]
        if shared is not None:
            copied = way_to(prompt.tokens, shared[0], 0, 0, calibration)
            if is_cheaper(copied, way):
                prefix.copy(shared[1], copied.match.tokens)
                loaded_seconds = time.perf_counter() - started
                compute_seconds = _compute(prompt, copied, prefix, runtime, statement)
                brought = Brought(prefix, copied, loaded_seconds, compute_seconds, copied=True)
                break
        try:
            brought = _load_and_compute(prompt, way, prefix, runtime, statement, ahead=ahead)
            break
        except (DamagedNode, NodeGone) as error:
            sound = False
            prefix.truncate(0)
            mend(error, store)
    if sound:
        observe(brought, runtime, statement)
    if sharing is not None:
        sharing.add(prompt, prefix)
    return brought


def observe(brought: Brought, runtime: Runtime, statement: Statement) -> None:
    """Hold how long it took against the estimates; what did not happen yet took no time."""
    way, note = brought.way, statement.calibrations.observe
    note(runtime.spec, "load", way.load_seconds, brought.load_seconds)
    note(runtime.spec, "compute", way.compute_seconds, brought.compute_seconds)


def mend(error: DamagedNode | NodeGone, store: Store) -> None:
    """Let nobody load again what could not be loaded: its tokens are computed from text."""
    if isinstance(error, DamagedNode):
        store.activations.quarantine(error.node_id, error.message)


def _load_and_compute(
    prompt: Prompt,
    way: Way,
    prefix: Prefix,
    runtime: Runtime,
    statement: Statement,
    *,
    ahead: bool,
) -> Brought:
    """Take a way, from an empty prefix.

    Raises:
        DamagedNode: stored bytes are not those that were written.
        NodeGone: the boundary is no longer there.
    """
    activations = statement.store.activations
    if way.match.key is None:
        return Brought(prefix, way, 0.0, _compute(prompt, way, prefix, runtime, statement))
    arriving = partial(arriving_chain, way.match.key, prefix, activations)
    at_once = statement.runs("overlap_loading") and has_room(runtime) and _is_long(way)
    if at_once and way.computed_tokens:
        with arriving() as arrival:
            computed = _compute(prompt, way, prefix, runtime, statement)
        made = Brought(prefix, way, 0.0, computed - arrival.waited_seconds)
        return made.after(arrival)
    if at_once and ahead:
        return Brought(prefix, way, 0.0, 0.0, arriving=arriving)
    started = time.perf_counter()
    load_chain(way.match.key, prefix, activations)
    load_seconds = time.perf_counter() - started
    return Brought(prefix, way, load_seconds, _compute(prompt, way, prefix, runtime, statement))


def _is_long(way: Way) -> bool:
    """Tell whether loading takes so long that a thread for it pays."""
    return way.load_seconds is None or way.load_seconds >= OVERLAP_SECONDS


def _compute(
    prompt: Prompt, way: Way, prefix: Prefix, runtime: Runtime, statement: Statement
) -> float:
    """Compute what a way does not load; return how many seconds it took."""
    started, context = time.perf_counter(), statement.context
    ids = prompt.ids[way.match.tokens :]
    if ids:
        runtime.extend(prefix, ids, on_progress=context.progress, check_cancel=context.check_cancel)
    return time.perf_counter() - started


def has_room(runtime: Runtime) -> bool:
    """Tell whether a thread can load while a model computes, without taking from its cores."""
    return runtime.leaves_room


def load_chain(key: bytes, prefix: Prefix, activations: Activations) -> None:
    """Load the nodes that lead to a boundary into an empty prefix.

    Raises:
        DamagedNode: stored bytes are not those that were written.
        NodeGone: the boundary is no longer there.
    """
    slices, layers, dtype = _chain(key, activations)
    prefix.load(slices, layers, dtype=dtype)


def arriving_chain(
    key: bytes, prefix: Prefix, activations: Activations
) -> AbstractContextManager[Arrival]:
    """Load the nodes that lead to a boundary while the block computes what follows.

    Raises:
        DamagedNode: stored bytes are not those that were written.
        NodeGone: the boundary is no longer there.
    """
    slices, layers, dtype = _chain(key, activations)
    return prefix.arriving(slices, layers, dtype=dtype)


def _chain(
    key: bytes, activations: Activations
) -> tuple[list[tuple[int, int]], Iterator[Sequence[tuple[memoryview, memoryview]]], str]:
    slices = activations.chain(key)
    tokens = [(part.node.header.tokens, part.take_tokens) for part in slices]
    return tokens, activations.read_chain(slices), slices[0].node.header.dtype


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
        except (DamagedNode, NodeGone) as error:
            mend(error, store)
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
