"""Where sqlglotc is installed, connect() says that MemQL cannot work with it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from memql.dialect import refuse_compiled_sqlglot
from memql.errors import InterfaceError
from tests.test_layout import ROOT

PROGRAM = """
import memql
try:
    memql.connect(":memory:").execute("SELECT 1").fetchall()
except memql.InterfaceError as error:
    print(error)
else:
    print("works")
"""


def run_beside(folder: Path, distribution: str) -> str:
    """Connect in a process that has one more distribution, and return what it prints."""
    info = folder / f"{distribution}-30.30.0.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 30.30.0\n"
    (info / "METADATA").write_text(metadata, "utf-8")
    path = os.pathsep.join([str(folder), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    return done.stdout


def test_connect_says_how_to_remove_it(tmp_path: Path) -> None:
    printed = run_beside(tmp_path, "sqlglotc")
    assert "MemQL cannot work beside sqlglotc, and sqlglotc 30.30.0 is installed" in printed
    assert "pip uninstall sqlglotc" in printed


def test_connect_works_beside_other_packages(tmp_path: Path) -> None:
    assert run_beside(tmp_path, "sqlglot_extras") == "works\n"


def test_the_check_names_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: f"1.2.3 of {name}")
    with pytest.raises(InterfaceError, match=r"sqlglotc 1\.2\.3 of sqlglotc is installed"):
        refuse_compiled_sqlglot()
