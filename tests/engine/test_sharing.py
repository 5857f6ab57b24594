"""Groups of one statement that begin with the same rows compute them once."""

from __future__ import annotations

import pytest

import memql
from memql.engine import reuse
from tests.engine.conftest import Fed

pytestmark = pytest.mark.slow

# Each group holds what all know, and then its own.
GROUPS = (
    "SELECT n, generate('Where does Alice live?', max_tokens := 4{order}) AS a FROM memories, "
    "range(3) t(n) WHERE kind IN ('food', 'home') OR (kind = 'pet' AND n = 1) "
    "OR (kind = 'work' AND n = 2) GROUP BY n ORDER BY n{form}"
)
ORDER = " ORDER BY kind"


def _ask(con: memql.Connection, form: str = "") -> list[memql.Answer]:
    return [row[1] for row in con.execute(GROUPS.format(order=ORDER, form=form)).fetchall()]


@pytest.mark.parametrize("form", ["", " MATERIALIZE AS PLAINTEXT"])
def test_common_rows_are_computed_once(con: memql.Connection, fed: Fed, form: str) -> None:
    together = _ask(con, form)
    shared_ids = len(fed.take())
    con.execute("SET memql.disabled_rules = 'share_prefixes'")
    alone = _ask(con, form)
    assert together == alone  # the answers
    assert [answer.reused_tokens for answer in alone] == [0, 0, 0]
    assert sorted(bool(answer.reused_tokens) for answer in together) == [False, True, True]
    for one, other in zip(together, alone, strict=True):
        assert one.reused_tokens is not None and one.computed_tokens is not None
        assert one.tokens == other.tokens == one.reused_tokens + one.computed_tokens
    saved = sum(answer.reused_tokens or 0 for answer in together)
    assert len(fed.take()) - shared_ids == saved


def test_the_deepest_common_beginning_is_taken(con: memql.Connection) -> None:
    first, second, third = _ask(con)
    # Food and home begin all three; nothing else is common to two of them.
    common = min(first.tokens, second.tokens, third.tokens)
    assert {one.reused_tokens for one in (first, second, third)} == {0, common}


def test_what_is_shared_is_said(con: memql.Connection) -> None:
    text = GROUPS.format(order=ORDER, form="")
    lines = [line for (line,) in con.execute(f"EXPLAIN ANALYZE {text}")]
    assert sum("shared_tokens: " in line for line in lines) == 2
    assert not any("shared_tokens: " in line for (line,) in con.execute(f"EXPLAIN {text}"))


def test_what_is_held_has_an_end(con: memql.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuse, "MOST_HELD_BYTES", 0)
    assert all(answer.reused_tokens == 0 for answer in _ask(con))


def test_one_answer_shares_nothing_with_a_later_statement(con: memql.Connection) -> None:
    query = "SELECT generate('Where does Alice live?', max_tokens := 1) FROM memories"
    for _ in range(2):
        row = con.execute(query).fetchone()
        assert row is not None and row[0].reused_tokens == 0


def test_another_order_shares_nothing_but_the_head(con: memql.Connection) -> None:
    text = (
        "SELECT generate('Who?', max_tokens := 1 ORDER BY kind), "
        "generate('Who?', max_tokens := 1 ORDER BY kind DESC) FROM memories"
    )
    row = con.execute(text).fetchone()
    assert row is not None
    reused = sorted(answer.reused_tokens for answer in row)
    assert reused[0] == 0 and 0 < reused[1] < 10
