"""An explained plan: its operators, and how they are written as text, JSON and mermaid."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Operator:
    """One operator of an explained plan.

    Args:
        name: what it does.
        details: shown always; ``costs`` (seconds, bytes) only with COSTS on.
    """

    name: str
    details: dict[str, Any] = field(default_factory=dict)
    costs: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[Operator, ...] = ()

    def shown(self, *, costs: bool) -> dict[str, Any]:
        """Return the details, and the costs if they are asked for."""
        return {**self.details, **(self.costs if costs else {})}

    def walk(self) -> Iterator[Operator]:
        """Yield the operator and all below it."""
        yield self
        for one in self.inputs:
            yield from one.walk()


NOT_TOLD = "not told: a row may be another owner's"


def shown_value(name: str, value: Any) -> str:
    """Return a detail's value as people read it.

    >>> shown_value("load_seconds", 0.0019), shown_value("tokens", 12000)
    ('1.9 ms', '12,000')
    """
    if value is None:
        return "not known before the answers" if name == "rows" else NOT_TOLD
    if name.endswith("seconds") and isinstance(value, float):
        return f"{value * 1000:.1f} ms"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


# -- text -------------------------------------------------------------------------------------


def as_text(operator: Operator, *, costs: bool) -> list[str]:
    """Return the plan as lines: a tree with one operator or detail on each."""
    lines: list[str] = []
    _write(operator, "", "", lines, costs)
    return lines


def _write(operator: Operator, lead: str, below: str, lines: list[str], costs: bool) -> None:
    lines.append(f"{lead}{operator.name}")
    bar = "│ " if operator.inputs else "  "
    for name, value in operator.shown(costs=costs).items():
        lines.append(f"{below}{bar}{name}: {shown_value(name, value)}")
    for number, child in enumerate(operator.inputs):
        last = number == len(operator.inputs) - 1
        corner, rail = ("└─ ", "   ") if last else ("├─ ", "│  ")
        _write(child, below + corner, below + rail, lines, costs)


# -- JSON -------------------------------------------------------------------------------------


def as_json(operator: Operator, *, costs: bool) -> str:
    """Return the plan as one JSON document."""

    def document(one: Operator) -> dict[str, Any]:
        return {
            "operator": one.name,
            **one.shown(costs=costs),
            "inputs": [document(child) for child in one.inputs],
        }

    return json.dumps(document(operator), indent=2, ensure_ascii=False)


def operator_of(document: Mapping[str, Any]) -> Operator:
    """Return the plan of a document that :func:`as_json` wrote; costs are among the details.

    >>> operator_of({"operator": "Relation", "rows": 2, "inputs": []})
    Operator(name='Relation', details={'rows': 2}, costs={}, inputs=())
    """
    details = {name: value for name, value in document.items() if name not in _OF_TREE}
    inputs = tuple(operator_of(one) for one in document["inputs"])
    return Operator(document["operator"], details, inputs=inputs)


_OF_TREE = ("operator", "inputs")


# -- mermaid ----------------------------------------------------------------------------------

# A box with more would be wider than a page.
_LABEL_CHARACTERS = 80
_REUSED = "classDef reused fill:#2a9d6f,stroke:#1d6f4f,color:#ffffff"


def as_mermaid(operator: Operator, *, costs: bool) -> list[str]:
    """Return the plan as a mermaid flowchart: rows flow up, the last step stands on top."""
    lines = ["flowchart BT"]
    _draw(operator, "n0", lines, costs)
    if any(line.endswith(":::reused") for line in lines):
        lines.append(f"    {_REUSED}")
    return lines


def _draw(operator: Operator, node: str, lines: list[str], costs: bool) -> None:
    shown = operator.shown(costs=costs)
    label = [f"<b>{_escaped(operator.name)}</b>"]
    label += [_escaped(f"{name}: {shown_value(name, value)}") for name, value in shown.items()]
    style = ":::reused" if shown.get("reused_tokens") else ""
    lines.append(f'    {node}["{"<br/>".join(label)}"]{style}')
    for number, child in enumerate(operator.inputs):
        _draw(child, f"{node}_{number}", lines, costs)
        rows = child.details.get("rows")
        told = "" if not isinstance(rows, int) else f'|"{rows:,} rows"|'
        lines.append(f"    {node}_{number} -->{told} {node}")


def _escaped(text: str) -> str:
    """Return a text that is only text inside of mermaid's quotes, cut to what a box holds."""
    line = " ".join(text.split())
    if len(line) > _LABEL_CHARACTERS:
        line = line[: _LABEL_CHARACTERS - 3] + "..."
    # Markdown, entities, HTML and directives all need one of these.
    return "".join(
        one if one.isalnum() or one in " .,:()-/=+'_" else f"#{ord(one)};" for one in line
    )
