"""Memories that a grant lets an action reach."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from memql.storage.governance import Grant


@dataclass(frozen=True)
class Reach:
    """Memories that one action reaches: those of an owner for which all predicates hold.

    Args:
        owner: None is everybody.
        predicates: MemQL texts, AND-ed.
        until: when it ends, or None.
    """

    owner: str | None
    predicates: frozenset[str] = frozenset()
    until: datetime | None = None

    def narrowed(self, other: Reach) -> Reach:
        """Return what is in both, whose owner is the same or everybody."""
        ends = [end for end in (self.until, other.until) if end is not None]
        return Reach(
            other.owner if self.owner is None else self.owner,
            self.predicates | other.predicates,
            min(ends, default=None),
        )

    def covers(self, other: Reach) -> bool:
        """Tell whether another reach of the same owner is in this one."""
        lasts = self.until is None or (other.until is not None and other.until <= self.until)
        return lasts and self.owner == other.owner and self.predicates <= other.predicates


def reach_of(grant: Grant) -> Reach:
    """Return the memories that a grant is about."""
    predicates = frozenset() if grant.predicate is None else frozenset((grant.predicate,))
    return Reach(grant.owner, predicates, grant.until)
