"""``memql demo``: a guided tour that checks its own answers."""

from __future__ import annotations

from memql.demo.tour import run_demo

__all__ = ["run_demo"]
