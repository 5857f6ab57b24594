"""Which families' keys could be moved to other positions, as docs/models.md says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from memql.engine.model.families import EXACT_FAMILIES
from memql.engine.model.runtime import load_runtime
from memql.engine.model.spec import ModelSpec

SpecOf = Callable[[str], ModelSpec]

DOCS = Path(__file__).resolve().parents[2] / "docs" / "models.md"
DISTANCE = 37

# Neighbours make a pair, not the two halves of a head.
INTERLEAVED = ("cohere2", "deepseek_v2")
MOVABLE = [
    "llama", "llama3", "llama_yarn", "mistral_sliding", "mixtral", "qwen2_sliding", "qwen3",
    "qwen3_moe", "gemma2", "gemma3_text", "phi", "phi3", "gpt_neox", "olmo2", "cohere2",
    "deepseek_v2", "deepseek_v3",
]  # fmt: skip


def cached(model: Any, ids: list[int], first: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return the first and second tensor of each layer for `ids` at positions from `first`."""
    cache = DynamicCache(config=model.config)
    positions = torch.arange(first, first + len(ids))[None]
    with torch.no_grad():
        model(torch.tensor([ids]), position_ids=positions, past_key_values=cache)
    layers: Any = cache.layers
    return [(layer.keys, layer.values) for layer in layers]


def moved(keys: torch.Tensor, frequencies: torch.Tensor, by: int, pairs: bool) -> torch.Tensor:
    """Return keys as they are `by` positions later."""
    size = 2 * len(frequencies)
    turned, rest = keys[..., :size], keys[..., size:]
    angles = by * frequencies.float()
    cos, sin = angles.cos(), angles.sin()
    first = turned[..., 0::2] if pairs else turned[..., : size // 2]
    second = turned[..., 1::2] if pairs else turned[..., size // 2 :]
    halves = (first * cos - second * sin, second * cos + first * sin)
    joined = torch.stack(halves, -1).flatten(-2) if pairs else torch.cat(halves, -1)
    return torch.cat((joined, rest), -1)


def frequencies_of(model: Any, layer: int) -> torch.Tensor | None:
    """Return the rotary frequencies of a layer, None where it has no positions."""
    rotary = model.base_model.rotary_emb
    kinds = getattr(model.config, "layer_types", None)
    if kinds is not None and model.config.model_type == "cohere2" and "full" in kinds[layer]:
        return None
    for name in ((f"{kinds[layer]}_inv_freq",) if kinds else ()) + ("inv_freq",):
        if hasattr(rotary, name):
            found: torch.Tensor = getattr(rotary, name)
            return found
    raise AssertionError("no frequencies")


@pytest.mark.parametrize("name", MOVABLE)
def test_keys_can_be_moved(name: str, spec_of: SpecOf, random_ids: list[int]) -> None:
    model: Any = load_runtime(spec_of(name)).model
    ids = random_ids[:20]
    here, there = cached(model, ids, 0), cached(model, ids, DISTANCE)
    for layer, ((keys, values), (later, same)) in enumerate(zip(here, there, strict=True)):
        frequencies = frequencies_of(model, layer)
        if "deepseek" in name:  # the latent has no position, the second tensor is what is rotated
            keys, values, later, same = values, keys, same, later
        if frequencies is not None:
            keys = moved(keys, frequencies, DISTANCE, name in INTERLEAVED)
        scale = float(later.abs().max())
        assert float((keys - later).abs().max()) <= 1e-5 * max(scale, 1)
        assert float((values - same).abs().max()) <= 1e-5 * max(float(same.abs().max()), 1)


def test_keys_that_were_not_moved_differ(spec_of: SpecOf, random_ids: list[int]) -> None:
    # The negative control of the test above.
    model: Any = load_runtime(spec_of("llama")).model
    keys, later = (cached(model, random_ids[:20], first)[0][0] for first in (0, DISTANCE))
    assert float((keys - later).abs().max()) > 0.1


def test_learned_positions_cannot_be_moved(spec_of: SpecOf, random_ids: list[int]) -> None:
    # They are added to what a token says: its values change with them.
    model: Any = load_runtime(spec_of("gpt2")).model
    values, later = (cached(model, random_ids[:20], first)[0][1] for first in (0, DISTANCE))
    assert float((values - later).abs().max()) > 0.1


def test_the_table_of_families_is_that_of_the_code() -> None:
    text = DOCS.read_text(encoding="utf-8")
    section = text.partition("## Which models run")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[2])}
    assert named >= set(EXACT_FAMILIES)
    can_be_moved = {
        name for row in rows if row.split("|")[5].strip().startswith("yes")
        for name in re.findall(r"`(\w+)`", row.split("|")[2])
    }  # fmt: skip
    shown = {re.sub("_(sliding|yarn)$|(?<=llama)3$", "", name) for name in MOVABLE}
    assert can_be_moved == shown
