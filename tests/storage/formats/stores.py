"""Writes a store of the newest format into an archive: ``python -m tests.storage.formats``.

That of a format that was released is never written again.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import memql
from memql.storage.schema import MIGRATIONS
from memql.storage.store import Store
from tests.storage.crash.work import HEADER, TOKENS, payload

FOLDER = Path(__file__).resolve().parent
NEWEST = MIGRATIONS[-1][0]

KEYED = (
    "INSERT INTO memories (content, kind, tags, importance, attributes, idempotency_key) "
    "VALUES ('Alice lives in Lisbon.', 'fact', ['home'], 0.5, '{\"n\": 1}', 'k') RETURNING id"
)


def archive(number: int) -> Path:
    """Return the archive with a store of a format."""
    return FOLDER / f"{number}.tar.xz"


def fill(folder: Path) -> None:
    """Make a store that has a row of everything that is not derived, and two nodes."""
    with memql.connect(folder) as con:
        con.execute("CREATE USER root WITH PASSWORD 'secret'")
        con.execute("CREATE USER alice WITH PASSWORD 'secret'")
        con.execute("CREATE USER bob WITH PASSWORD 'secret'")
    with memql.connect(folder, user="alice", password="secret") as con:
        con.execute(KEYED)
        con.execute("INSERT INTO memories (content) VALUES ('one'), ('two')")
        con.execute("UPDATE memories SET content = 'ONE' WHERE content = 'one'")
        con.execute("DELETE FROM memories WHERE content = 'two'")
        con.execute("CREATE VIEW facts AS SELECT content FROM memories WHERE kind = 'fact'")
        con.execute("CREATE MATERIALIZED VIEW diary AS SELECT content FROM memories WITH NO DATA")
        con.execute("CREATE TABLE places AS SELECT 'Lisbon' AS name, 7 AS number")
        con.execute("GRANT READ ON MEMORIES TO bob WHERE (kind = 'fact')")
    with memql.connect(folder, user="root", password="secret") as con:
        con.execute("CREATE ROLE readers")
        con.execute(
            "CREATE POLICY quiet ON memories AS RESTRICTIVE FOR SELECT "
            "USING (sensitivity IS NULL OR sensitivity <> 'high')"
        )
    store = Store.open(folder)
    try:
        for key, parent in (("n1", None), ("n2", b"n1")):
            boundary = (key.encode(), TOKENS)
            store.activations.put(HEADER, parent, 0, [boundary], [], payload(key), "alice")
    finally:
        store.close()


def main() -> None:
    """Write the archive of the newest format."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "store")
        with tarfile.open(archive(NEWEST), "w:xz") as out:
            out.add(Path(folder) / "store", "store")
    print(f"{archive(NEWEST)}: {archive(NEWEST).stat().st_size:,} bytes")
