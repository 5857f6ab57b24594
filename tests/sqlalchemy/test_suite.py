"""SQLAlchemy's own tests of a dialect run without a failure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = pytest.mark.slow


def run(store: Path, *more: str) -> str:
    """Run the suite in a process of its own, whose pytest has SQLAlchemy's plugin."""
    folder = Path(__file__).parent
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"),
            *("-p", "sqlalchemy.testing.plugin.pytestplugin", "--import-mode=importlib"),
            *(
                "-c",
                str(folder / "setup.cfg"),
                f"--rootdir={folder}",
                "--dburi",
                f"memql:///{store}",
            ),
            *(str(folder / "suite.py"), *more),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(store.parent)])},
    )
    return done.stdout


def test_the_suite_of_sqlalchemy(tmp_path: Path) -> None:
    printed = run(tmp_path / "suite.memql")
    last = printed.splitlines()[-1]
    assert "failed" not in last and "error" not in last, printed[-5000:]
    passed = re.search(r"(\d+) passed", last)
    assert passed is not None and int(passed[1]) > 600, last


def test_a_wrong_answer_fails_the_suite(tmp_path: Path) -> None:
    """The suite is no test if it passes whatever a database answers."""
    (tmp_path / "broken_answers.py").write_text(
        "import memql\n"
        "fetchall = memql.Cursor.fetchall\n"
        "memql.Cursor.fetchall = lambda cursor: fetchall(cursor)[1:]\n"
    )
    some = ("-k", "OrderByLabelTest")
    assert " passed" in run(tmp_path / "right.memql", *some).splitlines()[-1]
    printed = run(tmp_path / "wrong.memql", *some, "-p", "broken_answers")
    assert "failed" in printed.splitlines()[-1]
