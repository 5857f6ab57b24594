"""What a model's tokenizer files say about its special tokens. Reads JSON only."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from memql.engine.model.folder import file_digest, read_json
from memql.errors import ProgrammingError

# Of the rules in tokens.py: ids made under other rules are not those of these.
_RULES = b"memql tokens 1"

# Added tokens of this look steer a model (<think>, <tool_call>, [INST]) even where the tokenizer
# does not call them special; the others are runs of spaces and the like.
_MARKER = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")


@dataclass(frozen=True)
class ControlToken:
    """A token that only a template may write, never a memory or a question.

    Args:
        text: how it is written.
        id: its token id.
        strips_left: it takes the white space before it.
        strips_right: it takes the white space after it.
    """

    text: str
    id: int
    strips_left: bool
    strips_right: bool


@dataclass(frozen=True)
class Vocabulary:
    """The special tokens of one tokenizer.

    Args:
        path: its tokenizer.json.
        digest: SHA-256 of what gives texts their ids, hex.
        control: tokens that only a template may write.
        named_tokens: texts by transformers' names, such as ``bos_token``.
        bos_id: id of the BOS token, None without one.
        eos_id: id of the EOS token, None without one.
        adds_bos: the tokenizer itself puts the BOS before every text.
        wants_bos: a plain prompt should start with the BOS.
        chat_template: Jinja text, None without one.
    """

    path: Path
    digest: str
    control: tuple[ControlToken, ...]
    named_tokens: Mapping[str, str]
    bos_id: int | None
    eos_id: int | None
    adds_bos: bool
    wants_bos: bool
    chat_template: str | None


def read_vocabulary(folder: Path) -> Vocabulary:
    """Return what the tokenizer files in `folder` say.

    Raises:
        ProgrammingError: a file is not the JSON that it should be.
    """
    path = folder / "tokenizer.json"
    control, unknown, prefix_ids, ids = _read_tokenizer(path, file_digest(path))
    settings = _settings(folder)
    named = {
        name: text for name in ("bos_token", "eos_token", "unk_token", "pad_token")
        if (text := _text(settings.get(name))) is not None
    }  # fmt: skip
    ids = {**ids, **{token.text: token.id for token in control}}
    bos_id = ids.get(named["bos_token"]) if "bos_token" in named else None
    if bos_id is None and prefix_ids:
        # No name for it in the settings: the one that the tokenizer puts before a text is it.
        bos_id = prefix_ids[0]
        named["bos_token"] = next(token.text for token in control if token.id == bos_id)
    adds = settings.get("add_bos_token")
    adds_bos = bos_id is not None and (adds is True or (adds is None and bos_id in prefix_ids))
    eos_id = ids.get(named["eos_token"]) if "eos_token" in named else None
    return Vocabulary(
        path=path,
        digest=hashlib.sha256(_RULES + file_digest(path)).hexdigest(),
        control=tuple(token for token in control if token.text != unknown),
        named_tokens=named,
        bos_id=bos_id,
        eos_id=eos_id,
        adds_bos=adds_bos,
        # A BOS of its own is there to be used; one that is the EOS too (GPT-2) only if asked for.
        wants_bos=adds_bos or (bos_id is not None and adds is None and bos_id != eos_id),
        chat_template=_chat_template(folder, settings),
    )


def _settings(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            found.update(read_json(folder / name))
    return found


def _text(value: object) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _chat_template(folder: Path, settings: Mapping[str, object]) -> str | None:
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    if (folder / "chat_template.json").is_file():
        settings = {**settings, **read_json(folder / "chat_template.json")}
    listed = settings.get("chat_template")
    if isinstance(listed, list):  # several named ones, for tools and the like
        named = {str(entry.get("name")): entry.get("template") for entry in listed}
        listed = named.get("default")
    return listed if isinstance(listed, str) and listed else None


_Read = tuple[tuple[ControlToken, ...], str | None, tuple[int, ...], dict[str, int]]


@lru_cache(maxsize=64)
def _read_tokenizer(path: Path, digest: bytes) -> _Read:
    """Return control tokens, unknown token, ids put before a text, and ids by text of all added."""
    content = read_json(path)
    model = content.get("model")
    if not isinstance(model, Mapping):
        raise ProgrammingError(
            f"{path} is not a tokenizer: it has no model",
            hint="save the tokenizer again with transformers' save_pretrained",
            code="22023",
        )
    added = content.get("added_tokens")
    entries = [entry for entry in added if isinstance(entry, Mapping)] if added else []  # type: ignore[attr-defined]
    control = tuple(
        ControlToken(
            text=str(entry["content"]),
            id=int(entry["id"]),
            strips_left=bool(entry.get("lstrip")),
            strips_right=bool(entry.get("rstrip")),
        )
        for entry in entries
        if entry.get("special") or _MARKER.fullmatch(str(entry["content"]))
    )
    unknown = _text(model.get("unk_token"))
    prefix = _ids_before_text(content.get("post_processor"))
    return control, unknown, prefix, {str(entry["content"]): int(entry["id"]) for entry in entries}


def _ids_before_text(post_processor: object) -> tuple[int, ...]:
    """Return the ids that a tokenizer's post-processor puts before a single text."""
    if not isinstance(post_processor, Mapping):
        return ()
    kind = post_processor.get("type")
    if kind == "Sequence":
        parts = post_processor.get("processors") or []
        return tuple(token for part in parts for token in _ids_before_text(part))
    if kind in ("BertProcessing", "RobertaProcessing"):
        return (int(post_processor["cls"][1]),)
    if kind != "TemplateProcessing":
        return ()
    found: list[int] = []
    for piece in post_processor.get("single") or []:
        if "Sequence" in piece:
            break
        special = post_processor["special_tokens"][piece["SpecialToken"]["id"]]
        found.extend(int(token) for token in special["ids"])
    return tuple(found)
