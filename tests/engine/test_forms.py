"""Text and activation give the model the same tokens, and the same answers."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import memql
from memql.engine.model.runtime import Runtime
from memql.engine.model.sampling import Sampler
from memql.engine.model.tiny.corpus import make_context
from memql.engine.prompt import Row
from memql.engine.segments import Segments
from memql.storage.store import Store
from tests.engine.conftest import Fed
from tests.soak import examples

pytestmark = pytest.mark.slow

QUESTION = "What must Alice not eat?"
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            ["Alice must not eat peanuts.", "Bob lives in Oslo.", " two  spaces ", "<bos><eos>", ""]
        ),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60),
    ),
    min_size=1,
    max_size=8,
)


class FirstLogits:
    """The logits of the first token of each answer, as the runtime itself saw them."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def last(self) -> torch.Tensor:
        """Return those of the last answer and forget the others."""
        first = self.seen[0]
        self.seen.clear()
        return first


@pytest.fixture
def first_logits(monkeypatch: pytest.MonkeyPatch) -> FirstLogits:
    record = FirstLogits()
    choose = Sampler.choose

    def recorded(self: Sampler, logits: torch.Tensor) -> int:
        record.seen.append(logits.clone())
        return choose(self, logits)

    monkeypatch.setattr(Sampler, "choose", recorded)
    return record


@settings(
    examples(12),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(texts=TEXTS)
def test_text_and_activation_are_the_same_tokens(
    texts: list[str], fed: Fed, first_logits: FirstLogits
) -> None:
    with memql.connect(":memory:") as con:
        con.executemany("INSERT INTO memories (content) VALUES (?)", [[text] for text in texts])
        query = f"SELECT generate('{QUESTION}', max_tokens := 4) FROM memories"
        answers, prompts, logits = [], [], []
        for form, passes in (("PLAINTEXT", 2), ("ACTIVATION", 2), ("ACTIVATION", 1)):
            fed.take()
            first_logits.seen.clear()
            row = con.execute(f"{query} MATERIALIZE AS {form}").fetchone()
            assert row is not None
            answers.append(row[0])
            prompts.append([token for ids in fed.passes[:passes] for token in ids])
            logits.append(first_logits.last())
        tail = prompts[2]
        # Id for id the same prompt, and of a stored one nothing but the question is fed.
        assert prompts[1] == prompts[0]
        assert prompts[0][-len(tail) :] == tail
        assert answers[2].reused_tokens == len(prompts[0]) - len(tail)
        assert answers[2].computed_tokens == 0
        made = con.execute("FROM memories MATERIALIZE AS ACTIVATION").fetchone()
        assert made is not None
        assert [*made[0].token_ids, *tail] == prompts[0]
        # The same answers, and the first token's logits over the whole vocabulary.
        assert answers[0] == answers[1] == answers[2]
        assert (logits[1] - logits[0]).abs().max() <= 1e-4
        assert (logits[2] - logits[0]).abs().max() <= 1e-4


def test_an_activation_of_many_nodes_gives_the_answers_of_text(first_logits: FirstLogits) -> None:
    chooser = random.Random(20)
    for _ in range(8):
        facts = make_context(chooser, chooser.randint(4, 12))
        with memql.connect(":memory:") as con:
            for start in range(0, len(facts), 3):
                con.executemany(
                    "INSERT INTO memories (content) VALUES (?)",
                    [[fact.statement] for fact in facts[start : start + 3]],
                )
                con.execute("FROM memories MATERIALIZE AS ACTIVATION")
            answers, logits = [], []
            for form in ("PLAINTEXT", "ACTIVATION"):
                first_logits.seen.clear()
                query = f"SELECT generate(?) FROM memories MATERIALIZE AS {form}"
                row = con.execute(query, [facts[-1].question]).fetchone()
                assert row is not None
                answers.append(row[0])
                logits.append(first_logits.last())
            assert answers[0] == answers[1]
            assert (answers[0].reused_tokens, answers[1].computed_tokens) == (0, 0)
            assert (logits[1] - logits[0]).abs().max() <= 1e-4


def test_the_logits_oracle_notices_one_token_less(runtime: Runtime) -> None:
    ids = [*runtime.tokens.head, *runtime.tokens.segments(["Alice must not eat peanuts."])[0]]
    tail = runtime.tokens.tail(QUESTION)
    whole = runtime.first_logits(runtime.prefix(100), [*ids, *tail])
    short = runtime.prefix(100)
    runtime.extend(short, ids[:-2])
    assert (runtime.first_logits(short, tail) - whole).abs().max() > 1e-4


def test_only_what_is_new_is_computed(con: memql.Connection, fed: Fed) -> None:
    query = f"SELECT generate('{QUESTION}') FROM memories WHERE owner = 'alice'"
    con.execute("SELECT content FROM memories WHERE owner = 'alice' MATERIALIZE AS ACTIVATION")
    first = fed.take()
    # Rows of others come before one's own, and new ones behind: the prefix stays.
    con.execute("INSERT INTO memories (owner, content) VALUES ('alice', 'Alice has a cat.')")
    row = con.execute(query + " MATERIALIZE AS ACTIVATION").fetchone()
    assert row is not None
    answer = row[0]
    new, tail, *decoded = fed.passes
    assert answer.reused_tokens == len(first)
    assert answer.computed_tokens == len(new)
    assert answer.tokens == len(first) + len(new)
    assert answer.question_tokens == len(tail)
    assert all(len(ids) == 1 for ids in decoded)
    plan = "\n".join(line for (line,) in con.execute("EXPLAIN ANALYZE " + query))
    assert f"reused_tokens: {answer.tokens}" in plan
    assert "computed_tokens: 0" in plan


def test_explain_computes_and_writes_nothing(con: memql.Connection, fed: Fed, path: Path) -> None:
    query = "SELECT owner, generate('Who?') FROM memories GROUP BY owner MATERIALIZE AS ACTIVATION"
    plan = [line for (line,) in con.execute("EXPLAIN " + query)]
    assert sum("Prompt" in line for line in plan) == 2
    assert fed.take() == []
    store = Store.open(path)
    assert store.activations.nodes() == []
    assert store.cursor().execute("SELECT count(*) FROM _memql.segments").fetchone() == (0,)
    store.close()


def test_use_changes_no_stored_tensor(con: memql.Connection, path: Path) -> None:
    con.execute("FROM memories MATERIALIZE AS ACTIVATION")
    store = Store.open(path)
    nodes = store.activations.nodes()
    before = [[(bytes(k), bytes(v)) for k, v in store.activations.read(node)] for node in nodes]
    assert before
    for _ in range(3):
        con.execute(f"SELECT generate('{QUESTION}') FROM memories MATERIALIZE AS ACTIVATION")
    after = [[(bytes(k), bytes(v)) for k, v in store.activations.read(node)] for node in nodes]
    assert after == before
    assert store.activations.nodes() == nodes
    assert [problem for _, problem in store.activations.verify() if problem] == []
    store.close()


def test_a_cache_given_out_is_the_users_own(con: memql.Connection, runtime: Runtime) -> None:
    row = con.execute("FROM memories MATERIALIZE AS ACTIVATION").fetchone()
    assert row is not None
    cache = row[0].to_cache()
    assert cache.get_seq_length() == row[0].tokens
    cache.layers[0].keys.fill_(7)
    again = row[0].to_cache()
    assert not (again.layers[0].keys == 7).any()


def test_segments_are_tokenized_once(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch, runtime: Runtime, path: Path
) -> None:
    con.execute("FROM memories MATERIALIZE AS PLAINTEXT")
    con.close()
    again = memql.connect(path)
    asked: list[str] = []
    tokenize = type(runtime.tokens).segments

    def recorded(self: object, texts: list[str]) -> list[list[int]]:
        asked.extend(texts)
        return tokenize(self, texts)  # type: ignore[arg-type]

    monkeypatch.setattr(type(runtime.tokens), "segments", recorded)
    again.execute("FROM memories MATERIALIZE AS PLAINTEXT")
    assert asked == []
    again.execute("INSERT INTO memories (content) VALUES ('new')")
    again.execute("FROM memories MATERIALIZE AS PLAINTEXT")
    assert asked == ["new"]
    again.close()


def test_equal_texts_of_other_rows_have_other_keys(path: Path, runtime: Runtime) -> None:
    con = memql.connect(path)
    insert = "INSERT INTO memories (owner, content) VALUES (?, 'The same text.')"
    con.execute(insert, ["alice"])
    con.execute(insert, ["bob"])
    keys = [
        con.execute("SELECT content FROM memories WHERE owner = ? MATERIALIZE AS ACTIVATION", [who])
        .fetchall()[0][0]
        .id
        for who in ("alice", "bob")
    ]
    assert keys[0] != keys[1]
    con.close()


def test_rows_of_no_memory_are_keyed_by_the_user(path: Path, runtime: Runtime) -> None:
    store = Store.open(path)
    segments = Segments(store)
    row = [Row("The same text.", ())]
    keys = {
        segments.prompt(row, runtime.spec, who).segments[0].key for who in ("alice", "bob", "alice")
    }
    assert len(keys) == 2
    store.close()


def test_a_group_reuses_what_an_earlier_group_of_its_statement_stored(path: Path) -> None:
    con = memql.connect(path)
    con.executemany("INSERT INTO memories (content, kind) VALUES (?, ?)", [["a", "x"], ["b", "y"]])
    rows = con.execute(
        "SELECT generate('Who?', max_tokens := 1 ORDER BY content) FROM memories, range(2) t(n) "
        "WHERE kind = 'x' OR n = 1 GROUP BY n MATERIALIZE AS ACTIVATION"
    ).fetchall()
    short, long = sorted((answer for (answer,) in rows), key=lambda answer: answer.tokens)
    assert short.tokens < long.tokens
    # One group's rows begin the other's, whichever of them came first.
    assert short.computed_tokens + long.computed_tokens == long.tokens
    con.close()
