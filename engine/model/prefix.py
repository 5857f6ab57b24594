"""The KV cache of one request, written in place, and its way to and from stored bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import Cache, DynamicCache, PreTrainedConfig

from memql.engine.model.arrival import Arrival, LoadingFailed
from memql.engine.model.layer import LayerShape
from memql.engine.model.room import make_layers
from memql.errors import InternalError, NotSupportedError, OperationalError


class Prefix:
    """The KV cache of one request: tokens loaded or computed, with room for those to come.

    Where a layer's state has one end only (state space, linear attention), or positions depend on
    the length of the whole, nothing is computed ahead: the ids wait, and each request feeds them in
    one pass into a cache of its own. Feeding such models piece by piece is not exact.

    Args:
        shapes: of the model's layers.
        config: the model's configuration.
        capacity_tokens: most tokens it can hold.
        dtype: of keys and values.
        device: where they are.
        in_one_pass: whether all tokens must be fed together.

    Attributes:
        layers: what holds the tokens; empty where they wait.
    """

    def __init__(
        self,
        shapes: Sequence[LayerShape],
        config: PreTrainedConfig,
        capacity_tokens: int,
        dtype: torch.dtype,
        device: torch.device,
        *,
        in_one_pass: bool = False,
    ) -> None:
        self.capacity_tokens = capacity_tokens
        self.dtype = dtype
        self.stores_tokens = not in_one_pass and all(shape.stores_tokens for shape in shapes)
        self._shapes = tuple(shapes)
        self._config = config
        self._tokens = 0
        self._waiting_ids: list[int] = []
        self._check_cancel: Callable[[], None] | None = None
        stored = shapes if self.stores_tokens else ()
        self.layers = make_layers(stored, capacity_tokens, dtype, device)
        self._cache = Cache(layers=[*self.layers])

    @property
    def tokens(self) -> int:
        """Number of tokens held."""
        return self._tokens

    @property
    def bytes(self) -> int:
        """Bytes of keys and values of the tokens held."""
        if not self.stores_tokens:
            return 0
        numbers = sum(shape.heads * (shape.key_dim + shape.value_dim) for shape in self._shapes)
        return self._tokens * numbers * self.dtype.itemsize

    @contextmanager
    def extended(self, check_cancel: Callable[[], None] | None = None) -> Iterator[Cache]:
        """Give the cache to feed new tokens into; they stay, unless the block ends in an error.

        Args:
            check_cancel: called before each layer of a pass; what it raises ends the pass.

        Raises:
            InternalError: layers hold different numbers of tokens, or cannot be extended.
        """
        if not self.stores_tokens:
            raise InternalError("this model's tokens wait until a request feeds them")
        done = False
        self._watch(check_cancel)
        try:
            yield self._cache
            counts = {layer.tokens for layer in self.layers}
            if len(counts) != 1:
                raise InternalError(f"a forward pass left layers of {sorted(counts)} tokens")
            self._cut(counts.pop())
            done = True
        finally:
            self._watch(None)
            if not done:
                self._cut(self._tokens)

    def wait(self, ids: Sequence[int]) -> None:
        """Append ids that each request feeds again, for a model that stores no tokens."""
        self._waiting_ids.extend(ids)
        self._tokens += len(ids)

    @contextmanager
    def lent(
        self, check_cancel: Callable[[], None] | None = None
    ) -> Iterator[tuple[Cache, list[int]]]:
        """Give a cache for one request and the ids to feed first; the prefix stays as it is.

        Args:
            check_cancel: called before each layer of a pass; what it raises ends the pass.
        """
        self._watch(check_cancel)
        try:
            if self.stores_tokens:
                yield self._cache, []
            else:
                yield self.empty_cache(), list(self._waiting_ids)
        finally:
            self._watch(None)
            self._cut(self._tokens)

    def check_cancel(self) -> None:
        """Raise what ends the request that this prefix is lent to, if it is to end."""
        if self._check_cancel is not None:
            self._check_cancel()

    def _watch(self, check_cancel: Callable[[], None] | None) -> None:
        self._check_cancel = check_cancel
        for layer in self.layers:
            layer.check_cancel = check_cancel

    def empty_cache(self) -> DynamicCache:
        """Return a cache of transformers' own that holds nothing yet."""
        return DynamicCache(config=self._config)

    def truncate(self, tokens: int) -> None:
        """Keep the first `tokens` tokens.

        Raises:
            InternalError: there are fewer.
        """
        if not 0 <= tokens <= self._tokens:
            raise InternalError(f"a prefix of {self._tokens} tokens cannot be cut to {tokens}")
        self._cut(tokens)

    def _cut(self, tokens: int) -> None:
        for layer in self.layers:
            layer.tokens = tokens
        del self._waiting_ids[tokens:]
        self._tokens = tokens

    def layer_shapes(
        self, start: int, stop: int
    ) -> list[tuple[str, tuple[int, int, int], tuple[int, int, int]]]:
        """Return kind, key shape and value shape of each layer for tokens `start` to `stop`.

        Returns:
            Shapes are ``[kv_heads, tokens, head_dim]``.
        """
        self._check_storable(start, stop)
        count = stop - start
        return [
            (
                shape.kind,
                (shape.heads, count, shape.key_dim),
                (shape.heads, count, shape.value_dim),
            )
            for shape in self._shapes
        ]

    def payload(self, start: int, stop: int) -> Iterator[tuple[memoryview, memoryview]]:
        """Return copies of K and V of tokens `start` to `stop`, a layer each time it is asked.

        Returns:
            Bytes of contiguous ``[kv_heads, tokens, head_dim]`` in the model's dtype.

        Raises:
            InternalError: the tokens are not all there.
            NotSupportedError: a layer keeps no K and V of single tokens.
        """
        self._check_storable(start, stop)
        return (
            (_copied(layer.keys[0, :, start:stop]), _copied(layer.values[0, :, start:stop]))
            for layer in self.layers
        )

    def load(
        self,
        slices: Sequence[tuple[int, int]],
        layers: Iterable[Sequence[tuple[memoryview, memoryview]]],
        *,
        dtype: str | None = None,
    ) -> None:
        """Append the first tokens of stored nodes, one behind the other; on an error none.

        Args:
            slices: of each node the tokens that it holds, and how many of them to take, from its
                first.
            layers: for each layer K bytes and V bytes of each node, ``[kv_heads, tokens held,
                head_dim]``; they are used before the next layer is asked for.
            dtype: what the nodes say their numbers are, checked if given.

        Raises:
            OperationalError: another dtype, number of layers or number of bytes than this model's.
            InternalError: there is no room, or fewer tokens than asked for.
        """
        stop = self._checked_end(slices, dtype)
        self._fill_all(slices, layers, self._tokens)
        self._cut(stop)

    @contextmanager
    def arriving(
        self,
        slices: Sequence[tuple[int, int]],
        layers: Iterable[Sequence[tuple[memoryview, memoryview]]],
        *,
        dtype: str | None = None,
    ) -> Iterator[Arrival]:
        """Load as :meth:`load` does, on a thread, while the block feeds tokens that follow.

        Each layer of a pass waits for its own tokens only. All are there when the block ends; where
        they could not be loaded, or the block ends in an error, the prefix is as it was before.

        Args:
            slices: as for :meth:`load`.
            layers: likewise; asked for on the thread.
            dtype: likewise.

        Raises:
            OperationalError: as :meth:`load`, or what reading the layers raised.
            InternalError: likewise.
        """
        start, stop = self._tokens, self._checked_end(slices, dtype)
        arrival = Arrival(len(self.layers))
        reader = threading.Thread(
            target=arrival.run,
            args=(lambda: self._fill_all(slices, layers, start, arrival.note),),
            name="memql-loading",
        )
        self._cut(stop)
        for number, layer in enumerate(self.layers):
            layer.wait = partial(arrival.wait, number)
        done = False
        reader.start()
        try:
            yield arrival
            done = True
        except LoadingFailed:
            pass  # what failed is raised below
        finally:
            reader.join()
            for layer in self.layers:
                layer.wait = None
            if not done or arrival.error is not None:
                self._cut(start)
        if arrival.error is not None:
            raise arrival.error

    def _checked_end(self, slices: Sequence[tuple[int, int]], dtype: str | None) -> int:
        """Return how many tokens there are once slices of nodes are loaded."""
        self._check_storable(0, 0)
        stop = self._tokens
        for held_tokens, take_tokens in slices:
            if not 0 < take_tokens <= held_tokens or stop + take_tokens > self.capacity_tokens:
                raise InternalError(
                    f"{take_tokens} of {held_tokens} stored tokens behind {stop} do not fit "
                    f"a prefix of {self.capacity_tokens}"
                )
            stop += take_tokens
        ours = str(self.dtype).removeprefix("torch.")
        if dtype is not None and dtype != ours:
            raise OperationalError(
                f"stored keys and values are {dtype}, this model's are {ours}",
                hint="refresh the view, or drop the activation: it is built again from text",
                code="XX001",
            )
        return stop

    def _fill_all(
        self,
        slices: Sequence[tuple[int, int]],
        layers: Iterable[Sequence[tuple[memoryview, memoryview]]],
        start: int,
        note: Callable[[int], None] = lambda number: None,
    ) -> None:
        """Write layers behind the first `start` tokens; `note` is told the number of each."""
        count = 0
        for nodes in layers:
            if count < len(self._shapes):
                self._fill(count, start, slices, nodes)
                note(count)
            count += 1
        if count != len(self._shapes):
            raise OperationalError(
                f"a stored node has {count} layers, this model {len(self._shapes)}",
                hint="drop the activation: it is built again from text",
                code="XX001",
            )

    def copy(self, other: Prefix, tokens: int) -> None:
        """Take the first tokens of another prefix of the same model in place of one's own.

        Args:
            other: holds them.
            tokens: how many.

        Raises:
            InternalError: there is no room, or they are not all there.
        """
        other._check_storable(0, tokens)
        if tokens > self.capacity_tokens:
            raise InternalError(f"{tokens} tokens do not fit a prefix of {self.capacity_tokens}")
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.keys[:, :, :tokens] = theirs.keys[:, :, :tokens]
            mine.values[:, :, :tokens] = theirs.values[:, :, :tokens]
        self._cut(tokens)

    def _fill(
        self,
        number: int,
        first: int,
        slices: Sequence[tuple[int, int]],
        nodes: Sequence[tuple[memoryview, memoryview]],
    ) -> None:
        layer = self.layers[number]
        for kind, states, part in (("keys", layer.keys, 0), ("values", layer.values, 1)):
            # Through numpy, which takes read-only bytes; torch would warn about them.
            room = _bytes_of(states[0]) if states.device.type == "cpu" else None
            start = first
            for (held_tokens, take_tokens), node in zip(slices, nodes, strict=True):
                stop = start + take_tokens
                token_bytes = states.shape[3] * self.dtype.itemsize
                where = f"layer {number}'s {kind}"
                source = _stored(node[part], states.shape[1], held_tokens, token_bytes, where)
                if room is not None:
                    room[:, start:stop] = source[:, :take_tokens]
                else:
                    _send(source[:, :take_tokens], states[0, :, start:stop])
                start = stop

    def to_cache(self) -> DynamicCache:
        """Return a cache of transformers' own with copies of the tokens held.

        It is independent of this prefix: whatever is done to it changes nothing here.

        Raises:
            NotSupportedError: a layer keeps no K and V of single tokens.
        """
        self._check_storable(0, self._tokens)
        cache = self.empty_cache()
        if self._tokens == 0:
            return cache
        theirs: Any  # the union of all layer classes, of which only these two kinds occur here
        for ours, theirs in zip(self.layers, cache.layers, strict=True):
            first = 0
            if ours.window_tokens is not None:
                first = max(self._tokens - ours.window_tokens + 1, 0)
            keys = ours.keys[:, :, first : self._tokens].clone(
                memory_format=torch.contiguous_format
            )
            values = ours.values[:, :, first : self._tokens].clone(
                memory_format=torch.contiguous_format
            )
            theirs.lazy_initialization(keys, values)
            theirs.keys, theirs.values = keys, values
            if hasattr(theirs, "cumulative_length"):
                # Its true length: update() would count only the tokens that are left of it.
                theirs.cumulative_length = self._tokens
        return cache

    def _check_storable(self, start: int, stop: int) -> None:
        if not 0 <= start <= stop <= self._tokens:
            raise InternalError(f"tokens {start} to {stop} of a prefix of {self._tokens}")
        if not self.stores_tokens:
            odd = [one for one in enumerate(self._shapes) if not one[1].stores_tokens]
            raise NotSupportedError(
                f"layer {odd[0][0]} of this model ({odd[0][1].kind}) keeps no keys and values of "
                "single tokens, so its prefixes cannot be stored"
                if odd
                else f"with room for {self.capacity_tokens} tokens the positions of this model's "
                "tokens depend on all of them, so its prefixes cannot be stored",
                hint="use MATERIALIZE AS PLAINTEXT",
            )


def _copied(states: torch.Tensor) -> memoryview:
    """Return the bytes of ``[kv_heads, tokens, head_dim]``, sharing nothing with it."""
    # Into memory of numpy's: what torch frees here, on the threads of a writer, is not used again,
    # and a node of 28 layers would be there twice at its end.
    copied = np.array(_bytes_of(states.detach().cpu()), order="C", copy=True)
    return copied.data.cast("B")


def _bytes_of(states: torch.Tensor) -> npt.NDArray[np.uint8]:
    """Return ``[kv_heads, tokens, head_dim]`` on a CPU as bytes in the same memory."""
    return states.view(torch.uint8).numpy()


def _stored(
    stored: memoryview, heads: int, held_tokens: int, token_bytes: int, where: str
) -> npt.NDArray[np.uint8]:
    """Return stored bytes as ``[kv_heads, held_tokens, bytes of a head's token]``."""
    expected_bytes = heads * held_tokens * token_bytes
    if stored.nbytes != expected_bytes:
        raise OperationalError(
            f"{where} of a stored node are {stored.nbytes} bytes where {heads} heads of "
            f"{held_tokens} tokens of {token_bytes} bytes make {expected_bytes}",
            hint="drop the activation: it is built again from text",
            code="XX001",
        )
    return np.frombuffer(stored, dtype=np.uint8).reshape(heads, held_tokens, token_bytes)


def _send(source: npt.NDArray[np.uint8], target: torch.Tensor) -> None:
    """Copy bytes of ``[kv_heads, tokens, head_dim]`` to another device."""
    # From pinned memory the copy runs while the next layer is read; torch keeps the memory until
    # the copy is done.
    pinned = target.device.type == "cuda"
    host = torch.empty(target.shape, dtype=target.dtype, pin_memory=pinned)
    _bytes_of(host)[:] = source
    target.copy_(host, non_blocking=pinned)
