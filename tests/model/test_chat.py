"""Chat templates: split around the memories, and refused where they cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from memql.engine.model.spec import ModelSpec, describe
from memql.engine.model.tokens import Tokens
from memql.errors import ProgrammingError

CopyOf = Callable[[str], Path]

CHATML = """{% for message in messages %}<|user|>{{ message['role'] }}
{{ message['content'] | trim }}<|end|>
{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"""
WITH_BOS = "{{ bos_token }}" + CHATML
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + CHATML
)


@pytest.fixture
def chat(copy_of: CopyOf) -> Callable[..., ModelSpec]:
    """Return a function that describes a model with a chat template."""
    folder = copy_of("llama")

    def described(chat_template: object, **options: object) -> ModelSpec:
        names = {"bos_token": "<bos>", "eos_token": "<eos>", "chat_template": chat_template}
        (folder / "tokenizer_config.json").write_text(json.dumps(names))
        return describe("m", str(folder), options)

    return described


def test_split_around_the_memories(chat: Callable[..., ModelSpec]) -> None:
    template = chat(CHATML).template
    assert template.head == "<|user|>user\nMemories:\n"
    assert template.segment == "- {row}\n"
    assert template.tail == "Question: {question}<|end|>\n<|assistant|>"


def test_the_system_text_comes_first(chat: Callable[..., ModelSpec]) -> None:
    head = chat(CHATML, system="Be brief.").template.head
    assert head == "<|user|>system\nBe brief.<|end|>\n<|user|>user\nMemories:\n"


def test_a_template_without_a_system_role(chat: Callable[..., ModelSpec]) -> None:
    head = chat(NO_SYSTEM, system="Be brief.").template.head
    assert head == "<|user|>user\nBe brief.\n\nMemories:\n"
    dropped = CHATML.replace("in messages %}", "in messages if message['role'] == 'user' %}")
    assert chat(dropped, system="Be brief.").template.head == head


def test_bos_of_a_chat(chat: Callable[..., ModelSpec]) -> None:
    with_bos = chat(WITH_BOS)
    assert with_bos.bos_id == 0 and "<bos>" not in with_bos.template.head
    assert Tokens(with_bos).head.count(0) == 1
    # The control: a chat that is written without one was learned without one.
    assert chat(CHATML).bos_id is None


def test_marks_of_a_chat_are_special_tokens(chat: Callable[..., ModelSpec]) -> None:
    tokens = Tokens(chat(CHATML))
    assert tokens.head[0] == 3 and tokens.tail("Who?")[-1] == 5
    assert tokens.decode(tokens.tail("Who?")) == "Question: Who?\n"


def test_named_templates_and_files(copy_of: CopyOf) -> None:
    folder = copy_of("llama")
    listed = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHATML}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": listed}))
    want = describe("m", str(folder), {}).template
    assert want.head == "<|user|>user\nMemories:\n"
    (folder / "tokenizer_config.json").write_text("{}")
    assert describe("m", str(folder), {}).template != want
    (folder / "chat_template.jinja").write_text(CHATML)
    assert describe("m", str(folder), {}).template == want


def test_the_date_does_not_change_the_prompt(chat: Callable[..., ModelSpec]) -> None:
    dated = "{{ strftime_now('%Y-%m-%d') }}" + CHATML
    assert chat(dated).template.head.startswith("2024-07-26<|user|>")


def test_tags_and_filters_of_transformers(chat: Callable[..., ModelSpec]) -> None:
    tagged = CHATML.replace("{% if add", "{% generation %}{% endgeneration %}{% if add")
    assert chat(tagged).template == chat(CHATML).template
    assert chat("{{ 'é<' | tojson }}" + CHATML).template.head.startswith('"é<"')


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("no message at all", "does not show the user's message exactly once"),
        (CHATML + CHATML, "does not show the user's message exactly once"),
        (CHATML.replace("| trim", "| lower"), "does not show the user's message exactly once"),
        ("{% for %}", "does not run"),
        ("{{ raise_exception('not today') }}", "does not run: not today"),
        ("{{ messages.__class__.__mro__ }}", "does not run: access to attribute '__class__'"),
    ],
)
def test_templates_that_cannot_be_split(
    template: str, text: str, chat: Callable[..., ModelSpec]
) -> None:
    with pytest.raises(ProgrammingError, match=text) as caught:
        chat(template)
    assert "a template of your own" in str(caught.value.hint)
    # The way out that the hint names.
    given = {"head": "", "segment": "{row}\n", "tail": "{question}"}
    assert chat(template, template=given).template.segment == "{row}\n"
