"""The row policy: which memories a user may see, write and keep derived forms of, as conditions.

The conditions hold literals only: no subquery and no join stands in them, so that nothing can be
pushed below them that would look at another row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache

import sqlglot
from sqlglot import exp

from memql.engine.bind.parameters import NOW_PARAMETER
from memql.engine.bind.predicates import is_condition, with_moment
from memql.engine.duckdb_sql.dialect import PlainDuckDB
from memql.engine.reach import Reach
from memql.engine.rights import Rights
from memql.storage.governance import Policy

# What a statement does to the memories that it names.
SELECT, UPDATE, DELETE, INSERT = "SELECT", "UPDATE", "DELETE", "INSERT"

_LIFE = f'"state" = \'active\' AND ("expires_at" IS NULL OR "expires_at" > ${NOW_PARAMETER})'


def visible(rights: Rights, command: str) -> exp.Expr:
    """Return the condition for the memories that a command finds.

    These are active, not expired, and may be read; for UPDATE and DELETE they may be written too.
    What cannot be read cannot be written: a WHERE would tell of it.
    """
    terms = [condition(_LIFE)]
    for one in rights.moments:
        if not one.reads_everything:
            terms += _allowed(one, "READ", SELECT)
        if command != SELECT and not one.writes_everything:
            terms += _allowed(one, "WRITE", command)
    return exp.and_(*terms, copy=False)


def readable(rights: Rights) -> exp.Expr | None:
    """Return the condition for the memories that may be read in whatever state; None is any."""
    if rights.reads_everything:
        return None
    terms = [term for one in rights.moments for term in _allowed(one, "READ", SELECT)]
    return exp.and_(*terms, copy=False)


def writable(rights: Rights, command: str) -> exp.Expr | None:
    """Return the condition for the rows that INSERT or UPDATE may leave behind; None is any."""
    if rights.writes_everything:
        return None
    return exp.and_(*_allowed(rights, "WRITE", command, new=True), copy=False)


def kept(rights: Rights) -> exp.Expr | None:
    """Return the condition for the memories whose derived forms may be kept; None is any."""
    if rights.name is None or reads_own_only(rights):
        return None
    return _any_of([_own(rights), *_reached(rights.reaches("MATERIALIZE"))])


def reads_own_only(rights: Rights) -> bool:
    """Tell whether all memories that are read are the user's own."""
    if rights.reads_everything:
        return False
    own_only = len(rights.owners) == 1
    return own_only and not rights.reaches("READ") and not rights.policies(SELECT)[0]


def writes_own_only(rights: Rights, command: str) -> bool:
    """Tell whether ownership alone decides what may be written."""
    return not (rights.reaches("WRITE") or any(rights.policies(command)))


def in_words(rights: Rights) -> str:
    """Return what is read of memories, for EXPLAIN."""
    words = "active, not expired"
    if rights.reads_everything:
        return f"{words}, override" if rights.override else words
    owners = ", ".join(rights.owners)
    words += f", owner = {owners}" if len(rights.owners) == 1 else f", owner in ({owners})"
    reaches = len(rights.reaches("READ"))
    if reaches:
        words += f", {reaches} grant{'s' if reaches > 1 else ''}"
    policies = [policy.name for part in rights.policies(SELECT) for policy in part]
    if policies:
        words += f", policies {', '.join(sorted(policies))}"
    return words


def _allowed(rights: Rights, action: str, command: str, *, new: bool = False) -> list[exp.Expr]:
    """Return what must hold: own or granted or given by a policy, and not taken away by one.

    Args:
        new: whether it is asked of rows that are about to be written.
    """
    permissive, restrictive = rights.policies(command)
    given = [_own(rights), *_reached(rights.reaches(action))]
    for policy in permissive:
        given.append(_both(_of_owner(policy.owner), _of_policy(policy, new=new)))
    terms = [_any_of(given)]
    for policy in restrictive:
        rule = _of_policy(policy, new=new) or exp.true()
        if policy.owner is not None:
            rule = _any_of([_owner_in([policy.owner]).not_(copy=False), rule])
        terms.append(exp.paren(rule, copy=False))
    return terms


def _own(rights: Rights) -> exp.Expr:
    return _owner_in(rights.owners)


def _owner_in(owners: Sequence[str]) -> exp.Expr:
    column = exp.column("owner", quoted=True)
    if len(owners) == 1:
        return column.eq(exp.Literal.string(owners[0]))
    return exp.In(this=column, expressions=[exp.Literal.string(owner) for owner in owners])


def _of_owner(owner: str | None) -> exp.Expr | None:
    return None if owner is None else _owner_in([owner])


def _reached(reaches: Iterable[Reach]) -> list[exp.Expr]:
    """Return a condition for each set of owners who granted on the same terms."""
    terms: dict[tuple[frozenset[str], datetime | None], list[str | None]] = defaultdict(list)
    for reach in reaches:
        terms[reach.predicates, reach.until].append(reach.owner)
    found: list[exp.Expr] = []
    for (predicates, end), named in terms.items():
        parts: list[exp.Expr] = []
        if None not in named:
            parts.append(_owner_in(sorted(one for one in named if one is not None)))
        parts += [condition(text) for text in sorted(predicates)]
        if end is not None:
            moment = exp.cast(exp.Literal.string(end.isoformat()), "timestamptz")
            parts.append(exp.LT(this=exp.Placeholder(this=NOW_PARAMETER), expression=moment))
        found.append(exp.and_(*parts, copy=False) if parts else exp.true())
    return found


def _of_policy(policy: Policy, *, new: bool) -> exp.Expr | None:
    text = policy.check if new and policy.check is not None else policy.using
    return None if text is None else condition(text)


def _both(first: exp.Expr | None, second: exp.Expr | None) -> exp.Expr:
    parts = [one for one in (first, second) if one is not None]
    return exp.and_(*parts, copy=False) if parts else exp.true()


def _any_of(parts: Sequence[exp.Expr]) -> exp.Expr:
    return parts[0] if len(parts) == 1 else exp.paren(exp.or_(*parts, copy=False), copy=False)


def condition(text: str) -> exp.Expr:
    """Return a stored condition, in brackets; one that could fail on a row holds for none."""
    return _condition(text).copy()


@lru_cache(maxsize=1024)
def _condition(text: str) -> exp.Expr:
    tree = sqlglot.parse_one(f"SELECT 1 WHERE ({text})", read=PlainDuckDB)
    predicate = tree.args["where"].this
    if text is not _LIFE and not is_condition(predicate):
        return exp.false()
    predicate = with_moment(predicate)
    for identifier in predicate.find_all(exp.Identifier):
        identifier.set("quoted", True)
    return exp.paren(predicate, copy=False) if not isinstance(predicate, exp.Paren) else predicate
