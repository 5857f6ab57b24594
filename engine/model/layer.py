"""One layer's keys and values, written in place: the cache layer under every prefix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

from memql.engine.model.families import FULL, SLIDING
from memql.errors import InternalError


@dataclass(frozen=True)
class LayerShape:
    """What one layer keeps for each token.

    Args:
        kind: 'full_attention', 'sliding_attention', or the name of another cache layer class,
            which keeps a state that MemQL can neither cut nor store.
        heads: number of key and value heads.
        key_dim: numbers in one head's key.
        value_dim: numbers in one head's value.
        window_tokens: sliding window, None without one.
    """

    kind: str
    heads: int
    key_dim: int
    value_dim: int
    window_tokens: int | None

    @property
    def stores_tokens(self) -> bool:
        """Whether the layer keeps K and V of each token apart."""
        return self.kind in (FULL, SLIDING)


def layer_shapes(cache: DynamicCache) -> tuple[LayerShape, ...]:
    """Return the shapes of the layers of a cache of transformers' own that holds some tokens."""
    shapes = []
    for layer in cache.layers:
        # Their exact classes: one derived from them keeps more than keys and values.
        full, sliding = type(layer) is DynamicLayer, type(layer) is DynamicSlidingWindowLayer
        if not (full or sliding):
            shapes.append(LayerShape(type(layer).__name__, 0, 0, 0, None))
            continue
        known: Any = layer  # the type checker does not follow the two names above
        _, heads, _, key_dim = known.keys.shape
        window = known.sliding_window if sliding else None
        kind = SLIDING if sliding else FULL
        shapes.append(LayerShape(kind, heads, key_dim, known.values.shape[3], window))
    return tuple(shapes)


class InPlaceLayer(CacheLayerMixin):
    """A cache layer with room for a whole request: new tokens are written behind the old ones.

    transformers' own layer joins old and new into a new tensor on every call, which copies the
    prefix for each generated token. A sliding layer keeps all its tokens here and shows the model
    the last window of them, so that it can be cut and stored at any token.

    Args:
        shape: what it keeps for each token.
        keys: room for them, ``[sequences, kv_heads, capacity, head_dim]``, with anything in it.
        values: likewise.
        owner: of that memory; kept for as long as the layer is.
    """

    is_croppable = True

    def __init__(
        self,
        shape: LayerShape,
        keys: torch.Tensor,
        values: torch.Tensor,
        owner: object = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys: torch.Tensor = keys
        self.values: torch.Tensor = values
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True
        self.is_sliding = shape.window_tokens is not None
        self.window_tokens = shape.window_tokens
        self.capacity_tokens = keys.shape[2]
        self.tokens = 0
        self.check_cancel: Callable[[], None] | None = None
        self.wait: Callable[[], None] | None = None
        """Waits until the tokens held are written, where another thread writes them."""
        self._owner = owner

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Do nothing: the tensors are there from the start."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the states of new tokens and return all that these tokens may look at.

        Args:
            key_states: ``[sequences, kv_heads, new tokens, head_dim]``.
            value_states: likewise.

        Returns:
            Views of keys and values, ``[sequences, kv_heads, seen tokens, head_dim]``.

        Raises:
            InternalError: another dtype or number of sequences, or no room.
        """
        if self.check_cancel is not None:
            self.check_cancel()
        if self.wait is not None:
            self.wait()
        start, stop = self.tokens, self.tokens + key_states.shape[-2]
        if key_states.dtype != self.dtype or value_states.dtype != self.dtype:
            raise InternalError(
                f"a cache of {self.dtype} was given keys of {key_states.dtype} "
                f"and values of {value_states.dtype}"
            )
        sequences = self.keys.shape[0]
        if stop > self.capacity_tokens or key_states.shape[0] != sequences:
            raise InternalError(
                f"a cache of {sequences} sequences of {self.capacity_tokens} tokens was given "
                f"{key_states.shape[0]} of {stop}"
            )
        self.keys[:, :, start:stop] = key_states
        self.values[:, :, start:stop] = value_states
        self.tokens = stop
        first = self._first_seen(start)
        return self.keys[:, :, first:stop], self.values[:, :, first:stop]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many tokens the next `query_length` tokens see, and the first one's place."""
        first = self._first_seen(self.tokens)
        return self.tokens + query_length - first, first

    def _first_seen(self, before: int) -> int:
        if self.window_tokens is None:
            return 0
        return max(before - self.window_tokens + 1, 0)

    def get_seq_length(self) -> int:
        """Return the number of tokens held."""
        return self.tokens

    def get_max_length(self) -> int:
        """Return -1: the model sees a layer without end, our own callers check the room."""
        return -1

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens; transformers passes their number with a minus."""
        self.tokens -= min(abs(tokens_to_remove), self.tokens)

    def reset(self) -> None:
        """Forget all tokens."""
        self.tokens = 0
