"""Time to the first token: a node in the store against a full prefill, one model in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from memql.engine.model.prefix import Prefix
from memql.engine.model.runtime import Runtime
from memql.engine.model.spec import LAYOUT
from memql.engine.reuse import load_chain
from memql.storage.nodes import LayerHeader, NodeHeader
from memql.storage.store import Store

from .measure import Ratio, Times, check, cpu_timed, in_turns, print_table, timed
from .shapes import SHAPES, first_token, random_ids, random_runtime

ROUNDS = 3
MODEL = "Qwen3-0.6B"
QUESTION_TOKENS = 32
MEMORY_TOKENS = (1024, 4096)
THREADS = (1, 2)


def put_node(store: Store, prefix: Prefix, start: int, stop: int, parent: bytes | None) -> bytes:
    """Store tokens of a prefix as a node and return the key of its end."""
    layers = tuple(LayerHeader(*shape) for shape in prefix.layer_shapes(start, stop))
    dtype = str(prefix.dtype).removeprefix("torch.")
    header = NodeHeader("bench", dtype, LAYOUT, stop - start, layers)
    key = b"%d" % stop
    payload = prefix.payload(start, stop)
    check(
        store.activations.put(header, parent, start, [(key, stop - start)], [], payload, "a")
        is not None,
        "a node was not kept",
    )
    return key


@contextmanager
def new_store() -> Iterator[Store]:
    """Give a store in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "b.memql")
        try:
            yield store
        finally:
            store.close()


def run(rounds: int | None) -> None:
    """Time both for each length and number of threads, and print them."""
    runtime = random_runtime(MODEL)
    ids = random_ids(max(MEMORY_TOKENS) + QUESTION_TOKENS, SHAPES[MODEL].vocabulary)
    rows = []
    threads_before = torch.get_num_threads()
    for tokens in MEMORY_TOKENS:
        memory, question = ids[:tokens], ids[tokens : tokens + QUESTION_TOKENS]
        with new_store() as store:
            made = runtime.prefix(tokens + QUESTION_TOKENS)
            runtime.extend(made, memory)
            key = put_node(store, made, 0, tokens, None)
            del made
            for threads in THREADS:
                torch.set_num_threads(threads)
                rows.append(_compared(runtime, store, key, memory, question, rounds or ROUNDS))
    torch.set_num_threads(threads_before)
    print(f"{MODEL} shape, bfloat16, random weights, a question of {QUESTION_TOKENS} tokens\n")
    head = (
        "memory",
        "threads",
        "full prefill",
        "activation",
        "of it loading",
        "ratio",
        "of CPU time",
    )
    print_table(head, rows)
    print("\nThe ratio of CPU time says little of several threads, and more on a busy machine.")


def _compared(
    runtime: Runtime,
    store: Store,
    key: bytes,
    memory: list[int],
    question: list[int],
    rounds: int,
) -> tuple[object, ...]:
    tokens = len(memory)
    found: dict[str, int] = {}

    def from_text() -> None:
        prefix = runtime.prefix(tokens + len(question))
        found["text"] = first_token(runtime, prefix, [*memory, *question])

    def from_activation() -> None:
        prefix = runtime.prefix(tokens + len(question))
        load_chain(key, prefix, store.activations)
        found["activation"] = first_token(runtime, prefix, question)

    def load() -> None:
        load_chain(key, runtime.prefix(tokens + len(question)), store.activations)

    cpu_seconds: dict[str, list[float]] = {}

    def clocked(name: str, run_it: Callable[[], None]) -> Callable[[], float]:
        def both() -> None:
            cpu_seconds.setdefault(name, []).append(cpu_timed(run_it)())

        return timed(both)

    ways = {"text": from_text, "activation": from_activation, "load": load}
    times = in_turns({name: clocked(name, one) for name, one in ways.items()}, rounds)
    check(found["text"] == found["activation"], f"the first tokens differ: {found}")
    ratio = Ratio.of(times["text"], times["activation"])
    cpu_ratio = Ratio.of(*(Times(tuple(cpu_seconds[name][1:])) for name in ("text", "activation")))
    threads = torch.get_num_threads()
    return tokens, threads, *times.values(), ratio, cpu_ratio
