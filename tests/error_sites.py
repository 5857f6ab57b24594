"""Where MemQL makes its errors, and which of these places a run of the tests reached.

A site is a call in memql/, engine/ or storage/ that makes an error, that raises what a function
made, or whose result a function annotated to return an error returns. The scan reads the sites
from the source; the recorder notes them as errors are made. Both name a site by where its call
ends, which CPython keeps for every instruction, so that two calls in one line stay apart.
"""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from hypothesis import currently_in_test_context

import memql
from memql.errors import Error

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("memql", "engine", "storage")


@dataclass(frozen=True)
class Place:
    """Where a call ends: its file below the root, its last line and its last column."""

    path: str
    end_line: int
    end_column: int


@dataclass(frozen=True)
class Site:
    """A call that makes an error, or raises one that a function made."""

    place: Place
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.place.path}:{self.line}: {self.text}"


@dataclass(frozen=True)
class ErrorNames:
    """The names of all error classes, and of the functions that return an error."""

    classes: frozenset[str]
    factories: frozenset[str]


def trees_of(root: Path = ROOT) -> dict[str, ast.Module]:
    """Return the syntax tree of every source file by its path; symlinks are not followed."""
    return {
        path.relative_to(root).as_posix(): ast.parse(path.read_text("utf-8"))
        for folder in FOLDERS
        for path in sorted((root / folder).rglob("*.py"))
        if not any(part.is_symlink() for part in path.parents)
    }


def names_in(trees: Iterable[ast.Module]) -> ErrorNames:
    """Return the error classes, found by their bases, and the functions that return one."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    bases = {
        node.name: {_last(base) for base in node.bases}
        for node in nodes
        if isinstance(node, ast.ClassDef)
    }
    classes = {Error.__name__}
    while more := {name for name, above in bases.items() if above & classes} - classes:
        classes |= more
    factories = {
        node.name
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.returns is not None
        and _last(node.returns) in classes
    }
    return ErrorNames(frozenset(classes), frozenset(factories))


def sites_in(path: str, tree: ast.Module, names: ErrorNames) -> Iterator[Site]:
    """Yield the sites of one file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _last(node.func) in names.classes:
            yield _site(path, node)
        elif isinstance(node, ast.Raise) and _is_made(node.exc):
            assert isinstance(node.exc, ast.Call)
            yield _site(path, node.exc)
        elif isinstance(node, ast.FunctionDef) and node.name in names.factories:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and isinstance(inner.value, ast.Call):
                    yield _site(path, inner.value)


def all_sites() -> set[Site]:
    """Return the sites of all sources."""
    trees = trees_of()
    names = names_in(trees.values())
    return {site for path, tree in trees.items() for site in sites_in(path, tree, names)}


def _is_made(node: ast.expr | None) -> bool:
    """Whether an exception comes from a call of something that is no class by its name."""
    return isinstance(node, ast.Call) and not _last(node.func).lstrip("_")[:1].isupper()


def _site(path: str, call: ast.Call) -> Site:
    assert call.end_lineno is not None and call.end_col_offset is not None
    place = Place(path, call.end_lineno, call.end_col_offset)
    return Site(place, call.lineno, ast.unparse(call)[:100])


def _last(node: ast.expr) -> str:
    """Return the last part of a dotted name, or nothing for another expression."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


class Recorder:
    """Notes where errors are made, from :meth:`start` to :meth:`stop`."""

    def __init__(self) -> None:
        self._factories = names_in(trees_of().values()).factories
        self._reached: set[tuple[CodeType, int]] = set()
        self._original: Any = None

    def start(self) -> None:
        """Begin to note; every error's construction passes here."""
        original = Error.__init__
        self._original = original

        def recorded(error: Error, *args: Any, **kwargs: Any) -> None:
            original(error, *args, **kwargs)
            # What random tests reach differs from run to run, so that it does not count.
            if not currently_in_test_context():
                self._note(error, sys._getframe(1))

        Error.__init__ = recorded  # type: ignore[method-assign, assignment]

    def stop(self) -> None:
        """End to note."""
        Error.__init__ = self._original  # type: ignore[method-assign]

    def places(self) -> set[Place]:
        """Return the places in MemQL's sources that made an error."""
        return {place for code, step in self._reached if (place := _place(code, step)) is not None}

    def _note(self, error: Error, frame: FrameType | None) -> None:
        while frame is not None and frame.f_locals.get("self") is error:
            frame = frame.f_back  # the __init__ of a class below Error
        while frame is not None:
            self._reached.add((frame.f_code, frame.f_lasti))
            if frame.f_code.co_name not in self._factories:
                return
            frame = frame.f_back


def _place(code: CodeType, step: int) -> Place | None:
    path = _path(code.co_filename)
    positions = itertools.islice(code.co_positions(), step // 2, None)
    _, end_line, _, end_column = next(positions)
    if path is None or end_line is None or end_column is None:
        return None
    return Place(path, end_line, end_column)


@cache
def _path(filename: str) -> str | None:
    """Return a source file's path below the root; memql/engine is engine/ by its symlink."""
    resolved = Path(filename).resolve()
    if not resolved.is_relative_to(ROOT):
        return None
    path = resolved.relative_to(ROOT).as_posix()
    return path if path.startswith(tuple(f"{folder}/" for folder in FOLDERS)) else None


assert Path(memql.__file__).resolve().is_relative_to(ROOT), "the tests run their own sources"
