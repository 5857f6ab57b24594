"""Stage two of the optimizer: what is stored of a prompt, and the cheapest way to use it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memql.engine.cost import Calibration
from memql.engine.model.spec import ModelSpec
from memql.engine.plan import Target
from memql.engine.prompt import Prompt
from memql.errors import NotSupportedError
from memql.storage.store import Store

# Estimates are off by some percent, and nobody waits for some milliseconds: what is stored is not
# left unused for less.
WORTH_SHARE = 0.1
WORTH_SECONDS = 0.005


@dataclass(frozen=True)
class Match:
    """A boundary of a prompt that the activation tree holds.

    Args:
        key: the boundary, None for the beginning: nothing is loaded.
        segments: segments up to it.
        tokens: tokens up to it.
    """

    key: bytes | None
    segments: int
    tokens: int


NOTHING = Match(None, 0, 0)


@dataclass(frozen=True)
class Way:
    """One way to bring a prompt into a model's cache: load up to a boundary, compute the rest.

    Args:
        match: the boundary.
        nodes: nodes to load.
        bytes: their bytes.
        computed_tokens: tokens to compute.
        load_seconds: estimated; None without a calibration.
        compute_seconds: estimated; None without a calibration.
    """

    match: Match
    nodes: int
    bytes: int
    computed_tokens: int
    load_seconds: float | None = None
    compute_seconds: float | None = None

    @property
    def seconds(self) -> float | None:
        """Estimated seconds of all of it."""
        if self.load_seconds is None or self.compute_seconds is None:
            return None
        return self.load_seconds + self.compute_seconds


@dataclass(frozen=True)
class Choice:
    """The form a prompt takes, and why.

    Args:
        form: PLAINTEXT or ACTIVATION.
        match: the deepest boundary that is stored.
        reason: why this form, for EXPLAIN.
        keep: whether what is computed is stored.
        way: how the prompt comes into the cache.
        others: the ways that lost, cheapest first.
    """

    form: str
    match: Match
    reason: str
    keep: bool
    way: Way
    others: tuple[Way, ...] = ()

    @property
    def reused_tokens(self) -> int:
        """Tokens that are loaded, not computed."""
        return self.way.match.tokens


def match(prompt: Prompt, store: Store) -> Match:
    """Return the deepest boundary of ``prompt`` that the store's activation tree holds."""
    find = store.activations.tree.find
    boundaries = prompt.boundaries
    for segments in range(len(boundaries) - 1, -1 if prompt.shares_head else 0, -1):
        key, tokens = boundaries[segments]
        if tokens and find(key) is not None:
            return Match(key, segments, tokens)
    return NOTHING


def ways(
    prompt: Prompt, found: Match, store: Store, calibration: Calibration | None
) -> tuple[Way, ...]:
    """Return the ways to bring a prompt that has a boundary stored, the one to take first.

    Each node on the way to the boundary is a place to stop loading: the rest is computed. Without
    a calibration what is stored is used as far as it goes.

    Args:
        found: the deepest boundary that is stored.
        calibration: of model, device and store; None where nothing was measured yet.
    """
    stops = [(NOTHING, 0, 0)]
    if found.key is not None:
        places = {key: number for number, (key, _) in enumerate(prompt.boundaries)}
        nodes = size = 0
        for link, node_bytes in store.activations.tree.links(found.key):
            nodes, size = nodes + 1, size + node_bytes
            segments = places.get(link.key)
            if segments is not None and (segments or prompt.shares_head):
                place = Match(link.key, segments, prompt.boundaries[segments][1])
                stops.append((place, nodes, size))
    made = [
        way_to(prompt.tokens, place, nodes, size, calibration)
        for place, nodes, size in reversed(stops)
    ]
    if calibration is None:
        return tuple(made)
    deepest = made[0]
    made.sort(key=_seconds)
    saved_seconds = _seconds(deepest) - _seconds(made[0])
    if saved_seconds <= max(WORTH_SECONDS, WORTH_SHARE * _seconds(deepest)):
        made.remove(deepest)
        made.insert(0, deepest)
    return tuple(made)


def way_to(
    tokens: int, place: Match, nodes: int, size: int, calibration: Calibration | None
) -> Way:
    """Return a way with its estimate.

    Args:
        tokens: of the whole prompt.
        place: up to where it is loaded.
        nodes: nodes to load.
        size: their bytes.
        calibration: None where nothing was measured yet.
    """
    rest = tokens - place.tokens
    if calibration is None:
        return Way(place, nodes, size, rest)
    load_seconds = calibration.loading(nodes, size)
    return Way(place, nodes, size, rest, load_seconds, calibration.computing(rest, place.tokens))


def is_cheaper(way: Way, other: Way) -> bool:
    """Tell whether a way is to be taken before another; without estimates, the one that goes on."""
    if way.seconds is None or other.seconds is None:
        return way.match.tokens >= other.match.tokens
    return way.seconds <= other.seconds


def _seconds(way: Way) -> float:
    assert way.seconds is not None, "ways are compared where they have an estimate"
    return way.seconds


def choose(
    prompt: Prompt,
    target: Target,
    spec: ModelSpec,
    store: Store,
    unstorable: str | None,
    room_tokens: int,
    calibration: Calibration | None,
    *,
    shared: bool,
) -> Choice:
    """Return the form of a prompt and the way to it.

    Text is computed as a whole. An activation is loaded as far as that is the cheapest; AUTO is
    one where loading pays, and keeps nothing.

    Args:
        prompt: head and segments.
        target: what the query asks for.
        spec: the model.
        store: where activations are.
        unstorable: why nothing computed from these rows may be stored, or None.
        room_tokens: tokens of question and answer.
        calibration: of model, device and store; None where nothing was measured yet.
        shared: whether a row is another owner's.

    Raises:
        NotSupportedError: an activation was asked for that the model cannot have.
    """
    as_text = ways(prompt, NOTHING, store, calibration)[0]
    if target.form == "PLAINTEXT":
        return Choice("PLAINTEXT", NOTHING, "the query asks for text", False, as_text)
    asked = target.form == "ACTIVATION"
    refusal = _refusal(spec, prompt.tokens + room_tokens)
    if refusal is not None:
        if asked and target.view is None:
            raise NotSupportedError(
                f"the model {spec.name} cannot have activations: {refusal}",
                hint="use MATERIALIZE AS PLAINTEXT",
            )
        return Choice("PLAINTEXT", NOTHING, refusal, False, as_text)
    if shared and not asked:
        # What is stored is what others have asked, and a form that hangs on it would tell.
        return Choice("PLAINTEXT", NOTHING, "a row is another owner's", False, as_text)
    found = match(prompt, store)
    way, *others = ways(prompt, found, store, calibration)
    if asked:
        who = f"the view {target.view}" if target.view else "the query"
        return Choice(
            "ACTIVATION", found, f"{who} asks for it", unstorable is None, way, tuple(others)
        )
    if way.match.key is not None:
        return Choice(
            "ACTIVATION", found, _what_is_stored(prompt, found), False, way, tuple(others)
        )
    reason = "nothing of it is stored" if found.key is None else "computing is cheaper than loading"
    return Choice("PLAINTEXT", found, reason, False, way, tuple(others))


def _refusal(spec: ModelSpec, tokens: int) -> str | None:
    """Return why a prompt that comes to so many tokens with its answer can be no activation."""
    if spec.activation_refusal is not None or spec.is_extendable(tokens):
        return spec.activation_refusal
    return (
        f"past {spec.switch_tokens:,} tokens its positions ({', '.join(spec.rope_types)}) change "
        f"for earlier tokens too, and prompt and answer may come to {tokens:,}"
    )


def _what_is_stored(prompt: Prompt, found: Match) -> str:
    behind = len(prompt.segments) - found.segments
    if not behind:
        return "every boundary is stored"
    return f"loading is cheaper; {behind} of {len(prompt.segments)} segments not stored"


def describe_way(way: Way) -> str:
    """Return a way in words, for EXPLAIN."""
    parts: Sequence[str] = (
        *((f"load {way.match.tokens:,} tokens",) if way.match.tokens else ()),
        *((f"compute {way.computed_tokens:,}",) if way.computed_tokens else ()),
    )
    return ", ".join(parts) or "nothing to do"
