"""Models of the shapes of well-known ones, with random weights; needs no store and no files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen3Config
from transformers.initialization import no_init_weights

from memql.engine.model.loading import made_ready
from memql.engine.model.prefix import Prefix
from memql.engine.model.runtime import Runtime
from memql.engine.model.spec import DTYPE_BYTES, describe


@dataclass(frozen=True)
class Shape:
    """The numbers of a model of the family Qwen3.

    Args:
        hidden: width.
        inner: width of the feed-forward layers.
        layers: how many.
        heads: of queries.
        kv_heads: of keys and values.
        head_dim: numbers in a head.
        vocabulary: tokens that there are.
        tied: whether the head is the embedding.
    """

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool

    @property
    def token_numbers(self) -> int:
        """Numbers in the K and V of one token."""
        return 2 * self.layers * self.kv_heads * self.head_dim


SHAPES = {
    "small": Shape(128, 256, 4, 4, 2, 32, 2000, True),
    "Qwen3-0.6B": Shape(1024, 3072, 28, 16, 8, 128, 151_936, True),
    "Qwen3-8B": Shape(4096, 12_288, 36, 32, 8, 128, 151_936, False),
    "Qwen3-32B": Shape(5120, 25_600, 64, 64, 8, 128, 151_936, False),
}

CONTEXT_TOKENS = 40_960


def random_runtime(name: str, dtype: str = "bfloat16", device: str = "cpu") -> Runtime:
    """Return a runtime of a shape.

    Args:
        name: one of SHAPES.
        dtype: of the weights.
        device: where they are.
    """
    shape = SHAPES[name]
    config = Qwen3Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=shape.tied,
        eos_token_id=None,
    )
    make: Any = AutoModelForCausalLM.from_config
    with no_init_weights(), torch.device(device):
        model: PreTrainedModel = make(config, dtype=getattr(torch, dtype))
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.uniform_(-0.03, 0.03, generator=generator)
            else:
                weights.fill_(1)
    spec = replace(
        describe("tiny", "tiny", {}),
        name=name,
        dtype=dtype,
        device=device,
        weights_digest=f"random {name}",
        context_tokens=CONTEXT_TOKENS,
        layers=shape.layers,
        layer_kinds=("full_attention",) * shape.layers,
        bytes_per_token=shape.token_numbers * DTYPE_BYTES[dtype],
        eos_ids=(),
    )
    return Runtime(spec, made_ready(model, spec))


def random_ids(count: int, vocabulary: int, seed: int = 0) -> list[int]:
    """Return token ids that are as good as any."""
    source = random.Random(seed)
    return [source.randrange(10, vocabulary) for _ in range(count)]


def fill_randomly(prefix: Prefix, tokens: int) -> None:
    """Give a prefix random keys and values: for times and bytes, where nothing is asked of it."""
    with prefix.extended():
        for layer in prefix.layers:
            for states in (layer.keys, layer.values):
                part = states[:, :, :tokens]
                part.copy_(torch.rand(part.shape).to(part.dtype).to(part.device))
            layer.tokens = tokens


def first_token(runtime: Runtime, prefix: Prefix, ids: Sequence[int]) -> int:
    """Return the likeliest next token, which waits for the device."""
    return int(runtime.first_logits(prefix, ids).argmax())
