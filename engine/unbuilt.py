"""Forms of the language that are parsed but that nothing runs yet: one error names each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import exp

from memql.engine import syntax
from memql.errors import NotSupportedError, Position

_FORMS: dict[type[exp.Expr], str | Callable[[Any], str]] = {
    syntax.CreateAdapter: "CREATE ADAPTER",
    syntax.DropAdapter: "DROP ADAPTER",
    syntax.Restore: "RESTORE",
    syntax.Quarantine: "QUARANTINE",
    syntax.Forget: "FORGET",
    syntax.ExportMemories: "EXPORT MEMORIES",
    syntax.ImportMemories: "IMPORT MEMORIES",
    syntax.ShowCatalog: lambda tree: f"SHOW {tree.this}",
    syntax.Advise: "ADVISE",
    syntax.Maintain: "MAINTAIN",
    syntax.Evaluate: lambda tree: f"EVALUATE {tree.args['kind']}",
}


def not_yet(
    form: str,
    *,
    hint: str | None = None,
    position: Position | None = None,
    statement: str | None = None,
) -> NotSupportedError:
    """Return the error for a form that nothing runs yet, with its place in the statement."""
    return NotSupportedError(
        f"{form} is not something that MemQL does yet",
        hint=hint,
        position=position,
        statement=statement,
    )


def refusal(tree: exp.Expr) -> NotSupportedError:
    """Return the error for a statement that nothing runs, or not yet."""
    form = _FORMS.get(type(tree))
    if form is None:
        return NotSupportedError(f"MemQL does not run {tree.key.upper()} statements")
    return not_yet(form if isinstance(form, str) else form(tree))
