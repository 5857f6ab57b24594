"""LIMIT in tokens against an oracle that counts by itself; what is tokenized, and what not."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import memql
from memql.engine.model.spec import describe
from memql.engine.model.tokens import Tokens
from memql.engine.segments import LEADING_ROWS, Segments
from tests.soak import examples

pytestmark = pytest.mark.slow

TOKENS = Tokens(describe("tiny", "tiny", {}))

words = st.sampled_from("tea Lisbon peanuts été 東京 ' ; likes\n😀".split(" "))
texts = st.lists(words, max_size=6).map(" ".join)


def leading(rows: list[str | None], tokens: int) -> list[str | None]:
    """The longest leading run that fits, counted with nothing but the tokenizer."""
    kept: list[str | None] = []
    for row in rows:
        tokens -= 0 if row is None else len(TOKENS.segments([row])[0])
        if tokens < 0:
            break
        kept.append(row)
    return kept


@examples(12)
@given(
    st.lists(st.tuples(texts, st.booleans()), max_size=12),
    st.integers(0, 80),
    st.none() | st.integers(0, 12),
)
def test_against_the_oracle(rows: list[tuple[str, bool]], tokens: int, at_most: int | None) -> None:
    with memql.connect() as con:
        if rows:
            con.executemany(
                "INSERT INTO memories (content, kind, importance) VALUES (?, ?, ?)",
                [[text, "x" if shown else None, i / 100] for i, (text, shown) in enumerate(rows)],
            )
        shown = [text if is_shown else None for text, is_shown in rows]
        column = "CASE WHEN kind = 'x' THEN content END"
        limit = "LIMIT $n TOKENS" if at_most is None else "LIMIT $k ROWS $n TOKENS"
        values = {"n": tokens} if at_most is None else {"n": tokens, "k": at_most}
        wanted = leading(shown[:at_most], tokens)
        query = f"SELECT {column} AS c FROM memories ORDER BY importance"
        assert con.execute(f"{query} {limit}", values).fetchall() == [(text,) for text in wanted]
        # In a subquery, as a form, and inside generate the same rows are taken.
        inner = f"SELECT c FROM ({query} {limit}) AS t"
        assert con.execute(inner, values).fetchall() == [(text,) for text in wanted]
        made = con.execute(f"{query} {limit} MATERIALIZE AS PLAINTEXT", values).fetchone()
        assert made is not None
        assert len(made[8]) == sum(text is not None for text in wanted)
        # A generate leaves rows without text out first.
        present = [text for text in shown if text is not None]
        plan = con.execute(
            f"EXPLAIN (FORMAT json) SELECT generate('q', {column} ORDER BY importance {limit}) "
            "FROM memories",
            values,
        ).fetchone()
        assert plan is not None
        segments = len(leading(list(present[:at_most]), tokens))
        assert f'"segments": {segments},' in plan[0] or not segments


def test_the_oracle_notices_one_token_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = len(TOKENS.segments(["tea"])[0])
    with memql.connect() as con:
        con.execute("INSERT INTO memories (content) VALUES ('tea')")
        query = f"SELECT content FROM memories LIMIT {tokens - 1} TOKENS"
        assert not con.execute(query).fetchall() and not leading(["tea"], tokens - 1)
        fits = Segments.leading
        monkeypatch.setattr(
            Segments,
            "leading",
            lambda self, rows, spec, room, *others, write: fits(
                self, rows, spec, room + 1, *others, write=write
            ),
        )
        assert con.execute(query).fetchall()


@pytest.fixture
def tokenized(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were tokenized."""
    texts: list[str] = []
    segments = Tokens.segments

    def noted(tokens: Tokens, rows: Any) -> Any:
        texts.extend(rows)
        return segments(tokens, rows)

    monkeypatch.setattr(Tokens, "segments", noted)
    return texts


def _store(path: Path, rows: int) -> memql.Connection:
    con = memql.connect(path)
    con.executemany(
        "INSERT INTO memories (content, importance) VALUES (?, ?)",
        [[f"Fact {number}.", number / rows] for number in range(rows)],
    )
    return con


def test_counts_come_from_the_catalog(tmp_path: Path, tokenized: list[str]) -> None:
    query = "SELECT content FROM memories ORDER BY importance LIMIT 100 TOKENS"
    with _store(tmp_path / "s", 20) as con:
        first = con.execute(query).fetchall()
        assert len(tokenized) == 20
    tokenized.clear()
    with memql.connect(tmp_path / "s") as con:
        assert con.execute(query).fetchall() == first
        con.execute("SELECT content FROM memories MATERIALIZE AS PLAINTEXT")
    assert not tokenized


def test_explain_writes_no_counts(tmp_path: Path, tokenized: list[str]) -> None:
    query = "SELECT content FROM memories LIMIT 100 TOKENS"
    with _store(tmp_path / "s", 20) as con:
        con.execute(f"EXPLAIN {query}").fetchall()
    tokenized.clear()
    with memql.connect(tmp_path / "s") as con:
        con.execute(query).fetchall()
    assert len(tokenized) == 20


def test_what_lies_behind_the_limit_is_not_tokenized(tmp_path: Path, tokenized: list[str]) -> None:
    with _store(tmp_path / "s", 1000) as con:
        for query in (
            "SELECT content FROM memories ORDER BY importance DESC LIMIT 50 TOKENS",
            "SELECT generate('q', max_tokens := 1 ORDER BY importance DESC LIMIT 50 TOKENS) "
            "FROM memories",
        ):
            con.execute(query).fetchall()
    assert set(tokenized) == {f"Fact {number}." for number in range(1000 - LEADING_ROWS, 1000)}


def test_all_parts_of_a_statement_see_one_moment(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with _store(path, 10) as con, memql.connect(path) as other:
        session = con._session
        leading_rows = session._segments.leading

        def writes_meanwhile(*args: Any, **kwargs: Any) -> Any:
            other.execute("DELETE FROM memories")
            return leading_rows(*args, **kwargs)

        session._segments.leading = writes_meanwhile  # type: ignore[method-assign]
        counts = con.execute(
            "SELECT (SELECT count(*) FROM (SELECT content FROM memories LIMIT 1000 TOKENS)), "
            "count(*) FROM memories"
        ).fetchone()
        assert counts == (10, 10)
        assert con.execute("SELECT count(*) FROM memories").fetchone() == (0,)


def test_a_view_counts_tokens_of_its_model(tmp_path: Path) -> None:
    with _store(tmp_path / "s", 3) as con:
        con.execute("CREATE MODEL m FROM 'tiny' WITH (system = 'Be brief.')")
        con.execute(
            "CREATE MATERIALIZED VIEW v AS SELECT content FROM memories LIMIT 1000 TOKENS "
            "MATERIALIZE AS PLAINTEXT FOR MODEL m"
        )
        plan = con.execute("EXPLAIN (COSTS off) SELECT count(*) FROM v").fetchall()
        assert any(line.strip() == "model: m" for (line,) in plan)


@pytest.mark.parametrize(
    "value",
    [
        "'-170141183460469231731687303715884105728'::HUGEINT",
        "340282366920938463463374607431768211455::UHUGEINT",
        "'10101'::BIT",
        "TIMETZ '12:00:00+02'",
        "'00000000-0000-0000-0000-000000000001'::UUID",
        "INTERVAL '1 month 2 days 3 us'",
        "1.50::DECIMAL(38, 10)",
        "['1'::BIT, NULL]",
        "{'a': '10'::BIT, 'b': [true]}",
        "'a'::ENUM('a', 'b')",
        "'\\xFF'::BLOB",
        "MAP {'a': 1}",
        "TIMESTAMP_NS '2026-01-01 00:00:00.123456789'",
        "'NaN'::DOUBLE",
        "union_value(a := 1)",
        "true",
        "NULL",
    ],
)
def test_values_and_types_are_kept(value: str) -> None:
    query = f"SELECT {value} AS x, typeof({value}) AS kind, 1 AS x"
    with memql.connect() as con:
        wanted = [str(row) for row in con.execute(query).fetchall()]
        cut = con.execute(f"{query} LIMIT 1000 TOKENS")
        assert [str(row) for row in cut.fetchall()] == wanted
        inner = (
            f"SELECT x, typeof(x), y FROM ({query.replace('1 AS x', '1 AS y')} LIMIT 999 TOKENS)"
        )
        assert [str(row) for row in con.execute(inner).fetchall()] == wanted
        con.execute("BEGIN")
        assert [str(row) for row in con.execute(query).fetchall()] == wanted


def test_arrow_gets_types_that_other_programs_know() -> None:
    import pyarrow as pa

    with memql.connect() as con:
        query = "SELECT uuid() AS id, sum(range) AS n, true AS b, [uuid()] AS l FROM range(3)"
        assert con.execute(query).arrow().schema.types == [
            pa.string(),
            pa.decimal128(38, 0),
            pa.bool_(),
            pa.list_(pa.string()),
        ]


def test_an_error_behind_the_first_rows_is_told_in_memqls_words() -> None:
    late = "CAST(CASE WHEN range > 10000 THEN 'x' ELSE '1' END AS INT)"
    with memql.connect() as con:
        for query in (
            f"SELECT {late} AS c FROM range(200000)",
            f"SELECT {late} AS c FROM range(200000) LIMIT 1000000000 TOKENS",
        ):
            with pytest.raises(memql.DataError, match="Could not convert string 'x'") as caught:
                con.execute(query).fetchall()
            assert "LINE" not in str(caught.value)


def test_a_reader_waits_for_no_writer(tmp_path: Path) -> None:
    with _store(tmp_path / "s", 3) as con:
        lock = con._session._store.commit_lock
        taken, enough = threading.Event(), threading.Event()

        def write_for_long() -> None:
            with lock:
                taken.set()
                enough.wait(60)

        writer = threading.Thread(target=write_for_long)
        writer.start()
        assert taken.wait(60)
        try:
            rows = con.execute("SELECT content FROM memories LIMIT 100 TOKENS").fetchall()
            assert len(rows) == 3 and writer.is_alive()
        finally:
            enough.set()
            writer.join()


def test_long_rows_are_counted_a_few_at_a_time(tokenized: list[str]) -> None:
    with memql.connect() as con:
        con.executemany(
            "INSERT INTO memories (content, importance) VALUES (?, ?)",
            [[f"{number} " + "long " * 10_000, number / 10] for number in range(10)],
        )
        query = "SELECT content FROM memories ORDER BY importance LIMIT 10 TOKENS"
        assert con.execute(query).fetchall() == []
        assert len(tokenized) == 2


def test_rows_without_text_take_no_room(tmp_path: Path) -> None:
    # More of them than there is room for tokens: a bound on rows would end too early.
    with _store(tmp_path / "s", 100) as con:
        query = (
            "SELECT CASE WHEN importance < 0.9 THEN NULL ELSE content END AS c "
            "FROM memories ORDER BY importance LIMIT 12 TOKENS"
        )
        rows = [row[0] for row in con.execute(query).fetchall()]
        texts = [f"Fact {number}." for number in range(90, 100)]
        assert rows == leading([None] * 90 + texts, 12)
        assert rows.count(None) == 90 < len(rows)


def test_a_million_rows_are_not_held(tmp_path: Path) -> None:
    with memql.connect() as con:
        query = "SELECT i FROM range(1000000000) AS t(i) LIMIT 30 TOKENS"
        rows = con.execute(query).fetchall()
        assert rows == [(number,) for number in range(len(rows))] and rows
