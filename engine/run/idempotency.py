"""Inserts that are tried again: what was written under the same key is not written twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from memql.engine.run.statement import Statement
from memql.errors import DataError, IntegrityError
from memql.storage import idempotency
from memql.storage.idempotency import KeyName, Written

if TYPE_CHECKING:
    import pyarrow as pa

# A statement that is tried again computes these anew.
_NOT_COMPARED = frozenset(
    ("id", "created_at", "updated_at", "version", "valid_from", "valid_to", "expires_at")
)


def new_rows(
    rows: pa.Table, keys: pa.ChunkedArray, statement: Statement
) -> tuple[pa.Table, pa.Array]:
    """Return the rows that are not written yet, and the ids of all.

    Args:
        rows: of memories, with their ids.
        keys: the idempotency key of each, or NULL.

    Raises:
        IntegrityError: a key was used for another memory.
        DataError: a key is empty.
    """
    import pyarrow as pa

    texts = keys.to_pylist()
    if "" in texts:
        row = texts.index("") + 1
        raise DataError(f"an idempotency key cannot be empty (row {row})", code="22023")
    contents = rows.select(
        [name for name in rows.column_names if name not in _NOT_COMPARED]
    ).to_pylist()
    ids = rows.column("id").to_pylist()
    names: list[KeyName | None] = [
        None if key is None else (_whose(content["owner"], statement), key)
        for key, content in zip(texts, contents, strict=True)
    ]
    asked = list(dict.fromkeys(name for name in names if name is not None))
    if not asked:
        return rows, rows.column("id")
    known = idempotency.lookup(statement.cursor, asked)
    fresh: dict[KeyName, Written] = {}
    kept: list[int] = []
    for number, (name, content) in enumerate(zip(names, contents, strict=True)):
        if name is None:
            kept.append(number)
            continue
        digest = _digest(content)
        written = known.get(name) or fresh.get(name)
        if written is None:
            fresh[name] = Written(str(ids[number]), digest)
            kept.append(number)
        elif written.digest != digest:
            raise IntegrityError(
                f"the idempotency key {name[1]!r} was used for another memory (row {number + 1})",
                hint="one key is for one memory: take another for other content",
                code="23505",
            )
        else:
            ids[number] = written.memory_id
    if fresh:
        idempotency.add(statement.cursor, fresh, statement.context.now)
    return rows.take(pa.array(kept, pa.int64())), pa.array(ids, pa.string())


def _digest(content: Mapping[str, object]) -> bytes:
    # A column that is NULL is one that was left out: which ones a statement names depends on the
    # other rows that it writes.
    given = {name: value for name, value in content.items() if value is not None}
    return hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).digest()


def _whose(owner: str, statement: Statement) -> str:
    """Return whose keys a row's is one of: they tell nothing to others who write for its owner."""
    rights = statement.context.rights
    return owner if rights.writes_everything else rights.owner
