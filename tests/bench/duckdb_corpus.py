"""How much of DuckDB's SQL runs: its own tests, through MemQL and through plain DuckDB.

The tests are DuckDB's and are not part of this repository: a copy of its folder test/sql is named
on the command line. Every statement of a file runs on a connection to an empty store and on plain
DuckDB, in order; the SELECTs that DuckDB answers are compared, as multisets of rows.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

import memql

from .sqllogic import Statement, read_statements

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

Rows = list[str]


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
    before: dict[str, str] = {}
    with memql.connect() as con, duckdb.connect() as plain:
        for statement in read_statements(path):
            kind = first_word(statement.sql)
            if kind in LEFT_OUT or not kind:
                continue
            place = f"{'/'.join(path.parts[-3:])}:{statement.line}"
            _run_statement(statement, kind, con, plain, found, place, before)


def _run_statement(
    statement: Statement,
    kind: str,
    con: memql.Connection,
    plain: duckdb.DuckDBPyConnection,
    found: Found,
    place: str,
    before: dict[str, str],
) -> None:
    """Run one statement on both sides.

    Args:
        before: what of the file failed before, by the name of the table or view that is missed.
    """
    sql = statement.sql
    try:
        names, rows = answer(plain.execute, plain.interrupt, sql)
    except (duckdb.Error, RuntimeError):
        # What DuckDB refuses is not compared; but it must end a transaction on both sides alike.
        if kind in ("begin", "commit", "rollback", "start", "end", "abort"):
            _quietly(con, sql)
        return
    selects = kind in ("select", "with", "from", "values", "pivot", "unpivot", "table", "(")
    if not selects or statement.fails:
        problem = _quietly(con, sql)
        if problem is not None:
            for name in _words(sql) - set(_GRAMMAR):
                before.setdefault(name, f"{kind}: {problem}")
        return
    found.compared += 1
    try:
        its_names, its_rows = answer(con.execute, lambda: None, sql)
    except Exception as error:  # whatever comes, the others are still to be compared
        missing = re.search(r"unknown (?:table|type|function|view)\w* '([^']+)'", str(error))
        cause = before.get(missing[1].lower()) if missing is not None else None
        found.miss(cause or shortened(error), place)
        return
    if its_rows != rows:
        again = answer(plain.execute, plain.interrupt, sql)[1]
        cause = next((before[word] for word in _words(sql) if word in before), "other rows")
        found.miss(cause if again == rows else "no stable answer in DuckDB", place)
        return
    found.alike += 1
    found.names += its_names != names


def _words(sql: str) -> set[str]:
    return set(re.findall(r"[a-z_]\w*", sql.lower()))


def _quietly(con: memql.Connection, sql: str) -> str | None:
    """Run a statement, and return how it failed, if it did."""
    try:
        con.execute(sql)
    except Exception as error:
        return shortened(error)
    return None


def answer(
    execute: Callable[[str], duckdb.DuckDBPyConnection | memql.Cursor],
    interrupt: Callable[[], None],
    sql: str,
) -> tuple[list[str], Rows]:
    """Return the column names and the rows of a statement, the rows in an order of their own."""
    timer = threading.Timer(SECONDS, interrupt)
    timer.start()
    try:
        cursor = execute(sql)
        names = [column[0] for column in cursor.description or ()]
        rows = sorted(repr(tuple(row)) for row in cursor.fetchall())
        # The time zone is one of pytz in DuckDB, and one of Python's own here.
        return names, [row.replace("<StaticTzInfo 'Etc/UTC'>", "<UTC>") for row in rows]
    finally:
        timer.cancel()


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
