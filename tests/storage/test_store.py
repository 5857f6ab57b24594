"""Opening and closing stores, and what is told apart on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pytest

import memql
from memql.errors import InterfaceError, InternalError, OperationalError
from memql.storage.store import Store


def _child(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_missing_and_an_empty_folder_become_stores(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("missing", "empty"):
        store = Store.open(tmp_path / name)
        assert store.name == str(tmp_path / name)
        assert store.last_commit == 0
        store.close()
        assert (tmp_path / name / "catalog.duckdb").exists()


def test_what_is_not_a_store_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("x")
    with pytest.raises(OperationalError, match="is not a MemQL store: it is a file"):
        Store.open(tmp_path / "file")
    with pytest.raises(OperationalError, match="is not a MemQL store: it holds 1 files"):
        Store.open(tmp_path / "folder")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["notes.txt"]
    with pytest.raises(OperationalError, match="there is no folder"):
        Store.open(tmp_path / "no" / "such")


def test_a_database_of_something_else_is_not_a_store(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "catalog.duckdb")) as other:
        other.execute("CREATE TABLE theirs (x INTEGER)")
    with pytest.raises(OperationalError, match="another program's database"):
        Store.open(tmp_path)
    with duckdb.connect(str(tmp_path / "catalog.duckdb")) as other:
        assert other.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (1,)


def test_a_crash_while_the_store_was_made_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("{}")
    (tmp_path / "catalog.new.duckdb").write_bytes(b"half of a catalog")
    Store.open(tmp_path).close()
    assert not (tmp_path / "catalog.new.duckdb").exists()


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "header"])
def test_a_damaged_catalog_is_an_error_that_says_so(tmp_path: Path, damage: str) -> None:
    Store.open(tmp_path).close()
    catalog = tmp_path / "catalog.duckdb"
    whole = catalog.read_bytes()
    header = bytearray(whole)
    header[8:12] = b"XXXX"
    catalog.write_bytes(
        {"empty": b"", "garbage": b"?" * 9999, "cut": whole[:5000], "header": bytes(header)}[damage]
    )
    with pytest.raises(OperationalError, match=r"is damaged: its catalog\.duckdb") as refused:
        Store.open(tmp_path)
    assert "Restore the folder from a copy." in str(refused.value)
    # Nothing holds on to the folder after the error, and it was the damage that was refused.
    catalog.write_bytes(whole)
    Store.open(tmp_path).close()


def test_a_catalog_opened_by_another_program_is_told_apart(tmp_path: Path) -> None:
    Store.open(tmp_path).close()
    script = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True);"
        " sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "catalog.duckdb")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "open\n"
        with pytest.raises(OperationalError, match="is opened by another program"):
            Store.open(tmp_path)
        other.communicate()


def test_one_folder_is_one_store_until_each_opening_is_closed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "s")
    first = Store.open(tmp_path / "s")
    second = Store.open(tmp_path / "link")
    assert second is first
    first.close()
    assert second.cursor().execute("SELECT 1").fetchone() == (1,)
    second.close()
    second.close()
    with pytest.raises(InterfaceError, match="is closed"):
        second.cursor()
    third = Store.open(tmp_path / "s")
    assert third is not first
    third.close()


def test_threads_that_open_one_folder_get_one_store(tmp_path: Path) -> None:
    found: list[Store] = []
    threads = [
        threading.Thread(target=lambda: found.append(Store.open(tmp_path / "s"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(map(id, found))) == 1
    for store in found:
        store.close()
    with pytest.raises(InterfaceError):
        found[0].cursor()


def test_stores_in_memory_are_apart_and_leave_nothing() -> None:
    one, two = Store.open(":memory:"), Store.open(":memory:")
    one.cursor().execute("CREATE TABLE only_here (x INTEGER)")
    with pytest.raises(duckdb.CatalogException):
        two.cursor().execute("FROM only_here")
    folder = one.folder
    assert folder.is_dir() and folder != two.folder and not one.durable
    one.close()
    two.close()
    assert not folder.exists()


def test_the_settings_are_a_second_wall(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    for path in (tmp_path / "s", ":memory:"):
        store = Store.open(path)
        cursor = store.cursor()
        assert cursor.execute("SELECT current_setting('TimeZone')").fetchone() == ("UTC",)
        for statement in (
            f"FROM read_csv('{tmp_path}/secret.csv')",
            f"ATTACH '{tmp_path}/other.duckdb'",
            f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
            "INSTALL httpfs",
            "SET enable_external_access = true",
            "SET memory_limit = '1GB'",
        ):
            with pytest.raises(duckdb.Error):
                cursor.execute(statement)
        store.close()
    # The first statement fails for the wall, not for being wrong.
    found = duckdb.execute(f"FROM read_csv('{tmp_path}/secret.csv')").fetchall()
    assert found == [(1,)]


def test_opening_loads_neither_lance_nor_arrow(tmp_path: Path) -> None:
    script = (
        "import json, sys; from memql.storage.store import Store; before = list(sys.modules);"
        " s = Store.open(sys.argv[1]); s.close(); print(json.dumps([before, list(sys.modules)]))"
    )
    for _ in range(2):  # made, then opened
        before, after = json.loads(_child(script, str(tmp_path / "s")))
        assert "duckdb" not in before and "duckdb" in after
        assert not {"lance", "pyarrow", "torch"} & set(after)


def test_a_process_forked_from_an_opener_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store.open(tmp_path / "s")
    monkeypatch.setattr("os.getpid", lambda: -1)
    with pytest.raises(InterfaceError, match="before a fork"):
        store.cursor()
    monkeypatch.undo()
    store.close()


def test_a_commit_number_is_not_taken_twice(tmp_path: Path) -> None:
    store = Store.open(":memory:")
    assert store.begin_commit() == 1
    with pytest.raises(InternalError, match="inside another write statement"):
        store.begin_commit()
    store.end_commit()
    assert store.begin_commit() == 1
    store.end_commit()
    store.close()


@pytest.mark.parametrize("odd", ["?", "\\", "\n", "\x7f", "\udcff"])
def test_a_path_that_duckdb_or_lance_takes_for_another_is_refused(tmp_path: Path, odd: str) -> None:
    folder = tmp_path / f"a{odd}b" / "s"
    folder.parent.mkdir()
    with pytest.raises(OperationalError, match="path of a store cannot hold the character") as e:
        Store.open(folder)
    assert repr(odd) in e.value.message and e.value.code == "42602"
    assert list(folder.parent.iterdir()) == []
    # What only looks special is none.
    Store.open(tmp_path / "%3F 50% # *[x] 'q' \u4f60").close()


def test_a_folder_that_goes_away_is_no_conflict_of_transactions(tmp_path: Path) -> None:
    with memql.connect(tmp_path / "s") as con:
        con.execute("INSERT INTO memories (content) VALUES ('one')")
    con = memql.connect(tmp_path / "s")
    (tmp_path / "s").rename(tmp_path / "elsewhere")
    # Whoever is told of a conflict tries again, and again.
    with pytest.raises(OperationalError, match="Look at the folder of the store") as failed:
        con.execute("INSERT INTO memories (content) VALUES ('two')")
    assert failed.value.code == "58030"
    con.close()
    with memql.connect(tmp_path / "elsewhere") as con:
        assert con.execute("SELECT content FROM memories").fetchall() == [("one",)]
