"""The administrator's door: files are read and written in allowed folders and nowhere else."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import memql
from memql.errors import (
    DataError,
    Error,
    InterfaceError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)

pytestmark = pytest.mark.slow

FORMATS = ("parquet", "json", "csv")
COLUMNS = "content, kind, tags, attributes, importance, owner, id, created_at"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that the connections of these tests may use."""
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    return allowed


@pytest.fixture
def con(tmp_path: Path, folder: Path) -> Iterator[memql.Connection]:
    """The administrator of a store on disk, with two memories."""
    with memql.connect(tmp_path / "store.memql", allowed_folders=[folder]) as connection:
        connection.execute(
            "INSERT INTO memories (content, kind, tags, attributes, importance) VALUES "
            "('Ann, \"likes\"\ntea; 007', '007', ['a', 'b,c'], '{\"x\": [1, null]}', 0.25), "
            "('höflich 你好', NULL, NULL, NULL, NULL)"
        )
        yield connection


@pytest.mark.parametrize("kind", FORMATS)
def test_memories_go_out_and_come_back(con: memql.Connection, folder: Path, kind: str) -> None:
    path = folder / f"memories.{kind}"
    before = con.execute(f"SELECT {COLUMNS} FROM memories ORDER BY id").fetchall()
    assert con.execute(f"COPY memories TO '{path}'").rowcount == 2
    with memql.connect(allowed_folders=[folder]) as other:
        assert other.execute("COPY memories FROM ?", [str(path)]).rowcount == 2
        after = other.execute(f"SELECT {COLUMNS} FROM memories ORDER BY id").fetchall()
        assert [_read_json(row) for row in after] == [_read_json(row) for row in before]
        # The ids are taken now: nothing of a second copy stays.
        with pytest.raises(memql.IntegrityError):
            other.execute(f"COPY memories FROM '{path}'")
        assert other.execute("SELECT count(*) FROM memories").fetchone() == (2,)
    assert os.listdir(folder) == [path.name]


def _read_json(row: tuple[Any, ...]) -> list[Any]:
    """Return a row of COLUMNS whose attributes are compared as JSON, not as a text."""
    return [json.loads(value) if n == 3 and value else value for n, value in enumerate(row)]


@pytest.mark.parametrize("kind", FORMATS)
def test_objects_of_many_shapes_stay_what_they_are(
    con: memql.Connection, folder: Path, kind: str
) -> None:
    objects = [{"a": 1}, {"b": [1, {"c": None}]}, {"a": "x"}]
    for one in objects:
        con.execute("INSERT INTO memories (content, attributes) VALUES ('o', ?)", [json.dumps(one)])
    con.execute(f"COPY (SELECT content, attributes FROM memories) TO '{folder}/o.{kind}'")
    with memql.connect(allowed_folders=[folder]) as other:
        other.execute(f"COPY memories FROM '{folder}/o.{kind}'")
        found = other.execute("SELECT attributes FROM memories WHERE content = 'o'").fetchall()
    assert sorted(json.dumps(json.loads(value)) for (value,) in found) == sorted(
        map(json.dumps, objects)
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_tables_go_out_and_come_back(con: memql.Connection, folder: Path, kind: str) -> None:
    con.execute("CREATE TABLE t (a INTEGER, b VARCHAR, c DATE)")
    con.execute("INSERT INTO t VALUES (1, '007', DATE '2026-01-02'), (NULL, NULL, NULL)")
    con.execute(f"COPY t (b, a) TO '{folder}/t.{kind}'")
    con.execute("CREATE TABLE u (x VARCHAR, y BIGINT, z INTEGER DEFAULT 5)")
    con.execute(f"COPY u (x, y) FROM '{folder}/t.{kind}'")
    assert con.execute("SELECT * FROM u ORDER BY y").fetchall() == [("007", 1, 5), (None, None, 5)]


def test_a_query_goes_out(con: memql.Connection, folder: Path) -> None:
    con.execute(
        f"COPY (SELECT kind, length(content) AS n FROM memories WHERE kind IS NOT NULL) "
        f"TO '{folder}/q.json' (FORMAT json, ARRAY true)"
    )
    assert json.loads((folder / "q.json").read_text()) == [{"kind": "007", "n": 21}]
    con.execute(
        f"COPY (SELECT generate('What?', max_tokens := 2) AS a FROM memories) TO '{folder}/a.csv'"
    )
    assert (folder / "a.csv").read_text().splitlines()[0] == "a"
    con.execute(f"COPY (VALUES (1), (2)) TO '{folder}/v.csv.gz' (HEADER false)")
    assert gzip.decompress((folder / "v.csv.gz").read_bytes()) == b"1\n2\n"
    assert con.execute(f"SELECT * FROM read_csv('{folder}/v.csv.gz')").fetchall() == [(1,), (2,)]
    con.execute(f"COPY memories TO '{folder}/some' (FORMAT parquet, COMPRESSION zstd)")
    assert pq.read_table(folder / "some").num_rows == 2


def test_files_are_read_as_tables(con: memql.Connection, folder: Path) -> None:
    pq.write_table(pa.table({"kind": ["007", "x"], "n": [1, 2]}), folder / "a.parquet")
    pq.write_table(pa.table({"kind": ["y"], "n": [3]}), folder / "b.parquet")
    (folder / "c.csv").write_text("kind;n\n007;4\n")
    assert con.execute(f"SELECT sum(n) FROM read_parquet('{folder}/*.parquet')").fetchone() == (6,)
    assert con.execute(
        f"SELECT m.kind, f.n, c.n FROM memories AS m JOIN read_parquet(['{folder}/a.parquet', "
        f"'{folder}/b.parquet'], filename := false) AS f ON f.kind = m.kind "
        f"JOIN read_csv($csv, delim = ';', all_varchar = true) AS c ON c.kind = m.kind",
        {"csv": str(folder / "c.csv")},
    ).fetchall() == [("007", 1, "4")]
    with_limit = f"SELECT n FROM read_parquet('{folder}/b.parquet') LIMIT 100 TOKENS"
    assert con.execute(with_limit).fetchall() == [(3,)]
    described = con.execute(f"DESCRIBE SELECT * FROM read_parquet('{folder}/b.parquet')")
    assert [row[:2] for row in described] == [("kind", "VARCHAR"), ("n", "BIGINT")]
    # A file may be another one the next time.
    query = f"SELECT n FROM read_csv('{folder}/c.csv', sep = ';')"
    assert con.execute(query).fetchall() == [(4,)]
    (folder / "c.csv").write_text("kind;n\n007;5\n")
    assert con.execute(query).fetchall() == [(5,)]
    con.execute(f"CREATE VIEW v AS SELECT n FROM read_csv('{folder}/c.csv', sep = ';')")
    con.execute("CREATE TABLE t AS SELECT n FROM v")
    con.execute(
        f"INSERT INTO memories (content) SELECT kind FROM read_parquet('{folder}/b.parquet')"
    )
    assert con.execute("SELECT n FROM t").fetchall() == [(5,)]
    assert con.execute("SELECT count(*) FROM memories WHERE content = 'y'").fetchone() == (1,)
    made = con.execute("SELECT n FROM v MATERIALIZE AS PLAINTEXT").fetchone()
    assert made is not None and made[3] > 0


def test_in_a_transaction_files_are_read_and_rolled_back(
    con: memql.Connection, folder: Path
) -> None:
    (folder / "c.csv").write_text("content\none\ntwo\n")
    con.begin()
    con.execute(f"COPY memories FROM '{folder}/c.csv'")
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (4,)
    con.rollback()
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (2,)


@pytest.mark.parametrize(
    ("text", "error", "code", "message"),
    [
        ("SELECT * FROM read_csv('/etc/passwd')", ProgrammingError, "42501", "is not in a folder"),
        ("SELECT * FROM read_csv('{f}/../x.csv')", ProgrammingError, "42501", "is not in a folder"),
        ("SELECT * FROM read_csv('{f}/link/x.csv')", ProgrammingError, "42501", "not in a folder"),
        ("SELECT * FROM read_csv('{f}/*/x.csv')", ProgrammingError, "42501", "not in a folder"),
        ("SELECT * FROM read_csv('/*/passwd')", ProgrammingError, "42501", "is not in a folder"),
        ("SELECT * FROM read_csv('http://a/x')", ProgrammingError, "42501", "is not in a folder"),
        ("COPY memories TO '{s}/catalog.duckdb'", ProgrammingError, "42501", "not in a folder"),
        ("COPY memories TO '{f}/link/y.csv'", ProgrammingError, "42501", "is not in a folder"),
        ("COPY memories TO 's3://b/y.csv'", ProgrammingError, "42501", "is not in a folder"),
        ("SELECT * FROM read_csv('{f}/nothing.csv')", OperationalError, "58030", "cannot read"),
        ("SELECT * FROM read_csv('{f}/*.nothing')", OperationalError, "58P01", "no file is called"),
        ("SELECT * FROM read_json('{f}/x.parquet')", OperationalError, "58030", "cannot read"),
        ("SELECT * FROM read_csv('{f}/c.csv', x := 1)", NotSupportedError, None, "no option x"),
        ("SELECT * FROM read_csv('{f}/c.csv', 1)", NotSupportedError, None, "second argument"),
        ("SELECT * FROM main.read_csv('{f}/c.csv')", ProgrammingError, "3F000", "unknown schema"),
        ("SELECT * FROM read_csv('*')", ProgrammingError, "42501", "the file * is not in a folder"),
        (
            "SELECT * FROM read_csv('{f}/c.csv', header := true, header := false)",
            ProgrammingError,
            "42601",
            "the option header is given twice",
        ),
        (
            "COPY memories FROM '{f}/c.csv' (IGNORE_ERRORS true)",
            NotSupportedError,
            None,
            "COPY FROM takes no option ignore_errors",
        ),
        ("SELECT * FROM read_csv()", NotSupportedError, None, "without the name of a file"),
        ("SELECT * FROM read_csv(1)", ProgrammingError, "42601", "name of a file is a text"),
        (
            "SELECT * FROM read_csv('{f}/c.csv', header := (SELECT true))",
            NotSupportedError,
            None,
            "an option of a file that is no literal",
        ),
        ("SELECT * FROM read_blob('{f}/c.csv')", NotSupportedError, None, "it reads files"),
        ("SELECT * FROM read_text('{f}/c.csv')", NotSupportedError, None, "it reads files"),
        ("COPY memories TO '{f}/x' (FORMAT xyz)", NotSupportedError, None, "knows no format xyz"),
        ("COPY memories TO '{f}/x' (PARTITION_BY kind)", NotSupportedError, None, "no option"),
        ("COPY memories TO '{f}/x' (HEADER, HEADER)", ProgrammingError, "42601", "given twice"),
        ("COPY nothing TO '{f}/x.csv'", ProgrammingError, "42P01", "unknown table"),
        ("COPY nothing FROM '{f}/c.csv'", ProgrammingError, "42P01", "unknown table"),
        ("COPY memories FROM '{f}/odd.csv'", ProgrammingError, "42703", "unknown column 'contnt'"),
        ("COPY memories FROM '{f}/old.csv'", DataError, "22023", "memories that are archived"),
        ("COPY t FROM '{f}/c.csv'", ProgrammingError, "42601", "has 1 columns, the table takes 2"),
        ("COPY t TO '{f}/nofolder/x.csv'", OperationalError, "58030", "cannot write"),
        ("COPY t TO 'a.csv', 'b.csv'", ProgrammingError, "42601", "expected COPY table TO"),
        ("COPY t AS x TO '{f}/x.csv'", ProgrammingError, "42601", "expected COPY table TO"),
        ("COPY lower(t) TO '{f}/x.csv'", Error, None, ""),
        ("COPY (SELECT 1) FROM '{f}/c.csv'", NotSupportedError, None, "anything but a table"),
        (
            "COPY t FROM '{f}/c.csv' CREDENTIALS 'x'",
            NotSupportedError,
            None,
            "COPY with credentials",
        ),
    ],
)
def test_what_is_refused_leaves_no_file(
    con: memql.Connection,
    folder: Path,
    tmp_path: Path,
    text: str,
    error: type[Error],
    code: str | None,
    message: str,
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.csv").write_text("a\nsecret\n")
    (folder / "link").symlink_to(outside)
    (folder / "c.csv").write_text("content\none\n")
    (folder / "odd.csv").write_text("contnt\none\n")
    (folder / "old.csv").write_text("content,state\none,archived\n")
    (folder / "x.parquet").write_bytes(b"PAR1 no")
    con.execute("CREATE TABLE t (a INTEGER, b INTEGER)")
    files = sorted(folder.rglob("*")), sorted(outside.rglob("*"))
    with pytest.raises(error) as caught:
        con.execute(text.format(f=folder, s=tmp_path / "store.memql"))
    assert message in str(caught.value)
    assert code is None or caught.value.code == code
    assert (sorted(folder.rglob("*")), sorted(outside.rglob("*"))) == files
    assert con.execute("SELECT count(*) FROM memories").fetchone() == (2,)


@pytest.mark.parametrize(
    "text",
    [
        "COPY memories TO '{f}/m.csv'",
        "COPY memories FROM '{f}/m.csv'",
        "SELECT * FROM read_csv('{f}/c.csv')",
        "SELECT * FROM read_parquet('{f}/c.csv')",
        "SELECT * FROM '{f}/c.csv'",
        "SELECT * FROM v",
        "INSERT INTO memories (content) SELECT a FROM read_csv('{f}/c.csv')",
    ],
)
@pytest.mark.parametrize("user", [None, "ann"])
def test_without_folders_no_file_is_reached(
    con: memql.Connection, folder: Path, tmp_path: Path, text: str, user: str | None
) -> None:
    (folder / "c.csv").write_text("a\n1\n")
    con.execute(f"CREATE VIEW v AS SELECT * FROM read_csv('{folder}/c.csv')")
    with memql.connect(tmp_path / "store.memql", user=user) as other:
        with pytest.raises((NotSupportedError, ProgrammingError)):
            other.execute(text.format(f=folder))
    assert os.listdir(folder) == ["c.csv"]


def test_folders_are_checked_when_they_are_named(tmp_path: Path, folder: Path) -> None:
    store = tmp_path / "store.memql"
    memql.connect(store).close()
    for folders, code in (
        ([tmp_path / "nothing"], "58P01"),
        ([store], "42501"),
        (str(folder), "22023"),
    ):
        with pytest.raises(InterfaceError) as caught:
            memql.connect(store, allowed_folders=folders)
        assert caught.value.code == code
    with pytest.raises(InterfaceError, match="the user ann may not be given allowed_folders"):
        memql.connect(store, user="ann", allowed_folders=[folder])
    memql.connect(store).close()  # nothing was left open


def test_a_file_is_whole_or_not_there(
    con: memql.Connection, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("memql.engine.files.os.replace", fail)
    (folder / "m.csv").write_text("before")
    with pytest.raises(OperationalError, match="No space left"):
        con.execute(f"COPY memories TO '{folder}/m.csv'")
    assert (folder / "m.csv").read_text() == "before"
    assert os.listdir(folder) == ["m.csv"]


def test_an_empty_table_goes_out_and_comes_back(con: memql.Connection, folder: Path) -> None:
    con.execute("CREATE TABLE t (a INTEGER, b VARCHAR)")
    (folder / "n.json").write_text('{"b": "x", "a": 1}\n{"a": 2}\n')
    con.execute("CREATE TABLE u AS FROM t")
    con.execute(f"COPY u FROM '{folder}/n.json'")
    assert con.execute("FROM u ORDER BY a").fetchall() == [(1, "x"), (2, None)]
    for kind in FORMATS:
        con.execute(f"COPY t TO '{folder}/e.{kind}'")
        assert con.execute(f"COPY t FROM '{folder}/e.{kind}'").rowcount == 0


def test_a_change_that_reads_a_file_runs_many_times(con: memql.Connection, folder: Path) -> None:
    (folder / "n.csv").write_text("a\n1\n2\n")
    con.execute("CREATE TABLE t (a INTEGER)")
    text = f"INSERT INTO t SELECT a + ? FROM read_csv('{folder}/n.csv')"
    assert con.executemany(text, [[10], [20]]).rowcount == 4
    assert con.execute("SELECT sum(a) FROM t").fetchone() == (66,)
