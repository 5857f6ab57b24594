"""Reads all of a store and says what is not as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memql.storage import audit, filedigests
from memql.storage.failures import translate
from memql.storage.folder import CATALOG
from memql.storage.segments import Segment
from memql.storage.store import Store
from memql.storage.tensors import TensorsFailed

if TYPE_CHECKING:
    import duckdb

# Each holds for every store between two statements; the query lists what breaks it.
_RULES = {
    "memories whose newest version is not among their versions": """
        SELECT id FROM (SELECT * FROM _memql.memories EXCEPT SELECT * FROM _memql.versions)""",
    "versions that are there twice": """
        SELECT id FROM _memql.versions GROUP BY id, version HAVING count(*) > 1""",
    "versions of a commit that is not listed": """
        SELECT id FROM _memql.versions ANTI JOIN _memql.commits ON version = number""",
    "commits out of their order": """
        SELECT number FROM (SELECT number, row_number() OVER (ORDER BY number) AS place
            FROM _memql.commits) WHERE number <> place""",
    "boundaries without a live node": """
        SELECT key FROM _memql.boundaries ANTI JOIN (FROM _memql.nodes WHERE state = 'live') AS n
            ON node = n.id""",
    "nodes made from versions that are not there": """
        SELECT DISTINCT node FROM _memql.lineage AS l ANTI JOIN _memql.versions AS v
            ON l.memory_id = v.id AND l.version = v.version""",
    "puts and drops that could not be finished when the store was opened": """
        SELECT node FROM _memql.intents UNION ALL SELECT node FROM _memql.tombstones""",
}

_ROWS_AT_A_TIME = 10_000


@dataclass(frozen=True)
class Checked:
    """What was read, and what is wrong with it.

    Args:
        tables: of the catalog, those of users included.
        rows: in them.
        nodes: of the activation tree.
        bytes: of the catalog's files and of the nodes' keys and values.
        problems: one line each; none is a sound store.
    """

    tables: int
    rows: int
    nodes: int
    bytes: int
    problems: tuple[str, ...]


def check(store: Store) -> Checked:
    """Read every row and every node of a store, and check each against what it must be.

    Args:
        store: the store; others may use it meanwhile, but what they write may be told as a problem.
    """
    problems: list[str] = []
    with closing(store.cursor()) as cursor:
        tables, rows = 0, 0
        for schema, table in _tables(cursor, problems):
            tables += 1
            rows += _read(cursor, schema, table, problems)
        nodes, size = 0, _catalog_bytes(store.folder)
        if not problems:
            # Over rows that cannot be read, all else would only say the same again.
            problems.extend(_broken_rules(cursor))
            problems.extend(_broken_rows(cursor))
            problems.extend(_orphans(store, cursor))
            problems.extend(filedigests.changed(cursor))
            for node, problem in store.activations.verify():
                nodes, size = nodes + 1, size + node.bytes
                if problem is not None:
                    problems.append(problem)
    return Checked(tables, rows, nodes, size, tuple(problems))


def _tables(cursor: duckdb.DuckDBPyConnection, problems: list[str]) -> list[tuple[str, str]]:
    import duckdb

    try:
        return cursor.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT temporary ORDER BY ALL"
        ).fetchall()
    except duckdb.Error as error:
        problems.append(translate(error, "list the tables").message)
        return []


def _read(cursor: duckdb.DuckDBPyConnection, schema: str, table: str, problems: list[str]) -> int:
    import duckdb

    name = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, table))
    try:
        # The hash wants every value of every row; DuckDB checks each block that it reads.
        found = cursor.execute(f"SELECT count(*), bit_xor(hash(t)) FROM {name} AS t").fetchall()
    except duckdb.Error as error:
        problems.append(translate(error, f"read the table {name}").message)
        return 0
    return int(found[0][0])


def _broken_rules(cursor: duckdb.DuckDBPyConnection) -> Iterator[str]:
    for rule, query in _RULES.items():
        found = cursor.execute(
            f"SELECT count(*), min(first)::VARCHAR FROM ({query}) AS broken(first)"
        ).fetchall()
        count, first = found[0]
        if count:
            yield f"{count:,} {rule}, the first: {first}"


def _broken_rows(cursor: duckdb.DuckDBPyConnection) -> Iterator[str]:
    broken = audit.first_broken(cursor)
    if broken is not None:
        yield f"the audit was changed at or before its row {broken}"
    cursor.execute("SELECT memory_id, version, rendering, ids, digest FROM _memql.segments")
    while rows := cursor.fetchmany(_ROWS_AT_A_TIME):
        for memory_id, version, rendering, ids, digest in rows:
            if Segment(memory_id, version, rendering, ids).digest != digest:
                yield f"the token ids of version {version} of memory {memory_id} were changed"


def _orphans(store: Store, cursor: duckdb.DuckDBPyConnection) -> Iterator[str]:
    known = {row[0] for row in cursor.execute("SELECT id FROM _memql.nodes").fetchall()}
    try:
        stored = store.activations.stored()
    except TensorsFailed as error:
        yield error.message
        return
    for node_id in sorted(stored - known):
        yield f"node {node_id} has bytes, but the catalog does not know it"


def _catalog_bytes(folder: Path) -> int:
    files = (folder / CATALOG, folder / f"{CATALOG}.wal")
    return sum(file.stat().st_size for file in files if file.exists())
