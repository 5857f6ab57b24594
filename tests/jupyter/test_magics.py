"""The magics in an IPython shell of this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

import memql


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    InteractiveShell.clear_instance()
    one = InteractiveShell.instance()
    one.run_line_magic("load_ext", "memql")
    yield one
    one.run_line_magic("memql", "close")
    one.history_manager.end_session()
    InteractiveShell.clear_instance()


def run(shell: Any, cell: str) -> Any:
    done = shell.run_cell(cell)
    done.raise_error()
    return done.result


def test_a_line_and_a_cell_show_tables(shell: Any) -> None:
    run(shell, "%memql INSERT INTO memories (content, owner) VALUES ('It rains.', 'alice')")
    table = run(shell, "%memql SELECT owner, content, kind FROM memories")
    assert table.columns == ["owner", "content", "kind"]
    assert list(table) == [("alice", "It rains.", None)]
    assert len(table) == 1
    assert repr(table).splitlines() == [
        "owner | content   | kind",
        "------+-----------+-----",
        "alice | It rains. | NULL",
    ]
    table = run(
        shell,
        "%%memql\nINSERT INTO memories (content) VALUES ('a;b');\n"
        "SELECT content\nFROM memories ORDER BY id;",
    )
    assert list(table) == [("It rains.",), ("a;b",)]


def test_a_table_is_a_data_frame_too(shell: Any) -> None:
    run(shell, "table = %memql SELECT 1 AS a, 'x' AS b UNION ALL SELECT 2, NULL")
    frame = run(shell, "table.df()")
    assert list(frame.columns) == ["a", "b"]
    assert frame["a"].tolist() == [1, 2]


def test_content_cannot_write_into_the_page(shell: Any) -> None:
    table = run(shell, "%memql SELECT '<script>alert(1)</script>' AS \"<b>\", NULL AS n")
    shown = table._repr_html_()
    assert "<script>" not in shown and "<b>" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "<em>NULL</em>" in shown


def test_a_plan_and_a_prompt_are_readable(shell: Any) -> None:
    run(shell, "%memql INSERT INTO memories (content) VALUES ('a < b')")
    plan = run(shell, "%memql EXPLAIN SELECT content FROM memories WHERE content = '<'")
    assert plan._repr_html_().startswith("<pre ")
    assert "'<'" not in plan._repr_html_()
    prompt = run(shell, "%memql SELECT content FROM memories MATERIALIZE AS PLAINTEXT")
    assert "- a &lt; b" in prompt._repr_html_()
    assert "- a < b" in repr(prompt)


def test_an_answer_tells_what_it_took(shell: Any) -> None:
    run(shell, "%memql INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
    table = run(shell, "%memql SELECT generate('Where does Alice live?') FROM memories")
    assert "Alice lives in Lisbon." in table._repr_html_()
    assert "PLAINTEXT for tiny" in table._repr_html_()
    ((answer,),) = list(table)
    assert isinstance(answer, memql.Answer)


def test_many_rows_are_counted_and_not_all_shown(shell: Any) -> None:
    table = run(shell, "%memql SELECT range AS n FROM range(250)")
    assert len(table) == 250
    assert table._repr_html_().count("<tr>") == 101
    assert "250 rows, the first 100 shown" in table._repr_html_()
    assert len(table.df()) == 250
    assert "0 rows" in repr(run(shell, "%memql SELECT 1 AS a WHERE false"))


def test_structs_and_dollars_are_not_python(shell: Any) -> None:
    run(shell, "a = 7")
    table = run(shell, "%memql SELECT {'a': 1} AS s, '$a {a}' AS t")
    assert list(table) == [({"a": 1}, "$a {a}")]


def test_connect_opens_a_store_as_a_user(shell: Any, tmp_path: Path) -> None:
    path = tmp_path / "my agent.memql"
    with memql.connect(path) as con:
        con.execute("INSERT INTO memories (owner, content) VALUES ('alice', 'a'), ('bob', 'b')")
    run(shell, f"%memql connect '{path}' --user bob")
    assert list(run(shell, "%memql SELECT content FROM memories")) == [("b",)]
    run(shell, "%memql close")
    with memql.connect(path) as con:
        assert con.user is None
    assert list(run(shell, "%memql SELECT count(*) FROM memories")) == [(0,)]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("%memql SELECT x FROM memories", "unknown column 'x' (line 1, column 8)"),
        ("%%memql\nSELECT x FROM memories", "         ^"),
        ("%memql connect a b c", "unrecognized arguments: b c"),
        ("%memql connect 'a", "No closing quotation"),
        ("%%memql SELECT 1\nSELECT 2", "takes no statement on its own line"),
    ],
)
def test_an_error_is_short(
    shell: Any, capsys: pytest.CaptureFixture[str], cell: str, told: str
) -> None:
    done = shell.run_cell(cell)
    assert isinstance(done.error_in_exec, memql.Error)
    shown = capsys.readouterr()
    assert told in shown.out + shown.err
    assert "Traceback" not in shown.out + shown.err
    assert len((shown.out + shown.err).strip().splitlines()) < 10


def test_nothing_behind_the_magic_shows_its_use(
    shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shell, "%memql")
    assert "%memql connect STORE" in capsys.readouterr().out


def test_a_store_with_users_asks_for_a_password(
    shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEMQL_PASSWORD", raising=False)
    monkeypatch.delenv("MEMQL_TOKEN", raising=False)
    store = str(tmp_path / "store.memql")
    with memql.connect(store) as con:
        con.execute("CREATE USER ann PASSWORD 'ann-pw'")
    monkeypatch.setattr("memql.jupyter.notebook.getpass", lambda prompt: "ann-pw")
    run(shell, f"%memql connect {store} --user ann")
    assert list(run(shell, "%memql SHOW USERS"))[0][0] == "ann"
    monkeypatch.setattr("memql.jupyter.notebook.getpass", lambda prompt: "wrong")
    with pytest.raises(memql.Error, match="password or token is wrong"):
        run(shell, f"%memql connect {store} --user ann")
    monkeypatch.setenv("MEMQL_PASSWORD", "ann-pw")
    run(shell, f"%memql connect {store} --user ann")
    assert list(run(shell, "%memql SHOW USERS"))[0][0] == "ann"
