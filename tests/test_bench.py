"""The benchmarks run and notice wrong results; the times that they print are not judged here."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent

Bench = Callable[..., str]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Runs ``python -m tests.bench`` in this process, which has torch loaded already."""
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["bench", *arguments, "--rounds", "2"])
        importlib.import_module("tests.bench.__main__").main()
        return capsys.readouterr().out

    return run


def test_planning_and_writes(bench: Bench) -> None:
    printed = bench("planning", "writes")
    assert printed.count("load average") == 3
    assert "memql / duckdb: " in printed
    assert "print for DuckDB" in printed


def test_overhead(bench: Bench) -> None:
    assert "memql / model.generate: " in bench("overhead")


def test_locomo(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        json.dumps({"owner": f"conversation-{number % 2}", "content": f"Fact number {number}."})
        for number in range(12)
    ]
    (tmp_path / "facts.jsonl").write_text("\n".join(lines))
    monkeypatch.setenv("MEMQL_LOCOMO", str(tmp_path))
    printed = bench("locomo")
    assert "12 memories loaded" in printed
    assert "all tokens reused" in printed


def test_facts_that_are_not_there_are_named(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMQL_LOCOMO", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit, match="there is no .*nowhere"):
        bench("locomo")


def test_a_wrong_result_ends_a_benchmark(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    overhead = importlib.import_module("tests.bench.overhead")
    monkeypatch.setattr(overhead._Held, "by_loop", lambda held: "something else")
    with pytest.raises(SystemExit, match="wrong: the answers differ"):
        bench("overhead")


def test_an_unknown_benchmark_is_named(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench("lokomo")
    assert "no benchmark is called lokomo; there are planning, writes" in capsys.readouterr().err
