"""Errors of the model runtime that only an odd model or a bug brings about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from memql.engine.model import loading
from memql.engine.model.families import FULL
from memql.engine.model.layer import InPlaceLayer, LayerShape
from memql.engine.model.runtime import load_runtime
from memql.engine.model.spec import ModelSpec, describe
from memql.engine.model.tokens import Tokens
from memql.errors import DataError, InternalError, NotSupportedError

SpecOf = Callable[[str], ModelSpec]
CopyOf = Callable[[str], Path]


@pytest.mark.parametrize(
    ("dtype", "sequences", "tokens", "text"),
    [
        (torch.float16, 1, 2, "a cache of torch.float32 was given keys of torch.float16"),
        (torch.float32, 2, 2, "a cache of 1 sequences of 4 tokens was given 2 of 2"),
        (torch.float32, 1, 5, "a cache of 1 sequences of 4 tokens was given 1 of 5"),
    ],
)
def test_states_that_do_not_fit_a_layer(
    dtype: torch.dtype, sequences: int, tokens: int, text: str
) -> None:
    room = torch.zeros(1, 2, 4, 8)
    layer = InPlaceLayer(LayerShape(FULL, 2, 8, 8, None), room, room.clone())
    states = torch.zeros(sequences, 2, tokens, 8, dtype=dtype)
    with pytest.raises(InternalError, match=text) as raised:
        layer.update(states, states)
    assert raised.value.code == "XX000"
    assert layer.tokens == 0


def test_a_model_whose_tokens_wait_is_not_extended(spec_of: SpecOf) -> None:
    prefix = load_runtime(spec_of("lfm2")).prefix(8)
    with pytest.raises(InternalError, match="tokens wait until a request feeds them"):
        with prefix.extended():
            raise AssertionError("nothing is lent")


def test_layers_of_different_lengths(spec_of: SpecOf) -> None:
    prefix = load_runtime(spec_of("llama")).prefix(8)
    with pytest.raises(InternalError, match=r"left layers of \[0, 3\] tokens"):
        with prefix.extended():
            prefix.layers[1].tokens = 3
    assert [layer.tokens for layer in prefix.layers] == [0, 0, 0]


def test_tokens_that_a_prefix_does_not_have(spec_of: SpecOf, random_ids: list[int]) -> None:
    runtime = load_runtime(spec_of("llama"))
    prefix = runtime.prefix(8)
    runtime.extend(prefix, random_ids[:5])
    with pytest.raises(InternalError, match="tokens 2 to 7 of a prefix of 5"):
        prefix.payload(2, 7)


def test_a_model_without_a_cache(spec_of: SpecOf, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCache(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return input_ids

    monkeypatch.setattr(loading, "_from_files", lambda _: NoCache())
    with pytest.raises(NotSupportedError, match="has no KV cache") as raised:
        loading._load(spec_of("llama"))
    assert raised.value.hint == "use a model with attention layers"


def test_layers_that_are_not_as_described(spec_of: SpecOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_probe", lambda _: (LayerShape("StateLayer", 0, 0, 0, None),))
    spec = replace(spec_of("llama"), name="m")
    with pytest.raises(InternalError, match="whose layers keep single tokens; it has layers of"):
        loading._load(spec)


def test_positions_that_depend_on_the_whole_are_not_stored(
    spec_of: SpecOf, random_ids: list[int]
) -> None:
    runtime = load_runtime(spec_of("phi3_longrope"))
    prefix = runtime.prefix(65)
    runtime.extend(prefix, random_ids[:5])
    with pytest.raises(NotSupportedError, match="with room for 65 tokens the positions of this"):
        prefix.payload(0, 5)
    assert runtime.prefix(64).layer_shapes(0, 0)  # the control


def test_a_character_that_is_a_control_token_itself(copy_of: CopyOf) -> None:
    folder = copy_of("llama")
    pieces = [("<unk>", 0.0), ("§", 0.0), *((letter, -5.0) for letter in "ab▁-\n:?QM")]
    tokenizer = Tokenizer(models.Unigram(pieces, 0, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    tokenizer.add_special_tokens(["§"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "§"}')
    template = {"head": "", "segment": "{row}", "tail": "{question}"}
    tokens = Tokens(describe("m", str(folder), {"template": template}))
    assert tokens.segments(["ab"])
    with pytest.raises(DataError, match="model m has no way to write '§' as plain text") as raised:
        tokens.segments(["a§b"])
    assert raised.value.code == "22021"
