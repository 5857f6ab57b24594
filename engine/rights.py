"""Who may do what: what users, roles, grants and policies come to for one who asks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from memql.engine.names import fold
from memql.engine.reach import PUBLIC, Given, Reach, what_is_given
from memql.errors import OperationalError, ProgrammingError
from memql.storage import governance
from memql.storage.governance import MEMORIES, Governance, Grant, Policy, User

if TYPE_CHECKING:
    from memql.storage.store import Store

DEFAULT_OWNER = "local"

# How many grants of one action on one owner's memories a user may give to one grantee, and how
# many policies a user may make: the conditions of all are a part of the grantee's queries.
MAX_GIVEN = 20


@dataclass(frozen=True)
class Rights:
    """What one who asks may do.

    Args:
        user: who asks; None is the administrator of an embedded store.
        role: the role that SET ROLE put on, or None.
        catalog: users, roles, grants and policies.
        override: whether an administrator reads everybody's memories, which the audit notes.
        shared: whether memories of others are reached that grants and policies let them reach.
        seen: the catalog in the snapshot of the open transaction, where it may be another one.
    """

    user: str | None
    role: str | None
    catalog: Catalog
    override: bool = False
    shared: bool = True
    seen: Catalog | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """What tells these rights from others: a plan holds for them only."""
        versions = self.catalog.version, self.seen and self.seen.version
        return self.user, self.role, self.override, self.shared, *versions

    @cached_property
    def moments(self) -> tuple[Rights, ...]:
        """All rights that must let something be read: these, and those that a transaction sees.

        What was granted since is about what is there now, and its snapshot may still have what
        was deleted or changed before the grant.
        """
        now = replace(self, seen=None)
        if self.seen is None:
            return (now,)
        then = replace(now, catalog=self.seen)
        return (now,) if now.all_there_is == then.all_there_is else (now, then)

    @property
    def name(self) -> str | None:
        """The owner of what is created: the role, or the user; None as ``user``."""
        return self.user if self.role is None else self.role

    @property
    def owner(self) -> str:
        """The owner of what is created."""
        return DEFAULT_OWNER if self.name is None else self.name

    @property
    def reads_everything(self) -> bool:
        """Whether no policy stands before what is read."""
        return self.name is None or self.override

    @property
    def writes_everything(self) -> bool:
        """Whether no policy stands before what is written."""
        return self.name is None

    @property
    def administrator(self) -> bool:
        """Whether users, models and settings of the store are theirs to manage.

        Where nobody was created yet that is who connects without a user.
        """
        if self.user is None:
            return True
        if not self.catalog.users:
            return False
        user = self.catalog.users.get(self.user)
        return user is not None and user.administrator or self.user_is_founder

    @property
    def user_is_founder(self) -> bool:
        """Whether this is the connection without a user of a store that has users since."""
        return self.user == DEFAULT_OWNER and DEFAULT_OWNER not in self.catalog.users

    @cached_property
    def owners(self) -> tuple[str, ...]:
        """Whose memories and tables are their own: the user's, and those of the roles it is in."""
        if self.name is None:
            return (DEFAULT_OWNER,)
        return (self.name, *sorted(self.catalog.roles_of(self.name) - {self.name}))

    @cached_property
    def names(self) -> frozenset[str]:
        """The grantees that mean them."""
        return frozenset((*self.owners, PUBLIC))

    def reaches(self, action: str) -> tuple[Reach, ...]:
        """Return what grants let an action on memories reach, beside their own."""
        if not self.shared:
            return ()
        return self.catalog.reaches(self.owner, action)

    def policies(self, command: str) -> tuple[list[Policy], list[Policy]]:
        """Return (permissive, restrictive) policies for SELECT, INSERT, UPDATE or DELETE.

        A policy that gives everybody's memories gives administrators none: these they read by
        grant, or by an override that the audit notes.
        """
        permissive: list[Policy] = []
        restrictive: list[Policy] = []
        # What is taken from a user no role gives back.
        all_names = self.names
        if self.role is not None and self.user is not None:
            all_names |= {self.user, *self.catalog.roles_of(self.user)}
        for policy in self.catalog.governance.policies:
            if policy.command not in ("ALL", command):
                continue
            if policy.restrictive:
                if not all_names.isdisjoint(policy.grantees):
                    restrictive.append(policy)
            elif not self.shared or self.names.isdisjoint(policy.grantees):
                continue
            elif policy.owner is not None or not self.administrator:
                permissive.append(policy)
        return permissive, restrictive

    @cached_property
    def all_there_is(self) -> tuple[object, ...]:
        """All of the catalog that bears on who asks, to compare with that of another moment."""
        catalog = self.catalog
        return (
            catalog.users.get(self.user) if self.user is not None else None,
            self.administrator,
            self.owners,
            catalog.governance.memberships,
            catalog.bearing(self.names),
            [self.policies(command) for command in ("SELECT", "INSERT", "UPDATE", "DELETE")],
        )

    def has_table(
        self, owner: str, name: str, action: str, now: datetime, *, grantable: bool = False
    ) -> bool:
        """Tell whether they may do an action on an ordinary table or view.

        Args:
            action: SELECT, INSERT, UPDATE or DELETE.
            grantable: whether they may grant it on.
        """
        if self.name is None or owner in self.owners:
            return True
        return any(
            grant.action == action
            and grant.grantee in self.names
            and (grant.grantable or not grantable)
            for grant in self.catalog.table_rights(owner, name, now)
        )

    def ends(self, owner: str, name: str) -> datetime | None:
        """Return when the first grant on a table or view ends, None if none does."""
        found = self.catalog.table_grants.get((owner, fold(name)), ())
        return min((grant.until for grant in found if grant.until is not None), default=None)


@dataclass
class Identity:
    """Who a connection is; what that comes to is asked anew for each statement.

    Args:
        user: as whom it was opened; None is without a user.
        authenticated: whether a password or token was checked.
        role: the role that SET ROLE put on, or None.
        override: why an administrator reads everybody's memories; empty where it does not.
        since: when the user whose password was checked was created: another of the same name is
            another user.
    """

    user: str | None
    authenticated: bool = False
    since: datetime | None = None
    role: str | None = None
    override: str = ""

    def rights(self, store: Store, now: datetime) -> Rights:
        """Return what the connection may do now.

        Raises:
            OperationalError: it may do nothing any more.
            ProgrammingError: the role on it was taken away; it is off now.
        """
        catalog = catalog_of(store)
        if not catalog.users:
            return Rights(self.user, None, catalog)
        user = DEFAULT_OWNER if self.user is None else self.user
        if self.user is not None and not self.authenticated:
            raise OperationalError(
                f"the store has users since {user} connected without a password",
                hint="connect again: memql.connect(store, user=..., password=...)",
                code="28000",
            )
        found = catalog.users.get(user)
        if self.user is None and found is not None:
            raise OperationalError(
                f"{user} is a user now: who connected without one is nobody",
                hint=f"connect again: memql.connect(store, user='{user}', password=...)",
                code="28000",
            )
        if self.user is not None and (found is None or found.created_at != self.since):
            raise OperationalError(f"the user {user} was dropped", code="28000")
        if found is not None and found.valid_until is not None and found.valid_until <= now:
            raise OperationalError(
                f"the user {user} was valid until {found.valid_until.isoformat()}", code="28000"
            )
        role = self.role
        if role is not None and role not in catalog.roles_of(user):
            self.role = None
            raise ProgrammingError(
                f"the role {role} was taken from {user}: the statement did not run",
                hint=f"from here on the connection is {user} again",
                code="42501",
            )
        rights = Rights(user, role, catalog, bool(self.override))
        if rights.override and not rights.administrator:
            self.override = ""
            return replace(rights, override=False)
        return rights


class Catalog:
    """Users, roles, grants and policies of a store, as they were committed at one moment.

    Args:
        governance: what was read.
    """

    def __init__(self, governance: Governance) -> None:
        self.version = next(_versions)
        self.governance = governance
        self.users: dict[str, User] = {user.name: user for user in governance.users}
        self.roles = {role.name: role for role in governance.roles}
        self.table_grants: dict[tuple[str, str], list[Grant]] = defaultdict(list)
        self._grants_to: dict[str, list[Grant]] = defaultdict(list)
        for grant in governance.grants:
            self._grants_to[grant.grantee].append(grant)
            if grant.target != MEMORIES and grant.owner is not None:
                self.table_grants[grant.owner, fold(grant.target)].append(grant)
        self._roles: dict[str, list[str]] = defaultdict(list)
        for membership in governance.memberships:
            self._roles[membership.member].append(membership.role)
        self._given: dict[str, Given] = {}

    def roles_of(self, name: str) -> set[str]:
        """Return the roles that a user or role is a member of, directly or through others."""
        found: set[str] = set()
        waiting = [name]
        while waiting:
            for role in self._roles.get(waiting.pop(), ()):
                if role not in found:
                    found.add(role)
                    waiting.append(role)
        return found

    def bearing(self, names: Iterable[str]) -> frozenset[Grant]:
        """Return the grants on which it depends what those of some names may do.

        These are the grants to them, to who gave them, and to who owns a table or view that they
        were given: a view reads what others gave to its owner. A grant that was taken away and
        given again is another.
        """
        found: set[Grant] = set()
        known: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in known:
                continue
            known.add(name)
            waiting += self.roles_of(name)
            for grant in self._grants_to.get(name, ()):
                found.add(grant)
                owner = None if grant.target == MEMORIES else grant.owner
                waiting += [one for one in (grant.granted_by, owner) if one is not None]
        return frozenset(found)

    def reaches(self, name: str, action: str) -> tuple[Reach, ...]:
        """Return what grants on memories let a user or role do, beside what is its own."""
        own = {name, *self.roles_of(name)}
        if name not in self._given:
            # Only what bears on the name: others' chains of grants take their time.
            bearing = (one for one in self.bearing((name, PUBLIC)) if one.target == MEMORIES)
            grants = sorted(bearing, key=lambda one: one.id)
            self._given[name] = what_is_given(grants, lambda one: {one, *self.roles_of(one)})
        found = self._given[name]
        given = (found.get((one, action), {}).values() for one in sorted({*own, PUBLIC}))
        every = (reach for one in given for reaches in one for reach in reaches)
        return tuple(dict.fromkeys(reach for reach in every if reach.owner not in own))

    def table_rights(self, owner: str, name: str, now: datetime) -> list[Grant]:
        """Return the grants on a table or view that count now.

        One counts as long as who gave it may still give it: the owner, or who holds the right
        with the option to grant it on.
        """
        waiting = self.table_grants.get((owner, fold(name)), [])
        waiting = [grant for grant in waiting if grant.until is None or grant.until > now]
        counted: list[Grant] = []
        while True:
            more = [grant for grant in waiting if self._may_give(grant, counted)]
            if not more:
                return counted
            counted += more
            waiting = [grant for grant in waiting if grant not in more]

    def _may_give(self, grant: Grant, counted: list[Grant]) -> bool:
        giver = grant.granted_by
        if giver is None:
            return True
        names = {giver, *self.roles_of(giver)}
        return grant.owner in names or any(
            one.grantable and one.action == grant.action and one.grantee in {*names, PUBLIC}
            for one in counted
        )


def catalog_of(store: Store) -> Catalog:
    """Return users, roles, grants and policies of a store as they are committed now."""
    with _lock:
        known = _catalogs.get(store)
        # Read after the number: what is committed in between is read again next time.
        version = store.rights_version
        if known is None or known[0] != version:
            cursor = store.cursor()
            known = (version, Catalog(governance.read(cursor)))
            cursor.close()
            _catalogs[store] = known
        return known[1]


_versions = count(1)

# Of a store in which nobody was created and nothing granted.
EMBEDDED = Rights(None, None, Catalog(Governance((), (), (), (), ())))

# How often a statement runs again where who may read what changed while it ran.
MOST_TRIES = 20


class RightsChanged(Exception):
    """What a statement was about to commit rests on rights that changed while it ran."""


def rights_hold(rights: Rights, store: Store) -> bool:
    """Tell whether what a statement has read outside BEGIN was its user's to read.

    The rights were read before the rows. If they are the same now, and no commit is under way
    that changes them, they were the same when the rows were read: a grant that was taken away in
    between and given back has another time.
    """
    if rights.name is None:
        return True
    if store.rights_are_changing:
        return False
    now = replace(rights, catalog=catalog_of(store))
    return now.catalog is rights.catalog or now.all_there_is == rights.all_there_is


def rights_changed() -> OperationalError:
    """Return the error for a statement that was overtaken each time."""
    return OperationalError(
        "who may read what was changed each time that the statement ran",
        hint="try again",
        code="40001",
    )


_catalogs: WeakKeyDictionary[Store, tuple[int, Catalog]] = WeakKeyDictionary()
_lock = Lock()
