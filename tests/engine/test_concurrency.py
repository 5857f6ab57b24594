"""Threads, interruption and what a statement that ends early leaves behind."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import memql
from memql.errors import OperationalError
from memql.storage.store import Store

pytestmark = pytest.mark.slow

QUERY = (
    "SELECT generate('Who?', max_tokens := 2) FROM memories WHERE owner = ? "
    "MATERIALIZE AS ACTIVATION"
)


@pytest.mark.parametrize("shared", [True, False], ids=["one connection", "one for each"])
def test_threads_compile_and_write_the_same_rows(path: Path, shared: bool) -> None:
    first = memql.connect(path)
    first.execute("INSERT INTO memories (owner, content) SELECT 'a', 'n ' || i FROM range(9) t(i)")
    connections = [first if shared else memql.connect(path) for _ in range(4)]
    errors: list[BaseException] = []
    answers: list[memql.Answer] = []

    def work(number: int) -> None:
        try:
            con = connections[number]
            for turn in range(3):
                row = con.execute(QUERY, ["a"]).fetchone()
                assert row is not None
                answers.append(row[0])
                con.execute("INSERT INTO memories (owner, content) VALUES ('b', ?)", [f"{turn}"])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(set(answers)) == 1 and len(answers) == 12
    rows = first.execute("SELECT count(*), count(DISTINCT id) FROM memories").fetchone()
    assert rows == (21, 21)
    versions = first.execute("SELECT count(DISTINCT version) FROM memories WHERE owner = 'b'")
    assert versions.fetchone() == (12,)
    store = Store.open(path)
    # One of the threads kept its node, the others found its boundaries known.
    assert len(store.activations.nodes()) == 1
    assert store.cursor().execute("SELECT count(*) FROM _memql.intents").fetchone() == (0,)
    store.close()
    for con in {id(con): con for con in connections}.values():
        con.close()


def test_an_interrupted_compile_leaves_no_half_node(path: Path) -> None:
    con = memql.connect(path)
    con.execute("INSERT INTO memories (content) SELECT 'some words ' || i FROM range(900) t(i)")
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        con.interrupt()

    con.progress = progress
    with pytest.raises(OperationalError, match="interrupted"):
        con.execute("FROM memories MATERIALIZE AS ACTIVATION")
    assert len(seen) == 1 and 0 < seen[0][0] < seen[0][1]
    store = Store.open(path)
    assert store.activations.nodes() == []
    store.close()
    con.progress = None
    row = con.execute("FROM memories MATERIALIZE AS ACTIVATION").fetchone()
    assert row is not None and row[5] == row[3]
    con.close()


def test_an_interrupted_query_ends(path: Path) -> None:
    con = memql.connect(path)
    started = threading.Event()
    caught: list[BaseException] = []

    def run() -> None:
        started.set()
        try:
            con.execute(
                "SELECT count(*) FROM range(3000000) a, range(3000000) b "
                "WHERE (a.range * b.range) % 7 = 3"
            )
        except OperationalError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    while thread.is_alive():
        con.interrupt()
        thread.join(timeout=0.05)
    assert len(caught) == 1
    assert con.execute("SELECT 1").fetchone() == (1,)
    con.close()


@pytest.mark.parametrize("begin", [False, True], ids=["autocommit", "transaction"])
def test_rows_wait_while_the_connection_goes_on(path: Path, begin: bool) -> None:
    con = memql.connect(path)
    con.execute("INSERT INTO memories (content) SELECT 'n' || i FROM range(5) t(i)")
    if begin:
        con.begin()
    first = con.execute("SELECT content, sum(1) OVER () FROM memories ORDER BY content")
    assert first.fetchone() == ("n0", 5)
    con.execute("DELETE FROM memories WHERE content = 'n4'")
    second = con.execute("SELECT count(*) FROM memories")
    assert first.fetchmany(2) == [("n1", 5), ("n2", 5)]
    assert second.fetchall() == [(4,)]
    assert first.fetchall() == [("n3", 5), ("n4", 5)]
    con.close()
