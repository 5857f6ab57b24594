"""A store with users, and how tests ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import argon2
import pytest

import memql
from memql.engine.govern import passwords
from memql.errors import Error

Connect = Callable[..., memql.Connection]


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords are many in these tests; argon2's own figures make each take its time."""
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", lambda: quick)


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Connect]:
    """Opens the store of the test; all connections are closed behind it."""
    opened: list[memql.Connection] = []

    def open_one(
        user: str | None = None, password: str | None = None, **given: Any
    ) -> memql.Connection:
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
    """The administrator."""
    return connect("root", "root-pw")


@pytest.fixture
def ann(founder: memql.Connection, connect: Connect) -> memql.Connection:
    """A user who signs in by a password."""
    return connect("ann", "ann-pw")


@pytest.fixture
def bob(founder: memql.Connection, connect: Connect) -> memql.Connection:
    """A user who signs in by a token."""
    return connect("bob", token="bob-token")


def refused(con: memql.Connection, statement: str, code: str, *parameters: Any) -> Error:
    """Return the error that a statement makes, whose code is given."""
    with pytest.raises(Error) as raised:
        con.execute(statement, *parameters)
    assert raised.value.code == code, raised.value
    return raised.value


def rows(con: memql.Connection, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    return con.execute(query).fetchall()
