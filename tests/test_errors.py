"""Errors: their codes are documented, and a test reaches every place that makes one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies

import memql
from memql.errors import CODES, Error, OperationalError, Position, ProgrammingError
from memql.storage.nodes import DamagedNode
from tests.conftest import LAST_TEST, pytest_collection_modifyitems
from tests.error_sites import (
    ROOT,
    Place,
    Recorder,
    Site,
    all_sites,
    names_in,
    public_class,
    sites_in,
    trees_of,
)

PAGE = ROOT / "docs" / "errors.md"

# -- codes -------------------------------------------------------------------------------------


def test_a_class_has_a_code_and_a_site_may_choose_another() -> None:
    assert ProgrammingError("no").code == "42000"
    assert ProgrammingError("no", code="42703").code == "42703"
    with pytest.raises(AssertionError, match="the code '4270' of 'no' is not in CODES"):
        ProgrammingError("no", code="4270")


def test_the_code_is_not_in_the_text() -> None:
    error = ProgrammingError(
        "unknown", hint="look", position=Position(1, 8), statement="SELECT x", code="42703"
    )
    assert str(error) == "unknown (line 1, column 8)\n  SELECT x\n         ^\nhint: look"


def test_codes_are_of_five_characters_and_their_names_are_unique() -> None:
    assert all(re.fullmatch("[0-9A-Z]{5}", code) for code in CODES)
    assert all(re.fullmatch("[a-z_]+", name) for name in CODES.values())
    assert len(set(CODES.values())) == len(CODES)
    assert list(CODES) == sorted(CODES)


def codes_in(trees: dict[str, ast.Module]) -> dict[str, str]:
    """Return the codes that the sources use, each with a place.

    A code is a text of a call's ``code`` argument, or any text that is one of CODES; the table
    CODES itself does not count.
    """
    found: dict[str, str] = {}
    for path, tree in trees.items():
        table = {
            id(inside)
            for node in ast.walk(tree)
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "CODES"
            for inside in ast.walk(node)
        }
        given = {
            id(inside)
            for node in ast.walk(tree)
            if isinstance(node, ast.keyword) and node.arg == "code"
            for inside in ast.walk(node.value)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                is_code = node.value in CODES or id(node) in given
                if is_code and id(node) not in table:
                    found[node.value] = f"{path}:{node.lineno}"
    return found


def documented(page: str) -> dict[str, tuple[str, set[str]]]:
    """Return the codes of the page's table, with the name and the classes that it gives."""
    rows = re.findall(r"^\| `(\w{5})` \| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE)
    return {code: (name, set(re.findall(r"`(\w+)`", classes))) for code, name, classes in rows}


def test_every_code_is_documented_and_used() -> None:
    page = documented(PAGE.read_text("utf-8"))
    used = codes_in(trees_of())
    assert {code: name for code, (name, _) in page.items()} == CODES
    assert used.keys() - CODES.keys() == set()
    assert CODES.keys() - used.keys() == set()


def test_documented_classes_are_classes() -> None:
    for code, (_, classes) in documented(PAGE.read_text("utf-8")).items():
        assert classes, code
        for name in classes:
            assert issubclass(getattr(memql, name), Error), code


def test_an_undocumented_and_an_unused_code_are_noticed() -> None:
    source = ast.parse("raise Error('no', code='99999' if odd else '42703')")
    assert set(codes_in({"engine/x.py": source})) == {"99999", "42703"}
    table = ast.parse("CODES: dict[str, str] = {'42703': 'undefined_column'}")
    assert not codes_in({"memql/errors.py": table})
    page = "| `42703` | `undefined_column` | `ProgrammingError`, `DataError` | a column | look |"
    assert documented(page) == {
        "42703": ("undefined_column", {"ProgrammingError", "DataError"}),
    }
    assert not documented("| 42703 | undefined_column | a column |")


# -- sites -------------------------------------------------------------------------------------

SOURCE = """
class Broken(OperationalError):
    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is broken", code="XX001")

def lost(what: str) -> Broken | errors.DataError:
    if what:
        return made(what)
    error = Broken("nothing")
    return error

def check(kind: type[Error]) -> None:
    if kind is Broken: raise Broken("a") if kind else errors.DataError("b")
    raise lost("c") from None
    raise kind("d")
    raise ValueError("e")
    raise AssertionError(lost)
"""


def test_the_scan_finds_every_way_to_make_an_error() -> None:
    tree = ast.parse(SOURCE)
    names = names_in([tree, *trees_of().values()])
    assert [site.text for site in sorted(set(sites_in("engine/x.py", tree, names)), key=order)] == [
        "made(what)",
        "Broken('nothing')",
        "Broken('a')",
        "errors.DataError('b')",
        "lost('c')",
        "kind('d')",
    ]


def order(site: Site) -> tuple[int, int]:
    return site.place.end_line, site.place.end_column


def test_the_scan_reads_the_sources() -> None:
    sites = all_sites()
    paths = {site.place.path for site in sites}
    assert len(sites) > 200
    assert {"memql/parser.py", "engine/names.py", "storage/store.py"} <= paths
    assert len({site.place for site in sites}) == len(sites)


@pytest.fixture
def own_recorder() -> Iterator[Recorder]:
    """A recorder of this test alone."""
    own = Recorder()
    own.start()
    yield own
    own.stop()


def test_the_recorder_notes_the_site_and_no_other(own_recorder: Recorder, tmp_path: Path) -> None:
    with pytest.raises(OperationalError):
        memql.connect(tmp_path / "no" / "store")
    places = own_recorder.places()
    (site,) = (site for site in all_sites() if site.place in places)
    assert own_recorder.made_at() == {site.place}
    assert "there is no folder" in site.text
    assert own_recorder.pairs == {("OperationalError", "58P01")}


def test_the_recorder_notes_who_asked_for_an_error(own_recorder: Recorder) -> None:
    with memql.connect() as con, pytest.raises(ProgrammingError):
        con.execute("DROP MODEL nosuch")
    places = own_recorder.places()
    texts = {site.text.split("(")[0] for site in all_sites() if site.place in places}
    assert texts == {"ProgrammingError", "unknown"}
    assert places > own_recorder.made_at()


def test_random_tests_do_not_count(own_recorder: Recorder, tmp_path: Path) -> None:
    @given(strategies.just(tmp_path / "no" / "store"))
    def connect(store: Path) -> None:
        with pytest.raises(OperationalError):
            memql.connect(store)

    connect()
    assert not own_recorder.places() and not own_recorder.pairs


def test_a_class_below_an_error_counts_as_that(own_recorder: Recorder) -> None:
    assert public_class(DamagedNode) == "OperationalError"
    assert DamagedNode(1, "all of it").code == "XX001"
    # Made here and not in MemQL's sources.
    assert not own_recorder.places() and not own_recorder.pairs


def unreached(sites: Iterable[Site], places: set[Place]) -> list[str]:
    return sorted(str(site) for site in sites if site.place not in places)


def test_a_site_that_was_not_reached_is_noticed() -> None:
    sites = all_sites()
    (left, *_) = sites
    assert unreached(sites, {site.place for site in sites} - {left.place}) == [str(left)]


def test_every_error_is_reached_by_a_test(recorder: Recorder) -> None:
    """Runs last and only with all the other tests: see tests/conftest.py."""
    sites, places = all_sites(), recorder.places()
    never = unreached(sites, places)
    assert not never, "no test reaches these errors:\n" + "\n".join(never)
    unseen = recorder.made_at() - {site.place for site in sites}
    assert not unseen, f"the scan does not see these errors: {unseen}"
    page = documented(PAGE.read_text("utf-8"))
    pairs = {(kind, code) for code, (_, kinds) in page.items() for kind in kinds}
    # What is an Error and no class below it shows another error, such as MagicError.
    odd = {(kind, code) for kind, code in recorder.pairs if kind != "Error"} - pairs
    assert not odd, f"docs/errors.md does not have these classes and codes: {sorted(odd)}"
    assert not pairs - recorder.pairs, f"never raised: {sorted(pairs - recorder.pairs)}"


def test_it_runs_last_and_only_with_all_others() -> None:
    assert LAST_TEST in globals()
    every = sorted((ROOT / "tests").rglob("test_*.py"))
    items = [SimpleNamespace(name=LAST_TEST, path=every[0])]
    items += [SimpleNamespace(name="test_a", path=path) for path in every]
    left: list[Any] = []

    def arranged(given: list[Any], **options: str) -> list[str]:
        hook = SimpleNamespace(pytest_deselected=lambda items: left.extend(items))
        config: Any = SimpleNamespace(hook=hook, getoption=options.get)
        pytest_collection_modifyitems(config, given)
        return [item.name for item in given]

    assert arranged(list(items)) == ["test_a"] * len(every) + [LAST_TEST]
    assert not left
    for part in (arranged(items[:-1]), arranged(list(items), keyword="not slow")):
        assert LAST_TEST not in part
    assert [item.name for item in left] == [LAST_TEST] * 2
