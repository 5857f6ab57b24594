"""What it costs to bring memories into a model's cache: seconds, from a calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

# A pass of more tokens is split, see Runtime.extend.
PASS_TOKENS = 1024


@dataclass(frozen=True)
class Calibration:
    """Seconds that one model on one device takes with one store.

    Args:
        pass_seconds: of a forward pass, however short.
        token_seconds: for each token of a pass.
        pair_seconds: for each token and each token before it that it looks at.
        node_seconds: to read a node, however small.
        byte_seconds: for each byte of keys and values, from the store into the cache; digest and
            copy to the device included.
    """

    pass_seconds: float
    token_seconds: float
    pair_seconds: float
    node_seconds: float
    byte_seconds: float

    def computing(self, tokens: int, behind_tokens: int) -> float:
        """Return the seconds to compute K and V.

        Args:
            tokens: of how many tokens.
            behind_tokens: how many are in the cache already.
        """
        passes = -(-tokens // PASS_TOKENS)
        pairs = tokens * (behind_tokens + tokens / 2)
        return passes * self.pass_seconds + tokens * self.token_seconds + pairs * self.pair_seconds

    def loading(self, nodes: int, size: int) -> float:
        """Return the seconds to load a chain.

        Args:
            nodes: how many.
            size: their bytes.
        """
        return nodes * self.node_seconds + size * self.byte_seconds

    def scaled(self, loading: float, computing: float) -> Calibration:
        """Return a calibration whose times are that many times as long."""
        return Calibration(
            pass_seconds=self.pass_seconds * computing,
            token_seconds=self.token_seconds * computing,
            pair_seconds=self.pair_seconds * computing,
            node_seconds=self.node_seconds * loading,
            byte_seconds=self.byte_seconds * loading,
        )

    def quantities(self) -> dict[str, float]:
        """Return the numbers by their names."""
        return asdict(self)

    @classmethod
    def from_quantities(cls, found: Mapping[str, float]) -> Calibration | None:
        """Return what :meth:`quantities` gave; None where one is missing."""
        names = cls.__dataclass_fields__
        return (
            cls(**{name: found[name] for name in names}) if names.keys() <= found.keys() else None
        )
