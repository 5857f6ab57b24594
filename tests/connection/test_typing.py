"""The types that users see: `typed.py` holds what must be so, here stands what must not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
TYPED = Path(__file__).parent / "typed.py"

WRONG = """
import memql
from memql.rows import class_row, dict_row

con = memql.connect(row_factory=dict_row)
row = con.execute("SELECT 1").fetchone()
row["a"]  # Value of type "dict[str, Any] | None" is not indexable
for one in con.cursor():
    one.a  # "dict[str, Any]" has no attribute "a"
con.row_factory = class_row(int)  # Argument 1 to "class_row" has incompatible type
con.execute(1)  # Argument 1 to "execute" of "Connection" has incompatible type "int"
con.ingest("t", [], mode="upsert")  # Argument "mode" to "ingest" of "Connection"
memql.connect(row_factory=7)  # Argument "row_factory" to "connect" has incompatible type "int"
"""


def checked(path: Path) -> tuple[str, int]:
    """Run mypy on one file as on the project; return what it says, and its exit code.

    In a process of its own: mypy lets Python nest deeper, for good.
    """
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert not done.stderr
    return done.stdout, done.returncode


def test_what_must_be_so_is_so(tmp_path: Path) -> None:
    said, code = checked(TYPED)
    assert code == 0, said
    wrong = tmp_path / "typed_wrong.py"
    wrong.write_text(TYPED.read_text().replace("fetchone(), Fact | None)", "fetchone(), Fact)"))
    said, code = checked(wrong)
    assert code == 1 and 'Expression is of type "Fact | None", not "Fact"' in said


def test_what_must_not_be_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(WRONG)
    said, _ = checked(path)
    found = {int(match[1]): match[2] for match in re.finditer(r":(\d+): error: (.*)", said)}
    expected = {
        number: line.partition("# ")[2]
        for number, line in enumerate(WRONG.splitlines(), start=1)
        if "# " in line
    }
    assert set(found) == set(expected), said
    for number, told in expected.items():
        assert found[number].startswith(told)
