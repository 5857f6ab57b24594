"""What went wrong in other memory systems, as their users reported it, and the test of each here.

Those about who may read a row or lose one are below, named after what went wrong; the others are
tested beside the part that they concern (``INCIDENTS``).
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import memql
from memql.errors import ProgrammingError
from tests.engine.conftest import Fed
from tests.error_sites import ROOT

pytestmark = pytest.mark.slow

_HERE = "engine/test_incidents.py"
INCIDENTS: dict[str, tuple[str, ...]] = {
    "nobody checked who may read": (f"{_HERE}::test_nobody_checked_who_may_read",),
    "a delete for one user wiped all": (f"{_HERE}::test_a_delete_for_one_user_wiped_all",),
    "a write landed with another tenant": (f"{_HERE}::test_a_write_landed_with_another_tenant",),
    "a contradiction deleted the memory": (f"{_HERE}::test_a_contradiction_deleted_the_memory",),
    "a filter after the first k hid rows": (f"{_HERE}::test_a_filter_after_the_first_k_hid_rows",),
    "a language model in the path of writes made them take seconds": (
        f"{_HERE}::test_a_model_stood_in_the_path_of_writes",
    ),
    "caches were put together without moving positions": (
        "engine/test_forms.py::test_an_activation_of_many_nodes_gives_the_answers_of_text",
    ),
    "a merged cache was silently dropped": (
        "engine/test_forms.py::test_only_what_is_new_is_computed",
        "engine/test_fresh.py::test_a_view_extends_by_its_new_rows_only",
    ),
    "a stored cache grew with every turn": (
        "engine/test_forms.py::test_use_changes_no_stored_tensor",
        "model/test_prefix.py::test_use_does_not_change_what_is_stored",
    ),
    "a cache did not know its model": (
        "engine/test_models.py::test_one_model_never_reuses_what_another_computed",
        "engine/test_models.py::test_changed_weights_are_another_model",
    ),
    "caches were pickles": (f"{_HERE}::test_caches_were_pickles",),
    "cached text was fed again on top of its cache": (
        "engine/test_forms.py::test_only_what_is_new_is_computed",
        "model/test_runtime.py::test_every_position_is_fed_once",
    ),
    "a changed text left its cache in use": (
        "engine/test_fresh.py::test_an_update_is_seen_by_the_next_answer",
    ),
    "a form of memory was a placeholder": (f"{_HERE}::test_a_form_was_a_placeholder",),
}


def missing(incidents: dict[str, tuple[str, ...]]) -> list[str]:
    """Return the tests that are named and not there."""
    found = []
    for test in sorted({test for tests in incidents.values() for test in tests}):
        path, _, name = test.partition("::")
        tree = ast.parse((ROOT / "tests" / path).read_text("utf-8"))
        if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            found.append(test)
    return found


def test_each_incident_has_its_test() -> None:
    assert all(INCIDENTS.values())
    assert not missing(INCIDENTS)
    assert missing({"x": (f"{_HERE}::test_of_nothing",)}) == [f"{_HERE}::test_of_nothing"]


# -- who may read or lose a row --------------------------------------------------------------------


def rows(connection: memql.Connection) -> list[tuple[object, ...]]:
    return connection.execute("SELECT owner, content FROM memories ORDER BY id").fetchall()


@pytest.fixture
def tenants(path: Path) -> tuple[list[str], list[str]]:
    """What alice and bob remember."""
    contents = ["first", "second", "third"]
    for user in ("alice", "bob"):
        with memql.connect(path, user=user) as con:
            con.executemany(
                "INSERT INTO memories (content) VALUES (?)", [[one] for one in contents]
            )
    return contents, contents


def test_nobody_checked_who_may_read(path: Path, tenants: object) -> None:
    with memql.connect(path, user="bob") as bob, memql.connect(path, user="alice") as alice:
        ids = [memory for (memory,) in bob.execute("SELECT id FROM memories").fetchall()]
        # To know an id, a session or an owner's name is no right to read.
        for memory in ids:
            found = alice.execute("SELECT * FROM memories WHERE id = ?", [memory]).fetchall()
            assert not found
        assert not alice.execute("SELECT * FROM memories WHERE owner = 'bob'").fetchall()
        assert {owner for owner, _ in rows(alice)} == {"alice"}
        assert len(rows(bob)) == 3


def test_a_delete_for_one_user_wiped_all(path: Path, tenants: object) -> None:
    with memql.connect(path, user="alice") as alice:
        for text in ("DELETE FROM memories", "DELETE FROM memories WHERE true OR owner = 'bob'"):
            alice.execute(text)
        with pytest.raises(memql.Error):
            alice.execute("TRUNCATE memories")
        assert not rows(alice)
    with memql.connect(path) as everybody:
        assert rows(everybody) == [("bob", one) for one in ("first", "second", "third")]
        stored = everybody._session._store.cursor()
        counts = "SELECT owner, state, count(*) FROM _memql.memories GROUP BY ALL ORDER BY ALL"
        assert stored.execute(counts).fetchall() == [("alice", "archived", 3), ("bob", "active", 3)]


def test_a_write_landed_with_another_tenant(path: Path, tenants: object) -> None:
    writes = (
        "INSERT INTO memories (owner, content) VALUES ('bob', 'planted')",
        "INSERT INTO memories (content, owner) SELECT content, 'bob' FROM memories",
        "UPDATE memories SET owner = 'bob'",
        "UPDATE memories SET owner = 'bob' WHERE content = 'first'",
    )
    with memql.connect(path, user="alice") as alice, memql.connect(path, user="bob") as bob:
        before = rows(bob)
        for text in writes:
            with pytest.raises(ProgrammingError, match="may not write memories of bob"):
                alice.execute(text)
        # Interleaved on two connections, each write is its connection's.
        for number in range(10):
            for connection in (alice, bob):
                connection.execute("INSERT INTO memories (content) VALUES (?)", [f"turn {number}"])
        turns = [f"turn {number}" for number in range(10)]
        assert [content for _, content in rows(alice)][3:] == turns
        assert rows(bob) == [*before, *(("bob", turn) for turn in turns)]


def test_a_contradiction_deleted_the_memory(path: Path) -> None:
    with memql.connect(path, user="alice") as alice:
        for content in ("Alice likes tea.", "Alice does not like tea.", "Alice likes tea."):
            alice.execute("INSERT INTO memories (content) VALUES (?)", [content])
        assert [content for _, content in rows(alice)] == [
            "Alice likes tea.",
            "Alice does not like tea.",
            "Alice likes tea.",
        ]
        # What was said before an update is kept as a version.
        alice.execute("UPDATE memories SET content = 'Alice likes cocoa.'")
        stored = alice._session._store.cursor()
        versions = stored.execute("SELECT count(*), count(DISTINCT content) FROM _memql.versions")
        assert versions.fetchall() == [(6, 3)]


def test_a_filter_after_the_first_k_hid_rows(path: Path) -> None:
    """The first ten are ten of one's own, however many newer rows others have."""
    insert = (
        "INSERT INTO memories (content, importance) SELECT '{0} ' || i, {1} FROM range({2}) t(i)"
    )
    with memql.connect(path, user="alice") as alice:
        alice.execute(insert.format("alice", 0.1, 12))
    with memql.connect(path, user="bob") as bob:
        bob.execute(insert.format("bob", 0.9, 500))
    with memql.connect(path, user="alice") as alice:
        for order in ("created_at DESC", "importance DESC", "content LIKE 'bob%' DESC", "id DESC"):
            query = f"SELECT owner FROM memories ORDER BY {order} LIMIT 10"
            assert alice.execute(query).fetchall() == [("alice",)] * 10
        assert len(alice.execute("SELECT id FROM memories LIMIT 10").fetchall()) == 10
        limited = alice.execute("SELECT id FROM memories LIMIT 10 ROWS 10000 TOKENS").fetchall()
        assert len(limited) == 10


# -- the others that had no test yet ---------------------------------------------------------------


def test_a_model_stood_in_the_path_of_writes(con: memql.Connection, fed: Fed) -> None:
    con.execute("CREATE MATERIALIZED VIEW v AS SELECT content FROM memories WITH NO DATA")
    con.execute("INSERT INTO memories (content) VALUES ('Alice likes tea.')")
    con.execute("UPDATE memories SET content = content || '!'")
    con.execute("DELETE FROM memories WHERE owner = 'bob'")
    con.execute("BEGIN")
    con.execute("INSERT INTO memories (content) SELECT content FROM memories")
    con.execute("COMMIT")
    assert not fed.passes
    con.execute("SELECT generate('Who?', max_tokens := 1) FROM memories").fetchall()
    assert fed.passes


def reads_pickles(source: str) -> bool:
    """Tell whether a module reads a pickle, which runs what stands in it."""
    for node in ast.walk(ast.parse(source)):
        names: set[str] = set()
        if isinstance(node, ast.Import):
            names = {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {node.module or ""}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            safe = any(ast.unparse(one) == "weights_only=True" for one in node.keywords)
            names = set() if safe else {"pickle"}
        if names & {"pickle", "cloudpickle", "dill", "shelve"}:
            return True
    return False


def test_caches_were_pickles() -> None:
    folders = [ROOT / part for part in ("memql", "engine", "storage")]
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    assert len(sources) > 100
    assert not [path for path in sources if reads_pickles(path.read_text("utf-8"))]
    assert reads_pickles("import pickle")
    assert reads_pickles("def f(x): return torch.load(x)")


def test_a_form_was_a_placeholder(con: memql.Connection) -> None:
    with pytest.raises(memql.NotSupportedError, match="PARAMETER is not something .* does yet"):
        con.execute("SELECT content FROM memories MATERIALIZE AS PARAMETER")
