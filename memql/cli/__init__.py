"""The command line: ``memql demo``, ``load``, ``query``, ``check`` and ``shell``."""

from __future__ import annotations

from memql.cli.commands import main

__all__ = ["main"]
