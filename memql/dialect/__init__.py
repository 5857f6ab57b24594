"""The sqlglot dialect ``memql``: DuckDB's SQL and MemQL's statements, to trees and back.

Each file holds the grammar of some statements, and beside it what prints them:

* ``queries``: MATERIALIZE, generate; ``clauses``: LIMIT n TOKENS, MATCHES, AT
* ``views``, ``models``: materialized views, models and adapters
* ``lifecycle``: RESTORE, QUARANTINE, FORGET, EXPORT, IMPORT
* ``grants``, ``roles``, ``policies``: who may do what
* ``session``: SET, SHOW, EXPLAIN, ADVISE, MAINTAIN, EVALUATE

``reader`` is what they read with; ``parser`` chooses among them and enters DuckDB's grammar;
``language`` puts the dialect together.
"""

from __future__ import annotations

from importlib import metadata

from memql.errors import InterfaceError


def refuse_compiled_sqlglot() -> None:
    """Refuse to work where the package sqlglotc is installed.

    It lays compiled modules over sqlglot's, and no Python subclass of their classes can be
    instantiated, so that a dialect written in Python is not possible.

    Raises:
        InterfaceError: sqlglotc is installed.
    """
    try:
        version = metadata.version("sqlglotc")
    except metadata.PackageNotFoundError:
        return
    raise InterfaceError(
        f"MemQL cannot work beside sqlglotc, and sqlglotc {version} is installed: "
        "a dialect cannot be built on compiled classes",
        hint="pip uninstall sqlglotc (sqlglot itself stays, and needs no reinstalling)",
    )


# Before anything of sqlglot is subclassed.
refuse_compiled_sqlglot()

from memql.dialect.language import MemQL  # noqa: E402
from memql.dialect.parser import STATEMENTS  # noqa: E402
from memql.dialect.session import EXPLAIN_OPTIONS, SHOW_KINDS  # noqa: E402

__all__ = ["EXPLAIN_OPTIONS", "SHOW_KINDS", "STATEMENTS", "MemQL"]
