"""How much of DuckDB's SQL runs: its own tests, through MemQL and through plain DuckDB.

The tests are DuckDB's and are not part of this repository: a copy of its folder test/sql is named
on the command line. Every statement of a file runs on a connection to an empty store and on plain
DuckDB, in order; the SELECTs that DuckDB answers are compared, as multisets of rows.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

import memql

from .sqllogic import read_statements

FOLDERS = ("aggregate", "join", "subquery", "window", "cte", "setops", "types")
SECONDS = 10
# What MemQL has no form for by its design: settings, files, catalogs, statements in strings.
LEFT_OUT = (
    "set reset pragma attach detach use copy export import load install call prepare execute "
    "deallocate checkpoint vacuum analyze explain describe desc show summarize"
).split()

# No names of tables, though they stand in the statements that make them.
_GRAMMAR = (
    "create table temp temporary view as select from where insert into values update set delete "
    "using with recursive macro function type enum or replace if not exists integer int varchar "
    "bigint double primary key null order by group limit union all join on and i j a b x"
).split()


@dataclass
class Found:
    """What became of the SELECTs of a folder.

    ``causes`` has the misses by cause, ``places`` an example of each.
    """

    compared: int = 0
    alike: int = 0
    names: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    places: dict[str, str] = field(default_factory=dict)

    def miss(self, cause: str, place: str) -> None:
        """Count a miss."""
        self.causes[cause] += 1
        self.places.setdefault(cause, place)


def run_corpus(root: Path) -> Found:
    """Run the folders below ``root``, print what was found, and return it.

    Raises:
        SystemExit: there is no such folder, or it does not hold DuckDB's tests.
    """
    folders = [root / name for name in FOLDERS if (root / name).is_dir()]
    if not folders:
        raise SystemExit(
            f"there are no tests of DuckDB in {root}: name the folder test/sql of a copy of "
            f"DuckDB's repository, which has the folders {', '.join(FOLDERS)}"
        )
    total = Found()
    print(f"{'folder':12}{'SELECTs':>9}{'alike':>9}{'share':>9}{'other names':>13}")
    for folder in folders:
        found = Found()
        for path in sorted(folder.rglob("*.test")):
            run_file(path, found)
        _print_line(folder.name, found)
        total.compared += found.compared
        total.alike += found.alike
        total.names += found.names
        total.causes += found.causes
        total.places = {**found.places, **total.places}
    _print_line("together", total)
    print("\nThe others, by cause:\n")
    for cause, count in total.causes.most_common():
        print(f"{count:6}  {cause}\n        {total.places[cause]}")
    return total


def _print_line(name: str, found: Found) -> None:
    share = f"{found.alike / found.compared:.2%}" if found.compared else "-"
    print(f"{name:12}{found.compared:9,}{found.alike:9,}{share:>9}{found.names:13,}", flush=True)


def run_file(path: Path, found: Found) -> None:
    """Run the statements of one file, and count its SELECTs in ``found``."""
    with memql.connect() as con, duckdb.connect() as plain:
        both = _Both(con, plain, found)
        for text in read_statements(path):
            for sql, selects in _single_statements(text.sql, plain):
                if first_word(sql) not in LEFT_OUT:
                    place = f"{'/'.join(path.parts[-3:])}:{text.line}"
                    both.run(sql, place, compared=selects and not text.fails)


def _single_statements(text: str, plain: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, bool]]:
    """Yield each statement of a text, and whether it is a SELECT; none if DuckDB cannot read it."""
    try:
        statements = plain.extract_statements(text)
    except duckdb.Error:
        return
    for statement in statements:
        yield (
            statement.query,
            statement.type
            in (
                duckdb.StatementType.SELECT,
                duckdb.StatementType.MULTI,  # a PIVOT that finds its columns in the data
            ),
        )


class _Both:
    """Runs statements through MemQL and through DuckDB.

    Args:
        con: MemQL's connection.
        plain: DuckDB's.
        found: where the SELECTs are counted.
    """

    def __init__(
        self, con: memql.Connection, plain: duckdb.DuckDBPyConnection, found: Found
    ) -> None:
        self._con, self._plain, self._found = con, plain, found
        # What failed in MemQL, by the names that stand in it: later misses come from it.
        self._before: dict[str, str] = {}

    def run(self, sql: str, place: str, *, compared: bool) -> None:
        """Run one statement, and compare its rows if that is asked for."""
        try:
            names, rows = self._answer(sql)
        except Exception:
            # What DuckDB refuses, or Python cannot hold, is not compared; but a transaction must
            # end on both sides.
            if first_word(sql) in ("begin", "commit", "rollback", "start", "end", "abort"):
                self._change(sql)
            return
        if not compared:
            self._change(sql)
            return
        self._found.compared += 1
        try:
            its_names, its_rows = answer(self._con.execute, sql)
        except Exception as error:  # whatever comes, the others are still to be compared
            cause = shortened(error)
            if "is not possible inside a query" in cause:
                self._remember(sql, cause)
            missing = re.search(r"unknown (?:table|type|function|view)\w* '([^']+)'", str(error))
            if missing is not None:
                cause = self._before.get(missing[1].lower(), cause)
            self._found.miss(cause, place)
            return
        if its_rows == rows:
            self._found.alike += 1
            self._found.names += its_names != names
        elif self._answer(sql)[1] != rows:
            self._found.miss("no stable answer in DuckDB", place)
        else:
            causes = (self._before[word] for word in _words(sql) if word in self._before)
            self._found.miss(next(causes, "other rows"), place)

    def _answer(self, sql: str) -> tuple[list[str], list[str]]:
        timer = threading.Timer(SECONDS, self._plain.interrupt)
        timer.start()
        try:
            return answer(self._plain.execute, sql)
        finally:
            timer.cancel()

    def _change(self, sql: str) -> None:
        try:
            self._con.execute(sql)
        except Exception as error:
            self._remember(sql, f"{first_word(sql)}: {shortened(error)}")

    def _remember(self, sql: str, problem: str) -> None:
        for name in _words(sql) - set(_GRAMMAR):
            self._before.setdefault(name, problem)


def _words(sql: str) -> set[str]:
    return set(re.findall(r"[a-z_]\w*", sql.lower()))


def answer(
    execute: Callable[[str], duckdb.DuckDBPyConnection | memql.Cursor], sql: str
) -> tuple[list[str], list[str]]:
    """Return the column names and the rows of a statement, the rows in an order of their own."""
    cursor = execute(sql)
    names = [column[0] for column in cursor.description or ()]
    rows = sorted(repr(tuple(row)) for row in cursor.fetchall())
    # The time zone is one of pytz in DuckDB, and one of Python's own here.
    return names, [row.replace("<StaticTzInfo 'Etc/UTC'>", "<UTC>") for row in rows]


def first_word(sql: str) -> str:
    """Return the first word of a statement in lower case, or its opening bracket.

    >>> first_word("-- a comment\\n SELECT 1"), first_word("(SELECT 1)")
    ('select', '(')
    """
    text = re.sub(r"\A(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*", "", sql, flags=re.DOTALL)
    found = re.match(r"\w+|\(", text)
    return found[0].lower() if found is not None else ""


def shortened(error: Exception) -> str:
    """Return an error's first line without the names and numbers that are its statement's own.

    >>> shortened(ValueError("unknown table 't1' (line 1, column 15)"))
    "ValueError: unknown table '...'"
    """
    line = str(error).splitlines()[0] if str(error) else ""
    line = re.sub(r" \(line.*", "", line)
    line = re.sub(r"'[^']*'|\"[^\"]*\"", "'...'", line)
    return f"{type(error).__name__}: {re.sub(r'[0-9]+', 'n', line)[:110]}"
