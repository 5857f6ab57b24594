"""The steps of the storage protocol by their names, and how something is made to happen at one.

The product knows nothing of this: the functions between the steps are wrapped from outside.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from memql.storage import activations, durable, store, tensors
from memql.storage.activations import Activations
from memql.storage.store import Store
from memql.storage.tensors import Tensors
from memql.storage.transaction import Transaction

Patch = Callable[[Any, str, Any], None]


@dataclass(frozen=True)
class Step:
    """A place inside an operation, before or after one of the functions that it calls.

    Args:
        name: "operation.place".
        owner: the class or module that has the function.
        function: its name.
        after: whether the place is behind the function, not before it.
        fresh: whether it is passed in a new store only.
        left: whether it is passed only where an earlier crash left something to do.
    """

    name: str
    owner: Any
    function: str
    after: bool = False
    fresh: bool = False
    left: bool = False

    @property
    def operation(self) -> str:
        """The operation that the place is in."""
        return self.name.partition(".")[0]


# What each operation is: the function around it.
_OPERATIONS: dict[str, tuple[Any, str]] = {
    "put": (Activations, "put"),
    "drop": (Activations, "drop"),
    "compact": (Activations, "compact"),
    "recover": (Activations, "recover"),
    "write": (Transaction, "commit"),
    "open": (Store, "__init__"),
}

STEPS: tuple[Step, ...] = (
    Step("put.intended", Tensors, "append"),
    Step("put.writing", tensors, "_batches"),
    Step("put.unsynced", Tensors, "_sync"),
    Step("put.syncing", durable, "sync_file", after=True),
    Step("put.synced", Tensors, "_sync", after=True),
    Step("put.publishing", activations, "_all_committed"),
    Step("put.published", Activations, "_publish", after=True),
    Step("drop.tombstoned", Tensors, "purge"),
    Step("drop.unsynced", Tensors, "_sync"),
    Step("drop.synced", Tensors, "_clean"),
    Step("drop.purged", Activations, "_finish"),
    Step("drop.finished", Activations, "_finish", after=True),
    Step("compact.intended", Tensors, "compact"),
    Step("compact.unsynced", Tensors, "_sync"),
    Step("compact.synced", Tensors, "_clean"),
    Step("compact.compacted", Activations, "_finish"),
    Step("compact.finished", Activations, "_finish", after=True),
    Step("recover.begun", Tensors, "purge", left=True),
    Step("recover.unsynced", Tensors, "_sync", left=True),
    Step("recover.swept", Activations, "_finish", left=True),
    Step("recover.finished", Activations, "_finish", after=True, left=True),
    Step("write.begun", Transaction, "commit"),
    Step("write.numbered", Transaction, "_end_numbered"),
    Step("write.committed", Store, "committed"),
    Step("write.noted", Store, "committed", after=True),
    Step("open.making", durable, "sync_file", fresh=True),
    Step("open.made", store, "migrate", fresh=True),
    Step("open.migrated", store, "migrate", after=True, fresh=True),
)

BY_NAME = {step.name: step for step in STEPS}

# Where a crash leaves something to recover.
LEAVING = ("put.intended", "put.unsynced", "put.synced", "drop.tombstoned", "drop.synced")

_inside = threading.local()


def arm(step: Step, happens: Callable[[], None], patch: Patch) -> None:
    """Let something happen each time a step is passed.

    Args:
        step: where.
        happens: what; called in the thread that is there.
        patch: sets an attribute of an object; `setattr`, or what undoes it later.
    """
    _track(step.operation, patch)
    wrapped = getattr(step.owner, step.function)

    @functools.wraps(wrapped)
    def around(*arguments: Any, **named: Any) -> Any:
        here = step.operation in _stack()[-1:] or wrapped.__name__ == "commit"
        if step.function == "_batches":
            return _between(wrapped(*arguments, **named), happens)
        if here and not step.after:
            happens()
        result = wrapped(*arguments, **named)
        if here and step.after:
            happens()
        return result

    patch(step.owner, step.function, around)


def _between(batches: Iterator[Any], happens: Callable[[], None]) -> Iterator[Any]:
    for number, batch in enumerate(batches):
        if number:
            happens()
        yield batch


def _track(operation: str, patch: Patch) -> None:
    owner, function = _OPERATIONS[operation]
    wrapped = getattr(owner, function)
    if hasattr(wrapped, "tracked"):
        return

    @functools.wraps(wrapped)
    def around(*arguments: Any, **named: Any) -> Any:
        _stack().append(operation)
        try:
            return wrapped(*arguments, **named)
        finally:
            _stack().pop()

    around.tracked = True  # type: ignore[attr-defined]
    patch(owner, function, around)


def _stack() -> list[str]:
    stack: list[str] | None = getattr(_inside, "stack", None)
    if stack is None:
        stack = _inside.stack = []
    return stack
