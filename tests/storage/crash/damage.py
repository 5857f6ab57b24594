"""Damages any file of a store, opens it in a child, and compares what it answers.

Usage: python -m tests.storage.crash.damage FOLDER SEED COUNT [unchecked]. With "unchecked" only the
log of a crashed store is damaged, and nobody asks which commit was acknowledged last.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb

import memql
from memql.storage.folder import CATALOG
from memql.storage.store import Store
from tests.storage.crash.nursery import load_all
from tests.storage.crash.work import Expected, Work

_OPERATIONS = 40
_CONTROL_ONE_IN = 10

KINDS = ("flip", "cut", "zero", "swap")


def main() -> None:
    """Damage and compare; print how often what happened."""
    warnings.filterwarnings("ignore", "lance is not fork-safe")
    load_all()
    folder, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    counted: Counter[str] = Counter()
    wrong: list[str] = []
    sources = {}
    for name in ("closed", "crashed"):
        _in_child(functools.partial(_make, folder / name, name == "closed"))
        sources[name] = _in_child(functools.partial(_answers, _copy(folder / name, folder)))
    places = None
    if "unchecked" in sys.argv:
        setattr(Store, "_check_whole", lambda store: None)  # noqa: B010  mypy forbids the other
        del sources["closed"]
        places = [f"{CATALOG}.wal"]
    for number in range(count):
        source = random.Random(seed + number)
        name = source.choice(sorted(sources))
        copy = _copy(folder / name, folder)
        told = "control" if number % _CONTROL_ONE_IN == 0 else _damage(copy, source, places)
        found = _in_child(functools.partial(_answers, copy))
        what = _outcome(found, sources[name])
        place = told.partition(" ")[0]
        counted[f"{place}: {what}"] += 1
        if what == "WRONG" or (place == "control" and what != "equal"):
            wrong.append(f"{seed + number} {name} {told}: {_difference(found, sources[name])}")
        shutil.rmtree(copy)
    print(json.dumps({"counted": counted, "wrong": wrong}))


def _make(folder: Path, close: bool) -> dict[str, Any]:
    work = Work(folder, Expected(), 5, lambda told: None)
    work.run(_OPERATIONS)
    if close:
        work.close()
        return {}
    # The end of the log is a memory, as it mostly is.
    work.insert_one()
    os._exit(0)


def _copy(store: Path, folder: Path) -> Path:
    return Path(shutil.copytree(store, Path(tempfile.mkdtemp(dir=folder)) / "s"))


def _damage(store: Path, source: random.Random, places: list[str] | None) -> str:
    """Change one file; say which kind of file, which one and how."""
    files = sorted(path for path in store.rglob("*") if path.is_file() and path.stat().st_size > 0)
    by_place: dict[str, list[Path]] = {}
    for path in files:
        by_place.setdefault(_place(path), []).append(path)
    place = source.choice(places or sorted(by_place))
    path = source.choice(by_place[place])
    whole = path.read_bytes()
    kind = source.choice(KINDS)
    at = source.randrange(len(whole))
    size = source.choice((1, 8, 64, 4096))
    if kind == "flip":
        damaged = whole[:at] + bytes([whole[at] ^ 1 << source.randrange(8)]) + whole[at + 1 :]
    elif kind == "cut":
        damaged = whole[:at]
    elif kind == "zero":
        damaged = whole[:at] + bytes(len(whole[at : at + size])) + whole[at + size :]
    else:
        to = source.randrange(len(whole))
        first, second = sorted((at, to))
        size = min(size, second - first, len(whole) - second)
        one, two = whole[first : first + size], whole[second : second + size]
        parts = (whole[:first], two, whole[first + size : second], one, whole[second + size :])
        damaged = b"".join(parts)
    path.write_bytes(damaged)
    same = " (as it was)" if damaged == whole else ""
    return f"{place} {path.relative_to(store)} {kind} at {at} of {len(whole)}{same}"


def _place(path: Path) -> str:
    return path.name if path.parent.name == "s" else path.parent.name


def _answers(store: Path) -> dict[str, Any]:
    """What a store answers, or how it says that it is damaged."""
    try:
        with memql.connect(store) as con:
            rows = con.execute("SELECT * EXCLUDE (state) FROM memories ORDER BY id").fetchall()
            opened = Store.open(store)
            try:
                with closing(opened.cursor()) as cursor:
                    versions = cursor.execute(
                        "SELECT * FROM _memql.versions ORDER BY id, version"
                    ).fetchall()
                nodes = {}
                for node, problem in opened.activations.verify():
                    digest = hashlib.sha256()
                    if problem is None:
                        for key, value in opened.activations.read(node):
                            digest.update(key)
                            digest.update(value)
                    nodes[str(node.id)] = problem and "damaged" or digest.hexdigest()
            finally:
                opened.close()
        return {"rows": str(rows), "versions": str(versions), "nodes": nodes}
    except (memql.Error, duckdb.Error) as error:
        return {"noticed": str(error)}


def _outcome(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    if "noticed" in found:
        return "refused"
    if "died" in found:
        return f"died of signal {found['died']}"
    if found == wanted:
        return "equal"
    if "error" in found:
        return "WRONG"
    nodes = {name: digest for name, digest in found["nodes"].items() if digest != "damaged"}
    if found["rows"] == wanted["rows"] and found["versions"] == wanted["versions"]:
        if nodes.items() <= wanted["nodes"].items():
            return "nodes refused"
    return "WRONG"


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    return str({key: str(value)[:1500] for key, value in found.items() if value != wanted.get(key)})


def _in_child(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            found = run()
        except BaseException:
            found = {"error": traceback.format_exc()[-2000:]}
        try:
            with os.fdopen(writing, "w") as file:
                json.dump(found, file)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0:
        return {"died": signal.Signals(-status).name}
    return json.loads(text) if text else {}


if __name__ == "__main__":
    main()
