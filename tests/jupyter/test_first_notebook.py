"""A first answer in a new notebook: three cells, over the installed package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.test_docs import blocks_of, read

pytestmark = pytest.mark.slow


def first_cells() -> list[str]:
    """Return the three cells with which docs/jupyter.md begins."""
    cells = [block.text.strip() for block in blocks_of(read("docs/jupyter.md"))]
    assert cells[0] == "pip install 'memql[jupyter]'"
    return cells[1:4]


def executed(cells: list[str], folder: Path) -> Any:
    """Run cells in a kernel of this environment, in a folder that is none of the project's."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    environment = {**os.environ, "IPYTHONDIR": str(folder / "ipython")}
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=300,
        resources={"metadata": {"path": str(folder)}},
        allow_errors=True,
    )
    client.execute(env=environment)
    return notebook


def problems(notebook: Any) -> list[str]:
    return [
        output.get("ename") or output.get("text")
        for cell in notebook.cells
        for output in cell.outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]


def test_three_cells_to_an_answer(tmp_path: Path) -> None:
    cells = first_cells()
    notebook = executed(cells, tmp_path)
    assert len(cells) == 3
    assert problems(notebook) == []
    # Besides there may be a bar, which is gone in the end.
    (shown,) = (one for one in notebook.cells[2].outputs if one.output_type == "execute_result")
    assert "Alice must not eat peanuts." in shown.data["text/html"]
    assert "PLAINTEXT for tiny" in shown.data["text/html"]
    assert "Alice must not eat peanuts." in shown.data["text/plain"]


def test_an_error_in_a_cell_is_noticed(tmp_path: Path) -> None:
    load, _, ask = first_cells()
    notebook = executed([load, ask.replace("memories", "memoires")], tmp_path)
    (error,) = notebook.cells[1].outputs
    assert problems(notebook) == ["MagicError"]
    shown = "\n".join(error.traceback)
    assert "unknown table 'memoires'" in shown and "^" in shown and "Traceback" not in shown
