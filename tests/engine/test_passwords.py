"""Passwords and tokens are kept as hashes, and show nowhere."""

from __future__ import annotations

from pathlib import Path

import argon2
import pytest

import memql
from memql.engine.govern import passwords
from memql.engine.govern.passwords import _hasher
from memql.engine.plancache import cache_of
from memql.errors import DataError, Error, holds_secret
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
    for statement, code in (
        ("SELECT password, token FROM t", "42P01"),
        ("SELECT a FROM t LIMIT 5 TOKENS", "42P01"),
        ("SELECT token, 'x' AS y FROM memories", "42703"),
        ("SELECT 1 FROM memories WHERE token = 'x'", "42703"),
        ("DROP USER nobody", "42704"),
        ("-- CREATE USER\nSELECT x FROM memories", "42703"),
    ):
        assert not holds_secret(statement)
        assert "^" in str(refused(root, statement, code))


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


def test_hashes_are_no_part_of_a_value(root: memql.Connection) -> None:
    for query in ("SELECT * FROM memql.users", "SHOW USERS", "SELECT * FROM memql.audit"):
        assert "argon2" not in str(rows(root, query))


def test_the_hash_is_that_of_argon2id() -> None:
    first, second = passwords.hashed("same"), passwords.hashed("same")
    assert first != second and first.startswith("$argon2id$")
    # Outside of tests with the figures that argon2 advises.
    advised = argon2.PasswordHasher().hash("same")
    assert _hasher().hash("same").split("$")[:4] == advised.split("$")[:4]
