"""Small random models, saved as folders as users have them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.utils import logging as transformers_logging

from memql.engine.model.spec import ModelSpec, describe

SPECIALS = ["<bos>", "<eos>", "<pad>", "<|user|>", "<|end|>", "<|assistant|>"]
TEXTS = [
    "Memories: Question: Answer:",
    "- Alice has a cat that is called Tom.\n- Bob must not eat peanuts.\n",
    "Who has a cat? What must Bob not eat?",
    "naïve café 日本語 🙂",
]

_SIZE: dict[str, object] = {
    "vocab_size": 400,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    # Large enough that the logits of a random model differ by more than rounding.
    "initializer_range": 0.15,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
_GQA: dict[str, object] = {**_SIZE, "num_key_value_heads": 2}

# Name of a folder -> transformers' configuration class and its arguments.
CONFIGS: dict[str, tuple[str, dict[str, object]]] = {
    "llama": ("LlamaConfig", _GQA),
    "llama3": (
        "LlamaConfig",
        {
            **_GQA,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
    ),
    "llama_yarn": (
        "LlamaConfig",
        {
            **_GQA,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "original_max_position_embeddings": 32,
            },
        },
    ),
    "llama_dynamic": (
        "LlamaConfig",
        {
            **_GQA,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
        },
    ),
    "mistral": ("MistralConfig", {**_GQA, "sliding_window": None}),
    "mistral_sliding": ("MistralConfig", {**_GQA, "sliding_window": 8}),
    "qwen2": ("Qwen2Config", _GQA),
    "qwen3": ("Qwen3Config", {**_GQA, "head_dim": 32}),
    "gpt_neox": ("GPTNeoXConfig", _SIZE),
    "gpt2": (
        "GPT2Config",
        {
            "vocab_size": 400,
            "n_embd": 64,
            "n_layer": 3,
            "n_head": 4,
            "n_positions": 256,
            "initializer_range": 0.15,
            "bos_token_id": 0,
            "eos_token_id": 1,
        },
    ),
    "phi": ("PhiConfig", _SIZE),
    "phi3": ("Phi3Config", _GQA),
    "olmo2": ("Olmo2Config", _GQA),
    "gemma": ("GemmaConfig", {**_GQA, "head_dim": 16}),
    "gemma2": ("Gemma2Config", {**_GQA, "head_dim": 16, "sliding_window": 8}),
    "granite": ("GraniteConfig", _GQA),
    "smollm3": ("SmolLM3Config", _GQA),
    "stablelm": ("StableLmConfig", _GQA),
    "lfm2": ("Lfm2Config", {**_GQA, "layer_types": ["conv", "full_attention", "conv"]}),
}


def make_tokenizer(folder: Path) -> None:
    """Write a small byte-level tokenizer, with BOS, EOS and the marks of a chat."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TEXTS * 10,
        trainers.BpeTrainer(
            vocab_size=399,
            special_tokens=SPECIALS,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer.add_tokens(["<think>"])  # as in Qwen3: it steers the model, yet is not "special"
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.fixture(scope="session", autouse=True)
def _single_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    log: Any = transformers_logging  # without annotations
    log.disable_progress_bar()
    log.set_verbosity_error()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model_folder(
    tmp_path_factory: pytest.TempPathFactory, _single_thread: None
) -> Callable[[str], Path]:
    """Return a function from a name in CONFIGS to the folder of such a model."""
    tokenizer = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(tokenizer)
    folders: dict[str, Path] = {}

    def folder_of(name: str) -> Path:
        if name not in folders:
            folder = tmp_path_factory.mktemp(name)
            class_name, arguments = CONFIGS[name]
            torch.manual_seed(7)
            config = getattr(transformers, class_name)(**arguments)
            from_config: Any = transformers.AutoModelForCausalLM.from_config
            from_config(config).save_pretrained(folder)
            shutil.copytree(tokenizer, folder, dirs_exist_ok=True)
            folders[name] = folder
        return folders[name]

    return folder_of


@pytest.fixture
def copy_of(model_folder: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Return a function to a copy of such a folder that a test may change."""

    def copied(name: str) -> Path:
        return Path(shutil.copytree(model_folder(name), tmp_path / name))

    return copied


@pytest.fixture(scope="session")
def spec_of(model_folder: Callable[[str], Path]) -> Callable[[str], ModelSpec]:
    """Return a function from a name in CONFIGS to what MemQL says of such a model."""
    return lambda name: describe(name, str(model_folder(name)), {})


@pytest.fixture(scope="session")
def random_ids() -> list[int]:
    """Return 60 ids that are no special tokens."""
    generator = torch.Generator().manual_seed(1)
    ids: list[int] = torch.randint(6, 399, (60,), generator=generator).tolist()
    return ids
