"""The tour: about ten statements over a store of its own."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import IO, TYPE_CHECKING

import memql
from memql.cli.output import grid, make_console, print_grid
from memql.cli.quiet import quiet_libraries
from memql.connection import Connection, connect
from memql.demo.stage import Saving, Stage
from memql.errors import OperationalError
from memql.loading import load_lines
from memql.values import Answer

if TYPE_CHECKING:
    from rich.console import Console

_EAT = "What must Alice not eat?"
_ALLERGY = "What is Alice allergic to?"
_PEANUTS = "Alice must not eat peanuts."
_WALNUTS = "Alice must not eat walnuts."
_SESAME = "Alice is allergic to sesame."
_DIARY = "owner = 'alice' AND kind IN ('health', 'note')"

# The median of so many runs; one run alone shows the machine's mood.
_RUNS = 7


def run_demo(stream: IO[str], keep: str | None = None) -> bool:
    """Run the tour; return whether every answer and every count was right.

    Args:
        stream: where it is shown: in colours on a terminal, else as plain text.
        keep: the folder to make the store in and leave it there; None is a temporary one.

    Raises:
        OperationalError: the folder to keep the store in is there already.
    """
    quiet_libraries()
    # `tiny` is so small that threads wait for each other longer than they work. torch reads this
    # when it is imported, and only the demo sets it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    console = make_console(stream)
    with _folder(keep) as folder:
        stage = Stage(console)
        tour = Tour(stage, folder)
        tour.run()
        _write_savings(stage, tour.view_tokens)
        if stage.mistakes:
            console.print(f"\n{len(stage.mistakes)} of the checks failed:")
            for line in stage.mistakes:
                console.print(f"  {line}", soft_wrap=True)
        else:
            console.print("\nEvery answer and every count was checked and is right.")
        if keep is not None:
            console.print(f"The store is kept. Go on with: memql shell {folder}", soft_wrap=True)
    return not stage.mistakes


@contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="memql-demo-") as folder:
            yield Path(folder) / "demo.memql"
        return
    if Path(keep).exists():
        raise OperationalError(
            f"the demo makes a new store, but {keep} is there already",
            hint="name a folder that is not there yet",
            code="58P02",
        )
    yield Path(keep)


class Tour:
    """The chapters of the demo, each with its statements and checks.

    Args:
        stage: where they are shown.
        folder: the store, made by the first chapter.
    """

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self._folder = folder
        self.view_tokens = 0

    def run(self) -> None:
        """Show all chapters."""
        with connect(self._folder) as connection:
            self.fill(connection)
            self.explain(connection)
            self.answer_from_text(connection)
            self.compile(connection)
            self.answer_from_activation(connection)
            self.extend(connection)
            self.update(connection)
        with connect(self._folder) as connection:
            self.reopened(connection)
            self.groups(connection)

    def fill(self, connection: Connection) -> None:
        """Load and look at memories."""
        stage = self.stage
        stage.console.print(
            f"MemQL {memql.__version__}, model tiny, store {self._folder}", soft_wrap=True
        )
        lines = files("memql.demo").joinpath("memories.jsonl").read_bytes().splitlines()
        stage.chapter("Memories", "A store is a folder. This one begins with a file of JSON lines.")
        count = load_lines(connection, lines)
        stage.say(f"{count} memories of five people loaded, as `memql load` does.")
        rows = stage.show(
            connection,
            "SELECT owner, count(*) AS memories, min(created_at) AS first, "
            "max(created_at) AS last\nFROM memories GROUP BY owner ORDER BY owner",
        )
        stage.check("memories counted", count, sum(row[1] for row in rows))
        stage.show(
            connection,
            "INSERT INTO memories (owner, kind, content, importance, tags)\n"
            f"VALUES ('alice', 'health', '{_PEANUTS}', 0.9, ['food'])",
        )
        stage.show(
            connection,
            "SELECT kind, content, importance, tags FROM memories\n"
            "WHERE owner = 'alice' AND importance >= 0.7 ORDER BY importance DESC, content",
        )

    def explain(self, connection: Connection) -> None:
        """Show a plan."""
        self.stage.chapter(
            "The plan",
            "EXPLAIN finds the rows and counts their tokens. It loads no model and writes nothing.",
        )
        self.stage.show(
            connection,
            f"EXPLAIN (COSTS off) SELECT generate('{_EAT}')\nFROM memories WHERE {_DIARY}",
        )

    def answer_from_text(self, connection: Connection) -> None:
        """Ask the model with the memories as text."""
        stage = self.stage
        stage.chapter(
            "An answer from text", "The model reads every row, as any program would have it do."
        )
        with _waiting(stage.console, "loading the model"):
            answer = stage.answer(
                connection,
                f"SELECT generate('{_EAT}')\nFROM memories WHERE {_DIARY}\n"
                "MATERIALIZE AS PLAINTEXT",
            )
        stage.check("the answer", _PEANUTS, str(answer))
        stage.check("tokens computed", answer.tokens, answer.computed_tokens)

    def compile(self, connection: Connection) -> None:
        """Make a view and compile it."""
        stage = self.stage
        stage.chapter(
            "Compile the memories",
            "A materialized view keeps what the model makes of the rows: its KV cache.",
        )
        stage.show(
            connection,
            "CREATE MATERIALIZED VIEW alice_diary AS\n"
            f"SELECT content FROM memories WHERE {_DIARY}\nMATERIALIZE AS ACTIVATION",
            bar=True,
        )
        tokens, compiled = _compiled(connection)
        stage.check("tokens compiled", tokens, compiled)
        self.view_tokens = compiled

    def answer_from_activation(self, connection: Connection) -> None:
        """Ask again with the memories as an activation."""
        stage = self.stage
        stage.chapter(
            "The same answer from the activation",
            "The view is a named query. What was compiled is loaded, and only the question is "
            "computed.",
        )
        statement = f"SELECT generate('{_EAT}') FROM alice_diary"
        answer = stage.answer(connection, statement)
        stage.check("the answer", _PEANUTS, str(answer))
        stage.check("tokens computed", 0, answer.computed_tokens)
        runs = [_first_token(_ask(connection, statement)) for _ in range(_RUNS)]
        saving = self._save("asked again", connection, _EAT, answer, statistics.median(runs))
        stage.say(
            f"Time to the first token, median of {_RUNS} runs: "
            f"{saving.text_seconds * 1000:.1f} ms from text, "
            f"{saving.activation_seconds * 1000:.1f} ms from the activation."
        )

    def extend(self, connection: Connection) -> None:
        """Add a memory to the view."""
        stage = self.stage
        stage.chapter(
            "A new memory extends the view",
            "It comes last, so everything before it is reused and only its own tokens are "
            "computed.",
        )
        stage.show(
            connection,
            "INSERT INTO memories (owner, kind, content, importance, tags)\n"
            f"VALUES ('alice', 'health', '{_SESAME}', 0.9, ['food'])",
        )
        tokens, compiled = _compiled(connection)
        answer = stage.answer(connection, f"SELECT generate('{_ALLERGY}') FROM alice_diary")
        stage.check("the answer", _SESAME, str(answer))
        stage.check("tokens reused, all that were compiled", compiled, answer.reused_tokens)
        stage.check("tokens computed, the new ones", tokens - compiled, answer.computed_tokens)
        self._save("after a new memory", connection, _ALLERGY, answer, None)

    def update(self, connection: Connection) -> None:
        """Change a memory of the view."""
        stage = self.stage
        stage.chapter(
            "An update is seen by the next answer",
            "Text is the source of truth. The row's old tensors are out of reach at once.",
        )
        stage.show(
            connection,
            f"UPDATE memories SET content = '{_WALNUTS}'\n"
            f"WHERE owner = 'alice' AND content = '{_PEANUTS}'",
        )
        tokens, compiled = _compiled(connection)
        answer = stage.answer(connection, f"SELECT generate('{_EAT}') FROM alice_diary")
        stage.check("the answer", _WALNUTS, str(answer))
        stage.check("tokens reused, those before the row", compiled, answer.reused_tokens)
        stage.check("tokens computed, from the row on", tokens - compiled, answer.computed_tokens)
        self._save("after an update", connection, _EAT, answer, None)

    def reopened(self, connection: Connection) -> None:
        """Ask after the store was opened again."""
        stage = self.stage
        stage.chapter(
            "Open the store again", "It was closed and opened. What was compiled is still there."
        )
        answer = stage.answer(connection, f"SELECT generate('{_EAT}') FROM alice_diary")
        stage.check("the answer", _WALNUTS, str(answer))
        stage.check("tokens computed", 0, answer.computed_tokens)
        self._save("after reopening", connection, _EAT, answer, None)

    def groups(self, connection: Connection) -> None:
        """Ask for each owner."""
        stage = self.stage
        stage.chapter(
            "An answer for each group", "generate is an aggregate: one answer for each owner."
        )
        rows = stage.show(
            connection,
            "SELECT owner, generate('Where does ' || upper(left(owner, 1)) || substr(owner, 2)\n"
            "    || ' live?') AS home\n"
            "FROM memories WHERE kind = 'home' GROUP BY owner ORDER BY owner",
        )
        told = connection.execute(
            "SELECT owner, content FROM memories WHERE content LIKE '% lives in %' ORDER BY owner"
        ).fetchall()
        right = sum(row == memory for row, memory in zip(rows, told, strict=True))
        stage.check("answers that are what the memory says", len(told), right)

    def _save(
        self,
        occasion: str,
        connection: Connection,
        question: str,
        answer: Answer,
        seconds: float | None,
    ) -> Saving:
        """Note what an answer from the activation took, beside the same answer from text."""
        statement = f"SELECT generate('{question}') FROM alice_diary MATERIALIZE AS PLAINTEXT"
        texts = [_ask(connection, statement) for _ in range(_RUNS)]
        if seconds is None:
            self.stage.check("the same answer from text", str(answer), str(texts[0]))
        saving = Saving(
            occasion,
            answer.tokens,
            answer.reused_tokens or 0,
            answer.tokens if answer.computed_tokens is None else answer.computed_tokens,
            statistics.median(map(_first_token, texts)),
            _first_token(answer) if seconds is None else seconds,
        )
        self.stage.savings.append(saving)
        return saving


def _first_token(answer: Answer) -> float:
    assert answer.first_token_seconds is not None  # all memories of the tour are the tourist's
    return answer.first_token_seconds


def _ask(connection: Connection, statement: str) -> Answer:
    row = connection.execute(statement).fetchone()
    assert row is not None and isinstance(row[0], Answer)
    return row[0]


def _compiled(connection: Connection) -> tuple[int, int]:
    """Return the tokens of the demo's view, and how many of them are compiled."""
    cursor = connection.execute("SHOW MATERIALIZED VIEWS")
    names = [column[0] for column in cursor.description or ()]
    (row,) = cursor.fetchall()
    view = dict(zip(names, row, strict=True))
    return int(view["tokens"]), int(view["compiled_tokens"])


@contextmanager
def _waiting(console: Console, what: str) -> Iterator[None]:
    """Show on a terminal that something takes a while."""
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


def _write_savings(stage: Stage, compiled_tokens: int) -> None:
    console = stage.console
    stage.chapter(
        "What was reused and saved",
        "Tokens of Alice's diary that went through the model, and the time to the first token. "
        "What was computed is written to disk after the answer, for the next time.",
    )
    console.print()
    numbers = ("memory tokens", "reused", "computed", "computed as text", "first token", "as text")
    table = grid(["alice_diary", *numbers], plain=not console.is_terminal)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("compiled once", f"{compiled_tokens:,}", "0", f"{compiled_tokens:,}", "", "", "")
    for one in stage.savings:
        table.add_row(
            one.occasion,
            f"{one.tokens:,}",
            f"{one.reused_tokens:,}",
            f"{one.computed_tokens:,}",
            f"{one.tokens:,}",
            f"{one.activation_seconds * 1000:.1f} ms",
            f"{one.text_seconds * 1000:.1f} ms",
        )
    reused = sum(one.reused_tokens for one in stage.savings)
    computed = compiled_tokens + sum(one.computed_tokens for one in stage.savings)
    as_text = sum(one.tokens for one in stage.savings)
    table.add_section()
    table.add_row(
        "together",
        "",
        f"{reused:,}",
        f"{computed:,}",
        f"{as_text:,}",
        f"{sum(one.activation_seconds for one in stage.savings) * 1000:.1f} ms",
        f"{sum(one.text_seconds for one in stage.savings) * 1000:.1f} ms",
    )
    print_grid(console, table)
    share = 1 - computed / as_text
    stage.say(
        f"{as_text - computed:,} of {as_text:,} tokens ({share:.0%}) never went through the "
        "model, compiling included."
    )
