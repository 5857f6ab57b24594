"""What a model's ``config.json`` says about its layers, its context and its KV cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from memql.errors import NotSupportedError

Json = Mapping[str, object]

FULL = "full_attention"
SLIDING = "sliding_attention"
# Blocks that do not see each other, which caches keep as a window of a block's length.
CHUNKED = "chunked_attention"

# A family is named here once the tests have shown that a stored prefix of it, cut anywhere and
# extended, gives what one full prefill gives.
EXACT_FAMILIES = (
    "apertus", "arcee", "bitnet", "bloom", "codegen", "cohere", "cohere2", "cwm", "deepseek_v2",
    "deepseek_v3", "diffllama", "dots1", "ernie4_5", "ernie4_5_moe", "exaone4", "falcon", "gemma",
    "gemma2", "gemma3_text", "glm", "glm4", "glm4_moe", "gpt2", "gpt_bigcode", "gpt_neo",
    "gpt_neox", "gpt_oss", "gptj", "granite", "helium",
    "hunyuan_v1_dense", "hunyuan_v1_moe", "jetmoe", "llama", "llama4_text", "minicpm3",
    "minimax_m2", "ministral", "ministral3", "mistral", "mixtral", "mpt", "nanochat", "nemotron",
    "olmo", "olmo2", "olmo3", "olmoe", "opt", "persimmon", "phi", "phi3", "phimoe", "qwen2",
    "qwen2_moe", "qwen3", "qwen3_moe", "seed_oss", "smollm3", "solar_open", "stablelm",
    "starcoder2", "vaultgemma", "xglm",
)  # fmt: skip

# Classes with a head for language that read a text from both sides unless told otherwise.
_ENCODERS = ("albert", "bert", "camembert", "electra", "roberta", "roformer", "xlm-roberta")

_WINDOW_BY_DEFAULT = {"mistral": 4096}  # config files may leave out what is the class's default


@dataclass(frozen=True)
class Family:
    """The shape of one model, as far as memories care.

    Args:
        model_type: transformers' name of the family.
        architecture: transformers' class name.
        layers: number of layers.
        layer_kinds: kind of each layer, in transformers' words.
        context_tokens: longest prompt and answer together.
        values_per_token: numbers in the K and V of one token over all layers; 0 for a model whose
            prefixes cannot be stored.
        rope_types: kinds of rotary position scaling in use, sorted; empty without rotary positions.
        window_tokens: sliding window, None without one.
        switch_tokens: the length past which the positions of all tokens are computed anew, those
            of tokens in a cache too; None without one.
        activation_refusal: why a prefix cannot be stored exactly; None if it can.
    """

    model_type: str
    architecture: str
    layers: int
    layer_kinds: tuple[str, ...]
    context_tokens: int
    values_per_token: int
    rope_types: tuple[str, ...]
    window_tokens: int | None
    switch_tokens: int | None
    activation_refusal: str | None


def read_family(config: Json, where: str) -> Family:
    """Return what ``config.json`` says.

    Args:
        config: the parsed file.
        where: the model's folder, for error texts.

    Raises:
        NotSupportedError: not a causal language model, or one that needs code of its own.
    """
    architecture = _architecture(config, where)
    model_type = str(config.get("model_type", ""))
    layers = _number(config, where, "num_hidden_layers", "n_layer", "num_layers", "n_layers")
    window = _window(config, model_type)
    kinds = _layer_kinds(config, model_type, layers, window)
    ropes = _ropes(config)
    rope_types = tuple(sorted({str(rope.get("rope_type", rope.get("type"))) for rope in ropes}))
    context = _number(
        config,
        where,
        "max_position_embeddings",
        "n_positions",
        "n_ctx",
        "seq_length",
        "max_seq_len",
    )
    switch = _switch(config, ropes, context)
    if switch is not None and "dynamic" in rope_types:
        context = int(context * max(_factor(rope) for rope in ropes))
    refusal = _refusal(model_type, kinds)
    return Family(
        model_type=model_type,
        architecture=architecture,
        layers=layers,
        layer_kinds=kinds,
        context_tokens=context,
        values_per_token=0 if refusal else layers * _values_per_layer(config, where),
        rope_types=rope_types,
        window_tokens=window if SLIDING in kinds else None,
        switch_tokens=switch,
        activation_refusal=refusal,
    )


def _architecture(config: Json, where: str) -> str:
    named = config.get("architectures")
    architecture = str(named[0]) if isinstance(named, list) and named else ""
    model_type = str(config.get("model_type", ""))
    if "auto_map" in config:
        raise NotSupportedError(
            f"the model in {where} brings Python code of its own (auto_map in config.json), "
            "and MemQL never runs code that comes with a model",
            hint="use a model whose architecture is part of transformers",
        )
    if config.get("is_encoder_decoder"):
        raise NotSupportedError(
            f"the model in {where} is an encoder-decoder ({architecture or model_type})",
            hint="use a decoder-only language model, such as a Llama or Qwen model",
        )
    causal = architecture.endswith(("ForCausalLM", "LMHeadModel"))
    if not causal or (model_type in _ENCODERS and not config.get("is_decoder")):
        raise NotSupportedError(
            f"the model in {where} is no causal language model: "
            f"its config.json names the architecture {architecture or 'none'}",
            hint="use a model whose architecture ends in ForCausalLM",
        )
    return architecture


def _as_int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(config: Json, where: str, *names: str) -> int:
    for name in names:
        value = _as_int(config.get(name))
        if value is not None:
            return value
    raise NotSupportedError(
        f"config.json in {where} says none of {', '.join(names)}",
        hint="write the number into config.json, as transformers' save_pretrained does",
    )


def _window(config: Json, model_type: str) -> int | None:
    if config.get("use_sliding_window") is False:
        return None
    window = config.get("sliding_window", _WINDOW_BY_DEFAULT.get(model_type))
    if window is None and config.get("use_sliding_window"):
        window = 4096  # the default of Qwen2 and Qwen3
    return _as_int(window)


def _layer_kinds(config: Json, model_type: str, layers: int, window: int | None) -> tuple[str, ...]:
    listed = config.get("layer_types")
    if isinstance(listed, list):
        return tuple(str(kind) for kind in listed)
    if window is None:
        return (FULL,) * layers
    # Qwen2 and Qwen3 slide from a layer on; all others that name no layer types slide everywhere.
    first = (_as_int(config.get("max_window_layers")) or 28) if "qwen" in model_type else 0
    return tuple(FULL if index < first else SLIDING for index in range(layers))


def _ropes(config: Json) -> list[Json]:
    """Return the rotary settings in use: one, or one for each kind of layer."""
    rope = config.get("rope_parameters") or config.get("rope_scaling")
    if not isinstance(rope, Mapping):
        return []
    nested = [value for value in rope.values() if isinstance(value, Mapping)]
    return nested or [rope]


def _switch(config: Json, ropes: list[Json], context: int) -> int | None:
    """Return the length up to which positions of a scaling that depends on length are constant."""
    switches = []
    for rope in ropes:
        kind = rope.get("rope_type", rope.get("type"))
        if kind == "dynamic":
            switches.append(context)
        elif kind in ("longrope", "su"):
            original = _as_int(rope.get("original_max_position_embeddings"))
            switches.append(
                original or _as_int(config.get("original_max_position_embeddings")) or context
            )
    return min(switches, default=None)


def _factor(rope: Json) -> float:
    factor = rope.get("factor")
    return float(factor) if isinstance(factor, int | float) else 1.0


def _values_per_layer(config: Json, where: str) -> int:
    heads = _number(
        config, where, "num_attention_heads", "n_head", "num_heads", "n_heads", "attention_heads"
    )
    latent = _as_int(config.get("kv_lora_rank"))
    if latent is not None:  # multi-head latent attention: one latent vector for all heads
        return latent + (_as_int(config.get("qk_rope_head_dim")) or 0)
    head_dim = _as_int(config.get("head_dim")) or _as_int(config.get("kv_channels"))
    if head_dim is None:
        head_dim = _number(config, where, "hidden_size", "n_embd", "n_embed", "d_model") // heads
    return 2 * _kv_heads(config, heads) * head_dim


def _kv_heads(config: Json, heads: int) -> int:
    if config.get("new_decoder_architecture"):  # of Falcon, which caches its groups expanded
        return heads
    if config.get("multi_query"):
        return 1
    return _as_int(config.get("num_key_value_heads")) or heads


def _refusal(model_type: str, kinds: tuple[str, ...]) -> str | None:
    stateful = sorted({kind for kind in kinds if kind not in (FULL, SLIDING, CHUNKED)})
    if stateful:
        return (
            f"{sum(kind in stateful for kind in kinds)} of its {len(kinds)} layers are of kind "
            f"{', '.join(stateful)}, whose state can be kept for one end of a text only"
        )
    if model_type not in EXACT_FAMILIES:
        return (
            f"its family ({model_type}) is not among those shown to continue a stored prefix "
            f"exactly: {', '.join(EXACT_FAMILIES)}"
        )
    return None
