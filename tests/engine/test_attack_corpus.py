"""Every text of ``attacks/`` is refused, tells no secret and leaves nothing behind.

The files are in the form of tests/sql. Each attack is run as a user with no rights and as the
administrator, those behind ``user mallory`` only as that user.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import memql
from tests.engine.attacked import SECRETS, Attacked, changed
from tests.sql.runner import Record, read_records

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent / "attacks"
FEWEST = 150
# After so many attacks all tables and files are looked at.
BLOCK = 25


@dataclass(frozen=True)
class Attack:
    """One text of the corpus: where it stands, who runs it, and how it is refused."""

    place: str
    users: tuple[str | None, ...]
    record: Record


def read_attacks() -> list[Attack]:
    """Return the whole corpus."""
    attacks = []
    for path in sorted(FOLDER.glob("*.test")):
        users: tuple[str | None, ...] = ("mallory", None)
        for record in read_records(path):
            if record.command == ("user", "mallory"):
                users = ("mallory",)
            else:
                assert record.command[:2] == ("statement", "error"), f"{path}:{record.line}"
                attacks.append(Attack(f"{path.stem}:{record.line}", users, record))
    return attacks


ATTACKS = read_attacks()


@dataclass(frozen=True)
class Scene:
    """The store that is attacked, and what it and the folders around it held before."""

    store: Attacked
    tables: dict[str, str]
    files: dict[str, str]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A store below the working folder, beside the home and the folder for temporary files."""
    folder = tmp_path_factory.mktemp("attacked")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("TMPDIR", str(folder / "tmp"))
        patch.setattr(tempfile, "tempdir", str(folder / "tmp"))
        store = Attacked(folder)
        yield Scene(store, store.digests(), store.files())
        store.close()


def test_the_corpus_is_large_and_names_what_it_refuses() -> None:
    texts = [attack.record.sql for attack in ATTACKS]
    assert len(set(texts)) == len(texts) >= FEWEST
    named = [attack for attack in ATTACKS if attack.record.expected]
    assert len(named) > 0.9 * len(ATTACKS)


def blocks() -> list[list[Attack]]:
    """Return the corpus in parts, each of one file."""
    by_file: dict[str, list[Attack]] = {}
    for attack in ATTACKS:
        by_file.setdefault(attack.place.split(":")[0], []).append(attack)
    return [some[n : n + BLOCK] for some in by_file.values() for n in range(0, len(some), BLOCK)]


@pytest.mark.parametrize("attacks", blocks(), ids=lambda some: f"{some[0].place}-")
def test_attacks_are_refused(scene: Scene, attacks: list[Attack]) -> None:
    wrong = [
        f"{attack.place} as {user or 'administrator'}: {odd}\n  {attack.record.sql}"
        for attack in attacks
        for user in attack.users
        if (odd := problem(scene.store.connections[user], attack.record)) is not None
    ]
    assert not wrong, "\n".join(wrong)
    assert not changed(scene.tables, scene.store.digests())
    assert not changed(scene.files, scene.store.files())


def problem(connection: memql.Connection, record: Record) -> str | None:
    """Run an attack; return what is wrong with how it ends."""
    kind, *code = record.command[2:]
    try:
        cursor = connection.execute(record.sql)
        # Rows that come before an error are rows that got out.
        return f"it runs: {cursor.fetchall() if cursor.description else cursor.rowcount}"
    except memql.InternalError as error:
        return f"a bug stops it: {error}"
    except memql.Error as error:
        told = f"{error.message} {error.hint}"
        if connection.in_transaction:
            return "a transaction is open"
        if kind not in [cls.__name__ for cls in type(error).__mro__]:
            return f"{error!r}"
        if code and error.code != code[0]:
            return f"{error.code}: {error!r}"
        if any(line not in error.message for line in record.expected or ()):
            return f"{record.expected} is not in {error.message!r}"
        if any(secret in told and secret not in record.sql for secret in SECRETS):
            return f"a secret is told: {told}"
        return None


# Allowed: each of these may run, for its user, over what that user has. No secret is in its rows.
ALLOWED = (
    "SELECT * FROM memories, own, own_view",
    "SELECT * FROM memql.tables",
    "SELECT * FROM memql.views",
    "SELECT * FROM memql.settings",
    "SHOW TABLES",
    "DESCRIBE own",
    "SUMMARIZE memories",
    "SUMMARIZE own",
    "EXPLAIN ANALYZE SELECT * FROM memories",
    "EXPLAIN DELETE FROM memories WHERE content LIKE 'hush%'",
    "SELECT count(*), max(content), list(owner) FROM memories",
    "SELECT content FROM memories WHERE content LIKE 'hush%' OR content::INT IS NULL OR true",
    "WITH memories AS (SELECT * FROM memories) SELECT * FROM memories",
    "WITH RECURSIVE memories AS (SELECT content FROM memories UNION SELECT content || '!' "
    "FROM memories WHERE length(content) < 9) FROM memories",
    "PIVOT memories ON content USING count(*) GROUP BY owner",
    "UNPIVOT (SELECT content, owner FROM memories) ON content, owner",
    "SELECT * FROM own AS o, LATERAL (SELECT content FROM memories WHERE o.id > 0)",
    "SELECT (SELECT list(m.content) FROM memories AS m WHERE m.version >= own.n) FROM own",
    "SELECT generate('Who?', max_tokens := 1) FROM memories",
    "FROM memories MATERIALIZE AS PLAINTEXT",
    "SELECT content FROM memories LIMIT 1000 TOKENS",
    # Names that hold SQL are names.
    'SELECT 1 FROM own AS "t"", _memql.memories AS ""m"',
    'SELECT struct_pack("a := 1), (select 1" := 1)',
    "SELECT {'a'': (select 1)': 1}",
)
# Changes that may run; each is undone. What they give back tells no secret either.
CHANGES = (
    "INSERT INTO own (id, v) SELECT 10 + row_number() OVER (), content FROM memories RETURNING *",
    "UPDATE own SET v = (SELECT string_agg(content) FROM memories) RETURNING *",
    "DELETE FROM own USING memories AS m WHERE m.version > 0 RETURNING *",
    "MERGE INTO own USING memories AS m ON m.version = own.id WHEN MATCHED THEN "
    "UPDATE SET v = m.content",
    "INSERT INTO own VALUES (1, 'x', 1) ON CONFLICT (id) DO UPDATE SET v = excluded.v RETURNING *",
    "UPDATE memories SET kind = content RETURNING content, kind",
    "DELETE FROM memories RETURNING *",
    "CREATE TABLE made AS SELECT * FROM memories",
    "CREATE TYPE made AS ENUM (SELECT DISTINCT content FROM memories)",
    "CREATE VIEW made AS SELECT * FROM memories",
)


@pytest.mark.parametrize("text", ALLOWED)
def test_what_is_allowed_tells_of_ones_own_only(scene: Scene, text: str) -> None:
    cursor = scene.store.connections["mallory"].execute(text)
    told = str(cursor.fetchall())
    assert not [secret for secret in SECRETS if secret in told and secret not in text]
    kept(scene, "segments")
    assert not changed(scene.tables, scene.store.digests())


@pytest.mark.parametrize("text", CHANGES)
def test_what_is_changed_is_ones_own_only(scene: Scene, text: str) -> None:
    mallory = scene.store.connections["mallory"]
    mallory.begin()
    try:
        cursor = mallory.execute(text)
        told = str(cursor.fetchall()) if cursor.description else ""
        for made in ("own", "made"):
            if made == "own" or "TABLE made" in text or "VIEW made" in text:
                told += str(mallory.execute(f"FROM {made}").fetchall())
    finally:
        mallory.rollback()
    assert not [secret for secret in SECRETS if secret in told]
    kept(scene, "segments")
    assert not changed(scene.tables, scene.store.digests())


def kept(scene: Scene, *tables: str) -> None:
    """Take what queries keep for the next time as it is now."""
    now = scene.store.digests()
    scene.tables.update({name: now[name] for name in now if name.split(".")[-1] in tables})


# -- negative controls ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "named", "odd"),
    [
        ("ProgrammingError", "SELECT 1", (), "it runs"),
        ("ProgrammingError", "SELECT error(content) FROM memories", (), "a secret is told"),
        ("DataError", "SELECT * FROM no_such", (), "ProgrammingError"),
        ("ProgrammingError 42601", "SELECT * FROM no_such", (), "42P01"),
        ("ProgrammingError 42P01", "SELECT * FROM no_such", ("read_csv",), "is not in"),
    ],
)
def test_an_attack_that_is_not_refused_as_it_should_be_is_noticed(
    scene: Scene, kind: str, text: str, named: tuple[str, ...], odd: str
) -> None:
    record = Record(1, ("statement", "error", *kind.split()), text, named)
    assert odd in str(problem(scene.store.connections[None], record))


@pytest.mark.parametrize("user", ["mallory", None])
@pytest.mark.parametrize(
    ("text", "undo", "where"),
    [
        ("UPDATE own SET v = 'uno' WHERE id = 1", "UPDATE own SET v = 'one' WHERE id = 1", "own"),
        ("CREATE TABLE fresh (a INT)", "DROP TABLE fresh", "columns"),
        ("CREATE VIEW fresh AS SELECT 1 AS a", "DROP VIEW fresh", "views"),
        ("CREATE INDEX fresh ON own (v)", "DROP INDEX fresh", "indexes"),
        ("CREATE TYPE fresh AS ENUM ('a')", "DROP TYPE fresh", "types"),
        ("CREATE SEQUENCE fresh", "DROP SEQUENCE fresh", "sequences"),
    ],
)
def test_an_allowed_change_is_noticed(
    scene: Scene, user: str | None, text: str, undo: str, where: str
) -> None:
    connection = scene.store.connections[user]
    connection.execute(text)
    noticed = changed(scene.tables, scene.store.digests())
    connection.execute(undo)
    assert any(name.endswith(where) for name in noticed), noticed
    assert not changed(scene.tables, scene.store.digests())


def test_a_change_of_a_memory_is_noticed(scene: Scene) -> None:
    mallory = scene.store.connections["mallory"]
    mallory.begin()
    assert not changed(scene.tables, scene.store.digests())  # nobody sees it yet
    mallory.rollback()
    mallory.execute("INSERT INTO memories (content) VALUES ('fresh')")
    noticed = changed(scene.tables, scene.store.digests())
    scene.tables.update(scene.store.digests())
    assert any(name.endswith("_memql.memories") for name in noticed)


def test_an_allowed_file_is_noticed(scene: Scene) -> None:
    folder = scene.store.folder
    with memql.connect(scene.store.store, allowed_folders=[folder / "home"]) as con:
        con.execute(f"COPY own TO '{folder / 'home' / 'own.csv'}'")
    made = changed(scene.files, scene.store.files())
    os.replace(folder / "home" / "own.csv", folder / "bait.csv")
    moved = changed(scene.files, scene.store.files())
    scene.files.update(scene.store.files())
    os.remove(folder / "bait.csv")
    gone = changed(scene.files, scene.store.files())
    scene.files.pop("bait.csv")
    assert (made, moved, gone) == (["home/own.csv"], ["bait.csv"], ["bait.csv"])
