"""What a model's ``config.json`` says about its layers, its context and its KV cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from memql.errors import NotSupportedError

Json = Mapping[str, object]

FULL = "full_attention"
SLIDING = "sliding_attention"

# A family is named here once the tests have shown that a stored prefix of it, cut anywhere and
# extended, gives what one full prefill gives.
EXACT_FAMILIES = (
    "gemma", "gpt2", "gpt_neox", "granite", "llama", "mistral", "olmo2", "phi", "phi3", "qwen2",
    "qwen3", "smollm3", "stablelm",
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
        values_per_token: numbers in the K and V of one token over all layers.
        rope_types: kinds of rotary position scaling in use, sorted; empty without rotary positions.
        window_tokens: sliding window, None without one.
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
    layers = _number(config, where, "num_hidden_layers", "n_layer", "num_layers")
    window = _window(config, model_type)
    kinds = _layer_kinds(config, model_type, layers, window)
    ropes = _ropes(config)
    rope_types = tuple(sorted({str(rope.get("rope_type", rope.get("type"))) for rope in ropes}))
    context = _number(
        config, where, "max_position_embeddings", "n_positions", "n_ctx", "seq_length"
    )
    if "longrope" in rope_types or "su" in rope_types:
        # Past this length such a model changes the frequencies of all positions, those of tokens
        # in the cache too, so only the short regime has one meaning for every way to feed a text.
        switches = [_as_int(rope.get("original_max_position_embeddings")) for rope in ropes]
        switches.append(_as_int(config.get("original_max_position_embeddings")))
        context = min([context, *(switch for switch in switches if switch)])
    return Family(
        model_type=model_type,
        architecture=architecture,
        layers=layers,
        layer_kinds=kinds,
        context_tokens=context,
        values_per_token=layers * _values_per_layer(config, where),
        rope_types=rope_types,
        window_tokens=window if SLIDING in kinds else None,
        activation_refusal=_refusal(model_type, kinds, rope_types, window),
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


def _values_per_layer(config: Json, where: str) -> int:
    heads = _number(config, where, "num_attention_heads", "n_head", "num_heads")
    latent = _as_int(config.get("qk_nope_head_dim"))
    if latent is not None:  # multi-head latent attention is cached expanded
        rope = _as_int(config.get("qk_rope_head_dim")) or 0
        return heads * (latent + rope + (_as_int(config.get("v_head_dim")) or latent))
    kv_heads = _as_int(config.get("num_key_value_heads")) or heads
    head_dim = _as_int(config.get("head_dim"))
    if head_dim is None:
        head_dim = _number(config, where, "hidden_size", "n_embd", "d_model") // heads
    return 2 * kv_heads * head_dim


def _refusal(
    model_type: str, kinds: tuple[str, ...], rope_types: tuple[str, ...], window: int | None
) -> str | None:
    stateful = sorted({kind for kind in kinds if kind not in (FULL, SLIDING)})
    if stateful:
        return (
            f"{sum(kind in stateful for kind in kinds)} of its {len(kinds)} layers are of kind "
            f"{', '.join(stateful)}, whose state can be kept for one end of a text only"
        )
    if SLIDING in kinds:
        return (
            f"{kinds.count(SLIDING)} of its {len(kinds)} layers see a sliding window of "
            f"{window} tokens, which stored prefixes do not cover yet"
        )
    if "dynamic" in rope_types:
        return (
            "its positions use dynamic NTK scaling, which changes the keys of earlier tokens "
            "as a text grows"
        )
    if "longrope" in rope_types or "su" in rope_types:
        return (
            "its positions use LongRoPE scaling, which changes the keys of earlier tokens "
            "as a text grows"
        )
    if model_type not in EXACT_FAMILIES:
        return (
            f"its family ({model_type}) is not among those shown to continue a stored prefix "
            f"exactly: {', '.join(EXACT_FAMILIES)}"
        )
    return None
