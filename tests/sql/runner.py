"""Runs files in sqllogictest form through the DB-API.

A file is a list of records, separated by empty lines; lines that start with # are comments.

- ``statement ok`` / ``statement error <Class> [<code>]``: a statement; behind ``----`` the lines
  that the error's text must hold.
- ``query [rowsort]``: a query; behind ``----`` its rows, columns joined by `` | ``, NULL as NULL.
- ``user <name>`` / ``user -``: go on as another user, or as the administrator.
- ``login <name> <password>``: go on as a user of a store that has users.
- ``reopen``: close every connection and open the store again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import memql
from memql.engine.optimize import RULE_NAMES

_BOUNDARY = re.compile(r"boundary: [0-9a-f]{12}")
_SHOWS_RULES = ("EXPLAIN", "SHOW", "SELECT name, value", "SELECT name, default_value")


@dataclass(frozen=True)
class Record:
    """One record of a file; ``line`` is where it starts."""

    line: int
    command: tuple[str, ...]
    sql: str
    expected: tuple[str, ...] | None


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a file."""
    blocks: list[tuple[int, list[str]]] = [(1, [])]
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            if not line.startswith("#"):
                blocks[-1][1].append(line)
        else:
            blocks.append((number + 1, []))
    for number, lines in blocks:
        if not lines:
            continue
        command, *rest = lines
        expected = None
        if "----" in rest:
            mark = rest.index("----")
            rest, expected = rest[:mark], tuple(rest[mark + 1 :])
        yield Record(number, tuple(command.split()), "\n".join(rest), expected)


class Runner:
    """Runs the records of one file against one store.

    Args:
        store: the store's folder.
        rules_off: whether all rules of the optimizer are switched off. What EXPLAIN says is not
            compared then.
    """

    def __init__(self, store: Path, *, rules_off: bool = False) -> None:
        self._store = store
        self._rules_off = rules_off
        self._user: str | None = None
        self._connections: dict[str | None, memql.Connection] = {}

    def run(self, path: Path) -> int:
        """Run a file; return how many statements it held."""
        count = 0
        try:
            for record in read_records(path):
                count += self._run(record, f"{path.name}:{record.line}")
        finally:
            self._close()
        return count

    def _run(self, record: Record, place: str) -> int:
        command = record.command
        if command[0] == "user":
            self._user = None if command[1] == "-" else command[1]
            return 0
        if command[0] == "login":
            self._user, password = command[1:]
            if self._user in self._connections:
                self._connections.pop(self._user).close()
            opened = memql.connect(self._store, user=self._user, password=password)
            self._keep(opened)
            return 0
        if command[0] == "reopen":
            self._close()
            return 0
        connection = self._connections.get(self._user)
        if connection is None:
            connection = memql.connect(self._store, user=self._user)
            self._keep(connection)
        if command[0] == "query":
            rows = [
                " | ".join(_shown(value) for value in row) for row in connection.execute(record.sql)
            ]
            if "rowsort" in command:
                rows.sort()
            if self._rules_off and record.sql.startswith(_SHOWS_RULES):
                return 1
            # The ids of memories, and with them the keys of boundaries, differ from run to run.
            rows = [_BOUNDARY.sub("boundary: ...", row) for row in rows]
            lines = [line for row in rows for line in row.split("\n")]
            assert lines == list(record.expected or ()), f"{place}: {record.sql}"
        elif command == ("statement", "ok"):
            connection.execute(record.sql)
        elif command[:2] == ("statement", "error"):
            self._expect_error(connection, record, place)
        else:
            raise AssertionError(f"{place}: unknown command {' '.join(command)}")
        return 1

    def _keep(self, connection: memql.Connection) -> None:
        if self._rules_off:
            connection.execute("SET memql.disabled_rules = ?", [", ".join(RULE_NAMES)])
        self._connections[self._user] = connection

    def _expect_error(self, connection: memql.Connection, record: Record, place: str) -> None:
        try:
            connection.execute(record.sql)
        except memql.Error as error:
            assert type(error).__name__ == record.command[2], f"{place}: {error!r}"
            code = record.command[3] if len(record.command) > 3 else error.code
            assert error.code == code, f"{place}: {error.code}: {error!r}"
            for line in record.expected or ():
                assert line in str(error), f"{place}: {line!r} is not in\n{error}"
            return
        raise AssertionError(f"{place}: no error: {record.sql}")

    def _close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()


def _shown(value: object) -> str:
    return "NULL" if value is None else str(value)
