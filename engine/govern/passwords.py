"""Passwords and tokens: how they are kept, and who is let in by them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from memql.engine.rights import Identity, catalog_of
from memql.errors import InterfaceError, OperationalError
from memql.storage.store import Store

if TYPE_CHECKING:
    from argon2 import PasswordHasher


def hashed(secret: str) -> str:
    """Return what is kept of a password or token: a hash by argon2id, with its salt."""
    return _hasher().hash(_bytes(secret))


def let_in(store: Store, user: str | None, password: str | None, token: str | None) -> Identity:
    """Return who a new connection is.

    A wrong password and a user that is not there make the same error and take the same work.

    Args:
        user: None is without a user.

    Raises:
        OperationalError: nobody is let in like this.
        InterfaceError: both a password and a token were given, or something that is no text.
    """
    for what, secret in (("password", password), ("token", token)):
        if not isinstance(secret, str | None):
            raise InterfaceError(f"the {what} is a text", code="22023")
    if password is not None and token is not None:
        raise InterfaceError(
            "a password and a token were given", hint="give one of the two", code="22023"
        )
    users = catalog_of(store).users
    secret = token if password is None else password
    if not users:
        if secret is None:
            return Identity(user)
        raise OperationalError(
            f"the store {store.name} has no users: no password or token can be checked",
            hint="leave it out, and make users: CREATE USER name WITH PASSWORD '...'",
            code="28000",
        )
    if user is None or secret is None:
        raise OperationalError(
            f"the store {store.name} has users: it opens with a user and a password or token",
            hint="memql.connect(store, user=..., password=...); memql shell STORE --user NAME",
            code="28000",
        )
    found = users.get(user)
    kept = None if found is None else found.token if password is None else found.password
    if not _fits(secret, kept):
        raise OperationalError(
            f"the user {user} is not there, or the password or token is wrong", code="28P01"
        )
    assert found is not None  # what fits was kept for somebody
    identity = Identity(user, authenticated=True, since=found.created_at)
    identity.rights(store, datetime.now(UTC))  # raises where the user is no longer valid
    return identity


def _fits(secret: str, kept: str | None) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError

    hasher = _hasher()
    if kept is None:
        hasher.hash(_bytes(secret))
        return False
    try:
        return hasher.verify(kept, _bytes(secret))
    except (VerificationError, InvalidHashError):
        return False


def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()


def _bytes(secret: str) -> bytes:
    # What a caller gives may hold half of a character: that fits no password.
    return secret.encode("utf-8", "surrogatepass")
