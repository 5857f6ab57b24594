"""Time to the first token on a device, in the nine sizes of MemOS's table.

Needs memql.engine.model, torch and transformers; no store, DuckDB, Lance or sqlglot::

    python -m tests.bench.device                        # a GPU if there is one, else a small shape
    python -m tests.bench.device --shapes Qwen3-8B --device cuda --dtype bfloat16

Three ways to the first token of an answer: from text, from an activation that is in the device's
memory, and from one in plain files in the page cache (files, because a store needs Lance).
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers

from memql.engine.model.prefix import Prefix
from memql.engine.model.runtime import Runtime

from .measure import Ratio, check, in_turns, load_average, print_table, timed
from .shapes import SHAPES, first_token, random_ids, random_runtime

CONTEXT_TOKENS = (583, 2773, 6064)
QUESTION_TOKENS = (167, 303, 953)
LARGE = ("Qwen3-8B", "Qwen3-32B")

Layer = list[tuple[memoryview, memoryview]]


@contextmanager
def written(prefix: Prefix) -> Iterator[Callable[[], Iterator[Layer]]]:
    """Keep a prefix in plain files, one for each layer; give what reads these one by one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = []
        for number, (keys, values) in enumerate(prefix.payload(0, prefix.tokens)):
            (folder / f"{number}").write_bytes(keys.tobytes() + values.tobytes())
            sizes.append((keys.nbytes, values.nbytes))
        room = memoryview(bytearray(max(sum(pair) for pair in sizes)))

        def layers() -> Iterator[Layer]:
            for number, (key_bytes, value_bytes) in enumerate(sizes):
                view = room[: key_bytes + value_bytes]
                with (folder / f"{number}").open("rb", buffering=0) as file:
                    done = 0
                    while done < len(view):
                        done += file.readinto(view[done:]) or 0
                yield [(view[:key_bytes], view[key_bytes:])]

        yield layers


def compare(
    runtime: Runtime, context: Sequence[int], question: Sequence[int], rounds: int
) -> tuple[object, ...]:
    """Return one row: sizes, three times, two ratios."""
    room = len(context) + len(question)
    made = runtime.prefix(room)
    runtime.extend(made, context)
    found: dict[str, int] = {}
    slices = [(made.tokens, made.tokens)]
    with written(made) as layers:

        def from_text() -> None:
            prefix = runtime.prefix(room)
            runtime.extend(prefix, context)  # in the pieces of the activation: the same additions
            found["text"] = first_token(runtime, prefix, question)

        def from_memory() -> None:
            found["memory"] = first_token(runtime, made, question)

        def from_files() -> None:
            prefix = runtime.prefix(room)
            if runtime.leaves_room:  # as where the files are a store's
                with prefix.arriving(slices, layers()):
                    found["files"] = first_token(runtime, prefix, question)
            else:
                prefix.load(slices, layers())
                found["files"] = first_token(runtime, prefix, question)

        times = in_turns(
            {"text": timed(from_text), "memory": timed(from_memory), "files": timed(from_files)},
            rounds,
        )
    check(len(set(found.values())) == 1, f"the first tokens differ: {found}")
    ratios = [Ratio.of(times["text"], times[name]) for name in ("memory", "files")]
    return len(context), len(question), *times.values(), *ratios


def measure(shape: str, device: str, dtype: str, rounds: int, divisor: int) -> None:
    """Print the nine sizes for one shape."""
    runtime = random_runtime(shape, dtype, device)
    ids = random_ids(max(CONTEXT_TOKENS) + max(QUESTION_TOKENS), SHAPES[shape].vocabulary)
    rows = []
    for context in CONTEXT_TOKENS:
        for question in QUESTION_TOKENS:
            start, stop = context // divisor, (context + question) // divisor
            rows.append(compare(runtime, ids[:start], ids[start:stop], rounds))
    print(f"\n{shape} shape, random weights, {dtype}, on {device}\n")
    head = ("context", "question", "text", "in memory", "plain files", "text/memory", "text/files")
    print_table(head, rows)


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.device")
    there = torch.cuda.is_available()
    parser.add_argument("--device", default="cuda" if there else "cpu")
    parser.add_argument("--dtype", default="bfloat16" if there else "float32")
    parser.add_argument("--shapes", nargs="+", default=LARGE if there else ("small",))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--divisor", type=int, default=1 if there else 8, help="of all lengths")
    given = parser.parse_args()
    name = torch.cuda.get_device_name(given.device) if "cuda" in given.device else "CPU"
    print(f"{name}; {platform.platform()}, Python {platform.python_version()}")
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    print(f"load average {load_average()}")
    if given.divisor > 1:
        print(f"all lengths divided by {given.divisor}: no figures to compare with others")
    for shape in given.shapes:
        measure(shape, given.device, given.dtype, given.rounds, given.divisor)


if __name__ == "__main__":
    main()
