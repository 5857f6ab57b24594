"""Real text: facts of long conversations, compiled for each owner and asked.

Reads LoCoMo's facts (``facts.jsonl``) from $MEMQL_LOCOMO or from ``../shared/data/locomo`` beside
the checkout; without them it makes random text of the same size. The model is ``tiny``, or what
$MEMQL_MODEL names; its answers are compared with each other, not with the truth.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import memql
from memql.loading import load_lines

from .measure import Ratio, Times, check, in_turns, print_table

ROUNDS = 5
ROOT = Path(__file__).resolve().parents[2]
QUESTION = "What do we know about the last conversation?"
MAX_TOKENS = 4

# At most so many tokens stand before the first memory; they are the same for every owner.
_HEAD_TOKENS = 64

# Facts and characters for each conversation in LoCoMo's first five.
_SIZES = ((184, 17_390), (169, 13_809), (324, 28_662), (266, 23_206), (267, 24_144))


def facts_file() -> Path | None:
    """Return where LoCoMo's facts are, None if they are not on this machine."""
    named = os.environ.get("MEMQL_LOCOMO")
    path = Path(named) if named else ROOT.parent / "shared" / "data" / "locomo"
    path = path / "facts.jsonl" if path.is_dir() else path
    if named and not path.is_file():
        raise SystemExit(f"MEMQL_LOCOMO: there is no {path}")
    return path if path.is_file() else None


def synthetic_facts() -> list[bytes]:
    """Return random sentences, as many and as long as LoCoMo's facts."""
    source = random.Random(0)
    letters = "eeeeaaaiiooutnnrrssttlldhmpcbgfvwy"
    lines = []
    for conversation, (facts, characters) in enumerate(_SIZES):
        for number in range(facts):
            words: list[str] = []
            while sum(map(len, words)) + len(words) < characters // facts:
                words.append("".join(source.choices(letters, k=source.randint(2, 9))))
            memory = {
                "owner": f"conversation-{conversation}",
                "content": " ".join(words).capitalize() + ".",
                "created_at": f"2024-01-01T{number // 60:02}:{number % 60:02}:00+00:00",
            }
            lines.append(json.dumps(memory).encode())
    return lines


def run(rounds: int | None) -> None:
    """Load, compile, ask, extend, change and reopen; print times and check every token count."""
    path = facts_file()
    lines = path.read_bytes().splitlines() if path is not None else synthetic_facts()
    print("LoCoMo's facts." if path is not None else "Random text of the size of LoCoMo's facts.")
    model = os.environ.get("MEMQL_MODEL")
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "locomo.memql"
        with memql.connect(store, model=model) as con:
            started = time.perf_counter()
            count = load_lines(con, lines)
            print(f"{count:,} memories loaded in {time.perf_counter() - started:.2f} s.\n")
            con.execute("SELECT generate('Warm?', 'Warm.', max_tokens := 1)").fetchall()
            owners = [
                row[0] for row in con.execute("SELECT DISTINCT owner FROM memories ORDER BY ALL")
            ]
            compiled = {owner: _compile(con, owner) for owner in owners}
            rows = [_ask(con, owner, compiled[owner], rounds or ROUNDS) for owner in owners]
        print_table(
            [
                "owner", "facts", "tokens", "compiled in", "MB", "first token: text", "activation",
                "ratio",
            ],
            rows,
        )  # fmt: skip
        print()
        _reopen(store, model, compiled)
        _change(store, model, compiled)


def _compile(con: memql.Connection, owner: str) -> tuple[int, int, int, float]:
    """Compile an owner's memories; return (facts, tokens, bytes, seconds)."""
    query = "SELECT content FROM memories WHERE owner = ? MATERIALIZE AS ACTIVATION"
    started = time.perf_counter()
    row = con.execute(query, [owner]).fetchone()
    seconds = time.perf_counter() - started
    assert row is not None
    activation = row[0]
    check(activation.reused_tokens <= _HEAD_TOKENS, "an owner's tokens were known before")
    return len(activation.memory_ids), activation.tokens, activation.bytes, seconds


def _answer(con: memql.Connection, owner: str, form: str) -> memql.Answer:
    query = (
        f"SELECT generate(?, max_tokens := {MAX_TOKENS}) FROM memories WHERE owner = ? "
        f"MATERIALIZE AS {form}"
    )
    row = con.execute(query, [QUESTION, owner]).fetchone()
    assert row is not None
    answer = row[0]
    assert isinstance(answer, memql.Answer)
    return answer


def _ask(
    con: memql.Connection, owner: str, compiled: tuple[int, int, int, float], rounds: int
) -> list[object]:
    facts, tokens, size, seconds = compiled
    answers: dict[str, set[str]] = {"PLAINTEXT": set(), "ACTIVATION": set()}

    def first_token(form: str) -> float:
        answer = _answer(con, owner, form)
        answers[form].add(str(answer))
        reused = tokens if form == "ACTIVATION" else 0
        check(
            (answer.tokens, answer.reused_tokens, answer.computed_tokens)
            == (tokens, reused, tokens - reused),
            f"{owner} as {form}: {answer.reused_tokens} reused, {answer.computed_tokens} computed",
        )
        return _first_token(answer)

    times = in_turns(
        {
            "text": lambda: first_token("PLAINTEXT"),
            "activation": lambda: first_token("ACTIVATION"),
        },
        rounds,
    )
    check(answers["PLAINTEXT"] == answers["ACTIVATION"], f"{owner}: the forms answer differently")
    return [
        owner,
        facts,
        f"{tokens:,}",
        f"{seconds:.2f} s",
        f"{size / 1e6:.0f}",
        _milliseconds(times["text"]),
        _milliseconds(times["activation"]),
        str(Ratio.of(times["text"], times["activation"])),
    ]


def _milliseconds(times: Times) -> str:
    return f"{times.median * 1000:.0f} ms"


def _reopen(
    store: Path, model: str | None, compiled: dict[str, tuple[int, int, int, float]]
) -> None:
    started = time.perf_counter()
    with memql.connect(store, model=model) as con:
        opened = time.perf_counter() - started
        seconds = []
        for owner, (_, tokens, _, _) in compiled.items():
            answer = _answer(con, owner, "ACTIVATION")
            check(answer.reused_tokens == tokens, f"{owner}: not all was reused after reopening")
            seconds.append(_first_token(answer))
    print(
        f"reopened in {opened * 1000:.0f} ms; first token of each owner's first answer: median "
        f"{statistics.median(seconds) * 1000:.0f} ms, all tokens reused"
    )


def _change(
    store: Path, model: str | None, compiled: dict[str, tuple[int, int, int, float]]
) -> None:
    """A new memory costs its own tokens; one changed in the middle, what stands behind it."""
    added, changed = [], []
    with memql.connect(store, model=model) as con:
        for owner, (facts, tokens, _, _) in compiled.items():
            con.execute(
                "INSERT INTO memories (owner, content) VALUES (?, 'They spoke once more.')", [owner]
            )
            answer = _answer(con, owner, "ACTIVATION")
            check(answer.reused_tokens == tokens, f"{owner}: a new memory cost old tokens")
            added.append(answer)
            middle = (
                "SELECT id FROM memories WHERE owner = $o ORDER BY created_at, id LIMIT 1 OFFSET $n"
            )
            con.execute(
                f"UPDATE memories SET content = 'They were silent.' WHERE id = ({middle})",
                {"o": owner, "n": facts // 2},
            )
            answer = _answer(con, owner, "ACTIVATION")
            check(
                0 < (answer.reused_tokens or 0) < tokens and str(answer) == _text(con, owner),
                f"{owner}: {answer.reused_tokens} of {tokens} reused after a change",
            )
            changed.append(answer)
    _print_extended("one memory added", added)
    _print_extended("one memory in the middle changed", changed)


def _first_token(answer: memql.Answer) -> float:
    """Return the seconds to the first token of an answer from one's own memories."""
    assert answer.first_token_seconds is not None
    return answer.first_token_seconds


def _text(con: memql.Connection, owner: str) -> str:
    return str(_answer(con, owner, "PLAINTEXT"))


def _print_extended(what: str, answers: Iterable[memql.Answer]) -> None:
    known = list(answers)
    print(
        f"{what}: median {statistics.median(a.computed_tokens or 0 for a in known):.0f} of "
        f"{statistics.median(a.tokens for a in known):.0f} tokens computed, first token after "
        f"{statistics.median(map(_first_token, known)) * 1000:.0f} ms"
    )
