"""Conditions that are asked of rows which the user may not see: none can fail, or be cast."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import product
from typing import Any
from uuid import UUID

import duckdb
import pytest
import sqlglot

import memql
from memql.engine.bind.predicates import is_condition, leakproof
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.reach import Reach
from memql.engine.rights import MAX_GIVEN, Catalog
from memql.errors import Error, ProgrammingError
from memql.storage.governance import Governance, Grant
from memql.storage.schema import MEMORY_COLUMNS

LET_IN = """
kind = 'fact' ; 'fact' = kind ; kind <> 'a' AND (importance < 0.5 OR trust >= -1) ; NOT hold
hold = true ; hold IS FALSE ; importance < 1e5 ; version = 7 ; version BETWEEN 1 AND 9
kind IN ('a', 'b') ; kind NOT IN ('a') ; tags IS NULL ; attributes IS NOT NULL
kind BETWEEN 'a' AND 'b'
id = '01890000-0000-7000-9000-000000000001' ; created_at > '2026-01-01'
created_at < DATE '2026-01-01'
created_at >= TIMESTAMPTZ '2026-01-01 00:00:00+00' ; kind IS DISTINCT FROM 'a' ; true
"""
WIDE_ONLY = """
content LIKE 'a%' ; content NOT LIKE 'a%' ; starts_with(content, 'a') ; list_contains(tags, 'a')
valid_to > now() ; created_at = updated_at ; kind = source ; contains(content, '%')
"""
KEPT_OUT = f"""
kind = 5 ; kind = 1.5 ; content = true ; importance = '0.5' ; importance = 'x' ; version = 1.5
version = 0.{"1" * 37} ; importance < {"9" * 400} ; importance < {"9" * 40} ; version < {2**63}
importance < 1e400 ; id = 'x' ; id = '0x345678-1234-1234-1234-123456789012'
id = '12_45678-1234-1234-1234-123456789012' ; id = '１２345678-1234-1234-1234-12345678901'
id = '1234567812345678123456781234567812' ; created_at > 'x' ; created_at > '2026-13-01'
created_at > '２026-01-01' ; created_at > '20260101' ; created_at > '0000-01-01' ; created_at = 5
CAST(content AS INT) > 1 ; lower(kind) = 'a' ; kind || 'a' = 'b' ; kind = lower('a') ; kind = NULL
kind IN ('a', 5) ; kind IN ('a', NULL) ; kind IN (SELECT 'a') ; kind BETWEEN 'a' AND 5
tags = ['a']
tags[1] = 'a' ; attributes->>'a' = 'b' ; content LIKE 'a' ESCAPE 'bc' ; content LIKE kind
content SIMILAR TO 'a' ; regexp_matches(content, '(') ; content ILIKE 'a'
kind COLLATE nocase = 'a'
random() < 0.5 ; 1 = 1 ; 1 / 0 = 1 ; error('x') ; (kind, source) = ('a', 'b') ; nosuch = 'a'
m.kind = 'a'
kind = 'a' AND 1 / importance > 1 ; kind = 'a' OR CAST(content AS INT) = 1
created_at > INTERVAL 1 DAY
(SELECT true) ; EXISTS (SELECT 1) ; kind = ANY (['a']) ; list_contains(tags, content)
hold = 'yes' ; hold = 1
kind IS DISTINCT FROM 5 ; importance = TRUE ; superseded_by = id::VARCHAR ; TRY(kind = 'a')
content = current_user
"""


def texts(listed: str) -> list[str]:
    return [text.strip() for line in listed.strip().splitlines() for text in line.split(" ; ")]


def parsed(text: str) -> sqlglot.exp.Expr:
    tree = sqlglot.parse_one(f"SELECT 1 WHERE ({text})", read=PlainDuckDB)
    return tree.args["where"].this  # type: ignore[no-any-return]


def is_leakproof(text: str, values: dict[str, Any] | None = None) -> bool:
    return leakproof(parsed(text), lambda column: not column.table, values or {})


@pytest.mark.parametrize("text", texts(LET_IN))
def test_what_compares_columns_with_values_is_let_in(text: str) -> None:
    assert is_leakproof(text) and is_condition(parsed(text))


@pytest.mark.parametrize("text", texts(WIDE_ONLY))
def test_what_conditions_of_grants_may_do_besides(text: str) -> None:
    assert is_condition(parsed(text)) and not is_leakproof(text)


@pytest.mark.parametrize("text", texts(KEPT_OUT))
def test_what_could_fail_is_kept_out(text: str) -> None:
    assert not is_leakproof(text) and not is_condition(parsed(text))


VALUES: list[Any] = [
    *("fact", "", "x\0y", "2026-01-01", "01890000-0000-7000-9000-000000000001", "nan", "1e400"),
    *(5, -(2**63) + 1, 2**63, 10**30, 0.5, math.inf, math.nan, 1e308, True, None, b"x"),
    *(UUID(int=1), datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1)),
    *(datetime.max, datetime.min, Decimal("1e30"), Decimal("0.1"), ["a"], {"a": 1}, (1, 2)),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("column", [name for name, _ in MEMORY_COLUMNS])
def test_no_value_that_is_let_in_fails_on_a_row(column: str, value: Any) -> None:
    """DuckDB is asked over rows with the odd values of each type; a plan has each of them."""
    if not is_leakproof(f"{column} < $v", {"v": value}):
        return
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    columns = ", ".join(f'"{name}" {kind}' for name, kind in MEMORY_COLUMNS)
    con.execute(f"CREATE TABLE memories ({columns})")
    con.execute(
        "INSERT INTO memories BY NAME SELECT unnest(['abc', '', '9', NULL]) AS kind, 'x' AS content"
        ", unnest(['inf', 'nan', '-1', NULL])::DOUBLE AS importance, uuid() AS id, "
        "unnest(['infinity', '0001-01-01 (BC)', '9999-12-31', NULL])::TIMESTAMPTZ AS created_at, "
        "unnest([9223372036854775807, -9223372036854775808, 0, NULL]) AS version"
    )
    for operator in ("<", "=", "<>", ">=", "IS DISTINCT FROM"):
        query = f'SELECT count(*) FROM memories WHERE "{column}" {operator} $v'
        con.execute(query, {"v": value}).fetchall()
        # The value decides, not a row: what fails would fail over no row too.
        con.execute(f"{query} AND kind IS NULL", {"v": value}).fetchall()


@pytest.mark.parametrize("text", [*texts(LET_IN), *texts(WIDE_ONLY)])
def test_a_condition_means_the_same_when_it_is_read_again(text: str) -> None:
    with memql.connect(user="alice") as alice:
        for number in range(8):
            alice.execute(
                "INSERT INTO memories (content, kind, importance, tags, hold, valid_to) "
                "VALUES (?, ?, ?, ?, ?, now() + to_days(?))",
                [
                    f"a{number}%",
                    ["fact", "a", None][number % 3],
                    number / 8,
                    ["a"][: number % 2],
                    number % 2 == 0,
                    number - 4,
                ],
            )
        expected = alice.execute(
            f"SELECT content FROM memories WHERE {text} ORDER BY content"
        ).fetchall()
        alice.execute(f"GRANT READ ON MEMORIES TO bob WHERE ({text})")
        found = _as_bob(alice).execute("SELECT content FROM memories ORDER BY content").fetchall()
        assert found == expected


def _as_bob(alice: memql.Connection) -> memql.Connection:
    """The same store in memory, as another user."""
    alice._session._identity.user = "bob"
    return alice


def test_a_column_of_the_select_list_is_not_the_column_of_the_condition() -> None:
    with memql.connect(user="alice") as con:
        con.execute("INSERT INTO memories (content, kind) VALUES ('7', 'x'), ('8', 'fact')")
        for query in (
            "SELECT content AS kind FROM memories WHERE kind = 'fact'",
            "SELECT CAST(content AS INT) AS kind FROM memories WHERE kind = 'fact'",
            "SELECT upper(content) AS kind FROM memories WHERE kind = 'fact' ORDER BY kind",
        ):
            with_rules = con.execute(query).fetchall()
            con.execute("SET memql.disabled_rules = 'no_barrier, leakproof_below_policy'")
            assert [str(one) for (one,) in with_rules] == ["8"]
            assert con.execute(query).fetchall() == with_rules
            con.execute("RESET memql.disabled_rules")
        with pytest.raises(Error):
            con.execute("SELECT memories.nosuch FROM memories WHERE kind = 'fact'")


@pytest.mark.parametrize("text", ["kind MATCHES 'x'", "CAST(content AS INT) = 1", "generate('x')"])
def test_a_condition_of_another_kind_is_refused(text: str) -> None:
    with memql.connect(user="alice") as con:
        for start in ("GRANT READ ON MEMORIES TO bob WHERE", "CREATE POLICY p ON memories USING"):
            with pytest.raises(Error, match="could fail on a memory") as error:
                con.execute(f"{start} ({text})")
            assert error.value.code == "42P17"


def test_conditions_have_an_end() -> None:
    with memql.connect(user="alice") as con:
        long = " OR ".join(f"kind = 'kind {number}'" for number in range(80))
        for text in (
            f"GRANT READ ON MEMORIES TO bob WHERE ({long})",
            f"CREATE POLICY p ON memories USING ({long})",
        ):
            with pytest.raises(ProgrammingError, match="at most 1,000") as error:
                con.execute(text)
            assert error.value.code == "54001"
        for number in range(MAX_GIVEN):
            con.execute(f"GRANT READ ON MEMORIES TO bob WHERE (kind = '{number}')")
            con.execute(f"CREATE POLICY p{number} ON memories USING (kind = '{number}')")
        with pytest.raises(ProgrammingError, match="has 20 grants of READ"):
            con.execute("GRANT READ ON MEMORIES TO bob WHERE (kind = 'more')")
        with pytest.raises(ProgrammingError, match="has 20 policies"):
            con.execute("CREATE POLICY more ON memories USING (kind = 'more')")
        con.execute("GRANT READ ON MEMORIES TO bob WHERE (kind = '7')")  # it is there already
        con.execute("GRANT READ ON MEMORIES TO carol WHERE (kind = 'more')")


def test_no_giver_pushes_out_what_others_give() -> None:
    grants = [
        Grant(
            number,
            "READ",
            "memories",
            "mallory",
            "public",
            f"kind = '{number}'",
            "mallory",
            False,
            datetime(2026, 1, 1),
            None,
        )
        for number in range(30_000)
    ]
    given = replace(
        grants[0], id=30_000, owner="alice", granted_by="alice", predicate=None, grantee="zoe"
    )
    catalog = Catalog(Governance((), (), (), (*grants, given), ()))
    owners = [reach.owner for reach in catalog.reaches("zoe", "READ")]
    assert "alice" in owners and 0 < owners.count("mallory") <= 100


def test_others_chains_of_grants_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2026, 1, 1)

    def grant(number: int, by: str, to: str, action: str) -> Grant:
        condition = f"kind = '{by} {number % 20}'"
        return Grant(number, action, "memories", "mal", to, condition, by, False, moment, None)

    names = [f"m{number}" for number in range(6)]
    pairs = [(by, to) for by in ("mal", *names) for to in names if by != to]
    every = product(pairs, ("READ", "SHARE"), range(20))
    chains = [grant(n, by, to, action) for n, ((by, to), action, _) in enumerate(every)]
    given = replace(chains[0], id=-1, owner="bob", granted_by="bob", grantee="alice")
    catalog = Catalog(Governance((), (), (), (given, *chains), ()))
    looked_at: list[Reach] = []
    covers = Reach.covers

    def noted(one: Reach, other: Reach) -> bool:
        looked_at.append(one)
        return covers(one, other)

    monkeypatch.setattr(Reach, "covers", noted)
    assert [reach.owner for reach in catalog.reaches("alice", "READ")] == ["bob"]
    assert not looked_at
    # The control: they are long for who is in them.
    assert catalog.reaches("m5", "READ")
    assert len(looked_at) > 10_000
