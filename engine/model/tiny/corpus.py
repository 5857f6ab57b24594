"""Synthetic memory recall: random contexts of facts with a question for each."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from memql.engine.model.tiny.english import SENTENCES
from memql.engine.model.tiny.vocabulary import DAYS, NAMES, RELATIONS, Relation

_ONSETS = (
    "b bl br c ch d dr f fl g gl gr h j k kl l m n p pl pr qu r s sh sk st t tr v w y z".split()
)
_VOWELS = "a e i o u ai ea oo".split()
_CODAS = ["", "", "", "", "n", "r", "l", "s", "m", "x", "t", "k", "nd", "rn", "ck"]


@dataclass(frozen=True)
class Fact:
    """One memory with a question for it.

    Args:
        name: whom it is about.
        relation: the relation's key.
        statement: the memory's sentence, which is also the answer.
        value: the words that the question asks for.
        question: one of the relation's questions.
        known: whether the value is from the vocabulary (otherwise it is made up).
    """

    name: str
    relation: str
    statement: str
    value: str
    question: str
    known: bool


def is_held_out(word: str) -> bool:
    """Return whether the made-up `word` is kept for evaluation: about one word in five.

    >>> is_held_out("zorbel"), is_held_out("Zorbel")
    (False, False)
    """
    return zlib.crc32(word.lower().encode()) % 5 == 0


def made_up_word(rng: random.Random, held_out: bool) -> str:
    """Return a word of two or three random syllables from the asked side of the hold-out rule."""
    while True:
        count = rng.choice((2, 2, 3))
        word = "".join(
            rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(count)
        )
        if is_held_out(word) == held_out:
            return word


def _made_up_value(rng: random.Random, relation: Relation, held_out: bool) -> str:
    words = [made_up_word(rng, held_out) for _ in range(2 if rng.random() < 0.15 else 1)]
    if rng.random() < 0.08:
        words[-1:] = [str(rng.randrange(10, 10000))]
    return " ".join(word.capitalize() if relation.capital else word for word in words)


def make_fact(
    rng: random.Random, name: str, relation: Relation, made_up_share: float, held_out: bool
) -> Fact:
    """Return a fact about `name` with a random value."""
    known = rng.random() >= made_up_share
    value = rng.choice(relation.values) if known else _made_up_value(rng, relation, held_out)
    if relation.article:
        # Both with and without the article: people write "works as baker" too.
        article = "an " if value[0] in "aeiou" else "a "
        value = (article if rng.random() < 0.6 else "") + value
    return Fact(
        name=name,
        relation=relation.key,
        statement=relation.statement.format(n=name, v=value),
        value=value,
        question=rng.choice(relation.questions).format(n=name),
        known=known,
    )


def _grid(rng: random.Random, count: int, pool: Sequence[str]) -> list[tuple[str, Relation]]:
    """Return `count` cells of a small grid of names and relations that they nearly fill."""
    rows = rng.randint(1, count)
    columns = min(-(-count // rows) + (rng.random() < 0.3), len(RELATIONS))
    rows = max(rows, -(-count // columns))
    names = rng.sample(pool, rows)
    relations = rng.sample(RELATIONS, columns)
    return rng.sample([(name, relation) for name in names for relation in relations], count)


def _loose(rng: random.Random, count: int, pool: Sequence[str]) -> list[tuple[str, Relation]]:
    """Return `count` different pairs of any name and any relation."""
    pairs: dict[tuple[str, str], tuple[str, Relation]] = {}
    while len(pairs) < count:
        name, relation = rng.choice(pool), rng.choice(RELATIONS)
        pairs[name, relation.key] = (name, relation)
    return list(pairs.values())


def make_context(
    rng: random.Random,
    count: int,
    grid_share: float = 0.75,
    made_up_share: float = 0.6,
    held_out: bool = False,
    new_name_share: float = 0.0,
) -> list[Fact]:
    """Return `count` facts in random order, each with its own (name, relation).

    Args:
        rng: the source of every choice.
        count: facts in the context.
        grid_share: share of contexts whose facts nearly fill a grid of few names and few
            relations, so that an answer must match both.
        made_up_share: share of values that are made-up words.
        held_out: take made-up words from the side kept for evaluation.
        new_name_share: share of contexts in which half of the people have made-up names.
    """
    pool: Sequence[str] = NAMES
    if new_name_share and rng.random() < new_name_share:
        new = [made_up_word(rng, held_out).capitalize() for _ in range(count + 1)]
        pool = sorted({*new, *rng.sample(NAMES, count + 1)})
    pairs = (_grid if rng.random() < grid_share else _loose)(rng, count, pool)
    return [make_fact(rng, name, relation, made_up_share, held_out) for name, relation in pairs]


# Memories that mention people and are never asked for.
_EVENTS = (
    "{a} met {b} on {day}.",
    "{a} sent a message to {b}.",
    "{a} was late for the meeting on {day}.",
    "{a} asked {b} about the plan.",
    "{a} will call on {day}.",
    "{a} and {b} had lunch together.",
    "{a} has not answered yet.",
    "{a} told {b} about a new book.",
)


def make_noise(rng: random.Random, people: Sequence[str], held_out: bool) -> str:
    """Return a memory that answers no question: an event or a sentence of ordinary English.

    Args:
        rng: the source of every choice.
        people: names that an event may mention.
        held_out: take English sentences from the side kept for evaluation.
    """
    if rng.random() < 0.6:
        first, second = rng.choice(people), rng.choice(NAMES)
        return rng.choice(_EVENTS).format(a=first, b=second, day=rng.choice(DAYS))
    return rng.choice([s for s in SENTENCES if is_held_out(s) == held_out])


def with_noise(
    rng: random.Random, facts: Sequence[Fact], lines: int, held_out: bool = False
) -> list[Fact | str]:
    """Return the facts with so many other memories between them, at random places."""
    mixed: list[Fact | str] = list(facts)
    people = [fact.name for fact in facts]
    for _ in range(lines):
        mixed.insert(rng.randint(0, len(mixed)), make_noise(rng, people, held_out))
    return mixed
