"""Where the milliseconds before a model go: parse, bind, optimize, print, run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import count

import memql
from memql.dialect import MemQL
from memql.engine.bind.parameters import Values
from memql.engine.bind.query import QueryBinder
from memql.engine.context import StatementContext
from memql.engine.optimize import Optimized, optimize
from memql.engine.plan import Finish, Plan
from memql.engine.rights import EMBEDDED
from memql.engine.run.relation import to_arrow
from memql.engine.tables import Tables
from memql.engine.views import ViewCatalog
from memql.loading import load_lines
from memql.parser import parse

from .measure import check, cpu_timed, in_turns, print_table, timed

ROUNDS = 100
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
    rounds = rounds or ROUNDS
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
        print(f"A query of 10 lines over {MEMORIES:,} memories in memory; CPU time.\n")
        stages = _Stages(con)
        rows = [[stage, *map(str, times)] for stage, times in stages.measure(rounds).items()]
        print_table(["stage", "new text", "text seen before"], rows)
        whole = in_turns(
            {
                "new": timed(
                    lambda: con.execute(f"EXPLAIN {QUERY.format(n=next(_numbers))}").fetchall()
                ),
            },
            rounds,
        )
        print(f"\nEXPLAIN, with the token counts of all rows: {whole['new']}")


class _Stages:
    """The stages of one statement, one after another.

    A stage has no door of its own in the connection: the session is opened to it.
    """

    def __init__(self, con: memql.Connection) -> None:
        self._session = con._session
        self._cursor = self._session._store.cursor()
        self._seen = QUERY.format(n=-1)
        self._new_text()
        self._look_up()

    def measure(self, rounds: int) -> dict[str, tuple[object, object]]:
        """Return by stage its times for a new text and for one that was seen."""
        times = in_turns(
            {
                "new text": timed(self._new_text),
                "parse": cpu_timed(self._parse),
                "bind": cpu_timed(self._bind),
                "optimize": cpu_timed(self._optimize),
                "print": cpu_timed(self._print),
                "run": cpu_timed(self._run),
                "all before DuckDB": cpu_timed(self._all_new),
                "look up": cpu_timed(self._look_up),
                "run again": cpu_timed(self._run),
                "print as MemQL": cpu_timed(self._print_tree),
            },
            rounds,
        )
        return {
            "parse": (times["parse"], "-"),
            "bind": (times["bind"], "-"),
            "optimize": (times["optimize"], "-"),
            "print for DuckDB": (times["print"], "-"),
            "all before DuckDB": (times["all before DuckDB"], times["look up"]),
            "run in DuckDB": (times["run"], times["run again"]),
            "print the tree as MemQL": (times["print as MemQL"], "-"),
        }

    def _new_text(self) -> None:
        text = QUERY.format(n=next(_numbers))
        self._context = StatementContext(EMBEDDED, datetime.now(UTC), text)
        self._values = Values({}, self._context.now)

    def _parse(self) -> None:
        self._tree = parse(self._context.text)

    def _bind(self) -> None:
        views = ViewCatalog(self._cursor, self._context, parse, Tables(self._cursor, self._context))
        binder = QueryBinder(self._context, views, self._values)
        self._plan: Plan = binder.bind(self._tree)  # type: ignore[arg-type]

    def _optimize(self) -> None:
        self._plan = optimize(self._plan).plan

    def _print(self) -> None:
        assert isinstance(self._plan, Finish)
        self._printed = self._plan.input.groups.printed

    def _run(self) -> None:
        to_arrow(self._printed, self._cursor, self._values, self._context)

    def _print_tree(self) -> None:
        self._tree.sql(dialect=MemQL)

    def _all_new(self) -> None:
        self._planned(QUERY.format(n=next(_numbers)))

    def _look_up(self) -> None:
        kept = len(self._session._plans)
        self._planned(self._seen)
        check(len(self._session._plans) <= kept + 1, "a plan was not kept")

    def _planned(self, text: str) -> None:
        context = self._session._context(text)
        planned, self._values = self._session.planned(context, None)
        assert isinstance(planned, Optimized) and isinstance(planned.plan, Finish)
        self._plan = planned.plan
        self._printed = planned.plan.input.groups.printed
