"""EXPLAIN: a plan, and what is known or happened of each prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlglot import exp

from memql.engine import syntax
from memql.engine.bind.changes import ChangePlan
from memql.engine.bind.policy import reads_own_only
from memql.engine.bind.writes import TableChange
from memql.engine.choice import Way, describe_way
from memql.engine.optimize import Optimized
from memql.engine.plan import (
    LINEAGE_COLUMN,
    VISIBLE_TABLE,
    Answer,
    Finish,
    Generated,
    Materialize,
    Part,
    Plan,
    Relation,
    Select,
)
from memql.engine.printing import print_sql
from memql.engine.reuse import Brought
from memql.engine.run.executor import Executor
from memql.engine.run.operator import Operator, as_json, as_mermaid, as_text, shown_value
from memql.engine.run.page import as_page
from memql.engine.run.trace import CutTrace, PromptTrace, Trace
from memql.errors import NotSupportedError

# The ways that lost, cheapest first: each node on the way to a boundary makes one more.
MOST_ALTERNATIVES = 3


def explain(tree: syntax.Explain, planned: Optimized | ChangePlan, executor: Executor) -> list[str]:
    """Run a plan as far as EXPLAIN does and return its lines, or one document.

    Raises:
        NotSupportedError: ANALYZE of a change.
    """
    analyze, costs = bool(tree.args.get("analyze")), bool(tree.args.get("costs"))
    if not isinstance(planned, Optimized):
        if analyze:
            raise NotSupportedError(
                "EXPLAIN ANALYZE of a change is not possible: it would write",
                hint="EXPLAIN shows its plan and writes nothing",
            )
        if isinstance(planned, TableChange):
            details = {} if planned.policy is None else {"policy": planned.policy}
            sql = {"sql": planned.printed.sql}
            operator = Operator(f"{tree.this.key.title()}Table", {**details, **sql})
        else:
            operator = _explain_change(tree.this.key, planned.relation)
    else:
        trace = executor.trace
        trace.explains = True
        if analyze:
            rows = executor.run(planned.plan).fetchall()
            if not trace.prompts:
                trace.relation_rows = len(rows)
        else:
            executor.prepare(planned.plan)
        operator = explain_plan(planned.plan, planned.fired, trace, analyzed=analyze)
    rights = executor.context.rights
    if rights.name is not None and not reads_own_only(rights):
        operator = _without_costs(operator)
    return _FORMATS[tree.args.get("format") or "TEXT"](operator, costs, executor.context.text)


# The names of times that do not hang on what is stored.
_BRINGING = ("load_seconds", "compute_seconds", "store_seconds")
_ANSWERING = ("first_token_seconds", "seconds")
_ALWAYS_THERE = ("nodes", "bytes", *_BRINGING, *_ANSWERING)

_FORMATS: dict[str, Callable[[Operator, bool, str], list[str]]] = {
    "TEXT": lambda operator, costs, text: as_text(operator, costs=costs),
    "JSON": lambda operator, costs, text: [as_json(operator, costs=costs)],
    "MERMAID": lambda operator, costs, text: as_mermaid(operator, costs=costs),
    "HTML": lambda operator, costs, text: [as_page(operator, text, costs=costs)],
}


def _without_costs(operator: Operator) -> Operator:
    """Return a plan that does not say how long it took to read what others have stored.

    Nor whether there is anything: the names that are left do not hang on it.
    """
    return replace(
        operator,
        costs=dict.fromkeys(name for name in operator.costs if name in _ALWAYS_THERE),
        inputs=tuple(_without_costs(one) for one in operator.inputs),
    )


def explain_plan(plan: Plan, fired: Sequence[str], trace: Trace, *, analyzed: bool) -> Operator:
    """Return the operators of a plan, the last one first.

    Args:
        fired: names of the rules that changed the plan.
        trace: what is known of the rows and prompts.
        analyzed: whether the plan ran to its end.
    """
    rules = {"rules": list(fired)} if fired else {}
    if isinstance(plan, Select):
        operator = _relation(plan.input, trace, analyzed)
        return replace(operator, details={**operator.details, **rules})
    if isinstance(plan, Materialize):
        return Operator(
            "Materialize",
            {**_target(plan.target.form, plan.target.view, trace), **rules},
            inputs=(*_prompts(trace, analyzed), _relation(plan.input, trace, analyzed)),
        )
    return _finish(plan, rules, trace, analyzed)


def _finish(plan: Finish, more: dict[str, Any], trace: Trace, analyzed: bool) -> Operator:
    answer: Answer = plan.input
    relation = answer.groups
    generate = Operator(
        "Generate",
        {
            "calls": len(answer.calls),
            **_target(answer.target.form, answer.target.view, trace),
        },
        inputs=(*_prompts(trace, analyzed), _relation(relation, trace, analyzed)),
    )
    return Operator("Finish", {"sql": shown_sql(plan.query), **more}, inputs=(generate,))


def _target(form: str, view: str | None, trace: Trace) -> dict[str, Any]:
    details: dict[str, Any] = {"form": form}
    if view is not None:
        details["view"] = view
    if trace.spec is not None:
        details["model"] = trace.spec.name
    return details


def _relation(relation: Relation, trace: Trace, analyzed: bool) -> Operator:
    details: dict[str, Any] = {"rows": trace.relation_rows}
    if relation.policy is not None:
        details["policy"] = relation.policy
    details["sql"] = shown_sql(relation.query)
    if relation.unproven is not None:
        details["lineage"] = f"not proven ({relation.unproven}): used, not stored"
    parts = tuple(_part(part, trace.parts.get(part.table), analyzed) for part in relation.parts)
    return Operator("Relation", details, {"seconds": trace.relation_seconds}, parts)


def _part(part: Part, done: Trace | CutTrace | None, analyzed: bool) -> Operator:
    details: dict[str, Any] = {"table": part.table}
    if isinstance(part, Generated):
        trace = done if isinstance(done, Trace) else Trace(relation_rows=None)
        return _finish(part.input, details, trace, analyzed)
    if isinstance(done, CutTrace):  # not for a change, of which nothing runs
        details |= {"limit": done.limit, "rows": done.rows}
        details |= {"tokens": done.tokens, "model": done.model}
    if part.input.policy is not None:
        details["policy"] = part.input.policy
    details["sql"] = shown_sql(part.input.query)
    return Operator("TokenLimit", details)


def shown_sql(query: exp.Query) -> str:
    """The SQL that DuckDB runs, without the policy's own text, which is the same in every query."""
    query = query.copy()
    for cte in list(query.find_all(exp.CTE)):
        if cte.alias.startswith(VISIBLE_TABLE):
            clause = cte.parent
            cte.pop()
            if clause is not None and not clause.expressions:
                clause.pop()
    for identifier in query.find_all(exp.Identifier):
        if "shown" in identifier.meta:
            identifier.set("this", identifier.meta["shown"])
    for table in query.find_all(exp.Table):
        if table.name.startswith(VISIBLE_TABLE):
            table.set("this", exp.to_identifier("memories"))
    # Who knew the hidden column's own name could make one of that name.
    return print_sql(query).replace(LINEAGE_COLUMN, "_memql_lineage")


def _prompts(trace: Trace, analyzed: bool) -> tuple[Operator, ...]:
    return tuple(_prompt(one, analyzed) for one in trace.prompts)


def _prompt(one: PromptTrace, analyzed: bool) -> Operator:
    prompt, choice, shared = one.prepared.prompt, one.prepared.choice, one.prepared.shared
    brought = one.brought if analyzed else None
    way = choice.way if brought is None else brought.way
    details: dict[str, Any] = {
        "form": choice.form,
        "reason": choice.reason,
        "segments": len(prompt.segments),
        "tokens": prompt.tokens,
        "reused_tokens": None if shared else way.match.tokens,
        "computed_tokens": None if shared else way.computed_tokens,
    }
    if brought is not None and brought.copied and not shared:
        details["shared_tokens"] = way.match.tokens
    if choice.form == "ACTIVATION" and not shared:
        found = way.match
        details["boundary"] = found.key.hex()[:12] if found.key else "none"
        details["boundary_segments"] = found.segments
        if found.segments < len(prompt.segments):
            details["next_segment"] = _excerpt(prompt.segments[found.segments].row.text)
            details["next_reason"] = one.prepared.next_reason
    if one.prepared.question is not None:
        details["question"] = _excerpt(one.prepared.question)
        details["question_tokens"] = len(one.prepared.tail_ids)
        details["max_tokens"] = one.prepared.max_tokens
        decoding = one.prepared.decoding
        if decoding is not None and decoding.temperature:
            details["temperature"], details["top_p"] = decoding.temperature, decoding.top_p
            details["seed"] = "drawn anew" if decoding.seed is None else decoding.seed
        if decoding is not None and decoding.stop:
            details["stop"] = [repr(text) for text in decoding.stop]
    if one.answered is not None:
        details["answer_tokens"] = one.answered.answer_tokens
    return Operator("Prompt", details, _costs(one, way, brought, analyzed))


def _costs(one: PromptTrace, way: Way, brought: Brought | None, analyzed: bool) -> dict[str, Any]:
    """Return what a prompt takes: estimates, what it took, and the ways that lost."""
    choice = one.prepared.choice
    costs: dict[str, Any] = {"nodes": way.nodes, "bytes": way.bytes}
    if one.prepared.shared:
        # Whether a model ran at all would tell what others have stored.
        answering = _ANSWERING if one.answered is not None else ()
        return dict.fromkeys((*costs, *(_BRINGING if analyzed else ()), *answering))
    estimates = {
        "estimated_load_seconds": way.load_seconds,
        "estimated_compute_seconds": way.compute_seconds,
    }
    if choice.way.seconds is not None:
        costs |= {name: seconds for name, seconds in estimates.items() if seconds is not None}
    if brought is not None:
        costs["load_seconds"] = brought.load_seconds
        costs["compute_seconds"] = brought.compute_seconds
        if brought.overlapped_seconds:
            costs["overlapped_seconds"] = brought.overlapped_seconds
        if way.seconds and choice.way.seconds is not None:
            costs["estimate_error"] = f"{(brought.seconds / way.seconds - 1) * 100:+.0f} %"
        costs["store_seconds"] = one.store_seconds
    if one.answered is not None:
        costs["first_token_seconds"] = one.answered.first_token_seconds
        costs["seconds"] = one.answered.seconds
    for number, other in enumerate(choice.others[:MOST_ALTERNATIVES], start=1):
        seconds = (
            "not calibrated" if other.seconds is None else shown_value("seconds", other.seconds)
        )
        costs[f"alternative_{number}"] = f"{describe_way(other)}: {seconds}"
    return costs


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."


def _explain_change(verb: str, relation: Relation) -> Operator:
    """Return the plan of an INSERT, UPDATE or DELETE: the query whose rows would be written."""
    details = {"policy": relation.policy} if relation.policy else {}
    parts = tuple(_part(part, None, False) for part in relation.parts)
    details["rows from"] = shown_sql(relation.query)
    return Operator(verb.capitalize(), details, inputs=parts)
