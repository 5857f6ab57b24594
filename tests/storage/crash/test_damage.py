"""All damage of payloads is noticed; that of other files is noticed or changes nothing."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from memql.storage import payload as payloads
from memql.storage.activations import Activations
from memql.storage.store import Store
from tests.soak import SOAK_FACTOR
from tests.storage.crash.work import HEADER, LAYERS, TOKENS, payload

pytestmark = pytest.mark.slow

PAYLOADS = 1000 * SOAK_FACTOR
OTHERS = 300 * SOAK_FACTOR
# The nodes' ids: the compaction behind the third takes a number, too.
NODES = (1, 2, 3, 5, 6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with nodes in one merged file, and in files of their own."""
    store = Store.open(tmp_path / "s")
    for node_id in NODES:
        key = f"n{node_id}"
        found = store.activations.put(
            HEADER, None, 0, [(key.encode(), TOKENS)], [], payload(key), "a"
        )
        assert found == node_id
        if node_id == 3:
            store.activations.compact()
    store.close()
    return tmp_path / "s"


def _places(folder: Path) -> dict[Path, list[tuple[int, int, int]]]:
    """Where the blobs of nodes are: offset, size and node, by file."""
    found: dict[Path, list[tuple[int, int, int]]] = {}
    for path in (folder / "activations.lance" / "data").iterdir():
        whole = path.read_bytes()
        for node_id in NODES:
            for key, value in payload(f"n{node_id}"):
                if key + value in whole:
                    place = (whole.index(key + value), len(key + value), node_id)
                    found.setdefault(path, []).append(place)
    assert sum(map(len, found.values())) == len(NODES) * LAYERS
    return found


def _damage(whole: bytes, places: list[tuple[int, int, int]], source: random.Random) -> bytes:
    kind = source.choice(("flip", "cut", "zero", "swap") if len(places) > 1 else ("flip", "zero"))
    start, size, _ = source.choice(places)
    at = start + source.randrange(size)
    if kind == "flip":
        return whole[:at] + bytes([whole[at] ^ 1 << source.randrange(8)]) + whole[at + 1 :]
    if kind == "cut":
        return whole[:at]
    if kind == "zero":
        end = min(start + size, at + source.choice((8, 64, 4096)))
        return whole[:at] + bytes(end - at) + whole[end:]
    (one, _, _), (two, _, _) = sorted(source.sample(places, 2))
    parts = (whole[:one], whole[two : two + size], whole[one + size : two])
    return b"".join((*parts, whole[one : one + size], whole[two + size :]))


def _read(store: Store, folder: Path) -> dict[int, bool]:
    """Which nodes are told to be damaged; the others have the bytes that were put."""
    # New each time: Lance keeps what it has read of a file's description.
    activations = Activations(store, folder)
    found = {}
    for node, problem in activations.verify():
        found[node.id] = problem is not None
        if problem is None:
            read = [(bytes(k), bytes(v)) for k, v in activations.read(node)]
            assert read == payload(f"n{node.id}"), f"node {node.id} is wrong, and nobody says so"
    return found


def _damage_all(folder: Path, count: int) -> Counter[str]:
    counted: Counter[str] = Counter()
    places = _places(folder)
    files = sorted(places)
    store = Store.open(folder)
    try:
        for number in range(count):
            source = random.Random(number)
            path = source.choice(files)
            whole = path.read_bytes()
            damaged = _damage(whole, places[path], source)
            # Zeroing zeros, or swapping what is equal, is no damage.
            hurt = {
                node
                for start, size, node in places[path]
                if damaged[start : start + size] != whole[start : start + size]
            }
            path.write_bytes(damaged)
            told = _read(store, folder)
            assert all(told[node] for node in hurt), (number, hurt, told)
            beside = {node for _, _, node in places[path]}
            assert not any(told[node] for node in told.keys() - beside), (number, hurt, told)
            path.write_bytes(whole)
            counted["damaged" if hurt else "not damaged"] += 1
            if number % 10 == 0:
                assert not any(_read(store, folder).values()), "an undamaged store is refused"
                counted["control"] += 1
    finally:
        store.close()
    return counted


def test_all_damage_of_payloads_is_noticed(folder: Path) -> None:
    counted = _damage_all(folder, PAYLOADS)
    assert counted["damaged"] >= 0.99 * PAYLOADS and counted["control"] == PAYLOADS // 10


def test_damage_of_payloads_is_not_noticed_without_digests(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payloads, "is_sound", lambda *_: True)
    with pytest.raises(AssertionError, match="is wrong, and nobody says so"):
        _damage_all(folder, 50)


def test_damage_of_any_file_is_noticed_or_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = _run(tmp_path, OTHERS)
    with capsys.disabled():
        print(f"\n{OTHERS} damaged files: {found['counted']}")
    assert found["wrong"] == []
    counted = found["counted"]
    assert counted["control: equal"] == OTHERS // 10
    for place in ("catalog.duckdb: refused", "catalog.duckdb.wal: refused", "data: nodes refused"):
        assert counted[place] >= OTHERS // 40


def test_without_the_note_of_the_last_commit_a_damaged_log_loses_some(tmp_path: Path) -> None:
    found = _run(tmp_path, 60, "unchecked")
    assert found["counted"]["catalog.duckdb.wal: WRONG"] > 0


def _run(folder: Path, count: int, *options: str) -> dict[str, Any]:
    module = ["-m", "tests.storage.crash.damage", str(folder), "1", str(count), *options]
    done = subprocess.run([sys.executable, *module], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
