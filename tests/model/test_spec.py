"""Describing a model: identity, options, and what is refused with which text."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from memql.engine.model.families import read_family
from memql.engine.model.folder import file_digest
from memql.engine.model.spec import ModelSpec, describe
from memql.engine.model.template import PLAIN
from memql.errors import NotSupportedError, OperationalError, ProgrammingError

SpecOf = Callable[[str], ModelSpec]
CopyOf = Callable[[str], Path]


def test_what_is_described(spec_of: SpecOf) -> None:
    spec = spec_of("llama")
    assert (spec.name, spec.architecture) == ("llama", "LlamaForCausalLM")
    assert (spec.dtype, spec.device) == ("float32", "cpu")
    assert (spec.layers, spec.context_tokens, spec.bytes_per_token) == (3, 256, 768)
    assert (spec.bos_id, spec.eos_ids, spec.rope_types) == (0, (1,), ("default",))
    assert spec.template == PLAIN
    gpt2 = spec_of("gpt2")
    assert (gpt2.layers, gpt2.context_tokens, gpt2.bytes_per_token) == (3, 256, 3 * 2 * 64 * 4)


def test_the_root_key_is_the_identity(spec_of: SpecOf, copy_of: CopyOf) -> None:
    spec = spec_of("llama")
    key = spec.root_key([0, 5])
    assert len(key) == 32
    # The same files elsewhere, another name, another tokenizer file: the same tensors.
    moved = describe("other", str(copy_of("llama")), {})
    assert moved.folder != spec.folder and moved.root_key([0, 5]) == key
    assert replace(spec, tokenizer_digest="00").root_key([0, 5]) == key
    # Each of these has other tensors.
    others = [
        spec.root_key([0, 6]),
        spec.root_key([]),
        replace(spec, dtype="bfloat16").root_key([0, 5]),
        replace(spec, weights_digest="00").root_key([0, 5]),
        replace(spec, config_digest="00").root_key([0, 5]),
        replace(spec, window_tokens=8).root_key([0, 5]),
        replace(spec, rope_types=("yarn",)).root_key([0, 5]),
    ]
    assert len({key, *others}) == 8


def test_a_changed_file_is_a_new_identity(copy_of: CopyOf) -> None:
    folder = copy_of("llama")
    before = describe("m", str(folder), {})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-5}))
    assert describe("m", str(folder), {}).config_digest != before.config_digest
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert describe("m", str(folder), {}).weights_digest != before.weights_digest


def test_a_model_is_described_again_after_its_files_were_written(copy_of: CopyOf) -> None:
    folder = copy_of("llama")
    first = describe("m", str(folder), {})
    assert describe("m", str(folder), {}) is first
    assert describe("m", str(folder), {"system": "Be brief."}) != first
    assert describe("n", str(folder), {}).name == "n"
    (folder / "generation_config.json").write_text('{"eos_token_id": [1, 7]}')
    assert describe("m", str(folder), {}).eos_ids == (1, 7) != first.eos_ids


def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    first = file_digest(path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *args: pytest.fail("read again"))
        assert file_digest(path) == first
    path.write_bytes(b"three")
    assert file_digest(path) != first


def test_weights_in_shards(copy_of: CopyOf) -> None:
    folder = copy_of("llama")
    single = describe("m", str(folder), {}).weights_digest
    (folder / "model.safetensors").rename(folder / "part-1.safetensors")
    index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ProgrammingError, match="is not complete: .* names part-2.safetensors"):
        describe("m", str(folder), {})
    shutil.copy(folder / "part-1.safetensors", folder / "part-2.safetensors")
    assert describe("m", str(folder), {}).weights_digest != single


def test_options(model_folder: Callable[[str], Path]) -> None:
    folder = str(model_folder("llama"))
    spec = describe("m", folder, {"dtype": "bfloat16", "task": "generate", "system": "Be brief."})
    assert (spec.dtype, spec.bytes_per_token) == ("bfloat16", 384)
    assert spec.template.head == "Be brief.\n\nMemories:\n"
    assert describe("m", folder, {"device": "cuda:1"}).device == "cuda:1"
    own = {"head": "H", "segment": "{row};", "tail": "{question}"}
    assert describe("m", folder, {"template": json.dumps(own)}).template.segment == "{row};"
    both = describe("m", folder, {"template": own, "system": "S"})
    assert both.template.head == "S\n\nH"


@pytest.mark.parametrize(
    ("options", "error", "text", "hint"),
    [
        ({"dtpe": "float32"}, ProgrammingError, "no option 'dtpe'", "did you mean 'dtype'"),
        ({"zzzz": "1"}, ProgrammingError, "no option 'zzzz'", "options: device, dtype"),
        ({"dtype": "int4"}, ProgrammingError, "dtype 'int4' is not known", "float32, bfloat16"),
        ({"dtype": 16}, ProgrammingError, "'dtype' of model m is 16", "dtype = '...'"),
        ({"device": "gpu"}, ProgrammingError, "device 'gpu' is not known", "cpu, cuda"),
        ({"task": "embed"}, NotSupportedError, "no task 'embed'", "'generate'"),
        ({"template": "{"}, ProgrammingError, "template is not JSON", "template = "),
        ({"template": "[]"}, ProgrammingError, "'head' is no text", "template = "),
        (
            {"template": {"head": "", "segment": "{row}", "tail": "{question}", "taill": ""}},
            ProgrammingError,
            "'taill' is none of them",
            "template = ",
        ),
        (
            {"template": {"head": "", "segment": "row", "tail": "{question}"}},
            ProgrammingError,
            "the segment of the model's template has {row} 0 times",
            "write {row} once",
        ),
        (
            {"template": {"head": "", "segment": "{row}", "tail": "{question}{question}"}},
            ProgrammingError,
            "has {question} 2 times",
            "write {question} once",
        ),
    ],
)
def test_wrong_options(
    options: dict[str, object],
    error: type[ProgrammingError] | type[NotSupportedError],
    text: str,
    hint: str,
    model_folder: Callable[[str], Path],
) -> None:
    with pytest.raises(error) as caught:
        describe("m", str(model_folder("llama")), options)
    assert text in caught.value.message
    assert hint in str(caught.value.hint)


def changed_config(folder: Path, **changes: object) -> Path:
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value != "gone"}))
    return folder


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "names the architecture BertForMaskedLM"),
        ({"architectures": "gone"}, "names the architecture none"),
        ({"architectures": ["BertLMHeadModel"], "model_type": "bert"}, "no causal language model"),
        ({"is_encoder_decoder": True}, "is an encoder-decoder (LlamaForCausalLM)"),
        ({"auto_map": {"AutoModelForCausalLM": "x.Y"}}, "brings Python code of its own"),
        ({"num_hidden_layers": "gone"}, "says none of num_hidden_layers, n_layer"),
        ({"max_position_embeddings": "gone"}, "says none of max_position_embeddings"),
    ],
)
def test_models_that_are_not_run(changes: dict[str, object], text: str, copy_of: CopyOf) -> None:
    folder = changed_config(copy_of("llama"), **changes)
    with pytest.raises(NotSupportedError) as caught:
        describe("m", str(folder), {})
    assert text in caught.value.message
    assert caught.value.hint


def test_folders_that_lack_something(copy_of: CopyOf, tmp_path: Path) -> None:
    def attempt(error: type[Exception], text: str, folder: Path | str) -> None:
        with pytest.raises(error, match=text):
            describe("m", str(folder), {})

    attempt(ProgrammingError, "the model folder '/no/such' does not exist", "/no/such")
    attempt(ProgrammingError, "the model folder 'qwen' does not exist", "qwen")
    (tmp_path / "file").write_text("")
    attempt(ProgrammingError, "is a file", tmp_path / "file")
    attempt(ProgrammingError, "it has no config.json", tmp_path)
    folder = copy_of("llama")
    tokenizer = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").unlink()
    attempt(ProgrammingError, "has no tokenizer.json", folder)
    (folder / "tokenizer.json").write_text("{}")
    attempt(ProgrammingError, "is not a tokenizer: it has no model", folder)
    (folder / "tokenizer.json").write_text("not json")
    attempt(ProgrammingError, "tokenizer.json is not JSON", folder)
    (folder / "tokenizer.json").write_text("[]")
    attempt(ProgrammingError, "not a JSON object but a list", folder)
    (folder / "tokenizer.json").write_text(tokenizer)
    assert describe("m", str(folder), {}).layers == 3  # the control
    (folder / "model.safetensors").rename(folder / "weights.other")
    attempt(ProgrammingError, "has no weights: neither model.safetensors nor", folder)
    (folder / "pytorch_model.bin").write_bytes(b"")
    attempt(NotSupportedError, "in pytorch_model.bin; MemQL reads only safetensors", folder)
    (folder / "adapter_config.json").write_text("{}")
    attempt(NotSupportedError, "holds a LoRA adapter", folder)


def test_hub_ids_come_from_this_machine_first(
    model_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, object, bool]] = []

    def snapshot_download(
        source: str,
        *,
        revision: str | None,
        allow_patterns: list[str],
        local_files_only: bool = False,
    ) -> str:
        calls.append((source, revision, local_files_only))
        assert not any(pattern.endswith((".bin", ".py")) for pattern in allow_patterns)
        return str(model_folder("llama"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    spec = describe("m", "someone/some-model", {"revision": "v1"})
    assert spec.folder == model_folder("llama")
    assert calls == [("someone/some-model", "v1", True)]


def test_hub_ids_that_are_here_in_part_are_fetched(
    copy_of: CopyOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of("llama")
    (folder / "model.safetensors").rename(folder / "later")
    offline: list[bool] = []

    def snapshot_download(source: str, *, local_files_only: bool = False, **_: object) -> str:
        offline.append(local_files_only)
        if not local_files_only:
            (folder / "later").rename(folder / "model.safetensors")
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert describe("m", "someone/some-model", {}).layers == 3
    assert offline == [True, False]


def test_hub_ids_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    offline: list[bool] = []

    def snapshot_download(source: str, *, local_files_only: bool = False, **_: object) -> str:
        offline.append(local_files_only)
        raise LocalEntryNotFoundError("there is no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(OperationalError, match="'no/model' is no folder here.*there is no network"):
        describe("m", "no/model", {})
    assert offline == [True, False]


def test_qwen_windows_start_at_a_layer() -> None:
    config: dict[str, object] = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "hidden_size": 64,
        "max_position_embeddings": 128,
        "sliding_window": 32,
        "max_window_layers": 3,
    }
    assert read_family({**config, "use_sliding_window": False}, "x").window_tokens is None
    family = read_family({**config, "use_sliding_window": True}, "x")
    assert family.layer_kinds == ("full_attention",) * 3 + ("sliding_attention",)
    assert family.window_tokens == 32


def test_longrope_switches_at_its_original_length() -> None:
    config: dict[str, object] = {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "hidden_size": 64,
        "max_position_embeddings": 131072,
        "original_max_position_embeddings": 4096,
        "rope_scaling": {"type": "longrope", "long_factor": [1.0], "short_factor": [1.0]},
    }
    family = read_family(config, "x")
    assert (family.context_tokens, family.switch_tokens) == (131072, 4096)
    family = read_family({**config, "rope_scaling": None}, "x")
    assert (family.context_tokens, family.switch_tokens) == (131072, None)


def test_latent_attention_caches_one_latent_for_all_heads() -> None:
    config: dict[str, object] = {
        "architectures": ["DeepseekV3ForCausalLM"],
        "model_type": "deepseek_v3",
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "kv_lora_rank": 32,
        "qk_rope_head_dim": 8,
    }
    assert read_family(config, "x").values_per_token == 2 * (32 + 8)
    other = read_family({**config, "model_type": "nosuchfamily"}, "x")
    assert "its family (nosuchfamily) is not among those shown" in str(other.activation_refusal)
    assert other.values_per_token == 0


def test_describing_loads_neither_torch_nor_transformers(
    model_folder: Callable[[str], Path],
) -> None:
    code = (
        "import sys; from memql.engine.model.spec import describe; "
        "from memql.engine.model.tokens import Tokens; "
        f"spec = describe('m', {str(model_folder('llama'))!r}, {{}}); "
        "Tokens(spec).segments(['Alice has a cat.']); "
        "print([name for name in ('torch', 'transformers', 'huggingface_hub', 'lance', 'duckdb') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
