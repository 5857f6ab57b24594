"""Every family: a prefix that is stored, loaded, cut, extended gives what a full prefill gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from memql.engine.model.decoding import Decoding
from memql.engine.model.families import EXACT_FAMILIES
from memql.engine.model.layer import InPlaceLayer
from memql.engine.model.prefix import Prefix
from memql.engine.model.runtime import Runtime, load_runtime
from memql.engine.model.spec import ModelSpec, describe
from tests.model.conftest import CONFIGS

pytestmark = pytest.mark.slow

SpecOf = Callable[[str], ModelSpec]

REFUSED = ["lfm2", "moshi", "qwen3_next"]
EXACT = sorted(set(CONFIGS) - set(REFUSED))
SLIDING = [
    "cohere2", "gemma2", "gemma3_text", "gpt_oss", "llama4_text", "mistral_sliding",
    "qwen2_sliding",
]  # fmt: skip
SWITCHING = ["llama_dynamic", "phi3_longrope"]
TOLERANCE = 1e-4
HALF_TOLERANCE = 0.1
CHUNK_TOKENS = 7


def full_logits(runtime: Runtime, ids: list[int]) -> torch.Tensor:
    """Return the logits after `ids` as transformers computes them, without any cache."""
    with torch.no_grad():
        logits: torch.Tensor = runtime.model(input_ids=torch.tensor([ids]), use_cache=False).logits[
            0, -1
        ]
    return logits.float()


def full_greedy(runtime: Runtime, ids: list[int], tokens: int) -> list[int]:
    """Return the likeliest continuation, each token from a full prefill."""
    answer: list[int] = []
    while len(answer) < tokens:
        token = int(full_logits(runtime, ids + answer).argmax())
        if token in runtime.spec.eos_ids:
            break
        answer.append(token)
    return answer


def extended(runtime: Runtime, ids: list[int], capacity_tokens: int) -> Prefix:
    prefix = runtime.prefix(capacity_tokens)
    runtime.extend(prefix, ids, chunk_tokens=CHUNK_TOKENS)
    return prefix


def rebuilt(runtime: Runtime, live: Prefix, cut: int) -> Prefix:
    """Return a prefix loaded from the bytes of another, as two nodes with `cut` between them."""
    prefix = runtime.prefix(live.capacity_tokens)
    for start, stop in ((0, cut), (cut, live.tokens)):
        if stop > start:
            layers = ([layer] for layer in live.payload(start, stop))
            prefix.load([(stop - start, stop - start)], layers)
    return prefix


def difference(runtime: Runtime, prefix: Prefix, ids: list[int]) -> float:
    """Return how far the logits over a prefix of `ids` are from those of a full prefill."""
    logits = runtime.first_logits(prefix, ids[prefix.tokens :])
    return float((logits - full_logits(runtime, ids)).abs().max())


@pytest.mark.parametrize("name", EXACT)
def test_extension_is_full_prefill(name: str, spec_of: SpecOf, random_ids: list[int]) -> None:
    runtime = load_runtime(spec_of(name))
    for cut in (1, 16, len(random_ids) // 2, len(random_ids) - 1):
        live = extended(runtime, random_ids[:cut], len(random_ids))
        again = rebuilt(runtime, live, cut // 3)
        # The same tokens in the same pieces: the very same numbers.
        tail = random_ids[cut:]
        assert torch.equal(runtime.first_logits(again, tail), runtime.first_logits(live, tail))
        assert difference(runtime, again, random_ids) <= TOLERANCE


@pytest.mark.parametrize("name", EXACT)
def test_answers_are_those_of_full_prefills(
    name: str, spec_of: SpecOf, random_ids: list[int]
) -> None:
    runtime = load_runtime(spec_of(name))
    room = 64 if name in SWITCHING else 100
    live = extended(runtime, random_ids[:40], room)
    answer = runtime.generate(rebuilt(runtime, live, 20), random_ids[40:55], Decoding(8))
    assert list(answer.ids) == full_greedy(runtime, random_ids[:55], 8)


@pytest.mark.parametrize("name", EXACT)
def test_half_precision(name: str, spec_of: SpecOf, random_ids: list[int]) -> None:
    runtime = Runtime(replace(spec_of(name), dtype="bfloat16"))
    for cut in (16, len(random_ids) - 1):
        live = extended(runtime, random_ids[:cut], len(random_ids))
        again = rebuilt(runtime, live, cut // 3)
        tail = random_ids[cut:]
        assert torch.equal(runtime.first_logits(again, tail), runtime.first_logits(live, tail))
        assert difference(runtime, again, random_ids) <= HALF_TOLERANCE


@pytest.mark.parametrize("name", SLIDING)
def test_sliding_windows_at_every_boundary(
    name: str, spec_of: SpecOf, random_ids: list[int]
) -> None:
    runtime = load_runtime(spec_of(name))
    live = extended(runtime, random_ids, len(random_ids))
    for cut in range(1, len(random_ids)):
        prefix = runtime.prefix(len(random_ids))
        layers = ([layer] for layer in live.payload(0, len(random_ids)))
        prefix.load([(len(random_ids), cut)], layers)
        assert difference(runtime, prefix, random_ids) <= TOLERANCE


# Not Qwen2, whose first layer is a full one: positions are counted there.
@pytest.mark.parametrize("name", [name for name in SLIDING if name != "qwen2_sliding"])
def test_a_dropped_true_length_is_seen(name: str, spec_of: SpecOf, random_ids: list[int]) -> None:
    # The negative control: sliding layers that know only of the tokens in their window, which is
    # what a cache of transformers' own comes to if it is filled by update().
    runtime = load_runtime(spec_of(name))
    live = extended(runtime, random_ids[:-3], len(random_ids))
    with live.lent() as (cache, _):
        layer: Any
        for layer in cache.layers:
            assert isinstance(layer, InPlaceLayer)
            if layer.window_tokens is not None:
                kept = layer.window_tokens - 1
                first = layer.tokens - kept
                for states in (layer.keys, layer.values):
                    states[:, :, :kept] = states[:, :, first : layer.tokens].clone()
                layer.tokens = kept
        with torch.inference_mode():
            tail = torch.tensor([random_ids[-3:]])
            logits = runtime.model(input_ids=tail, past_key_values=cache).logits[0, -1]
    assert float((logits - full_logits(runtime, random_ids)).abs().max()) > 100 * TOLERANCE


@pytest.mark.parametrize("name", ["llama", "gpt2", "qwen3", "deepseek_v3"])
def test_a_dropped_token_is_seen(name: str, spec_of: SpecOf, random_ids: list[int]) -> None:
    # The negative control of the tests of extension.
    runtime = load_runtime(spec_of(name))
    prefix = extended(runtime, random_ids[1:30], len(random_ids))
    logits = runtime.first_logits(prefix, random_ids[30:])
    assert float((logits - full_logits(runtime, random_ids)).abs().max()) > 100 * TOLERANCE


def test_a_wrong_window_is_seen(spec_of: SpecOf, random_ids: list[int]) -> None:
    # The negative control of the sliding layers: they show the model one token too few.
    runtime = load_runtime(spec_of("mistral_sliding"))
    prefix = extended(runtime, random_ids[:-1], len(random_ids))
    with prefix.lent() as (cache, _):
        for layer in cache.layers:
            assert isinstance(layer, InPlaceLayer) and layer.window_tokens == 8
            layer.window_tokens = 7
    assert difference(runtime, prefix, random_ids) > 100 * TOLERANCE


def test_a_family_that_is_not_exact_is_not_called_so(
    spec_of: SpecOf, random_ids: list[int]
) -> None:
    # Moshi's layers are those of a sliding window, its mask is not: a piece of its prompt sees
    # other tokens than the whole does.
    runtime = load_runtime(spec_of("moshi"))
    prefix = extended(runtime, random_ids[:30], len(random_ids))
    assert difference(runtime, prefix, random_ids) > 100 * TOLERANCE
    assert "not among those shown" in str(runtime.spec.activation_refusal)


@pytest.mark.parametrize("name", ["lfm2", "qwen3_next"])
def test_states_with_one_end_answer_from_text(
    name: str, spec_of: SpecOf, random_ids: list[int]
) -> None:
    runtime = load_runtime(spec_of(name))
    prefix = extended(runtime, random_ids[:40], 100)
    assert difference(runtime, prefix, random_ids) <= TOLERANCE
    answer = runtime.generate(prefix, random_ids[40:], Decoding(8))
    assert list(answer.ids) == full_greedy(runtime, random_ids, 8)


@pytest.mark.parametrize("name", [*EXACT, *REFUSED])
def test_description_agrees_with_the_model(name: str, spec_of: SpecOf) -> None:
    spec = spec_of(name)
    shapes = load_runtime(spec).shapes
    assert spec.layers == len(shapes) == 3
    assert (spec.activation_refusal is None) == (name in EXACT)
    assert (spec.switch_tokens is not None) == (name in SWITCHING)
    if name in EXACT:
        kinds = [kind.replace("chunked", "sliding") for kind in spec.layer_kinds]
        assert [shape.kind for shape in shapes] == kinds
        numbers = sum(shape.heads * (shape.key_dim + shape.value_dim) for shape in shapes)
        assert spec.bytes_per_token == 4 * numbers


def test_every_family_called_exact_is_tested(spec_of: SpecOf) -> None:
    configs = [json.loads((spec_of(name).folder / "config.json").read_text()) for name in EXACT]
    assert {config["model_type"] for config in configs} == set(EXACT_FAMILIES)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lfm2", "2 of its 3 layers are of kind conv"),
        ("qwen3_next", "2 of its 3 layers are of kind linear_attention"),
        ("moshi", "its family (moshi) is not among those shown"),
    ],
)
def test_what_is_not_exact_is_refused_with_the_reason(
    name: str, reason: str, spec_of: SpecOf
) -> None:
    assert reason in str(spec_of(name).activation_refusal)
    assert spec_of("llama").activation_refusal is None


@pytest.mark.parametrize("name", SWITCHING)
def test_positions_that_depend_on_the_whole(
    name: str, spec_of: SpecOf, random_ids: list[int]
) -> None:
    runtime = load_runtime(spec_of(name))
    assert runtime.spec.switch_tokens == 64
    model: Any = runtime.model
    ids = [*random_ids, *random_ids]

    def theirs(count: int) -> list[int]:
        prompt = torch.tensor([ids[:count]])
        model(prompt[:, :1])  # or it would go on with the frequencies of the longest text so far
        output = model.generate(prompt, max_new_tokens=12, do_sample=False)
        answer: list[int] = output[0, count:].tolist()
        return answer[: answer.index(1)] if 1 in answer else answer

    # Past the switch from the start, across it in the answer, and short of it: each answer is that
    # of transformers, whatever was asked before.
    for count in (100, 58, 30, 58, 100):
        prefix = runtime.prefix(count + 12)
        assert prefix.stores_tokens == (count + 12 <= 64)
        runtime.extend(prefix, ids[:20])
        assert list(runtime.generate(prefix, ids[20:count], Decoding(12)).ids) == theirs(count)


@pytest.mark.parametrize("name", SWITCHING)
def test_pieces_across_the_switch_are_seen(
    name: str, spec_of: SpecOf, random_ids: list[int]
) -> None:
    # The negative control: why such prompts go in one pass, and are no activations.
    ids = [*random_ids, *random_ids]
    spec = spec_of(name)
    careless = Runtime(replace(spec, name="careless", switch_tokens=None))
    prefix = extended(careless, ids[:40], len(ids))
    logits = careless.first_logits(prefix, ids[40:])
    full = load_runtime(spec)
    want = full.first_logits(full.prefix(len(ids)), ids)
    assert float((logits - want).abs().max()) > 100 * TOLERANCE


def test_a_switch_is_where_the_configuration_says(spec_of: SpecOf) -> None:
    dynamic, long = (describe(name, str(spec_of(name).folder), {}) for name in SWITCHING)
    assert (dynamic.switch_tokens, dynamic.context_tokens) == (64, 256)  # four times as long
    assert (long.switch_tokens, long.context_tokens) == (64, 256)
    assert long.is_extendable(64) and not long.is_extendable(65)
    assert spec_of("llama").is_extendable(256)
