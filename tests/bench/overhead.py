"""What MemQL adds: generate over a full hit, against transformers with the cache in its hands.

Both from the text of the question to the first token, the cache's own time of loading apart.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

import memql
from memql.engine.model.folder import SHIPPED
from memql.engine.model.runtime import load_runtime
from memql.engine.model.spec import describe
from memql.engine.model.tiny.vocabulary import NAMES, RELATIONS
from memql.engine.model.tokens import Tokens
from memql.engine.reuse import load_chain

from .measure import Ratio, check, in_turns, print_table, timed

ROUNDS = 30
MEMORIES = 100
MAX_TOKENS = 16
MOST_MS = 10  # of overhead to the first token, loading left out


def run(rounds: int | None) -> None:
    """Time both over the same tokens and print them."""
    relation = RELATIONS[0]
    name = NAMES[7]
    question = relation.questions[0].format(n=name)
    with tempfile.TemporaryDirectory() as folder, memql.connect(Path(folder) / "b.memql") as con:
        con.executemany(
            "INSERT INTO memories (content) VALUES (?)",
            [
                [relation.statement.format(n=one, v=relation.values[number % 20])]
                for number, one in enumerate(NAMES[:MEMORIES])
            ],
        )
        query = "SELECT content FROM memories MATERIALIZE AS ACTIVATION"
        activation = con.execute(query).fetchone()
        assert activation is not None
        held = _Held(activation[0], question)
        statement = f"SELECT generate($q, max_tokens := {MAX_TOKENS}) FROM memories"
        asking = con.cursor()
        answers: dict[str, str] = {}

        def ask_memql() -> None:
            row = con.execute(statement, {"q": question}).fetchone()
            assert row is not None
            check(row[0].computed_tokens == 0, "tokens of memories were computed again")
            answers["memql"] = row[0]

        def ask_generate() -> None:
            answers["model.generate"] = held.by_generate()

        def ask_loop() -> None:
            answers["a loop of forwards"] = held.by_loop()

        def first_of_memql() -> float:
            started = time.perf_counter()
            pieces = asking.stream(statement, {"q": question})
            first = next(pieces)
            seconds = time.perf_counter() - started
            answers["a stream"] = (first + "".join(pieces)).strip()
            return seconds

        store = con._session._store
        key = bytes.fromhex(activation[0].id)
        runtime = load_runtime(describe("tiny", "tiny", {}))
        tokens = activation[0].tokens

        def load() -> None:
            load_chain(key, runtime.prefix(tokens + 64), store.activations)

        def relation_alone() -> None:
            con.execute("SELECT list(content) FROM memories").fetchone()

        times = in_turns(
            {
                "memql, first token": first_of_memql,
                "by hand, first token": timed(lambda: held.first(question)),
                "loading": timed(load),
                "the relation alone": timed(relation_alone),
                "memql": timed(ask_memql),
                "model.generate": timed(ask_generate),
                "a loop of forwards": timed(ask_loop),
            },
            rounds or ROUNDS,
            warm_up=3,
        )
        check(len(set(answers.values())) == 1, f"the answers differ: {answers}")
    print(
        f"{MEMORIES} memories, {activation[0].tokens:,} tokens, all of them stored; "
        f"answer: {answers['memql']}\n"
    )
    print_table(["", "time"], [[name, str(one)] for name, one in times.items()])
    added = sorted(
        (a - b - c) * 1000
        for a, b, c in zip(
            times["memql, first token"].seconds,
            times["by hand, first token"].seconds,
            times["loading"].seconds,
            strict=True,
        )
    )
    middle = added[len(added) // 2]
    print(
        f"added to the first token, loading left out: {middle:.1f} ms "
        f"({added[0]:.1f} to {added[-1]:.1f}); the aim is {MOST_MS} ms"
    )
    relation_ms = times["the relation alone"].median * 1000
    print(
        f"of it the relation {relation_ms:.1f} ms, from rows to a prompt with its boundaries and "
        f"its way {middle - relation_ms:.1f} ms"
    )
    for other in ("model.generate", "a loop of forwards"):
        print(f"memql / {other}: {Ratio.of(times['memql'], times[other])}")
    print(
        "\nmemql's time is that of the whole statement: SQL, lookup, loading from the store with "
        "digests.\nThe others hold model, token ids and cache in memory, and undo what an answer "
        "added to it."
    )


class _Held:
    """What one would write by hand: a model and a cache of the memories, in memory."""

    def __init__(self, activation: memql.Activation, question: str) -> None:
        self._tokens = Tokens(describe("tiny", "tiny", {}))
        self._model: Any = AutoModelForCausalLM.from_pretrained(SHIPPED, dtype=torch.float32)
        self._cache = activation.to_cache()
        self._length = activation.tokens
        self._tail = self._tokens.tail(question)
        self._ids = torch.tensor([[*activation.token_ids, *self._tail]])
        self._mask = torch.ones_like(self._ids)

    @torch.inference_mode()
    def first(self, question: str) -> int:
        """Return the first token of an answer, from the text of the question."""
        ids = torch.tensor([self._tokens.tail(question)])
        logits = self._model(ids, past_key_values=self._cache, logits_to_keep=1).logits
        self._cache.crop(self._length - self._cache.get_seq_length())
        return int(logits[0, -1].argmax())

    @torch.inference_mode()
    def by_generate(self) -> str:
        """Answer with transformers' own generate."""
        output = self._model.generate(
            self._ids,
            attention_mask=self._mask,
            past_key_values=self._cache,
            max_new_tokens=MAX_TOKENS,
            do_sample=False,
        )
        self._cache.crop(self._length - self._cache.get_seq_length())
        return self._tokens.decode(output[0, self._ids.shape[1] :].tolist()).strip()

    @torch.inference_mode()
    def by_loop(self) -> str:
        """Answer with one forward for each token."""
        ends = self._model.generation_config.eos_token_id
        ids = torch.tensor([self._tail])
        answer: list[int] = []
        while len(answer) < MAX_TOKENS:
            logits = self._model(ids, past_key_values=self._cache, logits_to_keep=1).logits
            token = int(logits[0, -1].argmax())
            if token in (ends if isinstance(ends, list) else [ends]):
                break
            answer.append(token)
            ids = torch.tensor([[token]])
        self._cache.crop(self._length - self._cache.get_seq_length())
        return self._tokens.decode(answer).strip()
