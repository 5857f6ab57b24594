"""What DuckDB raises while it runs a statement, in MemQL's errors."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from memql.engine.context import StatementContext
from memql.engine.names import position_of_quoted, position_of_word, unknown
from memql.engine.settings import GENERATED_HINT, GENERATED_TOO_MUCH
from memql.errors import (
    DataError,
    Error,
    IntegrityError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from memql.storage.failures import CONFLICT

_SHOWN_CANDIDATES = 4


@dataclass(frozen=True)
class Failure:
    """One kind of DuckDB's errors and what it is in MemQL.

    Args:
        kind: DuckDB's class, or one below it.
        pattern: what its message holds.
        error: MemQL's class.
        code: MemQL's code.
        message: MemQL's own text, where DuckDB's would mislead.
        hint: what to do, where DuckDB's advice is missing or not possible in MemQL.
    """

    kind: type[duckdb.Error]
    pattern: str
    error: type[Error]
    code: str
    message: str | None = None
    hint: str | None = None


# The first that fits is taken: what is special stands before what is general.
FAILURES: tuple[Failure, ...] = (
    Failure(
        duckdb.InterruptException, "", OperationalError, "57014", "the statement was interrupted"
    ),
    Failure(
        duckdb.OutOfMemoryException,
        "",
        OperationalError,
        "53200",
        hint="select fewer rows or columns, or open the store with a larger memory_limit",
    ),
    Failure(
        duckdb.Error,
        "No space left|File too large|Could not write file",
        OperationalError,
        "53100",
        hint="make room on the disk and run it again",
    ),
    Failure(duckdb.IOException, "", OperationalError, "58030"),
    Failure(
        duckdb.TransactionException,
        "aborted",
        OperationalError,
        "25P02",
        "an error before this statement ended the transaction",
        "ROLLBACK it",
    ),
    Failure(
        duckdb.TransactionException,
        "^Catalog write-write conflict",
        OperationalError,
        "40001",
        "another transaction made or changed something of the same name",
        "ROLLBACK this one and run it again",
    ),
    Failure(
        duckdb.TransactionException,
        CONFLICT,
        OperationalError,
        "40001",
        hint="another transaction changed the same rows: ROLLBACK this one and run it again",
    ),
    Failure(
        duckdb.TransactionException,
        "",
        OperationalError,
        "58030",
        hint="look at the folder of the store and its disk",
    ),
    Failure(
        duckdb.Error,
        "^Max expression depth",
        ProgrammingError,
        "54001",
        "the statement is nested too deeply: DuckDB evaluates at most 1,000 operators in a chain",
        "use a list function, or split it with WITH (common table expressions)",
    ),
    Failure(duckdb.NotImplementedException, "", NotSupportedError, "0A000"),
    Failure(
        duckdb.InternalException,
        "",
        InternalError,
        "XX000",
        hint="close the store and open it again",
    ),
    Failure(
        duckdb.FatalException, "", InternalError, "XX000", hint="close the store and open it again"
    ),
    Failure(duckdb.ConstraintException, "NOT NULL", IntegrityError, "23502"),
    Failure(duckdb.ConstraintException, "(?i)duplicate key", IntegrityError, "23505"),
    Failure(duckdb.ConstraintException, "", IntegrityError, "23000"),
    Failure(duckdb.Error, "^Malformed JSON", DataError, "22032"),
    Failure(duckdb.ConversionException, "field value out of range", DataError, "22008"),
    Failure(duckdb.ConversionException, "out of range", DataError, "22003"),
    Failure(duckdb.ConversionException, "invalid date|invalid time", DataError, "22007"),
    Failure(duckdb.ConversionException, "(?i)utf-?8", DataError, "22021"),
    Failure(duckdb.ConversionException, "", DataError, "22P02"),
    Failure(duckdb.OutOfRangeException, "", DataError, "22003"),
    Failure(duckdb.DataError, "", DataError, "22000"),
    Failure(
        duckdb.InvalidInputException,
        "^More than one row returned by a subquery",
        ProgrammingError,
        "21000",
        "more than one row returned by a subquery that stands for one value",
        "put LIMIT 1 or an aggregate such as max(...) into it",
    ),
    Failure(
        duckdb.InvalidInputException,
        "^Division by zero",
        DataError,
        "22012",
        "division by zero",
        "divide by nullif(..., 0), which gives NULL",
    ),
    Failure(duckdb.InvalidInputException, "^Could not parse string", DataError, "22007"),
    Failure(duckdb.InvalidInputException, "", ProgrammingError, "22023"),
    Failure(duckdb.BinderException, "must appear in the GROUP BY", ProgrammingError, "42803"),
    Failure(duckdb.BinderException, "^Ambiguous reference", ProgrammingError, "42702"),
    Failure(
        duckdb.BinderException, "^No function matches|does not support", ProgrammingError, "42883"
    ),
    Failure(
        duckdb.BinderException,
        "cannot contain (aggregates|window)|cannot be nested|not supported here",
        ProgrammingError,
        "42803",
    ),
    Failure(
        duckdb.BinderException,
        '^Column ".*(does not exist|not found)|^Could not find key|^No matching columns',
        ProgrammingError,
        "42703",
    ),
    Failure(duckdb.BinderException, "term out of range", ProgrammingError, "42P10"),
    Failure(duckdb.CatalogException, "already exists", ProgrammingError, "42710"),
    Failure(duckdb.CatalogException, "Function with name", ProgrammingError, "42883"),
    Failure(duckdb.CatalogException, "^Table with name", ProgrammingError, "42P01"),
    Failure(duckdb.CatalogException, "", ProgrammingError, "42704"),
    Failure(duckdb.ParserException, "", ProgrammingError, "42601"),
    Failure(duckdb.OperationalError, "", OperationalError, "58000"),
    Failure(duckdb.Error, "", ProgrammingError, "42000"),
)


def translate(error: duckdb.Error, context: StatementContext) -> Error:
    """Return MemQL's error for one of DuckDB's, without its picture of the printed SQL.

    Args:
        error: what DuckDB raised.
        context: the statement that ran, for the place.
    """
    text = str(error).split("\n\nLINE ")[0].strip()
    kind, _, message = text.partition(": ")
    message = message or kind
    missing = re.search(r'Referenced column "([^"]+)" (?:not found|was not found)', message)
    if missing is not None:
        candidates = re.findall(r'"([^"]+)"', message.partition("Candidate bindings:")[2])
        names = [name for name in candidates if not name.startswith("_memql")]
        column = unknown("column", missing.group(1), names, context, None)
        column.position = position_of_word(context.text, missing.group(1))
        return column
    generated = re.search(GENERATED_TOO_MUCH, message)
    if generated is not None:
        return DataError(generated[0], hint=GENERATED_HINT, statement=context.text, code="54000")
    failure = failure_of(error, message)
    first, _, rest = message.partition("\n")
    return failure.error(
        failure.message or first,
        hint=failure.hint or _advice(rest),
        position=position_of_quoted(context.text, first),
        statement=context.text,
        code=failure.code,
    )


@contextlib.contextmanager
def translated(context: StatementContext) -> Iterator[None]:
    """Say the errors of DuckDB, and of Python's stack, that come from inside in MemQL's words."""
    try:
        yield
    except duckdb.Error as error:
        raise translate(error, context) from error
    except RecursionError:
        # A long chain such as x::INT::INT::... parses without brackets.
        raise ProgrammingError("the statement is nested too deeply", code="54001") from None


def of_text(text: str) -> duckdb.Error:
    """Return DuckDB's error for a text that names its kind, as it comes through Arrow.

    >>> type(of_text("Out of Range Error: 1 is too much")).__name__
    'OutOfRangeException'
    """
    name = text.partition(" Error: ")[0].replace(" ", "").lower() + "exception"
    kind = next((kind for kind in dir(duckdb) if kind.lower() == name), "Error")
    error: duckdb.Error = getattr(duckdb, kind)(text.split(" LINE ")[0])
    return error


def failure_of(error: duckdb.Error, message: str) -> Failure:
    """Return the row of ``FAILURES`` for an error of DuckDB.

    Args:
        error: what DuckDB raised.
        message: its text without the name of its kind.
    """
    for failure in FAILURES:
        if isinstance(error, failure.kind) and re.search(failure.pattern, message):
            return failure
    raise AssertionError(f"the last row stands for every error, {error!r} included")


def _advice(rest: str) -> str | None:
    """Return what DuckDB says below the first line of a message, as a hint in one line."""
    # Columns of MemQL's own are no candidates.
    rest = re.sub(r'"_memql\w*"(, )?', "", rest)
    lines = [line.strip() for line in rest.splitlines() if line.strip()]
    if not lines or lines[0] == "Candidate functions:":
        candidates = lines[1 : 1 + _SHOWN_CANDIDATES]
        return "it takes " + " or ".join(candidates) if candidates else None
    reason = re.search(r"^Error: (.*)", rest, re.MULTILINE)
    if reason is not None:
        return reason.group(1)
    guess = re.search(r'Did you mean:? "([^"]+)"', rest)
    if guess is not None:
        return f"did you mean {guess.group(1)}?"
    return " ".join(lines)
