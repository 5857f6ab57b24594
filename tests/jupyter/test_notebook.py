"""What the magics can do besides running a statement."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import memql
from memql.jupyter.plan import Plan
from memql.jupyter.progress import NotebookBar
from tests.jupyter.test_magics import run, shell

__all__ = ["shell"]  # the fixture


def error_of(shell: Any, cell: str) -> memql.Error:
    error = shell.run_cell(cell).error_in_exec
    assert isinstance(error, memql.Error)
    return error


# -- connections ------------------------------------------------------------------------------


def test_each_alias_is_a_connection(shell: Any, tmp_path: Path) -> None:
    run(shell, f"%memql connect {tmp_path / 'a.memql'} --alias a --user ann")
    run(shell, "%memql INSERT INTO memories (content) VALUES ('of a')")
    run(shell, f"%memql connect {tmp_path / 'b.memql'} --alias b")
    run(shell, "%memql INSERT INTO memories (content) VALUES ('of b')")
    assert list(run(shell, "%memql SELECT content FROM memories")) == [("of b",)]
    assert list(run(shell, "%memql a SELECT owner FROM memories")) == [("ann",)]
    # As in jupysql, the one that was named last is the one to go on with.
    assert list(run(shell, "%%memql\nSELECT content FROM memories")) == [("of a",)]
    assert list(run(shell, "%%memql b\nSELECT content FROM memories")) == [("of b",)]
    run(shell, "%memql a")
    assert list(run(shell, "%memql SELECT content FROM memories")) == [("of a",)]


def test_connections_are_listed_and_closed(
    shell: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shell, "%memql connections")
    assert "none: %memql connect" in capsys.readouterr().out
    run(shell, f"%memql connect {tmp_path / 'a.memql'} --alias a")
    run(shell, "%memql connect --alias b")
    run(shell, "%memql connections")
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("  a: <memql.Connection to") and second.startswith("* b: <")
    run(shell, "%memql close a")
    error = error_of(shell, "%memql close a")
    assert error.message == "no connection has the alias a" and error.hint == "there are b"
    run(shell, "%memql close")
    run(shell, "%memql close")


def test_a_variable_is_a_connection_too_and_stays_open(shell: Any) -> None:
    from memql.rows import dict_row

    con = memql.connect(row_factory=dict_row)
    con.execute("INSERT INTO memories (content) VALUES ('mine')")
    shell.user_ns["mine"] = con
    assert list(run(shell, "%memql mine SELECT content FROM memories")) == [("mine",)]
    run(shell, "%memql close mine")
    assert con.execute("SELECT count(*) AS n FROM memories").fetchone() == {"n": 1}


@pytest.mark.parametrize("alias", ["select", "describe", "close", "a-b", "1a"])
def test_an_alias_is_no_word_of_a_statement(shell: Any, alias: str) -> None:
    assert error_of(shell, f"%memql connect --alias {alias}").code == "42602"


# -- values, captures, kept queries -----------------------------------------------------------


def test_values_are_bound_from_the_notebook(shell: Any) -> None:
    run(shell, "words = ['tea', \"milk'; DROP\"]")
    table = run(shell, "%memql SELECT :words[2] AS w, {{len(words)}} AS n")
    assert list(table) == [("milk'; DROP", 2)]
    run(shell, "%%memql\nCREATE TABLE t (a VARCHAR);\nINSERT INTO t VALUES ({{words[0]}})")
    table = run(shell, "%memql SELECT a, {{words[1]}} FROM t")
    assert list(table) == [("tea", "milk'; DROP")]
    assert error_of(shell, "%memql SELECT :nobody").message == "no Python variable is called nobody"


def test_a_result_is_captured(shell: Any) -> None:
    assert run(shell, "%memql found << SELECT 7 AS n") is None
    assert list(run(shell, "found")) == [(7,)]
    assert run(shell, "%%memql other <<\nSELECT 8 AS n") is None
    assert run(shell, "other.pl()").to_dicts() == [{"n": 8}]


def test_kept_queries_are_put_before_others(shell: Any) -> None:
    run(shell, "low = 2")
    run(shell, "%%memql --save big\nSELECT range AS n FROM range(10) WHERE range >= :low")
    run(shell, "%%memql --save odd --with big\nSELECT n FROM big WHERE n % 2 = 1")
    assert list(run(shell, "%memql --with odd SELECT sum(n) FROM odd")) == [(24,)]
    run(shell, "low = 8")
    assert list(run(shell, "%memql --with odd --with big SELECT max(odd.n) FROM odd, big")) == [
        (9,)
    ]
    counted = "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 3)"
    table = run(shell, f"%%memql --with odd\n{counted} SELECT max(i), (SELECT n FROM odd) FROM r")
    assert list(table) == [(3, 9)]
    table = run(shell, "%%memql --with odd\n-- a comment\nWITH x AS (SELECT 1 AS a) FROM x, odd")
    assert list(table) == [(1, 9)]
    error = error_of(shell, "%memql --with od SELECT 1")
    assert error.message == "no query is saved as od" and error.hint == "did you mean odd?"
    assert (
        error_of(shell, "%memql --with odd DROP TABLE t").message == "--with stands before a query"
    )


# -- what is shown ----------------------------------------------------------------------------


def test_the_limit_says_what_it_cut(shell: Any) -> None:
    table = run(shell, "%memql --limit 3 SELECT range AS n FROM range(5)")
    assert table._repr_html_().count("<tr>") == 4
    assert "5 rows, the first 3 shown; .df() has them all" in table._repr_html_()
    assert "5 rows, the first 3 shown" in repr(table)
    table = run(shell, "%memql --limit 0 SELECT range AS n FROM range(250)")
    assert table._repr_html_().count("<tr>") == 251 and "shown" not in table._repr_html_()
    table = run(shell, "%memql SELECT repeat('a', 3000) AS t")
    assert "a... (1,000 more characters)" in table._repr_html_()
    assert list(table) == [("a" * 3000,)]
    assert error_of(shell, "%memql --limit x SELECT 1").message == "--limit takes a number of rows"
    assert error_of(shell, "%memql --save").message == "--save takes a name"


def test_a_plan_is_drawn(shell: Any) -> None:
    run(shell, "%memql INSERT INTO memories (content) VALUES ('Alice lives in <Lisbon>.')")
    run(shell, "q = 'Where does Alice live?'")
    query = "SELECT generate(:q) FROM memories"
    for magic in (
        f"%memql_explain {query}",
        f"%%memql_explain\n{query}",
        f"%memql --explain {query}",
    ):
        plan = run(shell, magic)
        assert isinstance(plan, Plan)
        assert repr(plan).splitlines()[0] == "Finish" and "computed_tokens: 18" in repr(plan)
        assert plan._repr_html_().startswith('<div class="memql-plan">')
        assert "18 computed" in plan._repr_html_() and "<Lisbon>" not in plan._repr_html_()
        assert "answer_tokens" not in repr(plan)
        assert plan.mermaid().startswith("flowchart BT\n")
        assert plan.page().startswith("<!DOCTYPE html>")
    plan = run(shell, f"%memql_explain --analyze {query}")
    assert "answer_tokens" in repr(plan) and re.search(r"\bseconds: \d+\.\d ms", repr(plan))
    page = run(
        shell, f"%memql EXPLAIN (FORMAT html) {query.replace(':q', chr(39) + 'x' + chr(39))}"
    )
    assert page._repr_html_().strip().startswith('<div class="memql-plan">')


def test_an_answer_is_written_as_it_is_made(
    shell: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shell, "%memql INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
    pieces: list[str] = []
    stream = memql.Cursor.stream

    def noted(cursor: memql.Cursor, *given: Any) -> Any:
        for piece in stream(cursor, *given):
            pieces.append(piece)
            yield piece

    monkeypatch.setattr(memql.Cursor, "stream", noted)
    table = run(shell, "%memql --stream SELECT generate('Where does Alice live?') FROM memories")
    assert len(pieces) > 1 and "".join(pieces) == "Alice lives in Lisbon."
    assert capsys.readouterr().out.startswith("Alice lives in Lisbon.\n")
    ((answer,),) = list(table)
    assert answer == "Alice lives in Lisbon." and answer.tokens == 14
    told = error_of(shell, "%memql --stream SELECT 1").message
    assert told == "stream() takes a SELECT with generate"


def test_the_views_are_listed(shell: Any) -> None:
    run(shell, "%memql CREATE MATERIALIZED VIEW v AS SELECT content FROM memories "
        "MATERIALIZE AS ACTIVATION")  # fmt: skip
    table = run(shell, "%memql_views")
    assert [row[0] for row in table] == ["v"]


# -- a bar, and the Tab key -------------------------------------------------------------------


def test_a_compile_draws_a_bar_in_the_page(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    class Handle:
        def update(self, shown: Any) -> None:
            drawn.append(shown.data)

    def display(shown: Any, *, display_id: bool) -> Handle:
        assert display_id
        drawn.append(shown.data)
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr("memql.jupyter.progress.PATIENCE_SECONDS", 0)
    monkeypatch.setattr(type(shell), "kernel", object(), raising=False)
    run(shell, "%memql INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
    run(shell, "%memql SELECT content FROM memories MATERIALIZE AS ACTIVATION")
    assert '<progress value="14" max="14"></progress> computing 14 of 14 tokens' in drawn
    assert drawn[-1] == ""


def test_a_short_compile_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memql.jupyter.progress.PATIENCE_SECONDS", 1e9)
    monkeypatch.setattr("IPython.display.display", None)
    with NotebookBar("computing", "tokens") as bar:
        bar.report(1, 2)


def completions(shell: Any, cell: str) -> list[str]:
    """Return what the Tab key offers at ``|``."""
    from IPython.core.completer import provisionalcompleter

    place = cell.index("|")
    with provisionalcompleter():
        found = shell.Completer.completions(cell.replace("|", ""), place)
        return sorted(one.text for one in found)


def test_tab_completes_words_and_names(shell: Any) -> None:
    run(shell, "%memql connect --alias work")
    run(shell, "%memql CREATE TABLE people (surname VARCHAR, age INTEGER)")
    run(shell, "%memql CREATE MATERIALIZED VIEW portrait AS SELECT content FROM memories "
        "MATERIALIZE AS ACTIVATION")  # fmt: skip
    assert completions(shell, "%memql sel|") == ["select"]
    assert completions(shell, "%%memql\nSELECT con|") == ["conflict", "content"]
    assert completions(shell, "%memql SELECT 1 FROM peo|") == ["people"]
    assert completions(shell, "x = %memql SELECT surn|") == ["surname"]
    assert completions(shell, "%%memql\nSELECT 1\nFROM por|\nWHERE true") == ["portrait"]
    assert completions(shell, "%memql SELECT 1 FOR MODEL tin|") == ["tiny"]
    assert completions(shell, "%memql SELECT people.|") == ["age", "surname"]
    assert completions(shell, "%memql wor|") == ["work"]
    assert completions(shell, "%memql --exp|") == ["--explain"]
    assert "MATERIALIZE" in completions(shell, "%memql SELECT content FROM memories MAT|")


def test_python_is_completed_as_ever(shell: Any) -> None:
    run(shell, "selection = 1")
    assert "selection" in completions(shell, "print(selec|")
    assert "select" not in completions(shell, "print(selec|")


def test_without_a_connection_no_store_is_opened(shell: Any) -> None:
    assert completions(shell, "%memql SELECT * FROM memo|") == ["memories"]
