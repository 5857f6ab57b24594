"""Statements of governance: one transaction each, audited; overrides; what is listed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import sqlglot

import memql
from memql.dialect import MemQL
from memql.engine.govern.ruling import without_literals
from memql.errors import InterfaceError, NotSupportedError, ProgrammingError
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

pytestmark = pytest.mark.slow

__all__ = ["_quick_hashes", "ann", "bob", "connect", "founder", "root"]  # fixtures, by name


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


def test_every_statement_is_a_row_of_the_audit(root: memql.Connection) -> None:
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
    assert audit.first_broken(root._session._store.cursor()) is None


def test_the_audit_names_the_user_behind_a_role(
    root: memql.Connection, ann: memql.Connection
) -> None:
    root.execute("CREATE ROLE staff")
    root.execute("GRANT staff TO ann")
    ann.execute("SET ROLE staff")
    ann.execute("GRANT READ ON MEMORIES TO bob")
    own = rows(ann, "SELECT seq, user_name, action, detail FROM memql.audit")
    assert [row[:3] for row in own] == [(None, "ann", "SET ROLE"), (None, "ann", "GRANT")]
    assert '"role": "staff"' in own[1][3]
    assert rows(ann, "SELECT owner, granted_by FROM memql.grants") == [("staff", "staff")]


def test_statements_of_several_threads_come_one_after_the_other(
    root: memql.Connection, connect: Connect
) -> None:
    connections = [connect("root", "root-pw") for _ in range(4)]

    def give(con: memql.Connection, number: int) -> None:
        for kind in range(5):
            con.execute(f"GRANT READ ON MEMORIES TO ann WHERE (kind = '{number} {kind}')")

    threads = [Thread(target=give, args=pair) for pair in zip(connections, range(4), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows(root, "SELECT count(DISTINCT predicate), count(*) FROM memql.grants") == [(20, 20)]
    cursor = root._session._store.cursor()
    assert cursor.execute("SELECT max(id) FROM _memql.grants").fetchall() == [(20,)]
    assert audit.first_broken(cursor) is None


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
    root: memql.Connection, monkeypatch: pytest.MonkeyPatch, ann: memql.Connection
) -> None:
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
    root: memql.Connection, ann: memql.Connection
) -> None:
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


def test_every_statement_under_an_override_is_noted_before_it_runs(
    root: memql.Connection, ann: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann.execute("INSERT INTO memories (content) VALUES ('of ann')")
    root.execute("SELECT content FROM memories WHERE content <> 'x'")
    root.execute("SET memql.override = 'why'")
    root.execute("SHOW memql.override")
    for _ in range(2):  # the second time from a kept plan
        root.execute("SELECT content FROM memories WHERE content <> 'secret'")
    root.begin()
    root.execute("EXPLAIN SELECT content FROM memories WHERE content = ?", ["secret"])
    root.rollback()
    root.execute("CREATE VIEW v AS SELECT content FROM memories WHERE content = 'secret'")
    root.execute("SHOW MATERIALIZED VIEWS")
    root.executemany("DELETE FROM memories WHERE content = ?", [["secret"], ["other"]])
    root.execute("DROP VIEW v")
    root.execute("RESET memql.override")
    root.execute("SELECT content FROM memories")
    noted = rows(root, "SELECT detail FROM memql.audit WHERE action = 'OVERRIDE' ORDER BY seq")
    assert [json.loads(detail) for (detail,) in noted] == [
        {"reason": "why", "statement": statement}
        for statement in (
            "SELECT content FROM memories WHERE content <> ?",
            "SELECT content FROM memories WHERE content <> ?",
            "EXPLAIN SELECT content FROM memories WHERE content = ?",
            "CREATE VIEW v AS SELECT content FROM memories WHERE content = ?",
            "SHOW MATERIALIZED VIEWS",
            "DELETE FROM memories WHERE content = ?",
            "DROP VIEW v",
        )
    ]
    root.execute("SET memql.override = 'why'")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(audit, "append", fail)
    with pytest.raises(OSError, match="disk full"):
        root.execute("SELECT content FROM memories")


def test_an_override_may_be_set_inside_a_transaction(root: memql.Connection) -> None:
    root.begin()
    root.execute("SET memql.override = 'why'")
    root.rollback()
    assert rows(root, "SHOW memql.override") == [("why",)]
    assert rows(root, "SELECT count(*) FROM memql.audit WHERE action LIKE 'SET memql%'") == [(1,)]
    assert audit.first_broken(root._session._store.cursor()) is None


def test_who_may_not_override(
    root: memql.Connection, connect: Connect, ann: memql.Connection
) -> None:
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
    root: memql.Connection, connect: Connect, tmp_path: Path, ann: memql.Connection
) -> None:
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


def test_what_who_may_list(
    root: memql.Connection, connect: Connect, ann: memql.Connection, bob: memql.Connection
) -> None:
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
    assert [name for (name, *_) in rows(root, "SHOW POLICIES")] == ["mine", "all_of_us"]
    assert [name for (name, *_) in rows(ann, "SHOW POLICIES")] == ["mine", "all_of_us"]
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


def test_a_statement_in_the_audit_holds_no_text_of_its_own() -> None:
    text = "SELECT {'SECRET': content, 'b': 'SECRET'}, MAP {'SECRET': 1} FROM memories"
    tree = sqlglot.parse_one(text, read=MemQL)
    kept = without_literals(tree).sql(MemQL)
    assert "SECRET" not in kept and "content" in kept
