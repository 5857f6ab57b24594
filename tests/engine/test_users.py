"""Users: who is let in, who manages whom, who can be dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import argon2
import pytest

import memql
from memql.errors import InterfaceError, NotSupportedError, OperationalError, ProgrammingError
from memql.storage.store import Store
from tests.engine.governed import (
    Connect,
    _quick_hashes,
    ann,
    bob,
    connect,
    founder,
    refused,
    root,
    rows,
)

__all__ = ["_quick_hashes", "ann", "bob", "connect", "founder", "root"]  # fixtures, by name

PAST = "2020-01-01"


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


def test_what_is_valid_until_a_moment_ends_there(
    root: memql.Connection, connect: Connect, ann: memql.Connection
) -> None:
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
        ("getenv('HOME')", "42883"),
    ):
        refused(root, f"ALTER USER ann VALID UNTIL {value}", code)
    refused(root, "ALTER USER ann VALID UNTIL ?", "22008", [None])


# -- who manages -------------------------------------------------------------------------------


def test_users_change_their_own_password_and_nothing_else(
    root: memql.Connection, connect: Connect, ann: memql.Connection
) -> None:
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


def test_an_administrator_is_always_left(root: memql.Connection, ann: memql.Connection) -> None:
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
    root: memql.Connection, statement: str, owned: str, ann: memql.Connection, bob: memql.Connection
) -> None:
    ann.execute(statement)
    error = refused(root, "DROP USER bob, ann", "2BP01")
    assert error.message == f"the user ann owns {owned}"
    assert "PASSWORD NULL" in str(error.hint)
    assert len(rows(root, "SHOW USERS")) == 3


def test_who_owned_a_memory_that_was_deleted_is_not_dropped(
    root: memql.Connection, ann: memql.Connection
) -> None:
    ann.execute("INSERT INTO memories (content) VALUES ('a')")
    ann.execute("DELETE FROM memories")
    refused(root, "DROP USER ann", "2BP01")


def test_a_role_that_owns_is_not_dropped(root: memql.Connection, ann: memql.Connection) -> None:
    root.execute("CREATE ROLE staff")
    root.execute("GRANT staff TO ann")
    ann.execute("SET ROLE staff")
    ann.execute("INSERT INTO memories (content) VALUES ('a')")
    error = refused(root, "DROP ROLE staff", "2BP01")
    assert error.message == "the role staff owns memories"
    assert "REVOKE" in str(error.hint)


def test_dropping_takes_all_that_names_it_away(
    root: memql.Connection, connect: Connect, ann: memql.Connection
) -> None:
    root.execute("CREATE ROLE staff")
    root.execute("GRANT staff TO ann, bob")
    root.execute("CREATE POLICY only_ann ON memories TO ann USING (kind = 'a')")
    root.execute("CREATE POLICY both ON memories TO ann, bob USING (kind = 'a')")
    root.execute("GRANT READ ON MEMORIES TO ann")
    ann.execute("GRANT READ ON MEMORIES TO bob")
    ann.execute("CREATE POLICY mine ON memories TO bob USING (kind = 'b')")
    root.execute("GRANT READ ON MEMORIES TO bob")
    root.execute("GRANT WRITE ON MEMORIES TO ann")
    keyed = "INSERT INTO memories ({}content, idempotency_key) VALUES ({}'x', 'one')"
    ann.execute(keyed.format("owner, ", "'root', "))
    assert rows(ann, "SELECT action FROM memql.audit") == [("GRANT",), ("CREATE POLICY",)]
    root.execute("DROP USER ann")
    assert rows(root, "SELECT owner, grantee FROM memql.grants") == [("root", "bob")]
    assert rows(root, "SELECT name, members FROM memql.roles") == [("staff", ["bob"])]
    assert rows(root, "SELECT name, grantees FROM memql.policies") == [("both", ["bob"])]
    # Who comes back by the same name gets nothing of it, and is told nothing.
    root.execute("CREATE USER ann PASSWORD 'x'")
    other = connect("ann", "x")
    for table in ("grants", "policies", "roles", "audit"):
        shown = "WHERE 'ann' IN grantees" if table == "policies" else ""
        assert rows(other, f"SELECT * FROM memql.{table} {shown}") == []
    assert other.execute(keyed.format("", "")).rowcount == 1
    other.execute("GRANT READ ON MEMORIES TO bob")
    assert rows(other, "SELECT action FROM memql.audit") == [("GRANT",)]
    assert ("CREATE POLICY",) in rows(
        root, "SELECT action FROM memql.audit WHERE user_name = 'ann'"
    )
    root.execute("DROP ROLE staff")
    assert rows(root, "SHOW ROLES") == []


def test_a_connection_ends_with_its_user_and_is_not_the_next_of_that_name(tmp_path: Path) -> None:
    path = tmp_path / "store.memql"
    with memql.connect(path) as founder:
        founder.execute("CREATE USER root WITH PASSWORD 'r'")
        founder.execute("CREATE USER carol WITH PASSWORD 'c'")
    with (
        memql.connect(path, user="root", password="r") as root,
        memql.connect(path, user="carol", password="c") as carol,
    ):
        carol.begin()
        carol.execute("INSERT INTO memories (content) VALUES ('of the first carol')")
        root.execute("DROP USER carol")
        root.execute("CREATE USER carol WITH PASSWORD 'another'")
        for run in (carol.commit, lambda: carol.execute("SELECT count(*) FROM memories")):
            with pytest.raises(OperationalError, match="carol was dropped") as error:
                run()
            assert error.value.code == "28000"
        carol.rollback()
    with memql.connect(path, user="carol", password="another") as carol:
        assert carol.execute("SELECT count(*) FROM memories").fetchall() == [(0,)]


def test_the_last_administrator_has_no_end(tmp_path: Path) -> None:
    with memql.connect(tmp_path / "store.memql") as con:
        with pytest.raises(ProgrammingError, match="no administrator who can connect"):
            con.execute("CREATE USER root WITH PASSWORD 'r' VALID UNTIL now() + INTERVAL 1 DAY")
        con.execute("CREATE USER root WITH PASSWORD 'r'")
        with pytest.raises(ProgrammingError, match="no administrator who can connect"):
            con.execute("ALTER USER root VALID UNTIL '2100-01-01'")


def test_who_connected_without_a_user_is_nobody_once_local_is_one(tmp_path: Path) -> None:
    with memql.connect(tmp_path / "store.memql") as con:
        con.execute("CREATE USER root WITH PASSWORD 'r'")
        con.execute("CREATE USER local WITH PASSWORD 'l'")
        with pytest.raises(OperationalError, match="local is a user now"):
            con.execute("SELECT count(*) FROM memories")


@pytest.mark.parametrize("user", [5, b"x", ["a"], True])
def test_a_user_is_a_text(user: object) -> None:
    with pytest.raises(InterfaceError, match="name is a text") as error:
        memql.connect(user=user)  # type: ignore[arg-type]
    assert error.value.code == "22023"
