"""The models that statements may name: ``tiny``, which ships with MemQL, and those created."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memql.engine import syntax
from memql.engine.bind.options import constant_value, option_values
from memql.engine.context import StatementContext
from memql.engine.model.folder import known_digests, learn_digest
from memql.engine.model.spec import ModelSpec, describe
from memql.engine.names import position, position_of_quoted, position_of_word, unknown
from memql.errors import Error, ProgrammingError
from memql.storage import filedigests
from memql.storage.filedigests import FileDigest

if TYPE_CHECKING:
    import duckdb

TINY = "tiny"


@dataclass(frozen=True)
class ModelEntry:
    """A model as the catalog names it."""

    name: str
    source: str
    options: Mapping[str, object]


class Models:
    """The models of one connection.

    Args:
        cursor: the session's cursor; DDL belongs to its transaction.
        version: gives what changes with each definition that the session can see.
    """

    def __init__(
        self, cursor: duckdb.DuckDBPyConnection, version: Callable[[], tuple[int, int]]
    ) -> None:
        self._cursor = cursor
        self._version = version
        self._known: tuple[tuple[int, int] | None, dict[str, ModelEntry]] = (None, {})
        self._learned = False

    def entries(self) -> list[ModelEntry]:
        """Return all models by name, the shipped one first."""
        rows = self._cursor.execute(
            'SELECT "name", "path", "options" FROM "_memql"."models" ORDER BY "name"'
        ).fetchall()
        created = [
            ModelEntry(name, path, json.loads(options or "{}")) for name, path, options in rows
        ]
        return [ModelEntry(TINY, TINY, {}), *created]

    def spec(self, name: str | None, context: StatementContext) -> ModelSpec:
        """Return what the named model is, or that of the setting: a name, a folder or a hub id.

        Raises:
            ProgrammingError: an unknown model, with the nearest known one.
            OperationalError: its files cannot be used.
        """
        version = self._version()
        if self._known[0] != version:
            self._known = (version, {entry.name.lower(): entry for entry in self.entries()})
        entries = self._known[1]
        wanted = name if name is not None else (context.settings.model or TINY)
        entry = entries.get(wanted.lower())
        self._learn()
        if entry is None:
            if name is None and _may_be_a_source(wanted):
                return describe(Path(wanted).name, wanted, {})
            known = [entry.name for entry in entries.values()]
            raise unknown("model", wanted, known, context, None)
        return describe(entry.name, entry.source, entry.options)

    def create(
        self, tree: syntax.CreateModel, values: Mapping[str, Any], context: StatementContext
    ) -> bool:
        """Add a model after a look at its files; tell whether it was added.

        Args:
            values: the statement's parameters by name.

        Raises:
            ProgrammingError: the name is taken, an option is unknown, or the user is no
                administrator.
            OperationalError, NotSupportedError: the files cannot be used.
        """
        _check_administrator(context)
        name = tree.this.name
        source = str(constant_value(tree.args["source"], "FROM", values, context))
        options = option_values(tree.args.get("options"), values, context)
        replace = bool(tree.args.get("replace"))
        taken = name.lower() in {entry.name.lower() for entry in self.entries()}
        if taken and tree.args.get("exists") and not replace:
            return False
        if name.lower() == TINY:
            raise ProgrammingError(
                f"the model {TINY} ships with MemQL and cannot be replaced",
                hint="give the new model another name",
                position=position_of_word(context.text, name),
                statement=context.text,
                code="42501",
            )
        if taken and not replace:
            raise ProgrammingError(
                f"the model {name} exists already",
                hint="CREATE OR REPLACE MODEL replaces it",
                position=position_of_word(context.text, name),
                statement=context.text,
                code="42710",
            )
        self._learn()
        try:
            described = describe(name, source, options)
        except Error as error:
            # The model's description knows no statement; it quotes what is wrong.
            error.statement = context.text
            error.position = position_of_quoted(context.text, error.message)
            raise
        self._cursor.execute(
            'DELETE FROM "_memql"."models" WHERE lower("name") = lower($name)', {"name": name}
        )
        self._cursor.execute(
            'INSERT INTO "_memql"."models" ("name", "path", "options", "created_by", "created_at") '
            "VALUES ($name, $path, $options, $created_by, $created_at)",
            {
                "name": name,
                "path": source,
                "options": json.dumps(dict(options)),
                "created_by": context.owner,
                "created_at": context.now,
            },
        )
        # The files of a large model take minutes to read: once is enough, not once a process.
        known = known_digests(described.folder)
        found = (FileDigest(*stamp, digest.hex()) for stamp, digest in known.items())
        filedigests.remember(self._cursor, found)
        return True

    def _learn(self) -> None:
        if not self._learned:
            for one in filedigests.recall(self._cursor):
                stamp = (one.path, one.size_bytes, one.mtime_ns, one.inode)
                learn_digest(stamp, bytes.fromhex(one.sha256))
            self._learned = True

    def drop(self, tree: syntax.DropModel, context: StatementContext) -> bool:
        """Remove a model; tell whether there was one.

        Raises:
            ProgrammingError: there is none, or the user is no administrator.
        """
        _check_administrator(context)
        name = tree.this.name
        if name.lower() == TINY:
            raise ProgrammingError(
                f"the model {TINY} ships with MemQL and cannot be dropped",
                position=position(context.text, tree.this),
                statement=context.text,
                code="42501",
            )
        known = [entry.name for entry in self.entries()]
        if name.lower() not in {entry.lower() for entry in known}:
            if tree.args.get("exists"):
                return False
            raise unknown("model", name, known, context, tree.this)
        self._cursor.execute(
            'DELETE FROM "_memql"."models" WHERE lower("name") = lower($name)', {"name": name}
        )
        return True


def summary(entries: Sequence[ModelEntry]) -> list[dict[str, Any]]:
    """Return one row for each model, for SHOW MODELS."""
    rows = []
    for entry in entries:
        row: dict[str, Any] = dict.fromkeys(MODEL_COLUMNS)
        row.update(name=entry.name, source=entry.source)
        try:
            spec = describe(entry.name, entry.source, entry.options)
        except Error as error:
            row["problem"] = error.message  # one model's missing files hide no other
        else:
            row.update(
                architecture=spec.architecture,
                dtype=spec.dtype,
                device=spec.device,
                layers=spec.layers,
                context_tokens=spec.context_tokens,
                bytes_per_token=spec.bytes_per_token,
                activation=spec.activation_refusal is None,
            )
        rows.append(row)
    return rows


MODEL_COLUMNS = {
    "name": "VARCHAR",
    "source": "VARCHAR",
    "architecture": "VARCHAR",
    "dtype": "VARCHAR",
    "device": "VARCHAR",
    "layers": "BIGINT",
    "context_tokens": "BIGINT",
    "bytes_per_token": "BIGINT",
    "activation": "BOOLEAN",
    "problem": "VARCHAR",
}


def _may_be_a_source(text: str) -> bool:
    return Path(text).is_dir() or "/" in text or "\\" in text


def _check_administrator(context: StatementContext) -> None:
    if not context.rights.administrator:
        raise ProgrammingError(
            f"the user {context.owner} may not manage models",
            hint="connect as an administrator; in a store without users that is without a user",
            code="42501",
        )
