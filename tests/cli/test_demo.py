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

import memql
from memql.cli import main
from memql.cli.output import make_console
from memql.demo import tour
from memql.demo.stage import Saving, Stage


@pytest.mark.slow
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


def test_a_wrong_answer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # The new memory says something else than the demo asks for.
    monkeypatch.setattr(tour, "_ALLERGY", "What must Alice not eat?")
    monkeypatch.setattr(tour, "_RUNS", 1)
    shown = io.StringIO()
    stage = Stage(make_console(shown))
    walk = tour.Tour(stage, Path("demo.memql"))
    with memql.connect(":memory:") as con:
        walk.fill(con)
        walk.compile(con)
        assert stage.mistakes == []
        walk.extend(con)
    (mistake,) = stage.mistakes
    assert mistake.startswith("WRONG: the answer: expected Alice is allergic to sesame., found ")
    assert mistake in shown.getvalue()


@pytest.mark.parametrize("expected", [736, 735])
def test_a_failed_check_fails_the_demo(
    expected: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def walk(self: tour.Tour) -> None:
        self.stage.savings.append(Saving("asked", 736, 736, 0, 0.1, 0.01))
        self.stage.check("tokens reused", expected, 736)

    monkeypatch.setattr(tour.Tour, "run", walk)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the demo would set it for the other tests too
    wrong = expected != 736
    assert main(["demo"]) == int(wrong)
    shown = capsys.readouterr().out
    assert ("WRONG: tokens reused: expected 735, found 736" in shown) == wrong
    assert ("1 of the checks failed" in shown) == wrong
    assert ("every count was checked and is right" in shown) == (not wrong)


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
