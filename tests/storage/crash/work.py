"""What the child does to a store, and what it says about it before and after each operation."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import memql
from memql.storage.activations import LayerHeader, NodeHeader
from memql.storage.store import Store

TOKENS, LAYERS = 2, 2
_SHAPE = (2, TOKENS, 4)
HEADER = NodeHeader("m", "float32", 1, TOKENS, (LayerHeader("full", _SHAPE, _SHAPE),) * LAYERS)
_PART_BYTES = 2 * TOKENS * 4 * 4

Lane = Literal["memories", "nodes"]
Say = Callable[[dict[str, Any]], None]

# One version of a memory.
Version = tuple[str, str]  # content, state


@dataclass(frozen=True)
class Operation:
    """One atomic change: all of it is there or nothing.

    Args:
        lane: the thread that does it; operations of a lane follow one another.
        kind: what it is, for the report.
        writes: the new version of each memory, by name.
        puts: key and parent of a new node.
        drops: keys of the nodes that go.
    """

    lane: Lane
    kind: str
    writes: dict[str, Version] = field(default_factory=dict)
    puts: tuple[str, str | None] | None = None
    drops: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """As a JSON object."""
        return self.__dict__

    @classmethod
    def of(cls, told: dict[str, Any]) -> Operation:
        """Back from JSON.

        Args:
            told: what `told` gave.
        """
        writes = {name: (content, state) for name, (content, state) in told["writes"].items()}
        puts = (told["puts"][0], told["puts"][1]) if told["puts"] else None
        return cls(told["lane"], told["kind"], writes, puts, tuple(told["drops"]))


@dataclass
class Expected:
    """What a store holds, from the operations that were acknowledged.

    Args:
        memories: the versions of each memory, by name, oldest first.
        commits: how many commits.
        nodes: the parent of each node, by key.
        dropped: keys of nodes that are gone for good.
    """

    memories: dict[str, list[Version]] = field(default_factory=dict)
    commits: int = 0
    nodes: dict[str, str | None] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)

    def apply(self, operation: Operation) -> None:
        """Change it as an operation does.

        Args:
            operation: one that was done.
        """
        for name, version in operation.writes.items():
            self.memories.setdefault(name, []).append(version)
        self.commits += bool(operation.writes)
        if operation.puts:
            self.nodes[operation.puts[0]] = operation.puts[1]
        for key in operation.drops:
            del self.nodes[key]
            self.dropped.add(key)

    def alive(self) -> list[str]:
        """The names of the memories that are not deleted."""
        return sorted(
            name for name, versions in self.memories.items() if versions[-1][1] == "active"
        )

    def below(self, key: str) -> tuple[str, ...]:
        """A node and all that continue it.

        Args:
            key: of the node.
        """
        found = [key]
        for at in found:
            found.extend(child for child, parent in self.nodes.items() if parent == at)
        return tuple(found)


def payload(key: str) -> list[tuple[bytes, bytes]]:
    """The bytes of a node, a pure function of its key.

    Args:
        key: of the node's boundary.
    """

    def part(kind: str, layer: int) -> bytes:
        return hashlib.shake_128(f"{key} {kind} {layer}".encode()).digest(_PART_BYTES)

    return [(part("k", layer), part("v", layer)) for layer in range(LAYERS)]


class Work:
    """Changes to a store, drawn at random, each told before it begins and when it is done.

    Args:
        folder: the store's folder; opened here.
        expected: what the store holds; kept up to date.
        seed: of what is drawn. Names hold it, so that each run of a child writes new ones.
        say: takes what is told.
    """

    def __init__(self, folder: Path, expected: Expected, seed: int, say: Say) -> None:
        self._expected = expected
        self._name = str(seed)
        self._random = random.Random(seed)
        self._say = say
        self._numbers = itertools.count(1)
        self._connection = memql.connect(folder)
        self._compiling = memql.connect(folder)
        self._store = Store.open(folder)

    def run(self, operations: int) -> None:
        """Both lanes by turns, in this thread.

        Args:
            operations: how many.
        """
        lanes = [self._memories(self._random), self._nodes(self._random)]
        for _ in range(operations):
            next(self._random.choice(lanes))

    def run_together(self, operations: int) -> None:
        """Each lane in a thread of its own.

        Args:
            operations: how many in each.
        """
        failures: list[BaseException] = []

        def follow(lane: Iterator[None]) -> None:
            try:
                for _ in range(operations):
                    next(lane)
            except BaseException as error:
                failures.append(error)

        sources = [random.Random(self._random.random()) for _ in range(2)]
        threads = [
            threading.Thread(target=follow, args=(lane,))
            for lane in (self._memories(sources[0]), self._nodes(sources[1]))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for failure in failures:
            raise failure

    def insert_one(self) -> None:
        """Insert one more memory."""
        self._write("insert", {self._new("m"): ("the last", "active")}, ())

    def roll_back(self) -> None:
        """End the transaction that an error has left open."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def answer(self) -> dict[str, str]:
        """What a query finds: the content of each memory, by name."""
        found = self._connection.execute("SELECT source, content FROM memories").fetchall()
        assert len(found) == len(dict(found)), "a name was found twice"
        return dict(found)

    def close(self) -> None:
        """Close the store."""
        self._store.close()
        self._connection.close()
        self._compiling.close()

    def _memories(self, source: random.Random) -> Iterator[None]:
        while True:
            alive = self._expected.alive()
            kind = source.choice(("insert", "update", "delete", "transaction", "rollback"))
            if not alive or kind == "insert":
                names = [self._new("m") for _ in range(source.randint(1, 3))]
                writes = {name: (self._new(f"{name} says "), "active") for name in names}
                self._write("insert", writes, ())
            elif kind == "update":
                name = source.choice(alive)
                self._write("update", {name: (self._new(f"{name} says "), "active")}, (name,))
            elif kind == "delete":
                name = source.choice(alive)
                content = self._expected.memories[name][-1][0]
                self._write("delete", {name: (content, "archived")}, (name,))
            else:
                new, old = self._new("m"), source.choice(alive)
                writes = {name: (self._new(f"{name} says "), "active") for name in (new, old)}
                self._write(kind, writes, (old,))
            yield

    def _write(self, kind: str, writes: dict[str, Version], known: tuple[str, ...]) -> None:
        explicit = kind in ("transaction", "rollback")
        operation = Operation("memories", kind, {} if kind == "rollback" else writes)
        with self._told(operation):
            if explicit:
                self._connection.execute("BEGIN")
            new = [(name, version[0]) for name, version in writes.items() if name not in known]
            if new:
                rows = ", ".join(["(?, ?)"] * len(new))
                self._connection.execute(
                    f"INSERT INTO memories (source, content) VALUES {rows}",
                    [value for row in new for value in row],
                )
            for name in known:
                if kind == "delete":
                    self._connection.execute("DELETE FROM memories WHERE source = ?", [name])
                else:
                    self._connection.execute(
                        "UPDATE memories SET content = ? WHERE source = ?", [writes[name][0], name]
                    )
            if explicit:
                self._connection.execute("ROLLBACK" if kind == "rollback" else "COMMIT")

    def _nodes(self, source: random.Random) -> Iterator[None]:
        activations = self._store.activations
        cursor = self._store.cursor()
        while True:
            keys = sorted(self._expected.nodes)
            kind = source.choice(("put", "put", "put", "drop", "drop", "compact"))
            if kind == "compact":
                with self._told(Operation("nodes", kind)):
                    activations.compact()
            elif kind == "put" or not keys:
                # Now and then nothing but the root, so that trees stay small.
                parent = source.choice([None, *keys])
                key = self._new("n")
                lineage = cursor.execute(
                    "SELECT id, version FROM _memql.versions ORDER BY version DESC, id LIMIT 2"
                ).fetchall()
                with self._told(Operation("nodes", "put", puts=(key, parent))):
                    node_id = activations.put(
                        HEADER,
                        parent.encode() if parent else None,
                        0,
                        [(key.encode(), TOKENS)],
                        lineage,
                        payload(key),
                        "local",
                    )
                    assert node_id is not None, key
            else:
                key = source.choice(keys)
                boundary = activations.tree.find(key.encode())
                assert boundary is not None, key
                with self._told(Operation("nodes", "drop", drops=self._expected.below(key))):
                    activations.drop([boundary.node])
            yield

    def _new(self, prefix: str) -> str:
        return f"{prefix}{self._name}.{next(self._numbers)}"

    def _told(self, operation: Operation) -> _Told:
        return _Told(self, operation)

    def begin(self, operation: Operation) -> None:
        """Tell that an operation begins.

        Args:
            operation: which.
        """
        self._say({"begin": operation.told()})

    def done(self, operation: Operation) -> None:
        """Tell that an operation was acknowledged.

        Args:
            operation: which.
        """
        self._say({"done": operation.lane})
        self._expected.apply(operation)


class CompilingWork(Work):
    """Work whose nodes are compiled by the default model, from the memories as they are.

    Which nodes that makes is the engine's affair, so its operations do not tell.
    """

    def _nodes(self, source: random.Random) -> Iterator[None]:
        activations = self._store.activations
        while True:
            kind = source.choice(("compile", "compile", "compile", "drop", "compact"))
            with self._told(Operation("nodes", kind)):
                if kind == "compile":
                    owner = source.choice(("source < 'm5'", "true"))
                    self._compiling.execute(
                        f"SELECT content FROM memories WHERE {owner} MATERIALIZE AS ACTIVATION"
                    )
                elif kind == "compact":
                    activations.compact()
                elif nodes := activations.nodes():
                    activations.drop([source.choice(nodes).id])
            yield


@dataclass(frozen=True)
class _Told:
    work: Work
    operation: Operation

    def __enter__(self) -> None:
        self.work.begin(self.operation)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.work.done(self.operation)


def say_to(descriptor: int) -> Say:
    """What writes each thing said as a line; one write each, so that lines stay whole.

    Args:
        descriptor: where to.
    """

    def say(told: dict[str, Any]) -> None:
        line = json.dumps(told).encode() + b"\n"
        assert os.write(descriptor, line) == len(line)

    return say
