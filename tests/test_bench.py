"""The benchmarks run and notice wrong results; the times that they print are not judged here."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import memql

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent

Bench = Callable[..., str]

LINE = '{"owner": "user0", "content": "It rains."}\n'


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


def test_planning(bench: Bench) -> None:
    printed = bench("planning")
    assert printed.count("load average") == 2
    assert "print for DuckDB" in printed


def test_writes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    writes = importlib.import_module("tests.bench.writes")
    monkeypatch.setattr(writes, "ROWS", 500)
    printed = bench("writes")
    assert printed.count("memql / duckdb: ") == 2 and "500 rows" in printed
    # Where processes cannot be traced, nothing is counted, and that is said.
    counts = {line.split()[-1] for line in printed.splitlines() if line.startswith("memql  ")}
    assert counts & {"1.00", "?"} and (counts & {"1.00"} or not shutil.which("strace"))
    monkeypatch.setenv("PATH", "")
    many = memql.Connection.executemany
    monkeypatch.setattr(
        memql.Connection, "executemany", lambda con, text, rows: many(con, text, rows[1:])
    )
    with pytest.raises(SystemExit, match="wrong: 499 rows were written"):
        bench("writes")
    assert "    ?\n" in capsys.readouterr().out


def test_lines(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = importlib.import_module("tests.bench.lines")
    monkeypatch.setattr(lines, "LINES", (100, 2000))
    printed = bench("lines")
    assert "\n100   " in printed and "\n2,000 " in printed and " MB " in printed
    monkeypatch.setattr(lines, "OWNERS", 10)
    monkeypatch.setattr(lines, "_write", lambda file, lines: file.write_text(LINE * (lines - 1)))
    with pytest.raises(SystemExit, match=r"wrong: \(99, 1\) are there after 100 lines"):
        bench("lines")


def test_arrow(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    arrow = importlib.import_module("tests.bench.arrow")
    monkeypatch.setattr(arrow, "MEMORIES", 4000)
    printed = bench("arrow")
    assert "4,000 memories to an Arrow table" in printed
    assert printed.count(" ms (") == 9
    # A table that lacks rows is no figure.
    shorter = memql.Cursor.to_arrow_table
    monkeypatch.setattr(memql.Cursor, "to_arrow_table", lambda cursor: shorter(cursor)[1:])
    with pytest.raises(SystemExit, match="wrong: values"):
        bench("arrow")


def test_governance(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    governance = importlib.import_module("tests.bench.governance")
    for name, value in (("MEMORIES", 3000), ("OWNERS", 30), ("GIVERS", 3)):
        monkeypatch.setattr(governance, name, value)
    printed = bench("governance")
    assert "3,000 memories of 30 owners, loaded in" in printed
    for query in governance.QUERIES:
        assert query.name in printed
    allowed = governance._ALLOWED.replace("= 'active'", "<> 'active'")
    monkeypatch.setattr(governance, "_ALLOWED", allowed)
    with pytest.raises(SystemExit, match="wrong: one row by id: other rows"):
        bench("governance")


def test_reuse(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    reuse = importlib.import_module("tests.bench.reuse")
    sizes = (("MEMORIES", 600), ("OWNERS", 20), ("NODES", (20, 40)), ("QUERIES", 50))
    for name, value in sizes:
        monkeypatch.setattr(reuse, name, value)
    printed = bench("reuse")
    assert "A full hit of 30 segments among 600 memories" in printed
    canonical, reused = (
        int(line.split()[1].replace(",", ""))
        for line in printed.splitlines()
        if line.startswith(("canonical ", "reuse "))
    )
    assert canonical < reused
    choice = importlib.import_module("memql.engine.choice")
    monkeypatch.setattr(choice, "match", lambda prompt, store: choice.NOTHING)
    with pytest.raises(SystemExit, match="wrong: it was no full hit"):
        bench("reuse")


def test_choices(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    choices = importlib.import_module("tests.bench.choices")
    monkeypatch.setattr(choices, "CONTEXTS", (64,))
    monkeypatch.setattr(choices, "BANDWIDTHS", (None, 1e6))
    monkeypatch.setattr(choices, "SHAPES", {"narrow": choices.SHAPES["narrow"]})
    printed = bench("choices")
    assert "narrow, disk, 64 tokens" in printed and "of 2 cells" in printed
    assert "compute 64" in printed  # over a slow disk


def test_the_runtime(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {
        name: importlib.import_module(f"tests.bench.{name}")
        for name in ("loading", "first_token", "decoding", "compiling")
    }
    for module in modules.values():
        monkeypatch.setattr(module, "MODEL", "small")
    monkeypatch.setattr(modules["loading"], "CHAINS", ((1, 40), (3, 5)))
    monkeypatch.setattr(modules["first_token"], "MEMORY_TOKENS", (40,))
    monkeypatch.setattr(modules["decoding"], "TOKENS", 40)
    monkeypatch.setattr(modules["compiling"], "TOKENS", 40)
    monkeypatch.setattr(modules["compiling"], "MOST", 1e6)  # of a few kilobytes
    printed = bench(*modules)
    assert "3 nodes of 5 tokens, 0 MB" in printed and "a pickled cache" in printed
    assert "small shape, bfloat16, random weights, a question of 32 tokens" in printed
    assert "memql / StaticCache: " in printed
    assert "growth of peak memory, the write included" in printed
    monkeypatch.setattr(modules["compiling"], "MOST", -1e6)
    with pytest.raises(SystemExit, match="wrong: more than"):
        bench("compiling")
    load = modules["first_token"].load_chain

    def damaged(key: bytes, prefix: Any, store: object) -> None:
        load(key, prefix, store)
        for layer in prefix.layers:
            layer.values.neg_()

    monkeypatch.setattr(modules["first_token"], "load_chain", damaged)
    with pytest.raises(SystemExit, match="wrong: the first tokens differ"):
        bench("first_token")


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
    assert "no benchmark is called lokomo; there are planning, reuse" in capsys.readouterr().err


CORPUS = """# what DuckDB's files look like
statement ok
CREATE TABLE t(i INTEGER)

foreach n 1 2

statement ok
INSERT INTO t VALUES (${n});

endloop

query I
SELECT i FROM t ORDER BY i
----
1
2

query I
SELECT nosuchfunction(i) FROM t

statement ok
CREATE MACRO twice(x) AS 2 * x

query I
SELECT twice(i) FROM t; SELECT 1
----
2

statement error
SELECT * FROM t WHERE
----

skipif memql=no
statement ok
PRAGMA threads=1

loop k 0 2

query I
SELECT sum(i) + ${k} FROM t

endloop

mode skip

query I
SELECT 5

mode unskip

halt

query I
SELECT 6
"""


def test_the_corpus_compares_what_duckdb_answers(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "sql" / "setops"
    folder.mkdir(parents=True)
    (folder / "one.test").write_text(CORPUS)
    printed = bench("duckdb_corpus", str(folder.parent))
    assert "together            5        4   80.00%" in printed
    assert (
        "     1  create: NotSupportedError: MemQL does not run CREATE MACRO statements" in printed
    )
    assert "sql/setops/one.test:24" in printed


def test_another_answer_is_a_miss_of_the_corpus(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sql" / "setops"
    folder.mkdir(parents=True)
    (folder / "one.test").write_text(CORPUS)
    wrong = memql.Cursor.fetchall
    monkeypatch.setattr(memql.Cursor, "fetchall", lambda cursor: wrong(cursor)[1:])
    printed = bench("duckdb_corpus", str(folder.parent))
    assert "together            5        0    0.00%" in printed
    assert "other rows" in printed


def test_a_corpus_that_is_not_there_is_named(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there are no tests of DuckDB in .*: name the folder"):
        bench("duckdb_corpus", str(tmp_path))
    with pytest.raises(SystemExit):
        bench("duckdb_corpus")
