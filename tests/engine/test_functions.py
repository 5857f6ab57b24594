"""The table of functions against the installed DuckDB: complete, and leakproof is meant."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import duckdb
import pytest

import memql
from memql.engine import functions
from memql.engine.duckdb_sql.nodes import AGGREGATES
from memql.engine.functions import (
    FUNCTIONS,
    PRAGMAS,
    REASONS,
    TABLE_FUNCTIONS,
    VALUE_WORDS,
    Function,
    classified,
    table_function,
)

DOCS = Path(__file__).parents[2] / "docs" / "functions.md"

TABLES = {
    "scalar": FUNCTIONS,
    "aggregate": FUNCTIONS,
    "window": FUNCTIONS,
    "macro": FUNCTIONS,
    "table": TABLE_FUNCTIONS,
    "table_macro": TABLE_FUNCTIONS,
    "pragma": PRAGMAS,
}


def unclassified(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """The names of functions that no table has, with their kind."""
    rows = con.execute(
        "SELECT DISTINCT function_type, lower(function_name) FROM duckdb_functions() ORDER BY ALL"
    ).fetchall()
    return [(kind, name) for kind, name in rows if name not in TABLES.get(kind, {})]


def test_every_function_of_duckdb_is_classified() -> None:
    with duckdb.connect() as con:
        assert unclassified(con) == []


def test_a_new_function_is_noticed() -> None:
    with duckdb.connect() as con:
        con.execute("CREATE MACRO quite_new(a) AS a + 1")
        con.execute("CREATE MACRO new_rows() AS TABLE SELECT 1")
        assert unclassified(con) == [("macro", "quite_new"), ("table_macro", "new_rows")]


def test_a_new_kind_of_functions_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TABLES, "pragma")
    with duckdb.connect() as con:
        assert {kind for kind, _ in unclassified(con)} == {"pragma"}


def test_the_kinds_are_those_of_duckdb() -> None:
    with duckdb.connect() as con:
        rows = con.execute(
            "SELECT DISTINCT function_type, lower(function_name) FROM duckdb_functions() "
            "WHERE function_type IN ('aggregate', 'window')"
        ).fetchall()
    # 1.5 lists its window functions as aggregates.
    windows = {name for name, function in FUNCTIONS.items() if function.kind == "window"}
    for kind, name in rows:
        assert FUNCTIONS[name].kind == ("window" if name in windows else kind), name


def test_a_name_has_one_class() -> None:
    double = [Function("twice", "scalar"), Function("twice", "scalar", leakproof=True)]
    with pytest.raises(AssertionError, match="twice"):
        functions._table(*double)
    assert (
        Counter(name for table in (FUNCTIONS, PRAGMAS) for name in table if name != name.lower())
        == {}
    )


def test_refusals_have_a_reason_of_the_list() -> None:
    every = [*FUNCTIONS.values(), *TABLE_FUNCTIONS.values(), *PRAGMAS.values()]
    assert {one.refused for one in every} == {None, *REASONS.values()}
    assert not any(one.leakproof and one.refused for one in every)


@pytest.mark.parametrize("name", ["~~", "IS DISTINCT FROM", "Length", "="])
def test_leakproof_by_any_case(name: str) -> None:
    found = classified(name)
    assert found is not None and found.leakproof


@pytest.mark.parametrize("name", ["lower", "+", "like_escape", "error", "list_transform", "~~*"])
def test_what_can_fail_is_not_leakproof(name: str) -> None:
    found = classified(name)
    assert found is not None and found.refused is None and not found.leakproof


def test_aggregates_of_the_parser_are_aggregates_of_the_table() -> None:
    # What it has besides are macros that expand to aggregates.
    for name in AGGREGATES:
        assert FUNCTIONS[name].refused is None, name
    known = {name for name, function in FUNCTIONS.items() if function.kind == "aggregate"}
    assert known <= AGGREGATES


def test_every_refused_name_is_refused() -> None:
    with memql.connect() as con:
        for name, function in FUNCTIONS.items():
            if function.refused is not None and name not in ("nextval", "currval"):
                with pytest.raises(memql.NotSupportedError, match="not possible"):
                    con.execute(f'SELECT "{name}"(1)')
        for name, function in TABLE_FUNCTIONS.items():
            if function.refused is not None:
                with pytest.raises(memql.NotSupportedError, match="not possible"):
                    con.execute(f'SELECT * FROM "{name}"(1)')


@pytest.mark.parametrize("word", sorted(VALUE_WORDS))
def test_words_without_brackets(word: str) -> None:
    found = classified(VALUE_WORDS[word])
    assert found is not None
    with memql.connect() as con:
        con.execute("CREATE TABLE t (a INTEGER)")
        # A source of unknown columns: DuckDB would take the word for a call.
        for query in (f"SELECT {word} FROM json_each('[1]')", f"SELECT {word} FROM t"):
            if found.refused is None:
                assert con.execute(query).description is not None
            else:
                with pytest.raises((memql.NotSupportedError, memql.ProgrammingError)):
                    con.execute(query)


def test_a_column_may_have_such_a_name() -> None:
    with memql.connect() as con:
        con.execute('CREATE TABLE t ("user" VARCHAR)')
        con.execute("INSERT INTO t VALUES ('ann')")
        assert con.execute("SELECT user FROM t").fetchall() == [("ann",)]
        query = "SELECT t.user FROM t, json_each('[1]')"
        assert con.execute(query).fetchall() == [("ann",)]
        with pytest.raises(memql.NotSupportedError, match=r"(?s)user is not .*t\.user"):
            con.execute("SELECT user FROM t, json_each('[1]')")


# -- leakproof ---------------------------------------------------------------------------------

TEXTS = "NULL, '', 'a', '%', '_%\\', 'ß', 'İI', '😀', e'\\u0301', chr(1114111), repeat('é', 100000)"
NASTY: dict[str, str] = {
    "VARCHAR": f"[{TEXTS}]",
    "BLOB": "[NULL, ''::BLOB, '\\x00'::BLOB, '\\xFF\\xFE'::BLOB, repeat('x', 100000)::BLOB]",
    "BIT": "[NULL, '0'::BIT, '1'::BIT, repeat('10', 1000)::BIT]",
    "BOOLEAN": "[NULL, true, false]",
    "TINYINT": "[NULL, 0, -128, 127]",
    "SMALLINT": "[NULL, 0, -32768, 32767]",
    "INTEGER": "[NULL, 0, -2147483648, 2147483647]",
    "BIGINT": "[NULL, 0, -9223372036854775808, 9223372036854775807]",
    "HUGEINT": "[NULL, 0, -170141183460469231731687303715884105728, "
    "170141183460469231731687303715884105727]",
    "UTINYINT": "[NULL, 0, 255]",
    "USMALLINT": "[NULL, 0, 65535]",
    "UINTEGER": "[NULL, 0, 4294967295]",
    "UBIGINT": "[NULL, 0, 18446744073709551615]",
    "UHUGEINT": "[NULL, 0::UHUGEINT, 340282366920938463463374607431768211455::UHUGEINT]",
    "FLOAT": "[NULL, 0, '-0', 'nan', 'inf', '-inf', 1e-45, 3.4e38]",
    "DOUBLE": "[NULL, 0, '-0', 'nan', 'inf', '-inf', 5e-324, 1.7e308]",
    "DECIMAL(38,10)": "[NULL, 0, 9999999999999999999999999999.9999999999, -1]",
    "DATE": "[NULL, '-infinity', 'infinity', '5877642-06-25 (BC)', '5881580-07-10']",
    "TIMESTAMP": "[NULL, '-infinity', 'infinity', '290309-12-22 (BC) 00:00:00', '1970-01-01']",
    "TIMESTAMP WITH TIME ZONE": "[NULL, '-infinity', 'infinity', '2026-11-23 00:00:00+14']",
    "TIME": "[NULL, '00:00:00', '24:00:00']",
    "INTERVAL": "[NULL, '0 days', '-1000 years', '1 month', '30 days']",
    "UUID": "[NULL, '00000000-0000-0000-0000-000000000000', "
    "'ffffffff-ffff-ffff-ffff-ffffffffffff']",
    "JSON": "[NULL, 'null', '{}', '[1]', '\"\"']",
    "VARCHAR[]": f"[NULL, [], [NULL], [{TEXTS}]]",
    "DOUBLE[]": "[NULL, [], [NULL, 'nan', 'inf']]",
    "MAP(VARCHAR, INTEGER)": "[NULL, MAP {}, MAP {'': 1}]",
    "STRUCT(a VARCHAR, b DOUBLE)": "[NULL, {'a': '', 'b': 'nan'}, {'a': NULL, 'b': NULL}]",
}
# What stands in the list of parameters for many types.
GENERIC = {"ANY": list(NASTY), "T": list(NASTY), "T[]": ["VARCHAR[]", "DOUBLE[]"], "K": ["VARCHAR"]}
GENERIC |= {"ANY[]": GENERIC["T[]"], "V": ["INTEGER"], "MAP(K, V)": ["MAP(VARCHAR, INTEGER)"]}
GENERIC |= {"DECIMAL": ["DECIMAL(38,10)"], "STRUCT": ["STRUCT(a VARCHAR, b DOUBLE)"]}
UNTYPED = {"T", "ANY", "K"}


def values_of(kind: str) -> str:
    return f"CAST({NASTY[kind]} AS {kind}[])"


def failures_of(con: duckdb.DuckDBPyConnection, name: str) -> tuple[list[str], int]:
    """Call a function with nasty values of all its types; return errors, and the calls made."""
    failed: list[str] = []
    calls = 0
    overloads = con.execute(
        "SELECT DISTINCT parameter_types FROM duckdb_functions() "
        "WHERE lower(function_name) = ? AND function_type = 'scalar'",
        [name],
    ).fetchall()
    for (parameters,) in overloads:
        # Where the types of two parameters are the same open one, the values are of one type.
        opened = [kind for kind in parameters if kind in UNTYPED or "T[" in kind or "K" in kind]
        choices: list[str | None] = [None]
        if opened:
            kinds = ["T[]"] if "T[]" in opened else opened
            choices = [*dict.fromkeys(one for kind in kinds for one in GENERIC[kind])]
        for choice in choices:
            kinds = [concrete(kind, choice) for kind in parameters]
            if any(kind not in NASTY for kind in kinds):
                continue
            places = [f"a{place}" for place in range(len(kinds))]
            plain = name.strip("=!<>~^@") == ""
            infix = plain or " " in name
            call = f" {name} ".join(places) if infix else f'"{name}"({", ".join(places)})'
            sources = ", ".join(
                f"unnest({values_of(kind)}) AS t{place}(a{place})"
                for place, kind in enumerate(kinds)
            )
            try:
                con.execute(f"SELECT count({call}) FROM {sources}").fetchall()
            except duckdb.BinderException:
                continue  # not a pair of types that the function takes
            except duckdb.Error as error:
                failed.append(f"{call} of {kinds}: {error}")
            calls += 1
    return failed, calls


def concrete(kind: str, choice: str | None) -> str:
    if choice is not None and kind in UNTYPED:
        return choice.removesuffix("[]") if "[]" in choice and kind == "T" else choice
    return GENERIC[kind][0] if kind in GENERIC and choice not in GENERIC[kind] else choice or kind


LEAKPROOF = sorted(name for name, function in FUNCTIONS.items() if function.leakproof)


@pytest.mark.parametrize("name", LEAKPROOF)
def test_leakproof_functions_never_fail(name: str) -> None:
    with duckdb.connect() as con:
        failed, calls = failures_of(con, name)
        assert not failed
        assert calls, f"{name} was never called: its types are not among the nasty ones"


@pytest.mark.parametrize("name", ["abs", "factorial", "chr", "from_hex", "like_escape", "error"])
def test_what_fails_is_seen_to_fail(name: str) -> None:
    with duckdb.connect() as con:
        failed, _ = failures_of(con, name)
        assert failed


# -- the docs ----------------------------------------------------------------------------------


def named_in(page: str, heading: str) -> set[str]:
    """Return the names in code marks of one section's table or list."""
    section = re.split(r"^## ", page, flags=re.MULTILINE)
    [text] = [part for part in section if part.startswith(heading)]
    if "\n|" in text:
        text = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    return set(re.findall(r"`([^`]+)`", text))


def test_the_docs_name_what_is_refused() -> None:
    page = DOCS.read_text("utf-8")
    named = named_in(page, "Refused")
    refused = [
        *(one for one in FUNCTIONS.values() if one.refused),
        *(one for one in TABLE_FUNCTIONS.values() if one.refused),
    ]
    families = {name.removesuffix("*") for name in named if name.endswith("*")}
    missing = {
        one.name
        for one in refused
        if one.name not in named and not one.name.startswith(tuple(families))
    }
    assert not missing
    assert not {sentence for sentence in REASONS.values() if sentence not in page}
    # Nothing that is allowed is called refused.
    allowed = {name for name in named if (found := classified(name)) and found.refused is None}
    assert not {
        name for name in allowed if (found := table_function(name)) is None or not found.refused
    }


def test_the_docs_name_what_is_leakproof_and_the_table_functions() -> None:
    page = DOCS.read_text("utf-8")
    assert named_in(page, "Leakproof") == set(LEAKPROOF)
    allowed = {name for name, function in TABLE_FUNCTIONS.items() if function.refused is None}
    assert named_in(page, "Table functions") >= allowed
