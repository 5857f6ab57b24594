"""Digests of models' files: kept over processes, read again by memql check."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import memql
from memql.storage import filedigests
from memql.storage.check import check
from memql.storage.filedigests import FileDigest
from memql.storage.store import Store

OLD_NS = 1_600_000_000_000_000_000


def aged(folder: Path) -> Path:
    """Give the files of a folder a time long ago."""
    for path in folder.iterdir():
        os.utime(path, ns=(OLD_NS, OLD_NS))
    return folder


@pytest.fixture
def model(copy_of: Callable[[str], Path]) -> Path:
    return aged(copy_of("llama"))


def test_files_are_read_once_for_all_processes(tmp_path: Path, model: Path) -> None:
    store = tmp_path / "s.memql"
    with memql.connect(store) as con:
        con.execute("CREATE MODEL m FROM ?", [str(model)])
    script = """
import hashlib, sys, memql
read = []
digest = hashlib.file_digest
hashlib.file_digest = lambda file, kind: read.append(file.name) or digest(file, kind)
with memql.connect(sys.argv[1]) as con:
    con.execute("SELECT content FROM memories LIMIT 1 TOKENS")
    con.execute("EXPLAIN SELECT content FROM memories MATERIALIZE AS ACTIVATION FOR MODEL m")
print([name.rsplit("/", 1)[1] for name in read if name.startswith(sys.argv[2])])
"""
    call = [sys.executable, "-c", script, str(store), str(model)]
    assert subprocess.run(call, capture_output=True, text=True, check=True).stdout == "[]\n"
    # The control: a file that was written since is read again.
    (model / "config.json").write_text((model / "config.json").read_text() + " ")
    again = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    assert again == "['config.json']\n"


def test_check_reads_the_files_again(tmp_path: Path, model: Path) -> None:
    store = Store.open(tmp_path / "s.memql")
    with memql.connect(tmp_path / "s.memql") as con:
        con.execute("CREATE MODEL m FROM ?", [str(model)])
    assert check(store).problems == ()
    weights = model / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    with weights.open("r+b") as file:  # the same inode
        file.write(content)
    os.utime(weights, ns=(OLD_NS, OLD_NS))
    (problem,) = check(store).problems
    assert problem.startswith(f"{weights} has other bytes than when a model was made of it")
    os.utime(weights)  # written since, as far as the system tells: another model
    assert check(store).problems == ()
    store.close()


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    os.utime(folder, ns=(OLD_NS, OLD_NS))
    stat = folder.stat()
    store = Store.open(tmp_path / "s.memql")
    odd = FileDigest(str(folder), stat.st_size, stat.st_mtime_ns, stat.st_ino, "00")
    filedigests.remember(store.cursor(), [odd])
    (problem,) = check(store).problems
    assert problem == f"{folder} cannot be read: Is a directory"
    store.close()


def test_what_was_written_just_now_is_not_kept(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "s.memql")
    path = tmp_path / "file"
    path.write_bytes(b"one")
    stat = path.stat()
    fresh = FileDigest(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino, "00")
    filedigests.remember(store.cursor(), [fresh])
    assert filedigests.recall(store.cursor()) == []
    old = FileDigest(str(path), 3, OLD_NS, stat.st_ino, "00")
    newer = FileDigest(str(path), 3, OLD_NS + 1, stat.st_ino, "11")
    filedigests.remember(store.cursor(), [old])
    filedigests.remember(store.cursor(), [newer])
    assert filedigests.recall(store.cursor()) == [newer]
    assert not newer.is_current
    assert not FileDigest(str(tmp_path / "none"), 3, OLD_NS, 1, "00").is_current
    store.close()
