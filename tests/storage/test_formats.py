"""Stores of each format that was ever written open today, and hold what was put into them."""

from __future__ import annotations

import tarfile
from contextlib import closing
from pathlib import Path

import pytest

import memql
from memql.storage.check import check
from memql.storage.schema import MIGRATIONS, format_version
from memql.storage.store import Store
from tests.storage.crash.work import payload
from tests.storage.formats.stores import KEYED, NEWEST, archive, fill

pytestmark = pytest.mark.slow

FORMATS = [number for number, _ in MIGRATIONS]


@pytest.fixture
def unpacked(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A store of a format."""
    with tarfile.open(archive(request.param)) as archived:
        archived.extractall(tmp_path, filter="data")
    return tmp_path / "store"


def _shape(folder: Path) -> list[tuple[object, ...]]:
    store = Store.open(folder)
    try:
        with closing(store.cursor()) as cursor:
            return cursor.execute(
                "SELECT table_name, column_name, data_type, is_nullable, column_default"
                " FROM duckdb_columns() WHERE schema_name = '_memql'"
                " UNION ALL SELECT table_name, constraint_text, constraint_type, NULL, NULL"
                " FROM duckdb_constraints() WHERE schema_name = '_memql' ORDER BY ALL"
            ).fetchall()
    finally:
        store.close()


def test_formats_are_numbered_from_one() -> None:
    assert list(range(1, NEWEST + 1)) == FORMATS


@pytest.mark.parametrize("unpacked", FORMATS, indirect=True)
def test_a_store_of_each_format_holds_what_it_held(unpacked: Path) -> None:
    with memql.connect(unpacked, user="alice", password="secret") as con:
        found = con.execute("SELECT content, kind, tags, importance FROM memories ORDER BY id")
        assert found.fetchall() == [
            ("Alice lives in Lisbon.", "fact", ["home"], 0.5),
            ("ONE", None, None, None),
        ]
        assert con.execute("SELECT * FROM facts").fetchall() == [("Alice lives in Lisbon.",)]
        assert len(con.execute("SELECT * FROM diary").fetchall()) == 2
        assert con.execute("SELECT name, number FROM places").fetchall() == [("Lisbon", 7)]
        assert con.execute(KEYED).rowcount == 0
        con.execute("INSERT INTO memories (content) VALUES ('three')")
    with memql.connect(unpacked, user="bob", password="secret") as con:
        shared = con.execute("SELECT content FROM memories").fetchall()
        assert shared == [("Alice lives in Lisbon.",)]
    with memql.connect(unpacked, user="root", password="secret") as con:
        assert con.execute("SELECT count(*) FROM memql.policies").fetchall() == [(1,)]
    store = Store.open(unpacked)
    try:
        with closing(store.cursor()) as cursor:
            assert format_version(cursor) == NEWEST
            versions = cursor.execute(
                "SELECT content, state FROM _memql.versions ORDER BY version, id"
            ).fetchall()
        assert [content for content, _ in versions][-4:] == ["two", "ONE", "two", "three"]
        assert [state for _, state in versions].count("archived") == 1
        for node, key in zip(store.activations.nodes(), ("n1", "n2"), strict=True):
            assert [(bytes(k), bytes(v)) for k, v in store.activations.read(node)] == payload(key)
        assert check(store).problems == ()
    finally:
        store.close()


@pytest.mark.parametrize("unpacked", FORMATS, indirect=True)
def test_a_store_that_came_up_has_the_tables_of_a_new_one(unpacked: Path, tmp_path: Path) -> None:
    """Without a migration a changed table is not in the stores that there are.

    Until a format is released it may still change: then ``python -m tests.storage.formats``
    writes its archive anew.
    """
    Store.open(tmp_path / "new").close()
    assert _shape(unpacked) == _shape(tmp_path / "new")


def test_the_archive_of_the_newest_format_can_be_written_anew(tmp_path: Path) -> None:
    fill(tmp_path / "store")
    test_a_store_of_each_format_holds_what_it_held(tmp_path / "store")
