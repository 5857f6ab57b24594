"""Prefixes: to bytes and back bitwise, unchanged by use, and to transformers' own cache."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from memql.engine.model.decoding import Decoding
from memql.engine.model.prefix import Prefix
from memql.engine.model.runtime import Runtime, load_runtime
from memql.engine.model.spec import ModelSpec
from memql.errors import InternalError, NotSupportedError, OperationalError
from tests.model.test_families import EXACT, SWITCHING

SpecOf = Callable[[str], ModelSpec]
Layer = tuple[memoryview, memoryview]


@pytest.fixture
def runtime(spec_of: SpecOf) -> Runtime:
    return load_runtime(spec_of("llama"))


def filled(runtime: Runtime, ids: list[int], capacity_tokens: int = 100) -> Prefix:
    prefix = runtime.prefix(capacity_tokens)
    runtime.extend(prefix, ids)
    return prefix


def as_bytes(payload: Iterable[Layer]) -> list[tuple[bytes, bytes]]:
    return [(bytes(keys), bytes(values)) for keys, values in payload]


def read_only(*payloads: Iterable[Layer]) -> Iterator[list[Layer]]:
    """Yield the layers of nodes as a store gives them: read-only, in memory that is used again."""
    room: list[bytearray] = []
    for nodes in zip(*payloads, strict=True):
        room = room or [bytearray(len(part)) for node in nodes for part in node]
        for old, part in zip(room, (part for node in nodes for part in node), strict=True):
            old[:] = part
        views = [memoryview(part).toreadonly() for part in room]
        yield list(zip(views[0::2], views[1::2], strict=True))


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral_sliding"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_payload_round_trip_is_bitwise(
    name: str, dtype: str, spec_of: SpecOf, random_ids: list[int]
) -> None:
    runtime = Runtime(replace(spec_of(name), dtype=dtype))
    source = filled(runtime, random_ids[:30])
    target = runtime.prefix(64)
    chain = [(20, 20), (4, 4)]
    target.load(chain, read_only(source.payload(0, 20), source.payload(20, 24)), dtype=dtype)
    target.load([(6, 6)], read_only(source.payload(24, 30)), dtype=dtype)
    assert target.tokens == 30
    assert (
        target.bytes
        == source.bytes
        == 30 * runtime.shapes[0].heads * 2 * 3 * 16 * (4 if dtype == "float32" else 2)
    )
    assert as_bytes(target.payload(0, 30)) == as_bytes(source.payload(0, 30))
    # The same tokens in the same pieces: the very same logits.
    assert torch.equal(
        runtime.first_logits(target, random_ids[30:]), runtime.first_logits(source, random_ids[30:])
    )


def test_the_first_tokens_of_a_node_are_enough(runtime: Runtime, random_ids: list[int]) -> None:
    source = filled(runtime, random_ids[:30])
    target = runtime.prefix(30)
    target.load([(30, 12)], read_only(source.payload(0, 30)))
    assert target.tokens == 12
    assert as_bytes(target.payload(0, 12)) == as_bytes(source.payload(0, 12))
    # The negative control: other tokens have other bytes.
    assert as_bytes(target.payload(0, 12)) != as_bytes(source.payload(1, 13))


def test_payload_has_the_shapes_it_says(runtime: Runtime, random_ids: list[int]) -> None:
    prefix = filled(runtime, random_ids[:9])
    shapes = prefix.layer_shapes(2, 7)
    assert shapes == [("full_attention", (2, 5, 16), (2, 5, 16))] * 3
    for (keys, values), (_, key_shape, _) in zip(prefix.payload(2, 7), shapes, strict=True):
        assert keys.nbytes == values.nbytes == 4 * key_shape[0] * key_shape[1] * key_shape[2]
    with prefix.lent() as (cache, _):
        stored = torch.frombuffer(list(prefix.payload(2, 7))[1][0], dtype=torch.float32)
        layer: Any = cache.layers[1]
        assert torch.equal(stored.view(2, 5, 16), layer.keys[0, :, 2:7])


def test_payload_is_a_copy(runtime: Runtime, random_ids: list[int]) -> None:
    prefix = filled(runtime, random_ids[:9], capacity_tokens=9)
    payload = list(prefix.payload(0, 9))
    before = as_bytes(payload)
    prefix.truncate(0)
    runtime.extend(prefix, random_ids[20:29])
    assert as_bytes(payload) == before != as_bytes(prefix.payload(0, 9))


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral_sliding"])
def test_use_does_not_change_what_is_stored(
    name: str, spec_of: SpecOf, random_ids: list[int]
) -> None:
    runtime = load_runtime(spec_of(name))
    prefix = filled(runtime, random_ids[:30])
    before = as_bytes(prefix.payload(0, 30))
    answers = [runtime.generate(prefix, random_ids[30:40], Decoding(5)).ids for _ in range(3)]
    runtime.first_logits(prefix, random_ids[40:])
    assert prefix.tokens == 30
    assert as_bytes(prefix.payload(0, 30)) == before
    assert answers[0] == answers[1] == answers[2]


def test_truncate_then_extend_is_a_fresh_start(runtime: Runtime, random_ids: list[int]) -> None:
    prefix = filled(runtime, random_ids[:30])
    prefix.truncate(10)
    runtime.extend(prefix, random_ids[40:50])
    fresh = runtime.prefix(100)
    runtime.extend(fresh, random_ids[:30])
    fresh.truncate(10)
    assert prefix.tokens == 20 and fresh.tokens == 10
    assert as_bytes(prefix.payload(0, 10)) == as_bytes(fresh.payload(0, 10))
    with pytest.raises(InternalError, match="a prefix of 20 tokens cannot be cut to 21"):
        prefix.truncate(21)


@pytest.mark.parametrize("name", ["llama", "gpt2", "mistral_sliding", "gemma2"])
def test_to_cache_works_with_transformers_generate(
    name: str, spec_of: SpecOf, random_ids: list[int]
) -> None:
    runtime = load_runtime(spec_of(name))
    prefix = filled(runtime, random_ids[:30])
    before = as_bytes(prefix.payload(0, 30))
    ours = runtime.generate(prefix, random_ids[30:40], Decoding(6))

    def theirs(cache: object) -> list[int]:
        ids = torch.tensor([random_ids[:40]])
        model: Any = runtime.model
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            max_new_tokens=6,
            do_sample=False,
        )
        answer: list[int] = output[0, 40:].tolist()
        return answer

    assert theirs(prefix.to_cache())[: len(ours.ids)] == list(ours.ids)
    # It was changed by that; a second one and the prefix were not.
    cache = prefix.to_cache()
    assert cache.get_seq_length() == 30
    assert as_bytes(prefix.payload(0, 30)) == before
    layer: Any
    for layer in cache.layers:
        layer.keys.zero_()
        layer.values.zero_()
    assert as_bytes(prefix.payload(0, 30)) == before


def test_a_sliding_cache_needs_its_true_length(spec_of: SpecOf, random_ids: list[int]) -> None:
    runtime = load_runtime(spec_of("mistral_sliding"))
    prefix = filled(runtime, random_ids[:30])
    want = runtime.first_logits(prefix, random_ids[30:31])

    def difference(true_length: bool) -> float:
        cache = prefix.to_cache()
        layer: Any
        for layer in cache.layers:
            if not true_length:
                layer.cumulative_length = layer.keys.shape[-2]
        with torch.no_grad():
            token = torch.tensor([random_ids[30:31]])
            logits = runtime.model(input_ids=token, past_key_values=cache).logits[0, -1]
        return float((logits - want).abs().max())

    assert difference(true_length=True) <= 1e-4
    assert difference(true_length=False) > 0.01  # the negative control


def test_an_empty_prefix_gives_an_empty_cache(runtime: Runtime) -> None:
    assert runtime.prefix(4).to_cache().get_seq_length() == 0


def test_load_refuses_what_does_not_fit(runtime: Runtime, random_ids: list[int]) -> None:
    payload = list(filled(runtime, random_ids[:10]).payload(0, 10))
    target = runtime.prefix(12)

    def attempt(
        kind: type[Exception], text: str, held: int, take: int, layers: list[Layer]
    ) -> None:
        with pytest.raises(kind, match=text):
            target.load([(held, take)], ([layer] for layer in layers))
        assert target.tokens == 0

    short = [(payload[0][0][:-4], payload[0][1]), *payload[1:]]
    attempt(OperationalError, "layer 0's keys of a stored node are 1276 bytes", 10, 10, short)
    attempt(OperationalError, "make 1408", 11, 10, payload)
    attempt(OperationalError, "has 2 layers, this model 3", 10, 10, payload[:2])
    attempt(OperationalError, "has 4 layers, this model 3", 10, 10, [*payload, payload[0]])
    attempt(InternalError, "11 of 10 stored tokens", 10, 11, payload)
    with pytest.raises(OperationalError, match="are bfloat16, this model's are float32"):
        target.load([(10, 10)], read_only(payload), dtype="bfloat16")
    target.load([(10, 10)], read_only(payload))
    with pytest.raises(InternalError, match="10 of 10 stored tokens behind 10 do not fit"):
        target.load([(10, 10)], read_only(payload))
    assert target.tokens == 10  # the negative control: what fits is loaded


@pytest.mark.parametrize("name", sorted(set(EXACT) - set(SWITCHING)))
def test_a_pass_goes_on_while_layers_arrive(
    name: str, spec_of: SpecOf, random_ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = load_runtime(spec_of(name))
    source = filled(runtime, random_ids[:20])
    one_by_one = runtime.prefix(60)
    one_by_one.load([(20, 20)], read_only(source.payload(0, 20)))
    runtime.extend(one_by_one, random_ids[20:])
    computed = [threading.Event() for _ in runtime.shapes]

    def arriving() -> Iterator[list[Layer]]:
        for number, layer in enumerate(read_only(source.payload(0, 20))):
            # The next layer comes only when the one before it has been used.
            assert not number or computed[number - 1].wait(60)
            yield layer

    prefix = runtime.prefix(60)
    for layer, done in zip(prefix.layers, computed, strict=True):
        monkeypatch.setattr(layer, "update", _telling(layer.update, done))
    with prefix.arriving([(20, 20)], arriving(), dtype="float32") as arrival:
        assert prefix.tokens == 20
        runtime.extend(prefix, random_ids[20:])
    assert arrival.seconds > arrival.waited_seconds > 0
    stop = len(random_ids)
    assert prefix.tokens == one_by_one.tokens == stop
    assert as_bytes(prefix.payload(0, stop)) == as_bytes(one_by_one.payload(0, stop))


def _telling(update: Callable[..., Any], done: threading.Event) -> Callable[..., Any]:
    def updated(*args: Any, **kwargs: Any) -> Any:
        seen = update(*args, **kwargs)
        done.set()
        return seen

    return updated


@pytest.mark.parametrize("layers", [0, 2, 3, 4])
def test_what_does_not_arrive_leaves_nothing(
    runtime: Runtime, random_ids: list[int], layers: int
) -> None:
    payload = list(filled(runtime, random_ids[:20]).payload(0, 20))

    def arriving() -> Iterator[list[Layer]]:
        yield from ([layer] for layer in [*payload, payload[0]][:layers])
        if layers < 3:
            raise OperationalError("the disk is gone")

    prefix = runtime.prefix(100)
    if layers == 3:  # the control: all of it
        with prefix.arriving([(20, 20)], arriving()):
            runtime.extend(prefix, random_ids[20:])
        assert prefix.tokens == len(random_ids)
    else:
        told = "the disk is gone" if layers < 3 else "has 4 layers, this model 3"
        with (
            pytest.raises(OperationalError, match=told),
            prefix.arriving([(20, 20)], arriving()),
        ):
            runtime.extend(prefix, random_ids[20:])
        assert prefix.tokens == 0
    # What comes next waits for nothing.
    prefix.truncate(0)
    runtime.extend(prefix, random_ids)
    assert torch.equal(
        runtime.first_logits(prefix, random_ids[:1]),
        runtime.first_logits(filled(runtime, random_ids), random_ids[:1]),
    )


def test_a_block_that_ends_in_an_error_leaves_nothing(
    runtime: Runtime, random_ids: list[int]
) -> None:
    payload = list(filled(runtime, random_ids[:20]).payload(0, 20))
    running = threading.active_count()
    prefix = runtime.prefix(100)

    def cancel() -> None:
        raise ZeroDivisionError

    with (
        pytest.raises(ZeroDivisionError),
        prefix.arriving([(20, 20)], read_only(payload)),
    ):
        runtime.extend(prefix, random_ids[20:], check_cancel=cancel)
    assert prefix.tokens == 0
    assert threading.active_count() == running
    with (
        pytest.raises(OperationalError, match="are float16, this model's are float32"),
        prefix.arriving([(20, 20)], read_only(payload), dtype="float16"),
    ):
        pytest.fail("nothing was checked")


def test_memory_is_used_again_and_never_shared(runtime: Runtime, random_ids: list[int]) -> None:
    first = filled(runtime, random_ids[:10])
    with first.lent() as (cache, _):
        layer: Any = cache.layers[0]
        place = layer.keys.data_ptr()
    second = filled(runtime, random_ids[:10])
    with second.lent() as (other, _):
        layer = other.layers[0]
        assert layer.keys.data_ptr() != place
    before = as_bytes(second.payload(0, 10))
    del first
    # What still has a layer of a prefix in its hands keeps the memory.
    third = runtime.prefix(100)
    with third.lent() as (other, _):
        assert layer is not other.layers[0]
        layer = other.layers[0]
        assert layer.keys.data_ptr() != place
    del cache
    fourth = runtime.prefix(100)
    with fourth.lent() as (other, _):
        layer = other.layers[0]
        assert layer.keys.data_ptr() == place
    runtime.extend(fourth, random_ids[10:60])
    assert as_bytes(second.payload(0, 10)) == before


def test_a_cache_of_another_dtype_is_refused(runtime: Runtime) -> None:
    with runtime.prefix(4).lent() as (cache, _):
        half = torch.zeros(1, 2, 1, 16, dtype=torch.bfloat16)
        with pytest.raises(InternalError, match="was given keys of torch.bfloat16"):
            cache.update(half, half, 0)


def test_states_with_one_end_are_not_stored(spec_of: SpecOf, random_ids: list[int]) -> None:
    runtime = load_runtime(spec_of("lfm2"))
    prefix = filled(runtime, random_ids[:10])
    assert prefix.tokens == 10 and not prefix.stores_tokens
    with pytest.raises(NotSupportedError, match="keeps no keys and values of single tokens"):
        prefix.payload(0, 10)
    with pytest.raises(NotSupportedError, match="cannot be stored"):
        prefix.to_cache()


def test_a_prefix_takes_the_beginning_of_another(
    spec_of: Callable[[str], ModelSpec], random_ids: list[int]
) -> None:
    runtime = load_runtime(spec_of("qwen3"))
    whole = filled(runtime, random_ids[:20])
    taken = runtime.prefix(30)
    taken.copy(whole, 12)
    assert taken.tokens == 12
    for mine, theirs in zip(taken.layers, whole.layers, strict=True):
        assert torch.equal(mine.keys[:, :, :12], theirs.keys[:, :, :12])
        assert torch.equal(mine.values[:, :, :12], theirs.values[:, :, :12])
    runtime.extend(taken, random_ids[12:20])
    assert whole.tokens == 20 and taken.tokens == 20
    with pytest.raises(InternalError, match="20 tokens do not fit a prefix of 10"):
        runtime.prefix(10).copy(whole, 20)
    with pytest.raises(InternalError, match="tokens 0 to 21 of a prefix of 20"):
        runtime.prefix(30).copy(whole, 21)
