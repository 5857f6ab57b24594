"""``order = 'reuse'``: as many tokens reused as in the best of all orders, and the same rows."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import memql
from memql.engine import order
from memql.engine.order import reuse_order
from memql.engine.prompt import next_key
from memql.storage.nodes import Boundary
from memql.storage.tree import Tree

ROOT = b"root"


def _tree(chains: list[list[bytes]], tokens: dict[bytes, int], cut: int = 0) -> Tree:
    """Return a tree with every prefix of some chains; each continuation is a node of its own.

    Args:
        cut: a node, by its number, that is left out: what continues it cannot be reached.
    """
    nodes: list[tuple[int, bytes | None, int]] = [(1, None, 10)]
    boundaries = [Boundary(ROOT, 1, 1)]
    known = {ROOT}
    for chain in chains:
        key = ROOT
        parent: bytes | None = None
        number = offset = 0
        for mark in chain:
            before, key = key, next_key(key, mark)
            if key in known:
                parent = None
                continue
            known.add(key)
            if parent is None:
                parent, number, offset = before, len(nodes) + 1, 0
                nodes.append((number, parent, 10))
            offset += tokens[mark]
            boundaries.append(Boundary(key, number, offset))
    if cut:
        nodes = [node for node in nodes if node[0] != cut]
        boundaries = [boundary for boundary in boundaries if boundary.node != cut]
    return Tree(nodes, boundaries)


def _reused(marks: list[bytes], tokens: dict[bytes, int], tree: Tree) -> int:
    key, reused, best = ROOT, 0, 0
    for mark in marks:
        key = next_key(key, mark)
        reused += tokens[mark]
        if tree.find(key) is not None:
            best = reused
    return best


ROWS = [bytes([65 + number]) for number in range(6)]


@given(
    chains=st.lists(st.permutations(ROWS).map(lambda rows: rows[:5]), max_size=8),
    tokens=st.lists(st.integers(1, 9), min_size=6, max_size=6),
    wanted=st.lists(st.sampled_from(ROWS), max_size=6),
    cut=st.integers(0, 6),
)
def test_no_order_reuses_more(
    chains: list[list[bytes]], tokens: list[int], wanted: list[bytes], cut: int
) -> None:
    sizes = dict(zip(ROWS, tokens, strict=True))
    tree = _tree([list(chain) for chain in chains], sizes, cut if cut > 1 else 0)
    found = reuse_order(wanted, [sizes[mark] for mark in wanted], ROOT, tree)
    assert sorted(found) == list(range(len(wanted)))
    best = max(_reused(list(rows), sizes, tree) for rows in permutations(wanted))
    assert _reused([wanted[i] for i in found], sizes, tree) == best


def test_the_oracle_notices_a_walk_that_takes_the_first_way() -> None:
    sizes = dict.fromkeys(ROWS, 1)
    tree = _tree([ROWS[:2], [ROWS[1], ROWS[0], *ROWS[2:5]]], sizes)
    assert _reused(ROWS, sizes, tree) == 2
    assert [ROWS[i] for i in reuse_order(ROWS, [1] * 6, ROOT, tree)][:5] == [
        ROWS[1],
        ROWS[0],
        *ROWS[2:5],
    ]


def test_what_is_not_stored_stays_in_order() -> None:
    sizes = dict.fromkeys(ROWS, 1)
    tree = _tree([[ROWS[3]]], sizes)
    assert reuse_order(ROWS, [1] * 6, ROOT, tree) == [3, 0, 1, 2, 4, 5]
    assert reuse_order(ROWS, [1] * 6, b"another root", tree) == [0, 1, 2, 3, 4, 5]


def test_a_walk_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = dict.fromkeys(ROWS, 1)
    draw = Random(3)
    tree = _tree([draw.sample(ROWS, 6) for _ in range(100)], sizes)
    monkeypatch.setattr(order, "MOST_TRIES", 30)
    calls = []

    def counted(parent: bytes, mark: bytes) -> bytes:
        calls.append(mark)
        return next_key(parent, mark)

    monkeypatch.setattr(order, "next_key", counted)
    found = reuse_order(ROWS, [1] * 6, ROOT, tree)
    assert sorted(found) == [0, 1, 2, 3, 4, 5] and len(calls) < 40
    assert _reused([ROWS[i] for i in found], sizes, tree) == 6  # the first way down went deep


def test_a_query_reuses_what_another_order_stored(tmp_path: Path) -> None:
    with memql.connect(tmp_path / "s") as con:
        con.executemany(
            "INSERT INTO memories (content, kind, created_at) VALUES (?, ?, ?)",
            [
                ["The first.", "a", "2026-01-01"],
                ["The second.", "b", "2026-01-02"],
                ["The third.", "b", "2026-01-03"],
            ],
        )
        con.execute("SELECT content FROM memories WHERE kind = 'b' MATERIALIZE AS ACTIVATION")
        text = "SELECT content FROM memories MATERIALIZE AS ACTIVATION"
        explained = "\n".join(row[0] for row in con.execute(f"EXPLAIN {text}"))
        assert "boundary_segments: 0" in explained
        reused = con.execute(f"{text} WITH (order = 'reuse')").fetchone()
        assert reused is not None
        prompt = reused[0]
        assert prompt.reused_tokens > 0
        contents = dict(con.execute("SELECT id, content FROM memories").fetchall())
        assert [contents[one] for one in prompt.memory_ids] == [
            "The second.",
            "The third.",
            "The first.",
        ]
        assert reused[8] == [[one] for one in prompt.memory_ids]
        # The user's own order stands.
        mine = con.execute(
            "SELECT content FROM memories ORDER BY created_at "
            "MATERIALIZE AS ACTIVATION WITH (order = 'reuse')"
        ).fetchone()
        assert mine is not None
        assert [contents[one] for one in mine[0].memory_ids][0] == "The first."


def test_which_rows_a_limit_takes_does_not_hang_on_what_is_stored(tmp_path: Path) -> None:
    with memql.connect(tmp_path / "s") as con:
        con.executemany(
            "INSERT INTO memories (content, created_at) VALUES (?, ?)",
            [["The first.", "2026-01-01"], ["The second.", "2026-01-02"], ["Third.", "2026-01-03"]],
        )
        con.execute(
            "SELECT content FROM memories WHERE content = 'Third.' MATERIALIZE AS ACTIVATION"
        )
        answer = con.execute(
            "SELECT generate('Which?', max_tokens := 1 LIMIT 2) FROM memories "
            "MATERIALIZE AS AUTO WITH (order = 'reuse')"
        ).fetchone()
        assert answer is not None
        contents = dict(con.execute("SELECT id, content FROM memories").fetchall())
        assert sorted(contents[one] for one in answer[0].memory_ids) == [
            "The first.",
            "The second.",
        ]


def test_a_view_keeps_its_order(tmp_path: Path) -> None:
    with memql.connect(tmp_path / "s") as con:
        con.executemany(
            "INSERT INTO memories (content, kind, created_at) VALUES (?, ?, ?)",
            [["The first.", "a", "2026-01-01"], ["The second.", "b", "2026-01-02"]],
        )
        con.execute("SELECT content FROM memories WHERE kind = 'b' MATERIALIZE AS ACTIVATION")
        con.execute(
            "CREATE MATERIALIZED VIEW v AS SELECT content FROM memories "
            "MATERIALIZE AS ACTIVATION WITH (order = 'reuse')"
        )
        answer = con.execute("SELECT generate('Which?', max_tokens := 1) FROM v").fetchone()
        assert answer is not None and answer[0].computed_tokens == 0


def test_rows_of_others_stand_in_canonical_order(tmp_path: Path) -> None:
    """The order would tell what others have stored of their rows."""
    store = tmp_path / "s"
    with memql.connect(store, user="alice") as alice, memql.connect(store, user="bob") as bob:
        alice.executemany(
            "INSERT INTO memories (content, kind, created_at) VALUES (?, ?, ?)",
            [["The first.", "a", "2026-01-01"], ["The second.", "b", "2026-01-02"]],
        )
        alice.execute("GRANT READ, MATERIALIZE ON MEMORIES TO bob")
        alice.execute("SELECT content FROM memories WHERE kind = 'b' MATERIALIZE AS ACTIVATION")
        text = "SELECT content FROM memories MATERIALIZE AS ACTIVATION WITH (order = 'reuse')"
        orders = []
        for con in (alice, bob):
            row = con.execute(text).fetchone()
            assert row is not None
            orders.append(row[8])
        assert orders[0] == orders[1][::-1]
