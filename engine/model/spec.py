"""What a model is: its files, its identity, its prompt. Needs neither torch nor transformers."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from memql.engine.model.chat import split_chat_template
from memql.engine.model.families import read_family
from memql.engine.model.folder import (
    check_files,
    file_digest,
    files_digest,
    find_folder,
    read_json,
    stamps_in,
)
from memql.engine.model.template import PLAIN, Template
from memql.engine.model.vocabulary import Vocabulary, read_vocabulary
from memql.errors import NotSupportedError, ProgrammingError

# Of what a stored activation holds and how: [kv_heads, tokens, head_dim] for each layer, keys after
# their rotation. Another number makes every stored prefix unreachable, never wrong.
LAYOUT = 1

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
OPTIONS = ("device", "dtype", "revision", "system", "task", "template")

_DEVICE = re.compile(r"cpu|mps|cuda(:\d+)?")


@dataclass(frozen=True)
class ModelSpec:
    """One model that statements can name.

    Args:
        name: what statements call it.
        folder: where its files are.
        dtype: of its weights and its KV: 'float32', 'bfloat16' or 'float16'.
        device: 'cpu', 'cuda', 'cuda:<number>' or 'mps'.
        template: the text around memories and question, without a leading BOS.
        context_tokens: longest prompt and answer together.
        layers: number of layers.
        layer_kinds: kind of each layer, such as 'full_attention'.
        eos_ids: ids that end an answer.
        bos_id: id put once before the head; None if the model wants none.
        weights_digest: SHA-256 over the files of weights, hex.
        config_digest: SHA-256 of config.json, hex.
        tokenizer_digest: SHA-256 of what gives texts their ids, hex.
        architecture: transformers' class name.
        bytes_per_token: size of one token's K and V over all layers.
        activation_refusal: why MATERIALIZE AS ACTIVATION is refused; None if it is not.
        rope_types: kinds of rotary position scaling.
        window_tokens: sliding window, None without one.
        switch_tokens: longest text whose positions are those of its beginnings; None without end.
    """

    name: str
    folder: Path
    dtype: str
    device: str
    template: Template
    context_tokens: int
    layers: int
    layer_kinds: tuple[str, ...]
    eos_ids: tuple[int, ...]
    bos_id: int | None
    weights_digest: str
    config_digest: str
    tokenizer_digest: str
    architecture: str
    bytes_per_token: int
    activation_refusal: str | None
    rope_types: tuple[str, ...]
    window_tokens: int | None
    switch_tokens: int | None

    @cached_property
    def model_digest(self) -> str:
        """Hex digest of all that decides which K and V a sequence of token ids has."""
        return hashlib.sha256(_canonical(self._identity())).hexdigest()

    def is_extendable(self, tokens: int) -> bool:
        """Tell whether beginnings of a text of so many tokens have the positions of the whole."""
        return self.switch_tokens is None or tokens <= self.switch_tokens

    def root_key(self, head_ids: Sequence[int]) -> bytes:
        """Return the key of the root of this model's activation tree.

        Args:
            head_ids: token ids before the first segment.

        Returns:
            32 bytes. The tokenizer has no part in it: whatever it does shows in the ids.
        """
        return hashlib.sha256(_canonical({**self._identity(), "head": list(head_ids)})).digest()

    def _identity(self) -> dict[str, object]:
        return {
            "layout": LAYOUT,
            "weights": self.weights_digest,
            "config": self.config_digest,
            "adapter": None,
            "rope": list(self.rope_types),
            "window": self.window_tokens,
            "dtype": self.dtype,
        }


def describe(name: str, source: str, options: Mapping[str, object]) -> ModelSpec:
    """Return what the model at `source` is.

    Args:
        name: what statements call it.
        source: 'tiny', a local folder, or a hub id.
        options: of CREATE MODEL's WITH: dtype, device, revision, system, template, task.

    Raises:
        ProgrammingError: a wrong option, or a folder that lacks files.
        NotSupportedError: a model that MemQL does not run.
        OperationalError: a hub id that cannot be fetched.
    """
    chosen = _check_options(name, options)
    folder = find_folder(source, chosen.get("revision"))
    key = (name, folder, json.dumps(dict(options), sort_keys=True, default=repr), stamps_in(folder))
    if key not in _described:
        if len(_described) >= _MOST_DESCRIBED:
            _described.clear()
        _described[key] = _describe(name, folder, chosen, options)
    return _described[key]


# A statement asks for its model each time; to look whether a file was written is much less than to
# read them all.
_described: dict[tuple[object, ...], ModelSpec] = {}
_MOST_DESCRIBED = 256


def _describe(
    name: str, folder: Path, chosen: Mapping[str, str], options: Mapping[str, object]
) -> ModelSpec:
    if not (folder / "adapter_config.json").is_file() and (folder / "config.json").is_file():
        # Before the other files: an encoder is better told that it is one than what it lacks.
        read_family(read_json(folder / "config.json"), str(folder))
    weights = check_files(folder)
    config = read_json(folder / "config.json")
    family = read_family(config, str(folder))
    device = chosen.get("device", "cpu")
    dtype = chosen.get("dtype") or _default_dtype(config, device)
    vocabulary = read_vocabulary(folder)
    template, bos_id = _template(
        vocabulary, chosen.get("system"), options.get("template"), str(folder)
    )
    return ModelSpec(
        name=name,
        folder=folder,
        dtype=dtype,
        device=device,
        template=template,
        context_tokens=family.context_tokens,
        layers=family.layers,
        layer_kinds=family.layer_kinds,
        eos_ids=_eos_ids(folder, config, vocabulary),
        bos_id=bos_id,
        weights_digest=files_digest(weights),
        config_digest=file_digest(folder / "config.json").hex(),
        tokenizer_digest=vocabulary.digest,
        architecture=family.architecture,
        bytes_per_token=family.values_per_token * DTYPE_BYTES[dtype],
        activation_refusal=family.activation_refusal,
        rope_types=family.rope_types,
        window_tokens=family.window_tokens,
        switch_tokens=family.switch_tokens,
    )


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _check_options(name: str, options: Mapping[str, object]) -> dict[str, str]:
    """Return the options that are plain text, checked."""
    chosen: dict[str, str] = {}
    for option, value in options.items():
        if option not in OPTIONS:
            near = difflib.get_close_matches(option, OPTIONS, n=1)
            raise ProgrammingError(
                f"model {name} has no option {option!r}",
                hint=f"did you mean {near[0]!r}?" if near else f"options: {', '.join(OPTIONS)}",
                code="42704",
            )
        if option == "template":
            continue
        if not isinstance(value, str):
            raise ProgrammingError(
                f"option {option!r} of model {name} is {value!r}, not a text",
                hint=f"write {option} = '...'",
                code="22023",
            )
        chosen[option] = value
    task = chosen.get("task", "generate")
    if task != "generate":
        raise NotSupportedError(
            f"model {name}: there is no task {task!r}", hint="the task of a model is 'generate'"
        )
    if "dtype" in chosen and chosen["dtype"] not in DTYPE_BYTES:
        raise ProgrammingError(
            f"model {name}: dtype {chosen['dtype']!r} is not known",
            hint=f"dtype is one of {', '.join(DTYPE_BYTES)}",
            code="22023",
        )
    if "device" in chosen and not _DEVICE.fullmatch(chosen["device"]):
        raise ProgrammingError(
            f"model {name}: device {chosen['device']!r} is not known",
            hint="device is one of cpu, cuda, cuda:0, mps",
            code="22023",
        )
    return chosen


def _default_dtype(config: Mapping[str, object], device: str) -> str:
    # On a CPU float32 is exact to 1e-5 over any split of a prompt, and half precision is no faster.
    if device == "cpu":
        return "float32"
    saved = str(config.get("dtype") or config.get("torch_dtype"))
    return saved if saved in DTYPE_BYTES else "float32"


def _eos_ids(folder: Path, config: Mapping[str, object], vocabulary: Vocabulary) -> tuple[int, ...]:
    # Chat models end a turn with the tokenizer's EOS and a text with the config's: either will do.
    found: set[int] = set()
    sources = [config]
    if (folder / "generation_config.json").is_file():
        sources.append(read_json(folder / "generation_config.json"))
    for source in sources:
        value = source.get("eos_token_id")
        found.update(
            token for token in (value if isinstance(value, list) else [value])
            if isinstance(token, int)
        )  # fmt: skip
    if vocabulary.eos_id is not None:
        found.add(vocabulary.eos_id)
    return tuple(sorted(found))


def _template(
    vocabulary: Vocabulary, system: str | None, given: object, where: str
) -> tuple[Template, int | None]:
    """Return the template without a leading BOS, and the id of the BOS to put before it."""
    if given is not None:
        template = _given_template(given)
        if system is not None:
            template = _with_system(template, system)
        puts_bos = vocabulary.wants_bos
    elif vocabulary.chat_template is not None:
        template = split_chat_template(
            vocabulary.chat_template, tuple(vocabulary.named_tokens.items()), system, where
        )
        # A chat template writes the BOS itself where the model was taught with one, unless the
        # tokenizer is one that always puts it.
        puts_bos = vocabulary.adds_bos
    else:
        template = PLAIN if system is None else _with_system(PLAIN, system)
        puts_bos = vocabulary.wants_bos
    bos = vocabulary.named_tokens.get("bos_token")
    if bos and template.head.startswith(bos):
        head = template.head.removeprefix(bos)
        return Template(head, template.segment, template.tail), vocabulary.bos_id
    return template, vocabulary.bos_id if puts_bos else None


def _with_system(template: Template, system: str) -> Template:
    return Template(f"{system}\n\n{template.head}", template.segment, template.tail)


def _given_template(given: object) -> Template:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except json.JSONDecodeError as error:
            raise ProgrammingError(
                f"the model's template is not JSON: {error}",
                hint="""template = '{"head": "...", "segment": "{row}", "tail": "{question}"}'""",
                code="22032",
            ) from error
    fields = ("head", "segment", "tail")
    parts = dict(given) if isinstance(given, Mapping) else {}
    wrong = [str(key) for key in parts if key not in fields]
    lacking = [field for field in fields if not isinstance(parts.get(field), str)]
    if wrong or lacking:
        raise ProgrammingError(
            "the model's template must have the texts head, segment and tail; "
            + (f"{wrong[0]!r} is none of them" if wrong else f"{lacking[0]!r} is no text"),
            hint="""template = '{"head": "...", "segment": "{row}", "tail": "{question}"}'""",
            code="22023",
        )
    for field, place in (("segment", "{row}"), ("tail", "{question}")):
        if parts[field].count(place) != 1:
            raise ProgrammingError(
                f"the {field} of the model's template has {place} "
                f"{parts[field].count(place)} times: {parts[field]!r}",
                hint=f"write {place} once, where it belongs",
                code="22023",
            )
    return Template(parts["head"], parts["segment"], parts["tail"])
