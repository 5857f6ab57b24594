"""What DuckDB's grammar has for ordinary tables and sqlglot's has not: CREATE and DROP TYPE."""

from __future__ import annotations

from sqlglot import exp

from memql.dialect.reader import Reader, Statements
from memql.engine.duckdb_sql.nodes import Type


def _parse_type(reader: Reader, replace: bool = False) -> exp.Expr:
    exists = reader.if_not_exists()
    name = reader.table("a type name")
    reader.expect("AS", "AS and a type")
    start = reader._index
    definition: exp.Expr | None = None
    if reader.take("ENUM") and reader.takes_parenthesis():
        query = reader._parse_select()
        if isinstance(query, exp.Query):
            reader._match_r_paren()
            words = [exp.Var(this="ENUM")]
            definition = Type(this=exp.DType.ENUM, words=words, expressions=[query])
    if definition is None:
        reader._retreat(start)
        definition = reader._parse_types()
    if not isinstance(definition, exp.DataType):
        reader.fail("expected a type after AS", choices=("ENUM", "STRUCT", "UNION"))
    return reader.expression(
        exp.Create(this=name, kind="TYPE", expression=definition, replace=replace, exists=exists)
    )


def _parse_type_or_replace(reader: Reader) -> exp.Expr:
    return _parse_type(reader, replace=True)


def _parse_drop_type(reader: Reader) -> exp.Expr:
    exists = reader.if_exists()
    names = reader._parse_csv(lambda: reader.table("a type name"))
    cascade = reader.take("CASCADE")
    reader.take("RESTRICT")
    return reader.expression(exp.Drop(tables=names, kind="TYPE", exists=exists, cascade=cascade))


STATEMENTS: Statements = {
    "CREATE TYPE": _parse_type,
    "CREATE OR REPLACE TYPE": _parse_type_or_replace,
    "DROP TYPE": _parse_drop_type,
}
