"""``python -m memql`` is the command ``memql``."""

from __future__ import annotations

import sys

from memql.cli import main

sys.exit(main())
