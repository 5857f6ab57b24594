"""The layout: imports point down, heavy packages stay where they belong, files stay readable."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# What a file may import of MemQL, by the folder that it is in.
ALLOWED: dict[str, tuple[str, ...]] = {
    "storage": ("memql.errors", "memql.storage"),
    "engine": ("memql.errors", "memql.storage", "memql.engine"),
    "memql": ("memql",),
}
MODEL_PACKAGES = frozenset({"torch", "transformers", "safetensors", "peft"})
MAX_LINES = 500

# `import memql` loads none of these: a program that only may need a store starts at once.
LATE_PACKAGES = (
    "torch transformers tokenizers lance pyarrow duckdb sqlglot numpy pandas rich IPython "
    "argon2".split()
)


@dataclass(frozen=True)
class Import:
    """One imported module, with its line and whether only type checkers see it."""

    module: str
    line: int
    types_only: bool


def source_files(*folders: str) -> list[Path]:
    """Return the Python files of top-level folders; the symlinks in memql/ are not followed."""
    return sorted(
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if not any(part.is_symlink() for part in path.parents if part != ROOT)
    )


def imports_of(source: str, package: str) -> list[Import]:
    """Return all imports of a file, those inside functions and by import_module too."""
    return list(_imports(ast.parse(source), package, types_only=False))


def _imports(node: ast.AST, package: str, *, types_only: bool) -> Iterator[Import]:
    if isinstance(node, ast.If) and ast.unparse(node.test) in (
        "TYPE_CHECKING",
        "typing.TYPE_CHECKING",
    ):
        for inside in node.body:
            yield from _imports(inside, package, types_only=True)
        for inside in node.orelse:
            yield from _imports(inside, package, types_only=types_only)
        return
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno, types_only)
    elif isinstance(node, ast.ImportFrom):
        module = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            module = ".".join([*above, *([module] if module else [])])
        for alias in node.names:
            # `from memql import engine` imports memql.engine.
            yield Import(f"{module}.{alias.name}", node.lineno, types_only)
    elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
        ("import_module", "__import__")
    ):
        if node.args and isinstance(node.args[0], ast.Constant):
            yield Import(str(node.args[0].value), node.lineno, types_only)
    for child in ast.iter_child_nodes(node):
        yield from _imports(child, package, types_only=types_only)


def problems(source: str, path: str) -> list[str]:
    """Return what is wrong with the imports of a file at ``path`` (relative to the root)."""
    folder = path.split("/")[0]
    installed = path if folder == "memql" else f"memql/{path}"
    package = ".".join(Path(installed).parent.parts)
    found = []
    for one in imports_of(source, package):
        place = f"{path}:{one.line} imports {one.module}"
        top = one.module.split(".")[0]
        if top in ("engine", "storage"):
            found.append(f"{place}: import memql.{top}")
        if folder not in ALLOWED:
            continue
        if top == "memql" and not any(
            one.module == name or one.module.startswith(f"{name}.") for name in ALLOWED[folder]
        ):
            found.append(f"{place}: {folder}/ may import {', '.join(ALLOWED[folder])}")
        if path == "memql/errors.py" and top == "memql":
            found.append(f"{place}: errors.py is a leaf")
        if top in MODEL_PACKAGES and not path.startswith("engine/model/") and not one.types_only:
            found.append(f"{place}: only engine/model/ may")
    return found


@pytest.mark.parametrize("folder", ["storage", "engine", "memql", "tests"])
def test_imports_point_down(folder: str) -> None:
    files = source_files(folder)
    assert len(files) > 5
    found = [
        problem
        for path in files
        for problem in problems(path.read_text("utf-8"), path.relative_to(ROOT).as_posix())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("storage/store.py", "from memql.engine.plan import Plan"),
        ("storage/store.py", "import memql"),
        ("storage/store.py", "def f() -> None:\n    from memql import engine"),
        ("storage/store.py", "from ..engine import plan"),
        ("engine/plan.py", "from memql.dialect import MemQL"),
        ("engine/bind/query.py", "from ...dialect import MemQL"),
        ("engine/plan.py", "import torch"),
        ("engine/plan.py", "def f() -> None:\n    import transformers.models"),
        ("engine/plan.py", "import importlib\nimportlib.import_module('torch')"),
        ("memql/values.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import torch"),
        ("memql/errors.py", "from memql.values import Answer"),
        ("memql/connection.py", "from engine.plan import Plan"),
        ("tests/test_layout.py", "import storage"),
    ],
)
def test_wrong_imports_are_noticed(path: str, source: str) -> None:
    assert problems(source, path)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("storage/store.py", "from memql.errors import Error\nfrom memql.storage.lock import Lock"),
        ("engine/model/runtime.py", "import torch"),
        ("engine/bind/query.py", "from . import columns"),
        ("memql/values.py", "if TYPE_CHECKING:\n    from transformers import DynamicCache"),
        ("memql/connection.py", "from memql.engine.session import Session"),
        ("tests/test_layout.py", "import torch"),
    ],
)
def test_right_imports_pass(path: str, source: str) -> None:
    assert not problems(source, path)


def test_files_stay_readable() -> None:
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in source_files("storage", "engine", "memql", "tests")
        if (lines := len(path.read_text("utf-8").splitlines())) > MAX_LINES
    }
    assert not long


def loaded_after(program: str) -> set[str]:
    """Run a program in a child process and return the top-level packages that it loaded."""
    program += "\nimport sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_import_memql_is_light() -> None:
    assert not loaded_after("import memql") & set(LATE_PACKAGES)


def test_what_a_child_process_loads_is_seen() -> None:
    loaded = loaded_after("import memql, memql.engine.session")
    assert {"duckdb", "sqlglot"} <= loaded


def test_plain_sql_loads_no_model_and_no_tensors(tmp_path: Path) -> None:
    loaded = loaded_after(
        f"""
import memql
for _ in range(2):
    with memql.connect({str(tmp_path / "plain.memql")!r}) as con:
        con.execute("INSERT INTO memories (content, kind) VALUES (?, 'fact')", ["a"])
        con.execute("UPDATE memories SET kind = 'note' WHERE content = 'a'")
        con.execute("SELECT kind, count(*) FROM memories GROUP BY ALL").fetchall()
        con.execute("DELETE FROM memories")
        con.execute("SHOW MATERIALIZED VIEWS").fetchall()
"""
    )
    assert "duckdb" in loaded
    assert not loaded & {"torch", "transformers", "lance", "argon2"}


def test_explain_counts_tokens_without_a_model() -> None:
    loaded = loaded_after(
        """
import memql
with memql.connect() as con:
    con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
    con.execute("EXPLAIN SELECT generate('Where does Alice live?') FROM memories").fetchall()
"""
    )
    assert "tokenizers" in loaded
    assert not loaded & {"torch", "transformers"}
