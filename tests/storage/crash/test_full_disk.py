"""On a full disk a statement fails or succeeds, what is read is right, and the store reopens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak import SOAK_FACTOR
from tests.storage.crash import disk
from tests.storage.crash.oracle import Violation

pytestmark = pytest.mark.slow

ROUNDS = 40 * SOAK_FACTOR


@pytest.mark.parametrize("kind", ["tmpfs", "files"])
def test_a_full_disk_makes_nothing_wrong(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "tmpfs" and not disk.can_mount(tmp_path):
        kind = "files"  # where mounting is not allowed, the other way is gone twice
    found = disk.run(tmp_path, 1, ROUNDS, kind)
    counted, read = found["counted"], found["read"]
    with capsys.disabled():
        print(f"\nfull disk ({kind}): {counted}; read again: {read}")
    failed = sum(count for name, count in counted.items() if name.startswith("code "))
    assert counted["rounds"] == ROUNDS and failed >= ROUNDS // 4
    assert counted["done"] > failed and counted["read while full"] >= ROUNDS // 2
    assert read["rows"] > 10 * ROUNDS and read["nodes"] > ROUNDS


def test_a_failure_taken_for_success_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(Violation, match="acknowledged"):
        disk.run(tmp_path, 1, ROUNDS, "files", "lie")
