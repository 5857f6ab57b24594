"""Memory and threads of a store: what is asked for is what DuckDB has, and it keeps to it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import memql
from memql.storage import limits
from memql.storage.folder import SPILL
from memql.storage.limits import (
    LEAST_MEMORY_BYTES,
    Limits,
    limits_of,
    machine_memory_bytes,
    show_bytes,
    usable_threads,
)
from memql.storage.store import Store

# More than a store with the least memory can sort without files.
SORTED = (
    "SELECT i, i || 'padding padding padding' AS s FROM range(2000000) AS t(i) ORDER BY hash(i)"
)


def settings_of(store: Store) -> dict[str, str]:
    names = "memory_limit threads temp_directory max_temp_directory_size".split()
    rows = store.cursor().execute("SELECT name, value FROM duckdb_settings()").fetchall()
    return {name: value for name, value in rows if name in names}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("4GB", 4 * 10**9),
        ("512 MiB", 512 * 2**20),
        (" 1.5gib ", 3 * 2**29),
        ("100000KB", 10**8),
        ("1TB", 10**12),
        ("67108864B", 2**26),
        (2**30, 2**30),
    ],
)
def test_sizes(asked: str | int, found: int) -> None:
    assert limits_of(asked, None).memory_bytes == found


@pytest.mark.parametrize("asked", ["4", "many", "-1GB", "80%", "1GB; x", 1, "1MB", True, 2.5, ""])
def test_sizes_that_are_none(asked: Any) -> None:
    with pytest.raises(
        memql.InterfaceError, match="memory_limit is a size from 64MiB on"
    ) as raised:
        memql.connect(memory_limit=asked)
    assert raised.value.code == "22023"


@pytest.mark.parametrize("asked", [0, -1, "2", True, 1.5, 10_000])
def test_threads_that_are_none(asked: Any) -> None:
    with pytest.raises(memql.InterfaceError, match="threads is a whole number from 1 to 1,024"):
        memql.connect(threads=asked)


@pytest.mark.parametrize(
    ("size", "shown"),
    [(2**30, "1GiB"), (4 * 10**9, "4GB"), (3 * 2**20, "3MiB"), (2**20 + 1, "1048577B")],
)
def test_sizes_are_shown_as_they_are_asked_for(size: int, shown: str) -> None:
    assert show_bytes(size) == shown


def test_the_usual_limits() -> None:
    usual = limits_of(None, None)
    assert (
        LEAST_MEMORY_BYTES
        <= usual.memory_bytes
        <= max(machine_memory_bytes() // 4, LEAST_MEMORY_BYTES)
    )
    assert usual.threads == min(usable_threads(), 4)
    assert 1 <= usable_threads() <= (os.cpu_count() or 1)


def test_a_control_group_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "memory.max"
    group.write_text("1073741824\n")
    monkeypatch.setattr(limits, "_GROUP_FILES", (str(group), str(tmp_path / "missing")))
    assert machine_memory_bytes() == 2**30
    assert limits_of(None, None).memory_bytes == 2**28
    group.write_text("100000000\n")
    assert limits_of(None, None).memory_bytes == LEAST_MEMORY_BYTES
    group.write_text("max\n")
    assert machine_memory_bytes() > 2**28


def test_duckdb_has_what_was_asked_for(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s", "256MiB", 3)
    try:
        assert store.limits == Limits(2**28, 3)
        found = settings_of(store)
        assert found["memory_limit"] == "256.0 MiB" and found["threads"] == "3"
        assert found["max_temp_directory_size"] == "1.0 GiB"
        assert Path(found["temp_directory"]).resolve() == (tmp_path / "s" / SPILL).resolve()
    finally:
        store.close()


def test_the_settings_show_them(tmp_path: Path) -> None:
    with memql.connect(tmp_path / "s", memory_limit="256MiB", threads=1) as con:
        rows = con.execute(
            "SELECT name, value FROM memql.settings WHERE name IN ('memory_limit', 'threads') "
            "ORDER BY name"
        ).fetchall()
        assert rows == [("memory_limit", "256MiB"), ("threads", "1")]
        with pytest.raises(memql.NotSupportedError, match="given when the store is opened"):
            con.execute("SET memql.threads = 1")


def test_an_open_store_has_one(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with memql.connect(path, memory_limit="1GB", threads=2):
        for same in ({}, {"memory_limit": "1000MB"}, {"threads": 2}):
            memql.connect(path, **same).close()
        with pytest.raises(
            memql.InterfaceError, match="memory_limit 1GB: it cannot have 2GB"
        ) as raised:
            memql.connect(path, memory_limit="2GB")
        assert raised.value.code == "55006"
        with pytest.raises(memql.InterfaceError, match="with threads 2: it cannot have 1 too"):
            memql.connect(path, memory_limit="1GB", threads=1)
    # What was refused holds nothing open.
    memql.connect(path, threads=1).close()


def test_what_does_not_fit_goes_to_files(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with memql.connect(path, memory_limit="64MiB", threads=1) as con:
        assert con.execute(f"SELECT count(*) FROM ({SORTED} LIMIT 1900000)").fetchone() == (
            1_900_000,
        )
        rows = con.execute(SORTED)
        assert rows.fetchone() is not None
        assert (path / SPILL).is_dir()  # the test would see it if it were not needed
        rows.close()
    assert not (path / SPILL).exists()


def test_in_memory_what_does_not_fit_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with memql.connect(memory_limit="64MiB", threads=1) as con:
        with pytest.raises(memql.OperationalError) as raised:
            con.execute(SORTED).fetchall()
        assert raised.value.code == "53200"
        assert "a larger memory_limit" in str(raised.value.hint)
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    memql.connect(path).close()
    left = path / SPILL
    left.mkdir()
    (left / "duckdb_temp_storage_DEFAULT-0.tmp").write_text("a text of somebody")
    with memql.connect(path) as con:
        assert not left.exists()
        assert con.execute("SELECT count(*) FROM memories").fetchone() == (0,)
