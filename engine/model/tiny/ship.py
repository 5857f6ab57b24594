"""Put a checkpoint into ``weights``: ``python -m memql.engine.model.tiny.ship CHECKPOINT``."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaForCausalLM

from memql.engine.model.tiny.evaluate import WEIGHTS
from memql.engine.model.tiny.train import BOS_ID, EOS_ID, PAD_ID, TOKENIZER_FILES

SHIPPED_FILES = ("config.json", "generation_config.json", "model.safetensors", *TOKENIZER_FILES)


def ship(checkpoint: Path, target: Path) -> int:
    """Round a checkpoint to float16, put it into `target` and return the folder's size in bytes.

    Args:
        checkpoint: folder with model and tokenizer, as training saves it.
        target: folder of the shipped files; each is replaced in one step.
    """
    model = LlamaForCausalLM.from_pretrained(checkpoint, dtype=torch.float16)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, bos_token_id=BOS_ID, eos_token_id=EOS_ID, pad_token_id=PAD_ID
    )
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = Path(folder)
        model.save_pretrained(fresh)
        # Rounded for the file's size only: the configuration asks for float32 at loading.
        _keep_dtype(fresh / "config.json")
        for name in TOKENIZER_FILES:
            shutil.copy(checkpoint / name, fresh / name)
        for name in SHIPPED_FILES:
            (fresh / name).chmod(0o644)
            os.replace(fresh / name, target / name)
    return sum((target / name).stat().st_size for name in SHIPPED_FILES)


def _keep_dtype(path: Path) -> None:
    """Write float32 as the dtype to load with (saving puts the stored one there)."""
    config = json.loads(path.read_text())
    config["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def main() -> None:
    """Read the command line and ship."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--target", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    print(f"{ship(options.checkpoint, options.target)} bytes in {options.target}")


if __name__ == "__main__":
    main()
