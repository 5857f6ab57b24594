"""The command line and the magics open stores that have users."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import memql
from memql.cli import commands, main
from memql.cli.opening import connect_as
from memql.errors import OperationalError
from tests.engine.governed import _quick_hashes

__all__ = ["_quick_hashes"]  # a fixture, by name

Captured = pytest.CaptureFixture[str]
COUNT = "SELECT count(*) AS n FROM memories"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MEMQL_PASSWORD", "MEMQL_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def store(tmp_path: Path) -> str:
    path = str(tmp_path / "agent.memql")
    with memql.connect(path) as con:
        con.execute("CREATE USER ann WITH PASSWORD 'ann-pw' TOKEN 'ann-token'")
    with memql.connect(path, user="ann", password="ann-pw") as con:
        con.execute("INSERT INTO memories (content) VALUES ('a')")
    return path


def asks(answers: list[str], prompts: list[str]) -> Callable[[str], str]:
    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return answers.pop()

    return ask


@pytest.mark.parametrize(
    ("name", "value"), [("MEMQL_PASSWORD", "ann-pw"), ("MEMQL_TOKEN", "ann-token")]
)
def test_a_password_comes_from_the_environment(
    store: str,
    tmp_path: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
) -> None:
    monkeypatch.setenv(name, value)
    lines = tmp_path / "more.jsonl"
    lines.write_text('{"content": "b"}\n')
    assert main(["load", store, str(lines), "--user", "ann"]) == 0
    assert main(["query", store, COUNT, "--user", "ann", "--format", "csv"]) == 0
    assert capsys.readouterr().out.endswith("n\n2\n")
    monkeypatch.setenv(name, "wrong")
    assert main(["query", store, COUNT, "--user", "ann"]) == 1
    assert "password or token is wrong" in capsys.readouterr().err
    # Without a user nobody is meant.
    assert main(["query", store, COUNT]) == 1
    assert "it opens with a user and a password" in capsys.readouterr().err


def test_a_store_without_users_looks_at_no_password(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMQL_PASSWORD", "of another store")
    path = str(tmp_path / "embedded.memql")
    memql.connect(path).close()
    assert main(["query", path, COUNT, "--user", "ann", "--format", "csv"]) == 0
    assert capsys.readouterr().out == "n\n0\n"


def test_a_terminal_is_asked(store: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: list[str] = []
    monkeypatch.setattr(commands, "getpass", asks(["ann-pw"], prompts))
    query = ["query", store, COUNT, "--user", "ann", "--format", "csv"]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert main(query) == 1
    assert "it opens with a user and a password" in capsys.readouterr().err
    assert prompts == []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert main(query) == 0
    assert capsys.readouterr().out == "n\n1\n"
    assert prompts == ["password of ann: "]


def test_what_else_goes_wrong_asks_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no store")
    with pytest.raises(OperationalError, match="is not a MemQL store"):
        connect_as(str(tmp_path / "file"), "ann", None, asks([], []))


def test_a_load_for_another_owner_names_its_line(
    store: str, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMQL_PASSWORD", "ann-pw")
    lines = tmp_path / "more.jsonl"
    lines.write_text('{"content": "b"}\n{"content": "c", "owner": "bob"}\n')
    assert main(["load", store, str(lines), "--user", "ann"]) == 1
    assert "line 2: the user ann may not write memories of bob" in capsys.readouterr().err
    with memql.connect(store, user="ann", password="ann-pw") as con:
        con.execute("CREATE USER bob PASSWORD 'bob-pw'")
        with memql.connect(store, user="bob", password="bob-pw") as bob:
            bob.execute("GRANT WRITE ON MEMORIES TO ann")
    assert main(["load", store, str(lines), "--user", "ann"]) == 0
