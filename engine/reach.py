"""Memories that a grant lets an action reach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, product

from memql.storage.governance import Grant

PUBLIC = "public"

# Grants of grants multiply: what one giver gives beyond this on one owner's memories, and what is
# given on more often than this, gives no right.
_MAX_OF_GIVER = 100
_LONGEST_CHAIN = 64


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


# What each grantee is given, by (grantee, action) and owner.
Given = dict[tuple[str, str], dict[str | None, list[Reach]]]


def what_is_given(grants: Sequence[Grant], names_of: Callable[[str], set[str]]) -> Given:
    """Return what each grantee is given.

    A grant counts as long as who gave it may still give it: the least fixed point of what owners
    give and what is given on. Round by round, a chain grows by one grant.

    Args:
        grants: on memories, in order.
        names_of: a user or role, and the roles that it is in.
    """
    given = _Giving(names_of)
    chained: list[Grant] = []
    for grant in grants:
        giver = grant.granted_by
        if giver is None or grant.owner in names_of(giver):
            given.add(grant, [reach_of(grant)])
        else:
            chained.append(grant)
    for _ in range(_LONGEST_CHAIN):
        added = [given.give_on(one) for one in chained]
        if not any(added):
            break
    return given.found


class _Giving:
    """The fixed point while it grows."""

    def __init__(self, names_of: Callable[[str], set[str]]) -> None:
        self.found: Given = {}
        self._names_of = names_of
        self._counts: Counter[tuple[str, str, str | None, str | None]] = Counter()
        self._held: dict[int, tuple[int, int]] = {}

    def give_on(self, grant: Grant) -> bool:
        """Add what a grant gives of what its giver was given; tell whether that was more.

        It takes the action and SHARE.
        """
        assert grant.granted_by is not None
        givers = sorted({*self._names_of(grant.granted_by), PUBLIC})
        # Everybody's memories are given on by who holds everybody's; one owner's by either.
        wide = (None,) if grant.owner is None else (None, grant.owner)

        def held(action: str) -> list[Reach]:
            places = [self.found.get((name, action), {}) for name in givers]
            return [reach for place in places for owner in wide for reach in place.get(owner, ())]

        mine, share = held(grant.action), held("SHARE")
        # What is held only grows.
        if self._held.get(grant.id) == (len(mine), len(share)):
            return False
        self._held[grant.id] = len(mine), len(share)
        what = reach_of(grant)
        if grant.action == "SHARE":
            return self.add(grant, (what.narrowed(one) for one in mine))
        pairs = islice(product(mine, share), _MAX_OF_GIVER)
        return self.add(grant, (what.narrowed(one).narrowed(other) for one, other in pairs))

    def add(self, grant: Grant, reaches: Iterable[Reach]) -> bool:
        """Add what a grant gives where it is not in what is there; tell whether it was."""
        place = self.found.setdefault((grant.grantee, grant.action), {}).setdefault(grant.owner, [])
        # Of one owner, and of one giver on it, no more than a query can bear.
        key = (grant.grantee, grant.action, grant.owner, grant.granted_by)
        added = False
        for reach in reaches:
            if self._counts[key] >= _MAX_OF_GIVER:
                break
            if any(one.covers(reach) for one in place):
                continue
            self._counts[key] += 1
            place.append(reach)
            added = True
        return added
