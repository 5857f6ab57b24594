"""Where the milliseconds before a model go: parse, bind, optimize, print, run."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count

from sqlglot import exp

import memql
from memql.dialect import MemQL
from memql.engine.bind.query import QueryBinder
from memql.engine.context import StatementContext
from memql.engine.optimize import optimize
from memql.engine.plan import Finish, Plan
from memql.engine.run.relation import print_sql, to_arrow
from memql.engine.views import ViewCatalog
from memql.loading import load_lines
from memql.parser import parse
from memql.storage.store import Store

from .measure import in_turns, print_table, timed

ROUNDS = 50
MEMORIES = 1_000

QUERY = """
SELECT
  owner,
  count(*) AS memories,
  max(created_at) AS newest,
  generate('What does ' || owner || ' like, apart from {n}?', max_tokens := 32) AS likes
FROM memories
WHERE owner IN ('alice', 'bob', 'carol') AND kind = 'preference' AND importance >= 0.1
GROUP BY owner
HAVING count(*) > 1
ORDER BY newest DESC
"""

_numbers = count()


def run(rounds: int | None) -> None:
    """Time each stage of a query that was never seen, and of one that is repeated."""
    with memql.connect() as con:
        memories = (
            {
                "owner": ("alice", "bob", "carol", "dave")[number % 4],
                "kind": ("preference", "fact")[number % 2],
                "importance": (number % 10) / 10,
                "content": f"A memory with the number {number}.",
            }
            for number in range(MEMORIES)
        )
        load_lines(con, (json.dumps(memory).encode() for memory in memories))
        # Token ids are remembered by queries, not by EXPLAIN.
        con.execute("SELECT content FROM memories MATERIALIZE AS PLAINTEXT").fetchall()
        # A stage has no door of its own in the connection: the session's store is opened to it.
        store = con._session._store
        new = _stages(store, rounds, lambda: QUERY.format(n=next(_numbers)))
        again = _stages(store, rounds, lambda: QUERY.format(n=-1))
        whole = in_turns(
            {
                "new": timed(
                    lambda: con.execute(f"EXPLAIN {QUERY.format(n=next(_numbers))}").fetchall()
                ),
                "repeated": timed(lambda: con.execute(f"EXPLAIN {QUERY.format(n=-1)}").fetchall()),
            },
            rounds or ROUNDS,
        )
    rows = [[stage, new[stage], again[stage]] for stage in new]
    rows.append(["EXPLAIN: all of it, and token counts", str(whole["new"]), str(whole["repeated"])])
    print(f"A query of 10 lines over {MEMORIES:,} memories in memory.\n")
    print_table(["stage", "new text", "repeated text"], rows)


def _stages(store: Store, rounds: int | None, text_of: Callable[[], str]) -> dict[str, str]:
    cursor = store.cursor()
    tree: exp.Query | None = None
    context: StatementContext | None = None
    plan: Plan | None = None

    def parse_text() -> None:
        nonlocal tree, context
        text = text_of()
        parsed = parse(text)
        assert isinstance(parsed, exp.Query)
        tree = parsed
        context = StatementContext(None, datetime.now(UTC), text)

    def bind_tree() -> None:
        nonlocal plan
        assert context is not None and tree is not None
        views = ViewCatalog(cursor, context, parse)
        plan = QueryBinder(context, views, {}).bind(tree)

    def optimize_plan() -> None:
        nonlocal plan
        assert plan is not None
        plan = optimize(plan).plan

    def print_relation() -> None:
        assert isinstance(plan, Finish)
        print_sql(plan.input.input.query)

    def run_relation() -> None:
        assert isinstance(plan, Finish) and context is not None
        to_arrow(plan.input.input.query, cursor, {}, context)

    def print_tree() -> None:
        assert tree is not None
        tree.sql(dialect=MemQL)

    times = in_turns(
        {
            "parse": timed(parse_text),
            "bind": timed(bind_tree),
            "optimize": timed(optimize_plan),
            "print for DuckDB": timed(print_relation),
            "print and run in DuckDB": timed(run_relation),
            "print the tree as MemQL": timed(print_tree),
        },
        rounds or ROUNDS,
    )
    return {stage: str(one) for stage, one in times.items()}
