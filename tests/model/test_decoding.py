"""How answers are made: drawing, stop texts, pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from memql.engine.model.decoding import Decoding
from memql.engine.model.pieces import Pieces
from memql.engine.model.runtime import Runtime, load_runtime
from memql.engine.model.sampling import Sampler
from memql.engine.model.spec import ModelSpec
from memql.errors import ProgrammingError
from tests.soak import examples

SpecOf = Callable[[str], ModelSpec]


@pytest.fixture
def runtime(spec_of: SpecOf) -> Runtime:
    return load_runtime(spec_of("llama"))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"temperature": -1.0}, "temperature is a number from 0 to 100, found -1.0"),
        ({"temperature": float("nan")}, "temperature is a number from 0 to 100, found nan"),
        ({"top_p": 0.0}, "top_p is a number above 0 and at most 1, found 0.0"),
        ({"top_p": 1.5}, "top_p is a number above 0"),
        ({"stop": ("a", "")}, "stop is at most 16 texts, none of them empty"),
        ({"stop": ("a",) * 17}, "stop is at most 16 texts"),
    ],
)
def test_values_out_of_range(values: dict[str, object], text: str) -> None:
    with pytest.raises(ProgrammingError, match=text):
        Decoding(**{"max_tokens": 5, **values})  # type: ignore[arg-type]


def drawn(decoding: Decoding, spec: ModelSpec, logits: list[float], count: int) -> list[int]:
    sampler = Sampler(decoding, spec)
    return [sampler.choose(torch.tensor(logits)) for _ in range(count)]


def test_draws_follow_the_chances(runtime: Runtime) -> None:
    # Chances of 0.6, 0.3 and 0.1.
    logits = torch.tensor([0.6, 0.3, 0.1]).log().tolist()
    found = drawn(Decoding(1, temperature=1.0, seed=1), runtime.spec, logits, 4000)
    shares = [found.count(token) / len(found) for token in range(3)]
    assert all(abs(a - b) < 0.03 for a, b in zip(shares, (0.6, 0.3, 0.1), strict=True))
    # Colder: the likeliest more often; its chance is .36 of .46.
    cold = drawn(Decoding(1, temperature=0.5, seed=1), runtime.spec, logits, 4000)
    assert abs(cold.count(0) / len(cold) - 0.36 / 0.46) < 0.03
    # The likeliest that together have 0.8 are the first two.
    some = drawn(Decoding(1, temperature=1.0, top_p=0.8, seed=1), runtime.spec, logits, 4000)
    assert set(some) == {0, 1} and abs(some.count(0) / len(some) - 2 / 3) < 0.03
    assert set(drawn(Decoding(1, temperature=1.0, top_p=0.1), runtime.spec, logits, 20)) == {0}
    assert set(drawn(Decoding(1), runtime.spec, logits, 20)) == {0}


def test_a_seed_makes_draws_repeatable(runtime: Runtime, random_ids: list[int]) -> None:
    def answer(seed: int | None) -> tuple[int, ...]:
        prefix = runtime.prefix(100)
        decoding = Decoding(20, temperature=2.0, seed=seed)
        return runtime.generate(prefix, random_ids[:20], decoding).ids

    assert answer(7) == answer(7) != answer(8)
    assert len({answer(None) for _ in range(5)}) == 5  # the control: otherwise each time
    assert Decoding(1).is_repeatable and Decoding(1, temperature=1.0, seed=0).is_repeatable
    assert not Decoding(1, temperature=1.0).is_repeatable


def test_stop_texts_end_an_answer(runtime: Runtime, random_ids: list[int]) -> None:
    prefix = runtime.prefix(100)
    free = runtime.generate(prefix, random_ids[:20], Decoding(30)).text
    for stop in (free[4:7], free[10:11], free[-2:]):
        ended = runtime.generate(prefix, random_ids[:20], Decoding(30, stop=(stop, "\0")))
        assert ended.text == free[: free.index(stop)].strip()
        assert len(ended.ids) <= 30
    unmet = runtime.generate(prefix, random_ids[:20], Decoding(30, stop=("no such text",)))
    assert unmet.text == free  # the control


def test_pieces_are_the_answer(runtime: Runtime, random_ids: list[int]) -> None:
    prefix = runtime.prefix(100)
    for decoding in (Decoding(30), Decoding(30, temperature=3.0, seed=2, stop=("e",))):
        whole = runtime.generate(prefix, random_ids[:20], decoding)
        running = runtime.stream(prefix, random_ids[:20], decoding)
        pieces = []
        while True:
            try:
                pieces.append(next(running))
            except StopIteration as end:
                assert end.value.ids == whole.ids
                assert end.value.text == whole.text
                break
        assert "".join(pieces) == whole.text and all(pieces)
    assert len(pieces) > 1


def test_a_stream_that_is_given_up_leaves_the_prefix(
    runtime: Runtime, random_ids: list[int]
) -> None:
    prefix = runtime.prefix(100)
    runtime.extend(prefix, random_ids[:10])
    before = [(bytes(keys), bytes(values)) for keys, values in prefix.payload(0, 10)]
    want = runtime.generate(prefix, random_ids[10:20], Decoding(9)).ids
    running = runtime.stream(prefix, random_ids[10:20], Decoding(9))
    next(running)
    running.close()
    assert prefix.tokens == 10
    assert [(bytes(keys), bytes(values)) for keys, values in prefix.payload(0, 10)] == before
    assert runtime.generate(prefix, random_ids[10:20], Decoding(9)).ids == want


def as_text(ids: Sequence[int]) -> str:
    """Decode as byte tokenizers do: an unfinished character is a replacement character."""
    return bytes(ids).decode("utf-8", errors="replace")


@examples(200)
@given(
    st.text(alphabet="ab \nñ€🙂", max_size=12),
    st.lists(st.text(alphabet="ab €", min_size=1, max_size=3), max_size=3),
)
def test_pieces_of_any_text(text: str, stop: list[str]) -> None:
    ids = list(text.encode())
    pieces = Pieces(as_text, stop)
    given: list[str] = []
    for count in range(1, len(ids) + 1):
        given.append(pieces.add(ids[:count]))
        if pieces.stopped:
            break
    given.append(pieces.add(ids[: len(given)], last=True))
    ends = [(place + len(one), place) for one in stop if (place := text.find(one)) >= 0]
    assert pieces.text == "".join(given) == text[: min(ends, default=(0, len(text)))[1]].strip()
    # All at once, as a token of many characters: the same answer.
    whole = Pieces(as_text, stop)
    assert whole.add(ids, last=True) == whole.text == pieces.text


def test_pieces_come_as_soon_as_they_are_sure() -> None:
    pieces = Pieces(as_text, ("STOP",))
    given = [pieces.add(list(b"one STORY STOP"[:count])) for count in range(1, 15)]
    assert given[:9] == ["o", "n", "e", "", "", "", "", " STOR", "Y"]
    assert pieces.stopped and pieces.text == "one STORY"
