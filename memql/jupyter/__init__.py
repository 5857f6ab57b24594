"""Jupyter: ``%load_ext memql``, then ``%memql``, ``%%memql``, ``%memql_explain``, ``%memql_views``.

``notebook`` runs a line or a cell; ``line`` reads what stands behind a magic's name, ``binding``
gives Python's values to a statement, ``snippets`` keeps queries by name; ``table`` and ``plan`` are
what is shown, ``progress`` is a bar meanwhile, and ``completion`` answers the Tab key.
"""

from __future__ import annotations

from typing import Any

from memql.cli.quiet import quiet_libraries
from memql.jupyter.completion import completer
from memql.jupyter.notebook import Notebook


def load(shell: Any) -> None:
    """Give an IPython shell the magics and the completion of MemQL.

    Args:
        shell: IPython's InteractiveShell.
    """
    from IPython.core.magic import no_var_expand

    quiet_libraries()
    notebook = Notebook(shell)

    def memql(line: str, cell: str | None = None) -> Any:
        return notebook.magic(line, cell)

    def memql_explain(line: str, cell: str | None = None) -> Any:
        return notebook.magic(f"--explain {line}", cell)

    def memql_views(line: str) -> Any:
        return notebook.magic(f"{line} SHOW MATERIALIZED VIEWS", None)

    # IPython would replace $name and {...} by Python variables; in MemQL they mean parameters
    # and structs.
    for function, kind in (
        (memql, "line_cell"),
        (memql_explain, "line_cell"),
        (memql_views, "line"),
    ):
        shell.register_magic_function(
            no_var_expand(function), magic_kind=kind, magic_name=function.__name__
        )
    if getattr(shell, "Completer", None) is not None:
        shell.Completer.custom_matchers.append(completer(notebook))
