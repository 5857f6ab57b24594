"""Users and roles: who is let in, who manages whom, what of it shows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import argon2
import pytest

import memql
from memql.engine.govern import passwords
from memql.engine.plancache import cache_of
from memql.errors import (
    DataError,
    Error,
    InterfaceError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    holds_secret,
)
from memql.storage import audit
from memql.storage.store import Store

Connect = Callable[..., memql.Connection]

PAST = "2020-01-01"


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """Opens the store of the test; all connections are closed behind it."""
    opened: list[memql.Connection] = []

    def open_one(user: str | None = None, password: str | None = None, **given: Any) -> Any:
        one = memql.connect(tmp_path / "store.memql", user=user, password=password, **given)
        opened.append(one)
        return one

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def founder(connect: Connect) -> memql.Connection:
    """The connection without a user that made the users root, ann and bob."""
    con = connect()
    con.execute("CREATE USER root WITH PASSWORD 'root-pw'")
    con.execute("CREATE USER ann PASSWORD 'ann-pw'")
    con.execute("CREATE USER bob WITH TOKEN ? NOSUPERUSER", ["bob-token"])
    return con


@pytest.fixture
def root(founder: memql.Connection, connect: Connect) -> memql.Connection:
    return connect("root", "root-pw")


def refused(con: memql.Connection, statement: str, code: str, *parameters: Any) -> Error:
    with pytest.raises(Error) as raised:
        con.execute(statement, *parameters)
    assert raised.value.code == code, raised.value
    return raised.value


def rows(con: memql.Connection, query: str) -> list[tuple[Any, ...]]:
    return con.execute(query).fetchall()


# -- the first user ----------------------------------------------------------------------------


def test_the_first_user_needs_a_password_and_becomes_an_administrator(connect: Connect) -> None:
    con = connect()
    for statement in ("CREATE USER root", "CREATE USER root WITH PASSWORD NULL SUPERUSER"):
        assert "the first user" in refused(con, statement, "22023").message
    past = f"CREATE USER root WITH PASSWORD 'x' VALID UNTIL '{PAST}'"
    assert "no administrator" in refused(con, past, "2BP01").message
    assert rows(con, "SELECT * FROM memql.users") == []
    con.execute("CREATE USER root WITH PASSWORD 'x' NOSUPERUSER")
    shown = "SELECT name, administrator, password, token, created_by FROM memql.users"
    assert rows(con, shown) == [("root", True, True, False, "local")]


def test_only_the_administrator_makes_the_first_user(connect: Connect) -> None:
    error = refused(connect("ann"), "CREATE USER ann WITH PASSWORD 'x'", "42501")
    assert "may not manage users" in error.message


def test_from_the_first_user_on_nobody_connects_without_a_password(connect: Connect) -> None:
    con, named = connect(), connect("ann")
    con.execute("CREATE USER root WITH PASSWORD 'x'")
    for user, secrets in ((None, {}), ("root", {}), ("ann", {}), (None, {"password": "x"})):
        with pytest.raises(OperationalError, match="has users: it opens with") as raised:
            connect(user, **secrets)
        assert raised.value.code == "28000" and "password" in str(raised.value.hint)
    # Who was there goes on as what they own; who only gave a name does not.
    assert con.execute("SELECT 1").fetchall() == [(1,)]
    error = refused(named, "SELECT 1", "28000")
    assert "connected without a password" in error.message
    assert connect("root", "x").execute("SELECT 1").fetchall() == [(1,)]


def test_no_password_can_be_checked_without_users(connect: Connect) -> None:
    for secrets in ({"password": "x"}, {"token": "x"}):
        with pytest.raises(OperationalError, match="has no users") as raised:
            connect("ann", **secrets)
        assert raised.value.code == "28000"
    assert connect("ann").user == "ann"


# -- who is let in -----------------------------------------------------------------------------


def test_a_password_and_a_token_let_in(root: memql.Connection, connect: Connect) -> None:
    assert connect("ann", "ann-pw").user == "ann"
    assert connect("bob", token="bob-token").user == "bob"
    root.execute("ALTER USER bob PASSWORD $new TOKEN NULL", {"new": "it's a 'secret'"})
    assert connect("bob", "it's a 'secret'").user == "bob"
    with pytest.raises(OperationalError):
        connect("bob", token="bob-token")
    root.execute("ALTER USER bob WITH PASSWORD NULL")
    with pytest.raises(OperationalError):
        connect("bob", "it's a 'secret'")


@pytest.fixture
def hashings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is computed of argon2, by name."""
    done: list[str] = []
    for name in ("hash_secret", "verify_secret"):
        compute = getattr(argon2.low_level, name)

        def counted(*args: Any, compute: Any = compute, name: str = name, **kwargs: Any) -> Any:
            done.append(name)
            return compute(*args, **kwargs)

        monkeypatch.setattr(f"argon2._password_hasher.{name}", counted)
    return done


def test_who_is_not_there_and_who_has_another_password_are_the_same(
    founder: memql.Connection, connect: Connect, hashings: list[str]
) -> None:
    texts = set()
    for user, secrets in (
        ("ann", {"password": "wrong"}),
        ("ann", {"password": ""}),
        ("ann", {"password": "\ud800"}),
        ("ann", {"token": "ann-pw"}),
        ("bob", {"password": "bob-token"}),
        ("nobody", {"password": "wrong"}),
        ("Ann", {"password": "ann-pw"}),
    ):
        hashings.clear()
        with pytest.raises(OperationalError) as raised:
            connect(user, **secrets)
        assert raised.value.code == "28P01"
        texts.add(str(raised.value).replace(user, "X"))
        assert len(hashings) == 1, (user, secrets)  # one computation, as for the right one
    assert len(texts) == 1
    hashings.clear()
    connect("ann", "ann-pw")
    assert len(hashings) == 1


def test_a_damaged_hash_lets_nobody_in(founder: memql.Connection, connect: Connect) -> None:
    store = Store.open(founder._session._store.name)
    store.cursor().execute("UPDATE _memql.users SET password = 'ann-pw' WHERE name = 'ann'")
    store.rights_changed()
    store.close()
    with pytest.raises(OperationalError, match="is not there, or"):
        connect("ann", "ann-pw")


def test_wrong_ways_to_connect_are_told_apart(connect: Connect) -> None:
    for given in ({"password": "a", "token": "b"}, {"password": 5}, {"token": b"x"}):
        with pytest.raises(InterfaceError) as raised:
            connect("ann", **given)
        assert raised.value.code == "22023"
    for name in ("main", "Memql", "_MEMQL_x", "PUBLIC", "public"):
        with pytest.raises(InterfaceError, match="cannot be called") as raised:
            connect(name)
        assert raised.value.code == "42939"


def test_what_is_valid_until_a_moment_ends_there(root: memql.Connection, connect: Connect) -> None:
    ann = connect("ann", "ann-pw")
    root.execute("ALTER USER ann VALID UNTIL now() + INTERVAL '1' HOUR")
    assert ann.execute("SELECT 1").fetchall() == [(1,)]
    root.execute("ALTER USER ann VALID UNTIL ?", [PAST])
    assert "was valid until 2020-01-01" in refused(ann, "SELECT 1", "28000").message
    with pytest.raises(OperationalError, match="was valid until 2020-01-01") as raised:
        connect("ann", "ann-pw")
    assert raised.value.code == "28000"
    # Who does not know the password learns nothing of it.
    with pytest.raises(OperationalError, match="is not there, or"):
        connect("ann", "wrong")
    root.execute("ALTER USER ann VALID UNTIL 'infinity'")
    assert ann.execute("SELECT 1").fetchall() == [(1,)]
    assert rows(ann, "SELECT valid_until FROM memql.users") == [(None,)]
    root.execute("ALTER USER ann VALID UNTIL '-infinity'")
    refused(ann, "SELECT 1", "28000")


def test_a_time_is_a_time(root: memql.Connection) -> None:
    for value, code in (
        ("NULL", "22008"),
        ("'20000-01-01'", "22008"),
        ("'soon'", "22007"),
        ("(SELECT now())", "0A000"),
        ("(SELECT max(created_at) FROM memories)", "0A000"),
        ("generate('When?')", "0A000"),
        ("created_at", "42703"),
        ("getenv('HOME')", "0A000"),
    ):
        refused(root, f"ALTER USER ann VALID UNTIL {value}", code)
    refused(root, "ALTER USER ann VALID UNTIL ?", "22008", [None])


# -- what is secret ----------------------------------------------------------------------------

SECRET = "hunter2"


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE USER eve WITH PASSWORD {SECRET}",
        f"CREATE USER eve WITH PASSWORD '{SECRET}' SUPERUSR",
        f"CREATE USER eve WITH PASSWORD '{SECRET}' SUPERUSER NOSUPERUSER",
        f"CREATE USER eve PASSWRD '{SECRET}'",
        f"CREAT USER eve PASSWORD '{SECRET}'",
        f"CREATE USER eve PASSWORD '{SECRET}''",
        f"CREATE USER eve PASSWORD 0{SECRET}",
        f"CREATE USER eve PASSWORD '{SECRET}' /* ",
        f"CREATE USER eve PASSWORD \\{SECRET}",
        f"/* a */ -- b\nALTER USER eve {SECRET}",
        f"PASSWORD '{SECRET}'",
        f"CREATE USER eve PASSWORD '{SECRET}'; SELECT 1",
        f"CREATE USER eve PASSWORD '{SECRET}' VALID UNTIL 'soon'",
        f"CREATE USER eve PASSWORD '{SECRET}' VALID UNTIL nosuch('x')",
        f"CREATE USER ann PASSWORD '{SECRET}'",
        f"ALTER USER nobody TOKEN $${SECRET}$$",
        f"CREATE ROLE r PASSWORD '{SECRET}'",
        f"EXPLAIN CREATE USER eve PASSWORD '{SECRET}'",
        f"ALTER ROLE ann TOKEN '{SECRET}'",
    ],
)
def test_no_error_shows_a_password(root: memql.Connection, statement: str) -> None:
    with pytest.raises(Error) as raised:
        root.execute(statement)
    error = raised.value
    assert SECRET not in f"{error} {error!r} {error.hint} {error.statement} {error.args}"


def test_other_statements_are_shown_in_errors(root: memql.Connection) -> None:
    for statement in (
        "SELECT password, token FROM t",
        "SELECT token, 'x' AS y FROM t",
        "SELECT 1 FROM memories WHERE token = 'x'",
        "SELECT a FROM t LIMIT 5 TOKENS",
        "DROP USER nobody",
        "-- CREATE USER\nSELECT x",
    ):
        assert not holds_secret(statement)
        assert "^" in str(
            refused(root, statement, "42704" if "DROP" in statement else "42P01")
        ) or ("SELECT x" in statement or "memories" in statement)


def test_a_password_stays_nowhere(connect: Connect, tmp_path: Path) -> None:
    con = connect()
    con.execute(f"CREATE USER root WITH PASSWORD '{SECRET}' TOKEN '{SECRET}-token'")
    con.execute("CREATE USER ann PASSWORD ?", [f"{SECRET}-2"])
    con.execute(f"ALTER USER ann TOKEN '{SECRET}-3'")
    root = connect("root", SECRET)
    statements = rows(root, "SELECT detail FROM memql.audit")
    assert '{"statement": "CREATE USER root WITH PASSWORD ? TOKEN ?"}' in statements[0]
    store = con._session._store
    for table in ("memql.audit", "memql.users", "memql.settings"):
        assert SECRET not in str(rows(root, f"SELECT * FROM {table}"))
    plans = cache_of(store)
    assert "memql.audit" in str(vars(plans))  # the control: kept plans show their texts
    assert SECRET not in str(vars(plans))
    (kept,) = store.cursor().execute("SELECT password FROM _memql.users LIMIT 1").fetchall()
    assert kept[0].startswith("$argon2id$")
    root.close()
    con.close()
    files = [path.read_bytes() for path in (tmp_path / "store.memql").rglob("*") if path.is_file()]
    assert any(b"argon2id" in data for data in files)
    assert not any(SECRET.encode() in data for data in files)


def test_a_password_is_a_text(root: memql.Connection) -> None:
    for value in (5, "", b"x", ["x"], True):
        error = refused(root, "CREATE USER eve PASSWORD ?", "22023", [value])
        assert isinstance(error, DataError) and "PASSWORD takes a text" in error.message
    refused(root, "ALTER USER ann TOKEN ''", "22023")


# -- who manages -------------------------------------------------------------------------------


def test_users_change_their_own_password_and_nothing_else(
    root: memql.Connection, connect: Connect
) -> None:
    ann = connect("ann", "ann-pw")
    ann.execute("ALTER USER ann PASSWORD 'new' TOKEN 'new-token'")
    assert connect("ann", "new").user == connect("ann", token="new-token").user == "ann"
    for statement in (
        "ALTER USER ann SUPERUSER",
        "ALTER USER ann PASSWORD 'x' VALID UNTIL 'infinity'",
        "ALTER USER bob PASSWORD 'x'",
        "ALTER USER nobody PASSWORD 'x'",
        "CREATE USER eve PASSWORD 'x'",
        "CREATE ROLE staff",
        "DROP USER bob",
        "DROP USER nobody",
        "DROP USER IF EXISTS nobody",
        "GRANT staff TO ann",
        "REVOKE staff FROM ann",
    ):
        assert "the user ann may not" in refused(ann, statement, "42501").message
    root.execute("ALTER USER ann SUPERUSER")
    ann.execute("CREATE ROLE staff")
    root.execute("ALTER USER ann NOSUPERUSER")
    refused(ann, "DROP ROLE staff", "42501")


def test_an_administrator_is_always_left(root: memql.Connection, connect: Connect) -> None:
    for statement in (
        "DROP USER root",
        "DROP USER ann, root",
        "ALTER USER root NOSUPERUSER",
        "ALTER USER root PASSWORD NULL",
        f"ALTER USER root VALID UNTIL '{PAST}'",
    ):
        assert "no administrator" in refused(root, statement, "2BP01").message
    assert len(rows(root, "SHOW USERS")) == 3
    root.execute("ALTER USER ann SUPERUSER")
    root.execute("ALTER USER root NOSUPERUSER")
    refused(root, "CREATE ROLE r", "42501")
    ann = connect("ann", "ann-pw")
    ann.execute("DROP USER root")
    assert "was dropped" in refused(root, "SELECT 1", "28000").message
    refused(ann, "DROP USER ann", "2BP01")


def test_names_are_one_space_of_users_and_roles(root: memql.Connection) -> None:
    root.execute("CREATE ROLE staff")
    root.execute("CREATE USER IF NOT EXISTS ann PASSWORD 'other'")
    root.execute("CREATE ROLE IF NOT EXISTS staff")
    root.execute("DROP USER IF EXISTS nobody, neither")
    root.execute("DROP ROLE IF EXISTS nothing")
    for statement, code in (
        ("CREATE USER ann", "42710"),
        ("CREATE ROLE ann", "42710"),
        ("CREATE USER staff", "42710"),
        ("CREATE USER IF NOT EXISTS staff", "42710"),
        ("CREATE ROLE IF NOT EXISTS ann", "42710"),
        ("DROP ROLE ann", "42809"),
        ("DROP USER staff", "42809"),
        ("DROP ROLE IF EXISTS ann", "42809"),
        ("ALTER USER staff SUPERUSER", "42809"),
        ("DROP USER nobody", "42704"),
        ("DROP ROLE staf", "42704"),
        ("ALTER USER nobody SUPERUSER", "42704"),
        ("CREATE USER main", "42939"),
        ('CREATE ROLE "Memql"', "42939"),
        ("CREATE USER _memql_x", "42939"),
        ("CREATE ROLE public", "42939"),
        ('CREATE USER "PUBLIC"', "42939"),
        ('CREATE USER "  "', "42602"),
    ):
        refused(root, statement, code)
    # Names are compared as they are written.
    root.execute('CREATE USER "Ann"')
    root.execute("CREATE USER STAFF")
    names = [name for (name,) in rows(root, "SELECT name FROM memql.users")]
    assert names == ["Ann", "STAFF", "ann", "bob", "root"]


def test_renaming_is_refused(root: memql.Connection) -> None:
    root.execute("CREATE ROLE staff")
    for statement in ("ALTER USER ann RENAME TO anna", "ALTER ROLE staff RENAME TO crew"):
        assert isinstance(refused(root, statement, "0A000"), NotSupportedError)


def test_a_role_does_not_connect(root: memql.Connection, connect: Connect) -> None:
    for option in ("PASSWORD 'x'", "TOKEN 'x'", "SUPERUSER", "VALID UNTIL now()"):
        assert "a role takes no" in refused(root, f"CREATE ROLE r {option}", "42601").message
    root.execute("CREATE ROLE staff")
    with pytest.raises(OperationalError):
        connect("staff", "x")


# -- dropping ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "owned"),
    [
        ("INSERT INTO memories (content) VALUES ('a')", "memories"),
        ("CREATE TABLE t (a INT)", "tables"),
        ("CREATE VIEW v AS SELECT 1 AS a", "views"),
        ("CREATE TYPE mood AS ENUM ('calm')", "types"),
        ("CREATE SEQUENCE s", "sequences"),
    ],
)
def test_who_owns_something_is_not_dropped(
    root: memql.Connection, connect: Connect, statement: str, owned: str
) -> None:
    ann = connect("ann", "ann-pw")
    ann.execute(statement)
    error = refused(root, "DROP USER bob, ann", "2BP01")
    assert error.message == f"the user ann owns {owned}"
    assert "PASSWORD NULL" in str(error.hint)
    assert len(rows(root, "SHOW USERS")) == 3


def test_who_owned_a_memory_that_was_deleted_is_not_dropped(
    root: memql.Connection, connect: Connect
) -> None:
    ann = connect("ann", "ann-pw")
    ann.execute("INSERT INTO memories (content) VALUES ('a')")
    ann.execute("DELETE FROM memories")
    refused(root, "DROP USER ann", "2BP01")


def test_a_role_that_owns_is_not_dropped(root: memql.Connection, connect: Connect) -> None:
    root.execute("CREATE ROLE staff")
    root.execute("GRANT staff TO ann")
    ann = connect("ann", "ann-pw")
    ann.execute("SET ROLE staff")
    ann.execute("INSERT INTO memories (content) VALUES ('a')")
    error = refused(root, "DROP ROLE staff", "2BP01")
    assert error.message == "the role staff owns memories"
    assert "REVOKE" in str(error.hint)


def test_dropping_takes_all_that_names_it_away(root: memql.Connection, connect: Connect) -> None:
    ann = connect("ann", "ann-pw")
    root.execute("CREATE ROLE staff")
    root.execute("GRANT staff TO ann, bob")
    root.execute("CREATE POLICY only_ann ON memories TO ann USING (kind = 'a')")
    root.execute("CREATE POLICY both ON memories TO ann, bob USING (kind = 'a')")
    root.execute("GRANT READ ON MEMORIES TO ann")
    ann.execute("GRANT READ ON MEMORIES TO bob")
    ann.execute("CREATE POLICY mine ON memories TO bob USING (kind = 'b')")
    root.execute("GRANT READ ON MEMORIES TO bob")
    root.execute("DROP USER ann")
    assert rows(root, "SELECT owner, grantee FROM memql.grants") == [("root", "bob")]
    assert rows(root, "SELECT name, members FROM memql.roles") == [("staff", ["bob"])]
    assert rows(root, "SELECT name, grantees FROM memql.policies") == [("both", ["bob"])]
    # Who comes back by the same name gets nothing of it.
    root.execute("CREATE USER ann PASSWORD 'x'")
    assert rows(connect("ann", "x"), "SELECT * FROM memql.grants") == []
    root.execute("DROP ROLE staff")
    assert rows(root, "SHOW ROLES") == []


# -- roles -------------------------------------------------------------------------------------


def test_members_have_what_the_role_has(root: memql.Connection, connect: Connect) -> None:
    root.execute("CREATE ROLE staff")
    root.execute("CREATE ROLE crew")
    root.execute("GRANT crew TO ann")
    root.execute("GRANT staff TO crew")
    ann, bob = connect("ann", "ann-pw"), connect("bob", token="bob-token")
    ann.execute("SET ROLE staff")
    ann.execute("INSERT INTO memories (content) VALUES ('of staff')")
    ann.execute("CREATE TABLE t (a INT)")
    ann.execute("RESET ROLE")
    ann.execute("INSERT INTO memories (content) VALUES ('of ann')")
    everything = [("ann", "of ann"), ("staff", "of staff")]
    assert rows(ann, "SELECT owner, content FROM memories ORDER BY owner") == everything
    assert rows(ann, "SELECT count(*) FROM staff.t") == [(0,)]
    ann.execute("SET ROLE staff")
    assert rows(ann, "SELECT owner FROM memories") == [("staff",)]
    ann.execute("SET ROLE NONE")
    assert rows(bob, "SELECT count(*) FROM memories") == [(0,)]
    root.execute("REVOKE staff FROM crew")
    assert rows(ann, "SELECT owner FROM memories") == [("ann",)]


def test_a_role_that_is_taken_away_stops_the_statement(
    root: memql.Connection, connect: Connect
) -> None:
    root.execute("CREATE ROLE staff")
    root.execute("GRANT staff TO ann")
    ann = connect("ann", "ann-pw")
    ann.execute("SET ROLE staff")
    root.execute("REVOKE staff FROM ann")
    error = refused(ann, "INSERT INTO memories (content) VALUES ('a')", "42501")
    assert "the role staff was taken from ann" in error.message
    ann.execute("INSERT INTO memories (content) VALUES ('a')")
    assert rows(ann, "SELECT owner FROM memories") == [("ann",)]


def test_only_members_put_a_role_on(root: memql.Connection, connect: Connect) -> None:
    root.execute("CREATE ROLE staff")
    texts = {
        str(refused(con, f"SET ROLE {role}", "42501")).replace(role, "R")
        for con in (connect("ann", "ann-pw"),)
        for role in ("staff", "nosuch", "ann")
    }
    assert len(texts) == 1  # whether there is such a role is not told
    refused(root, "SET ROLE staff", "42501")  # not even an administrator


def test_roles_in_a_store_without_users(connect: Connect) -> None:
    con = connect()
    con.execute("CREATE ROLE staff")
    con.execute("GRANT staff TO ann")
    con.execute("INSERT INTO memories (owner, content) VALUES ('staff', 'a')")
    ann = connect("ann")
    assert rows(ann, "SELECT owner FROM memories") == [("staff",)]
    assert "without users" in refused(ann, "SET ROLE staff", "0A000").message
    ann.execute("SET ROLE NONE")
    con.execute("DROP ROLE IF EXISTS crew")


def test_who_may_grant_a_role(root: memql.Connection, connect: Connect) -> None:
    root.execute("CREATE ROLE staff")
    root.execute("GRANT staff TO ann")
    ann = connect("ann", "ann-pw")
    bob = connect("bob", token="bob-token")
    texts = {
        str(refused(ann, f"GRANT {role} TO bob", "42501")).replace(role, "R")
        for role in ("staff", "nosuch")
    }
    assert len(texts) == 1
    root.execute("GRANT staff TO ann WITH ADMIN OPTION")
    ann.execute("GRANT staff TO bob")
    assert rows(bob, "SELECT name, members, admins FROM memql.roles") == [
        ("staff", ["ann", "bob"], ["ann"])
    ]
    refused(bob, "REVOKE staff FROM ann", "42501")
    ann.execute("REVOKE staff FROM bob, ann, nobody")
    assert rows(root, "SELECT members FROM memql.roles") == [([],)]
    root.execute("GRANT staff TO ann WITH ADMIN OPTION")
    root.execute("REVOKE ADMIN OPTION FOR staff FROM ann")
    refused(ann, "GRANT staff TO bob", "42501")
    assert rows(root, "SELECT members, admins FROM memql.roles") == [(["ann"], [])]


def test_what_cannot_be_a_member(root: memql.Connection) -> None:
    for role in ("a", "b", "c"):
        root.execute(f"CREATE ROLE {role}")
    root.execute("GRANT a TO b")
    root.execute("GRANT b TO c")
    for statement, code in (
        ("GRANT a TO a", "0LP01"),
        ("GRANT c TO a", "0LP01"),
        ("GRANT ann TO bob", "0LP01"),
        ("GRANT a TO PUBLIC", "0LP01"),
        ("GRANT a TO nobody", "42704"),
        ("GRANT aa TO bob", "42704"),
        ("REVOKE ann FROM bob", "0LP01"),
    ):
        refused(root, statement, code)
    root.execute("CREATE ROLE d")
    root.execute("CREATE ROLE e")
    # Within one statement too: e in d, and then d in e.
    refused(root, "GRANT d, e TO e, d", "0LP01")
    assert rows(root, "SELECT count(*) FROM memql.roles WHERE len(members) > 0") == [(2,)]


# -- one transaction each ----------------------------------------------------------------------

STATEMENTS = [
    "CREATE USER eve PASSWORD 'x'",
    "ALTER USER ann PASSWORD 'x'",
    "DROP USER bob",
    "CREATE ROLE crew",
    "GRANT staff TO ann",
    "REVOKE staff FROM ann",
    "DROP ROLE staff",
    "GRANT READ ON MEMORIES TO ann",
    "REVOKE READ ON MEMORIES FROM ann",
    "CREATE POLICY p ON memories USING (kind = 'a')",
    "ALTER POLICY p ON memories RENAME TO q",
    "DROP POLICY q ON memories",
    "SET ROLE NONE",
]


def test_inside_a_transaction_nothing_is_governed(root: memql.Connection) -> None:
    root.execute("CREATE ROLE staff")
    for statement in STATEMENTS:
        root.begin()
        assert "inside a transaction" in refused(root, statement, "25001").message
        root.rollback()
    with pytest.raises(ProgrammingError) as raised:
        root.executemany("CREATE USER eve PASSWORD ?", [["x"]])
    assert raised.value.code == "25001"
    assert len(rows(root, "SHOW USERS")) == 3


def test_every_statement_is_a_row_of_the_audit(root: memql.Connection, connect: Connect) -> None:
    root.execute("CREATE ROLE staff")
    before = rows(root, "SELECT count(*) FROM memql.audit")[0][0]
    for statement in STATEMENTS:
        root.execute(statement)
    found = rows(root, "SELECT seq, user_name, action, target, detail FROM memql.audit")[before:]
    assert [row[0] for row in found] == [*range(before + 1, before + len(STATEMENTS) + 1)]
    assert {row[1] for row in found} == {"root"}
    for statement, (_, _, action, _, detail) in zip(STATEMENTS, found, strict=True):
        assert statement.startswith(action)
        assert "'" not in detail
    assert [row[3] for row in found][:4] == ["user eve", "user ann", "user bob", "role crew"]
    refused(root, "DROP USER nobody", "42704")
    assert rows(root, "SELECT count(*) FROM memql.audit") == [(before + len(STATEMENTS),)]
    store = Store.open(root._session._store.name)
    assert audit.first_broken(store.cursor()) is None
    store.close()


def test_the_audit_names_the_user_behind_a_role(root: memql.Connection, connect: Connect) -> None:
    root.execute("CREATE ROLE staff")
    root.execute("GRANT staff TO ann")
    ann = connect("ann", "ann-pw")
    ann.execute("SET ROLE staff")
    ann.execute("GRANT READ ON MEMORIES TO bob")
    own = rows(ann, "SELECT seq, user_name, action, detail FROM memql.audit")
    assert [row[:3] for row in own] == [(None, "ann", "SET ROLE"), (None, "ann", "GRANT")]
    assert '"role": "staff"' in own[1][3]
    assert rows(ann, "SELECT owner, granted_by FROM memql.grants") == [("staff", "staff")]


_DYING = """
import os, sys
import memql
from memql.storage import audit, governance

con = memql.connect(sys.argv[1], user="root", password="root-pw")

def die(*arguments, **named):
    os._exit(9)

def dies_after(function):
    def wrapped(*arguments, **named):
        function(*arguments, **named)
        os._exit(9)
    return wrapped

if sys.argv[2] == "rows":
    audit.append = die
elif sys.argv[2] == "audit":
    audit.append = dies_after(audit.append)
else:
    store = con._session._store
    store.rights_changed = die
con.execute("GRANT READ ON MEMORIES TO ann, bob")
"""


@pytest.mark.parametrize(("step", "grants"), [("rows", 0), ("audit", 0), ("committed", 2)])
def test_a_process_that_dies_leaves_a_statement_whole_or_not_at_all(
    founder: memql.Connection, connect: Connect, tmp_path: Path, step: str, grants: int
) -> None:
    founder.close()
    store = tmp_path / "store.memql"
    done = subprocess.run([sys.executable, "-c", _DYING, str(store), step], check=False)
    assert done.returncode == 9
    root = connect("root", "root-pw")
    assert rows(root, "SELECT count(*) FROM memql.grants") == [(grants,)]
    noted = rows(root, "SELECT count(*) FROM memql.audit WHERE action = 'GRANT'")
    assert noted == [(1 if grants else 0,)]
    assert audit.first_broken(root._session._store.cursor()) is None


def test_rights_are_read_again_after_a_commit_that_failed(
    root: memql.Connection, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = connect("ann", "ann-pw")
    changes = root._session._changes

    class Failing:
        """A cursor whose commit is durable, and fails all the same."""

        def __getattr__(self, name: str) -> Any:
            return getattr(root._session._cursor, name)

        def commit(self) -> None:
            root._session._cursor.commit()
            raise OSError("disk full")

    monkeypatch.setattr(changes, "_cursor", Failing())
    with pytest.raises(OSError, match="disk full"):
        root.execute("DROP USER ann")
    monkeypatch.undo()
    assert "was dropped" in refused(ann, "SELECT 1", "28000").message


# -- the override ------------------------------------------------------------------------------


def test_an_administrator_reads_others_memories_only_with_a_reason(
    root: memql.Connection, connect: Connect
) -> None:
    ann = connect("ann", "ann-pw")
    ann.execute("INSERT INTO memories (content) VALUES ('of ann')")
    assert rows(root, "SELECT content FROM memories") == []
    root.execute("SET memql.override = 'a call from ann'")
    assert rows(root, "SHOW memql.override") == [("a call from ann",)]
    assert rows(root, "SELECT content FROM memories") == [("of ann",)]
    assert rows(ann, "SELECT value FROM memql.settings WHERE name = 'override'") == [("",)]
    root.execute("SET memql.override = ''")
    assert rows(root, "SELECT content FROM memories") == []
    root.execute("SET memql.override = ?", ["another"])
    root.execute("RESET memql.override")
    assert rows(root, "SELECT content FROM memories") == []
    noted = rows(root, "SELECT action, detail FROM memql.audit WHERE action LIKE '%override'")
    assert noted == [
        ("SET memql.override", '{"reason": "a call from ann"}'),
        ("RESET memql.override", '{"reason": ""}'),
        ("SET memql.override", '{"reason": "another"}'),
        ("RESET memql.override", '{"reason": ""}'),
    ]


def test_an_override_may_be_set_inside_a_transaction(root: memql.Connection) -> None:
    root.begin()
    root.execute("SET memql.override = 'why'")
    root.rollback()
    assert rows(root, "SHOW memql.override") == [("why",)]
    assert rows(root, "SELECT count(*) FROM memql.audit WHERE action LIKE 'SET memql%'") == [(1,)]
    assert audit.first_broken(root._session._store.cursor()) is None


def test_who_may_not_override(root: memql.Connection, connect: Connect) -> None:
    ann = connect("ann", "ann-pw")
    refused(ann, "SET memql.override = 'I want to'", "42501")
    ann.execute("RESET memql.override")
    for value in ("5", "true", f"'{'x' * 1001}'", "NULL"):
        refused(root, f"SET memql.override = {value}", "22023")
    with memql.connect() as embedded:
        refused(embedded, "SET memql.override = 'why'", "42501")
        embedded.execute("SET memql.override = ''")
    # It ends with the administration.
    root.execute("ALTER USER ann SUPERUSER")
    ann.execute("SET memql.override = 'why'")
    root.execute("ALTER USER ann NOSUPERUSER")
    assert rows(ann, "SHOW memql.override") == [("",)]
    root.execute("ALTER USER ann SUPERUSER")
    assert rows(ann, "SHOW memql.override") == [("",)]


def test_an_override_that_is_not_noted_does_not_hold(
    root: memql.Connection, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect("ann", "ann-pw").execute("INSERT INTO memories (content) VALUES ('of ann')")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(audit, "append", fail)
    with pytest.raises(OSError, match="disk full"):
        root.execute("SET memql.override = 'why'")
    monkeypatch.undo()
    assert rows(root, "SHOW memql.override") == [("",)]
    assert rows(root, "SELECT content FROM memories") == []


# -- what administrators manage besides --------------------------------------------------------


def test_administrators_manage_models_settings_and_files(
    root: memql.Connection, connect: Connect, tmp_path: Path
) -> None:
    ann = connect("ann", "ann-pw")
    for con, code in ((ann, "42501"), (root, "58P01")):
        refused(con, "CREATE MODEL m FROM '/nowhere/at/all'", code)
    refused(ann, "SET memql.max_statement_bytes = 1000000", "42501")
    root.execute("SET memql.max_statement_bytes = 1000000")
    with pytest.raises(InterfaceError, match="may not be given allowed_folders"):
        connect("ann", "ann-pw", allowed_folders=[tmp_path])
    opened = connect("root", "root-pw", allowed_folders=[tmp_path])
    copy = f"COPY (SELECT 1 AS a) TO '{tmp_path}/a.csv'"
    opened.execute(copy)
    root.execute("ALTER USER ann SUPERUSER")
    root.execute("ALTER USER root NOSUPERUSER")
    assert isinstance(refused(opened, copy, "0A000"), NotSupportedError)


def test_what_who_may_list(root: memql.Connection, connect: Connect) -> None:
    ann, bob = connect("ann", "ann-pw"), connect("bob", token="bob-token")
    root.execute("CREATE ROLE staff")
    root.execute("CREATE ROLE crew")
    root.execute("GRANT staff TO ann")
    ann.execute("GRANT READ ON MEMORIES TO PUBLIC")
    ann.execute("GRANT WRITE ON MEMORIES TO root")
    ann.execute("CREATE POLICY mine ON memories TO root USING (kind = 'a')")
    root.execute("CREATE POLICY all_of_us ON memories AS RESTRICTIVE USING (kind <> 'z')")
    assert [name for (name, *_) in rows(root, "SHOW USERS")] == ["ann", "bob", "root"]
    assert [name for (name, *_) in rows(ann, "SHOW USERS")] == ["ann"]
    assert [name for (name, *_) in rows(root, "SHOW ROLES")] == ["crew", "staff"]
    assert [name for (name, *_) in rows(ann, "SHOW ROLES")] == ["staff"]
    assert rows(bob, "SHOW ROLES") == []
    grants = "SELECT action, grantee FROM memql.grants"
    assert len(rows(root, grants)) == len(rows(ann, grants)) == 2
    assert rows(bob, grants) == [("READ", "public")]
    assert [name for (name, *_) in rows(root, "SHOW POLICIES")] == ["all_of_us", "mine"]
    assert [name for (name, *_) in rows(ann, "SHOW POLICIES")] == ["all_of_us", "mine"]
    assert [name for (name, *_) in rows(bob, "SHOW POLICIES")] == ["all_of_us"]
    assert {user for (_, _, user, *_) in rows(root, "SELECT * FROM memql.audit")} > {"ann", "root"}
    assert {user for (_, _, user, *_) in rows(ann, "SELECT * FROM memql.audit")} == {"ann"}
    assert rows(bob, "SELECT * FROM memql.audit") == []
    for table in ("users", "roles", "grants", "policies", "audit"):
        refused(ann, f"DELETE FROM memql.{table}", "42P01")
    founder = connect("root", "root-pw")
    assert founder.execute("SELECT name FROM memql.users WHERE administrator").fetchall() == [
        ("root",)
    ]


def test_hashes_are_no_part_of_a_value(root: memql.Connection) -> None:
    for query in ("SELECT * FROM memql.users", "SHOW USERS", "SELECT * FROM memql.audit"):
        assert "argon2" not in str(rows(root, query))


def test_the_hash_is_that_of_argon2id() -> None:
    first, second = passwords.hashed("same"), passwords.hashed("same")
    assert first != second and first.startswith("$argon2id$")
