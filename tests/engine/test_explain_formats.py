"""EXPLAIN as mermaid and as a page: the same plan, drawn, and nothing of a text gets out of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest

import memql

HOSTILE = (
    '</pre><script>alert(1)</script><img src=\'http://x/\'> "]; click n0 "http://x" %%{init}%%'
)
QUERY = "SELECT owner, generate('Where does Bob live?') AS answer FROM memories GROUP BY owner"


@pytest.fixture
def con() -> Iterator[memql.Connection]:
    with memql.connect() as one:
        one.executemany(
            "INSERT INTO memories (owner, content) VALUES (?, ?)",
            [["ann", "Bob lives in Oslo."], ["ann", HOSTILE], ["cy", "Bob lives in Rome."]],
        )
        one.execute(
            "SELECT content FROM memories WHERE owner = 'cy' MATERIALIZE AS ACTIVATION"
        ).fetchall()
        yield one


def lines(con: memql.Connection, options: str, query: str = QUERY) -> list[str]:
    return [line for (line,) in con.execute(f"EXPLAIN {options} {query}").fetchall()]


def operators(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [document, *(one for child in document["inputs"] for one in operators(child))]


class Page(HTMLParser):
    """Reads a page: what it shows, its elements with their attributes, and that all are closed."""

    VOID = ("meta", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.shown: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"] and data.strip():
            self.shown.append(data.strip())


def outside(text: str) -> list[str]:
    """Return what a page would load, run or lead to."""
    page = Page(text)
    found = [tag for tag, _ in page.elements if tag in ("script", "img", "link", "iframe", "a")]
    for _, attributes in page.elements:
        found += [name for name in attributes if name in ("src", "href") or name.startswith("on")]
        found += [value for value in attributes.values() if value and "url(" in value]
    styles = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    return found + re.findall(r"url\(|@import", styles)


def test_the_page_shows_the_operators_of_the_plan(con: memql.Connection) -> None:
    (document,) = lines(con, "(FORMAT json, COSTS off)")
    (text,) = lines(con, "(FORMAT html, COSTS off)")
    page = Page(text)
    told = operators(json.loads(document))
    heads = [name for name in page.shown if name in {one["operator"] for one in told}]
    assert heads == [one["operator"] for one in told]
    assert heads == ["Finish", "Generate", "Prompt", "Prompt", "Relation"]
    for one in told:
        for name in set(one) - {"operator", "inputs", "tokens", "reused_tokens", "computed_tokens"}:
            assert name in page.shown or name == "rows"
    # In each run the groups come in an order of its own.
    bars = sorted(told for told in page.shown if told.endswith("tokens loaded"))
    prompts = [one for one in told if "reason" in one]
    assert bars == sorted(f"{one['reused_tokens']:,} tokens loaded" for one in prompts)


def test_the_sums_are_those_of_the_prompts(con: memql.Connection) -> None:
    (document,) = lines(con, "(FORMAT json)", f"{QUERY} MATERIALIZE AS ACTIVATION")
    (text,) = lines(con, "(FORMAT html)", f"{QUERY} MATERIALIZE AS ACTIVATION")
    prompts = [one for one in operators(json.loads(document)) if one["operator"] == "Prompt"]
    whole, reused, computed = (
        sum(one[name] for one in prompts) for name in ("tokens", "reused_tokens", "computed_tokens")
    )
    assert 0 < reused < whole
    shown = Page(text).shown
    at = shown.index("tokens of memories")
    assert shown[at - 1 : at + 7] == [
        *(f"{whole:,}", "tokens of memories", f"{reused:,}", "loaded", f"{computed:,}"),
        *("to compute", f"{round(100 * reused / whole)}%", "reuse"),
    ]


def test_costs_are_drawn_only_if_asked_for(con: memql.Connection) -> None:
    (with_costs,) = lines(con, "ANALYZE (FORMAT html)")
    (without,) = lines(con, "ANALYZE (FORMAT html, COSTS off)")
    assert 'class="time"' in with_costs and "first_token_seconds" in with_costs
    assert 'class="time"' not in without and "seconds" not in without


def test_the_page_stands_alone(con: memql.Connection) -> None:
    query = QUERY.replace("Where does Bob live?", HOSTILE.replace("'", "''"))
    (text,) = lines(con, "ANALYZE (FORMAT html)", f"{query} MATERIALIZE AS ACTIVATION")
    assert text.startswith("<!DOCTYPE html>")
    assert outside(text) == []
    assert "default-src 'none'" in text
    assert any(HOSTILE[:20] in told for told in Page(text).shown)


@pytest.mark.parametrize(
    "harm",
    ["<script></script>", "<img src='x'>", "<b onclick='x'></b>", "<style>@import 'x'</style>"],
)
def test_what_does_not_stand_alone_is_noticed(con: memql.Connection, harm: str) -> None:
    (text,) = lines(con, "(FORMAT html)")
    assert outside(text.replace("<h2>", f"{harm}<h2>", 1))


_NODE = re.compile(r'^    (n[0-9_]+)\["((?:[^"\[\]{}<>`;%]|<br/>|</?b>|#\d+;)*)"\](:::reused)?$')
_EDGE = re.compile(r'^    (n[0-9_]+) -->(\|"[\d,]+ rows"\|)? (n[0-9_]+)$')


def test_mermaid_has_a_box_for_each_operator(con: memql.Connection) -> None:
    query = f"{QUERY} MATERIALIZE AS ACTIVATION"
    (document,) = lines(con, "(FORMAT json, COSTS off)", query)
    first, *rest = lines(con, "(FORMAT mermaid, COSTS off)", query)
    assert first == "flowchart BT"
    nodes = [match for line in rest if (match := _NODE.match(line))]
    edges = [match for line in rest if (match := _EDGE.match(line))]
    others = [line for line in rest if not _NODE.match(line) and not _EDGE.match(line)]
    told = operators(json.loads(document))
    assert [re.findall("<b>(.*?)</b>", node[2]) for node in nodes] == [
        [one["operator"]] for one in told
    ]
    assert len(edges) == len(nodes) - 1
    assert {edge[1] for edge in edges} == {node[1] for node in nodes[1:]}
    assert [bool(node[3]) for node in nodes] == [bool(one.get("reused_tokens")) for one in told]
    assert len(others) == 1 and others[0].startswith("    classDef reused")


def test_a_text_stays_inside_its_box(con: memql.Connection) -> None:
    drawn = lines(
        con, "(FORMAT mermaid)", f"{QUERY.replace('Where', HOSTILE.replace(chr(39), ''))}"
    )
    boxes = [line for line in drawn[1:] if not _EDGE.match(line) and "classDef" not in line]
    assert len(boxes) == 5 and all(_NODE.match(line) for line in boxes)
    assert any("script" in line for line in boxes)
    assert not _NODE.match('    n0["a"]; click n0 "http://x"')


def test_a_change_is_drawn_too(con: memql.Connection) -> None:
    change = "DELETE FROM memories WHERE owner = 'cy'"
    (text,) = lines(con, "(FORMAT html)", change)
    assert {"Delete", "rows from"} <= set(Page(text).shown)
    assert "tokens of memories" not in text
    assert lines(con, "(FORMAT mermaid)", change)[1].startswith('    n0["<b>Delete</b><br/>policy')
