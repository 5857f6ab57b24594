"""Stage one and two of the optimizer in milliseconds, and what ``order = 'reuse'`` reuses."""

from __future__ import annotations

import json
import random
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import memql
from memql.engine.bind.parameters import Values
from memql.engine.bind.query import QueryBinder
from memql.engine.calibrations import calibrations_of
from memql.engine.context import StatementContext
from memql.engine.cost import Calibration
from memql.engine.model.spec import LAYOUT, describe
from memql.engine.optimize import optimize
from memql.engine.order import reuse_order
from memql.engine.plan import Materialize
from memql.engine.prompt import Prompt, next_key
from memql.engine.rights import EMBEDDED
from memql.engine.run.prompts import Preparer, rows_of_table
from memql.engine.run.relation import to_arrow
from memql.engine.segments import Segments
from memql.engine.tables import Tables
from memql.engine.views import ViewCatalog
from memql.loading import load_lines
from memql.parser import parse
from memql.storage.nodes import Boundary
from memql.storage.store import Store
from memql.storage.tree import Tree

from .measure import check, cpu_timed, in_turns, print_table, timed

ROUNDS = 50
MEMORIES = 100_000
OWNERS = 1_000
NODES = (1_000, 10_000, 100_000)
QUERY = "SELECT content FROM memories WHERE owner = 'owner 7' MATERIALIZE AS ACTIVATION"

# A workload of overlapping sets.
ROWS = 200
QUERIES = 1_000
ROW_TOKENS = 12


def run(rounds: int | None) -> None:
    """Time planning over trees of several sizes; count tokens that two orders reuse."""
    _planning(rounds or ROUNDS)
    _workload()


def _planning(rounds: int) -> None:
    print(
        f"A full hit of {MEMORIES // OWNERS} segments among {MEMORIES:,} memories; CPU time of the "
        "rules and of the\nadaptive stage (keys, match, ways and their cost). The relational query "
        "is not counted.\n"
    )
    rows = []
    for nodes in NODES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "s.memql"
            _fill(path, nodes)
            store = Store.open(path)
            stages = _Stages(store)
            times = in_turns(
                {
                    "one": cpu_timed(stages.one),
                    "two": cpu_timed(stages.two),
                    "both": cpu_timed(stages.both),
                    "relation": timed(stages.relation),
                },
                rounds,
                warm_up=3,
            )
            names = ("one", "two", "both", "relation")
            rows.append([f"{nodes:,} nodes", *(str(times[name]) for name in names)])
            store.close()
    print_table(["", "stage one", "stage two", "both", "relational query"], rows)


def _fill(path: Path, nodes: int) -> None:
    """Make a store with memories and a tree, whose nodes have no bytes: nothing is loaded."""
    with memql.connect(path) as con:
        load_lines(
            con,
            (
                json.dumps(
                    {
                        "owner": f"owner {number % OWNERS}",
                        "content": f"The memory with the number {number}.",
                        "created_at": f"2026-01-01T00:{number // OWNERS % 60:02}:00+00:00",
                    }
                ).encode()
                for number in range(MEMORIES)
            ),
        )
        # Counts the tokens, and names the boundaries.
        text = QUERY.replace("ACTIVATION", "PLAINTEXT")
        con.execute(text).fetchall()
        session = con._session
        store = session._store
        prompt = _Stages(store).prompt()
        cursor = store.cursor()
        spec = describe("tiny", "tiny", {})
        header = json.dumps(
            {"model": spec.model_digest, "dtype": "float32", "layout": LAYOUT, "tokens": 1,
             "layers": []}
        )  # fmt: skip
        cursor.execute("BEGIN")
        parents: list[bytes | None] = [None]
        keys: list[bytes] = []
        owners: list[int] = []
        offsets: list[int] = []
        # The query's own chain: ten nodes of ten segments.
        own = prompt.boundaries
        for number, (key, tokens) in enumerate(own):
            node = max(number - 1, 0) // 10
            if node >= len(parents):
                parents.append(own[number - 1][0])
            start = 0 if node == 0 else own[node * 10][1]
            keys.append(key)
            owners.append(node)
            offsets.append(tokens - start)
        source = random.Random(1)
        while len(parents) < nodes:
            parents.append(keys[source.randrange(len(keys))] if source.random() < 0.5 else None)
            for offset in range(1, 4):
                keys.append(source.randbytes(32))
                owners.append(len(parents) - 1)
                offsets.append(offset)
        cursor.execute(
            "INSERT INTO _memql.nodes (id, parent, start_tokens, header, first_row, bytes, digests,"
            " owner, state, created_at) SELECT unnest(range(len($1))), unnest($1::BLOB[]), 0, $2,"
            " 0, 1000000, []::BLOB[], 'bench', 'live', now()",
            [parents, header],
        )
        cursor.execute(
            "INSERT INTO _memql.boundaries SELECT unnest($1::BLOB[]), unnest($2::BIGINT[]),"
            " unnest($3::INTEGER[])",
            [keys, owners, offsets],
        )
        cursor.execute("COMMIT")


class _Stages:
    """The stages of one statement over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._context = StatementContext(EMBEDDED, datetime.now(UTC), QUERY)
        self._values = Values({}, self._context.now)
        cursor = store.cursor()
        tables = Tables(cursor, self._context)
        binder = QueryBinder(
            self._context, ViewCatalog(cursor, self._context, parse, tables), self._values
        )
        self._bound = binder.bind(parse(QUERY))  # type: ignore[arg-type]
        plan = optimize(self._bound).plan
        assert isinstance(plan, Materialize)
        self._plan = plan
        spec = describe("tiny", "tiny", {})
        calibrations = calibrations_of(store)
        calibrations._known[spec.model_digest, spec.device] = Calibration(
            4e-3, 1e-4, 1e-7, 1e-3, 1e-9
        )
        self._preparer = Preparer(
            spec,
            Segments(store),
            calibrations,
            store,
            self._context,
            plan.target,
            None,
            False,
            False,
        )
        self.relation()

    def relation(self) -> None:
        table = to_arrow(
            self._plan.input.printed, self._store.cursor(), self._values, self._context
        )
        self._rows = rows_of_table(table, self._store.cursor())

    def prompt(self) -> Prompt:
        return self._preparer.prepare(self._rows, False, None, None).prompt

    def one(self) -> None:
        optimize(self._bound)

    def two(self) -> None:
        prepared = self._preparer.prepare(self._rows, False, None, None)
        check(
            prepared.choice.reused_tokens == prepared.prompt.tokens
            and len(prepared.prompt.segments) == MEMORIES // OWNERS,
            "it was no full hit",
        )

    def both(self) -> None:
        self.one()
        self.two()


def _workload() -> None:
    """Count the tokens that two orders reuse, each over the tree that its own queries leave."""
    source = random.Random(2)
    marks = [number.to_bytes(4, "little") for number in range(ROWS)]
    # How often a memory is asked for has nothing to do with when it was made.
    weights = [1 / (number + 1) for number in source.sample(range(ROWS), ROWS)]
    queries = []
    for _ in range(QUERIES):
        wanted = set(source.choices(range(ROWS), weights, k=source.randint(4, 24)))
        queries.append(sorted(wanted))
    total = sum(map(len, queries)) * ROW_TOKENS
    rows = []
    for name in ("canonical", "reuse"):
        tree, nodes, reused = Tree([], []), 0, 0
        for query in queries:
            order = list(query)
            if name == "reuse":
                sizes = [ROW_TOKENS] * len(query)
                found = reuse_order([marks[row] for row in query], sizes, b"root", tree)
                order = [query[number] for number in found]
            key, parent, fresh = b"root", None, list[Boundary]()
            for row in order:
                key = next_key(key, marks[row])
                if not fresh and tree.find(key) is not None:
                    reused += ROW_TOKENS
                    parent = key
                    continue
                fresh.append(Boundary(key, nodes + 1, (len(fresh) + 1) * ROW_TOKENS))
            if fresh:
                nodes += 1
                tree.add(nodes, parent, 1, fresh)
        rows.append([name, f"{reused:,}", f"{reused / total:.1%}", f"{nodes:,}"])
    print(
        f"\n{QUERIES:,} queries for sets of {ROWS} memories, drawn by Zipf's law; {total:,} tokens "
        "in all, everything\nkept.\n"
    )
    print_table(["order", "tokens reused", "share", "nodes"], rows)
