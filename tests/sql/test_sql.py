"""The statements of tests/sql/*.test, through the DB-API."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sql.runner import Runner

FILES = sorted(Path(__file__).parent.glob("*.test"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file(path: Path, tmp_path: Path) -> None:
    assert Runner(tmp_path / "store.memql").run(path) > 0


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file_without_rules(path: Path, tmp_path: Path) -> None:
    assert Runner(tmp_path / "store.memql", rules_off=True).run(path) > 0


def test_runner_notices_a_wrong_row(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.test"
    wrong.write_text("query\nSELECT 1\n----\n2\n")
    with pytest.raises(AssertionError, match="wrong.test:1"):
        Runner(tmp_path / "store.memql").run(wrong)


def test_runner_notices_a_missing_error(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.test"
    wrong.write_text("statement error ProgrammingError\nSELECT 1\n")
    with pytest.raises(AssertionError, match="no error"):
        Runner(tmp_path / "store.memql").run(wrong)


def test_runner_notices_another_code(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.test"
    wrong.write_text("statement error ProgrammingError 42P01\nSELECT x FROM memories\n")
    with pytest.raises(AssertionError, match="wrong.test:1: 42703"):
        Runner(tmp_path / "store.memql").run(wrong)
