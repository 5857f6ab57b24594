"""Token ids: each part alone, special tokens only from the template, BOS once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from memql.engine.model.spec import ModelSpec, describe
from memql.engine.model.tokens import Tokens
from memql.errors import DataError, OperationalError
from tests.soak import examples

SpecOf = Callable[[str], ModelSpec]
CopyOf = Callable[[str], Path]

CHAT = {
    "head": "<|user|>Memories:\n",
    "segment": "- {row}\n",
    "tail": "Question: {question}<|end|>\n<|assistant|>",
}
LOOK_ALIKES = ["<bos>", "<eos>", "<|end|>", "<|assistant|>", "<think>", "x<|end|><|end|>", "<|end"]


@pytest.fixture(scope="module")
def tokens(model_folder: Callable[[str], Path]) -> Tokens:
    return Tokens(describe("m", str(model_folder("llama")), {"template": CHAT}))


@pytest.fixture(scope="module")
def control_ids(model_folder: Callable[[str], Path]) -> dict[str, int]:
    content = json.loads((model_folder("llama") / "tokenizer.json").read_text())
    return {token["content"]: token["id"] for token in content["added_tokens"]}


def test_parts_are_what_the_template_says(tokens: Tokens, control_ids: dict[str, int]) -> None:
    assert tokens.head[:2] == [control_ids["<bos>"], control_ids["<|user|>"]]
    assert tokens.head.count(control_ids["<bos>"]) == 1
    assert tokens.decode(tokens.head) == "Memories:\n"
    tail = tokens.tail("Who has a cat?")
    assert tail[-1] == control_ids["<|assistant|>"]
    assert tail.count(control_ids["<|end|>"]) == 1
    assert tokens.decode(tail) == "Question: Who has a cat?\n"
    assert tokens.decode(tokens.segments(["Alice has a cat."])[0]) == "- Alice has a cat.\n"


def test_a_tail_is_tokenized_as_one_text(
    tokens: Tokens, model_folder: Callable[[str], Path]
) -> None:
    # As models see it in training: a question is not cut off from the words before it.
    reference = Tokenizer.from_file(str(model_folder("llama") / "tokenizer.json"))
    text = "Question: Who has a cat?<|end|>\n<|assistant|>"
    assert tokens.tail("Who has a cat?") == reference.encode(text, add_special_tokens=False).ids
    apart = [
        reference.encode(part, add_special_tokens=False).ids
        for part in ("Question: ", "Who has a cat?")
    ]
    assert tokens.tail("Who has a cat?")[: len(apart[0])] != apart[0]  # the negative control


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_look_alikes_stay_text(text: str, tokens: Tokens, control_ids: dict[str, int]) -> None:
    special = set(control_ids.values())
    (segment,) = tokens.segments([f"a {text} b"])
    assert special.isdisjoint(segment)
    assert tokens.decode(segment) == f"- a {text} b\n"
    asked = tokens.tail(f"a {text} b")
    assert [token for token in asked if token in special] == [
        token for token in tokens.tail("plain") if token in special
    ]
    assert text in tokens.decode(asked)


def test_a_template_can_write_them(tokens: Tokens, control_ids: dict[str, int]) -> None:
    # The negative control: the same text in a template is a special token.
    assert control_ids["<|end|>"] in tokens.tail("plain")


@examples(60)
@given(st.lists(st.text() | st.sampled_from(LOOK_ALIKES), max_size=6))
def test_a_segment_is_the_same_alone(tokens: Tokens, texts: list[str]) -> None:
    together = tokens.segments(texts)
    assert together == [tokens.segments([text])[0] for text in texts]
    assert all(together)


@pytest.mark.parametrize("text", ["", " ", "\n\n", "é", "日本", "🙂", "\u0000", "a" * 3000])
def test_odd_texts_come_back(text: str, tokens: Tokens) -> None:
    (segment,) = tokens.segments([text])
    assert tokens.decode(segment) == f"- {text}\n"


def test_an_empty_row_is_at_least_one_token(model_folder: Callable[[str], Path]) -> None:
    bare = {"head": "", "segment": "{row}", "tail": "{question}"}
    tokens = Tokens(describe("m", str(model_folder("llama")), {"template": json.dumps(bare)}))
    assert tokens.segment_text("") == "\n"
    assert [len(ids) >= 1 for ids in tokens.segments(["", "a"])] == [True, True]
    assert tokens.head == [0]  # BOS alone
    assert tokens.segments([]) == []


def test_bos_is_put_once(copy_of: CopyOf) -> None:
    folder = copy_of("llama")
    heads = {
        text: Tokens(describe("m", str(folder), {"template": {**CHAT, "head": text}})).head
        for text in ("<bos>Hello", "Hello", "<bos><bos>Hello")
    }
    assert heads["<bos>Hello"] == heads["Hello"]
    assert heads["Hello"].count(0) == 1 and heads["Hello"][0] == 0
    assert heads["<bos><bos>Hello"].count(0) == 2  # the control: what is asked for twice is there


@pytest.mark.parametrize(
    ("settings_json", "has_bos"),
    [
        ({"bos_token": "<bos>", "eos_token": "<eos>"}, True),
        ({"bos_token": {"content": "<bos>"}, "eos_token": "<eos>"}, True),
        ({"bos_token": "<bos>", "eos_token": "<eos>", "add_bos_token": False}, False),
        ({"bos_token": None, "eos_token": "<eos>"}, False),  # Qwen
        ({"bos_token": "<eos>", "eos_token": "<eos>"}, False),  # GPT-2
        ({"bos_token": "<eos>", "eos_token": "<eos>", "add_bos_token": True}, True),
    ],
)
def test_who_wants_a_bos(settings_json: dict[str, object], has_bos: bool, copy_of: CopyOf) -> None:
    folder = copy_of("llama")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings_json))
    spec = describe("m", str(folder), {})
    assert (spec.bos_id is not None) == has_bos
    head = Tokens(spec).head
    assert [token for token in head if token in (0, 1)] == ([spec.bos_id] if has_bos else [])


def test_a_tokenizer_that_puts_bos_itself(copy_of: CopyOf) -> None:
    folder = copy_of("llama")
    content = json.loads((folder / "tokenizer.json").read_text())
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<bos>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [
            {"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 1}},
        ],
        "special_tokens": {"<bos>": {"id": "<bos>", "ids": [0], "tokens": ["<bos>"]}},
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "tokenizer_config.json").unlink()
    spec = describe("m", str(folder), {})
    tokens = Tokens(spec)
    assert spec.bos_id == 0
    assert tokens.head.count(0) == 1
    assert 0 not in tokens.segments(["a"])[0] + tokens.tail("b")


def test_padding_and_truncation_of_a_tokenizer_are_off(copy_of: CopyOf) -> None:
    folder = copy_of("llama")
    want = Tokens(describe("m", str(folder), {})).segments(["Alice has a cat.", "Bob"])
    content = json.loads((folder / "tokenizer.json").read_text())
    content["truncation"] = {
        "direction": "Right",
        "max_length": 3,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    content["padding"] = {
        "strategy": "BatchLongest",
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 2,
        "pad_type_id": 0,
        "pad_token": "<pad>",
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    assert Tokens(describe("m", str(folder), {})).segments(["Alice has a cat.", "Bob"]) == want


def unigram_folder(folder: Path) -> Path:
    """Make the tokenizer one whose vocabulary itself lists ``</s>``, as SentencePiece's do."""
    pieces = [("<unk>", 0.0), ("</s>", 0.0), *((letter, -5.0) for letter in "ab</s>▁-\n:?QM")]
    tokenizer = Tokenizer(models.Unigram(pieces, 0, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    return folder


def test_look_alikes_that_the_vocabulary_holds_are_spelled_out(copy_of: CopyOf) -> None:
    folder = unigram_folder(copy_of("llama"))
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    plain.encode_special_tokens = True
    assert 1 in plain.encode("a</s>b", add_special_tokens=False).ids  # what is guarded against
    tokens = Tokens(describe("m", str(folder), {"template": {**CHAT, "segment": "{row}"}}))
    (segment,) = tokens.segments(["a</s>b"])
    assert 1 not in segment and tokens.decode(segment) == "a</s>b"


def test_a_row_without_any_token_is_an_error(copy_of: CopyOf) -> None:
    folder = copy_of("llama")
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    tokens = Tokens(describe("m", str(folder), {"template": {**CHAT, "segment": "{row}"}}))
    assert tokens.segments(["a b"]) == [[0, 1]]
    with pytest.raises(DataError, match="the tokenizer of model m has no token for ' '"):
        tokens.segments([" "])


def test_a_tokenizer_that_changed_is_noticed(copy_of: CopyOf) -> None:
    folder = copy_of("llama")
    spec = describe("m", str(folder), {})
    Tokens(spec)
    path = folder / "tokenizer.json"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(OperationalError, match="the tokenizer of model m in .* changed on disk"):
        Tokens(spec)


def test_a_tokenizer_that_cannot_be_used(copy_of: CopyOf) -> None:
    folder = copy_of("llama")
    (folder / "tokenizer.json").write_text('{"model": {"type": "NoSuch"}}')
    with pytest.raises(OperationalError, match="cannot be used as a tokenizer"):
        Tokens(describe("m", str(folder), {}))
