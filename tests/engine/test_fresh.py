"""What changed is seen by the next answer, what is stored outlives the process and damage."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import memql
from memql.errors import DataError, OperationalError, ProgrammingError
from memql.storage.activations import Activations
from memql.storage.store import Store
from tests.engine.conftest import Fed

pytestmark = pytest.mark.slow

QUERY = "SELECT generate('Where does Alice live?', max_tokens := 12) FROM alice"
VIEW = (
    "CREATE MATERIALIZED VIEW alice AS SELECT content FROM memories WHERE owner = 'alice' "
    "MATERIALIZE AS ACTIVATION"
)


def _answer(con: memql.Connection, query: str = QUERY) -> memql.Answer:
    row = con.execute(query).fetchone()
    assert row is not None
    answer = row[0]
    assert isinstance(answer, memql.Answer)
    return answer


def _tokens_fed(con: memql.Connection, fed: Fed, text: str) -> bool:
    """Tell whether the prompt of the next answer holds a text: stored tokens and fed ones."""
    row = con.execute("FROM alice MATERIALIZE AS PLAINTEXT").fetchone()
    assert row is not None
    return text in row[0].text


def test_an_update_is_seen_by_the_next_answer(con: memql.Connection, fed: Fed) -> None:
    con.execute(VIEW)
    before = _answer(con)
    assert before.computed_tokens == 0
    con.execute("UPDATE memories SET content = 'Alice lives in Porto.' WHERE kind = 'home'")
    fed.take()
    after = _answer(con)
    assert "Porto" in _decoded(fed)
    assert "Lisbon" not in _decoded(fed)
    # What stands before the change is still used, what stands behind it is not.
    assert after.reused_tokens
    assert after.reused_tokens < before.tokens
    assert _tokens_fed(con, fed, "Porto")
    con.execute("DELETE FROM memories WHERE kind = 'home'")
    gone = _answer(con)
    assert not _tokens_fed(con, fed, "Porto")
    assert len(gone.memory_ids) == len(after.memory_ids) - 1


def _decoded(fed: Fed) -> str:
    from memql.engine.model.runtime import load_runtime
    from memql.engine.model.spec import describe

    return load_runtime(describe("tiny", "tiny", {})).tokens.decode(fed.ids)


def test_a_view_extends_by_its_new_rows_only(con: memql.Connection) -> None:
    con.execute(VIEW)
    before = _answer(con)
    con.execute("INSERT INTO memories (owner, content) VALUES ('alice', 'Alice speaks Polish.')")
    ((freshness,),) = [(row[8],) for row in con.execute("SHOW MATERIALIZED VIEWS").fetchall()]
    assert 0 < freshness < 1
    con.execute("REFRESH MATERIALIZED VIEW alice")
    after = _answer(con)
    assert (after.computed_tokens, after.reused_tokens) == (0, after.tokens)
    assert after.tokens > before.tokens
    ((freshness,),) = [(row[8],) for row in con.execute("SHOW MATERIALIZED VIEWS").fetchall()]
    assert freshness == 1


def test_a_views_order_is_the_prompts_order(con: memql.Connection) -> None:
    con.execute(
        "CREATE MATERIALIZED VIEW sorted AS SELECT content FROM memories ORDER BY content DESC "
        "MATERIALIZE AS ACTIVATION"
    )
    answer = _answer(con, "SELECT generate('Who?', max_tokens := 1) FROM sorted")
    assert answer.computed_tokens == 0
    order = con.execute("SELECT id FROM memories ORDER BY content DESC").fetchall()
    assert answer.memory_ids == tuple(memory for (memory,) in order)
    row = con.execute("FROM sorted MATERIALIZE AS ACTIVATION").fetchone()
    assert row is not None and row[5] == 0


def test_canonical_order_puts_ones_own_rows_last(path: Path) -> None:
    con = memql.connect(path)
    for owner in ("local", "zoe", "adam"):
        con.execute(
            "INSERT INTO memories (owner, content, created_at) VALUES (?, ?, '2024-01-02'), "
            "(?, ?, '2024-01-01')",
            [owner, f"{owner} second", owner, f"{owner} first"],
        )
    row = con.execute("FROM memories MATERIALIZE AS PLAINTEXT").fetchone()
    assert row is not None
    assert list(row[0].rows) == [
        f"{owner} {which}" for owner in ("adam", "zoe", "local") for which in ("first", "second")
    ]
    con.close()


@pytest.mark.slow
def test_another_process_finds_what_was_compiled(path: Path, con: memql.Connection) -> None:
    con.execute(VIEW)
    here = _answer(con)
    con.close()
    program = textwrap.dedent(
        f"""
        import memql
        con = memql.connect({str(path)!r})
        answer = con.execute({QUERY!r}).fetchone()[0]
        print(answer.reused_tokens, answer.computed_tokens, answer)
        """
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == f"{here.tokens} 0 {here}"


@pytest.mark.parametrize("damage", [True, False], ids=["damaged", "control"])
def test_a_damaged_node_is_mended_from_text(
    path: Path, con: memql.Connection, damage: bool
) -> None:
    con.execute(VIEW)
    before = _answer(con)
    con.close()
    if damage:
        files = [
            file
            for file in (path / "activations.lance").rglob("*")
            if file.is_file() and file.stat().st_size > 10_000
        ]
        assert files
        for file in files:
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 0x40
            file.write_bytes(content)
    again = memql.connect(path)
    after = _answer(again)
    assert after == before
    assert after.computed_tokens == (after.tokens if damage else 0)
    assert _answer(again).computed_tokens == 0
    store = Store.open(path)
    audited = store.cursor().execute("SELECT count(*) FROM _memql.audit").fetchone()
    assert audited == (1 if damage else 0,)
    store.close()
    again.close()


def test_nothing_of_a_rolled_back_transaction_is_stored(path: Path, con: memql.Connection) -> None:
    store = Store.open(path)
    con.execute("BEGIN")
    con.execute("INSERT INTO memories (owner, content) VALUES ('alice', 'Alice drives a tram.')")
    row = con.execute(
        "SELECT content FROM memories WHERE owner = 'alice' MATERIALIZE AS ACTIVATION"
    ).fetchone()
    assert row is not None
    assert row[0].to_cache().get_seq_length() == row[0].tokens
    answer = _answer(
        con, "SELECT generate('What?', max_tokens := 2) FROM memories MATERIALIZE AS ACTIVATION"
    )
    assert answer.computed_tokens == answer.tokens
    con.execute("ROLLBACK")
    assert store.activations.nodes() == []
    assert store.cursor().execute(
        "SELECT count(*) FROM _memql.segments WHERE version < 0"
    ).fetchone() == (0,)
    store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT content FROM memories MATERIALIZE AS ACTIVATION",
        "SELECT word FROM secrets MATERIALIZE AS ACTIVATION",
        "SELECT content || word FROM memories, secrets MATERIALIZE AS ACTIVATION",
        "SELECT generate('What?', max_tokens := 2) FROM memories MATERIALIZE AS ACTIVATION",
        "CREATE MATERIALIZED VIEW diary AS SELECT content FROM memories",
    ],
)
def test_a_rolled_back_transaction_leaves_no_activation_of_any_rows(
    path: Path, con: memql.Connection, statement: str
) -> None:
    store = Store.open(path)
    con.execute("BEGIN")
    # The memories are committed; what a table says has no lineage that would tell.
    con.execute("CREATE TABLE secrets AS SELECT 'swordfish' AS word")
    con.execute(statement)
    con.execute("ROLLBACK")
    assert store.activations.nodes() == []
    con.execute("CREATE TABLE secrets AS SELECT 'swordfish' AS word")
    con.execute(statement)
    assert len(store.activations.nodes()) == 1
    store.close()


def test_a_view_of_a_transaction_is_compiled_behind_it(con: memql.Connection) -> None:
    def freshness() -> object:
        return con.execute("SELECT freshness, refreshed_at IS NULL FROM memql.views").fetchall()

    con.execute("BEGIN")
    con.execute("CREATE MATERIALIZED VIEW diary AS SELECT content FROM memories")
    with pytest.raises(ProgrammingError, match="diary cannot be refreshed inside a trans") as error:
        con.execute("REFRESH MATERIALIZED VIEW diary")
    assert error.value.code == "25001"
    con.execute("COMMIT")
    assert freshness() == [(0.0, True)]
    con.execute("REFRESH MATERIALIZED VIEW diary")
    assert freshness() == [(1.0, False)]


def test_a_prompt_longer_than_the_context_is_refused_before_any_compute(
    con: memql.Connection, fed: Fed
) -> None:
    con.execute("INSERT INTO memories (content) SELECT 'word ' || i FROM range(9000) t(i)")
    for form in ("PLAINTEXT", "ACTIVATION"):
        with pytest.raises(DataError) as caught:
            con.execute(f"SELECT generate('Who?') FROM memories MATERIALIZE AS {form}")
        assert "9,004 rows make" in str(caught.value)
        assert "context of 32,768 tokens" in str(caught.value)
        assert "select fewer rows" in str(caught.value)
    with pytest.raises(DataError, match="rows make"):
        con.execute("FROM memories MATERIALIZE AS ACTIVATION")
    assert fed.take() == []


def test_a_store_of_another_process_and_no_store_are_told_apart(path: Path, tmp_path: Path) -> None:
    con = memql.connect(path)
    program = f"import memql\nmemql.connect({str(path)!r})"
    failed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert failed.returncode != 0
    assert "OperationalError" in failed.stderr and "pid" in failed.stderr
    con.close()
    other = tmp_path / "documents"
    other.mkdir()
    (other / "letter.txt").write_text("Dear Alice")
    with pytest.raises(OperationalError, match="is not a MemQL store"):
        memql.connect(other)
    assert (other / "letter.txt").read_text() == "Dear Alice"


def test_an_answer_stands_where_its_activation_cannot_be_stored(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    def full(*args: object, **kwargs: object) -> int:
        raise OperationalError("No space left on device")

    expected = _answer(con, QUERY.replace("alice", "memories"))
    monkeypatch.setattr(Activations, "put", full)
    with pytest.warns(RuntimeWarning, match="could not be stored: No space left"):
        answer = _answer(con, QUERY.replace("alice", "memories") + " MATERIALIZE AS ACTIVATION")
    assert answer == expected
    with pytest.raises(OperationalError, match="No space left"):
        con.execute("FROM memories MATERIALIZE AS ACTIVATION")
