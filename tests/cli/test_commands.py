"""The commands of ``memql``, called in this process: what they print and their exit codes."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

import memql
from memql.cli import main
from memql.cli.arguments import argument_parser

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path) -> str:
    path = tmp_path / "agent.memql"
    with memql.connect(path) as con:
        con.execute(
            "INSERT INTO memories (owner, kind, content) VALUES "
            "('alice', 'fact', 'Alice lives in Lisbon.'), ('bob', 'fact', 'Bob speaks Greek.')"
        )
    return str(path)


def give_input(monkeypatch: pytest.MonkeyPatch, text: str | bytes) -> None:
    data = text.encode() if isinstance(text, str) else text
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


# -- load -------------------------------------------------------------------------------------


def test_load_makes_a_store_and_tells_how_many(tmp_path: Path, capsys: Captured) -> None:
    lines = tmp_path / "memories.jsonl"
    lines.write_text('{"content": "a", "mood": "calm"}\n\n{"content": "b", "owner": "bob"}\n')
    assert main(["load", str(tmp_path / "new.memql"), str(lines)]) == 0
    assert capsys.readouterr().out.startswith("2 memories loaded in ")
    with memql.connect(tmp_path / "new.memql") as con:
        rows = con.execute("SELECT owner, content, attributes FROM memories").fetchall()
    assert rows == [("local", "a", '{"mood":"calm"}'), ("bob", "b", None)]


def test_load_from_standard_input_as_a_user(
    store: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_input(monkeypatch, '{"content": "gr\u00fcn"}')
    assert main(["load", store, "-", "--user", "alice"]) == 0
    assert capsys.readouterr().out.startswith("1 memory loaded")
    with memql.connect(store) as con:
        found = con.execute("SELECT owner FROM memories WHERE content = 'gr\u00fcn'").fetchall()
    assert found == [("alice",)]


def test_a_load_with_a_bad_line_changes_nothing(
    store: str, tmp_path: Path, capsys: Captured
) -> None:
    lines = tmp_path / "memories.jsonl"
    lines.write_text('{"content": "a"}\n{"content": 5}\n')
    assert main(["load", store, str(lines)]) == 1
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err == "error: line 2: content is a string, found 5\n"
    with memql.connect(store) as con:
        assert con.execute("SELECT count(*) FROM memories").fetchall() == [(2,)]


def test_a_file_that_is_not_there_makes_no_store(tmp_path: Path, capsys: Captured) -> None:
    assert main(["load", str(tmp_path / "new.memql"), str(tmp_path / "no.jsonl")]) == 1
    assert "no.jsonl: No such file" in capsys.readouterr().err
    assert not (tmp_path / "new.memql").exists()


def test_what_query_writes_load_reads(store: str, tmp_path: Path, capsys: Captured) -> None:
    rows = "SELECT * EXCLUDE (updated_at, state, version) FROM memories ORDER BY id"
    assert main(["query", store, rows, "--format", "jsonl"]) == 0
    lines = tmp_path / "memories.jsonl"
    lines.write_text(capsys.readouterr().out)
    other = str(tmp_path / "copy.memql")
    assert main(["load", other, str(lines)]) == 0
    capsys.readouterr()
    assert main(["query", other, rows, "--format", "jsonl"]) == 0
    assert capsys.readouterr().out == lines.read_text()


# -- query ------------------------------------------------------------------------------------


def test_query_prints_a_plain_table(store: str, capsys: Captured) -> None:
    assert main(["query", store, "SELECT owner, content FROM memories ORDER BY owner"]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    assert found.out.splitlines() == [
        "owner | content",
        "------+-----------------------",
        "alice | Alice lives in Lisbon.",
        "bob   | Bob speaks Greek.",
    ]


def test_query_takes_parameters_a_format_and_a_user(store: str, capsys: Captured) -> None:
    statement = "SELECT content, $n + 1 AS n, $t AS t FROM memories WHERE owner = $owner"
    given = ["--param", "owner=bob", "--param", "n=2", "--param", "t=a=b"]
    assert main(["query", store, statement, *given, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"content": "Bob speaks Greek.", "n": 3, "t": "a=b"}
    ]
    assert main(["query", store, "SELECT owner FROM memories", "--user", "bob"]) == 0
    assert "alice" not in capsys.readouterr().out


def test_an_answer_in_a_pipe_is_the_answer_alone(store: str, capsys: Captured) -> None:
    ask = "SELECT generate('Where does Alice live?') AS home FROM memories WHERE owner = 'alice'"
    assert main(["query", store, ask]) == 0
    found = capsys.readouterr()
    assert found.out.splitlines() == ["home", "-" * 22, "Alice lives in Lisbon."]
    assert found.err == ""


def test_query_reads_its_statement_from_standard_input(
    store: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_input(monkeypatch, "SELECT count(*) AS n\nFROM memories;\n")
    assert main(["query", store, "-", "--format", "csv"]) == 0
    assert capsys.readouterr().out == "n\n2\n"


def test_an_error_shows_the_place_and_the_way_out(store: str, capsys: Captured) -> None:
    assert main(["query", store, "SELECT contnt FROM memories"]) == 1
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.splitlines() == [
        "error: unknown column 'contnt' (line 1, column 8)",
        "  SELECT contnt FROM memories",
        "         ^",
        "hint: did you mean content?",
    ]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["SELECT 1; SELECT 2"], "statement"),
        ([""], "the statement is empty"),
        (["SELECT $n"], "n"),
        (["SELECT 1", "--model", " "], "the model's name is empty"),
        (["SELECT 1", "--user", ""], "the user's name is empty"),
        (["SELECT '\udcff'"], "the input is not UTF-8 text"),
    ],
)
def test_wrong_statements_are_errors(
    store: str, capsys: Captured, asked: list[str], told: str
) -> None:
    assert main(["query", store, *asked]) == 1
    found = capsys.readouterr()
    assert found.err.startswith("error: ")
    assert told in found.err


def test_query_makes_no_store(tmp_path: Path, capsys: Captured) -> None:
    missing = tmp_path / "no.memql"
    assert main(["query", str(missing), "SELECT 1"]) == 1
    assert f"there is no store {missing}" in capsys.readouterr().err
    assert not missing.exists()
    missing.mkdir()
    assert main(["query", str(missing), "SELECT 1"]) == 1
    assert "is an empty folder, not a store" in capsys.readouterr().err
    assert list(missing.iterdir()) == []


def test_what_is_not_a_store_is_told(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "photo.jpg").write_text("x")
    for path in (tmp_path, tmp_path / "photo.jpg"):
        for command in (["query", str(path), "SELECT 1"], ["shell", str(path)]):
            assert main(command) == 1
            assert "is not a MemQL store" in capsys.readouterr().err


def test_a_store_in_memory_needs_no_folder(capsys: Captured) -> None:
    assert main(["query", ":memory:", "SELECT count(*) AS n FROM memories"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0"


def test_an_interruption_ends_with_its_own_code(
    store: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(memql.Connection, "execute", interrupt)
    assert main(["query", store, "SELECT 1"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


# -- shell ------------------------------------------------------------------------------------


def test_a_shell_reads_statements_from_a_pipe(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "new.memql")
    give_input(
        monkeypatch,
        "INSERT INTO memories (content)\nVALUES ('a;b'); SELECT content FROM memories;\n"
        "SELECT upper(content) AS big FROM memories",
    )
    assert main(["shell", path]) == 0
    found = capsys.readouterr()
    assert found.out.splitlines() == ["content", "-------", "a;b", "big", "---", "A;B"]
    assert found.err == f"new store {path}\n"


def test_an_error_does_not_end_a_shell_but_is_in_its_exit_code(
    store: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_input(monkeypatch, "SELECT contnt FROM memories;\nSELECT 'on' AS a;\n\\q\nSELECT 'never'")
    assert main(["shell", store]) == 1
    found = capsys.readouterr()
    assert found.out.splitlines() == ["a", "--", "on"]
    assert found.err.splitlines()[0] == "error: unknown column 'contnt' (line 1, column 8)"
    assert found.err.splitlines()[2] == "         ^"


def test_a_transaction_spans_the_statements_of_a_shell(
    store: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_input(monkeypatch, "BEGIN; DELETE FROM memories; ROLLBACK; SELECT count(*) FROM memories;")
    assert main(["shell", store]) == 0
    assert capsys.readouterr().out.splitlines()[-1].strip() == "2"


# -- arguments --------------------------------------------------------------------------------


def test_the_version(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"memql {memql.__version__}\n"


@pytest.mark.parametrize("command", ["demo", "load", "query", "shell"])
def test_every_command_has_help(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: memql {command}" in capsys.readouterr().out
    assert f"memql {command}" in argument_parser().format_help()


@pytest.mark.parametrize(
    "given", [[], ["fly"], ["query", "x"], ["query", "x", "y", "--param", "5"], ["load", "x"]]
)
def test_wrong_arguments_end_with_code_2(given: list[str], capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 2
    assert "usage: memql" in capsys.readouterr().err
