"""Attention over a prefix in place: the numbers of transformers, without its copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from memql.engine.model.attention import NAME, grouped_attention
from memql.engine.model.runtime import load_runtime
from memql.engine.model.spec import ModelSpec

SpecOf = Callable[[str], ModelSpec]


class _Layer(torch.nn.Module):
    num_key_value_groups = 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [True, False])
def test_the_numbers_are_those_of_transformers(dtype: torch.dtype, masked: bool) -> None:
    generator = torch.Generator().manual_seed(3)

    def random(heads: int, tokens: int) -> torch.Tensor:
        return torch.randn(1, heads, tokens, 16, generator=generator).to(dtype)

    tokens, new = (40, 5) if masked else (12, 12)
    query, key, value = random(4, new), random(2, tokens), random(2, tokens)
    mask = None
    if masked:
        places = torch.arange(tokens)
        mask = (places[None] <= torch.arange(tokens - new, tokens)[:, None])[None, None]
    ours, _ = grouped_attention(_Layer(), query, key, value, mask, scaling=0.25)
    layer: Any = _Layer()
    theirs, _ = sdpa_attention_forward(layer, query, key, value, mask, scaling=0.25)
    assert torch.equal(ours, theirs)
    if mask is not None:  # the negative control: the mask counts
        other, _ = grouped_attention(_Layer(), query, key, value, mask[..., :1, :], scaling=0.25)
        assert not torch.equal(ours, other)


def test_models_with_groups_use_it(spec_of: SpecOf) -> None:
    used: Any = load_runtime(spec_of("llama")).model.config
    assert used._attn_implementation == NAME
    capped: Any = load_runtime(spec_of("gemma2")).model.config
    assert capped._attn_implementation == "eager"


def test_the_head_sees_states_of_their_own(spec_of: SpecOf, random_ids: list[int]) -> None:
    runtime = load_runtime(spec_of("llama"))
    model: Any = runtime.model
    head = model.get_output_embeddings()
    seen: list[tuple[int, ...]] = []
    hook = head.register_forward_hook(lambda _, states, __: seen.append(states[0].stride()))
    runtime.first_logits(runtime.prefix(20), random_ids[:20])
    hook.remove()
    assert seen == [(64, 64, 1)]
    # Without it the one position has the strides of twenty.
    states = torch.zeros(1, 20, 64)[:, -1:, :]
    assert states.stride() == (1280, 64, 1) and states.is_contiguous()
