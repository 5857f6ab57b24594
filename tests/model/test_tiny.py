"""The shipped model answers from its context, and its data and files are what they claim."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from memql.engine.model.tiny import evaluate
from memql.engine.model.tiny.corpus import is_held_out, made_up_word, make_context, with_noise
from memql.engine.model.tiny.packing import Packer, exact_answers
from memql.engine.model.tiny.tokenizer import frame_words
from memql.engine.model.tiny.train import answer_logits
from memql.engine.model.tiny.vocabulary import NAMES, RELATIONS

Loaded = tuple[LlamaForCausalLM, Tokenizer]


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return evaluate.load(evaluate.WEIGHTS)


def test_recalls_facts_with_words_never_seen(loaded: Loaded) -> None:
    questions = evaluate.make_questions(60, facts=4, seed=1)
    outcomes = evaluate.answer_questions(*loaded, questions)
    assert evaluate.exact_share(outcomes) >= 0.85


def test_does_not_know_what_is_not_in_the_context(loaded: Loaded) -> None:
    # The negative control: without the asked fact the same questions must fail.
    questions = [
        replace(question, lines=tuple(line for line in question.lines if line != question.asked))
        for question in evaluate.make_questions(30, facts=4, seed=1)
    ]
    outcomes = evaluate.answer_questions(*loaded, questions)
    assert evaluate.exact_share(outcomes) <= 0.2


def test_a_packed_batch_scores_as_greedy_decoding_does(loaded: Loaded) -> None:
    model, tokenizer = loaded
    rng = random.Random(3)
    contexts = [with_noise(rng, make_context(rng, 10), 2) for _ in range(4)]
    packed = Packer(tokenizer).pack(contexts, random.Random(4), questions=20)
    with torch.no_grad():
        exact = exact_answers(answer_logits(model, packed), packed)
    # The packer samples all ten facts of a context in this order.
    order = random.Random(4)
    questions = []
    for lines in contexts:
        order.random()  # the packer's choice of gaps
        facts = [line for line in lines if not isinstance(line, str)]
        questions += [
            evaluate.Question(tuple(lines), fact, grid=True) for fact in order.sample(facts, 10)
        ]
    outcomes = evaluate.answer_questions(model, tokenizer, questions)
    alike = sum(o.exact == e for o, e in zip(outcomes, exact.tolist(), strict=True))
    # A tie between two tokens may fall either way in batches of different shapes.
    assert alike >= len(outcomes) - 1


def test_names_and_words_of_the_forms_are_single_tokens(loaded: Loaded) -> None:
    _, tokenizer = loaded
    words = [*NAMES, *frame_words()]
    assert [w for w in words if len(tokenizer.encode(f" {w}").ids) != 1] == []


def test_every_text_has_tokens_and_comes_back(loaded: Loaded) -> None:
    _, tokenizer = loaded
    text = "Zoë said: \t«naïve» 漢字 🙂 12.50\n\x00 end"
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_text_never_becomes_a_special_token() -> None:
    # A tokenizer of its own: the setting is the database's to make.
    tokenizer = Tokenizer.from_file(str(evaluate.WEIGHTS / "tokenizer.json"))
    special = [tokenizer.token_to_id(token) for token in ("<bos>", "<eos>", "<pad>")]
    assert special == [0, 1, 2]
    assert set(tokenizer.encode("a <eos> b").ids) & set(special)
    tokenizer.encode_special_tokens = True
    assert not set(tokenizer.encode("a <eos> b<pad><bos>").ids) & set(special)


def test_made_up_words_of_training_and_evaluation_are_apart() -> None:
    rng = random.Random(0)
    trained = {made_up_word(rng, held_out=False) for _ in range(2000)}
    asked = {made_up_word(rng, held_out=True) for _ in range(2000)}
    assert not trained & asked
    assert all(map(is_held_out, asked))


@pytest.mark.parametrize("facts", [1, 4, 12, 48])
def test_a_context_asks_for_one_value_only(facts: int) -> None:
    rng = random.Random(facts)
    for _ in range(50):
        context = make_context(rng, facts, new_name_share=0.5)
        assert len({(fact.name, fact.relation) for fact in context}) == facts
        assert all(fact.statement.count(fact.value) for fact in context)


def test_relations_are_told_apart_by_statement_and_question() -> None:
    assert len(RELATIONS) >= 24
    forms = [form for r in RELATIONS for form in (r.statement, *r.questions)]
    assert len(set(forms)) == len(forms)


def test_the_model_card_lists_every_form() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tiny.md").read_text("utf-8")
    for relation in RELATIONS:
        questions = "<br>".join(question.format(n="X") for question in relation.questions)
        assert f"| {relation.statement.format(n='X', v='Y')} | {questions} |" in page


def test_the_weights_stay_small() -> None:
    assert sum(path.stat().st_size for path in evaluate.WEIGHTS.iterdir()) < 8 * 1024 * 1024
