"""Where MemQL makes its errors, and which of these places a run of the tests reached.

A site is a call in memql/, engine/ or storage/ that makes an error, that raises what a function
made, whose result a function annotated to return an error returns, or with which the grammar
refuses a statement. The scan reads the sites from the source; the recorder notes them as errors
are made. Both name a site by where its call ends, which CPython keeps for every instruction, so
that two calls in one line stay apart.
"""

from __future__ import annotations

import ast
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NoReturn

from hypothesis import currently_in_test_context

import memql
from memql.dialect.reader import Reader
from memql.errors import Error

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("memql", "engine", "storage")


MAX_FACTORIES = 4
REFUSALS = frozenset({Reader.fail.__name__, Reader.unsupported.__name__})


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
    # What the grammar calls to refuse a statement; the parser makes MemQL's error of it.
    refusals: frozenset[str] = REFUSALS


@cache
def trees_of() -> dict[str, ast.Module]:
    """Return the syntax tree of every source file by its path; symlinks are not followed."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8"))
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
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
        and _parts(node.returns) <= classes
    }
    return ErrorNames(frozenset(classes), frozenset(factories))


def sites_in(path: str, tree: ast.Module, names: ErrorNames) -> Iterator[Site]:
    """Yield the sites of one file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _last(node.func) in names.classes | names.refusals:
            yield _site(path, node)
        elif isinstance(node, ast.Raise) and _is_made(node.exc):
            assert isinstance(node.exc, ast.Call)
            yield _site(path, node.exc)
        elif isinstance(node, ast.FunctionDef) and node.name in names.factories:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and isinstance(inner.value, ast.Call):
                    yield _site(path, inner.value)


@cache
def all_sites() -> frozenset[Site]:
    """Return the sites of all sources."""
    trees = trees_of()
    names = names_in(trees.values())
    return frozenset(site for path, tree in trees.items() for site in sites_in(path, tree, names))


def _is_made(node: ast.expr | None) -> bool:
    """Whether an exception comes from a call of something that is no class by its name."""
    return isinstance(node, ast.Call) and not _last(node.func).lstrip("_")[:1].isupper()


def _site(path: str, call: ast.Call) -> Site:
    assert call.end_lineno is not None and call.end_col_offset is not None
    place = Place(path, call.end_lineno, call.end_col_offset)
    return Site(place, call.lineno, ast.unparse(call)[:100])


def _parts(annotation: ast.expr) -> set[str]:
    """Return the names of the classes of an annotation such as ``DataError | Error``."""
    if isinstance(annotation, ast.BinOp):
        return _parts(annotation.left) | _parts(annotation.right)
    return {_last(annotation)}


def _last(node: ast.expr) -> str:
    """Return the last part of a dotted name, or nothing for another expression."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


class Recorder:
    """Notes where errors are made, from :meth:`start` to :meth:`stop`."""

    def __init__(self) -> None:
        self._reached: set[tuple[CodeType, int]] = set()
        self._made: set[tuple[CodeType, int]] = set()
        # The public class and the code of each error that was made.
        self.pairs: set[tuple[str, str]] = set()
        self._original: Any = None
        self._refusals: dict[str, Callable[..., NoReturn]] = {}

    def start(self) -> None:
        """Begin to note; every error's construction and every refusal of the grammar pass here."""
        original = Error.__init__
        self._original = original
        self._refusals = {name: getattr(Reader, name) for name in REFUSALS}
        for name, refuse in self._refusals.items():
            setattr(Reader, name, self._recorded(refuse))

        def recorded(error: Error, *args: Any, **kwargs: Any) -> None:
            original(error, *args, **kwargs)
            # What random tests reach differs from run to run, so that it does not count.
            if not currently_in_test_context():
                self._note(error, sys._getframe(1))

        Error.__init__ = recorded  # type: ignore[method-assign, assignment]

    def stop(self) -> None:
        """End to note."""
        for name, refuse in self._refusals.items():
            setattr(Reader, name, refuse)
        Error.__init__ = self._original  # type: ignore[method-assign]

    def _recorded(self, refuse: Callable[..., NoReturn]) -> Callable[..., NoReturn]:
        def recorded(*args: Any, **kwargs: Any) -> NoReturn:
            if not currently_in_test_context():
                frame = sys._getframe(1)
                self._reached.add((frame.f_code, frame.f_lasti))
            refuse(*args, **kwargs)

        return recorded

    def places(self) -> set[Place]:
        """Return the places in MemQL's sources that made an error or asked a function for it."""
        return {place for code, step in self._reached if (place := _place(code, step)) is not None}

    def made_at(self) -> set[Place]:
        """Return the places in MemQL's sources that called an error's class themselves."""
        return {place for code, step in self._made if (place := _place(code, step)) is not None}

    def _note(self, error: Error, frame: FrameType | None) -> None:
        while frame is not None and frame.f_locals.get("self") is error:
            frame = frame.f_back  # the __init__ of a class below Error
        if frame is None or _path(frame.f_code.co_filename) is None:
            return  # made by a test itself
        self._made.add((frame.f_code, frame.f_lasti))
        self.pairs.add((public_class(type(error)), error.code))
        # Functions that return an error call each other at most so deep; what else is noted on the
        # way up is no site.
        for _ in range(MAX_FACTORIES):
            if frame is not None:
                self._reached.add((frame.f_code, frame.f_lasti))
                frame = frame.f_back


def public_class(kind: type[Error]) -> str:
    """Return the name of the class of memql.errors that an error is."""
    return next(above.__name__ for above in kind.__mro__ if above.__module__ == Error.__module__)


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
