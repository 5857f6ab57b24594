"""The demo checks itself; here it is checked that it does."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from memql.cli import main
from memql.demo import run_demo, tour


def test_the_whole_demo_and_its_closing_table(tmp_path: Path) -> None:
    kept = tmp_path / "kept.memql"
    done = subprocess.run(
        [sys.executable, "-m", "memql", "demo", "--keep", str(kept)],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "FORCE_COLOR"},
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "WRONG" not in done.stdout
    assert f"memql shell {kept}" in done.stdout
    assert (kept / "catalog.duckdb").exists()

    closing = done.stdout.partition("What was reused and saved")[2]
    rows = {
        cells[0]: [int(cell.replace(",", "")) for cell in cells[1:5] if cell.strip()]
        for line in closing.splitlines()
        if len(cells := [cell.strip() for cell in line.split("|")]) == 7
        and cells[0] not in ("alice_diary", "together")
    }
    tokens, reused, computed = rows.pop("compiled once")
    assert (reused, computed) == (0, tokens)
    assert list(rows) == [
        "asked again",
        "after a new memory",
        "after an update",
        "after reopening",
    ]
    assert rows["asked again"] == [tokens, tokens, 0, tokens]
    longer, before, new, _ = rows["after a new memory"]
    assert (before, longer) == (tokens, tokens + new)
    assert 0 < new < 20
    total, prefix, behind, _ = rows["after an update"]
    assert prefix + behind == total
    assert 0 < prefix < before
    assert rows["after reopening"] == [total, total, 0, total]
    assert re.search(r"tokens \(\d\d%\) never went through the model", closing)


def test_a_wrong_answer_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tour, "_ALLERGY", "What must Alice not eat?")
    monkeypatch.setattr(tour, "_RUNS", 1)
    shown = io.StringIO()
    assert not run_demo(shown)
    assert "WRONG: the answer: expected Alice is allergic to sesame., found" in shown.getvalue()
    assert "checks failed" in shown.getvalue()
    monkeypatch.setattr("memql.demo.run_demo", lambda stream, keep: False)
    assert main(["demo"]) == 1


def test_the_store_is_never_made_in_a_folder_that_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--keep", str(tmp_path)]) == 1
    assert "is there already" in capsys.readouterr().err


def test_the_memories_of_the_demo() -> None:
    text = files("memql.demo").joinpath("memories.jsonl").read_text()
    memories = [json.loads(line) for line in text.splitlines()]
    assert len(memories) >= 100
    assert {memory["owner"] for memory in memories} == {"alice", "bob", "carol", "dave", "emma"}
    assert len({memory["content"] for memory in memories}) == len(memories)
    assert len({memory["kind"] for memory in memories}) >= 6
