"""Answers piece by piece, their options, and several of them at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import memql
from memql.engine.model import batch
from memql.engine.model.runtime import Runtime
from memql.errors import (
    DataError,
    Error,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)

pytestmark = pytest.mark.slow

FACTS = [
    "Alice must not eat peanuts.",
    "Alice lives in Lisbon.",
    "Bob must not eat fish.",
    "Bob works as a nurse.",
]
QUESTION = "What must Alice not eat?"


@pytest.fixture
def con() -> Iterator[memql.Connection]:
    with memql.connect(":memory:") as connection:
        connection.executemany(
            "INSERT INTO memories (content, session) VALUES (?, ?)",
            [[fact, fact.split()[0]] for fact in FACTS],
        )
        yield connection


def test_pieces_are_the_answer(con: memql.Connection) -> None:
    cursor = con.cursor()
    query = "SELECT generate($q) AS answer, count(*) AS rows FROM memories"
    pieces = list(cursor.stream(query, {"q": QUESTION}))
    assert len(pieces) > 1
    row = cursor.fetchone()
    assert row is not None
    answer, rows = row
    assert "".join(pieces) == answer == "Alice must not eat peanuts." and rows == 4
    assert isinstance(answer, memql.Answer) and answer.computed_tokens == answer.tokens
    assert cursor.fetchone() is None
    assert con.execute(query, {"q": QUESTION}).fetchall() == [(answer, 4)]  # the control


def test_a_stream_keeps_what_it_computed(con: memql.Connection) -> None:
    query = f"SELECT generate('{QUESTION}') FROM memories MATERIALIZE AS ACTIVATION"
    first, second = con.cursor(), con.cursor()
    assert "".join(first.stream(query)) == "".join(second.stream(query))
    answers = [cursor.fetchall()[0][0] for cursor in (first, second)]
    assert [answer.reused_tokens for answer in answers] == [0, answers[0].tokens]


def test_other_statements_run_between_two_pieces(con: memql.Connection) -> None:
    pieces = con.cursor().stream(f"SELECT generate('{QUESTION}') FROM memories")
    given = [next(pieces)]
    assert con.execute("SELECT count(*) FROM memories").fetchall() == [(4,)]
    con.execute("INSERT INTO memories (content) VALUES ('Alice likes tea.')")
    given.extend(pieces)
    assert "".join(given) == "Alice must not eat peanuts."


def test_a_stream_in_a_transaction(con: memql.Connection) -> None:
    con.begin()
    con.execute("DELETE FROM memories WHERE content LIKE '%peanuts%'")
    con.execute("INSERT INTO memories (content) VALUES ('Alice must not eat eggs.')")
    pieces = con.cursor().stream(f"SELECT generate('{QUESTION}') FROM memories")
    assert "".join(pieces) == "Alice must not eat eggs."
    con.rollback()
    assert con.execute("SELECT count(*) FROM memories").fetchall() == [(4,)]


def test_a_stream_that_is_given_up(con: memql.Connection) -> None:
    cursor = con.cursor()
    pieces = cursor.stream(f"SELECT generate('{QUESTION}') FROM memories")
    next(pieces)
    del pieces
    with pytest.raises(ProgrammingError, match="no results to fetch"):
        cursor.fetchone()
    assert cursor.execute("SELECT 1").fetchone() == (1,)


def test_no_rows_give_no_piece(con: memql.Connection) -> None:
    cursor = con.cursor()
    assert list(cursor.stream("SELECT generate('Who?') FROM memories WHERE false")) == []
    assert cursor.fetchall() == [(None,)]


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("SELECT 1", r"stream\(\) takes a SELECT with generate"),
        ("INSERT INTO memories (content) VALUES ('x')", r"stream\(\) takes a SELECT"),
        ("SELECT session, generate('Who?') FROM memories GROUP BY session", "has 2 answers"),
        ("SELECT generate('Who?'), generate('Where?') FROM memories", "has 2 answers"),
        ("SELEC 1", "SELEC"),
        ("SELECT generate('Who?') FROM nothing", "nothing"),
    ],
)
def test_what_cannot_be_streamed(con: memql.Connection, statement: str, text: str) -> None:
    kind = NotSupportedError if "2 answers" in text else ProgrammingError
    with pytest.raises(kind, match=text):
        list(con.cursor().stream(statement))
    assert con.execute("SELECT count(*) FROM memories").fetchall() == [(4,)]


def test_parameters_of_a_stream(con: memql.Connection) -> None:
    with pytest.raises(ProgrammingError, match="parameters are a sequence or a mapping"):
        con.cursor().stream("SELECT generate(?) FROM memories", "Who?")


def test_interrupting_a_stream(con: memql.Connection) -> None:
    pieces = con.cursor().stream(f"SELECT generate('{QUESTION}') FROM memories")
    next(pieces)
    con.interrupt()
    with pytest.raises(OperationalError, match="interrupted"):
        list(pieces)
    assert list(pieces) == []


def test_rights_that_end_in_the_middle_end_the_stream(tmp_path: Path) -> None:
    path = tmp_path / "s.memql"
    with memql.connect(path) as root:
        root.execute("CREATE USER ann PASSWORD 'a long password'")
        root.execute("CREATE USER bob PASSWORD 'a long password'")
        root.execute("CREATE USER chief SUPERUSER PASSWORD 'a long password'")
    password = "a long password"
    with memql.connect(path, user="bob", password=password) as bob:
        bob.execute("INSERT INTO memories (content) VALUES ('Alice must not eat peanuts.')")
        bob.execute("GRANT READ ON MEMORIES TO ann")
        with memql.connect(path, user="ann", password=password) as ann:
            pieces = ann.cursor().stream(f"SELECT generate('{QUESTION}') FROM memories")
            next(pieces)
            bob.execute("REVOKE READ ON MEMORIES FROM ann")
            with pytest.raises(Error, match="who may read what was changed"):
                next(pieces)


def test_progress_of_a_prompt(con: memql.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    cursor = con.cursor()
    assert cursor.progress() == (0, 0)
    seen: list[tuple[int, int]] = []
    con.progress = lambda done, total: seen.append(cursor.progress())
    cursor.execute("SELECT generate('Who?', max_tokens := 1) FROM memories")
    assert seen and seen[-1][0] == seen[-1][1] == cursor.progress()[1] > 0
    cursor.execute("SELECT 1")
    assert cursor.progress() == (0, 0)


def test_interrupting_in_the_middle_of_a_pass(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All rows are one pass of the model; it ends at its next layer, and nothing is kept.
    begun, go_on = threading.Event(), threading.Event()
    forward = Runtime._forward

    def paused(self: Runtime, *arguments: object) -> None:
        begun.set()
        go_on.wait()
        forward(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Runtime, "_forward", paused)
    failures: list[Error] = []

    def run() -> None:
        try:
            con.execute("SELECT content FROM memories MATERIALIZE AS ACTIVATION")
        except Error as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    con.interrupt()
    go_on.set()
    thread.join()
    assert [error.code for error in failures] == ["57014"]
    assert con._session._store.activations.nodes() == []
    assert con._session._store.activations.stored() == set()
    monkeypatch.undo()
    made = con.execute("SELECT content FROM memories MATERIALIZE AS ACTIVATION").fetchall()[0][0]
    assert made.computed_tokens == made.tokens


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("temperature := -1", "temperature is a number from 0 to 100, found -1"),
        ("temperature := 'hot'", "temperature is a number"),
        ("temperature := true", "temperature is a number"),
        ("top_p := 0", "top_p is a number above 0 and at most 1, found 0"),
        ("top_p := 1.5", "top_p is a number above 0"),
        ("stop := 1", "stop is a text or a list"),
        ("stop := ''", "stop is a text or a list of at most 16 texts, none of them empty"),
        ("stop := ['a', '']", "stop is a text or a list"),
        ("stop := []", "stop is a text or a list"),
        ("seed := 1.5", "seed is a whole number of at least 0"),
        ("seed := -1", "seed is a whole number"),
    ],
)
def test_options_out_of_range(con: memql.Connection, option: str, text: str) -> None:
    with pytest.raises(DataError, match=text) as raised:
        con.execute(f"SELECT generate('q', {option}) FROM memories")
    assert raised.value.position is not None


def ask(con: memql.Connection, options: str, **values: object) -> str:
    query = f"SELECT generate('{QUESTION}', {options}) FROM memories"
    return str(con.execute(query, values or None).fetchall()[0][0])


def test_drawing(con: memql.Connection) -> None:
    hot = "temperature := 20, max_tokens := 12, seed := {}"
    assert ask(con, hot.format(1)) == ask(con, hot.format(1)) != ask(con, hot.format(2))
    drawn = {ask(con, "temperature := 20, max_tokens := 12") for _ in range(4)}
    assert len(drawn) == 4
    # Only what has nine tenths of the chances together: this model is that sure.
    sure = "temperature := 1, top_p := 0.1, seed := 3"
    assert ask(con, sure) == "Alice must not eat peanuts."
    # Parameters as options: the kept plan is not that of other values.
    seeds = [
        ask(con, "temperature := 20, max_tokens := 12, seed := $seed", seed=seed)
        for seed in (1, 2, 1)
    ]
    assert seeds[0] == seeds[2] == ask(con, hot.format(1)) != seeds[1]


def test_stop_texts(con: memql.Connection) -> None:
    assert ask(con, "stop := ' eat'") == "Alice must not"
    assert ask(con, "stop := ['nowhere', ' not', ' eat']") == "Alice must"
    assert ask(con, "stop := $stop", stop=[" must", " eat"]) == "Alice"
    pieces = con.cursor().stream(f"SELECT generate('{QUESTION}', stop := ' eat') FROM memories")
    assert "".join(pieces) == "Alice must not"


def test_equal_calls_that_draw_are_not_merged(con: memql.Connection) -> None:
    def both(options: str) -> tuple[str, str]:
        call = f"generate('{QUESTION}', max_tokens := 12, temperature := 20{options})"
        (row,) = con.execute(f"SELECT {call} AS a, {call} AS b FROM memories").fetchall()
        return row[0], row[1]

    first, second = both("")
    assert first != second
    first, second = both(", seed := 5")
    assert first == second


def test_explain_shows_how_an_answer_is_made(con: memql.Connection) -> None:
    query = "EXPLAIN SELECT generate('q', temperature := 0.5, stop := 'x') FROM memories"
    text = "\n".join(line for (line,) in con.execute(query).fetchall())
    for line in ("temperature: 0.5", "top_p: 1.0", "seed: drawn anew", "stop: 'x'"):
        assert line in text
    plain = con.execute("EXPLAIN SELECT generate('q') FROM memories").fetchall()
    assert not any("temperature" in line or "stop" in line for (line,) in plain)


# -- several answers -------------------------------------------------------------------------------

GROUPED = (
    "SELECT session, generate('What must ' || session || ' not eat?') AS answer "
    "FROM memories GROUP BY session ORDER BY session"
)


@pytest.mark.parametrize("form", ["PLAINTEXT", "ACTIVATION"])
def test_groups_are_answered_together(
    con: memql.Connection, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    together: list[int] = []
    answer_together = batch.answer_together

    def noted(runtime: Runtime, requests: list[batch.Request], **more: object) -> object:
        together.append(len(requests))
        return answer_together(runtime, requests, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "answer_together", noted)
    query = f"{GROUPED} MATERIALIZE AS {form}"
    rows = con.execute(query).fetchall()
    assert together == [2]
    assert rows == [("Alice", "Alice must not eat peanuts."), ("Bob", "Bob must not eat fish.")]
    monkeypatch.setattr(
        batch, "plan_batches", lambda _, lengths: [[n] for n in range(len(lengths))]
    )
    alone = con.execute(query).fetchall()
    assert together == [2] and alone == rows  # the control
    assert [row[1].tokens for row in alone] == [row[1].tokens for row in rows]


def test_groups_reuse_what_the_group_before_them_stored(con: memql.Connection) -> None:
    con.execute("DELETE FROM memories")
    con.execute(
        "INSERT INTO memories (content, created_at) VALUES ('Alice likes tea.', '2020-01-01'), "
        "('Bob likes tea.', '2020-01-02'), ('Carol likes tea.', '2020-01-03')"
    )
    query = (
        "SELECT n, generate('Who?', max_tokens := 2) AS answer FROM memories JOIN "
        "(VALUES (1), (2)) AS v(n) ON true WHERE n = 2 OR content NOT LIKE 'Carol%' "
        "GROUP BY n ORDER BY n MATERIALIZE AS ACTIVATION"
    )
    answers = [answer for _, answer in con.execute(query).fetchall()]
    # The longer prompt goes first, and holds the shorter one.
    assert answers[0].computed_tokens == 0 and answers[1].computed_tokens == answers[1].tokens


def test_explain_analyze_shows_groups_in_their_order() -> None:
    # With one thread DuckDB gives the groups in one order, whatever it is.
    with memql.connect(threads=1) as con:
        con.executemany(
            "INSERT INTO memories (content, session) VALUES (?, ?)",
            [[fact, fact.split()[0]] for fact in (*FACTS, "Bob likes tea.")],
        )
        lines = [line for (line,) in con.execute(f"EXPLAIN ANALYZE {GROUPED}").fetchall()]
        asked = [line.split("question: ")[1] for line in lines if "question: " in line]
        plain = [line for (line,) in con.execute(f"EXPLAIN {GROUPED}").fetchall()]
        assert asked == [line.split("question: ")[1] for line in plain if "question: " in line]
        assert len(asked) == 2
