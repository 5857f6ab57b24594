"""Damaged bytes are noticed before use: Lance does not, so the digests must."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from memql.errors import InternalError
from memql.storage import payload as payloads
from memql.storage.activations import (
    Activations,
    DamagedNode,
    LayerHeader,
    NodeHeader,
    NodeSlice,
)
from memql.storage.nodes import Node
from memql.storage.places import OpenFiles, Place
from memql.storage.store import Store
from memql.storage.tensors import Row, Tensors, TensorsFailed

pytestmark = pytest.mark.slow

Payload = list[tuple[bytes, bytes]]

SHAPE = (2, 16, 16)  # 1 KiB of bfloat16 for each of K and V
HEADER = NodeHeader("m", "bfloat16", 1, 16, (LayerHeader("full", SHAPE, SHAPE),) * 3)


def _payload(seed: int) -> Payload:
    source = random.Random(seed)
    return [(source.randbytes(1024), source.randbytes(1024)) for _ in range(3)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with three nodes in a row."""
    store = Store.open(tmp_path / "s")
    for number in range(3):
        parent = b"%d" % (number - 1) if number else None
        assert store.activations.put(
            HEADER, parent, 16 * number, [(b"%d" % number, 16)], [], _payload(number), "a"
        )
    store.close()
    return tmp_path / "s"


def _data_files(folder: Path) -> list[Path]:
    return sorted((folder / "activations.lance" / "data").glob("*.lance"))


def _check(folder: Path) -> list[str | None]:
    """What is wrong with each node; a node that reads well has the bytes that were put."""
    store = Store.open(folder)
    # A new one each time: Lance keeps what it has read of a file's description.
    activations = Activations(store, folder)
    problems = []
    for node, problem in activations.verify():
        problems.append(problem)
        if problem is None:
            found = [(bytes(k), bytes(v)) for k, v in activations.read(node)]
            assert found == _payload(node.id - 1)
    store.close()
    return problems


def _flips(folder: Path, inside: bool, count: int) -> Iterator[Path]:
    """Flip one bit after another, in payload bytes or around them; each is undone."""
    source = random.Random(7)
    for path in _data_files(folder):
        whole = path.read_bytes()
        spans = [
            (whole.index(k + v), len(k + v))
            for number in range(3)
            for k, v in _payload(number)
            if k + v in whole
        ]
        assert len(spans) == 3
        end = max(at + size for at, size in spans)
        for _ in range(count):
            if inside:
                start, size = source.choice(spans)
                at = start + source.randrange(size)
            else:
                at = source.randrange(end, len(whole))
            path.write_bytes(
                whole[:at] + bytes([whole[at] ^ 1 << source.randrange(8)]) + whole[at + 1 :]
            )
            yield path
        path.write_bytes(whole)


def test_undamaged_nodes_pass(folder: Path) -> None:
    assert _check(folder) == [None, None, None]


def test_every_flipped_bit_of_a_payload_is_noticed(folder: Path) -> None:
    flips = 0
    kept_open = Store.open(folder)
    for _ in _flips(folder, inside=True, count=8):
        problems = _check(folder)
        assert len([problem for problem in problems if problem is not None]) == 1
        assert any("digest of layer" in (problem or "") for problem in problems)
        flips += 1
    assert flips == 24
    kept_open.close()
    assert _check(folder) == [None, None, None]


def test_without_digests_flipped_bits_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payloads, "is_sound", lambda *_: True)
    wrong = 0
    for _ in _flips(folder, inside=True, count=2):
        with pytest.raises(AssertionError):
            _check(folder)
        wrong += 1
    assert wrong == 6


def test_flipped_bits_around_payloads_never_give_wrong_bytes(folder: Path) -> None:
    noticed = 0
    kept_open = Store.open(folder)
    for _ in _flips(folder, inside=False, count=15):
        noticed += any(_check(folder))  # which also compares what is read
    assert noticed > 0
    kept_open.close()


@pytest.mark.parametrize("damage", ["cut", "zeroed", "missing", "swapped"])
def test_other_damage_is_noticed(folder: Path, damage: str) -> None:
    first, second, _ = _data_files(folder)
    if damage == "cut":
        first.write_bytes(first.read_bytes()[:1000])
    elif damage == "zeroed":
        first.write_bytes(bytes(first.stat().st_size))
    elif damage == "missing":
        first.unlink()
    else:
        kept = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(kept)
    problems = _check(folder)
    assert len([problem for problem in problems if problem]) == (2 if damage == "swapped" else 1)


def test_a_lost_dataset_damages_its_nodes_only(folder: Path) -> None:
    shutil.rmtree(folder / "activations.lance")
    assert all(problem and "damaged" in problem for problem in _check(folder))


def test_a_chain_names_the_node_that_is_damaged(folder: Path) -> None:
    for path in _flips(folder, inside=True, count=1):
        number = next(n for n in range(3) if path == _data_files(folder)[_file_of(folder, n)])
        store = Store.open(folder)
        chain = store.activations.chain(b"2")
        with pytest.raises(DamagedNode) as damaged:
            list(store.activations.read_chain(chain))
        assert damaged.value.node_id == number + 1
        store.activations.quarantine(damaged.value.node_id, damaged.value.message)
        assert store.activations.tree.find(b"2") is None
        store.close()
        break


def _file_of(folder: Path, number: int) -> int:
    """The data file of a node, told by a layer that the flip has not touched."""
    for index, path in enumerate(_data_files(folder)):
        whole = path.read_bytes()
        if any(k in whole or v in whole for k, v in _payload(number)):
            return index
    raise AssertionError(number)


def test_a_layer_stops_before_the_damage(folder: Path) -> None:
    store = Store.open(folder)
    link = store.activations.chain(b"0")[0]
    digests = (*link.node.digests[:2], bytes(16))
    odd = Node(1, None, 0, HEADER, link.node.bytes, digests)
    layers = store.activations.read_chain([NodeSlice(odd, 16)])
    assert bytes(next(layers)[0][0]) == _payload(0)[0][0]
    next(layers)
    with pytest.raises(DamagedNode, match="layer 2"):
        next(layers)
    store.close()


def test_swapped_layers_and_shapes_are_noticed() -> None:
    text = HEADER.to_json().encode()
    blob = bytes(2048)
    other = NodeHeader("m", "float16", 1, 16, HEADER.layers).to_json().encode()
    digests = {
        payloads.digest(text, 0, blob),
        payloads.digest(text, 1, blob),
        payloads.digest(other, 0, blob),
        payloads.digest(text, 0, bytes(2047) + b"1"),
    }
    assert len(digests) == 4
    assert NodeHeader.from_json(HEADER.to_json()) == HEADER


def test_a_wrong_size_is_noticed_before_it_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Tensors(folder / "activations.lance", False)
    assert len(data.read(Row(0, 2048))) == 2048
    with pytest.raises(TensorsFailed, match="cannot read row 0"):
        data.read(Row(0, 2049))
    assert data.places([Row(0, 2049)]) == [None]
    (place,) = data.places([Row(0, 2048)])  # the control
    assert place is not None and place.bytes == 2048


def test_a_place_that_its_blob_has_left_is_not_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(folder)
    find = Tensors.places
    asked: list[int] = []
    read = Tensors.read

    def wrong(self: Tensors, rows: Sequence[Row]) -> list[Place | None]:
        places = find(self, rows)
        first, second = places[0], places[1]
        assert first is not None and second is not None
        moved = replace(first, position=second.position)
        gone = replace(second, path=second.path.with_name("gone"))
        return [moved, gone, replace(first, position=2**64), *places[3:]]

    def noted(self: Tensors, row: Row) -> bytes:
        asked.append(row.id)
        return read(self, row)

    monkeypatch.setattr(Tensors, "places", wrong)
    monkeypatch.setattr(Tensors, "read", noted)
    (link,) = store.activations.chain(b"0")
    found = [(bytes(k), bytes(v)) for k, v in store.activations.read(link.node)]
    assert found == _payload(0)
    assert len(asked) == 3
    store.close()


def test_places_are_found_again_after_a_compaction(folder: Path) -> None:
    data = Tensors(folder / "activations.lance", False)
    rows = [Row(row, 2048) for row in range(9)]

    def contents() -> list[bytes]:
        found = []
        with OpenFiles() as files:
            for place in data.places(rows):
                assert place is not None
                blob = bytearray(place.bytes)
                assert files.read_into(place, memoryview(blob))
                found.append(bytes(blob))
        return found

    before, places = contents(), data.places(rows)
    assert before == [data.read(row) for row in rows]
    data.compact()
    assert contents() == before
    assert data.places(rows) != places
    with OpenFiles() as files:  # the old files are gone, and what is not there is said
        assert places[0] is not None
        assert not files.read_into(places[0], memoryview(bytearray(2048)))


def test_rows_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    data = Tensors(tmp_path / "none", False)
    assert data.node_ids() == set()
    data.purge([1])
    with pytest.raises(TensorsFailed, match="cannot read row 0"):
        data.read(Row(0, 1))
    with pytest.raises(TensorsFailed, match="cannot find 1 layers"):
        data.places([Row(0, 1)])


@pytest.mark.parametrize(
    ("boundaries", "layers", "size", "said"),
    [
        ([(b"k", 16)], 2, 1024, "layers came with 2"),
        ([(b"k", 16)], 4, 1024, "node of 3 layers came with more"),
        ([(b"k", 16)], 3, 1023, r"came with \(1023, 1023\) bytes"),
        ([], 3, 1024, "must ascend"),
        ([(b"k", 0), (b"l", 16)], 3, 1024, "must ascend"),
        ([(b"k", 16), (b"l", 2)], 3, 1024, "must ascend"),
        ([(b"k", 3)], 3, 1024, "last boundary of a node of 16 tokens is at 3"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    boundaries: list[tuple[bytes, int]], layers: int, size: int, said: str
) -> None:
    payload = [(bytes(size), bytes(size))] * layers
    with pytest.raises(InternalError, match=said):
        payloads.check(HEADER, boundaries)
        list(payloads.blobs(HEADER, payload, []))
    payloads.check(HEADER, [(b"k", 2), (b"l", 16)])
    assert len(list(payloads.blobs(HEADER, _payload(0), []))) == 3
    odd = NodeHeader("m", "complex64", 1, 16, HEADER.layers)
    with pytest.raises(InternalError, match="dtype 'complex64'"):
        payloads.check(odd, [(b"k", 16)])
    long = NodeHeader("m", "bfloat16", 1, 17, HEADER.layers)
    with pytest.raises(InternalError, match="has not its 17 tokens"):
        payloads.check(long, [(b"k", 17)])
