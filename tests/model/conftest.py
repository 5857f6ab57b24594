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

# What a configuration class has of these is set to them.
_SIZE: dict[str, object] = {
    "vocab_size": 400,
    "hidden_size": 64,
    "n_embd": 64,
    "d_model": 64,
    "word_embed_proj_dim": 64,
    "intermediate_size": 96,
    "intermediate_size_mlp": 96,
    "ffn_dim": 96,
    "num_hidden_layers": 3,
    "num_layers": 3,
    "n_layer": 3,
    "n_layers": 3,
    "num_attention_heads": 4,
    "attention_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "num_key_value_heads": 2,
    "rotary_dim": 8,
    "max_position_embeddings": 256,
    "n_positions": 256,
    "max_seq_len": 256,
    # Of experts each token takes half.
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_k": 2,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "kv_channels": 16,
    "query_pre_attn_scalar": 16,
    # Large enough that the logits of a random model differ by more than rounding.
    "initializer_range": 0.15,
    "init_std": 0.15,
    "logit_scale": 1.0,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
_LATENT: dict[str, object] = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 12,
    "head_dim": 8,  # of what is rotated
    "num_key_value_heads": 4,
}
_ALTERNATING = ["sliding_attention", "full_attention", "sliding_attention"]


def _rope(kind: str, **more: object) -> dict[str, object]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **more}}


# Name of a folder -> transformers' configuration class and what differs from the size above.
CONFIGS: dict[str, tuple[str, dict[str, object]]] = {
    "llama": ("LlamaConfig", {}),
    "llama3": (
        "LlamaConfig",
        _rope(
            "llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=32,
        ),
    ),
    "llama_yarn": (
        "LlamaConfig",
        _rope("yarn", factor=8.0, original_max_position_embeddings=32),
    ),
    "llama_linear": ("LlamaConfig", _rope("linear", factor=2.0)),
    "llama_dynamic": (
        "LlamaConfig",
        {**_rope("dynamic", factor=4.0), "max_position_embeddings": 64},
    ),
    "mistral": ("MistralConfig", {"sliding_window": None}),
    "mistral_sliding": ("MistralConfig", {"sliding_window": 8}),
    "qwen2": ("Qwen2Config", {}),
    "qwen2_sliding": (
        "Qwen2Config",
        {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3Config", {"head_dim": 32}),
    "gemma2": ("Gemma2Config", {"head_dim": 16, "sliding_window": 8}),
    "gemma3_text": (
        "Gemma3TextConfig",
        {"head_dim": 16, "sliding_window": 8, "layer_types": _ALTERNATING},
    ),
    "phi3_longrope": (
        "Phi3Config",
        {
            **_rope(
                "longrope",
                original_max_position_embeddings=64,
                long_factor=[4.0] * 8,
                short_factor=[1.0] * 8,
            ),
            "original_max_position_embeddings": 64,
        },
    ),
    "cohere2": (
        "Cohere2Config",
        {"sliding_window": 8, "layer_types": _ALTERNATING},
    ),
    "deepseek_v2": ("DeepseekV2Config", _LATENT),
    "deepseek_v3": ("DeepseekV3Config", _LATENT),
    "minicpm3": ("MiniCPM3Config", _LATENT),
    "cwm": ("CwmConfig", {"sliding_window": 8, "layer_types": _ALTERNATING}),
    "dots1": (
        "Dots1Config",
        {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 8, "max_window_layers": 1},
    ),
    "exaone4": ("Exaone4Config", {"sliding_window": 8, "sliding_window_pattern": 2}),
    "falcon_old": ("FalconConfig", {}),
    "falcon": ("FalconConfig", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon_alibi": ("FalconConfig", {"alibi": True, "multi_query": False}),
    "gpt_neo": (
        "GPTNeoConfig",
        {"attention_types": [[["global", "local", "global"], 1]], "window_size": 8, "num_heads": 4},
    ),
    "gpt_oss": (
        "GptOssConfig",
        {"head_dim": 16, "sliding_window": 8, "layer_types": _ALTERNATING},
    ),
    "bloom": ("BloomConfig", {"seq_length": 256}),
    "llama4_text": (
        "Llama4TextConfig",
        {
            "head_dim": 16,
            "attention_chunk_size": 8,
            "interleave_moe_layer_step": 2,
            "layer_types": ["chunked_attention", "full_attention", "chunked_attention"],
        },
    ),
    "ministral": ("MinistralConfig", {"head_dim": 16, "sliding_window": 8}),
    "ministral3": ("Ministral3Config", {"head_dim": 16, "sliding_window": 8}),
    "mixtral": ("MixtralConfig", {"sliding_window": 8}),
    "olmo3": ("Olmo3Config", {"sliding_window": 8, "layer_types": _ALTERNATING}),
    "phimoe": ("PhimoeConfig", {"sliding_window": 8}),
    "smollm3_sliding": (
        "SmolLM3Config",
        {"use_sliding_window": True, "sliding_window": 8, "layer_types": _ALTERNATING},
    ),
    "starcoder2": ("Starcoder2Config", {"sliding_window": 8}),
    "vaultgemma": (
        "VaultGemmaConfig",
        {"head_dim": 16, "sliding_window": 8, "layer_types": _ALTERNATING},
    ),
    "lfm2": ("Lfm2Config", {"layer_types": ["conv", "full_attention", "conv"]}),
    "qwen3_next": (
        "Qwen3NextConfig",
        {"layer_types": ["linear_attention", "full_attention", "linear_attention"]},
    ),
    "moshi": ("MoshiConfig", {"sliding_window": 8}),
    **{
        name: (f"{class_name}Config", {"head_dim": 16})
        for name, class_name in {
            "apertus": "Apertus",
            "arcee": "Arcee",
            "bitnet": "BitNet",
            "codegen": "CodeGen",
            "cohere": "Cohere",
            "diffllama": "DiffLlama",
            "ernie4_5": "Ernie4_5",
            "ernie4_5_moe": "Ernie4_5_Moe",
            "gemma": "Gemma",
            "glm": "Glm",
            "glm4": "Glm4",
            "glm4_moe": "Glm4Moe",
            "gpt2": "GPT2",
            "gpt_bigcode": "GPTBigCode",
            "gpt_neox": "GPTNeoX",
            "gptj": "GPTJ",
            "granite": "Granite",
            "helium": "Helium",
            "hunyuan_v1_dense": "HunYuanDenseV1",
            "hunyuan_v1_moe": "HunYuanMoEV1",
            "jetmoe": "JetMoe",
            "minimax_m2": "MiniMaxM2",
            "mpt": "Mpt",
            "nanochat": "NanoChat",
            "nemotron": "Nemotron",
            "olmo": "Olmo",
            "olmo2": "Olmo2",
            "olmoe": "Olmoe",
            "opt": "OPT",
            "persimmon": "Persimmon",
            "phi": "Phi",
            "phi3": "Phi3",
            "qwen2_moe": "Qwen2Moe",
            "qwen3_moe": "Qwen3Moe",
            "seed_oss": "SeedOss",
            "smollm3": "SmolLM3",
            "solar_open": "SolarOpen",
            "stablelm": "StableLm",
            "xglm": "XGLM",
        }.items()
    },
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


def _configuration(class_name: str, given: dict[str, object]) -> Any:
    class_of: Any = getattr(transformers, class_name)
    default = class_of()
    size = {key: value for key, value in _SIZE.items() if hasattr(default, key)}
    if "head_dim" in given and not hasattr(default, "head_dim"):
        given = {key: value for key, value in given.items() if key != "head_dim"}
    return class_of(**{**size, **given})


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
            config = _configuration(class_name, arguments)
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
