"""Several answers at once: their tokens go through the model together."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import Cache

from memql.engine.model.decoding import Decoding
from memql.engine.model.pieces import Pieces
from memql.engine.model.prefix import Prefix
from memql.engine.model.room import make_layers
from memql.engine.model.runtime import Generation, Runtime
from memql.engine.model.sampling import Sampler

# Of the keys and values of one batch; they are there beside those of its prefixes.
MOST_BYTES = 1 << 30
MOST_SEQUENCES = 32


@dataclass(frozen=True)
class Request:
    """One answer that is asked for.

    Args:
        prefix: of the model; in use until the answer is there.
        ids: at least one token id that follows it, the tail of the prompt.
        decoding: how the answer is made.
    """

    prefix: Prefix
    ids: Sequence[int]
    decoding: Decoding


@dataclass(eq=False)
class _Answer:
    """One answer on its way."""

    request: Request
    sampler: Sampler
    pieces: Pieces | None
    token: int
    first_token_seconds: float
    ids: list[int]
    seconds: float = 0.0

    @property
    def prompt_tokens(self) -> int:
        return self.request.prefix.tokens + len(self.request.ids)


def plan_batches(runtime: Runtime, lengths: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Return which prompts are answered together, by their numbers.

    A step of decoding reads the weights once, however many answers it moves on, and the keys and
    values of each. So a batch is worth its padding while that is less than the weights.

    Args:
        runtime: the model.
        lengths: of each prompt its tokens and the most tokens of its answer.
    """
    if len(lengths) == 1:
        return [[0]]
    by_length = sorted(range(len(lengths)), key=lambda number: (-lengths[number][0], number))
    if not _can_be_batched(runtime):
        return [[number] for number in sorted(by_length)]
    token_bytes = max(runtime.spec.bytes_per_token, 1)
    weight_bytes = sum(one.numel() * one.element_size() for one in runtime.model.parameters())
    batches: list[list[int]] = []
    padding_bytes = batch_bytes = longest = 0
    for number in by_length:
        prompt, answer = lengths[number]
        padding_bytes += (longest - prompt) * token_bytes
        batch_bytes += max(longest, prompt + answer) * token_bytes
        full = batches and len(batches[-1]) == MOST_SEQUENCES
        if not batches or full or padding_bytes > weight_bytes or batch_bytes > MOST_BYTES:
            batches.append([])
            padding_bytes, longest = 0, prompt
            batch_bytes = (prompt + answer) * token_bytes
        batches[-1].append(number)
    return batches


def _can_be_batched(runtime: Runtime) -> bool:
    if runtime.spec.activation_refusal is not None or runtime.spec.switch_tokens is not None:
        return False
    # Without positions of their own, padded sequences would count their padding.
    return "position_ids" in inspect.signature(runtime.model.forward).parameters


def answer_together(
    runtime: Runtime,
    requests: Sequence[Request],
    *,
    check_cancel: Callable[[], None] | None = None,
) -> list[Generation]:
    """Generate an answer to each request; prefixes stay as they were.

    Args:
        runtime: the model.
        requests: of prompts that :func:`plan_batches` put together.
        check_cancel: called before each layer of a pass; what it raises ends the work.

    Raises:
        InternalError: a prefix has no room for its tail.
        OperationalError: the model's numbers overflowed.
    """
    started = time.perf_counter()
    lengths = [request.prefix.tokens + len(request.ids) for request in requests]
    longest = max(lengths)
    capacity = longest + max(request.decoding.max_tokens for request in requests)
    model = runtime.model
    layers = make_layers(runtime.shapes, capacity, model.dtype, model.device, len(requests))
    answers: list[_Answer] = []
    for row, request in enumerate(requests):
        padding = longest - lengths[row]
        with request.prefix.lent(check_cancel) as (cache, _):
            logits = runtime.feed(request.prefix, cache, request.ids)
            for layer, source in zip(layers, request.prefix.layers, strict=True):
                for ours, theirs in ((layer.keys, source.keys), (layer.values, source.values)):
                    # A masked number still counts if it is none: memory that was used before may
                    # hold anything.
                    ours[row, :, :padding] = 0
                    ours[row, :, padding:longest] = theirs[0, :, : lengths[row]]
        sampler = Sampler(request.decoding, runtime.spec)
        stop = request.decoding.stop
        pieces = Pieces(runtime.tokens.decode, stop) if stop else None
        token = sampler.choose(logits)
        seconds = time.perf_counter() - started
        answers.append(_Answer(request, sampler, pieces, token, seconds, []))
    for layer in layers:
        layer.tokens = longest
        layer.check_cancel = check_cancel
    _decode(runtime, Cache(layers=[*layers]), answers, longest, started)
    return [
        Generation(
            ids=tuple(answer.ids),
            text=answer.pieces.text
            if answer.pieces is not None
            else runtime.tokens.decode(answer.ids).strip(),
            prompt_tokens=answer.prompt_tokens,
            first_token_seconds=answer.first_token_seconds,
            seconds=answer.seconds,
        )
        for answer in answers
    ]


def _decode(
    runtime: Runtime, cache: Cache, answers: Sequence[_Answer], longest: int, started: float
) -> None:
    """Move all answers on, a token each time, until the last one ends."""
    device = runtime.model.device
    lengths = torch.tensor([[answer.prompt_tokens] for answer in answers], device=device)
    places = torch.arange(longest + max(one.request.decoding.max_tokens for one in answers))
    seen = (places.to(device)[None] >= longest - lengths).long()
    running = [answer for answer in answers if not _has_ended(answer, runtime)]
    for step in range(max(one.request.decoding.max_tokens for one in answers)):
        seconds = time.perf_counter() - started
        for answer in answers:
            if answer not in running and not answer.seconds:
                answer.seconds = seconds
        if not running:
            return
        logits = runtime.feed_together(
            cache,
            torch.tensor([[answer.token] for answer in answers], device=device),
            seen[:, : longest + step + 1],
            lengths + step,
        )
        for row, answer in enumerate(answers):
            if answer in running:
                answer.token = answer.sampler.choose(logits[row])
        running = [answer for answer in running if not _has_ended(answer, runtime)]
    for answer in answers:
        answer.seconds = answer.seconds or time.perf_counter() - started


def _has_ended(answer: _Answer, runtime: Runtime) -> bool:
    """Take an answer's next token; tell whether the answer ends with it."""
    if answer.token in runtime.spec.eos_ids:
        if answer.pieces is not None:
            answer.pieces.add(answer.ids, last=True)
        return True
    answer.ids.append(answer.token)
    last = len(answer.ids) == answer.request.decoding.max_tokens
    if answer.pieces is not None:
        answer.pieces.add(answer.ids, last=last)
        last = last or answer.pieces.stopped
    return last
