"""Opens a store as a user; a password comes from the environment, or is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable

from memql.connection import Connection, connect
from memql.errors import OperationalError

PASSWORD_VARIABLE = "MEMQL_PASSWORD"
TOKEN_VARIABLE = "MEMQL_TOKEN"


def connect_as(
    store: str, user: str | None, model: str | None, ask: Callable[[str], str] | None
) -> Connection:
    """Open a store as a user.

    Only a store that has users sees what the environment holds.

    Args:
        user: None is without a user.
        model: the model of queries that name none, or None.
        ask: asks for a password with a prompt; None where nobody can be asked.

    Raises:
        OperationalError: nobody is let in like this, or the store does not open.
    """
    try:
        return connect(store, user=user, model=model)
    except OperationalError as error:
        if user is None or error.code != "28000":
            raise
        password, token = os.environ.get(PASSWORD_VARIABLE), os.environ.get(TOKEN_VARIABLE)
        if password is None and token is None:
            if ask is None:
                raise
            password = ask(f"password of {user}: ")
    return connect(store, user=user, model=model, password=password, token=token)
