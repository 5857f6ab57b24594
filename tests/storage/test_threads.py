"""What `threadsafety` promises: threads share the module, a store and a connection."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import memql

THREADS, TURNS = 16, 4


@pytest.mark.parametrize("shared", [True, False], ids=["one connection", "one for each"])
def test_sixteen_threads_write_and_read_one_store(tmp_path: Path, shared: bool) -> None:
    assert memql.threadsafety == 2
    first = memql.connect(tmp_path / "s")
    connections = [first if shared else memql.connect(tmp_path / "s") for _ in range(THREADS)]
    together = threading.Barrier(THREADS)
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            cursor = connections[number].cursor()
            together.wait()
            for turn in range(TURNS):
                cursor.execute(
                    "INSERT INTO memories (source, content) VALUES (?, ?)",
                    [str(number), f"{number} {turn}"],
                )
                cursor.execute(
                    "SELECT content FROM memories WHERE source = ? ORDER BY id", [str(number)]
                )
                # Its own rows, whole and in order, whatever the others are doing.
                assert cursor.fetchall() == [(f"{number} {n}",) for n in range(turn + 1)]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = first.execute("SELECT count(*), count(DISTINCT version), max(version) FROM memories")
    assert found.fetchall() == [(THREADS * TURNS,) * 3]
    for connection in {id(each): each for each in connections}.values():
        connection.close()
