"""Values of Python in a statement: ``:name`` and ``{{expression}}`` become parameters."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from memql.cli.statements import TOKEN
from memql.errors import InterfaceError

_NAME = re.compile(r":([^\W\d]\w*)")
# Directly behind one of these a colon is a cast, or stands between a key and its value.
_NO_NAME_BEHIND = re.compile(r"[\w:'\")\]]$")
# In a struct so does one with spaces between.
_KEY_BEFORE = re.compile(r"[\w'\"]\s*$")


def bind(statement: str, variables: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """Return a statement with parameters in the place of Python's values, and the values.

    What stands in quotes and comments is left alone. A value never becomes a part of the text.

    Args:
        statement: one statement.
        variables: Python's.

    Raises:
        InterfaceError: there is no such variable, or an expression fails.

    >>> bind("SELECT :n, {{n * 2}}, ':n', x::INT", {"n": 3})
    ("SELECT $n, $value_1, ':n', x::INT", {'n': 3, 'value_1': 6})
    """
    written: list[str] = []
    values: dict[str, Any] = {}
    place = expressions = 0
    brackets: list[str] = []
    while place < len(statement):
        name = _NAME.match(statement, place)
        if statement.startswith("{{", place):
            source, place = _expression(statement, place)
            expressions += 1
            parameter = f"value_{expressions}"
            values[parameter] = _evaluated(source, variables)
            written.append(f"${parameter}")
        elif name is not None and _is_value(statement[:place], brackets):
            if name[1] not in variables:
                raise InterfaceError(
                    f"no Python variable is called {name[1]}",
                    hint=f"assign it in a cell above; a colon that is no variable has a space "
                    f"behind it: ': {name[1]}'",
                    code="42P02",
                )
            values[name[1]] = variables[name[1]]
            written.append(f"${name[1]}")
            place = name.end()
        else:
            token = TOKEN.match(statement, place)
            assert token is not None  # any character is one
            written.append(token[0])
            _note_bracket(token[0], statement[:place], brackets)
            place = token.end()
    return "".join(written), values or None


def _note_bracket(token: str, before: str, brackets: list[str]) -> None:
    """Keep which brackets are open; in that of a subscript, kept as "slice", a colon is none."""
    if token in ("(", "{"):
        brackets.append(token)
    elif token == "[":
        brackets.append("slice" if re.search(r"[\w)\]\"]\s*$", before) else token)
    elif token in (")", "}", "]") and brackets:
        brackets.pop()


def _is_value(before: str, brackets: list[str]) -> bool:
    """Tell whether a colon and a name stand for a value, by what stands before them."""
    within = brackets[-1] if brackets else ""
    if within == "slice" or _NO_NAME_BEHIND.search(before):
        return False
    return within != "{" or not _KEY_BEFORE.search(before)


def _expression(statement: str, start: int) -> tuple[str, int]:
    """Return the source between ``{{`` and its ``}}``, which may itself hold braces."""
    end = statement.find("}}", start)
    while end >= 0:
        # A dict ends with a brace of its own: {{ {"a": {}}["a"] }}.
        source = statement[start + 2 : end].strip()
        try:
            ast.parse(source, mode="eval")
        except SyntaxError:
            end = statement.find("}}", end + 1)
            continue
        return source, end + 2
    shown = statement[start : start + 40]
    raise InterfaceError(
        f"{shown!r} is no Python expression between {{{{ and }}}}",
        hint="write a struct with a space: { {'a': 1}: 2 }",
        code="42601",
    )


def _evaluated(source: str, variables: Mapping[str, Any]) -> Any:
    try:
        return eval(source, dict(variables))
    except Exception as error:
        raise InterfaceError(
            f"{{{{{source}}}}} fails in Python: {type(error).__name__}: {error}", code="22023"
        ) from None
