"""Values of a result as text for people, and as JSON."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

NULL = "NULL"

# Tab and line feed stay; anything else below space would move a terminal's cursor or start an
# escape sequence, and a memory's text is not to be trusted with that.
_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"
}


def printable(text: str) -> str:
    r"""Return a text whose control characters can be seen and do nothing.

    >>> printable("red \x1b[31m alert")
    'red \\x1b[31m alert'
    """
    return text.translate(_CONTROLS)


def as_text(value: Any, most_items: int | None = None) -> str:
    """Return a value as it stands in a table.

    Args:
        value: what a cursor gives.
        most_items: of a longer list only the first are shown, and how many more there are.

    >>> as_text(None), as_text(True), as_text(["a", "b"])
    ('NULL', 'true', '[a, b]')
    """
    from memql.values import Prompt

    if value is None:
        return NULL
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        items = [as_text(item) for item in value[:most_items]]
        if len(items) < len(value):
            items.append(f"... {len(value) - len(items):,} more")
        return f"[{', '.join(items)}]"
    if isinstance(value, dict):
        pairs = (f"{as_text(key)}: {as_text(item)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, Prompt):
        return printable(value.text)
    return printable(str(value))


def as_json(value: Any, kind: str = "") -> Any:
    """Return a value as something that ``json.dumps`` writes; activations and prompts as ids.

    Args:
        value: what a cursor gives.
        kind: DuckDB's name of its type; a value of type JSON is kept as the JSON it is.
    """
    from memql.values import Activation, Prompt

    if kind == "JSON" and isinstance(value, str):
        return json.loads(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Activation | Prompt):
        return value.id
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, UUID | timedelta):
        return str(value)
    return str(value) if isinstance(value, str) else value
