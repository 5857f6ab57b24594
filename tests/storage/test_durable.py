"""Files and folders are synced once for each change, files before the names that lead to them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from memql.storage import durable
from memql.storage.latch import Latch


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    recorded: list[str] = []
    file, folder = durable.sync_file, durable.sync_folder

    def sync_file(path: Path) -> None:
        recorded.append(path.name)
        file(path)

    def sync_folder(path: Path) -> None:
        recorded.append(path.name + "/")
        folder(path)

    monkeypatch.setattr(durable, "sync_file", sync_file)
    monkeypatch.setattr(durable, "sync_folder", sync_folder)
    return recorded


def test_only_what_changed_is_synced(tmp_path: Path, calls: list[str]) -> None:
    root = tmp_path / "root"
    (root / "data").mkdir(parents=True)
    (root / "data" / "one").write_text("1")
    synced: dict[Path, durable.Stamp] = {}
    durable.sync_tree(root, synced)
    assert calls == ["one", "data/", "root/"]
    calls.clear()
    durable.sync_tree(root, synced)
    assert calls == []
    (root / "data" / "two").write_text("2")
    durable.sync_tree(root, synced)
    assert calls == ["two", "data/"]
    calls.clear()
    (root / "data" / "one").write_text("longer")
    durable.sync_tree(root, synced)
    assert calls == ["one"]
    calls.clear()
    (root / "data" / "one").unlink()
    durable.sync_tree(root, synced)
    assert calls == ["data/"]
    assert root / "data" / "one" not in synced


def test_an_error_of_the_disk_is_not_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").write_text("1")

    def failing(descriptor: int) -> None:
        raise OSError("input/output error")

    synced: dict[Path, durable.Stamp] = {}
    monkeypatch.setattr("os.fsync", failing)
    with pytest.raises(OSError, match="input/output"):
        durable.sync_tree(tmp_path, synced)
    assert synced == {}


def test_a_latch_lets_readers_share_and_writers_be_alone() -> None:
    latch = Latch()
    together = threading.Barrier(3, timeout=10)
    inside: list[str] = []

    def read() -> None:
        with latch.shared():
            together.wait()  # passes only when all three are inside at once

    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in readers:
        thread.start()
    for thread in readers:
        thread.join()
    assert not together.broken

    def write() -> None:
        for _ in range(100):
            with latch.exclusive():
                inside.append("in")
                inside.append("out")

    writers = [threading.Thread(target=write) for _ in range(4)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert inside == ["in", "out"] * 400


def test_a_latch_is_free_again_after_an_error() -> None:
    latch = Latch()
    with pytest.raises(ValueError), latch.shared():
        raise ValueError
    with pytest.raises(ValueError), latch.exclusive():
        raise ValueError
    with latch.exclusive():
        pass
