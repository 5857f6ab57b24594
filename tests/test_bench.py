"""The benchmarks run and notice wrong results; the times that they print are not judged here."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import memql

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
