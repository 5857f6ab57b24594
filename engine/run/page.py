"""An explained plan as an HTML page that needs nothing else: no script, no outside resource."""

from __future__ import annotations

import html
from typing import Any

from memql.engine.run.operator import Operator, shown_value

# Loads nothing and runs nothing, even if a text of a memory got past the escaping.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

_STYLE = """
.memql-plan { --ink: #1d2733; --dim: #64748b; --line: #d5dde6; --card: #ffffff; --back: #f5f7fa;
  --code: #eef2f6; --loaded: #2a9d6f; --computed: #d9822b; --time: #4a7fb5;
  color: var(--ink); background: var(--back); padding: 1.25rem;
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
@media (prefers-color-scheme: dark) { .memql-plan { --ink: #e3e9f0; --dim: #93a1b3;
  --line: #38434f; --card: #1e262f; --back: #151b22; --code: #283340; } }
.memql-plan * { box-sizing: border-box; }
.memql-plan pre { background: var(--code); border-radius: 6px; padding: .5rem .7rem;
  margin: .3rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; color: inherit;
  font: 12.5px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, monospace; }
.memql-plan .totals { display: flex; flex-wrap: wrap; gap: .4rem 2rem; margin: .9rem 0; }
.memql-plan .totals b { display: block; font-size: 1.35rem; font-weight: 600; }
.memql-plan .dim, .memql-plan dt, .memql-plan summary, .memql-plan small { color: var(--dim); }
.memql-plan ul { list-style: none; margin: 0; padding: 0 0 0 1.4rem;
  border-left: 2px solid var(--line); }
.memql-plan .tree { border-left: 0; padding-left: 0; }
.memql-plan li { margin: .7rem 0 0; padding: 0; position: relative; }
.memql-plan ul ul > li::before { content: ""; position: absolute; left: -1.4rem; top: 1.2rem;
  width: 1.4rem; border-top: 2px solid var(--line); }
.memql-plan .operator { background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: .6rem .9rem .7rem; max-width: 56rem; }
.memql-plan h2 { font-size: 1rem; margin: 0 0 .25rem; font-weight: 600; }
.memql-plan h2 small { font-weight: 400; margin-left: .6rem; }
.memql-plan dl { columns: 22rem 2; column-gap: 2rem; margin: .2rem 0 0; }
.memql-plan dl div { display: grid; grid-template-columns: 9.5rem 1fr; break-inside: avoid; }
.memql-plan dt { font-weight: 400; }
.memql-plan dd { margin: 0; overflow-wrap: anywhere; }
.memql-plan .bar { display: flex; height: .6rem; border-radius: .3rem; overflow: hidden;
  max-width: 34rem; background: var(--code); margin: .35rem 0 .1rem; }
.memql-plan .loaded { background: var(--loaded); }
.memql-plan .computed { background: var(--computed); }
.memql-plan .key { display: inline-block; margin-right: 1.2rem; }
.memql-plan .key i { display: inline-block; width: .65rem; height: .65rem; border-radius: 2px;
  margin-right: .35rem; }
.memql-plan .time { display: inline-block; height: .55rem; background: var(--time);
  border-radius: 2px; margin-left: .6rem; min-width: 1px; }
.memql-plan details { margin-top: .35rem; }
.memql-plan summary { cursor: pointer; }
"""

# Shown in other places than among the details.
_TOKENS = ("tokens", "reused_tokens", "computed_tokens")
_CODE = ("sql", "rows from")
_TIME_BAR_REM = 8  # of the longest time in the plan


def as_page(operator: Operator, statement: str, *, costs: bool) -> str:
    """Return the plan as one HTML document.

    Args:
        operator: the last one of the plan.
        statement: what was asked to be explained.
        costs: whether to show seconds and bytes.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<title>MemQL: a plan</title>\n<style>body { margin: 0 }</style>\n</head>\n<body>\n"
        f"{as_fragment(operator, statement, costs=costs)}\n</body>\n</html>\n"
    )


def as_fragment(operator: Operator, statement: str, *, costs: bool) -> str:
    """Return what stands in the body of the page; its styles hold inside of it only."""
    longest = max(
        (value for one in operator.walk() for _, value in _seconds(one, costs)), default=0.0
    )
    return (
        f'<div class="memql-plan">\n<style>{_STYLE}</style>\n'
        f"<pre>{html.escape(statement.strip())}</pre>\n{_totals(operator)}\n"
        f'<ul class="tree">{_item(operator, costs, longest)}</ul>\n</div>'
    )


def _totals(operator: Operator) -> str:
    """Return the sums of the tokens in the plan, where they are told."""
    sums = dict.fromkeys(_TOKENS, 0)
    known = False
    for one in operator.walk():
        if all(isinstance(one.details.get(name), int) for name in _TOKENS):
            known = True
            for name in _TOKENS:
                sums[name] += one.details[name]
    if not known:
        return ""
    share = round(100 * sums["reused_tokens"] / max(sums["tokens"], 1))
    cells = [
        ("tokens of memories", f"{sums['tokens']:,}"),
        ("loaded", f"{sums['reused_tokens']:,}"),
        ("to compute", f"{sums['computed_tokens']:,}"),
        ("reuse", f"{share}%"),
    ]
    shown = "".join(
        f'<div><b>{value}</b><span class="dim">{name}</span></div>' for name, value in cells
    )
    return f'<div class="totals">{shown}</div>'


def _item(operator: Operator, costs: bool, longest: float) -> str:
    shown = operator.shown(costs=costs)
    rows = shown.get("rows")
    head = f"<small>{rows:,} rows</small>" if isinstance(rows, int) else ""
    tokens = _tokens(shown)
    left = {
        name: value
        for name, value in shown.items()
        if not (name in _CODE or (tokens and name in _TOKENS) or (head and name == "rows"))
    }
    pairs = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{_value(name, value, longest)}</dd></div>"
        for name, value in left.items()
    )
    code = "".join(
        f"<details><summary>{html.escape(name)}</summary><pre>{html.escape(str(shown[name]))}</pre>"
        "</details>"
        for name in _CODE
        if name in shown
    )
    below = "".join(_item(one, costs, longest) for one in operator.inputs)
    return (
        f'<li><div class="operator"><h2>{html.escape(operator.name)}{head}</h2>{tokens}'
        f"{f'<dl>{pairs}</dl>' if pairs else ''}{code}</div>"
        f"{f'<ul>{below}</ul>' if below else ''}</li>"
    )


def _tokens(shown: dict[str, Any]) -> str:
    """Return a bar of the tokens that are loaded and computed, with their numbers."""
    whole, reused, computed = (shown.get(name) for name in _TOKENS)
    if not isinstance(whole, int) or not isinstance(reused, int) or not isinstance(computed, int):
        return ""
    share = 100 * reused / max(whole, 1)
    return (
        f'<div class="bar"><i class="loaded" style="width: {share:.2f}%"></i>'
        f'<i class="computed" style="width: {100 - share:.2f}%"></i></div>'
        f'<div><span class="key"><i class="loaded"></i>{reused:,} tokens loaded</span>'
        f'<span class="key"><i class="computed"></i>{computed:,} computed</span>'
        f'<span class="dim">{whole:,} in all</span></div>'
    )


def _value(name: str, value: Any, longest: float) -> str:
    text = html.escape(shown_value(name, value))
    if not _is_time(name, value) or not longest:
        return text
    width = _TIME_BAR_REM * value / longest
    return f'{text}<span class="time" style="width: {width:.2f}rem"></span>'


def _seconds(operator: Operator, costs: bool) -> list[tuple[str, float]]:
    return [
        (name, value)
        for name, value in operator.shown(costs=costs).items()
        if _is_time(name, value)
    ]


def _is_time(name: str, value: Any) -> bool:
    return name.endswith("seconds") and isinstance(value, float)
