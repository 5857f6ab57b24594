"""How many random examples a test draws: few by default, twenty times as many in a soak."""

from __future__ import annotations

import os

from hypothesis import settings

SOAK_FACTOR = 20 if os.environ.get("MEMQL_SOAK") == "1" else 1


def examples(count: int) -> settings:
    """Return the settings of a random test that draws ``count`` examples in the default run."""
    return settings(max_examples=count * SOAK_FACTOR)
