"""What the parts of a running statement share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memql.engine.bind.parameters import Values
from memql.engine.calibrations import Calibrations, calibrations_of
from memql.engine.context import StatementContext
from memql.engine.cost import Calibration
from memql.engine.model.spec import ModelSpec
from memql.engine.models import Models
from memql.engine.segments import Segments
from memql.storage.store import Store

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Statement:
    """One statement while it runs.

    Args:
        cursor: of the statement's transaction, or one of its own on which nothing else runs.
        in_transaction: whether a transaction is open on it.
        values: its parameters by name.
    """

    store: Store
    cursor: duckdb.DuckDBPyConnection
    in_transaction: bool
    models: Models
    segments: Segments
    context: StatementContext
    values: Values

    @property
    def calibrations(self) -> Calibrations:
        """What is known of the speed of models with this store."""
        return calibrations_of(self.store)

    def runs(self, rule: str) -> bool:
        """Tell whether a rule of the adaptive stage is switched on."""
        return rule not in self.context.settings.disabled_rules

    def calibration(self, spec: ModelSpec) -> Calibration | None:
        """Return what is known of a model's speed; None where nothing is, or nobody asks."""
        return self.calibrations.known(spec) if self.runs("cost_of_loading") else None
