"""Answers, prompts and activations: what they tell of themselves, in a terminal and a page."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from IPython.lib.pretty import pretty

import memql

QUESTION = "Where does Alice live?"


@pytest.fixture
def con() -> Iterator[memql.Connection]:
    with memql.connect() as one:
        one.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
        yield one


def first(con: memql.Connection, query: str) -> Any:
    row = con.execute(query).fetchone()
    assert row is not None
    return row[0]


class Reader(HTMLParser):
    """Reads a page: its text, and the tags that are open at its end."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_an_answer_is_a_text_that_tells_what_it_took(con: memql.Connection) -> None:
    answer = first(con, f"SELECT generate('{QUESTION}') FROM memories")
    assert repr(answer) == repr("Alice lives in Lisbon.")
    assert pretty(answer).splitlines()[0] == "Alice lives in Lisbon."
    assert pretty(answer).splitlines()[1].startswith("(PLAINTEXT for tiny: 14 tokens = 0 reused")
    page = Reader(answer._repr_html_())
    assert page.text.startswith("Alice lives in Lisbon.") and not page.open
    assert "14 computed" in page.text


def test_what_another_owner_has_asked_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "s.memql"
    with memql.connect(path) as con:
        con.execute("CREATE USER root PASSWORD 'r' SUPERUSER")
    with memql.connect(path, user="root", password="r") as con:
        con.execute("CREATE USER ann PASSWORD 'a'")
        con.execute("CREATE USER bob PASSWORD 'b'")
    with memql.connect(path, user="ann", password="a") as ann:
        ann.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
        ann.execute("GRANT READ ON MEMORIES TO bob")
    with memql.connect(path, user="bob", password="b") as bob:
        answer = first(bob, f"SELECT generate('{QUESTION}') FROM memories")
        assert answer.reused_tokens is None
        assert "what was reused is not told" in answer.taken
        assert "linear-gradient" not in answer._repr_html_()
        activation = first(bob, "SELECT content FROM memories MATERIALIZE AS ACTIVATION")
        assert "reused" not in activation._repr_html_()


def test_a_prompt_shows_its_text(con: memql.Connection) -> None:
    prompt = first(con, "SELECT content FROM memories MATERIALIZE AS PLAINTEXT")
    assert repr(prompt) == "<Prompt of 1 row, 14 tokens for tiny>"
    assert pretty(prompt).splitlines()[-1] == "- Alice lives in Lisbon."
    page = Reader(prompt._repr_html_())
    assert page.text.endswith("- Alice lives in Lisbon.") and not page.open
    assert prompt.messages() == [{"role": "system", "content": prompt.text}]
    assert prompt.messages(QUESTION)[1:] == [{"role": "user", "content": QUESTION}]


def test_a_long_prompt_is_cut_and_says_so() -> None:
    with memql.connect() as con:
        con.executemany("INSERT INTO memories (content) VALUES (?)", [[f"m{n}"] for n in range(50)])
        prompt = first(con, "SELECT content FROM memories MATERIALIZE AS PLAINTEXT")
        lines = prompt.text.splitlines()
        cut = f"... {len(lines) - 40} more lines; .text has them all"
        assert len(lines) > 50
        assert pretty(prompt).splitlines()[-1] == cut
        assert Reader(prompt._repr_html_()).text.splitlines()[-1] == cut


def test_an_activation_tells_what_was_loaded(con: memql.Connection) -> None:
    query = "SELECT content FROM memories MATERIALIZE AS ACTIVATION"
    first(con, query)
    con.execute("INSERT INTO memories (content) VALUES ('Alice works as a nurse.')")
    activation = first(con, query)
    assert repr(activation) == f"<Activation {activation.id[:12]} of 22 tokens for tiny>"
    page = Reader(activation._repr_html_())
    assert not page.open
    assert "reused14" in page.text and "computed8" in page.text and "bytes84,480" in page.text
    assert "14 tokens loaded, 8 computed" in activation._repr_html_()


def test_a_memory_writes_nothing_into_the_page_or_the_terminal() -> None:
    with memql.connect() as con:
        con.execute("INSERT INTO memories (content) VALUES (?)", ["<script>1</script> \x1b[31m"])
        prompt = first(con, "SELECT content FROM memories MATERIALIZE AS PLAINTEXT")
        assert Reader(prompt._repr_html_()).tags == ["div", "small", "pre"]
        assert "\x1b" not in pretty(prompt) and "\\x1b[31m" in pretty(prompt)
