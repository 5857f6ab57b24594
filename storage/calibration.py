"""Measured speeds of models, devices and this store, as the catalog keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING

from memql.storage.transaction import short_transaction

if TYPE_CHECKING:
    from memql.storage.store import Store


def read(store: Store, model: str, device: str) -> dict[str, float]:
    """Return the quantities kept for a model on a device, by their names.

    Args:
        store: the store.
        model: digest of the model.
        device: where it runs.
    """
    with closing(store.cursor()) as cursor:
        rows = cursor.execute(
            "SELECT quantity, value FROM _memql.calibration WHERE model = ? AND device = ?",
            [model, device],
        ).fetchall()
    return dict(rows)


def write(store: Store, model: str, device: str, quantities: Mapping[str, float]) -> None:
    """Keep quantities in place of what was kept before.

    Args:
        store: the store.
        model: digest of the model.
        device: where it runs.
        quantities: by their names.

    Raises:
        OperationalError: the catalog could not be written.
    """
    with (
        store.commit_lock,
        closing(store.cursor()) as cursor,
        short_transaction(cursor, "keep what was measured"),
    ):
        cursor.execute(
            "INSERT OR REPLACE INTO _memql.calibration "
            "SELECT $1, $2, unnest($3::VARCHAR[]), unnest($4::DOUBLE[]), now()",
            [model, device, list(quantities), list(quantities.values())],
        )
