"""Several answers at once are the answers one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from transformers import Cache

from memql.engine.model import batch
from memql.engine.model.batch import Request, answer_together, plan_batches
from memql.engine.model.decoding import Decoding
from memql.engine.model.room import Room
from memql.engine.model.runtime import Runtime, load_runtime
from memql.engine.model.spec import ModelSpec
from tests.model.test_families import EXACT, SWITCHING

pytestmark = pytest.mark.slow

SpecOf = Callable[[str], ModelSpec]


class Cancelled(Exception):
    """What a test's check raises."""


def requests_of(runtime: Runtime, ids: list[int], decodings: list[Decoding]) -> list[Request]:
    """Return requests with prefixes and tails of different lengths."""
    requests = []
    for number, decoding in enumerate(decodings):
        prefix = runtime.prefix(100)
        runtime.extend(prefix, ids[number : 5 + 9 * number], chunk_tokens=16)
        requests.append(Request(prefix, ids[40 : 43 + number], decoding))
    return requests


@pytest.mark.parametrize("name", [name for name in EXACT if name not in SWITCHING])
def test_together_as_one_by_one(name: str, spec_of: SpecOf, random_ids: list[int]) -> None:
    runtime = load_runtime(spec_of(name))
    requests = requests_of(runtime, random_ids, [Decoding(7), Decoding(3), Decoding(9)])
    alone = [runtime.generate(one.prefix, one.ids, one.decoding) for one in requests]
    batches = plan_batches(runtime, [(45, 7), (46, 3), (47, 9)])
    if len(batches) == 3:
        return  # a model without positions of its own is asked one by one
    # Memory that was used before may hold anything; what is padding must not be looked at.
    spoilt = Room(1 << 20, runtime.model.device)
    assert spoilt.memory is not None
    spoilt.memory.fill_(255)
    del spoilt
    found = answer_together(runtime, requests)
    assert [one.ids for one in found] == [one.ids for one in alone]
    assert [one.text for one in found] == [one.text for one in alone]
    assert [one.prompt_tokens for one in found] == [one.prompt_tokens for one in alone]
    assert all(0 < one.first_token_seconds <= one.seconds for one in found)


def test_most_families_can_be_batched(spec_of: SpecOf) -> None:
    alone = {
        name for name in EXACT
        if len(plan_batches(load_runtime(spec_of(name)), [(45, 7), (46, 3)])) == 2
    }  # fmt: skip
    assert alone == {"bloom", "mpt", *SWITCHING}


def test_padding_that_is_seen_changes_answers(
    spec_of: SpecOf, random_ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The negative control.
    runtime = load_runtime(spec_of("llama"))
    requests = requests_of(runtime, random_ids, [Decoding(7)] * 3)
    right = [one.ids for one in answer_together(runtime, requests)]
    feed = Runtime.feed_together

    def careless(
        self: Runtime, cache: Cache, ids: torch.Tensor, seen: torch.Tensor, places: torch.Tensor
    ) -> torch.Tensor:
        return feed(self, cache, ids, torch.ones_like(seen), places)

    monkeypatch.setattr(Runtime, "feed_together", careless)
    assert [one.ids for one in answer_together(runtime, requests)] != right


def test_each_answer_has_its_own_decoding(spec_of: SpecOf, random_ids: list[int]) -> None:
    runtime = load_runtime(spec_of("llama"))
    plain = requests_of(runtime, random_ids, [Decoding(12)] * 3)
    texts = [runtime.generate(one.prefix, one.ids, one.decoding).text for one in plain]
    stop = texts[1][len(texts[1]) // 2 :][:2]
    decodings = [
        Decoding(12, temperature=1.5, seed=4),
        Decoding(12, stop=(stop,)),
        Decoding(12, temperature=1.5, seed=4, top_p=0.5),
    ]
    requests = requests_of(runtime, random_ids, decodings)
    alone = [runtime.generate(one.prefix, one.ids, one.decoding) for one in requests]
    found = answer_together(runtime, requests)
    assert [(one.ids, one.text) for one in found] == [(one.ids, one.text) for one in alone]
    assert stop not in found[1].text and texts[1].startswith(found[1].text)


def test_cancelling_a_batch(spec_of: SpecOf, random_ids: list[int]) -> None:
    runtime = load_runtime(spec_of("llama"))
    requests = requests_of(runtime, random_ids, [Decoding(12)] * 2)
    calls = 0

    def cancel() -> None:
        nonlocal calls
        calls += 1
        if calls == 12:  # three layers for each tail, then in the second token of both
            raise Cancelled

    with pytest.raises(Cancelled):
        answer_together(runtime, requests, check_cancel=cancel)
    assert [one.prefix.tokens for one in requests] == [5, 13]


def test_a_batch_is_worth_its_padding(spec_of: SpecOf, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = load_runtime(spec_of("llama"))
    assert plan_batches(runtime, []) == []
    assert plan_batches(runtime, [(10, 5), (12, 5), (11, 5)]) == [[1, 2, 0]]
    # 768 bytes a token against weights of 0.6 MB: 3,000 tokens of padding are too much.
    assert plan_batches(runtime, [(10, 5), (3000, 5), (11, 5)]) == [[1], [2, 0]]
    assert [len(one) for one in plan_batches(runtime, [(10, 5)] * 40)] == [32, 8]
    monkeypatch.setattr(batch, "MOST_BYTES", 768 * 40)
    assert plan_batches(runtime, [(10, 5)] * 4) == [[0, 1], [2, 3]]
    assert plan_batches(load_runtime(spec_of("lfm2")), [(9, 1), (10, 1)]) == [[0], [1]]
