"""jupysql's magics over a connection of MemQL, and over its SQLAlchemy dialect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import memql
from tests.jupyter.test_magics import run, shell

__all__ = ["shell"]  # the fixture


@pytest.fixture
def sql(shell: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("PLOOMBER_STATS_ENABLED", "false")
    monkeypatch.setenv("HOME", str(tmp_path))  # where it looks for settings
    shell.run_line_magic("load_ext", "sql")
    shell.run_line_magic("config", "SqlMagic.feedback = 0")
    return shell


def rows(result: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in result]


def test_over_the_connection(sql: Any) -> None:
    con = memql.connect()
    con.execute("INSERT INTO memories (content, kind) VALUES ('Alice lives in Lisbon.', 'fact')")
    sql.user_ns["con"] = con
    run(sql, "%sql con --alias agent")
    assert rows(run(sql, "%sql SELECT content, kind FROM memories")) == [
        ("Alice lives in Lisbon.", "fact")
    ]
    run(sql, "%sql INSERT INTO memories (content) VALUES ('Alice works as a nurse.')")
    answer = run(sql, "%sql SELECT generate('Where does Alice live?') FROM memories")
    assert rows(answer) == [("Alice lives in Lisbon.",)]
    frame = run(sql, "%sql SELECT content FROM memories ORDER BY id").DataFrame()
    assert frame["content"].tolist()[1] == "Alice works as a nurse."


def test_over_sqlalchemy(sql: Any, tmp_path: Path) -> None:
    run(sql, f"%sql memql:///{tmp_path / 's.memql'}")
    run(sql, "%sql INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
    cell = "%%sql\nSELECT generate('Where does Alice live?') AS a\nFROM memories"
    assert rows(run(sql, cell)) == [("Alice lives in Lisbon.",)]
    run(sql, "%sql CREATE TABLE people (name VARCHAR, age INTEGER)")
    assert "people" in str(run(sql, "%sqlcmd tables"))
    assert "age" in str(run(sql, "%sqlcmd columns --table people"))
