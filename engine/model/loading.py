"""Weights into memory: once for each model in the process, safetensors only, no code of others."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, PreTrainedModel
from transformers.utils import logging as transformers_logging

from memql.engine.model.attention import keep_head_in_place, use_grouped_attention
from memql.engine.model.folder import check_files, files_digest
from memql.engine.model.layer import LayerShape, layer_shapes
from memql.engine.model.spec import ModelSpec
from memql.errors import InternalError, NotSupportedError, OperationalError


@dataclass(frozen=True)
class Loaded:
    """A model in memory.

    Args:
        model: with a head for language, in evaluation mode.
        shapes: what each of its layers keeps for a token.
        lock: held by whoever runs it.
    """

    model: PreTrainedModel
    shapes: tuple[LayerShape, ...]
    lock: threading.RLock


_loaded: dict[tuple[str, str, str], Loaded] = {}
_loading = threading.Lock()


def load(spec: ModelSpec) -> Loaded:
    """Return the model of `spec`, shared by all with the same weights, dtype and device.

    Raises:
        OperationalError: the files changed or cannot be used, or the device is not there.
        NotSupportedError: transformers has no causal language model of this kind.
    """
    key = (spec.model_digest, spec.dtype, spec.device)
    with _loading:
        if key not in _loaded:
            _loaded[key] = _load(spec)
        return _loaded[key]


def _load(spec: ModelSpec) -> Loaded:
    if files_digest(check_files(spec.folder)) != spec.weights_digest:
        raise OperationalError(
            f"the weights of model {spec.name} in {spec.folder} changed on disk",
            hint="open the store again, so that the model is described anew",
        )
    _check_device(spec)
    with _quiet():
        try:
            model = _from_files(spec)
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise OperationalError(
                f"model {spec.name} in {spec.folder} does not load: {reason}",
                hint="check that transformers loads it, or save it again",
            ) from error
    return made_ready(model, spec)


def made_ready(model: PreTrainedModel, spec: ModelSpec) -> Loaded:
    """Return a model that is in memory, ready to run.

    Args:
        model: on its device, in its dtype.
        spec: what it is.

    Raises:
        NotSupportedError: it has no KV cache.
        InternalError: its layers are not as described.
    """
    model.train(False)
    model.requires_grad_(False)
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        raise NotSupportedError(
            f"model {spec.name} ({spec.architecture}) has no KV cache",
            hint="use a model with attention layers",
        )
    use_grouped_attention(model)
    keep_head_in_place(model)
    shapes = _probe(model)
    odd = sorted({shape.kind for shape in shapes if not shape.stores_tokens})
    if spec.activation_refusal is None and odd:
        raise InternalError(
            f"model {spec.name} was described as one whose layers keep single tokens; it has "
            f"layers of kind {', '.join(odd)}"
        )
    return Loaded(model, shapes, threading.RLock())


def _from_files(spec: ModelSpec) -> PreTrainedModel:
    config = AutoConfig.from_pretrained(spec.folder, local_files_only=True, trust_remote_code=False)
    text = config.get_text_config(decoder=True)
    # transformers takes its fastest attention that a family has, but for sdpa, which has no soft
    # cap on scores and refuses models that have one.
    capped = getattr(text, "attn_logit_softcapping", None) is not None
    read: Any = AutoModelForCausalLM.from_pretrained  # its annotation forgets the report
    model, report = read(
        spec.folder,
        config=config,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        dtype=getattr(torch, spec.dtype),
        output_loading_info=True,
        attn_implementation="eager" if capped else None,
    )
    # transformers only warns and puts random numbers in their place.
    wrong = sorted(str(name) for name in (*report["missing_keys"], *report["mismatched_keys"]))
    if wrong:
        raise ValueError(f"its weights lack {len(wrong)} tensors, the first is {wrong[0]}")
    placed: PreTrainedModel = model.to(spec.device)
    return placed


def _check_device(spec: ModelSpec) -> None:
    kind, _, number = spec.device.partition(":")
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }[kind]
    if int(number or 0) >= there:
        raise OperationalError(
            f"model {spec.name} wants device {spec.device!r}, this machine has {there} of {kind}",
            hint="create the model WITH (device = 'cpu')",
            code="22023",
        )


def _probe(model: PreTrainedModel) -> tuple[LayerShape, ...]:
    """Return the shapes of the layers, by feeding one token.

    Families compute them from their configurations in different ways; one token shows the truth,
    and brings the weights into memory, which the first request would have to do.
    """
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
        model(input_ids=token, past_key_values=cache, use_cache=True)
    return layer_shapes(cache)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bar and warnings off the user's terminal."""
    log: Any = transformers_logging  # without annotations
    verbosity, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bar:
            log.enable_progress_bar()
