"""Roles: who is a member, and what members have."""

from __future__ import annotations

import memql
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


def test_members_have_what_the_role_has(
    root: memql.Connection, ann: memql.Connection, bob: memql.Connection
) -> None:
    root.execute("CREATE ROLE staff")
    root.execute("CREATE ROLE crew")
    root.execute("GRANT crew TO ann")
    root.execute("GRANT staff TO crew")
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
    root: memql.Connection, ann: memql.Connection
) -> None:
    root.execute("CREATE ROLE staff")
    root.execute("GRANT staff TO ann")
    ann.execute("SET ROLE staff")
    root.execute("REVOKE staff FROM ann")
    error = refused(ann, "INSERT INTO memories (content) VALUES ('a')", "42501")
    assert "the role staff was taken from ann" in error.message
    ann.execute("INSERT INTO memories (content) VALUES ('a')")
    assert rows(ann, "SELECT owner FROM memories") == [("ann",)]


def test_only_members_put_a_role_on(root: memql.Connection, ann: memql.Connection) -> None:
    root.execute("CREATE ROLE staff")
    texts = {
        str(refused(ann, f"SET ROLE {role}", "42501")).replace(role, "R").replace("^", "")
        for role in ("staff", "nosuch", "bob")
    }
    assert len({text.strip() for text in texts}) == 1  # whether there is such a role is not told
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


def test_who_may_grant_a_role(
    root: memql.Connection, ann: memql.Connection, bob: memql.Connection
) -> None:
    root.execute("CREATE ROLE staff")
    root.execute("GRANT staff TO ann")
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
