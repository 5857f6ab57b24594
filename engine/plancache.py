"""Plans of texts that were seen before: parsing, binding and the rules are done once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from memql.engine.bind.changes import ChangePlan
from memql.engine.bind.parameters import Signature
from memql.engine.optimize import Optimized

if TYPE_CHECKING:
    from memql.storage.store import Store

MAX_PLANS = 256
# A plan holds trees of some hundred times its text.
MAX_TEXT_CHARACTERS = 8 * 1024


@dataclass(frozen=True)
class PlanKey:
    """All that a plan was made from, but for the values of parameters.

    Args:
        text: the statement.
        types: of the parameters' values, with their names if they have any.
        catalog: (0, version of the catalog), or inside a transaction (its number,
            how often it changed the catalog itself). Grants are a part of the catalog.
        rights: of who asks.
        settings: the settings that planning reads.
    """

    text: str
    types: tuple[object, ...]
    catalog: tuple[int, int]
    rights: tuple[object, ...]
    settings: tuple[object, ...]


@dataclass(frozen=True)
class KnownPlan:
    """A plan that can be run again.

    Args:
        signature: the parameters of its statement.
        looked_at: values of parameters that the binder read: it holds for these only.
        valid_until: when it ends (a grant's UNTIL), or None.
    """

    signature: Signature
    plan: Optimized | ChangePlan
    looked_at: Mapping[str, Any] = field(default_factory=dict)
    valid_until: datetime | None = None

    def holds(self, values: Mapping[str, Any], now: datetime) -> bool:
        """Tell whether the plan may run with these values at this moment."""
        if self.valid_until is not None and now >= self.valid_until:
            return False
        for name, value in self.looked_at.items():
            given = values.get(name)
            if type(given) is not type(value) or given != value:
                return False
        return True


class PlanCache:
    """The plans of one store, shared by its connections; the key says whose they are."""

    def __init__(self) -> None:
        self._plans: OrderedDict[PlanKey, KnownPlan] = OrderedDict()
        self._lock = Lock()

    def get(self, key: PlanKey) -> KnownPlan | None:
        """Return the plan kept for a key, None if there is none."""
        with self._lock:
            known = self._plans.get(key)
            if known is not None:
                self._plans.move_to_end(key)
            return known

    def put(self, key: PlanKey, known: KnownPlan) -> None:
        """Keep a plan; the one that was not used for the longest time makes room."""
        if len(key.text) > MAX_TEXT_CHARACTERS:
            return
        with self._lock:
            self._plans[key] = known
            self._plans.move_to_end(key)
            while len(self._plans) > MAX_PLANS:
                self._plans.popitem(last=False)

    def __len__(self) -> int:
        return len(self._plans)


def types_of(parameters: Sequence[Any] | Mapping[str, Any] | None) -> tuple[object, ...]:
    """Return the types of parameters, the part of a plan's key."""
    if isinstance(parameters, Mapping):
        return tuple((name, type(value)) for name, value in parameters.items())
    return tuple(type(value) for value in parameters or ())


def cache_of(store: Store) -> PlanCache:
    """Return the plans of a store."""
    with _lock:
        return _caches.setdefault(store, PlanCache())


_caches: WeakKeyDictionary[Store, PlanCache] = WeakKeyDictionary()
_lock = Lock()
