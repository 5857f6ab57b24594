"""Ordinary tables and views of others: rights that end, snapshots that are older than rights."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlglot import exp

import memql
from memql.engine import session
from memql.engine.bind import hiding, sources
from memql.engine.printing import HIDDEN, print_query
from memql.engine.tables import owner_of, schema_of
from memql.errors import (
    DataError,
    IntegrityError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)

SETUP = (
    "CREATE TABLE people (id INTEGER PRIMARY KEY, secret VARCHAR)",
    "INSERT INTO people VALUES (5, '10'), (6, 'top secret'), (7, '30')",
    "CREATE TABLE private AS SELECT 6 AS id",
    "CREATE VIEW told AS SELECT id, secret FROM people "
    "WHERE NOT EXISTS (SELECT 1 FROM private WHERE private.id = people.id)",
)
ASKED = "SELECT id FROM alice.told WHERE CAST(secret AS INTEGER) > 0 ORDER BY id"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.memql"


@pytest.fixture
def alice(path: Path) -> Iterator[memql.Connection]:
    with memql.connect(path, user="alice") as con:
        for statement in SETUP:
            con.execute(statement)
        yield con


@pytest.fixture
def bob(path: Path, alice: memql.Connection) -> Iterator[memql.Connection]:
    with memql.connect(path, user="bob") as con:
        yield con


def rows(con: memql.Connection, query: str) -> list[tuple[Any, ...]]:
    return list(con.execute(query).fetchall())


@pytest.mark.parametrize("owner", ["local", "alice", "Al%", "of:b", "ä", "a.b", '"', "🙂"])
def test_a_schema_says_whose_it_is(owner: str) -> None:
    assert owner_of(schema_of(owner)) == owner


# -- what a view hides -------------------------------------------------------------------------


def test_no_condition_is_asked_of_a_row_that_a_view_leaves_out(
    alice: memql.Connection, bob: memql.Connection
) -> None:
    alice.execute("GRANT SELECT ON told TO bob")
    assert rows(bob, ASKED) == [(5,), (7,)]
    kept = "CREATE TABLE kept AS SELECT CAST(secret AS INTEGER) AS n FROM alice.told"
    bob.execute(kept)
    bob.execute("INSERT INTO kept SELECT CAST(secret AS INTEGER) FROM alice.told")
    bob.execute("UPDATE kept SET n = 1 FROM alice.told AS t WHERE CAST(t.secret AS INTEGER) = n")
    bob.execute("DELETE FROM kept USING alice.told AS t WHERE CAST(t.secret AS INTEGER) = 10")
    assert rows(bob, "SELECT count(*) FROM kept") == [(0,)]
    bob.execute(
        "INSERT INTO memories (content) SELECT secret FROM alice.told WHERE secret::INT = 10"
    )
    assert rows(bob, "SELECT content FROM memories") == [("10",)]
    bob.execute("CREATE VIEW over AS SELECT CAST(secret AS INTEGER) AS n FROM alice.told")
    assert rows(bob, "SELECT sum(n) FROM over WHERE n > 5") == [(40,)]
    twice = "SELECT max(t.secret::INT + u.id) FROM alice.told AS t, alice.told AS u"
    assert rows(bob, twice) == [(37,)]


def test_the_rows_of_a_view_are_no_longer_there_behind_a_statement(
    alice: memql.Connection, bob: memql.Connection
) -> None:
    alice.execute("GRANT SELECT ON told TO bob")
    found = "SELECT count(*) FROM duckdb_tables() WHERE temporary"
    cursor = bob._session._cursor
    bob.begin()
    for statement in (
        ASKED,
        "CREATE TABLE kept AS FROM alice.told",
        "INSERT INTO kept FROM alice.told",
        "CREATE VIEW over AS FROM alice.told",
        "DESCRIBE over",
        "UPDATE kept SET id = 1 WHERE id IN (SELECT id FROM alice.told)",
        "SELECT generate('Who?', secret, max_tokens := 1) FROM alice.told",
        "FROM over MATERIALIZE AS PLAINTEXT",
        "SELECT secret FROM alice.told LIMIT 9 TOKENS",
    ):
        bob.execute(statement).fetchall() if "SELECT" in statement[:6] else bob.execute(statement)
        assert cursor.execute(found).fetchall() == [(0,)], statement
    bob.rollback()


def test_without_the_barrier_a_hidden_row_shows(
    alice: memql.Connection, bob: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.execute("GRANT SELECT ON told TO bob")
    monkeypatch.setattr(hiding, "HIDING", "nothing")
    with pytest.raises(InternalError, match="would be read past a view"):
        bob.execute(ASKED)
    monkeypatch.setattr(sources, "HIDDEN", "nothing")
    with pytest.raises(DataError, match="top secret"):
        bob.execute(f"{ASKED} LIMIT 9").fetchall()


def test_a_table_behind_a_view_is_not_printed_alone() -> None:
    table = exp.table_("people", db="of:alice")
    query = exp.Select(expressions=[exp.Star()]).from_(table)
    assert print_query(query).sql
    next(query.find_all(exp.Table)).meta[HIDDEN] = True
    with pytest.raises(InternalError):
        print_query(query)


def test_a_failing_view_tells_its_owner_only(
    alice: memql.Connection, bob: memql.Connection
) -> None:
    alice.execute("CREATE VIEW numbers AS SELECT CAST(secret AS INTEGER) AS n FROM people")
    alice.execute("CREATE VIEW ids AS SELECT id AS n FROM people")
    for view in ("numbers", "ids"):
        alice.execute(f"GRANT SELECT ON {view} TO bob")
    assert rows(bob, "SELECT max(n) FROM alice.ids") == [(7,)]
    alice.execute("ALTER TABLE people RENAME COLUMN id TO other")
    for view in ("numbers", "ids"):
        for query in (
            f"SELECT * FROM alice.{view}",
            f"SELECT count(*) FROM alice.{view}, (SELECT 1 AS id)",
            f"CREATE TABLE kept AS FROM alice.{view}",
            f"DESCRIBE alice.{view}",
        ):
            with pytest.raises(ProgrammingError) as told:
                bob.execute(query).fetchall()
            assert told.value.code == "42P01"
            assert told.value.message.startswith(f"the view alice.{view} cannot be read"), query
            assert not {"other", "secret"} & {*str(told.value).replace('"', " ").split()}
    with pytest.raises(DataError, match="top secret"):
        rows(alice, "SELECT * FROM numbers")
    with pytest.raises(ProgrammingError, match="unknown column 'id'"):
        rows(alice, "SELECT * FROM ids")


def test_a_view_that_is_interrupted_says_so(alice: memql.Connection, bob: memql.Connection) -> None:
    alice.execute("CREATE VIEW long AS SELECT count(*) AS n FROM people, range(100000000)")
    alice.execute("CREATE VIEW longer AS SELECT sum(n + range) AS n FROM long, range(1000000000)")
    alice.execute("GRANT SELECT ON longer TO bob")
    bob.execute("SET memql.statement_timeout = '50ms'")
    with pytest.raises(OperationalError) as told:
        bob.execute("SELECT * FROM alice.longer").fetchall()
    assert told.value.code == "57014"


def test_a_view_of_a_name_of_ones_own_is_not_the_same_view(
    alice: memql.Connection, bob: memql.Connection
) -> None:
    alice.execute("CREATE VIEW v AS SELECT 'of alice' AS who FROM private")
    alice.execute("GRANT SELECT ON v TO bob")
    bob.execute("CREATE VIEW v AS SELECT who FROM alice.v")
    assert rows(bob, "SELECT who FROM v") == [("of alice",)]
    alice.execute("GRANT SELECT ON v TO bob WITH GRANT OPTION")
    bob.execute("GRANT SELECT ON v TO alice")
    alice.execute("CREATE OR REPLACE VIEW w AS SELECT who FROM bob.v")
    assert rows(alice, "SELECT who FROM w") == [("of alice",)]
    with pytest.raises(ProgrammingError) as told:
        alice.execute("CREATE OR REPLACE VIEW v AS SELECT who FROM bob.v")
    assert told.value.code == "42P01"  # a circle through bob's view, whose text is bob's
    assert rows(alice, "SELECT who FROM v") == [("of alice",)]


# -- rights that end ---------------------------------------------------------------------------


def test_a_right_is_taken_for_the_next_statement(
    alice: memql.Connection, bob: memql.Connection
) -> None:
    alice.execute("GRANT SELECT ON told TO bob")
    alice.execute("GRANT INSERT ON private TO bob")
    bob.execute("CREATE VIEW over AS SELECT id FROM alice.told")
    statements = (ASKED, "SELECT max(id) FROM over", "INSERT INTO alice.private VALUES (9)")
    for statement in statements * 2:
        bob.execute(statement)  # the second time from the kept plan
    bob.begin()
    for statement in statements:
        bob.execute(statement)
    alice.execute("REVOKE ALL ON private FROM bob")
    alice.execute("REVOKE SELECT ON told FROM bob")
    for statement in statements:
        with pytest.raises(ProgrammingError, match=r"unknown table 'alice\.") as told:
            bob.execute(statement)
        assert told.value.code == "42P01"
    bob.commit()
    for statement in statements:
        with pytest.raises(ProgrammingError):
            bob.execute(statement)
    with pytest.raises(ProgrammingError):
        bob.executemany("INSERT INTO alice.private VALUES (?)", [(1,), (2,)])
    assert rows(alice, "SELECT count(*) FROM private WHERE id = 9") == [(3,)]


def test_a_right_ends_at_its_moment(
    alice: memql.Connection, bob: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice.execute("GRANT SELECT ON told TO bob UNTIL now() + INTERVAL 1 HOUR")
    alice.execute("GRANT INSERT, SELECT ON private TO bob UNTIL now() + INTERVAL 1 HOUR")
    statements = (
        ASKED,
        "SELECT count(*) FROM alice.private",
        "INSERT INTO alice.private VALUES (9)",
    )
    for statement in statements * 2:
        bob.execute(statement)

    class Later:
        @staticmethod
        def now(zone: timezone) -> datetime:
            return datetime.now(zone) + timedelta(hours=2)

    monkeypatch.setattr(session, "datetime", Later)
    for statement in statements:
        with pytest.raises(ProgrammingError, match=r"unknown table 'alice\."):
            bob.execute(statement)


def test_what_is_granted_later_is_not_read_in_an_older_snapshot(
    alice: memql.Connection, bob: memql.Connection
) -> None:
    bob.begin()
    assert rows(bob, "SELECT count(*) FROM memories") == [(0,)]
    # The name means another table now, which bob may read; his snapshot has the old one.
    alice.execute("CREATE OR REPLACE TABLE people AS SELECT 'public' AS secret")
    alice.execute("GRANT SELECT ON people TO bob")
    for query in ("SELECT secret FROM alice.people", "DESCRIBE alice.people"):
        with pytest.raises(ProgrammingError, match=r"unknown table 'alice\.people'"):
            bob.execute(query)
    bob.rollback()
    assert rows(bob, "SELECT secret FROM alice.people") == [("public",)]


def test_a_dropped_table_takes_its_rights_along_when_that_is_committed(
    alice: memql.Connection, bob: memql.Connection
) -> None:
    alice.execute("GRANT SELECT ON private TO bob")
    read = "SELECT * FROM alice.private"
    alice.begin()
    alice.execute("DROP TABLE private")
    alice.execute("CREATE TABLE private AS SELECT 'new' AS secret")
    assert rows(bob, read) == [(6,)]
    alice.rollback()
    assert rows(bob, read) == [(6,)]
    alice.begin()
    alice.execute("DROP TABLE private")
    alice.execute("CREATE TABLE private AS SELECT 'new' AS secret")
    alice.commit()
    with pytest.raises(ProgrammingError, match=r"unknown table 'alice\.private'"):
        bob.execute(read)
    assert rows(alice, "SELECT * FROM private") == [("new",)]


def test_a_view_that_could_not_be_replaced_keeps_its_rights(
    alice: memql.Connection, bob: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = "MATERIALIZED VIEW m AS SELECT content FROM memories MATERIALIZE AS"
    alice.execute(f"CREATE {made} PLAINTEXT")
    alice.execute("GRANT SELECT ON m TO bob")
    assert rows(bob, "SELECT * FROM alice.m") == []

    def fail(*args: object) -> None:
        raise OperationalError("no model today")

    with monkeypatch.context() as broken:
        broken.setattr("memql.engine.run.executor.Executor.materialize", fail)
        with pytest.raises(OperationalError, match="no model today"):
            alice.execute(f"CREATE OR REPLACE {made} PLAINTEXT")
        with pytest.raises(OperationalError, match="no model today"):
            alice.execute(f"CREATE {made.replace(' m ', ' n ')} PLAINTEXT")
    assert rows(bob, "SELECT * FROM alice.m") == []
    assert rows(alice, "SELECT name FROM memql.views WHERE form IS NOT NULL") == [("m",)]


# -- changes -----------------------------------------------------------------------------------


def test_constraints_tell_nothing_of_rows_that_one_may_not_read(
    alice: memql.Connection, bob: memql.Connection
) -> None:
    for statement in (
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner INTEGER REFERENCES people (id), "
        "secret VARCHAR, part INTEGER, "
        "share INTEGER AS (CAST(secret AS INTEGER) // part), CHECK (part < 100))",
        "INSERT INTO accounts VALUES (1, 5, '4711', 1), (2, 7, '4712', 1)",
        "CREATE TABLE notes (account INTEGER REFERENCES accounts (id))",
        "INSERT INTO notes VALUES (2)",
        "GRANT INSERT, UPDATE, DELETE ON accounts TO bob",
    ):
        alice.execute(statement)
    for change, kind in (
        ("INSERT INTO alice.accounts (id) VALUES (1)", IntegrityError),
        ("INSERT INTO alice.accounts (id, owner) VALUES (3, 6), (4, 8)", IntegrityError),
        ("INSERT INTO alice.accounts (id, part) VALUES (3, 100)", IntegrityError),
        ("INSERT INTO alice.accounts (id, secret) VALUES (3, 'x')", IntegrityError),
        ("INSERT INTO alice.accounts (id) VALUES ('x')", DataError),
        ("UPDATE alice.accounts SET id = 1", IntegrityError),
        ("UPDATE alice.accounts SET owner = 99", IntegrityError),
        ("DELETE FROM alice.accounts", IntegrityError),
        ("TRUNCATE alice.accounts", IntegrityError),
    ):
        with pytest.raises(kind) as told:
            bob.execute(change)
        assert told.value.message == (
            "the change does not fit the rows or the constraints of alice.accounts"
        ), change
        with pytest.raises(kind) as told:
            alice.execute(change.replace("alice.", ""))
        assert "does not fit" not in told.value.message, change
    assert rows(alice, "SELECT count(*) FROM accounts") == [(2,)]


def test_a_role_is_owner_for_its_members(path: Path, alice: memql.Connection) -> None:
    with memql.connect(path) as admin, memql.connect(path, user="crew") as crew:
        admin.execute("CREATE ROLE crew")
        admin.execute("GRANT crew TO alice")
        crew.execute("CREATE TABLE shared AS SELECT 1 AS n")
        crew.execute("CREATE VIEW more AS SELECT n + 1 AS n FROM shared")
        alice.execute("INSERT INTO crew.shared VALUES (2)")
        alice.execute("UPDATE crew.shared SET n = 3 WHERE n = 2")
        assert rows(alice, "SELECT sum(n) FROM crew.more") == [(6,)]
        assert ("shared", "crew", "table", 1) in rows(alice, "SHOW TABLES")
        for definition in ("DROP TABLE crew.shared", "DROP VIEW crew.more"):
            with pytest.raises(ProgrammingError, match="unknown"):
                alice.execute(definition)
        alice.execute("CREATE VIEW ours AS SELECT n FROM crew.shared")
        alice.execute("GRANT SELECT ON ours TO bob")
        with memql.connect(path, user="bob") as bob:
            assert rows(bob, "SELECT sum(n) FROM alice.ours") == [(4,)]
            admin.execute("REVOKE crew FROM alice")
            with pytest.raises(ProgrammingError, match=r"the view alice\.ours cannot be read"):
                bob.execute("SELECT sum(n) FROM alice.ours")
        with pytest.raises(ProgrammingError, match=r"unknown table 'crew\.shared'"):
            alice.execute("SELECT * FROM crew.shared")


def test_names_are_the_owners_as_they_are_written(path: Path, alice: memql.Connection) -> None:
    with memql.connect(path, user='Al"ice.x') as odd, memql.connect(path, user="bob") as bob:
        odd.execute('CREATE TABLE "A.b""c" ("x y" INTEGER)')
        odd.execute('INSERT INTO "A.b""c" VALUES (1)')
        odd.execute('GRANT SELECT, UPDATE ON "A.b""c" TO PUBLIC')
        name = '"Al""ice.x"."a.B""C"'
        bob.execute(f'UPDATE {name} SET "x y" = 2')
        assert rows(bob, f'SELECT {name}."x y" FROM {name}') == [(2,)]
        for other in ('"al""ice.x"."A.b""c"', '"Al""ice.x.A.b""c"', '"Al""ice"."x.A.b""c"'):
            with pytest.raises(ProgrammingError, match="unknown table"):
                bob.execute(f"SELECT * FROM {other}")
        odd.execute('ALTER TABLE "A.b""c" RENAME TO "d.e"')
        assert rows(bob, 'SELECT * FROM "Al""ice.x"."d.e"') == [(2,)]


def test_copy_takes_the_rights_of_its_statement(tmp_path: Path, alice: memql.Connection) -> None:
    path, folder = tmp_path / "store.memql", tmp_path / "files"
    folder.mkdir()
    alice.execute("GRANT SELECT ON told TO root")
    alice.execute("GRANT INSERT ON private TO root")
    with memql.connect(path) as admin:
        admin.execute("CREATE USER root WITH PASSWORD 'a long password'")
    with memql.connect(
        path, user="root", password="a long password", allowed_folders=[folder]
    ) as root:
        root.execute(f"COPY (SELECT id FROM alice.told) TO '{folder}/told.csv'")
        root.execute(f"COPY alice.private FROM '{folder}/told.csv'")
        with pytest.raises(ProgrammingError, match="root may not SELECT there"):
            root.execute(f"COPY alice.private TO '{folder}/private.csv'")
        with pytest.raises(ProgrammingError, match=r"unknown table 'alice\.people'"):
            root.execute(f"COPY alice.people FROM '{folder}/told.csv'")
    assert sorted(one.name for one in folder.iterdir()) == ["told.csv"]


# -- what the catalog tells --------------------------------------------------------------------


def test_rows_of_a_view_of_anothers_keep_their_names_and_types(
    alice: memql.Connection, bob: memql.Connection
) -> None:
    alice.execute("CREATE TYPE mood AS ENUM ('ok', 'sad')")
    alice.execute(
        "CREATE VIEW odd AS SELECT id, id AS ID, id + 1, 'ok'::mood AS m, ['sad'::mood] AS l, "
        "1::HUGEINT AS h, union_value(a := 1) AS u, INTERVAL 1 DAY AS i, [] AS e, '01'::BIT AS b, "
        "row(id, 'x') AS r, secret FROM people ORDER BY id DESC"
    )
    alice.execute("GRANT SELECT ON odd TO bob")
    types = "SELECT " + ", ".join(f"typeof({name})" for name in "mlhuiebr") + " FROM "
    assert rows(bob, f"{types} alice.odd") == rows(alice, f"{types} odd")
    own, others = alice.execute("FROM odd"), bob.execute("FROM alice.odd")
    assert [one[:2] for one in own.description or ()] == [
        one[:2] for one in others.description or ()
    ]
    assert others.fetchall() == own.fetchall()
    # Nothing of the owner's hangs on what another made of it.
    bob.execute("CREATE TABLE kept AS SELECT m, l FROM alice.odd")
    alice.execute("DROP VIEW odd")
    alice.execute("DROP TYPE mood")
    assert rows(bob, "SELECT DISTINCT m FROM kept") == [("ok",)]


def test_figures_are_of_ones_own_views_over_ones_own_rows(
    path: Path, alice: memql.Connection, bob: memql.Connection
) -> None:
    alice.execute("INSERT INTO memories (content) VALUES ('Alice likes tea.')")
    bob.execute("INSERT INTO memories (content) VALUES ('Bob likes rum.')")
    bob.execute(
        "CREATE MATERIALIZED VIEW m AS SELECT content FROM memories MATERIALIZE AS ACTIVATION"
    )
    figures = "SELECT rows, tokens > 0, compiled_tokens > 0, freshness FROM memql.views"
    assert rows(bob, figures) == [(1, True, True, 1.0)]
    alice.execute("GRANT READ ON MEMORIES TO bob")
    assert rows(bob, figures) == [(2, None, None, None)]
    alice.execute("REVOKE READ ON MEMORIES FROM bob")
    assert rows(bob, figures) == [(1, True, True, 1.0)]
    bob.execute("GRANT SELECT ON m TO alice")
    assert rows(alice, f"{figures} WHERE name = 'm'") == [(None, None, None, None)]
    with memql.connect(path) as admin:
        assert rows(admin, f"{figures} WHERE name = 'm'")[0][:3] == (2, True, True)


def test_a_materialized_view_over_anothers_view_ends_with_the_right(
    alice: memql.Connection, bob: memql.Connection
) -> None:
    alice.execute("GRANT SELECT ON told TO bob")
    bob.execute(
        "CREATE MATERIALIZED VIEW m AS SELECT secret AS content FROM alice.told "
        "MATERIALIZE AS ACTIVATION"
    )
    bob.execute("REFRESH MATERIALIZED VIEW m")
    state = "SELECT rows, tokens = compiled_tokens, problem FROM memql.views WHERE owner = 'bob'"
    assert rows(bob, state) == [(2, True, None)]
    alice.execute("REVOKE SELECT ON told FROM bob")
    assert rows(bob, state) == [(None, None, "unknown table 'alice.told'")]
    for statement in ("REFRESH MATERIALIZED VIEW m", "FROM m", "FROM m MATERIALIZE AS ACTIVATION"):
        with pytest.raises(ProgrammingError, match=r"unknown table 'alice\.told'"):
            bob.execute(statement)


def test_hints_name_only_what_one_has_a_right_to(
    alice: memql.Connection, bob: memql.Connection
) -> None:
    alice.execute("CREATE TABLE secret_plans (secret_date INTEGER)")
    alice.execute("CREATE VIEW secret_places AS SELECT 1 AS one")
    alice.execute("GRANT SELECT ON told TO bob")
    for statement in (
        "SELECT * FROM alice.secret_plan",
        "SELECT * FROM secret_places",
        "INSERT INTO alice.secret_plan VALUES (1)",
        "DROP TABLE alice.secret_plan",
        "DROP VIEW secret_place",
        "DROP MATERIALIZED VIEW secret_place",
        "SELECT secret_date FROM alice.told",
        "TRUNCATE alice.secret_plans",
        "SUMMARIZE alice.secret_plans",
        "SELECT alice.secret_plans.secret_date FROM alice.told",
        "SELECT CAST(1 AS alice.secret)",
    ):
        with pytest.raises(ProgrammingError) as told:
            bob.execute(statement)
        hint = str(told.value.hint)
        assert "secret_" not in hint, statement
        assert told.value.message.startswith("unknown "), statement
    with pytest.raises(ProgrammingError) as told:
        bob.execute("SELECT * FROM alice.tolt")
    assert told.value.hint == "did you mean alice.told?"


def test_a_view_does_not_count_its_readers_rows_for_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "trojan.memql"
    with memql.connect(path, user="alice") as alice, memql.connect(path, user="bob") as bob:
        alice.execute("CREATE SEQUENCE s")
        alice.execute("CREATE VIEW v AS SELECT content, nextval('s') AS n FROM memories")
        alice.execute("GRANT SELECT ON v TO bob")
        bob.execute("INSERT INTO memories (content) VALUES ('his')")
        with pytest.raises(NotSupportedError, match=r"alice\.v counts with a sequence"):
            bob.execute("SELECT * FROM alice.v")
        alice.execute("INSERT INTO memories (content) VALUES ('hers')")
        assert alice.execute("SELECT n FROM v").fetchall() == [(1,)]
        # What is granted is read, not shown: the text may name what is hidden.
        shown = bob.execute("SELECT name, query FROM memql.views").fetchall()
        assert shown == [("v", None)]
