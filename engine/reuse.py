"""The adaptive stage: match a prompt against the activation tree, load, extend, keep."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from memql.engine.context import StatementContext
from memql.engine.model.spec import LAYOUT, ModelSpec
from memql.engine.plan import Target
from memql.engine.prompt import Prompt
from memql.errors import NotSupportedError
from memql.storage.nodes import DamagedNode, LayerHeader, NodeGone, NodeHeader
from memql.storage.store import Store

if TYPE_CHECKING:
    from memql.engine.model.prefix import Prefix
    from memql.engine.model.runtime import Runtime
    from memql.engine.run.executor import Materialized


@dataclass(frozen=True)
class Match:
    """The deepest boundary of a prompt that the activation tree holds.

    Args:
        key: the boundary, None if not even the head is known.
        segments: segments up to it.
        tokens: tokens up to it.
    """

    key: bytes | None
    segments: int
    tokens: int


@dataclass(frozen=True)
class Choice:
    """The form a prompt takes, and why.

    Args:
        form: PLAINTEXT or ACTIVATION.
        match: what the tree holds of it.
        reason: why this form, for EXPLAIN.
        keep: whether what is computed is stored.
    """

    form: str
    match: Match
    reason: str
    keep: bool

    @property
    def reused_tokens(self) -> int:
        """Tokens that are loaded, not computed."""
        return self.match.tokens if self.form == "ACTIVATION" else 0


@dataclass(frozen=True)
class Brought:
    """A prompt inside a model's cache, and what it took.

    Args:
        prefix: head and segments as KV.
        found: the boundary up to which it was loaded.
        reused_tokens: tokens loaded from the store.
        computed_tokens: tokens that went through the model.
        bytes: bytes loaded.
        load_seconds: time to load them.
        compute_seconds: time to compute the others.
    """

    prefix: Prefix
    found: Match
    reused_tokens: int
    computed_tokens: int
    bytes: int
    load_seconds: float
    compute_seconds: float


def match(prompt: Prompt, store: Store) -> Match:
    """Return the deepest boundary of ``prompt`` that the store's activation tree holds."""
    activations = store.activations
    boundaries = prompt.boundaries
    for segments in range(len(boundaries) - 1, -1 if prompt.shares_head else 0, -1):
        key, tokens = boundaries[segments]
        if tokens and activations.find(key) is not None:
            return Match(key, segments, tokens)
    return Match(None, 0, 0)


def choose(
    prompt: Prompt,
    target: Target,
    spec: ModelSpec,
    store: Store,
    unstorable: str | None,
    room_tokens: int,
    *,
    shared: bool,
) -> Choice:
    """Return the form of a prompt.

    Until there is a cost model: what the query or its view says; AUTO is ACTIVATION where every
    boundary is known, else PLAINTEXT.

    Args:
        prompt: head and segments.
        target: what the query asks for.
        spec: the model.
        store: where activations are.
        unstorable: why nothing computed from these rows may be stored, or None.
        room_tokens: tokens of question and answer.
        shared: whether a row is another owner's.

    Raises:
        NotSupportedError: an activation was asked for that the model cannot have.
    """
    if target.form == "PLAINTEXT":
        return Choice("PLAINTEXT", Match(None, 0, 0), "the query asks for text", keep=False)
    asked = target.form == "ACTIVATION"
    refusal = _refusal(spec, prompt.tokens + room_tokens)
    if refusal is not None:
        if asked and target.view is None:
            raise NotSupportedError(
                f"the model {spec.name} cannot have activations: {refusal}",
                hint="use MATERIALIZE AS PLAINTEXT",
            )
        return Choice("PLAINTEXT", Match(None, 0, 0), refusal, keep=False)
    if shared and not asked:
        # What is stored is what others have asked, and a form that hangs on it would tell.
        reason = "a row is another owner's"
        return Choice("PLAINTEXT", Match(None, 0, 0), reason, keep=False)
    found = match(prompt, store)
    if asked:
        who = f"the view {target.view}" if target.view else "the query"
        return Choice("ACTIVATION", found, f"{who} asks for it", keep=unstorable is None)
    if prompt.segments and found.segments == len(prompt.segments):
        return Choice("ACTIVATION", found, "every boundary is stored", keep=False)
    behind = len(prompt.segments) - found.segments
    return Choice("PLAINTEXT", found, f"{behind} of {len(prompt.segments)} not stored", keep=False)


def _refusal(spec: ModelSpec, tokens: int) -> str | None:
    """Return why a prompt that comes to so many tokens with its answer can be no activation."""
    if spec.activation_refusal is not None or spec.is_extendable(tokens):
        return spec.activation_refusal
    return (
        f"past {spec.switch_tokens:,} tokens its positions ({', '.join(spec.rope_types)}) change "
        f"for earlier tokens too, and prompt and answer may come to {tokens:,}"
    )


def bring(
    prompt: Prompt,
    runtime: Runtime,
    store: Store,
    context: StatementContext,
    room_tokens: int,
) -> Brought:
    """Load what is stored of a prompt and compute the rest.

    A damaged node is quarantined and its tokens are computed from text.

    Args:
        prompt: head and segments, of form ACTIVATION.
        runtime: the model.
        store: where activations are.
        context: the statement.
        room_tokens: room to leave for question and answer.
    """
    prefix = runtime.prefix(prompt.tokens + room_tokens)
    started = time.perf_counter()
    # Matched anew: an earlier prompt of this statement may have stored a part of this one.
    found, bytes_loaded = _load(prompt, match(prompt, store), prefix, store)
    loaded = time.perf_counter()
    ids = prompt.ids[found.tokens :]
    if ids:
        runtime.extend(prefix, ids, on_progress=context.progress, check_cancel=context.check_cancel)
    return Brought(
        prefix,
        found=found,
        reused_tokens=found.tokens,
        computed_tokens=len(ids),
        bytes=bytes_loaded,
        load_seconds=loaded - started,
        compute_seconds=time.perf_counter() - loaded,
    )


def _load(prompt: Prompt, found: Match, prefix: Prefix, store: Store) -> tuple[Match, int]:
    """Load up to the deepest boundary that proves sound; return it and the bytes read."""
    while found.key is not None:
        try:
            return found, load_chain(found.key, prefix, store)
        except DamagedNode as damage:
            prefix.truncate(0)
            store.activations.quarantine(damage.node_id, damage.message)
        except NodeGone:
            prefix.truncate(0)
        found = match(prompt, store)
    return found, 0


def load_chain(key: bytes, prefix: Prefix, store: Store) -> int:
    """Load the nodes that lead to a boundary into an empty prefix; return the bytes read.

    Raises:
        DamagedNode: stored bytes are not those that were written.
        NodeGone: the boundary is no longer there.
    """
    slices = store.activations.chain(key)
    prefix.load(
        [(part.node.header.tokens, part.take_tokens) for part in slices],
        store.activations.read_chain(slices),
        dtype=slices[0].node.header.dtype,
    )
    return sum(part.node.bytes for part in slices)


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
            load_chain(bytes.fromhex(made.key), prefix, store)
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
    if not brought.computed_tokens and (choice.keep or not shared):
        return True
    if not choice.keep:
        return False
    prefix, found = brought.prefix, brought.found
    start, stop = found.tokens, prompt.tokens
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
