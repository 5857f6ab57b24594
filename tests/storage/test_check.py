"""A check reads everything and names what is damaged; a sound store has no problems."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import memql
from memql.cli import main
from memql.storage import segments
from memql.storage.activations import LayerHeader, NodeHeader
from memql.storage.check import check
from memql.storage.segments import Segment
from memql.storage.store import Store
from memql.storage.tensors import Tensors

pytestmark = pytest.mark.slow

SHAPE = (1, 2, 4)
HEADER = NodeHeader("m", "float32", 1, 2, (LayerHeader("full", SHAPE, SHAPE),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with memories, a table, token ids, two nodes and rows of the audit."""
    folder = tmp_path / "s"
    with memql.connect(folder) as con:
        con.execute("INSERT INTO memories (content) SELECT 'memory ' || i FROM range(50) t(i)")
        con.execute("UPDATE memories SET kind = 'fact' WHERE content < 'memory 2'")
        con.execute('CREATE TABLE "odd ""name" AS SELECT i FROM range(7) t(i)')
        store = Store.open(folder)
        cursor = store.cursor()
        rows = cursor.execute("SELECT id, version FROM _memql.memories ORDER BY id").fetchall()
        segments.add(cursor, "t", [Segment(rows[0][0], rows[0][1], b"r" * 16, b"\1\0\0\0")])
        for number, parent in enumerate([None, b"0"]):
            payload = [(bytes([number]) * 32, bytes([number + 1]) * 32)]
            assert store.activations.put(
                HEADER, parent, 0, [(b"%d" % number, 2)], rows[:2], payload, "a"
            )
        store.activations.quarantine(2, "a reason")
        store.close()
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    opened = Store.open(folder)
    yield opened
    opened.close()


def test_a_sound_store_is_read_in_full(store: Store) -> None:
    found = check(store)
    cursor = store.cursor()
    tables = cursor.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
    quoted = [(schema, table.replace('"', '""')) for schema, table in tables]
    counts = [
        cursor.execute(f'SELECT count(*) FROM "{schema}"."{table}"').fetchall()[0][0]
        for schema, table in quoted
    ]
    assert found.problems == ()
    assert (found.tables, found.rows, found.nodes) == (len(tables), sum(counts), 1)
    assert found.bytes == 64 + (store.folder / "catalog.duckdb").stat().st_size


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DELETE FROM _memql.versions WHERE version = 2", "newest version is not among"),
        ("UPDATE _memql.memories SET content = 'x' WHERE content = 'memory 7'", "1 memories whose"),
        ("INSERT INTO _memql.versions FROM _memql.versions WHERE version = 1", "50 versions that"),
        ("DELETE FROM _memql.commits WHERE number = 1", "50 versions of a commit that is not"),
        ("UPDATE _memql.commits SET number = 3 WHERE number = 2", "1 commits out of their order"),
        ("UPDATE _memql.nodes SET state = 'gone' WHERE id = 1", "1 boundaries without a live"),
        ("UPDATE _memql.lineage SET version = 9 WHERE node = 1", "1 nodes made from versions"),
        ("INSERT INTO _memql.intents VALUES (9, 'put', now())", "1 puts and drops"),
        ("UPDATE _memql.audit SET target = 'node 9'", "the audit was changed at or before its row"),
        ("UPDATE _memql.segments SET ids = 'x'::BLOB", "the token ids of version 2 of memory"),
        ("DELETE FROM _memql.nodes WHERE id = 2", "node 2 has bytes, but the catalog"),
        ("UPDATE _memql.nodes SET digests = [repeat('x', 16)::BLOB] WHERE id = 1", "node 1 of the"),
    ],
)
def test_what_is_wrong_is_told(store: Store, damage: str, told: str) -> None:
    store.cursor().execute(damage)
    assert told in "\n".join(check(store).problems)


def test_a_table_that_cannot_be_read_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        """A cursor over a damaged file."""

        def __init__(self, cursor: duckdb.DuckDBPyConnection, part: str) -> None:
            self._cursor, self._part = cursor, part
            self.close = cursor.close
            self.fetchall = cursor.fetchall

        def execute(self, sql: str, *values: object) -> object:
            if self._part in sql:
                raise duckdb.IOException("checksum mismatch")
            return self._cursor.execute(sql, *values)

    cursor = store.cursor
    for part, told in (('"commits"', 'table "_memql"."commits"'), ("duckdb_tables", "the tables")):
        with monkeypatch.context() as patch:
            patch.setattr(store, "cursor", lambda part=part: Failing(cursor(), part))
            problems = check(store).problems
        assert any(told in problem and "checksum mismatch" in problem for problem in problems)


def test_the_command_prints_what_it_read(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["check", str(folder)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("read ") and " rows of " in out and ", 1 nodes, " in out
    assert out.endswith(": all sound\n")
    for file in (folder / "activations.lance" / "data").iterdir():
        file.write_bytes(bytes(file.stat().st_size))
    assert main(["check", str(folder)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("damaged: ") and "node 1 of the activation tree is damaged" in out
    assert out.endswith("problems\n")


@pytest.mark.parametrize("made", [False, True])
def test_the_command_makes_no_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], made: bool
) -> None:
    if made:
        (tmp_path / "s").mkdir()
    assert main(["check", str(tmp_path / "s")]) == 1
    assert ("is an empty folder" if made else "there is no store") in capsys.readouterr().err
    assert (tmp_path / "s").exists() == made
    with pytest.raises(SystemExit):
        main(["check"])


def test_a_dataset_that_cannot_be_read_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = store.folder / "activations.lance" / "_versions"
    for manifest in manifests.glob("*.manifest"):
        manifest.write_bytes(b"?")
    monkeypatch.setattr(store, "_activations", None)
    assert any("cannot list the nodes in" in problem for problem in check(store).problems)
    assert Tensors(store.folder / "activations.lance", False).exists
