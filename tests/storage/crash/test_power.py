"""After a loss of power at any step the store opens and has all that was acknowledged."""

from __future__ import annotations

import copy
import functools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from memql.storage.activations import Activations
from memql.storage.tensors import Tensors
from tests.soak import SOAK_FACTOR
from tests.storage.crash.oracle import Read, Violation, settle
from tests.storage.crash.power import Disk
from tests.storage.crash.steps import STEPS, arm
from tests.storage.crash.work import Expected, Lane, Operation, Work

pytestmark = pytest.mark.slow

CUTS = 150 * SOAK_FACTOR
# Most steps are passed at each operation; a cut costs a copy of the store and its opening.
_CUT_ONE_IN = 3
_OPERATIONS_A_STORE = 60


class _Outage:
    """Cuts the power of a working store again and again, and checks each copy that is left."""

    def __init__(self, folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cuts: Counter[str] = Counter()
        self.unsafe = 0
        self.read = Read()
        folder.mkdir()
        self._folder = folder
        self._source = random.Random(seed)
        self._pending: dict[Lane, Operation] = {}
        self._cutting = False
        self._violation: Violation | None = None
        self._expected = Expected()
        self._disk = Disk(folder / "live")
        for step in STEPS:
            if not step.fresh and not step.left:
                arm(step, functools.partial(self._passed, step.name), monkeypatch.setattr)
        self._disk.watch(monkeypatch.setattr)
        self._seed = seed

    def run(self, operations: int) -> None:
        work = Work(self._folder / "live", self._expected, self._seed, self._hear)
        try:
            work.run(operations)
        except Exception as error:
            # On its way out a violation may have become an error of whoever called.
            raise self._violation or error from error
        finally:
            self._cutting = True
            work.close()

    def _hear(self, told: dict[str, Any]) -> None:
        if "begin" in told:
            operation = Operation.of(told["begin"])
            self._pending[operation.lane] = operation
        else:
            del self._pending[told["done"]]

    def _passed(self, name: str) -> None:
        if self._cutting or self._source.randrange(_CUT_ONE_IN):
            return
        self._cutting = True
        try:
            target = self._folder / str(self.cuts.total())
            self.cuts[name] += 1
            self.unsafe += self._disk.cut(target, self._source)
            expected = copy.deepcopy(self._expected)
            try:
                self.read.add(settle(target, expected, self._pending.values()))
            except Violation as violation:
                self._violation = Violation(f"a cut at {name}: {violation}")
                raise self._violation from violation
        finally:
            self._cutting = False


def _outages(folder: Path, monkeypatch: pytest.MonkeyPatch, cuts: int) -> list[_Outage]:
    found: list[_Outage] = []
    while sum(outage.cuts.total() for outage in found) < cuts:
        with monkeypatch.context() as patch:
            found.append(_Outage(folder / str(len(found)), len(found), patch))
            found[-1].run(_OPERATIONS_A_STORE)
    return found


def test_a_loss_of_power_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outages = _outages(tmp_path, monkeypatch, CUTS)
    cuts = sum((outage.cuts for outage in outages), Counter())
    read = Read()
    for outage in outages:
        read.add(outage.read)
    unsafe = sum(outage.unsafe for outage in outages)
    with capsys.disabled():
        each = ", ".join(f"{name} {count}" for name, count in sorted(cuts.items()))
        print(
            f"\n{cuts.total()} losses of power ({each}); {unsafe} files and names were not safe;"
            f" read again: {read.rows:,} rows, {read.nodes:,} nodes, {read.bytes:,} bytes"
        )
    assert cuts.total() >= CUTS and unsafe > CUTS and read.nodes > CUTS
    assert set(cuts) == {step.name for step in STEPS if not step.fresh and not step.left}


def _nothing(*arguments: object) -> None:
    return None


def _sync_late(patch: pytest.MonkeyPatch) -> None:
    sync = Tensors._sync
    patch.setattr(Tensors, "_sync", _nothing)
    for name in ("put", "drop", "compact"):
        patch.setattr(Activations, name, _then_synced(getattr(Activations, name), sync))


def _then_synced(wrapped: Callable[..., Any], sync: Callable[[Tensors], None]) -> Any:
    def changed(self: Activations, *arguments: Any) -> Any:
        result = wrapped(self, *arguments)
        sync(self._tensors)
        return result

    return changed


def _clean_first(purge: Callable[..., None]) -> Any:
    def changed(self: Tensors, node_ids: Sequence[int]) -> None:
        sync, clean = self._sync, self._clean
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self, "_sync", _nothing)
            patch.setattr(self, "_clean", lambda dataset: (clean(dataset), sync()))
            purge(self, node_ids)

    return changed


@pytest.mark.parametrize("lost", ["all", "files", "folders", "in time", "before cleaning"])
def test_without_a_part_of_the_syncs_something_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    if lost == "all":
        monkeypatch.setattr(Tensors, "_sync", _nothing)
    elif lost == "files":
        monkeypatch.setattr(Disk, "_synced_file", _nothing)
    elif lost == "folders":
        monkeypatch.setattr(Disk, "_synced_folder", _nothing)
    elif lost == "in time":
        _sync_late(monkeypatch)
    else:
        monkeypatch.setattr(Tensors, "purge", _clean_first(Tensors.purge))
    with pytest.raises(Violation, match="a cut at"):
        _outages(tmp_path, monkeypatch, CUTS)
