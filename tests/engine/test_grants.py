"""GRANT, REVOKE and policies as statements: who may say what, and what rows it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import memql
from memql.errors import NotSupportedError, ProgrammingError
from memql.storage import audit
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

GIVEN = "SELECT action, owner, grantee, granted_by FROM memql.grants"


def grants(con: memql.Connection) -> list[tuple[Any, ...]]:
    return sorted(rows(con, GIVEN), key=str)


# -- on memories -------------------------------------------------------------------------------


def test_a_grant_is_of_ones_own_memories(root: memql.Connection, ann: memql.Connection) -> None:
    ann.execute("GRANT READ, write, READ ON MEMORIES TO bob, root, bob")
    assert (
        grants(ann)
        == grants(root)
        == [
            ("READ", "ann", "bob", "ann"),
            ("READ", "ann", "root", "ann"),
            ("WRITE", "ann", "bob", "ann"),
            ("WRITE", "ann", "root", "ann"),
        ]
    )
    ann.execute("REVOKE ALL ON MEMORIES FROM bob, root")
    ann.execute("GRANT ALL PRIVILEGES ON MEMORIES OF ann TO Public")
    actions = ["FORGET", "MATERIALIZE", "READ", "SHARE", "WRITE"]
    assert grants(ann) == [(action, "ann", "public", "ann") for action in actions]
    ann.execute("REVOKE READ, SHARE, FORGET ON MEMORIES OF 'ann' FROM PUBLIC")
    assert [row[0] for row in grants(ann)] == ["MATERIALIZE", "WRITE"]


def test_the_grantee_is_there(root: memql.Connection, ann: memql.Connection) -> None:
    error = refused(root, "GRANT READ ON MEMORIES TO bob, bo", "42704")
    assert "did you mean bob" in str(error)
    assert grants(root) == []
    # Which users there are is not told to others.
    assert refused(ann, "GRANT READ ON MEMORIES TO bo", "42704").hint is None
    root.execute("CREATE ROLE staff")
    ann.execute("GRANT READ ON MEMORIES TO staff")


def test_in_a_store_without_users_any_name_will_do(connect: Connect) -> None:
    ann, con = connect("ann"), connect()
    ann.execute("GRANT READ ON MEMORIES TO bob")
    con.execute("GRANT READ ON MEMORIES OF ann TO carol")
    con.execute("GRANT READ ON MEMORIES OF $owner TO dave", {"owner": "o'hara \"x"})
    con.execute("GRANT READ ON MEMORIES TO eve")
    assert grants(con) == [
        ("READ", "ann", "bob", "ann"),
        ("READ", "ann", "carol", None),
        ("READ", "o'hara \"x", "dave", None),
        ("READ", None, "eve", None),
    ]
    assert grants(connect("bob")) == [("READ", "ann", "bob", "ann"), ("READ", None, "eve", None)]
    refused(con, "GRANT READ ON MEMORIES OF ? TO bob", "22023", [5])
    con.execute("REVOKE READ ON MEMORIES FROM eve")
    con.execute("REVOKE READ ON MEMORIES OF ann FROM bob, carol")
    assert [row[1] for row in grants(con)] == ["o'hara \"x"]


def test_anothers_memories_are_granted_by_who_may_share_them(
    root: memql.Connection, ann: memql.Connection, bob: memql.Connection
) -> None:
    share = "GRANT READ ON MEMORIES OF ann TO root"
    assert "takes READ and SHARE" in str(refused(bob, share, "42501").hint)
    texts = {
        str(refused(bob, f"GRANT READ ON MEMORIES OF {owner} TO root", "42501")).replace(owner, "X")
        for owner in ("ann", "nobody")
    }
    assert len(texts) == 1
    ann.execute("GRANT READ ON MEMORIES TO bob")
    refused(bob, share, "42501")
    ann.execute("REVOKE READ ON MEMORIES FROM bob")
    ann.execute("GRANT SHARE ON MEMORIES TO bob")
    refused(bob, share, "42501")
    bob.execute("GRANT SHARE ON MEMORIES OF ann TO root")
    bob.execute("REVOKE SHARE ON MEMORIES OF ann FROM root")
    ann.execute("GRANT READ ON MEMORIES TO bob")
    bob.execute(share)
    refused(bob, "GRANT WRITE ON MEMORIES OF ann TO root", "42501")
    refused(bob, "GRANT ALL ON MEMORIES OF ann TO root", "42501")
    assert ("READ", "ann", "root", "bob") in grants(ann)
    # An administrator holds no right on others' memories as such.
    refused(root, "GRANT READ ON MEMORIES OF bob TO ann", "42501")
    refused(root, "GRANT READ ON MEMORIES OF ann TO PUBLIC", "42501")


def test_grant_option_on_memories_is_share(
    root: memql.Connection, ann: memql.Connection, bob: memql.Connection
) -> None:
    ann.execute("GRANT READ ON MEMORIES TO bob WHERE (kind = 'fact') WITH GRANT OPTION")
    found = rows(bob, "SELECT action, predicate, grantable FROM memql.grants")
    assert found == [("READ", "kind = 'fact'", False), ("SHARE", "kind = 'fact'", False)]
    bob.execute("GRANT READ ON MEMORIES OF ann TO root")
    ann.execute("REVOKE GRANT OPTION FOR READ ON MEMORIES FROM bob")
    assert rows(bob, "SELECT action FROM memql.grants WHERE grantee = 'bob'") == [("READ",)]
    refused(bob, "GRANT READ ON MEMORIES OF ann TO root", "42501")


def test_what_is_shared_ends_with_what_it_came_from(
    root: memql.Connection, ann: memql.Connection, bob: memql.Connection
) -> None:
    ann.execute(
        "INSERT INTO memories (content, kind) VALUES ('a', 'fact'), ('b', 'note'), ('c', 'fact')"
    )
    ann.execute("GRANT READ ON MEMORIES TO bob WHERE (kind = 'fact') WITH GRANT OPTION")
    bob.execute("GRANT READ ON MEMORIES OF ann TO root WHERE (content > 'a')")
    mine = "SELECT content FROM memories ORDER BY content"
    assert rows(bob, mine) == [("a",), ("c",)]
    assert rows(root, mine) == [("c",)]
    ann.execute("REVOKE READ ON MEMORIES FROM bob")
    assert rows(bob, mine) == rows(root, mine) == []
    ann.execute("GRANT READ ON MEMORIES TO bob")
    assert rows(root, mine) == [("c",)]
    ann.execute("REVOKE SHARE ON MEMORIES FROM bob")
    assert rows(root, mine) == []
    assert rows(bob, mine) == [("a",), ("b",), ("c",)]


def test_a_role_shares_what_it_holds(
    root: memql.Connection, ann: memql.Connection, bob: memql.Connection
) -> None:
    root.execute("CREATE ROLE staff")
    root.execute("GRANT staff TO bob")
    ann.execute("GRANT READ ON MEMORIES TO staff WITH GRANT OPTION")
    bob.execute("GRANT READ ON MEMORIES OF ann TO root")
    bob.execute("SET ROLE staff")
    bob.execute("GRANT READ ON MEMORIES OF ann TO PUBLIC")
    by = {(row[2], row[3]) for row in grants(ann)}
    assert by == {("staff", "ann"), ("root", "bob"), ("public", "staff")}
    # A member takes back what the role gave.
    bob.execute("RESET ROLE")
    bob.execute("REVOKE READ ON MEMORIES OF ann FROM PUBLIC")
    assert {row[2] for row in grants(ann)} == {"staff", "root"}
    # The memories of a role are its members' to grant.
    bob.execute("GRANT READ ON MEMORIES OF staff TO ann")
    assert ("READ", "staff", "ann", "bob") in grants(ann)


def test_who_may_revoke(
    root: memql.Connection, ann: memql.Connection, bob: memql.Connection
) -> None:
    def give() -> None:
        ann.execute("GRANT READ ON MEMORIES TO bob WITH GRANT OPTION")
        bob.execute("GRANT READ ON MEMORIES OF ann TO root")

    give()
    everything = grants(ann)
    assert len(everything) == 3
    bob.execute("REVOKE READ ON MEMORIES OF ann FROM bob")
    bob.execute("REVOKE READ ON MEMORIES FROM root")  # bob's own, which he never gave
    assert grants(ann) == everything
    bob.execute("REVOKE READ ON MEMORIES OF ann FROM root")
    assert len(grants(ann)) == 2
    give()
    ann.execute("REVOKE READ ON MEMORIES FROM root")
    assert len(grants(ann)) == 2
    give()
    root.execute("REVOKE ALL ON MEMORIES OF ann FROM bob, root, nobody")
    assert grants(ann) == []


def test_what_the_embedded_administrator_gave_an_administrator_takes(connect: Connect) -> None:
    con = connect()
    con.execute("GRANT READ ON MEMORIES TO ann, PUBLIC")
    con.execute("GRANT READ ON MEMORIES OF carol TO PUBLIC")
    con.execute("CREATE USER root PASSWORD 'x'")
    con.execute("CREATE USER ann PASSWORD 'x'")
    ann, root = connect("ann", "x"), connect("root", "x")
    before = grants(root)
    ann.execute("REVOKE READ ON MEMORIES FROM ann, PUBLIC")
    assert grants(root) == before
    root.execute("REVOKE READ ON MEMORIES FROM PUBLIC, ann")
    assert grants(root) == [("READ", "carol", "public", None)]


def test_a_grant_says_until_when(
    root: memql.Connection, ann: memql.Connection, bob: memql.Connection
) -> None:
    ann.execute("INSERT INTO memories (content) VALUES ('a')")
    until = "SELECT until FROM memql.grants"
    ann.execute("GRANT READ ON MEMORIES TO bob UNTIL '2020-01-01 12:00:00+02'")
    assert str(rows(bob, until)[0][0]) == "2020-01-01 10:00:00+00:00"
    assert rows(bob, "SELECT content FROM memories") == []
    # GRANT gives more, never less.
    ann.execute("GRANT READ ON MEMORIES TO bob UNTIL now() + INTERVAL '1' YEAR")
    assert rows(bob, "SELECT content FROM memories") == [("a",)]
    ann.execute("GRANT READ ON MEMORIES TO bob UNTIL ?", ["2021-01-01"])
    assert rows(bob, "SELECT content FROM memories") == [("a",)]
    ann.execute("GRANT READ ON MEMORIES TO bob")
    ann.execute("GRANT READ ON MEMORIES TO bob UNTIL '2021-01-01'")
    assert rows(bob, until) == [(None,)]
    ann.execute("GRANT WRITE ON MEMORIES TO bob UNTIL 'infinity'")
    assert rows(bob, until) == [(None,), (None,)]
    # What has ended cannot be shared either.
    ann.execute("REVOKE ALL ON MEMORIES FROM bob")
    ann.execute("GRANT READ ON MEMORIES TO bob UNTIL '2021-01-01' WITH GRANT OPTION")
    refused(bob, "GRANT READ ON MEMORIES OF ann TO root", "42501")


def test_grants_of_other_rows_stand_beside_each_other(
    ann: memql.Connection, bob: memql.Connection
) -> None:
    for condition in ("kind = 'a'", "kind = 'b'", "kind = 'a'"):
        ann.execute(f"GRANT READ ON MEMORIES TO bob WHERE ({condition})")
    assert rows(bob, "SELECT predicate FROM memql.grants") == [("kind = 'a'",), ("kind = 'b'",)]
    ann.execute("REVOKE READ ON MEMORIES FROM bob")
    assert grants(bob) == []


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ("knd = 'a'", "42703"),
        ("kind = ?", "42P02"),
        ("CAST(content AS INTEGER) > 0", "42P17"),
        ("id IN (SELECT id FROM memories)", "42P17"),
        ("importance > 'high'", "42P17"),
    ],
)
def test_a_condition_cannot_fail(ann: memql.Connection, condition: str, code: str) -> None:
    given = [["a"]] if "?" in condition else []
    refused(ann, f"GRANT READ ON MEMORIES TO bob WHERE ({condition})", code, *given)
    for clause in ("USING", "WITH CHECK"):
        refused(ann, f"CREATE POLICY p ON memories {clause} ({condition})", code, *given)
    assert grants(ann) == rows(ann, "SHOW POLICIES") == []


# -- on tables and views -----------------------------------------------------------------------


def test_rights_on_tables_are_the_owners_to_give(
    root: memql.Connection, ann: memql.Connection, bob: memql.Connection
) -> None:
    ann.execute("CREATE TABLE Notes (a INT)")
    ann.execute("CREATE VIEW v AS SELECT a FROM notes")
    ann.execute("CREATE MATERIALIZED VIEW m AS SELECT content FROM memories")
    ann.execute("GRANT ALL ON notes, main.v, m TO bob")
    given = "SELECT action, target, owner, grantable FROM memql.grants ORDER BY target, action"
    assert rows(bob, given) == [
        ("DELETE", "Notes", "ann", False),
        ("INSERT", "Notes", "ann", False),
        ("SELECT", "Notes", "ann", False),
        ("UPDATE", "Notes", "ann", False),
        ("SELECT", "m", "ann", False),
        ("SELECT", "v", "ann", False),
    ]
    for statement in ("GRANT INSERT ON v TO bob", "GRANT SELECT, DELETE ON m TO bob"):
        assert "is a view" in refused(ann, statement, "0LP01").message
    ann.execute("REVOKE ALL ON ann.NOTES, v, m FROM bob")
    assert rows(bob, given) == []


def test_a_table_that_one_may_not_see_is_not_there(
    root: memql.Connection, ann: memql.Connection, bob: memql.Connection
) -> None:
    ann.execute("CREATE TABLE notes (a INT)")
    for con in (bob, root):
        texts = {
            str(refused(con, f"GRANT SELECT ON {table} TO ann", "42P01")).replace(table, "T")
            for table in ("ann.notes", "ann.other")
        }
        assert len({text.replace("^", "").strip() for text in texts}) == 1
    for table in ("x.ann.notes", "memql.users", "nots", "other.main.notes"):
        refused(ann, f"GRANT SELECT ON {table} TO bob", "42P01")
    assert "notes" in str(refused(ann, "GRANT SELECT ON nots TO bob", "42P01").hint)
    error = refused(ann, "GRANT SELECT ON TABLE memories TO bob", "42809")
    assert "ON MEMORIES" in str(error.hint)
    refused(ann, "REVOKE SELECT ON nots FROM bob", "42P01")
    # Elsewhere nothing is told: nothing was granted.
    bob.execute("REVOKE SELECT ON ann.notes, ann.other FROM root")


def test_conditions_on_tables_are_views(ann: memql.Connection, bob: memql.Connection) -> None:
    ann.execute("CREATE TABLE notes (a INT)")
    error = refused(ann, "GRANT SELECT ON notes TO bob WHERE (a > 1)", "0A000")
    assert isinstance(error, NotSupportedError) and "make a view" in str(error.hint)


def test_the_option_to_grant_on(
    root: memql.Connection, ann: memql.Connection, bob: memql.Connection
) -> None:
    ann.execute("CREATE TABLE notes (a INT)")
    ann.execute("GRANT SELECT, INSERT ON notes TO bob")
    error = refused(bob, "GRANT SELECT ON ann.notes TO root", "42501")
    assert "WITH GRANT OPTION" in str(error.hint)
    ann.execute("GRANT SELECT ON notes TO bob WITH GRANT OPTION")
    bob.execute("GRANT SELECT ON ann.notes TO root")
    refused(bob, "GRANT SELECT, INSERT ON ann.notes TO root", "42501")
    refused(bob, "GRANT ALL ON ann.notes TO root", "42501")
    found = rows(ann, "SELECT action, grantee, granted_by, grantable FROM memql.grants")
    assert found == [
        ("SELECT", "bob", "ann", True),
        ("INSERT", "bob", "ann", False),
        ("SELECT", "root", "bob", False),
    ]
    assert rows(root, "SELECT count(*) FROM ann.notes") == [(0,)]
    ann.execute("REVOKE GRANT OPTION FOR SELECT ON notes FROM bob")
    assert rows(bob, "SELECT count(*) FROM ann.notes") == [(0,)]
    refused(root, "SELECT count(*) FROM ann.notes", "42P01")
    refused(bob, "GRANT SELECT ON ann.notes TO root", "42501")
    # An administrator takes away what anybody gave, and sees no table by that.
    root.execute("REVOKE ALL ON ann.notes FROM bob, root")
    assert grants(ann) == []


# -- policies ----------------------------------------------------------------------------------

POLICIES = (
    "SELECT name, owner, restrictive, command, grantees, using_condition, check_condition "
    "FROM memql.policies"
)


def test_a_policy_is_of_who_made_it(root: memql.Connection, ann: memql.Connection) -> None:
    ann.execute("CREATE POLICY p ON memories FOR SELECT TO bob, PUBLIC, bob USING (kind = 'a')")
    root.execute(
        "CREATE POLICY p ON memories AS RESTRICTIVE WITH CHECK (trust > 0.5 AND kind <> 'z')"
    )
    assert rows(root, POLICIES) == [
        ("p", "ann", False, "SELECT", ["bob", "public"], "kind = 'a'", None),
        ("p", None, True, "ALL", ["public"], None, "trust > 0.5 AND kind <> 'z'"),
    ]
    refused(ann, "CREATE POLICY p ON memories", "42710")
    ann.execute("CREATE POLICY q ON memories TO root")
    refused(ann, "ALTER POLICY q ON memories RENAME TO p", "42710")
    ann.execute("ALTER POLICY q ON memories RENAME TO r")
    ann.execute("ALTER POLICY r ON memories TO bob USING (kind = 'r')")
    ann.execute("ALTER POLICY r ON memories WITH CHECK (kind = 's')")
    own = "WHERE owner = 'ann' ORDER BY name"
    assert rows(ann, f"{POLICIES} {own}") == [
        ("p", "ann", False, "SELECT", ["bob", "public"], "kind = 'a'", None),
        ("r", "ann", False, "ALL", ["bob"], "kind = 'r'", "kind = 's'"),
    ]
    # The administrator's of the same name is another.
    ann.execute("DROP POLICY p ON memories")
    assert [row[:2] for row in rows(root, POLICIES)] == [("r", "ann"), ("p", None)]
    refused(ann, "DROP POLICY p ON memories", "42704")
    ann.execute("DROP POLICY IF EXISTS p ON memories")
    root.execute("DROP POLICY p ON memories")
    for statement in ("ALTER POLICY r ON memories USING (true)", "DROP POLICY r ON memories"):
        refused(root, statement, "42704")


def test_a_policy_under_a_role_is_the_roles(root: memql.Connection, ann: memql.Connection) -> None:
    root.execute("CREATE ROLE staff")
    root.execute("GRANT staff TO ann, root")
    for con in (ann, root):
        con.execute("SET ROLE staff")
        con.execute("CREATE POLICY p ON memories TO bob")
        assert [row[:2] for row in rows(con, POLICIES)] == [("p", "staff")]
        con.execute("DROP POLICY p ON memories")


def test_in_a_store_without_users_policies_are_made_too(connect: Connect) -> None:
    con, ann = connect(), connect("ann")
    con.execute("CREATE POLICY p ON memories TO whoever")
    ann.execute("CREATE POLICY p ON memories TO bob")
    assert [row[:2] for row in rows(con, POLICIES)] == [("p", "ann"), ("p", None)]


def test_what_a_policy_cannot_be(root: memql.Connection, ann: memql.Connection) -> None:
    ann.execute("CREATE TABLE notes (a INT)")
    ann.execute("CREATE POLICY s ON memories FOR SELECT")
    ann.execute("CREATE POLICY i ON memories FOR INSERT WITH CHECK (kind = 'a')")
    for statement, code in (
        ("CREATE POLICY p ON notes USING (a > 1)", "0A000"),
        ("CREATE POLICY p ON bob.memories", "0A000"),
        ("ALTER POLICY p ON notes USING (true)", "0A000"),
        ("DROP POLICY p ON notes", "0A000"),
        ("CREATE POLICY p ON memories TO nobody", "42704"),
        ("CREATE POLICY p ON memories FOR INSERT USING (kind = 'a')", "42601"),
        ("CREATE POLICY p ON memories FOR SELECT WITH CHECK (kind = 'a')", "42601"),
        ("CREATE POLICY p ON memories FOR DELETE WITH CHECK (kind = 'a')", "42601"),
        ("ALTER POLICY s ON memories WITH CHECK (kind = 'a')", "42601"),
        ("ALTER POLICY i ON memories USING (kind = 'a')", "42601"),
        ("ALTER POLICY nosuch ON memories TO bob", "42704"),
    ):
        refused(ann, statement, code)
    ann.execute("CREATE POLICY u ON MEMORIES FOR UPDATE USING (kind = 'a') WITH CHECK (kind = 'b')")
    assert len(rows(ann, "SHOW POLICIES")) == 3


# -- all of them -------------------------------------------------------------------------------


def test_an_error_leaves_nothing_of_a_statement(root: memql.Connection) -> None:
    before = rows(root, "SELECT count(*) FROM memql.audit")
    root.execute("CREATE TABLE t (a INT)")
    for statement in (
        "GRANT READ ON MEMORIES TO ann, nobody",
        "GRANT SELECT ON t, nosuch TO ann",
        "CREATE POLICY p ON memories TO ann, nobody",
    ):
        with pytest.raises(ProgrammingError):
            root.execute(statement)
    assert grants(root) == rows(root, "SHOW POLICIES") == []
    assert rows(root, "SELECT count(*) FROM memql.audit") == before
    assert audit.first_broken(root._session._store.cursor()) is None


def test_another_connection_sees_a_grant_at_its_next_statement(
    ann: memql.Connection, bob: memql.Connection
) -> None:
    ann.execute("INSERT INTO memories (content) VALUES ('a')")
    count = "SELECT count(*) FROM memories"
    assert rows(bob, count) == [(0,)]
    ann.execute("GRANT READ ON MEMORIES TO bob")
    assert rows(bob, count) == [(1,)]
    bob.begin()
    assert rows(bob, count) == [(1,)]
    ann.execute("REVOKE READ ON MEMORIES FROM bob")
    assert rows(bob, count) == [(0,)]  # inside BEGIN too: rights are those of now
    ann.execute("GRANT READ ON MEMORIES TO bob")
    assert rows(bob, count) == [(1,)]  # a right that its snapshot has comes back
    bob.rollback()
    ann.execute("REVOKE READ ON MEMORIES FROM bob")
    bob.begin()
    ann.execute("GRANT READ ON MEMORIES TO bob")
    assert rows(bob, count) == [(1,)]  # its snapshot is made with its first statement
    bob.rollback()
    ann.execute("REVOKE READ ON MEMORIES FROM bob")
    bob.begin()
    assert rows(bob, count) == [(0,)]
    ann.execute("GRANT READ ON MEMORIES TO bob")
    assert rows(bob, count) == [(0,)]  # its snapshot is older than the right
    bob.rollback()
    assert rows(bob, count) == [(1,)]


def test_a_grant_of_very_many_rights_is_refused(tmp_path: Path) -> None:
    with memql.connect(tmp_path / "store.memql", user="alice") as alice:
        tables = [f"t{number}" for number in range(20)]
        for table in tables:
            alice.execute(f"CREATE TABLE {table} (a INT)")
        users = ", ".join(f"u{number}" for number in range(70))
        text = f"GRANT ALL ON TABLE {', '.join(tables)} TO {users}"
        with pytest.raises(ProgrammingError, match="more than 5,000 rights") as error:
            alice.execute(text)
        assert error.value.code == "54001"
        count = "SELECT count(*) FROM memql.grants"
        assert alice.execute(count).fetchall() == [(0,)]
        alice.execute(text.replace(", u69", "").replace("ALL", "SELECT, INSERT"))
        assert alice.execute(count).fetchall() == [(20 * 69 * 2,)]
        alice.execute(text.replace("GRANT", "REVOKE").replace(" TO ", " FROM "))
        assert alice.execute(count).fetchall() == [(0,)]
