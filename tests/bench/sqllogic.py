"""Reads the files of DuckDB's own tests, which are in sqllogictest form with loops."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# A loop of thousands is there for DuckDB's vectors; its first rounds say as much about the grammar.
LONGEST_LOOP = 30

_NUMBERS = (
    "tinyint smallint integer bigint hugeint utinyint usmallint uinteger ubigint uhugeint "
    "float double bignum"
)
_COLLECTIONS: dict[str, str] = {
    "<compression>": "none uncompressed",
    "<alltypes>": f"bool {_NUMBERS} varchar",
    "<numeric>": _NUMBERS,
    "<integral>": _NUMBERS.removesuffix(" float double bignum"),
    "<signed>": "tinyint smallint integer bigint hugeint",
    "<unsigned>": "utinyint usmallint uinteger ubigint uhugeint",
}
_LOOPS = ("loop", "foreach", "concurrentloop", "concurrentforeach")


@dataclass(frozen=True)
class Statement:
    """One statement of a file.

    Args:
        line: where it starts.
        sql: its text, loops and variables put in.
        fails: whether the file says that DuckDB refuses it.
    """

    line: int
    sql: str
    fails: bool


def read_statements(path: Path) -> Iterator[Statement]:
    """Yield the statements of a file in the order in which they run."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    yield from _block(lines, 0, len(lines), {})


def _block(lines: list[str], place: int, stop: int, names: dict[str, str]) -> Iterator[Statement]:
    skipped, wanted = False, True
    while place < stop:
        words = lines[place].split()
        place += 1
        if not words or words[0].startswith("#"):
            continue
        match words[0]:
            case "halt":
                return
            case "mode":
                skipped = (skipped or words[1] == "skip") and words[1] != "unskip"
            case "onlyif" | "skipif":
                condition = re.match(r"(\w+)=(.*)", " ".join(words[1:]))
                if condition is not None:
                    equal = names.get(condition[1]) == condition[2]
                    wanted = equal if words[0] == "onlyif" else not equal
            case "statement" | "query":
                line, text = place, []
                while place < stop and lines[place].strip() and lines[place][:4] != "----":
                    text.append(lines[place])
                    place += 1
                while place < stop and lines[place].strip():  # what the file expects
                    place += 1
                if wanted and not skipped:
                    fails = words[0] == "statement" and words[1] != "ok"
                    yield Statement(line, _filled("\n".join(text), names), fails)
                wanted = True
            case loop if loop in _LOOPS:
                end = _end_of_loop(lines, place, stop)
                for value in [] if skipped else _values(words, names):
                    yield from _block(lines, place, end, {**names, words[1]: value})
                place = end + 1


def _values(words: list[str], names: dict[str, str]) -> Iterator[str]:
    if words[0].endswith("loop"):
        first, last = (int(_filled(word, names)) for word in words[2:4])
        yield from map(str, range(first, min(last, first + LONGEST_LOOP)))
        return
    left_out = {word[1:] for word in words if word.startswith("!")}
    for word in words[2:]:
        for value in _COLLECTIONS.get(word, word).split():
            if not value.startswith("!") and value not in left_out:
                yield value


def _filled(text: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        text = text.replace(f"${{{name}}}", value)
        if "," in name:
            for part, one in zip(name.split(","), value.split(","), strict=False):
                text = text.replace(f"${{{part}}}", one)
    return text


def _end_of_loop(lines: list[str], place: int, stop: int) -> int:
    depth = 1
    while place < stop:
        word = lines[place].split()[:1]
        depth += (word[0] in _LOOPS) - (word[0] == "endloop") if word else 0
        if depth == 0:
            return place
        place += 1
    return stop
