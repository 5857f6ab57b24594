"""A loaded model: extends prefixes, gives logits, generates."""

from __future__ import annotations

import inspect
import os
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from transformers import Cache

from memql.engine.model.decoding import Decoding
from memql.engine.model.loading import Loaded, load
from memql.engine.model.pieces import Pieces
from memql.engine.model.prefix import Prefix
from memql.engine.model.sampling import Sampler
from memql.engine.model.spec import ModelSpec
from memql.engine.model.tokens import Tokens
from memql.errors import DataError, InternalError

Progress = Callable[[int, int], None]
Check = Callable[[], None]

# Bounds the memory of a long prefill (activations and the mask grow with it), and the time until a
# cancelled statement stops.
CHUNK_TOKENS = 1024


@dataclass(frozen=True)
class Generation:
    """What a model generated.

    Args:
        ids: token ids of the answer, without the one that ended it; those of a stop text are there.
        text: the answer, without white space at its ends.
        prompt_tokens: tokens before the answer, those of the prefix included.
        first_token_seconds: from the call to the first token.
        seconds: from the call to the end.
    """

    ids: tuple[int, ...]
    text: str
    prompt_tokens: int
    first_token_seconds: float
    seconds: float


class Runtime:
    """One model, ready to run; its requests run one at a time.

    Args:
        spec: the model.
        loaded: the model in memory; None loads it from its files.

    Raises:
        OperationalError: the files or the device cannot be used.
        NotSupportedError: transformers has no causal language model of this kind.
    """

    def __init__(self, spec: ModelSpec, loaded: Loaded | None = None) -> None:
        self.spec = spec
        self.tokens = Tokens(spec)
        loaded = loaded or load(spec)
        self.model = loaded.model
        self.shapes = loaded.shapes
        self.lock = loaded.lock
        self.positions = 0
        """Token positions fed through the model so far."""
        base = self.model.base_model
        self._base = (
            base if "past_key_values" in inspect.signature(base.forward).parameters else None
        )
        accepted = inspect.signature(self.model.forward).parameters
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    @property
    def leaves_room(self) -> bool:
        """Whether a pass may wait for a thread that loads.

        That is where a core is free for it and nobody else has the model in use.
        """
        if not self.lock.acquire(blocking=False):
            return False  # a pass holds the model, and to load before it holds up nobody
        self.lock.release()
        if self.model.device.type != "cpu":
            return True
        # What the process may run on, where the system says so: a container has fewer.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return (cores or 1) > torch.get_num_threads()

    def prefix(self, capacity_tokens: int) -> Prefix:
        """Return an empty prefix.

        Args:
            capacity_tokens: room for head, segments, tail and answer together.

        Raises:
            DataError: the model's context is smaller.
        """
        if capacity_tokens > self.spec.context_tokens:
            raise DataError(
                f"memories, question and answer need {capacity_tokens} tokens, the context of "
                f"model {self.spec.name} is {self.spec.context_tokens}",
                hint="select fewer memories, or ask for a shorter answer (max_tokens)",
                code="54000",
            )
        return Prefix(
            self.shapes,
            self.model.config,
            capacity_tokens,
            self.model.dtype,
            self.model.device,
            in_one_pass=not self.spec.is_extendable(capacity_tokens),
        )

    def extend(
        self,
        prefix: Prefix,
        ids: Sequence[int],
        *,
        chunk_tokens: int = CHUNK_TOKENS,
        on_progress: Progress | None = None,
        check_cancel: Check | None = None,
    ) -> None:
        """Append the K and V of `ids` to `prefix`; on any error nothing is appended.

        Args:
            prefix: of this model.
            ids: token ids that follow it.
            chunk_tokens: most tokens of one forward pass.
            on_progress: called after each pass with the tokens done and the tokens in all.
            check_cancel: called before each layer of a pass; what it raises ends the work.

        Raises:
            InternalError: the prefix has no room for them.
        """
        self._check_room(prefix, len(ids))
        if not prefix.stores_tokens:
            prefix.wait(ids)
            return
        with prefix.extended(check_cancel) as cache:
            for start in range(0, len(ids), chunk_tokens):
                chunk = ids[start : start + chunk_tokens]
                with self.lock, torch.inference_mode():
                    self._forward(cache, chunk)
                if on_progress is not None:
                    on_progress(start + len(chunk), len(ids))

    def first_logits(self, prefix: Prefix, ids: Sequence[int]) -> torch.Tensor:
        """Return the logits after the last of `ids`; `prefix` stays as it was.

        Args:
            prefix: of this model.
            ids: at least one token id that follows it.

        Returns:
            ``[vocabulary]``, float32.
        """
        self._check_asked(ids)
        self._check_room(prefix, len(ids))
        with prefix.lent() as (cache, waiting_ids):
            return self.feed(prefix, cache, [*waiting_ids, *ids])

    def generate(
        self,
        prefix: Prefix,
        ids: Sequence[int],
        decoding: Decoding,
        *,
        check_cancel: Check | None = None,
    ) -> Generation:
        """Generate an answer; `prefix` stays as it was.

        Args:
            prefix: of this model; may be empty.
            ids: at least one token id that follows it, the tail of the prompt.
            decoding: how the answer is made.
            check_cancel: called before each layer of a pass; what it raises ends the work.

        Raises:
            InternalError: the prefix has no room, or `ids` is empty.
            OperationalError: the model's numbers overflowed.
        """
        self._check_answer(prefix, ids, decoding)
        pieces = Pieces(self.tokens.decode, decoding.stop) if decoding.stop else None
        running = self._answer(prefix, ids, decoding, pieces, check_cancel)
        while True:
            try:
                next(running)
            except StopIteration as end:
                return cast(Generation, end.value)

    def stream(
        self,
        prefix: Prefix,
        ids: Sequence[int],
        decoding: Decoding,
        *,
        check_cancel: Check | None = None,
    ) -> Generator[str, None, Generation]:
        """Generate an answer piece by piece; joined, the pieces are its text.

        The prefix is in use until the pieces end or the generator is closed. Arguments and errors
        are those of :meth:`generate`.
        """
        self._check_answer(prefix, ids, decoding)
        pieces = Pieces(self.tokens.decode, decoding.stop)
        return self._answer(prefix, ids, decoding, pieces, check_cancel)

    def _answer(
        self,
        prefix: Prefix,
        ids: Sequence[int],
        decoding: Decoding,
        pieces: Pieces | None,
        check_cancel: Check | None,
    ) -> Generator[str, None, Generation]:
        started = time.perf_counter()
        sampler = Sampler(decoding, self.spec)
        answer: list[int] = []
        with prefix.lent(check_cancel) as (cache, waiting_ids):
            prompt_tokens = prefix.tokens + len(ids)
            prompt = [*waiting_ids, *ids]
            token = sampler.choose(self.feed(prefix, cache, prompt))
            first_token_seconds = time.perf_counter() - started
            while token not in self.spec.eos_ids:
                answer.append(token)
                if pieces is not None:
                    piece = pieces.add(answer)
                    if piece:
                        yield piece
                if len(answer) == decoding.max_tokens or (pieces is not None and pieces.stopped):
                    break
                fed = [token]
                if not prefix.stores_tokens and (
                    prompt_tokens + len(answer) - 1 == self.spec.switch_tokens
                ):
                    # From this token on all tokens before it have other positions.
                    cache, fed = prefix.empty_cache(), [*prompt, *answer]
                token = sampler.choose(self.feed(prefix, cache, fed))
        if pieces is not None:
            piece = pieces.add(answer, last=True)
            if piece:
                yield piece
        return Generation(
            ids=tuple(answer),
            text=self.tokens.decode(answer).strip() if pieces is None else pieces.text,
            prompt_tokens=prompt_tokens,
            first_token_seconds=first_token_seconds,
            seconds=time.perf_counter() - started,
        )

    def _check_answer(self, prefix: Prefix, ids: Sequence[int], decoding: Decoding) -> None:
        self._check_asked(ids)
        # The last token of an answer is never fed back.
        self._check_room(prefix, len(ids) + decoding.max_tokens - 1)

    def _check_asked(self, ids: Sequence[int]) -> None:
        if not ids:
            raise InternalError("logits were asked for after no token: a model needs one to answer")

    def _check_room(self, prefix: Prefix, tokens: int) -> None:
        if prefix.tokens + tokens > prefix.capacity_tokens:
            raise InternalError(
                f"{tokens} tokens behind {prefix.tokens} do not fit a prefix of "
                f"{prefix.capacity_tokens}"
            )

    def feed(self, prefix: Prefix, cache: Cache, ids: Sequence[int]) -> torch.Tensor:
        """Feed `ids` into `cache` and return the logits ``[vocabulary]`` after the last.

        The model is held for so long only: between two tokens of an answer others have their turn.
        """
        with self.lock, torch.inference_mode():
            prefix.check_cancel()
            if not prefix.stores_tokens and len(ids) > 1 and "dynamic" in self.spec.rope_types:
                # transformers keeps the frequencies of the longest text so far, until a short one
                # comes: an answer would depend on those before it.
                self._forward(prefix.empty_cache(), ids[:1])
            # A state with one end is fed whole: see Prefix.
            chunk_tokens = CHUNK_TOKENS if prefix.stores_tokens else len(ids)
            last = max(len(ids) - 1, 0) // chunk_tokens * chunk_tokens
            for start in range(0, last, chunk_tokens):
                self._forward(cache, ids[start : start + chunk_tokens])
            return self._logits(cache, ids[last:]).clone()

    def feed_together(
        self,
        cache: Cache,
        ids: torch.Tensor,
        seen: torch.Tensor,
        positions: torch.Tensor,
    ) -> torch.Tensor:
        """Feed one token of each of several sequences; return the logits after them.

        Args:
            cache: of sequences that end at the same place.
            ids: ``[sequences, 1]``.
            seen: ``[sequences, tokens]``: 0 where there is padding, for the new tokens too.
            positions: ``[sequences, 1]``.

        Returns:
            ``[sequences, vocabulary]``, float32.
        """
        with self.lock, torch.inference_mode():
            output = self.model(
                input_ids=ids,
                attention_mask=seen,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
            self.positions += ids.numel()
            logits: torch.Tensor = output.logits[:, -1].float()
            return logits

    def _forward(self, cache: Cache, ids: Sequence[int]) -> None:
        """Feed `ids` into `cache` in one pass.

        There is no mask and there are no positions: both follow from the cache's length. A mask or
        positions of the suffix's own length are accepted by transformers and silently wrong.
        """
        if self._base is None:
            self._logits(cache, ids)
            return
        self._base(input_ids=self._batch(ids), past_key_values=cache, use_cache=True)
        self.positions += len(ids)

    def _logits(self, cache: Cache, ids: Sequence[int]) -> torch.Tensor:
        """Feed `ids` into `cache` in one pass; return the logits after the last, float32."""
        output = self.model(
            input_ids=self._batch(ids), past_key_values=cache, use_cache=True, **self._last_only
        )
        self.positions += len(ids)
        logits: torch.Tensor = output.logits[0, -1]
        return logits.float()

    def _batch(self, ids: Sequence[int]) -> torch.Tensor:
        return torch.tensor([list(ids)], dtype=torch.long, device=self.model.device)


_runtimes: dict[ModelSpec, Runtime] = {}
_runtimes_lock = threading.Lock()


def load_runtime(spec: ModelSpec) -> Runtime:
    """Return the one runtime of `spec` in this process, loading the model at the first call.

    Models that differ only in name or template share their weights and their lock.
    """
    runtime = _runtimes.get(spec)  # without the lock: another model may be loading for minutes
    if runtime is None:
        with _runtimes_lock:
            runtime = _runtimes.get(spec)
            if runtime is None:
                runtime = _runtimes[spec] = Runtime(spec)
    return runtime
