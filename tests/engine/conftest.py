"""A store with a few memories, and a count of what passes through the shipped model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import memql
from memql.engine.model.runtime import Runtime, load_runtime
from memql.engine.model.spec import describe
from tests.model.conftest import _single_thread, model_folder

__all__ = ["_single_thread", "model_folder"]  # fixtures: pytest finds them by name

FACTS = [
    ("alice", "food", "Alice must not eat peanuts."),
    ("alice", "home", "Alice lives in Lisbon."),
    ("alice", "pet", "Alice's pet is turtle."),
    ("bob", "work", "Bob works as baker."),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.memql"


@pytest.fixture
def con(path: Path) -> Iterator[memql.Connection]:
    connection = memql.connect(path)
    for owner, kind, content in FACTS:
        connection.execute(
            "INSERT INTO memories (owner, kind, content) VALUES (?, ?, ?)", [owner, kind, content]
        )
    yield connection
    connection.close()


class Fed:
    """The token ids that passed through the shipped model, one list for each forward pass."""

    def __init__(self) -> None:
        self.passes: list[list[int]] = []

    @property
    def ids(self) -> list[int]:
        return [token for ids in self.passes for token in ids]

    def take(self) -> list[int]:
        """Return all ids so far and begin anew."""
        ids = self.ids
        self.passes.clear()
        return ids


@pytest.fixture
def runtime() -> Runtime:
    return load_runtime(describe("tiny", "tiny", {}))


@pytest.fixture
def fed(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Fed:
    """Record what the model's own forward is called with, whoever calls it."""
    record = Fed()
    base = runtime.model.base_model
    forward = base.forward

    def recorded(*args: Any, **kwargs: Any) -> Any:
        ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        record.passes.extend(ids.tolist())  # one for each answer that is made together
        return forward(*args, **kwargs)

    monkeypatch.setattr(base, "forward", recorded)
    return record
