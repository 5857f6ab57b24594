"""Running a model: what passes through it, cancelling, limits, one loaded model for all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from memql.engine.model.decoding import Decoding
from memql.engine.model.runtime import Runtime, load_runtime
from memql.engine.model.spec import ModelSpec, describe
from memql.errors import (
    DataError,
    InternalError,
    NotSupportedError,
    OperationalError,
)

SpecOf = Callable[[str], ModelSpec]


class Cancelled(Exception):
    """What a test's check raises."""


@pytest.fixture
def runtime(spec_of: SpecOf) -> Runtime:
    return Runtime(spec_of("llama"))


@contextmanager
def counted_positions(runtime: Runtime) -> Iterator[list[int]]:
    """Collect the number of positions of every forward pass, counted at the model's layers."""
    counts: list[int] = []
    base = runtime.model.base_model
    original = base.forward

    def forward(*args: torch.Tensor, **kwargs: torch.Tensor) -> object:
        ids = args[0] if args else kwargs["input_ids"]  # GPT-2's head passes them by place
        counts.append(ids.numel())
        return original(*args, **kwargs)

    base.forward = forward
    try:
        yield counts
    finally:
        base.forward = original


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox"])
def test_every_position_is_fed_once(name: str, spec_of: SpecOf, random_ids: list[int]) -> None:
    runtime = Runtime(spec_of(name))
    prefix = runtime.prefix(100)
    with counted_positions(runtime) as counts:
        runtime.extend(prefix, random_ids[:30], chunk_tokens=16)
        assert counts == [16, 14]
        answer = runtime.generate(prefix, random_ids[30:35], Decoding(4))
        # A prefix is not fed again, and the last token of an answer not at all.
        ended = len(answer.ids) < 4
        assert counts[2:] == [5] + [1] * (len(answer.ids) - 1 + ended)
    assert runtime.positions == sum(counts)
    assert answer.prompt_tokens == 35


def test_progress_and_seconds(runtime: Runtime, random_ids: list[int]) -> None:
    prefix = runtime.prefix(100)
    seen: list[tuple[int, int]] = []
    runtime.extend(
        prefix,
        random_ids,
        chunk_tokens=25,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(25, 60), (50, 60), (60, 60)]
    answer = runtime.generate(prefix, [7], Decoding(5))
    assert answer.text == runtime.tokens.decode(answer.ids).strip()
    assert 0 < answer.first_token_seconds <= answer.seconds


def test_cancelling_leaves_nothing_half_done(runtime: Runtime, random_ids: list[int]) -> None:
    prefix = runtime.prefix(100)
    runtime.extend(prefix, random_ids[:10])
    stored = [(bytes(keys), bytes(values)) for keys, values in prefix.payload(0, 10)]
    calls = 0

    def cancel_at_third() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        runtime.extend(prefix, random_ids[10:], chunk_tokens=8, check_cancel=cancel_at_third)
    assert prefix.tokens == 10
    calls = 0
    with pytest.raises(Cancelled):
        runtime.generate(prefix, random_ids[10:], Decoding(9), check_cancel=cancel_at_third)
    assert prefix.tokens == 10
    assert [(bytes(keys), bytes(values)) for keys, values in prefix.payload(0, 10)] == stored
    # The next request is right: the layers were put back with the count.
    fresh = runtime.prefix(100)
    runtime.extend(fresh, random_ids[:10])
    assert torch.equal(
        runtime.first_logits(prefix, random_ids[10:]), runtime.first_logits(fresh, random_ids[10:])
    )


def test_a_forward_pass_that_breaks_off_leaves_nothing(
    runtime: Runtime, random_ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = runtime.prefix(100)
    runtime.extend(prefix, random_ids[:10])
    want = runtime.first_logits(prefix, random_ids[10:])
    with monkeypatch.context() as patch:

        def broken(*args: object, **kwargs: object) -> None:
            raise MemoryError("no memory left")

        patch.setattr(runtime.model.model.layers[2], "forward", broken)
        with pytest.raises(MemoryError):
            runtime.extend(prefix, random_ids[10:])
    assert prefix.tokens == 10
    assert torch.equal(runtime.first_logits(prefix, random_ids[10:]), want)


def test_an_answer_ends_at_eos(runtime: Runtime, random_ids: list[int]) -> None:
    prefix = runtime.prefix(100)
    free = runtime.generate(prefix, random_ids, Decoding(6))
    assert len(free.ids) == 6  # the control: nothing ends it here
    ended = Runtime(replace(runtime.spec, eos_ids=(free.ids[3],)))
    answer = ended.generate(ended.prefix(100), random_ids, Decoding(6))
    assert answer.ids == free.ids[: free.ids.index(free.ids[3])]


def test_limits_are_errors_before_any_compute(runtime: Runtime, random_ids: list[int]) -> None:
    with pytest.raises(DataError, match="need 257 tokens, the context of model llama is 256"):
        runtime.prefix(257)
    prefix = runtime.prefix(60)
    with pytest.raises(InternalError, match="61 tokens behind 0 do not fit a prefix of 60"):
        runtime.extend(prefix, [*random_ids, 9])
    with pytest.raises(InternalError, match="do not fit"):
        runtime.generate(prefix, random_ids, Decoding(2))
    with pytest.raises(InternalError, match="after no token"):
        runtime.generate(prefix, [], Decoding(1))
    assert runtime.positions == 0
    # The control: exactly full is allowed, since the last token of an answer is not fed.
    assert runtime.generate(prefix, random_ids, Decoding(1)).prompt_tokens == 60


def test_bfloat16_is_close_and_the_same_split_is_the_same(
    spec_of: SpecOf, random_ids: list[int]
) -> None:
    runtime = Runtime(replace(spec_of("llama"), dtype="bfloat16"))
    logits = []
    for cut in (30, 30, 50):
        prefix = runtime.prefix(60)
        runtime.extend(prefix, random_ids[:cut])
        logits.append(runtime.first_logits(prefix, random_ids[cut:]))
    assert torch.equal(logits[0], logits[1])
    assert float((logits[0] - logits[2]).abs().max()) <= 0.1


def test_one_model_in_memory_for_the_same_weights(spec_of: SpecOf) -> None:
    spec = spec_of("llama")
    found: list[Runtime] = []
    threads = [threading.Thread(target=lambda: found.append(load_runtime(spec))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(runtime) for runtime in found}) == 1
    renamed = load_runtime(replace(spec, name="other"))
    assert renamed is not found[0]
    assert renamed.model is found[0].model and renamed.lock is found[0].lock
    assert load_runtime(spec_of("gpt2")).model is not found[0].model


def test_threads_take_turns(runtime: Runtime, random_ids: list[int]) -> None:
    want = runtime.generate(runtime.prefix(100), random_ids, Decoding(5)).ids
    found: list[tuple[int, ...]] = []

    def work() -> None:
        prefix = runtime.prefix(100)
        runtime.extend(prefix, random_ids[:30])
        found.append(runtime.generate(prefix, random_ids[30:], Decoding(5)).ids)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [want] * 4


def test_there_is_room_beside_a_model_that_leaves_a_core_and_is_not_in_use(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(threads), raising=False)
    assert not runtime.leaves_room
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(threads + 1), raising=False)
    assert runtime.leaves_room
    held, done = threading.Event(), threading.Event()

    def use() -> None:
        with runtime.lock:
            held.set()
            assert done.wait(60)

    other = threading.Thread(target=use)
    other.start()
    assert held.wait(60)
    assert not runtime.leaves_room
    done.set()
    other.join()
    assert runtime.leaves_room


def test_weights_that_changed_are_not_loaded(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("llama")
    weights = folder / "model.safetensors"

    def change() -> ModelSpec:
        tensors = load_file(weights)
        tensors["model.norm.weight"] += 1
        save_file(tensors, weights, metadata={"format": "pt"})
        return describe("m", str(folder), {})

    change()  # so that no other test has these weights in memory already
    spec = describe("m", str(folder), {})
    changed = change()
    with pytest.raises(OperationalError, match="weights of model m .* changed on disk"):
        Runtime(spec)
    assert changed.root_key([]) != spec.root_key([])
    assert Runtime(changed).spec is changed  # the control: what is described now loads


def test_weights_that_lack_a_tensor_are_not_loaded(copy_of: Callable[[str], Path]) -> None:
    # transformers would fill in random numbers.
    folder = copy_of("llama")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(OperationalError, match="lack 1 tensors, the first is model.layers.1.mlp"):
        Runtime(describe("m", str(folder), {}))


def test_damaged_weights_are_not_loaded(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("llama")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:1000])
    with pytest.raises(OperationalError, match="model m in .* does not load"):
        Runtime(describe("m", str(folder), {}))


def test_numbers_that_overflow_are_an_error(
    copy_of: Callable[[str], Path], random_ids: list[int]
) -> None:
    folder = copy_of("llama")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][:] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    runtime = Runtime(describe("m", str(folder), {}))
    with pytest.raises(OperationalError, match="gave logits that are no numbers in float32"):
        runtime.generate(runtime.prefix(100), random_ids, Decoding(3))


def test_a_device_that_is_not_there(spec_of: SpecOf) -> None:
    with pytest.raises(OperationalError, match="wants device 'cuda:99', this machine has"):
        Runtime(replace(spec_of("llama"), device="cuda:99"))


def test_a_model_of_an_unknown_family(copy_of: Callable[[str], Path]) -> None:
    folder = copy_of("llama")
    config = (folder / "config.json").read_text().replace('"llama"', '"nosuchfamily"')
    (folder / "config.json").write_text(config)
    spec = describe("m", str(folder), {})
    assert "nosuchfamily" in str(spec.activation_refusal)
    with pytest.raises((OperationalError, NotSupportedError), match="does not load"):
        Runtime(spec)
