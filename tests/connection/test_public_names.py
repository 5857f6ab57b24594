"""Every public name has a docstring with an example, and the example runs."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType

import pytest

import memql
import memql.rows

# Classes whose methods users call.
CLASSES = (memql.Connection, memql.Cursor, memql.Answer, memql.Prompt, memql.Activation)
# Of PEP 249 and Python: what they do is said there.
OWN = "memql"


@dataclass(frozen=True)
class Name:
    """A public name: how it is called, what stands in its docstring, and where that is."""

    path: str
    docstring: str
    module: ModuleType


def public_names() -> Iterator[Name]:
    """Yield the names of memql and memql.rows, and the methods of the classes among them."""
    for module in (memql, memql.rows):
        for name in module.__all__:
            yield Name(f"{module.__name__}.{name}", *docstring_of(module, name))
    for cls in CLASSES:
        for name, member in vars(cls).items():
            function = member.fget if isinstance(member, property) else member
            function = getattr(function, "__func__", function)
            if name.startswith("_") or not inspect.isfunction(function) or name == "of":
                continue
            home = importlib.import_module(cls.__module__)
            yield Name(f"{cls.__name__}.{name}", inspect.getdoc(function) or "", home)


def docstring_of(module: ModuleType, name: str) -> tuple[str, ModuleType]:
    """Return the docstring of a name, and the module that holds it.

    Of a constant it is the string below its assignment.
    """
    value = getattr(module, name)
    if (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__.startswith(OWN):
        return value.__doc__ or "", importlib.import_module(value.__module__)
    for home in (module, importlib.import_module("memql.types")):
        body = ast.parse(inspect.getsource(home)).body
        for statement, below in zip(body, body[1:], strict=False):
            if (
                isinstance(statement, ast.Assign)
                and [ast.unparse(target) for target in statement.targets] == [name]
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                return inspect.cleandoc(str(below.value.value)), home
    return "", module


NAMES = list(public_names())


def test_the_names_are_all_there() -> None:
    paths = [name.path for name in NAMES]
    assert len(paths) == len(set(paths)) > 70
    assert {"memql.connect", "memql.NUMBER", "Cursor.fetchone", "Prompt.messages"} <= set(paths)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.path)
def test_every_name_has_an_example_that_runs(name: Name) -> None:
    assert name.docstring, f"{name.path} has no docstring"
    namespace = dict(vars(name.module))
    test = doctest.DocTestParser().get_doctest(name.docstring, namespace, name.path, None, 0)
    assert test.examples, f"{name.path} has no example"
    report: list[str] = []
    result = doctest.DocTestRunner().run(test, out=report.append)
    assert not result.failed, "".join(report)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in NAMES
        if name.path.partition(".")[0] in ("Connection", "Cursor") and name.path[0].isupper()
    ],
    ids=lambda name: name.path,
)
def test_methods_say_what_they_take(name: Name) -> None:
    """A parameter stands under Args, or in the first sentence."""
    function = getattr(getattr(memql, name.path.partition(".")[0]), name.path.partition(".")[2])
    if isinstance(function, property):
        return
    prose = name.docstring.partition(">>>")[0]
    for parameter in list(inspect.signature(function).parameters)[1:]:
        assert parameter in prose or "Do nothing" in prose or "name of" in prose, parameter


def test_a_name_without_an_example_is_noticed() -> None:
    bare = Name("memql.bare", "One sentence.", memql)
    with pytest.raises(AssertionError, match=r"memql\.bare has no example"):
        test_every_name_has_an_example_that_runs(bare)
    wrong = Name("memql.wrong", ">>> 1 + 1\n3", memql)
    with pytest.raises(AssertionError, match="Got:"):
        test_every_name_has_an_example_that_runs(wrong)
