"""The model runtime runs where no database is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

# What is not there for the process below.
MISSING = ("duckdb", "_duckdb", "lance", "sqlglot", "xxhash", "argon2")

BLOCK = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {MISSING}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code, *arguments],
        cwd=ROOT,
        env={"OMP_NUM_THREADS": "1", "PATH": "", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_file_of_the_runtime_is_imported_without_a_database(tmp_path: Path) -> None:
    names = [
        ".".join(("memql", "engine", *path.relative_to(ROOT / "engine").with_suffix("").parts))
        for path in sorted((ROOT / "engine" / "model").glob("*.py"))
        if path.name != "__init__.py"
    ]
    assert "memql.engine.model.batch" in names and "memql.engine.model.runtime" in names
    done = run("import importlib\n" + "".join(f"importlib.import_module({n!r})\n" for n in names))
    assert done.returncode == 0, done.stderr
    # The control: what needs a database does not import here.
    for code in ("import memql.engine.session", "import memql; memql.connect(sys.argv[1])"):
        assert "No module named" in run(code, str(tmp_path / "s.memql")).stderr


def test_the_benchmark_of_devices_runs_without_a_database() -> None:
    code = "import runpy\nsys.argv[0] = 'device'\n"
    code += "runpy.run_module('tests.bench.device', run_name='__main__')"
    done = run(code, "--rounds", "1", "--divisor", "60", "--shapes", "small", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[:2] for line in lines if line and line[0].isdigit()] == [
        [str(context // 60), str((context + question) // 60 - context // 60)]
        for context in (583, 2773, 6064)
        for question in (167, 303, 953)
    ]
    assert "small shape, random weights" in done.stdout
