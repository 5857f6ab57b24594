"""The package: the wheel built from the sdist holds what MemQL needs, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent

# Left out so that the copy is what a clone holds.
NOT_CLONED = (".git", ".venv", "__pycache__", ".*_cache", ".hypothesis", "dist", "build", "*.memql")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of a copy of the project, and the wheel made from that sdist."""
    folder = tmp_path_factory.mktemp("package")
    copy, out = folder / "memql", folder / "dist"
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_CLONED))
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> dict[str, int]:
    """The files of the wheel with their sizes in bytes."""
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {one.filename: one.file_size for one in archive.infolist()}


def test_the_wheel_holds_every_module(wheel: dict[str, int]) -> None:
    expected = {
        f"memql/{path.relative_to(ROOT).as_posix()}"
        for folder in ("engine", "storage")
        for path in (ROOT / folder).rglob("*.py")
    } | {f"memql/{path.name}" for path in (ROOT / "memql").glob("*.py")}
    assert "memql/engine/session.py" in expected
    assert "memql/storage/store.py" in expected
    assert not expected - set(wheel)


@pytest.mark.parametrize(
    "name",
    [
        "memql/py.typed",
        "memql/engine/model/tiny/weights/model.safetensors",
        "memql/engine/model/tiny/weights/config.json",
        "memql/engine/model/tiny/weights/tokenizer.json",
        "memql/engine/model/tiny/weights/tokenizer_config.json",
        "memql/demo/memories.jsonl",
    ],
)
def test_the_wheel_holds_the_data(wheel: dict[str, int], name: str) -> None:
    assert wheel[name] == (ROOT / _in_the_checkout(name)).stat().st_size


def _in_the_checkout(name: str) -> str:
    inner = name.removeprefix("memql/")
    return inner if inner.startswith(("engine/", "storage/")) else name


def test_the_wheel_holds_nothing_else(wheel: dict[str, int]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    (info,) = tops - {"memql"}
    assert info.endswith(".dist-info")
    assert not [name for name in wheel if "/tests/" in name or "__pycache__" in name]
    assert f"{info}/licenses/LICENSE" in wheel


def test_tiny_is_small(wheel: dict[str, int]) -> None:
    size = sum(bytes_ for name, bytes_ in wheel.items() if "/tiny/weights/" in name)
    assert 0 < size < 8_000_000


def test_the_sdist_holds_tests_and_docs(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml", "tests/test_package.py"} <= names
    assert {"docs/language.md", "engine/session.py", "storage/store.py"} <= names
    assert not [name for name in names if name.startswith(("memql/engine", "memql/storage"))]


def test_the_wheel_works_beside_folders_called_engine_and_storage(
    built: Path, tmp_path: Path
) -> None:
    (path,) = built.glob("*.whl")
    installed, work = tmp_path / "installed", tmp_path / "work"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(installed)
    for name in ("engine", "storage"):
        (work / name).mkdir(parents=True)
        (work / name / "__init__.py").write_text("raise ImportError('the folder of a user')")
    program = """
import memql
with memql.connect("agent.memql") as con:
    con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
    con.execute("EXPLAIN SELECT generate('Where does Alice live?') FROM memories").fetchall()
print(memql.__file__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(installed)},
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(installed)


def test_the_entry_points_are_there(built: Path) -> None:
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith("entry_points.txt"))
        text = archive.read(name).decode()
    assert "memql = memql.cli:main" in text
    assert "memql = memql.dialect:MemQL" in text
