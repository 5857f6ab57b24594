"""Keeps what libraries print to themselves away from the output of MemQL."""

from __future__ import annotations

import os
import warnings

# transformers, tokenizers and the hub read these when they are imported.
_SETTINGS = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def quiet_libraries() -> None:
    """Silence the advice and the progress bars of libraries, unless the user has set otherwise."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    # transformers loads tqdm, which wants widgets in a notebook.
    warnings.filterwarnings("ignore", message="IProgress not found")
    warnings.filterwarnings("ignore", module=r"(torch|transformers|huggingface_hub|lance)(\.|$)")
