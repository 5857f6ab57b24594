"""One process opens a store; others are told which one it is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import memql
from memql.errors import OperationalError
from memql.storage.lock import StoreLock
from memql.storage.store import Store

_HOLD = """
import sys
from memql.storage.store import Store
store = Store.open(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
store.close()
"""

_FORK = """
import os, sys
from memql.storage.store import Store
store = Store.open(sys.argv[1])
if os.fork() == 0:
    print("forked", flush=True)
    sys.stdin.read()
os._exit(0)
"""


def _start(script: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_second_process_is_told_who_has_the_store(tmp_path: Path) -> None:
    with _start(_HOLD, tmp_path / "s") as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "open\n"
        with pytest.raises(OperationalError) as refused:
            Store.open(tmp_path / "s")
        text = str(refused.value)
        assert f"opened by another process: pid {holder.pid} on host {socket.gethostname()}" in text
        assert "Close it there, or end that process." in text
        # A refused opening must not have overwritten the holder's name.
        with pytest.raises(OperationalError, match=f"pid {holder.pid} "):
            Store.open(tmp_path / "s")
        holder.communicate()
    Store.open(tmp_path / "s").close()


def test_a_store_opens_after_its_process_was_killed(tmp_path: Path) -> None:
    with _start(_HOLD, tmp_path / "s") as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "open\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        store = Store.open(tmp_path / "s")
        store.close()


def test_a_forked_child_does_not_keep_the_store_locked(tmp_path: Path) -> None:
    with _start(_FORK, tmp_path / "s") as parent:
        parent.wait()
        assert parent.stdout is not None and parent.stdout.readline() == "forked\n"
        # The child is alive: it waits for the end of its input.
        Store.open(tmp_path / "s").close()
        assert parent.stdin is not None
        parent.stdin.close()


def test_a_catalog_that_has_lost_an_acknowledged_commit_is_damaged(tmp_path: Path) -> None:
    with memql.connect(tmp_path / "s") as con:
        con.execute("INSERT INTO memories (content) VALUES ('one')")
    older = (tmp_path / "s" / "catalog.duckdb").read_bytes()
    with memql.connect(tmp_path / "s") as con:
        con.execute("INSERT INTO memories (content) VALUES ('two')")
    (tmp_path / "s" / "catalog.duckdb").write_bytes(older)
    for _ in range(2):  # a refused opening leaves the note as it is
        with pytest.raises(OperationalError, match="ends with commit 1, but commit 2 was") as lost:
            Store.open(tmp_path / "s")
        assert lost.value.code == "XX001" and "remove its file 'lock'" in str(lost.value)
    (tmp_path / "s" / "lock").unlink()
    Store.open(tmp_path / "s").close()


@pytest.mark.parametrize("text", ["", "{", '{"commit": 7}', '{"commit": 7, "check": 1}', "[]"])
def test_a_torn_note_of_the_last_commit_is_no_note(tmp_path: Path, text: str) -> None:
    lock = StoreLock(tmp_path)
    lock.acknowledge(7)
    lock.release()
    again = StoreLock(tmp_path)
    assert again.acknowledged == 7
    again.release()
    (tmp_path / "lock").write_text(text)
    torn = StoreLock(tmp_path)
    assert torn.acknowledged == 0
    torn.release()


def test_a_note_that_cannot_be_written_does_not_undo_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError("no space left on device")

    with memql.connect(tmp_path / "s") as con:
        monkeypatch.setattr("os.pwrite", full)
        con.execute("INSERT INTO memories (content) VALUES ('one')")
        monkeypatch.undo()
    with memql.connect(tmp_path / "s") as con:
        assert con.execute("SELECT content FROM memories").fetchall() == [("one",)]


def test_a_holder_without_a_name_is_still_a_holder(tmp_path: Path) -> None:
    lock = StoreLock(tmp_path)
    (tmp_path / "lock").write_text("")
    with pytest.raises(OperationalError, match="its pid is not known yet"):
        StoreLock(tmp_path)
    lock.release()
    again = StoreLock(tmp_path)
    again.release()
    again.release()


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(OperationalError, match="cannot be locked") as refused:
        StoreLock(tmp_path)
    assert "right to write" in str(refused.value)
    assert os.listdir(tmp_path) == ["lock"]


_FORKED = """
import os, sys
import memql
con = memql.connect(sys.argv[1])
for number in range(3):
    con.execute("INSERT INTO memories (content) VALUES (?)", [f"before {number}"])
waiting = con.execute("SELECT content FROM memories")
if os.fork() == 0:
    said = []
    for use in (
        lambda: con.execute("INSERT INTO memories (content) VALUES ('child')"),
        lambda: con.begin(),
        lambda: memql.connect(sys.argv[1]),
    ):
        try:
            use()
            said.append("done")
        except memql.InterfaceError as error:
            said.append(error.message.rpartition(",")[2].strip())
    con.close()
    print(said, flush=True)
    os._exit(0)
_, status = os.wait()
for number in range(3):
    con.execute("INSERT INTO memories (content) VALUES (?)", [f"behind {number}"])
print(status, len(waiting.fetchall()), flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_forked_child_can_neither_use_nor_end_what_is_its_parents(tmp_path: Path) -> None:
    with _start(_FORKED, tmp_path / "s") as parent:
        said, errors = parent.communicate()
    assert said.splitlines() == [f"{['before a fork'] * 3}", "0 3"], errors
    # The child has closed its connection; the log of its parent was not ended by that.
    with memql.connect(tmp_path / "s") as con:
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(6,)]
