"""The dialect as it is used: an engine, the ORM, reflection, pandas, and MemQL's own clauses."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
import sqlalchemy as sa
from sqlalchemy import orm

import memql

pytestmark = pytest.mark.slow


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    one = sa.create_engine(f"memql:///{tmp_path / 'agent.memql'}")
    with one.begin() as con:
        con.execute(
            sa.text("INSERT INTO memories (content, kind) VALUES (:c, :k)"),
            [
                {"c": "Alice lives in Lisbon.", "k": "fact"},
                {"c": "Alice must not eat peanuts.", "k": "preference"},
            ],
        )
    yield one
    one.dispose()


class Base(orm.DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "people"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(unique=True)
    born: orm.Mapped[datetime.date | None]
    tastes: orm.Mapped[list[Taste]] = orm.relationship(back_populates="person")


class Taste(Base):
    __tablename__ = "tastes"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    person_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("people.id"), index=True)
    what: orm.Mapped[str]
    details: orm.Mapped[dict[str, Any]] = orm.mapped_column(sa.JSON)
    person: orm.Mapped[Person] = orm.relationship(back_populates="tastes")


def test_the_orm_stores_and_finds(engine: sa.Engine) -> None:
    Base.metadata.create_all(engine)
    with orm.Session(engine) as session:
        ann = Person(name="Ann", born=datetime.date(1990, 1, 2))
        ann.tastes = [Taste(what="tea", details={"strength": [1, {"cups": 2}]})]
        session.add_all([ann, Person(name="Bob")])
        session.commit()
        assert (ann.id, ann.tastes[0].person_id) == (1, 1)
    with orm.Session(engine) as session:
        strength = Taste.details["strength"][1]["cups"].as_integer()
        found = session.scalars(sa.select(Person).join(Taste).where(strength == 2)).one()
        assert found.name == "Ann" and found.tastes[0].details == {"strength": [1, {"cups": 2}]}
        names = sa.select(Person.name).where(Person.name.regexp_match("^B")).order_by(Person.name)
        assert session.scalars(names).all() == ["Bob"]
        session.add(Person(name="Ann"))
        with pytest.raises(sa.exc.IntegrityError):
            session.commit()
        session.rollback()
        assert session.scalar(sa.select(sa.func.count(Person.id))) == 2
    Base.metadata.drop_all(engine)
    assert sa.inspect(engine).get_table_names() == []
    assert sa.inspect(engine).get_sequence_names() == []


def test_an_insert_that_meets_a_row_updates_it(engine: sa.Engine) -> None:
    from sqlalchemy.dialects.postgresql import insert

    table = sa.Table("counts", sa.MetaData(), sa.Column("word", sa.String, primary_key=True),
                     sa.Column("n", sa.Integer))  # fmt: skip
    table.create(engine)
    with engine.begin() as con:
        for n in (1, 2):
            statement = insert(table).values(word="tea", n=n)
            con.execute(
                statement.on_conflict_do_update(
                    index_elements=["word"], set_={"n": table.c.n + statement.excluded.n}
                )
            )
        assert con.execute(sa.select(table)).all() == [("tea", 3)]


def test_every_clause_of_memql_in_text(engine: sa.Engine) -> None:
    with engine.begin() as con:
        ask = sa.text(
            "SELECT generate(:q, max_tokens := 8) FROM memories MATERIALIZE AS ACTIVATION"
        )
        answer = con.execute(ask, {"q": "Where does Alice live?"}).scalar_one()
        assert answer == "Alice lives in Lisbon." and isinstance(answer, memql.Answer)
        con.execute(sa.text("CREATE MATERIALIZED VIEW v AS SELECT content FROM memories "
                            "MATERIALIZE AS ACTIVATION"))  # fmt: skip
    with engine.connect() as con:
        row = con.execute(sa.text("SELECT content FROM v MATERIALIZE AS PLAINTEXT")).one()
        assert isinstance(row.materialized, memql.Prompt) and row.tokens == 22
        kept = con.execute(sa.text("SELECT content FROM memories LIMIT 8 TOKENS")).all()
        assert len(kept) == 1
        plan = con.execute(sa.text("EXPLAIN SELECT content FROM memories")).scalars().all()
        assert plan[0] == "Relation"
        con.execute(sa.text("SET memql.statement_timeout = '5s'"))
        cast = con.execute(sa.text("SELECT {'a' : 1}.a::VARCHAR, [1, 2, 3][2:]")).one()
        assert cast == ("1", [2, 3])


def test_statements_on_users_run_in_autocommit(engine: sa.Engine) -> None:
    create = sa.text("CREATE USER root PASSWORD 'r' SUPERUSER")
    with engine.connect() as con, pytest.raises(sa.exc.ProgrammingError):
        con.execute(create)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as con:
        con.execute(create)
    url = engine.url.set(username="root", password="r")
    engine.dispose()
    other = sa.create_engine(url)
    with other.connect() as con:
        assert con.execute(sa.text("SHOW USERS")).all()[0][0] == "root"
    other.dispose()
    wrong = sa.create_engine(url.set(password="x"))
    with pytest.raises(sa.exc.OperationalError, match="password or token is wrong"):
        wrong.connect()


def test_a_url_names_user_and_options(tmp_path: Path) -> None:
    url = f"memql://ann@/{tmp_path / 's.memql'}?memory_limit=1GB&threads=2&model=tiny"
    engine = sa.create_engine(url)
    with engine.connect() as con:
        raw = con.connection.dbapi_connection
        assert isinstance(raw, memql.Connection) and raw.user == "ann"
        shown = "SELECT value FROM memql.settings WHERE name IN ('threads', 'model') ORDER BY name"
        assert con.execute(sa.text(shown)).scalars().all() == ["tiny", "2"]
        assert con.dialect.default_schema_name == "ann"
    engine.dispose()
    with pytest.raises(sa.exc.ArgumentError, match="a memql URL names no host, found db"):
        sa.create_engine("memql://db/s.memql").connect()
    with pytest.raises(sa.exc.ArgumentError, match="has no option mode; there are model"):
        sa.create_engine("memql:///s.memql?mode=r").connect()


def test_a_store_in_memory_stays_while_the_engine_does() -> None:
    engine = sa.create_engine("memql://")
    with engine.begin() as con:
        con.execute(sa.text("CREATE TABLE t (a INTEGER)"))
    with engine.connect() as con:
        assert con.execute(sa.text("SELECT count(*) FROM t")).scalar() == 0


def test_what_is_there_is_reflected(engine: sa.Engine) -> None:
    with engine.begin() as con:
        for statement in (
            "CREATE TYPE mood AS ENUM ('sad', 'it''s fine')",
            "CREATE TABLE a (id INTEGER PRIMARY KEY, u UUID UNIQUE, n DECIMAL(9, 2) DEFAULT 1.5, "
            "t TIMESTAMPTZ NOT NULL, l VARCHAR[][], m mood, CHECK (n > 0))",
            "CREATE TABLE b (x INTEGER, y INTEGER REFERENCES a (id), z VARCHAR, "
            "PRIMARY KEY (x, y))",
            "CREATE UNIQUE INDEX ix ON b (z, y)",
            "CREATE VIEW v AS SELECT content FROM memories",
            "CREATE MATERIALIZED VIEW mv AS SELECT content FROM memories MATERIALIZE AS ACTIVATION",
        ):
            con.execute(sa.text(statement))
    found = sa.inspect(engine)
    assert found.get_table_names() == ["a", "b"]
    assert found.get_view_names() == ["v"]
    assert found.get_materialized_view_names() == ["mv"]
    assert found.get_view_definition("v") == "SELECT content FROM memories"
    assert found.has_table("memories") and found.has_table("v") and not found.has_table("c")
    assert found.get_schema_names() == ["local"]
    columns = {column["name"]: column for column in found.get_columns("a")}
    assert [column["type"].compile(engine.dialect) for column in columns.values()] == [
        *("INTEGER", "UUID", "NUMERIC(9, 2)", "TIMESTAMP WITH TIME ZONE"),
        *("VARCHAR[][]", "VARCHAR(9)"),
    ]  # fmt: skip
    assert columns["m"]["type"].enums == ["sad", "it's fine"]  # type: ignore[attr-defined]
    assert not columns["t"]["nullable"] and columns["n"]["default"] == "1.5"
    assert found.get_pk_constraint("b")["constrained_columns"] == ["x", "y"]
    (key,) = found.get_foreign_keys("b")
    assert (key["constrained_columns"], key["referred_table"], key["referred_columns"]) == (
        *(["y"], "a", ["id"]),
    )  # fmt: skip
    assert [one["column_names"] for one in found.get_unique_constraints("a")] == [["u"]]
    assert [one["sqltext"] for one in found.get_check_constraints("a")] == ["(n > 0)"]
    (index,) = found.get_indexes("b")
    assert (index["name"], index["unique"], index["column_names"]) == ("ix", True, ["z", "y"])
    memories = sa.Table("memories", sa.MetaData(), autoload_with=engine)
    with engine.connect() as con:
        row = con.execute(sa.select(memories).order_by(memories.c.id).limit(1)).one()
        assert row.content == "Alice lives in Lisbon." and isinstance(row.id, uuid.UUID)
    with pytest.raises(sa.exc.NoSuchTableError):
        found.get_columns("c")
    with pytest.raises(sa.exc.NoSuchTableError):
        found.get_view_definition("c")


def test_a_type_that_sqlalchemy_does_not_know_is_warned_of(engine: sa.Engine) -> None:
    with engine.begin() as con:
        con.execute(sa.text("CREATE TABLE s (x STRUCT(a INTEGER))"))
    with pytest.warns(sa.exc.SAWarning, match="SQLAlchemy has no type for STRUCT"):
        (column,) = sa.inspect(engine).get_columns("s")
    assert isinstance(column["type"], sa.types.NullType)


def test_what_memql_does_not_do_is_refused(engine: sa.Engine) -> None:
    metadata = sa.MetaData()
    key = sa.ForeignKey("a.id", ondelete="CASCADE")
    sa.Table("a", metadata, sa.Column("id", sa.Integer, primary_key=True))
    sa.Table("b", metadata, sa.Column("a_id", sa.Integer, key))
    with pytest.raises(sa.exc.CompileError, match="foreign keys have no CASCADE"):
        metadata.create_all(engine)
    stored = sa.Table("c", sa.MetaData(), sa.Column("x", sa.Integer),
                      sa.Column("y", sa.Integer, sa.Computed("x + 1", persisted=True)))  # fmt: skip
    with pytest.raises(sa.exc.CompileError, match="none are STORED"):
        stored.create(engine)
    with engine.connect() as con, con.begin(), pytest.raises(
        sa.exc.NotSupportedError, match="MemQL has no savepoints"
    ):  # fmt: skip
        con.begin_nested()
    noted = sa.Table("d", sa.MetaData(), sa.Column("x", sa.Integer), comment="of no use")
    with engine.connect() as con, pytest.raises(sa.exc.CompileError, match="no comments"):
        con.execute(sa.schema.SetTableComment(noted))


def test_pandas_and_polars_over_an_engine(engine: sa.Engine) -> None:
    frame = pd.DataFrame(
        {"name": ["Ann", "Bob"], "age": [31, None], "at": pd.Timestamp("2026-01-02")}
    )
    assert frame.to_sql("people", engine, index=False) == 2
    assert frame.to_sql("people", engine, index=False, if_exists="append") == 2
    with pytest.raises(ValueError, match="already exists"):
        frame.to_sql("people", engine, index=False)
    assert frame.to_sql("people", engine, index=True, if_exists="replace") == 2
    back = pd.read_sql("SELECT name, age, at FROM people ORDER BY name", engine)
    pd.testing.assert_frame_equal(back, frame, check_dtype=False)
    whole = pd.read_sql_table("people", engine, index_col="index")
    assert whole["name"].tolist() == ["Ann", "Bob"]
    kinds = pd.read_sql(sa.text("SELECT kind FROM memories WHERE kind = :k"), engine,
                        params={"k": "fact"})  # fmt: skip
    assert kinds["kind"].tolist() == ["fact"]
    memories = pd.DataFrame({"content": ["Bob likes tea."], "kind": ["taste"]})
    assert memories.to_sql("memories", engine, index=False, if_exists="append") == 1
    with engine.connect() as con:
        assert pl.read_database("SELECT name FROM people", con)["name"].to_list() == ["Ann", "Bob"]
        count = sa.text("SELECT count(*) FROM memories")
        assert con.execute(count).scalar() == 3


def test_transactions_are_rolled_back(engine: sa.Engine) -> None:
    count = sa.text("SELECT count(*) FROM memories")
    insert = sa.text("INSERT INTO memories (content) VALUES ('a')")
    with engine.connect() as con:
        con.execute(insert)
        con.rollback()
        assert con.execute(count).scalar() == 2
    with pytest.raises(RuntimeError), engine.begin() as con:
        con.execute(insert)
        raise RuntimeError
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as con:
        con.execute(insert)
        con.rollback()
        assert con.execute(count).scalar() == 3
    with engine.connect() as con:
        con.execute(insert)
    with engine.connect() as con:
        assert str(con.get_isolation_level()) == "SNAPSHOT"
        assert con.execute(count).scalar() == 3


def test_a_closed_connection_is_replaced(engine: sa.Engine) -> None:
    with engine.connect() as con:
        raw: Any = con.connection.dbapi_connection
        raw.close()
        with pytest.raises(sa.exc.InterfaceError) as raised:
            con.execute(sa.text("SELECT 1"))
        assert raised.value.connection_invalidated
    with engine.connect() as con:
        assert con.execute(sa.text("SELECT 1")).scalar() == 1
