"""The docs: every example of README.md and docs/ runs, and every statement has one.

How a page is written:

* ```` ```sql ```` blocks hold statements that end with ``;``. ``-- => a | b`` behind a statement is
  a row that it must give, ``-- error: text`` the beginning of the error that it must raise. All
  run against one store in memory for each page.
* ```` ```python ```` blocks run in the order of the page, in one namespace.
* ```` ```output ```` is what the block before it prints; times, ids and keys may differ, and
  ``...`` stands for anything.
* ```` ```sh ````, ```` ```text ```` and ```` ```json ```` blocks are only read.
"""

from __future__ import annotations

import argparse
import contextlib
import doctest
import importlib
import io
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

import memql
from memql import dialect, parser
from memql.cli.arguments import argument_parser
from memql.dialect.roles import ROLE_OPTIONS
from memql.engine import syntax
from memql.engine.bind.options import GENERATE_OPTIONS, MATERIALIZE_OPTIONS
from memql.engine.govern.listing import (
    AUDIT_COLUMNS,
    GRANT_COLUMNS,
    POLICY_COLUMNS,
    ROLE_COLUMNS,
    USER_COLUMNS,
)
from memql.engine.model.families import EXACT_FAMILIES
from memql.engine.model.spec import DTYPE_BYTES
from memql.engine.model.spec import OPTIONS as MODEL_OPTIONS
from memql.engine.models import MODEL_COLUMNS
from memql.engine.optimize import RULE_NAMES
from memql.engine.run.executor import MATERIALIZE_COLUMNS
from memql.engine.run.views import VIEW_COLUMNS
from memql.storage.schema import MEMORY_COLUMNS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
TOP_PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = sorted([*TOP_PAGES, *ROOT.glob("docs/**/*.md")])
READ_ONLY = ("sh", "text", "json")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text and the number of its first line."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Statement:
    """A statement of an sql block with what the page says of its result."""

    text: str
    rows: tuple[str, ...]
    error: str | None


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def blocks_of(page: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    blocks: list[Block] = []
    language: str | None = None
    start, lines = 0, list[str]()
    for number, line in enumerate(page.splitlines(), start=1):
        if line.startswith("```") and language is None:
            language, start, lines = line[3:].strip(), number + 1, []
        elif line.startswith("```"):
            blocks.append(Block(language or "", "\n".join(lines) + "\n", start))
            language = None
        elif language is not None:
            lines.append(line)
    assert language is None, f"the block in line {start - 1} has no end"
    return blocks


def statements_of(block: str) -> list[Statement]:
    """Return the statements of an sql block."""
    found: list[Statement] = []
    lines: list[str] = []
    for line in block.splitlines():
        expected = re.match(r"-- (=>|error:) ?(.*)", line)
        if expected is not None:
            assert found and not lines, f"no statement ends before {line!r}"
            last = found[-1]
            if expected[1] == "=>":
                found[-1] = Statement(last.text, (*last.rows, expected[2]), last.error)
            else:
                found[-1] = Statement(last.text, last.rows, expected[2])
        elif line.strip():
            lines.append(line)
            if line.rstrip().endswith(";"):
                found.append(Statement("\n".join(lines).rstrip()[:-1], (), None))
                lines = []
    assert not lines, f"no ; ends the statement {lines}"
    return found


def shown(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return "[" + ", ".join(shown(one) for one in value) + "]"
    return str(value)


def run_sql(con: memql.Connection, block: Block) -> str:
    """Run an sql block and return the rows of its last statement as text."""
    rows: list[str] = []
    for statement in statements_of(block.text):
        if statement.error is not None:
            with pytest.raises(memql.Error) as raised:
                con.execute(statement.text)
            assert raised.value.message.startswith(statement.error)
            continue
        cursor = con.execute(statement.text)
        fetched = cursor.fetchall() if cursor.description else []
        rows = [" | ".join(map(shown, row)) for row in fetched]
        if statement.rows:
            assert tuple(rows) == statement.rows, statement.text
    return "\n".join(rows) + "\n"


def run_python(name: str, block: Block, namespace: dict[str, object]) -> str:
    """Run a python block, a doctest or plain code, and return what it prints."""
    if block.text.startswith(">>>"):
        test = doctest.DocTestParser().get_doctest(
            block.text, namespace, name, name, block.line - 1
        )
        report = io.StringIO()
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(
            test, out=report.write, clear_globs=False
        )
        assert not result.failed, report.getvalue()
        namespace.update(test.globs)
        return ""
    # Empty lines before it, so that a traceback names the line of the page.
    code = compile("\n" * (block.line - 1) + block.text, name, "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, namespace)
    return printed.getvalue()


def masked(text: str) -> str:
    """Return a text without what differs from run to run: times, ids and keys."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<id>", text)
    text = re.sub(r"\b[0-9.,]+ (ms|s|seconds)\b", r"<time> \1", text)
    text = re.sub(r"(boundary: |Activation )[0-9a-f]{12}\b", r"\1<key>", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def same(printed: str, expected: str) -> bool:
    """Tell whether a block printed what the page says; ``...`` stands for anything."""
    return doctest.OutputChecker().check_output(
        masked(expected) + "\n", masked(printed) + "\n", doctest.ELLIPSIS
    )


def run_page(name: str, page: str) -> None:
    """Run all examples of a page."""
    namespace: dict[str, object] = {"__name__": name}
    printed = ""
    with memql.connect(":memory:") as con:
        for block in blocks_of(page):
            place = f"{name}, line {block.line}"
            if block.language == "sql":
                printed = run_sql(con, block)
            elif block.language == "python":
                printed = run_python(name, block, namespace)
            elif block.language == "output":
                assert same(printed, block.text), f"{place}: printed was\n{printed}"
            else:
                assert block.language in READ_ONLY, f"{place}: {block.language!r}"


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_every_example_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(page_id(path), path.read_text("utf-8"))


@pytest.mark.parametrize(
    "page",
    [
        "```sql\nSELECT 1;\n-- => 2\n```",
        "```sql\nSELECT 1;\n-- => 1\n-- => 1\n```",
        "```sql\nSELECT 1;\n-- error: unknown\n```",
        "```sql\nSELCT 1;\n```",
        "```sql\nSELECT 1\n```",
        "```python\nassert 1 == 2\n```",
        "```python\n>>> 1 + 1\n3\n```",
        "```python\nprint(1)\n```\n```output\n2\n```",
        "```pyton\nprint(1)\n```",
        "```sql\nSELECT 1;\n",
    ],
)
def test_a_wrong_example_is_noticed(page: str) -> None:
    with pytest.raises((AssertionError, memql.Error, pytest.fail.Exception)):
        run_page("page", page)


def test_the_pages_are_there() -> None:
    names = {page_id(path) for path in PAGES}
    expected = (
        "index language memories activations architecture explain python errors cli jupyter stores "
        "models benchmarks tiny"
    )
    assert {f"docs/{name}.md" for name in expected.split()} <= names
    assert sum(name.startswith("docs/decisions/") for name in names) >= 6


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere(path: Path) -> None:
    broken = [
        target
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8"))
        if not target.startswith(("http://", "https://")) and not _exists(path, target)
    ]
    assert not broken


def _exists(page: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    linked = (page.parent / name).resolve() if name else page
    if not linked.exists() or not anchor:
        return linked.exists()
    titles = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), flags=re.MULTILINE)
    return anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_the_index() -> None:
    index = read("docs/index.md")
    missing = [
        name
        for path in ROOT.glob("docs/**/*.md")
        if (name := path.relative_to(ROOT / "docs").as_posix()) != "index.md"
        and f"({name})" not in index
    ]
    assert not missing


# -- nothing of the language is left out -------------------------------------------------------


def kinds_shown(page: str) -> set[type[object]]:
    """Return the classes of all nodes in the statements of a page's sql blocks."""
    kinds: set[type[object]] = set()
    for block in blocks_of(page):
        if block.language != "sql":
            continue
        for statement in statements_of(block.text):
            # A form that is refused is shown all the same; a text that is no statement is not.
            with contextlib.suppress(memql.Error):
                for node in parser.parse(statement.text).walk():
                    kinds.update(type(node).__mro__)
    return kinds


def undocumented_statements(page: str) -> list[str]:
    shown_kinds = kinds_shown(page)
    return [kind.__name__ for kind in parser._STATEMENTS if kind not in shown_kinds]


def test_every_statement_has_an_example() -> None:
    assert not undocumented_statements(read("docs/language.md"))


def test_every_node_of_the_dialect_has_an_example() -> None:
    nodes = {
        value
        for value in vars(syntax).values()
        if isinstance(value, type) and value.__module__ == syntax.__name__
    }
    assert len(nodes) >= 10
    assert not nodes - kinds_shown(read("docs/language.md"))


def test_a_statement_without_an_example_is_noticed() -> None:
    page = re.sub("^SHOW [A-Z].*;$", "SELECT 1;", read("docs/language.md"), flags=re.MULTILINE)
    assert undocumented_statements(page) == ["ShowCatalog"]


def unnamed(names: Iterable[str], page: str) -> list[str]:
    """Return the names that do not stand in a page between backticks."""
    prose = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    code = "\n".join(
        [*re.findall(r"`([^`\n]+)`", prose), *(block.text for block in blocks_of(page))]
    )
    return [name for name in names if not re.search(rf"\b{re.escape(name)}\b", code)]


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("docs/language.md", syntax.FORMS),
        ("docs/language.md", dialect.SHOW_KINDS),
        ("docs/language.md", [words for words in dialect.STATEMENTS if "OR REPLACE" not in words]),
        ("docs/language.md", dialect.EXPLAIN_OPTIONS),
        ("docs/language.md", GENERATE_OPTIONS),
        ("docs/language.md", MATERIALIZE_OPTIONS),
        ("docs/language.md", [name for name, _ in MATERIALIZE_COLUMNS]),
        ("docs/language.md", VIEW_COLUMNS),
        ("docs/language.md", MODEL_COLUMNS),
        ("docs/governance.md", [*USER_COLUMNS, *ROLE_COLUMNS, *GRANT_COLUMNS]),
        ("docs/governance.md", [*POLICY_COLUMNS, *AUDIT_COLUMNS]),
        ("docs/governance.md", [*syntax.PRIVILEGES, *syntax.TABLE_PRIVILEGES]),
        ("docs/governance.md", [*ROLE_OPTIONS, *syntax.POLICY_COMMANDS]),
        ("docs/models.md", MODEL_OPTIONS),
        ("docs/models.md", DTYPE_BYTES),
        ("docs/models.md", EXACT_FAMILIES),
        ("docs/explain.md", list(RULE_NAMES)),
        ("docs/python.md", [name for name in memql.__all__ if name != "Cursor"]),
        ("docs/python.md", [*memql.Answer.__annotations__]),
    ],
)
def test_every_name_is_documented(page: str, names: Iterable[str]) -> None:
    assert not unnamed(names, read(page))


def test_an_undocumented_name_is_noticed() -> None:
    assert unnamed(["reuse_tokens"], read("docs/language.md")) == ["reuse_tokens"]


def test_every_column_of_memories_is_documented_with_its_type() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([A-Z\[\]]+) \|", read("docs/memories.md"), re.MULTILINE)
    assert tuple(rows) == MEMORY_COLUMNS


def test_everything_that_explain_prints_is_documented() -> None:
    with memql.connect(":memory:") as con:
        con.execute("INSERT INTO memories (content) VALUES ('Alice likes tea.')")
        for form in ("ACTIVATION", "PLAINTEXT"):
            query = f"SELECT generate('What?') FROM memories MATERIALIZE AS {form}"
            lines = [row[0] for row in con.execute(f"EXPLAIN ANALYZE {query}").fetchall()]
            names = {match[1] for line in lines if (match := re.search(r"(\w+): ", line))}
            assert {"reused_tokens", "computed_tokens"} <= names
            assert not unnamed(names, read("docs/explain.md"))


# -- the command line --------------------------------------------------------------------------


def commands_of(page: str) -> list[list[str]]:
    """Return the arguments of each call of memql in a page's sh blocks."""
    lines = [
        line
        for block in blocks_of(page)
        if block.language == "sh"
        for line in block.text.splitlines()
    ]
    calls = []
    for line in lines:
        words = shlex.split(line, comments=True)
        if "memql" in words:
            call = words[words.index("memql") + 1 :]
            ends = [number for number, word in enumerate(call) if word in ("<", ">", "|")]
            calls.append(call[: ends[0]] if ends else call)
    return calls


@pytest.mark.parametrize("name", ["README.md", "docs/cli.md"])
def test_commands_have_right_arguments(name: str) -> None:
    calls = commands_of(read(name))
    assert len(calls) >= 4
    for call in calls:
        given = argument_parser().parse_args(call)
        if given.command == "query" and given.statement != "-":
            parser.parse(given.statement)


def test_every_option_of_the_command_line_is_documented() -> None:
    help_texts = [argument_parser().format_help()]
    for action in argument_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            help_texts.extend(one.format_help() for one in action.choices.values())
    options = {name for text in help_texts for name in re.findall(r"(?<![\w-])--[a-z]+", text)}
    assert {"--user", "--model", "--format"} <= options
    page = read("docs/cli.md")
    assert not [name for name in options if f"{name}" not in page]


# -- docstrings --------------------------------------------------------------------------------


def modules_with_doctests() -> list[str]:
    found = []
    for folder in ("memql", "engine", "storage"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            inside = path.relative_to(ROOT).with_suffix("")
            if (
                folder == "memql"
                and len(inside.parts) > 1
                and inside.parts[1]
                in (
                    "engine",
                    "storage",
                )
            ):
                continue
            if ">>> " in path.read_text("utf-8"):
                name = ".".join(inside.parts).removesuffix(".__init__")
                found.append(name if folder == "memql" else f"memql.{name}")
    return found


@pytest.mark.parametrize("name", modules_with_doctests())
def test_doctests(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted
    assert not result.failed
