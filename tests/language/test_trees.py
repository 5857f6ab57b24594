"""Trees of every node print as text that gives the same trees, and the same text again."""

from __future__ import annotations

import pytest
from hypothesis import Phase, given, settings
from hypothesis import find as find_example
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from sqlglot import exp

from memql.dialect import MemQL
from memql.engine import syntax
from memql.parser import parse
from tests.language.trees import STATEMENTS
from tests.soak import examples


def node_classes() -> set[type[exp.Expr]]:
    """Return the classes of ``engine/syntax.py``."""
    return {
        value
        for value in vars(syntax).values()
        if isinstance(value, type)
        and issubclass(value, exp.Expr)
        and value.__module__ == syntax.__name__
    }


def round_trip(tree: exp.Expr) -> str:
    """Print a tree, read it again and return what is wrong, or nothing."""
    printed = tree.sql(dialect=MemQL)
    again = parse(printed)
    if again != tree:
        return f"{printed}\n{again!r}\nis not\n{tree!r}"
    if again.sql(dialect=MemQL) != printed:
        return f"{printed}\nis printed again as\n{again.sql(dialect=MemQL)}"
    return ""


@pytest.mark.parametrize("kind", STATEMENTS, ids=lambda kind: kind.__name__)
def test_every_node_is_read_as_it_was_printed(kind: type[exp.Expr]) -> None:
    @examples(12)
    @given(tree=STATEMENTS[kind])
    def check(tree: exp.Expr) -> None:
        assert tree.find(kind) is not None
        assert not round_trip(tree)

    check()


def test_every_node_has_a_strategy() -> None:
    assert len(node_classes()) == 39
    assert node_classes() == set(STATEMENTS)


def test_a_node_without_a_strategy_is_noticed() -> None:
    assert node_classes() != set(STATEMENTS) - {syntax.Forget}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "arg"),
    [
        (syntax.Materialize, "model"),
        (syntax.Generate, "limit"),
        (syntax.TokenLimit, "rows"),
        (syntax.Matches, "using"),
        (syntax.Forget, "verify"),
        (syntax.Grant, "until"),
        (syntax.CreatePolicy, "check"),
        (syntax.CreateRole, "exists"),
        (syntax.Evaluate, "using"),
    ],
)
def test_a_lost_arg_is_noticed(kind: type[exp.Expr], arg: str) -> None:
    def has_arg(tree: exp.Expr) -> bool:
        return any(node.args.get(arg) for node in tree.find_all(kind))

    # Any example will do: making it small takes seconds.
    quick = settings(database=None, phases=[Phase.generate])
    tree = find_example(STATEMENTS[kind], has_arg, settings=quick)
    printed = tree.sql(dialect=MemQL)
    for node in tree.find_all(kind):
        node.set(arg, None)
    assert parse(printed) != tree


def test_a_condition_that_nothing_meets_is_noticed() -> None:
    with pytest.raises(NoSuchExample):
        find_example(st.just(syntax.Maintain()), lambda tree: bool(tree.args))
