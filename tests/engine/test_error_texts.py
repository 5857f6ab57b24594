"""Errors of the connector and of the engine that no statement alone brings about."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import duckdb
import pytest
from sqlglot import exp
from sqlglot.errors import SqlglotError

import memql
from memql import parser
from memql.dialect import MemQL
from memql.engine.bind import parts, sources
from memql.engine.context import StatementContext
from memql.engine.failures import FAILURES, failure_of, translate
from memql.engine.models import Models
from memql.engine.plan import VISIBLE_TABLE
from memql.engine.rights import EMBEDDED
from memql.engine.run import change, relation
from memql.engine.syntax import Materialize
from memql.engine.unbuilt import refusal
from memql.errors import Error, InterfaceError, Position, ProgrammingError


def failed(call: Any, *args: Any) -> Error:
    """Return the error that a call raises."""
    with pytest.raises(Error) as raised:
        call(*args)
    return raised.value


def test_a_cursor_without_rows(con: memql.Connection) -> None:
    cursor = con.cursor()
    error = failed(cursor.fetchall)
    assert isinstance(error, ProgrammingError) and error.code == "24000"
    assert str(error) == "there are no results to fetch\nhint: execute a query first"
    cursor.execute("INSERT INTO memories (content) VALUES ('a')")
    assert failed(cursor.fetchone).code == "24000"


def test_a_closed_cursor(con: memql.Connection) -> None:
    cursor = con.cursor()
    cursor.close()
    error = failed(cursor.execute, "SELECT 1")
    assert isinstance(error, InterfaceError) and error.code == "24000"
    assert str(error) == "the cursor is closed\nhint: open another: connection.cursor()"


def test_a_closed_connection(con: memql.Connection) -> None:
    session = con._session
    con.close()
    for call in (con.execute, session.execute):
        error = failed(call, "SELECT 1")
        assert isinstance(error, InterfaceError) and error.code == "08003"
        assert str(error).startswith("the connection is closed\nhint: open another")


def test_data_frames_need_pandas(con: memql.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    error = failed(con.execute("SELECT 1").df)
    assert isinstance(error, InterfaceError) and error.code == "0A000"
    hint = "pip install 'memql[pandas]', or use to_arrow_table()"
    assert str(error) == f"df() needs pandas\nhint: {hint}"


def test_names_of_users() -> None:
    assert failed(lambda: memql.connect(user="")).code == "22023"
    assert failed(lambda: memql.connect(user="\ud800")).code == "22021"


@pytest.mark.parametrize(
    ("parameters", "code", "text"),
    [
        (5, "22023", "parameters are a sequence or a mapping, found int"),
        ([], "42P02", "the statement has 1 parameters, 0 values were given"),
        ({"a": 1}, "42P02", "the statement has ? parameters, but named values were given"),
        (["\ud800"], "22021", "a parameter holds half of a character"),
    ],
)
def test_parameters(con: memql.Connection, parameters: Any, code: str, text: str) -> None:
    error = failed(con.execute, "SELECT ?", parameters)
    assert error.code == code
    assert error.message.startswith(text)


def test_a_view_takes_no_parameters(con: memql.Connection) -> None:
    text = "CREATE MATERIALIZED VIEW v AS SELECT content FROM memories WHERE kind = ?"
    error = failed(con.execute, text, ["pet"])
    assert error.code == "42P02"
    assert error.message == "a view is stored as text and cannot have parameters"
    assert str(error).splitlines()[2] == " " * (2 + text.index("?")) + "^"


@pytest.fixture
def context() -> StatementContext:
    return StatementContext(EMBEDDED, datetime.now(UTC), "SELECT a")


@pytest.mark.parametrize(
    ("raised", "kind", "code", "text"),
    [
        (
            duckdb.InterruptException("INTERRUPT Error: Interrupted!"),
            "OperationalError",
            "57014",
            "the statement was interrupted",
        ),
        (
            duckdb.OutOfMemoryException("Out of Memory Error: failed to pin block"),
            "OperationalError",
            "53200",
            "failed to pin block",
        ),
        (
            duckdb.IOException("IO Error: Could not write file: No space left on device"),
            "OperationalError",
            "53100",
            "hint: make room on the disk",
        ),
        (
            duckdb.IOException("IO Error: Could not read from file"),
            "OperationalError",
            "58030",
            "Could not read from file",
        ),
        (
            duckdb.TransactionException("TransactionContext Error: Conflict on update!"),
            "OperationalError",
            "40001",
            "ROLLBACK this one and run it again",
        ),
        (
            duckdb.TransactionException("TransactionContext Error: Failed to commit: Cannot open"),
            "OperationalError",
            "58030",
            "hint: look at the folder of the store and its disk",
        ),
        (
            duckdb.NotImplementedException("Not implemented Error: no such join"),
            "NotSupportedError",
            "0A000",
            "no such join",
        ),
        (
            duckdb.InternalException("INTERNAL Error: index out of bounds"),
            "InternalError",
            "XX000",
            "hint: close the store and open it again",
        ),
        (duckdb.FatalException("FATAL Error: broken"), "InternalError", "XX000", "broken"),
        (
            duckdb.ConstraintException("Constraint Error: NOT NULL constraint failed: t.b"),
            "IntegrityError",
            "23502",
            "NOT NULL constraint failed",
        ),
        (
            duckdb.ConstraintException('Constraint Error: duplicate key "1"'),
            "IntegrityError",
            "23505",
            'duplicate key "1"',
        ),
        (
            duckdb.ConstraintException("Constraint Error: CHECK constraint failed"),
            "IntegrityError",
            "23000",
            "CHECK constraint failed",
        ),
        (
            duckdb.TypeMismatchException("Mismatch Type Error: no"),
            "DataError",
            "22000",
            "no",
        ),
        (
            duckdb.CatalogException('Catalog Error: Table with name "t" already exists!'),
            "ProgrammingError",
            "42710",
            "already exists",
        ),
        (
            duckdb.CatalogException("Catalog Error: Scalar Function with name f does not exist!"),
            "ProgrammingError",
            "42883",
            "Function with name f does not exist",
        ),
        (
            duckdb.CatalogException("Catalog Error: Table with name t does not exist!"),
            "ProgrammingError",
            "42P01",
            "Table with name t does not exist",
        ),
        (duckdb.ConnectionException("Connection Error: no"), "OperationalError", "58000", "no"),
        (duckdb.SequenceException("Sequence Error: no"), "ProgrammingError", "42000", "no"),
        (
            duckdb.BinderException(
                'Binder Error: Referenced column "a" not found in FROM clause!\n'
                'Candidate bindings: "_memql_c0", "aa"'
            ),
            "ProgrammingError",
            "42703",
            "unknown column 'a' (line 1, column 8)\n  SELECT a\n         ^\nhint: did you mean aa?",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) == 5 else "",
)
def test_failures_of_duckdb(
    raised: duckdb.Error, kind: str, code: str, text: str, context: StatementContext
) -> None:
    error = translate(raised, context)
    assert (type(error).__name__, error.code) == (kind, code)
    assert text in str(error)


def test_the_last_row_stands_for_every_error() -> None:
    assert FAILURES[-1].kind is duckdb.Error and not FAILURES[-1].pattern
    with pytest.raises(AssertionError, match="the last row stands for every error"):
        failure_of(ValueError(), "")  # type: ignore[arg-type]


# -- failures that are brought about ------------------------------------------------------------


def fail(*_: object, **__: object) -> Any:
    raise duckdb.IOException("IO Error: Could not read from file")


def test_rows_that_cannot_be_fetched(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relation, "arrow_of", fail)
    error = failed(con.execute, "SELECT generate('Where does Alice live?') FROM memories")
    assert (error.code, error.message) == ("58030", "Could not read from file")


def test_rows_that_cannot_be_written(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change.ChangeRunner, "_returned", fail)
    error = failed(con.execute, "INSERT INTO memories (content) VALUES ('a')")
    assert (error.code, error.message) == ("58030", "Could not read from file")
    assert con.execute("SELECT count(*) FROM memories").fetchall() == [(4,)]


def test_a_catalog_that_cannot_be_written(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Models, "create", fail)
    error = failed(con.execute, "CREATE MODEL m FROM 'tiny'")
    assert (error.code, error.message) == ("58030", "Could not read from file")
    monkeypatch.undo()
    con.execute("CREATE MODEL m FROM 'tiny'")


def test_a_plan_that_is_too_deep(con: memql.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_deep(*_: object) -> Any:
        raise RecursionError

    monkeypatch.setattr(con._session, "_run_plan", too_deep)
    error = failed(con.execute, "SELECT 1")
    assert (error.code, error.message) == ("54001", "the statement is nested too deeply")


def test_a_limit_that_is_left_over(con: memql.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_parts", lambda *_: [])
    error = failed(con.execute, "SELECT content FROM memories LIMIT 3 TOKENS")
    assert (error.code, error.message) == ("0A000", "LIMIT n TOKENS is not possible here")
    assert error.position == Position(1, 36)


def test_views_that_grow_without_bound(
    con: memql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_EXPANDED_NODES", 100)
    con.execute("CREATE MATERIALIZED VIEW v0 AS SELECT content FROM memories WITH NO DATA")
    with pytest.raises(ProgrammingError, match="the statement with its views has more than") as at:
        for level in range(9):
            con.execute(
                f"CREATE MATERIALIZED VIEW v{level + 1} AS SELECT content FROM v{level} "
                f"UNION ALL SELECT content FROM v{level} WITH NO DATA"
            )
    assert at.value.code == "54001"
    assert at.value.hint == "let views read fewer views, or each only once"


def test_what_no_statement_of_the_language_is() -> None:
    error = refusal(exp.Pragma())
    assert (error.code, error.message) == ("0A000", "MemQL does not run PRAGMA statements")


def test_a_tree_with_text_that_was_not_understood() -> None:
    tree = exp.select("1").where(exp.Command(this="x"))
    error = failed(parser._check_kind, tree, "SELECT 1 WHERE x")
    assert (error.code, error.message) == (
        "42601",
        "syntax error: a part of the statement was not understood",
    )


def test_a_clause_of_the_whole_in_a_part() -> None:
    part = Materialize(this=exp.select("1"), form="AUTO")
    tree = exp.select("*").from_(exp.Subquery(this=part))
    error = failed(parser._check_kind, tree, "SELECT 1")
    assert error.code == "42601"
    assert error.message.startswith("MATERIALIZE is the last clause of a top-level query")


def test_other_errors_of_the_grammar(monkeypatch: pytest.MonkeyPatch) -> None:
    for raised, text in (
        (SqlglotError("no"), "syntax error: no"),
        (ValueError("no"), "syntax error: a function or clause has arguments that do not fit (no)"),
        (RecursionError(), "syntax error: the statement is nested too deeply"),
    ):

        def fail_so(*_: object, found: Exception = raised) -> Any:
            raise found

        monkeypatch.setattr(MemQL.parser_class, "parse", fail_so)
        error = failed(parser.parse, "SELECT 1")
        assert error.message == text
        assert error.code == ("54001" if isinstance(raised, RecursionError) else "42601")


@pytest.mark.parametrize(
    ("text", "code", "found"),
    [
        ("SELECT 1,\n\x00", "22021", "syntax error: the statement holds a NUL character (line 2"),
        ("SELECT '\ud800'", "22021", "the statement holds half of a character"),
        ("SELECT " + "1," * 10_000 + "1", "54000", "the statement has 20,002 words and signs"),
        (
            "SELECT '" + "a" * 70_000 + "'",
            "54000",
            "the statement has 70,009 bytes; at most 65,536",
        ),
        ("SELECT 1" + "::INT" * 300, "54001", "syntax error: the statement is nested too deeply"),
        (
            "SELECT " + "CAST(" * 55 + "1" + " AS INT)" * 55,
            "54001",
            "syntax error: the statement is nested too deeply",
        ),
    ],
    ids=["nul", "surrogate", "words", "bytes", "levels", "brackets"],
)
def test_texts_that_are_too_much(con: memql.Connection, text: str, code: str, found: str) -> None:
    error = failed(con.execute, text)
    assert isinstance(error, ProgrammingError) and error.code == code
    assert str(error).startswith(found)


def test_a_table_that_the_binder_left_over() -> None:
    error = failed(sources.check_names, exp.select("x").from_("nosuch"))
    assert (error.code, error.message) == ("XX000", "the table nosuch was not resolved")
    sources.check_names(exp.select("x").from_(VISIBLE_TABLE))
