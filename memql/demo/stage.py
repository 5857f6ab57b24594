"""Shows statements with their results, and keeps what was checked and saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memql.cli.output import changed, write_rows
from memql.cli.progress import Bar
from memql.connection import Connection
from memql.values import Answer

if TYPE_CHECKING:
    from rich.console import Console


# What a lexer of plain SQL does not know.
_OWN_WORDS = ("MATERIALIZED", "MATERIALIZE", "ACTIVATION", "PLAINTEXT", "EXPLAIN", "generate")


@dataclass(frozen=True)
class Saving:
    """What one answer took from an activation, and what it takes from text.

    Args:
        occasion: when it was asked.
        tokens: tokens of the memories, which text computes every time.
        reused_tokens: tokens that were loaded.
        computed_tokens: tokens that went through the model.
        text_seconds: time to the first token from text.
        activation_seconds: time to the first token from the activation.
    """

    occasion: str
    tokens: int
    reused_tokens: int
    computed_tokens: int
    text_seconds: float
    activation_seconds: float


class Stage:
    """Where the tour is shown.

    Args:
        console: where it is written.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.savings: list[Saving] = []
        self.mistakes: list[str] = []
        self._chapters = 0

    def chapter(self, title: str, text: str) -> None:
        """Begin a part of the tour."""
        from rich.text import Text

        self._chapters += 1
        self.console.print()
        heading = f"{self._chapters}. {title}"
        self.console.print(Text(heading, style="bold cyan"))
        if not self.console.is_terminal:
            self.console.print("-" * len(heading))
        self.say(text)

    def say(self, text: str) -> None:
        """Write a sentence."""
        from rich.text import Text

        plain = not self.console.is_terminal
        self.console.print(Text(text, style="" if plain else "dim"), soft_wrap=plain)

    def show(
        self, connection: Connection, statement: str, *, bar: bool = False
    ) -> list[tuple[Any, ...]]:
        """Show a statement, run it, show its result and return its rows.

        Args:
            connection: where it runs.
            statement: MemQL.
            bar: show a bar while the model computes; its drawing would count in timed answers.
        """
        self._write_statement(statement)
        with Bar(self.console, "computing", "tokens", keep=True) as progress:
            connection.progress = progress.report if bar else None
            cursor = connection.execute(statement)
            connection.progress = None
        description = cursor.description
        if description is None:
            self.say(changed(cursor.rowcount))
            return []
        rows = cursor.fetchall()
        write_rows(description, rows, self.console)
        answers = [value for row in rows for value in row if isinstance(value, Answer)]
        if len(answers) == 1:
            self.say(answers[0].taken)
        return rows

    def answer(self, connection: Connection, statement: str) -> Answer:
        """Show a statement that gives one answer, and return the answer."""
        ((value,),) = self.show(connection, statement)
        if not isinstance(value, Answer):
            self.check("an answer", "one", value)
            raise AssertionError(f"the demo asks for an answer and got {value!r}")
        return value

    def check(self, what: str, expected: object, found: object) -> None:
        """Compare what was found with what must be, and say so."""
        from rich.text import Text

        if expected == found:
            line, style = f"checked: {what}: {_shown(found)}", "green"
        else:
            line = f"WRONG: {what}: expected {_shown(expected)}, found {_shown(found)}"
            style = "bold red"
            self.mistakes.append(line)
        self.console.print(Text(line, style=style), soft_wrap=True)

    def _write_statement(self, statement: str) -> None:
        self.console.print()
        lines = statement.splitlines()
        lead = ["memql> ", *["       "] * (len(lines) - 1)]
        if not self.console.is_terminal:
            for head, line in zip(lead, lines, strict=True):
                self.console.print(f"{head}{line}", soft_wrap=True)
            return
        from rich.syntax import Syntax
        from rich.text import Text

        syntax = Syntax("", "sql", theme="ansi_dark", background_color="default")
        for head, line in zip(lead, lines, strict=True):
            code = syntax.highlight(line)
            code.rstrip()
            code.highlight_words(_OWN_WORDS, "bright_magenta")
            self.console.print(Text(head, style="bold").append_text(code), soft_wrap=True)


def _shown(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
