"""Every family: a prefix that is extended gives what one full prefill gives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from memql.engine.model.families import EXACT_FAMILIES
from memql.engine.model.layer import InPlaceLayer
from memql.engine.model.runtime import Runtime, load_runtime
from memql.engine.model.spec import ModelSpec

SpecOf = Callable[[str], ModelSpec]

EXACT = [
    "gemma", "gpt2", "gpt_neox", "granite", "llama", "llama3", "llama_yarn", "mistral", "olmo2",
    "phi", "phi3", "qwen2", "qwen3", "smollm3", "stablelm",
]  # fmt: skip
REFUSED = ["gemma2", "lfm2", "llama_dynamic", "mistral_sliding"]
TOLERANCE = 1e-4


def full_logits(runtime: Runtime, ids: list[int]) -> torch.Tensor:
    """Return the logits after `ids` as transformers computes them, without any cache."""
    with torch.no_grad():
        logits: torch.Tensor = runtime.model(input_ids=torch.tensor([ids]), use_cache=False).logits[
            0, -1
        ]
    return logits


def full_greedy(runtime: Runtime, ids: list[int], tokens: int) -> list[int]:
    """Return the likeliest continuation, each token from a full prefill."""
    answer: list[int] = []
    while len(answer) < tokens:
        token = int(full_logits(runtime, ids + answer).argmax())
        if token in runtime.spec.eos_ids:
            break
        answer.append(token)
    return answer


def split_difference(runtime: Runtime, ids: list[int], cut: int, dropped: int = 0) -> float:
    """Return how far the logits over a prefix of `cut` tokens are from those of a full prefill."""
    prefix = runtime.prefix(len(ids))
    runtime.extend(prefix, ids[dropped:cut], chunk_tokens=7)
    difference = runtime.first_logits(prefix, ids[cut:]) - full_logits(runtime, ids)
    return float(difference.abs().max())


@pytest.mark.parametrize("name", [*EXACT, *REFUSED])
def test_extension_is_full_prefill(name: str, spec_of: SpecOf, random_ids: list[int]) -> None:
    runtime = load_runtime(spec_of(name))
    for cut in (1, 16, len(random_ids) // 2, len(random_ids) - 1):
        assert split_difference(runtime, random_ids, cut) <= TOLERANCE


@pytest.mark.parametrize("name", [*EXACT, *REFUSED])
def test_answers_are_those_of_full_prefills(
    name: str, spec_of: SpecOf, random_ids: list[int]
) -> None:
    runtime = load_runtime(spec_of(name))
    prefix = runtime.prefix(100)
    runtime.extend(prefix, random_ids[:40], chunk_tokens=16)
    answer = runtime.generate(prefix, random_ids[40:], max_tokens=8)
    assert list(answer.ids) == full_greedy(runtime, random_ids, 8)


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3"])
def test_a_dropped_token_is_seen(name: str, spec_of: SpecOf, random_ids: list[int]) -> None:
    # The negative control of the two tests above.
    runtime = load_runtime(spec_of(name))
    assert split_difference(runtime, random_ids, 30, dropped=1) > 100 * TOLERANCE


def test_a_wrong_window_is_seen(spec_of: SpecOf, random_ids: list[int]) -> None:
    # The negative control of the sliding layers: they show the model one token too few.
    runtime = load_runtime(spec_of("mistral_sliding"))
    prefix = runtime.prefix(len(random_ids))
    runtime.extend(prefix, random_ids[:-1])
    with prefix.lent() as (cache, _):
        for layer in cache.layers:
            assert isinstance(layer, InPlaceLayer) and layer.window_tokens == 8
            layer.window_tokens = 7
    difference = runtime.first_logits(prefix, random_ids[-1:]) - full_logits(runtime, random_ids)
    assert float(difference.abs().max()) > 100 * TOLERANCE


@pytest.mark.parametrize("name", [*EXACT, *REFUSED])
def test_description_agrees_with_the_model(name: str, spec_of: SpecOf) -> None:
    spec = spec_of(name)
    shapes = load_runtime(spec).shapes
    assert spec.layers == len(shapes) == 3
    assert (spec.activation_refusal is None) == (name in EXACT)
    if name != "lfm2":
        assert [shape.kind for shape in shapes] == list(spec.layer_kinds)
        numbers = sum(shape.heads * (shape.key_dim + shape.value_dim) for shape in shapes)
        assert spec.bytes_per_token == 4 * numbers


def test_every_family_called_exact_is_tested(spec_of: SpecOf) -> None:
    shown = {spec_of(name).architecture for name in EXACT}
    assert len(EXACT) - len(shown) == 2  # Llama stands there three times
    assert {name.split("_yarn")[0].replace("llama3", "llama") for name in EXACT} == set(
        EXACT_FAMILIES
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mistral_sliding", "3 of its 3 layers see a sliding window of 8 tokens"),
        ("gemma2", "2 of its 3 layers see a sliding window of 8 tokens"),
        ("llama_dynamic", "dynamic NTK"),
        ("lfm2", "2 of its 3 layers are of kind conv"),
    ],
)
def test_what_is_not_exact_yet_is_refused_with_the_reason(
    name: str, reason: str, spec_of: SpecOf
) -> None:
    assert reason in str(spec_of(name).activation_refusal)
    assert spec_of("llama").activation_refusal is None
