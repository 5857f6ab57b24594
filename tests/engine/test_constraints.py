"""memql.constraints, memql.indexes and memql.sequences: told to who may read the table."""

from __future__ import annotations

from pathlib import Path

import memql

CONSTRAINTS = "SELECT table_name, owner, kind, columns FROM memql.constraints ORDER BY ALL"
INDEXES = "SELECT name, table_name, owner, is_unique, columns FROM memql.indexes"
SEQUENCES = "SELECT name, owner FROM memql.sequences"


def test_how_tables_are_made() -> None:
    with memql.connect() as con:
        con.execute('CREATE TABLE p (id INTEGER PRIMARY KEY, "a b" INTEGER CHECK ("a b" > 0))')
        con.execute("CREATE TABLE c (p INTEGER REFERENCES p (id), u INTEGER UNIQUE NOT NULL)")
        con.execute('CREATE UNIQUE INDEX ix ON p ("a b", id)')
        con.execute("CREATE SEQUENCE s")
        assert con.execute(CONSTRAINTS).fetchall() == [
            ("c", "local", "FOREIGN KEY", ["p"]),
            ("c", "local", "NOT NULL", ["u"]),
            ("c", "local", "UNIQUE", ["u"]),
            ("p", "local", "CHECK", ["a b"]),
            ("p", "local", "NOT NULL", ["id"]),
            ("p", "local", "PRIMARY KEY", ["id"]),
        ]
        (key,) = con.execute(
            "SELECT referenced_table, referenced_columns FROM memql.constraints "
            "WHERE kind = 'FOREIGN KEY'"
        ).fetchall()
        assert key == ("p", ["id"])
        assert con.execute(INDEXES).fetchall() == [("ix", "p", "local", True, ["a b", "id"])]
        assert con.execute(SEQUENCES).fetchall() == [("s", "local")]


def test_who_may_not_read_a_table_is_told_nothing_of_it(tmp_path: Path) -> None:
    path = tmp_path / "s.memql"
    with memql.connect(path) as con:
        con.execute("CREATE USER root PASSWORD 'r' SUPERUSER")
    with memql.connect(path, user="root", password="r") as con:
        for name in ("ann", "bob"):
            con.execute(f"CREATE USER {name} PASSWORD 'x'")
    with (
        memql.connect(path, user="ann", password="x") as ann,
        memql.connect(path, user="bob", password="x") as bob,
    ):
        ann.execute("CREATE TABLE secret (id INTEGER PRIMARY KEY CHECK (id > 7))")
        ann.execute("CREATE INDEX ix ON secret (id)")
        ann.execute("CREATE SEQUENCE s")
        assert len(ann.execute(CONSTRAINTS).fetchall()) == 3

        def told() -> list[int]:
            return [len(bob.execute(one).fetchall()) for one in (CONSTRAINTS, INDEXES, SEQUENCES)]

        assert told() == [0, 0, 0]
        ann.execute("GRANT INSERT ON secret TO bob")
        assert told() == [0, 0, 0]
        ann.execute("GRANT SELECT ON secret TO bob")
        assert told() == [3, 1, 0]
        ann.execute("REVOKE SELECT ON secret FROM bob")
        assert told() == [0, 0, 0]
