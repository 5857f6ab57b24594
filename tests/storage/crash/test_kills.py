"""A child that is killed at any moment loses nothing that was acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import memql
from tests.soak import SOAK_FACTOR
from tests.storage.crash import kills, mutants
from tests.storage.crash.kills import Covered, Life, Missed, Nursery
from tests.storage.crash.oracle import Violation
from tests.storage.crash.steps import BY_NAME, LEAVING, STEPS

pytestmark = pytest.mark.slow

KILLS, EACH = (300, 8) if SOAK_FACTOR == 1 else (1000, 30)
COMPILING_KILLS = 20


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    started = Nursery()
    yield started
    started.close()


def test_kills_lose_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    covered = kills.run(tmp_path, KILLS, EACH, seed=1_000_000)
    with capsys.disabled():
        print(f"\n{covered}")
    assert sum(covered.kills.values()) >= KILLS
    assert min(covered.kills[step.name] for step in STEPS) >= EACH
    assert covered.kills["at random"] >= 50
    # Enough was done and read for its silence to mean something.
    assert min(covered.operations.values()) >= KILLS // 4
    assert covered.pending >= KILLS // 2
    assert covered.read.rows > 10 * KILLS and covered.read.nodes > KILLS


def test_kills_while_a_model_compiles_lose_nothing(tmp_path: Path) -> None:
    nursery = Nursery(compiles=True)
    covered = Covered()
    life = Life(tmp_path / "s", check_nodes=False)
    names = [*LEAVING, "put.writing", "put.syncing", "put.publishing", "put.published"]
    steps = [BY_NAME[name] for name in [*names, "drop.purged", "compact.synced"]]
    for seed, step in enumerate([*steps, *[None] * (COMPILING_KILLS - len(steps))]):
        life.settle(life.crash(nursery, step, seed, covered), covered)
        with memql.connect(life.folder) as con:
            stored, plain = [
                con.execute(
                    "SELECT generate('Who says what?', max_tokens := 4) FROM memories"
                    f" MATERIALIZE AS {form}"
                ).fetchall()
                for form in ("ACTIVATION", "PLAINTEXT")
            ]
        assert stored == plain
    nursery.close()
    assert sum(covered.kills.values()) == COMPILING_KILLS
    assert covered.operations["compile"] >= COMPILING_KILLS and covered.read.nodes > 0


@pytest.mark.parametrize("mutant", mutants.MUTANTS)
def test_a_protocol_without_one_of_its_parts_is_caught(
    mutant: str, tmp_path: Path, nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate(mutants.MUTANTS[mutant]):
        life = Life(tmp_path / str(number))
        # The whole protocol passes the same crash.
        life.settle(life.crash(nursery, BY_NAME[name], number, Covered()), Covered())
        with monkeypatch.context() as patch:
            mutants.break_protocol(mutant, patch.setattr)
            pending = life.crash(nursery, BY_NAME[name], number + 100, Covered(), mutant)
            with pytest.raises(Violation) as caught:
                life.settle(pending, Covered())
        assert mutants.MUTANTS[mutant][name] in str(caught.value)


def test_a_lie_about_what_was_acknowledged_is_caught(tmp_path: Path, nursery: Nursery) -> None:
    life = Life(tmp_path / "s")
    life.settle(life.crash(nursery, BY_NAME["write.noted"], 1, Covered()), Covered())
    name = life.expected.alive()[0]
    life.expected.memories[name].append(("never written", "active"))
    with pytest.raises(Violation, match="the versions of memories"):
        life.settle([], Covered())
    life.expected.memories[name].pop()
    life.expected.nodes["nowhere"] = None
    with pytest.raises(Violation, match="the nodes"):
        life.settle([], Covered())
    del life.expected.nodes["nowhere"]
    life.settle([], Covered())


def test_a_child_that_fails_or_is_not_killed_is_no_success(
    tmp_path: Path, nursery: Nursery
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Violation, match="is not a MemQL store"):
        Life(tmp_path / "file").crash(nursery, BY_NAME["put.synced"], 1, Covered())
    # In a store that is there already, nothing of its making is passed.
    life = Life(tmp_path / "s")
    life.settle(life.crash(nursery, BY_NAME["write.noted"], 1, Covered()), Covered())
    with pytest.raises(Violation, match="ended with 1, not at"):
        life.crash(nursery, BY_NAME["open.making"], 2, Covered())
    with pytest.raises(Missed):
        life.crash(nursery, BY_NAME["recover.swept"], 3, Covered())
