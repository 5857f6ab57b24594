"""Memories from JSON lines: all columns, attributes, and bad lines by their number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

import memql
from memql import loading
from memql.loading import COLUMNS, load_lines
from memql.storage.idempotency import KEY_COLUMN
from memql.storage.schema import MEMORY_COLUMNS

ID = "01a204c5-5e6b-7000-b07f-810cb125500f"
OTHER = "01a204c5-5e6b-7001-98b4-df94ef2d6142"


@pytest.fixture
def con() -> Iterator[memql.Connection]:
    with memql.connect(":memory:") as connection:
        yield connection


def line(**memory: Any) -> bytes:
    return json.dumps({"content": "It rains.", **memory}).encode()


def count(con: memql.Connection) -> int:
    row = con.execute("SELECT count(*) FROM memories").fetchone()
    assert row is not None
    return int(row[0])


def test_every_column_but_the_computed_ones_can_be_given(con: memql.Connection) -> None:
    computed = {"updated_at", "state", "version"}
    assert set(COLUMNS) == {name for name, _ in MEMORY_COLUMNS} - computed | {KEY_COLUMN}
    given: dict[str, Any] = {
        "id": ID,
        "owner": "alice",
        "agent": "helper",
        "session": "s1",
        "kind": "fact",
        "content": "Alice: \u201cgr\u00fcn\u201d \u4f60\u597d \U0001f642\n'quoted' $batch ?",
        "source": "mail",
        "tags": ["a", "b, c", "d'e"],
        "importance": 0.25,
        "trust": 1,
        "sensitivity": "low",
        "attributes": {"x": {"y": [1, None, 1.5, "z"]}},
        "derived_from": [OTHER],
        "superseded_by": OTHER,
        "created_at": "2023-05-08T13:56:00+02:00",
        "valid_from": "2023-05-08",
        "valid_to": "2024-01-01T00:00:00Z",
        "expires_at": "2100-01-01 00:00:00.5",
        "hold": True,
    }
    keyed = given | {KEY_COLUMN: "line 1"}
    assert set(keyed) == set(COLUMNS)
    assert load_lines(con, [json.dumps(keyed).encode()]) == 1
    assert load_lines(con, [json.dumps(keyed).encode()]) == 0  # it is there
    names = ", ".join(given)
    found = con.execute(f"SELECT {names} FROM memories").fetchone()
    assert found is not None
    row = dict(zip(given, found, strict=True))
    for name in ("owner", "content", "tags", "importance", "trust", "hold", "source"):
        assert row[name] == given[name]
    assert row["id"] == UUID(ID)
    assert row["derived_from"] == [UUID(OTHER)]
    assert json.loads(row["attributes"]) == given["attributes"]
    assert row["created_at"].isoformat() == "2023-05-08T11:56:00+00:00"
    assert row["valid_from"].isoformat() == "2023-05-08T00:00:00+00:00"
    assert row["expires_at"].isoformat() == "2100-01-01T00:00:00.500000+00:00"


def test_what_is_left_out_or_null_takes_its_default(con: memql.Connection) -> None:
    load_lines(con, [line(), line(owner=None, created_at=None, tags=None, id=None)])
    rows = con.execute(
        "SELECT owner, kind, tags, attributes, hold, state, created_at = updated_at FROM memories"
    ).fetchall()
    assert rows == [("local", None, None, None, False, "active", True)] * 2


def test_unknown_keys_join_the_nested_attributes(con: memql.Connection) -> None:
    load_lines(con, [line(mood="calm", attributes={"page": 3}), line(n=[1]), line(attributes={})])
    found = con.execute("SELECT attributes FROM memories ORDER BY id").fetchall()
    assert [json.loads(one) for (one,) in found] == [{"page": 3, "mood": "calm"}, {"n": [1]}, {}]


def test_empty_lines_a_byte_order_mark_and_windows_line_ends(con: memql.Connection) -> None:
    lines = [b"\xef\xbb\xbf" + line() + b"\r\n", b"\n", b"  \r\n", line()]
    assert load_lines(con, lines) == 2


def test_an_empty_file_is_no_memories(con: memql.Connection) -> None:
    assert load_lines(con, []) == 0


BAD = [
    (b"{", "not JSON"),
    (b'{"content": "a"} {"content": "b"}', "not JSON: Extra data at character 18"),
    (b"[1]", "a memory is a JSON object, found an array"),
    (b'"text"', "found a string"),
    (b"null", "found null"),
    (b"\xff", "not UTF-8 text: byte 1 is 0xff"),
    (b"{}", "the memory has no content"),
    (line(content=None), "the memory has no content"),
    (line(content=" \n"), "the memory has no content"),
    (line(content=5), "content is a string, found 5"),
    (line(kind=["fact"]), 'kind is a string, found ["fact"]'),
    (line(owner=""), 'owner is a string that is not empty, found ""'),
    (line(tags="food"), 'tags is an array of strings, found "food"'),
    (line(tags=["food", None]), 'tags is an array of strings, found ["food", null]'),
    (line(importance=1.5), "importance is a number from 0 to 1, found 1.5"),
    (line(importance="high"), 'importance is a number from 0 to 1, found "high"'),
    (line(trust=True), "trust is a number from 0 to 1, found true"),
    (line(hold=1), "hold is true or false, found 1"),
    (line(id="x"), 'id is a UUID as a string, found "x"'),
    (line(derived_from=[1]), "derived_from is an array of UUIDs, found [1]"),
    (line(created_at="yesterday"), "created_at is a time such as 2025-03-01T09:30:00Z"),
    (line(expires_at=1700000000), "expires_at is a time such as"),
    (line(attributes="x"), 'attributes is an object, found "x"'),
    (line(page=1, attributes={"page": 1}), 'the key "page" is both'),
    (line(version=7), "the column version is computed by MemQL"),
    (b'{"content": "a", "content": "b"}', 'the key "content" is there twice'),
    (b'{"content": "a", "importance": NaN}', "NaN is not a JSON number"),
    (b'{"content": "\\ud800"}', "a value that cannot be stored"),
    (b'{"content": "a", "x": 1e999}', "a value that cannot be stored"),
    (b"[" * 100_000, "not JSON"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_a_bad_line_is_named_and_nothing_stays(
    con: memql.Connection, bad: bytes, reason: str
) -> None:
    with pytest.raises(memql.Error) as caught:
        load_lines(con, [line(), b"", bad, line()])
    assert str(caught.value).startswith("line 3: ")
    assert reason in str(caught.value)
    assert count(con) == 0
    # The same lines without the bad one are fine.
    assert load_lines(con, [line(), b"", line()]) == 2


def test_batches_before_the_bad_line_are_undone_too(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_BATCH_ROWS", 3)
    read: list[int] = []
    lines = [line(kind=str(n)) for n in range(10)]
    with pytest.raises(memql.DataError, match=r"^line 8: "):
        load_lines(con, [*lines[:7], b"[]", *lines[7:]], lambda number, size: read.append(number))
    assert read == [3, 6]
    assert count(con) == 0
    assert load_lines(con, lines) == 10
    kinds = con.execute("SELECT kind FROM memories ORDER BY id").fetchall()
    assert kinds == [(str(n),) for n in range(10)]
    assert con.execute("SELECT DISTINCT version FROM memories").fetchall() == [(1,)]


def test_an_id_that_is_taken_is_found_by_its_line(con: memql.Connection) -> None:
    with pytest.raises(memql.IntegrityError, match=r"(?i)^line 2: .*duplicate key"):
        load_lines(con, [line(id=ID), line(id=ID), line(id=OTHER)])
    assert count(con) == 0


def test_a_file_that_has_grown_is_loaded_again_from_where_it_ended(con: memql.Connection) -> None:
    lines = [line(content=f"{n}", idempotency_key=f"k{n}") for n in range(5)]
    assert load_lines(con, lines[:3]) == 3
    # New lines may have columns that those beside them, which are there, lack.
    assert load_lines(con, [*lines, line(kind="new", idempotency_key="k5")]) == 3
    other = line(content="other", idempotency_key="k1")
    with pytest.raises(
        memql.IntegrityError, match=r"^line 4: the idempotency key 'k1' was used"
    ) as e:
        load_lines(con, [b"", *lines[2:4], other])
    assert "row" not in e.value.message
    assert count(con) == 6


def test_an_open_transaction_keeps_the_rows_for_its_own_end(con: memql.Connection) -> None:
    con.begin()
    load_lines(con, [line()])
    assert con.in_transaction
    con.rollback()
    assert count(con) == 0


def test_a_user_loads_own_memories_only() -> None:
    with memql.connect(":memory:", user="alice") as con:
        load_lines(con, [line(), line(owner="alice")])
        assert con.execute("SELECT DISTINCT owner FROM memories").fetchall() == [("alice",)]
        with pytest.raises(memql.ProgrammingError, match="line 2: the user alice may not write"):
            load_lines(con, [line(), line(owner="bob")])
        with pytest.raises(memql.ProgrammingError, match="line 1: only the administrator"):
            load_lines(con, [line(id=ID)])
        assert count(con) == 2
