"""Token ids are kept for each rendered row and tokenizer."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from memql.storage import segments
from memql.storage.segments import Segment
from memql.storage.store import Store


@pytest.fixture
def store() -> Iterator[Store]:
    opened = Store.open(":memory:")
    yield opened
    opened.close()


def _ids(*tokens: int) -> bytes:
    return b"".join(token.to_bytes(4, "little") for token in tokens)


def test_segments_are_found_by_row_version_rendering_and_tokenizer(store: Store) -> None:
    cursor = store.cursor()
    one, two = uuid.uuid4(), uuid.uuid4()
    kept = [
        Segment(one, 1, b"r" * 16, _ids(5, 6)),
        Segment(one, 2, b"r" * 16, _ids(7)),
        Segment(two, 1, b"s" * 16, b""),
    ]
    segments.add(cursor, "t", kept)
    asked = [(s.memory_id, s.version, s.rendering) for s in kept]
    other = [(one, 3, b"r" * 16), (one, 1, b"s" * 16), (uuid.uuid4(), 1, b"r" * 16)]
    found = segments.lookup(cursor, "t", asked + other + asked)
    assert found == dict(zip(asked, [_ids(5, 6), _ids(7), b""], strict=True))
    assert segments.lookup(cursor, "u", asked) == {}
    assert segments.lookup(cursor, "t", []) == {}
    assert [s.tokens for s in kept] == [2, 1, 0]


def test_the_first_ids_of_a_row_stay(store: Store) -> None:
    cursor = store.cursor()
    one = uuid.uuid4()
    segments.add(cursor, "t", [])
    segments.add(cursor, "t", [Segment(one, 1, b"r", _ids(1))])
    segments.add(cursor, "t", [Segment(one, 1, b"r", _ids(2)), Segment(one, 2, b"r", _ids(3))])
    assert segments.lookup(cursor, "t", [(one, 1, b"r"), (one, 2, b"r")]) == {
        (one, 1, b"r"): _ids(1),
        (one, 2, b"r"): _ids(3),
    }
    assert cursor.execute("SELECT sum(tokens) FROM _memql.segments").fetchone() == (2,)


def test_damaged_ids_are_not_given_out(store: Store) -> None:
    cursor = store.cursor()
    one, two = uuid.uuid4(), uuid.uuid4()
    segments.add(cursor, "t", [Segment(m, 1, b"r", _ids(1, 2)) for m in (one, two)])
    cursor.execute("UPDATE _memql.segments SET ids = ? WHERE memory_id = ?", [_ids(1, 3), one])
    found = segments.lookup(cursor, "t", [(one, 1, b"r"), (two, 1, b"r")])
    assert found == {(two, 1, b"r"): _ids(1, 2)}
