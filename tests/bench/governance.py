"""What row policies cost: a user's queries over everybody's memories, against DuckDB by hand."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

import memql
from memql.engine.optimize import Optimized
from memql.engine.plan import Select
from memql.engine.result import arrow_of
from memql.engine.run.relation import to_arrow

from .measure import Ratio, check, in_turns, print_table, timed

ROUNDS = 30
MEMORIES = 1_000_000
OWNERS = 1_000
GIVERS = 20

_LOAD = """INSERT INTO memories (owner, kind, content, importance, sensitivity, created_at)
SELECT 'user' || i % $owners, ['fact', 'preference', 'plan', 'event', 'note'][i % 7 % 5 + 1],
    'Memory ' || i || ' of something that was said about the ' || hash(i) % 1000 || 'th topic.',
    i % 100 / 100, CASE WHEN hash(i) % 50 = 0 THEN 'high' END,
    TIMESTAMPTZ '2025-01-01' + to_seconds(hash(i) % 30000000)
FROM range($memories) t(i)"""

_ALLOWED = """"state" = 'active' AND ("expires_at" IS NULL OR "expires_at" > $now)
    AND ("owner" = '{user}' OR ("owner" IN ({givers}) AND "kind" = 'fact'))
    AND ("sensitivity" IS NULL OR "sensitivity" <> 'high')"""


@dataclass(frozen=True)
class Query:
    """A query of the user, and the same by hand over ``_memql.memories``.

    Args:
        bar: how many times as long the SQL that MemQL prints may take.
        text: in MemQL.
        hand: the same with ``{allowed}`` for what the user may read.
        ordered: whether the order of the rows counts.
    """

    name: str
    bar: float
    text: str
    hand: str
    ordered: bool = False


QUERIES = (
    Query(
        "one row by id",
        1.3,
        "SELECT id, content FROM memories WHERE id = $id",
        "SELECT id, content FROM _memql.memories WHERE id = $id::UUID AND {allowed}",
    ),
    Query(
        "newest ten",
        1.3,
        "SELECT id, content FROM memories ORDER BY created_at DESC, id LIMIT 10",
        "SELECT id, content FROM _memql.memories WHERE {allowed} "
        "ORDER BY created_at DESC, id LIMIT 10",
        True,
    ),
    Query(
        "count(*)",
        1.3,
        "SELECT count(*) FROM memories",
        "SELECT count(*) FROM _memql.memories WHERE {allowed}",
    ),
    Query(
        "GROUP BY kind",
        1.3,
        "SELECT kind, count(*) FROM memories GROUP BY kind",
        "SELECT kind, count(*) FROM _memql.memories WHERE {allowed} GROUP BY kind",
    ),
    Query(
        "LIKE, above the barrier",
        1.5,
        "SELECT id, content FROM memories WHERE content LIKE '%the 77_th topic%'",
        "SELECT id, content FROM _memql.memories WHERE {allowed} "
        "AND content LIKE '%the 77_th topic%'",
    ),
)


def run(rounds: int | None) -> None:
    """Load the memories, then time all three over each query."""
    user = f"user{OWNERS // 2}"
    givers = [f"user{number}" for number in range(GIVERS)]
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "bench.memql"
        _load(store)
        _govern(store, user, givers)
        with memql.connect(store, user=user, password="secret") as con:
            asked = _Asked(con, user, givers)
            rows = [asked.measure(query, rounds or ROUNDS) for query in QUERIES]
            by_id = asked.by_id(rounds or ROUNDS)
    head = ["query", "rows", "by hand", "printed SQL", "in parts", "ratio", "bar", "statement"]
    print_table(head, rows)
    print("\nin parts: how many queries of DuckDB the printed SQL is, the visible rows first\n")
    print_table(["one row by id, from text to fetched row", "median"], by_id)


def _load(store: Path) -> None:
    started = time.perf_counter()
    with memql.connect(store) as admin:
        admin.execute(_LOAD, {"owners": OWNERS, "memories": MEMORIES})
    seconds = time.perf_counter() - started
    print(f"{MEMORIES:,} memories of {OWNERS:,} owners, loaded in {seconds:.1f} s")


def _govern(store: Path, user: str, givers: list[str]) -> None:
    """Let the user read the facts of some others, and take away what is of high sensitivity."""
    with memql.connect(store) as founder:
        founder.execute("CREATE USER root WITH PASSWORD 'secret'")
        for name in (user, *givers):
            founder.execute(f"CREATE USER {name} WITH PASSWORD 'secret'")
    for name in givers:
        with memql.connect(store, user=name, password="secret") as giver:
            giver.execute(f"GRANT READ ON MEMORIES TO {user} WHERE (kind = 'fact')")
    with memql.connect(store, user="root", password="secret") as root:
        root.execute(
            "CREATE POLICY quiet ON memories AS RESTRICTIVE FOR SELECT "
            "USING (sensitivity IS NULL OR sensitivity <> 'high')"
        )
    print(f"the user reads own memories and the facts of {len(givers)} others, none that is high\n")


class _Asked:
    """The user's connection, opened to its session, and a cursor of DuckDB on the same store."""

    def __init__(self, con: memql.Connection, user: str, givers: list[str]) -> None:
        self._con = con
        self._session = con._session
        self._cursor = self._session._store.cursor()
        owners = ", ".join(f"'{name}'" for name in givers)
        self._allowed = _ALLOWED.format(user=user, givers=owners)
        own = "SELECT id FROM memories WHERE owner = ? ORDER BY id LIMIT 1"
        found = con.execute(own, [user]).fetchone()
        assert found is not None
        self._id = str(found[0])

    def measure(self, query: Query, rounds: int) -> list[object]:
        """Return a row of the table, after all three gave the same rows."""
        parameters = {"id": self._id} if "$id" in query.text else None
        by_hand, printed, parts = self._by_hand(query), *self._printed(query, parameters)
        expected, found = by_hand(), printed()
        statement = self._con.execute(query.text, parameters).fetchall()
        check(_rows(found, query) == _rows(expected, query), f"{query.name}: other rows")
        check(len(statement) == expected.num_rows, f"{query.name}: other rows of the statement")
        times = in_turns(
            {
                "by hand": timed(by_hand),
                "printed": timed(printed),
                "statement": timed(lambda: self._con.execute(query.text, parameters).fetchall()),
            },
            rounds,
        )
        ratio = Ratio.of(times["printed"], times["by hand"])
        shown = [times["by hand"], times["printed"], parts, ratio, query.bar, times["statement"]]
        return [query.name, expected.num_rows, *shown]

    def by_id(self, rounds: int) -> list[list[str]]:
        """Return rows of a table: a text that was seen before, and one that is new each time."""
        same = QUERIES[0].text
        others = iter(range(1_000_000))

        def known() -> None:
            rows = self._con.execute(same, {"id": self._id}).fetchall()
            check(len(rows) == 1, f"{len(rows)} rows have one id")

        def new() -> None:
            text = f"SELECT id, content AS c{next(others)} FROM memories WHERE id = '{self._id}'"
            check(len(self._con.execute(text).fetchall()) == 1, "no row has the id")

        times = in_turns({"the text was seen before": timed(known), "new text": timed(new)}, rounds)
        return [[name, str(one)] for name, one in times.items()]

    def _by_hand(self, query: Query) -> Callable[[], pa.Table]:
        sql = query.hand.format(allowed=self._allowed)
        # Parsed once, as MemQL's is.
        (parsed,) = self._cursor.extract_statements(sql)
        values: dict[str, Any] = {"now": datetime.now(UTC)}
        if "$id" in sql:
            values["id"] = self._id

        def ask() -> pa.Table:
            return arrow_of(self._cursor.execute(parsed, values))

        return ask

    def _printed(
        self, query: Query, parameters: dict[str, str] | None
    ) -> tuple[Callable[[], pa.Table], int]:
        """Return what runs the SQL that MemQL prints, and of how many queries it is."""
        context = self._session._context(query.text)
        planned, values = self._session.planned(context, parameters)
        assert isinstance(planned, Optimized) and isinstance(planned.plan, Select)
        printed = planned.plan.input.printed

        def ask() -> pa.Table:
            return to_arrow(printed, self._cursor, values, context)

        return ask, 1 + len(printed.visible)


def _rows(table: pa.Table, query: Query) -> list[str]:
    rows = [str(tuple(row.values())) for row in table.to_pylist()]
    return rows if query.ordered else sorted(rows)
