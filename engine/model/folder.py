"""Where a model's files are, which of them count, and their digests."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from memql.errors import NotSupportedError, OperationalError, ProgrammingError

SHIPPED = Path(__file__).parent / "tiny" / "weights"

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_HUB_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja")
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"


# Path, size in bytes, time of the last write in nanoseconds, inode.
Stamp = tuple[str, int, int, int]

_digests: dict[Stamp, bytes] = {}


def find_folder(source: str, revision: str | None) -> Path:
    """Return the folder of a model.

    Args:
        source: 'tiny' (the model that comes with MemQL), a local folder, or a hub id 'owner/name'.
        revision: branch, tag or commit of a hub id.

    Raises:
        ProgrammingError: there is no such folder.
        OperationalError: a hub id that is neither on this machine nor can be fetched.
    """
    if source == "tiny":
        return SHIPPED
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if _HUB_ID.fullmatch(source):
        return _hub_folder(source, revision)
    found = "is a file" if folder.exists() else "does not exist"
    raise ProgrammingError(
        f"the model folder {source!r} {found}",
        hint="name a folder with config.json, *.safetensors and tokenizer.json, "
        "a hub id 'owner/name', or 'tiny'",
        code="58P01",
    )


def _hub_folder(source: str, revision: str | None) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    # What is on this machine comes first: opening a store must not depend on a network.
    folder = _fetched_before(source, revision)
    if folder is not None:
        return folder
    try:
        return Path(
            huggingface_hub.snapshot_download(
                source, revision=revision, allow_patterns=list(_HUB_FILES)
            )
        )
    except (HfHubHTTPError, OSError, ValueError) as error:
        at = f" at revision {revision!r}" if revision else ""
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise OperationalError(
            f"{source!r} is no folder here, and as a hub id{at} it is neither on this machine "
            f"nor can it be fetched: {reason}",
            hint="check the spelling, fetch it where there is a network, or name a local folder",
            code="58P01",
        ) from error


def _fetched_before(source: str, revision: str | None) -> Path | None:
    """Return the hub's copy on this machine, None where it is not there or not whole."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                source, revision=revision, allow_patterns=list(_HUB_FILES), local_files_only=True
            )
        )
        check_files(folder)
    except (HfHubHTTPError, OSError, ValueError, ProgrammingError):
        return None
    return folder


def check_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of weights in `folder`, in the order in which they are digested.

    Raises:
        ProgrammingError: config.json, the weights or tokenizer.json are missing.
        NotSupportedError: the weights are not safetensors, or belong to an adapter.
    """
    if (folder / "adapter_config.json").is_file():
        raise NotSupportedError(
            f"{folder} holds a LoRA adapter (adapter_config.json), not a model",
            hint="name the folder of the model that the adapter was trained for",
        )
    if not (folder / "config.json").is_file():
        raise ProgrammingError(
            f"{folder} is not a model's folder: it has no config.json",
            hint="name a folder that transformers' save_pretrained made",
            code="58P01",
        )
    weights = _weight_files(folder)
    if not (folder / "tokenizer.json").is_file():
        raise ProgrammingError(
            f"the model in {folder} has no tokenizer.json",
            hint="load its tokenizer with transformers' AutoTokenizer and save_pretrained it there",
            code="58P01",
        )
    return weights


def _weight_files(folder: Path) -> tuple[Path, ...]:
    # transformers reads the single file where both are there, so its digest is the one that counts.
    if (folder / _WEIGHTS).is_file():
        return (folder / _WEIGHTS,)
    if (folder / _INDEX).is_file():
        listed = read_json(folder / _INDEX).get("weight_map")
        shards = (
            sorted({str(shard) for shard in listed.values()}) if isinstance(listed, dict) else []
        )
        missing = [shard for shard in shards if not (folder / shard).is_file()]
        if missing or not shards:
            raise ProgrammingError(
                f"the model in {folder} is not complete: {_INDEX} names "
                f"{', '.join(missing) or 'no file'}",
                hint="fetch the model again",
                code="58P01",
            )
        return (folder / _INDEX, *(folder / shard for shard in shards))
    others = sorted(
        path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5")
        for path in folder.glob(pattern)
    )  # fmt: skip
    if others:
        raise NotSupportedError(
            f"the model in {folder} has its weights in {others[0]}; MemQL reads only safetensors, "
            "because other formats can run code when they are read",
            hint="load it with transformers where you trust it, and save_pretrained it again",
        )
    raise ProgrammingError(
        f"the model in {folder} has no weights: neither {_WEIGHTS} nor {_INDEX}",
        hint="name a folder that transformers' save_pretrained made",
        code="58P01",
    )


def read_json(path: Path) -> dict[str, object]:
    """Return the object in a JSON file.

    Raises:
        ProgrammingError: the file is not JSON, or not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ProgrammingError(
            f"{path} is not JSON: {error}",
            hint="fetch or save the model again",
            code="22032",
        ) from error
    if not isinstance(value, dict):
        raise ProgrammingError(
            f"{path} is not a JSON object but a {type(value).__name__}",
            hint="fetch or save the model again",
            code="22032",
        )
    return value


def file_digest(path: Path) -> bytes:
    """Return the SHA-256 of a file; read again only after its size, time or inode changed."""
    real = path.resolve()  # the hub's files are links into its store
    stat = real.stat()
    stamp = (str(real), stat.st_size, stat.st_mtime_ns, stat.st_ino)
    digest = _digests.get(stamp)
    if digest is None:
        with real.open("rb") as file:
            digest = _digests[stamp] = hashlib.file_digest(file, "sha256").digest()
    return digest


def learn_digest(stamp: Stamp, digest: bytes) -> None:
    """Take over what an earlier process read of a file."""
    _digests.setdefault(stamp, digest)


def known_digests(folder: Path) -> dict[Stamp, bytes]:
    """Return what is known of the files in a folder as they are now."""
    return {stamp: _digests[stamp] for stamp in stamps_in(folder) if stamp in _digests}


def stamps_in(folder: Path) -> tuple[Stamp, ...]:
    """Return the stamps of the files in a folder, by path: equal while none was written."""
    stamps = []
    with os.scandir(os.path.realpath(folder)) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.is_file():
                # Of a hub's folder the files are links.
                real = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
                stat = entry.stat()
                stamps.append((real, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return tuple(stamps)


def files_digest(paths: Sequence[Path]) -> str:
    """Return one hex digest of several files: of their names and their bytes, in order."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(path.name.encode() + b"\0" + file_digest(path))
    return whole.hexdigest()
