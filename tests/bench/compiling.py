"""Growth of peak memory while a long activation is compiled and written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from memql.engine.model.runtime import CHUNK_TOKENS

from .first_token import new_store, put_node
from .measure import check, print_table
from .shapes import SHAPES, random_ids, random_runtime

MODEL = "Qwen3-0.6B"
TOKENS = 4096
MOST = 1.5  # times the keys and values, and one chunk's activations


def run(rounds: int | None) -> None:
    """Compile once and print how much memory it took; more rounds would show the same."""
    runtime = random_runtime(MODEL)
    ids = random_ids(TOKENS, SHAPES[MODEL].vocabulary)
    runtime.extend(runtime.prefix(16), ids[:16])  # what is allocated once and for all is there
    chunk = peak_growth(lambda: runtime.extend(runtime.prefix(CHUNK_TOKENS), ids[:CHUNK_TOKENS]))
    chunk = max(chunk - CHUNK_TOKENS * runtime.spec.bytes_per_token, 0)
    with new_store() as store:

        def compile_and_write() -> None:
            prefix = runtime.prefix(TOKENS)
            runtime.extend(prefix, ids)
            put_node(store, prefix, 0, TOKENS, None)
            sizes.append(prefix.bytes)

        sizes: list[int] = []
        growth = peak_growth(compile_and_write)
    (size,) = sizes
    print(f"{MODEL} shape, bfloat16, {TOKENS:,} tokens in chunks of {CHUNK_TOKENS:,}\n")
    print_table(
        ("", "MB"),
        [
            ("keys and values", f"{size / 1e6:.0f}"),
            ("one chunk's activations", f"{chunk / 1e6:.0f}"),
            ("growth of peak memory, the write included", f"{growth / 1e6:.0f}"),
        ],
    )
    print(f"(growth - chunk) / keys and values: {(growth - chunk) / size:.2f}")
    check(growth < MOST * size + chunk, f"more than {MOST} times keys and values, and a chunk")


def peak_growth(run_it: Callable[[], object]) -> int:
    """Return by how many bytes the most memory that a call takes exceeds what was there before."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what there is
    before = _status("VmRSS")
    run_it()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {name}")
