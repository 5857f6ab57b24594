"""Syntax errors: the place, what was expected there, and what was probably meant."""

from __future__ import annotations

import pytest

from memql.errors import NotSupportedError, Position, ProgrammingError, holds_secret
from memql.parser import parse

# A text with the place marked by ^, what the message says, and what the hint says.
ERRORS = [
    ("SELECT 1 +^", "expected an expression here", None),
    ("SELECT 1 FROM t WHERE (x = 1^", "expected )", None),
    ("EXPLAIN (FORMAT ^yaml) SELECT 1", "expected text, json, mermaid or html", None),
    ("EXPLAIN (^FROMAT json) SELECT 1", "expected ANALYZE, FORMAT", "did you mean FORMAT"),
    ("EXPLAIN^", "expected a statement to explain", None),
    ("EXPLAIN ^EXPLAIN SELECT 1", "not another EXPLAIN", None),
    ("SELECT x FROM t MATERIALIZE AS ^CACHE", "expected PLAINTEXT, ACTIVATION", None),
    ("SELECT x FROM t MATERIALIZE AS ^ACTIVATON", "expected", "did you mean ACTIVATION"),
    ("SELECT x FROM t MATERIALIZE AS AUTO FOR ^qwen", "expected MODEL after FOR", None),
    ("SELECT x FROM t MATERIALIZE AS AUTO WITH (x ^1)", "expected = after the option x", None),
    ("SELECT x FROM (SELECT 1 ^MATERIALIZE AS AUTO)", "the last clause of a top-level", None),
    ("WITH r AS (SELECT 1 ^MATERIALIZE AS AUTO) SELECT 1", "the last clause of a top-", None),
    ("SELECT generate('q', a := 1, ^b) FROM t", "options come last", None),
    ("SELECT generate(^DISTINCT x) FROM t", "generate takes no DISTINCT", None),
    ("SELECT generate(^) FROM t", "generate takes a question and at most one", None),
    ("SELECT generate('q', a, b^) FROM t", "generate takes a question and at most one", None),
    ("SELECT generate('q' LIMIT 1^, 2) FROM t", "expected one number", "LIMIT rows OFFSET rows"),
    ("SELECT x FROM t LIMIT 1^, 2", "expected one number", "LIMIT rows OFFSET rows"),
    ("SELECT x FROM t LIMIT 5 ROWS 3^", "expected TOKENS after LIMIT k ROWS n", None),
    ("SELECT x FROM t LIMIT 5 ^TOKEN", "expected TOKENS", "LIMIT 2000 TOKENS"),
    ("SELECT x FROM t LIMIT ALL TOKENS^", "expected a number of tokens, not ALL", None),
    ("SELECT x FROM t WHERE x ^MATCHES tea", "expected a text or a parameter", None),
    ("SELECT x FROM t WHERE x MATCHES 'a' USING ^VECTR", "expected TEXT", "did you mean VECTOR"),
    ("SELECT x FROM memories AT (VERSION =>^", "expected a number after VERSION", None),
    ("SELECT x FROM memories AT (VALID => ^)", "expected a time after VALID", None),
    ("CREATE MATERIALIZED VIEW v^", "expected AS and the view's query", None),
    ("CREATE MATERIALIZED VIEW v REFRESH ON ^MONDAY AS SELECT 1", "expected ON DEMAND", None),
    ("CREATE MATERIALIZED VIEW v REFRESH EVERY ^5 AS SELECT 1", "one INTERVAL '...'", None),
    ("CREATE MATERIALIZED VIEW v AS DELETE FROM m^", "expected a query", None),
    ("CREATE MATERIALIZED VIEW ^'v' AS SELECT 1", "expected a view name", None),
    ("CREATE MATERIALIZED VIEW ^? AS SELECT 1", "expected a view name", None),
    ("CREATE ^VEIW v AS SELECT 1", "expected MATERIALIZED VIEW, MODEL", "did you mean VIEW"),
    ("CREATE OR REPLACE ^USER bob", "MODEL, ADAPTER or TYPE after CREATE OR REPLACE", None),
    ("CREATE^", "expected MATERIALIZED VIEW, MODEL", None),
    ("ALTER ^TABEL t ADD x INT", "expected MATERIALIZED VIEW, USER", "did you mean TABLE"),
    ("ALTER MATERIALIZED VIEW v ^RENAME TO w", "expected SET (option = value, ...)", None),
    ("ALTER MATERIALIZED VIEW v SET ^x = 1", "expected (option = value, ...)", None),
    ("ALTER TABLE t ^FROB", "MemQL has no such form of ALTER", None),
    ("DROP ^MATERIALISED VIEW v", "expected MATERIALIZED VIEW", "did you mean MATERIALIZED"),
    ("REFRESH ^VIEW v", "expected MATERIALIZED VIEW after REFRESH", None),
    ("CREATE MODEL m^", "expected FROM 'folder or hub id'", None),
    ("CREATE MODEL m FROM ^tiny", "expected a folder or hub id in quotes, or a parameter", None),
    ("CREATE ADAPTER a FROM 'f' FOR ^m", "expected FOR MODEL", None),
    ("FORGET FROM memories^", "expected WHERE, which is mandatory", "FORGET FROM memories WHERE"),
    ("FORGET ^memories WHERE x", "expected FROM after FORGET", None),
    ("RESTORE FROM ^", "expected memories", None),
    ("RESTORE FROM a.b.c.d^", "expected at most a catalog, a schema and a name", None),
    ("EXPORT ^MEMORIS TO 'x'", "expected MEMORIES after EXPORT", "did you mean MEMORIES"),
    ("EXPORT MEMORIES ^'x'", "expected TO 'folder'", None),
    ("IMPORT MEMORIES FROM ^x", "expected a folder in quotes, or a parameter", None),
    ("GRANT READ ON MEMORIES TO bob WHERE ^x = 1", "in parentheses", "GRANT READ ON MEMORIES"),
    ("GRANT READ ON MEMORIES TO bob WHERE (x) ^AND (y)", "expected UNTIL", "the whole condition"),
    ("GRANT ^RAED ON MEMORIES TO bob", "expected READ, WRITE", "did you mean READ"),
    ("GRANT ^SELECT ON MEMORIES TO bob", "these are the rights on MEMORIES", None),
    ("GRANT ^READ ON t TO bob", "these are the rights on a table", None),
    ("GRANT READ, ^ALL ON MEMORIES TO bob", "these are the rights on MEMORIES", None),
    ("GRANT ^ON MEMORIES TO bob", "or another right before ON", None),
    ("GRANT READ ^OM MEMORIES TO bob", "expected ON MEMORIES, ON a table, or TO", None),
    ("GRANT READ ON MEMORIES ^FROM bob", "expected TO and who gets the right", None),
    ("GRANT READ ON MEMORIES TO ^'bob'", "expected the name of a user or role", None),
    ("REVOKE READ ON MEMORIES ^TO bob", "expected FROM and who loses it", None),
    ("REVOKE ADMIN OPTION FOR READ ON ^MEMORIES FROM bob", "ADMIN OPTION FOR is of roles", None),
    ("CREATE USER ^", "expected the user's name", None),
    ("CREATE USER bob ^PASWORD 'x'", "expected PASSWORD, TOKEN", None),
    ("CREATE USER bob PASSWORD ^secret", "expected the password in quotes", None),
    ("CREATE USER bob VALID UNTIL^", "expected a time after VALID UNTIL", None),
    ("CREATE USER bob SUPERUSER ^SUPERUSER", "SUPERUSER stands there twice", None),
    ("CREATE USER bob WITH^", "expected PASSWORD", None),
    ("ALTER ROLE r^", "expected RENAME TO, PASSWORD", None),
    ("ALTER ROLE r RENAME ^x", "expected TO and the new name", None),
    ("CREATE POLICY p ^FOR SELECT", "expected ON and a table", None),
    ("CREATE POLICY p ON t AS ^RESTRICTED", "expected PERMISSIVE or", "did you mean RESTRICTIVE"),
    ("CREATE POLICY p ON t FOR ^SELCT", "expected ALL, SELECT", "did you mean SELECT"),
    ("CREATE POLICY p ON t USING ^x", "in parentheses", "CREATE POLICY p ON memories USING"),
    ("CREATE POLICY p ON t TO a ^FOR SELECT", "in this order", None),
    ("ALTER POLICY p ON t^", "expected RENAME TO, TO, USING or WITH CHECK", None),
    ("SET ROLE ^'x'", "expected a role's name or NONE", None),
    ("SET memql.x^", "expected = or TO and a value", None),
    ("SET memql.x ^=", "expected a value", None),
    ("SET memql.x = -^y", "expected a number after -", None),
    ("SET memql.x = 1^, 2", "expected a clause", None),
    ("SET^", "expected memql.<name> after SET", None),
    ("RESET memql.^", "expected the setting's name", None),
    ("SHOW ^MODLES", "expected MATERIALIZED VIEWS, MODELS", "did you mean MODELS"),
    ("ADVISE ^APLY", "expected a clause", "did you mean APPLY"),
    ("EVALUATE ^SERCH", "expected VIEW or SEARCH", "did you mean SEARCH"),
    ("EVALUATE VIEW^", "expected a view name", None),
    ("EVALUATE SEARCH USING ^SELECT 1", "expected a query in parentheses", None),
    ("EVALUATE SEARCH USING (DELETE FROM t^)", "expected a query (SELECT ...)", None),
    ("WITH ^a AS (DROP TABLE t) SELECT 1", "expected a query (SELECT ...) in WITH", None),
    ("SELCT x ^FROM t", "expected a clause", "did you mean SELECT instead of SELCT"),
]


@pytest.mark.parametrize(("marked", "message", "hint"), ERRORS, ids=[row[0] for row in ERRORS])
@pytest.mark.parametrize("before", ["", "-- a comment\n  "])
def test_errors_name_the_place(marked: str, message: str, hint: str | None, before: str) -> None:
    text = before + marked.replace("^", "")
    with pytest.raises(ProgrammingError) as caught:
        parse(text)
    error = caught.value
    assert message in error.message
    assert (error.hint or "").startswith(hint or "")
    place = (before + marked).index("^")
    line = before.count("\n") + 1
    assert error.position in (
        Position(line, place - before.rfind("\n")),
        # An error at the end may stand behind the last word or behind its space.
        Position(line, len(text.rstrip()) - before.rfind("\n")),
    )
    drawn = str(error).splitlines()
    if holds_secret(text):
        assert error.statement is None and "^" not in str(error)
    else:
        assert drawn[2].index("^") == error.position.column + 1


def test_another_place_is_noticed() -> None:
    with pytest.raises(AssertionError):
        test_errors_name_the_place("SHOW MODLES^ x", "expected", None, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the statement is empty"),
        (" ;; ", "the statement is empty"),
        ("SELECT 1; SELECT 2", "expected one statement, found 2"),
        ("SELECT /* x", r"expected a closing \*/"),
        ("SELECT 'x", "expected a closing '"),
        ("generate('x')", "expected a statement, found an expression"),
        ("SELECT 'a\x00b'", "holds a NUL character"),
        ("SELECT '\ud800'", "half of a character"),
        ("SELECT 0xFF", "expected a number"),
    ],
)
def test_texts_that_are_no_statement(text: str, expected: str) -> None:
    with pytest.raises(ProgrammingError, match=expected):
        parse(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("CREATE SCHEMA s", "CREATE SCHEMA"),
        ("CREATE MACRO f(a) AS a", "CREATE MACRO"),
        ("CREATE OR REPLACE FUNCTION f(a) AS a", "CREATE FUNCTION"),
        ("CREATE DATABASE d", "CREATE DATABASE"),
        ("DROP MACRO f", "DROP MACRO"),
        ("COMMENT ON TABLE t IS 'x'", "COMMENT"),
        ("PRAGMA x", "PRAGMA"),
        ("ATTACH 'x'", "ATTACH"),
        ("DETACH x", "DETACH"),
        ("USE x", "USE"),
        ("EXPLAIN DROP SCHEMA s", "DROP SCHEMA"),
    ],
)
def test_statements_of_duckdb_that_memql_has_not(text: str, kind: str) -> None:
    with pytest.raises(NotSupportedError) as caught:
        parse(text)
    assert caught.value.message == f"MemQL does not run {kind} statements"
