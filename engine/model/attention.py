"""Attention of a few new tokens over a long prefix, without a copy of the prefix for each group."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "memql_grouped"


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Return what transformers' scaled dot product attention returns, bit for bit.

    Under a mask transformers repeats keys and values for each group of queries, which its comment
    gives as a matter of GPU kernels. On a CPU torch reads them in place.

    Args:
        module: the attention layer.
        query: ``[batch, heads, new tokens, head_dim]``.
        key: ``[batch, kv_heads, tokens, head_dim]``.
        value: likewise.
        attention_mask: ``[batch, 1, new tokens, tokens]``, None where all is seen or causal.
        dropout: 0 in evaluation.
        scaling: of the scores.
        more: what transformers passes besides.

    Returns:
        ``[batch, new tokens, heads, head_dim]``, and no weights.
    """
    plain = more.get("position_bias") is None and more.get("softcap") is None
    if (
        attention_mask is None
        or query.device.type != "cpu"
        or query.shape[1] == key.shape[1]
        or not plain
    ):
        theirs: Any = sdpa_attention_forward
        found: tuple[torch.Tensor, None] = theirs(
            module, query, key, value, attention_mask, dropout, scaling, **more
        )
        return found
    output = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attention_mask, dropout, scale=scaling, enable_gqa=True
    )
    return output.transpose(1, 2).contiguous(), None


def use_grouped_attention(model: PreTrainedModel) -> None:
    """Let a model that would use scaled dot product attention use the one of this file."""
    if model.config._attn_implementation == "sdpa" and model._supports_attention_backend:
        AttentionInterface.register(NAME, grouped_attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def keep_head_in_place(model: PreTrainedModel) -> None:
    """Keep torch from copying the whole matrix of the head for one position of many.

    The states of the last position are a slice with the strides of the whole, and of such a slice
    torch makes a batched product, for which it copies the matrix: 311 MB for each prompt of a
    vocabulary of 151,936, longer than all else that a short question takes.
    """
    loaded: Any = model  # transformers leaves the method without types
    head = loaded.get_output_embeddings()
    if head is not None:
        head.register_forward_pre_hook(_with_own_strides)


def _with_own_strides(
    _: torch.nn.Module, states: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    first = states[0]
    return (first.reshape(-1, first.shape[-1]).view(first.shape), *states[1:])
