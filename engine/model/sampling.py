"""The next token of an answer."""

from __future__ import annotations

import torch

from memql.engine.model.decoding import Decoding
from memql.engine.model.spec import ModelSpec
from memql.errors import OperationalError


class Sampler:
    """Chooses the tokens of one answer, one after the other.

    Draws come from a generator of the answer's own on the CPU, so that they depend neither on the
    device nor on what else is answered.

    Args:
        decoding: how.
        spec: the model, for error texts.
    """

    def __init__(self, decoding: Decoding, spec: ModelSpec) -> None:
        self._decoding = decoding
        self._spec = spec
        self._generator = torch.Generator()
        if decoding.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(decoding.seed)

    def choose(self, logits: torch.Tensor) -> int:
        """Return the next token's id.

        Args:
            logits: ``[vocabulary]``, float32.

        Raises:
            OperationalError: they are no numbers.
        """
        value, token = logits.max(dim=-1)
        if not torch.isfinite(value):
            raise OperationalError(
                f"model {self._spec.name} gave logits that are no numbers in {self._spec.dtype}",
                hint="create the model WITH (dtype = 'float32')",
            )
        if self._decoding.temperature == 0:
            return int(token)
        scores = (logits.cpu().double() - float(value)) / self._decoding.temperature
        # Drawn here, not by torch.multinomial: its draws differ from version to version.
        chances, order = torch.sort(torch.softmax(scores, dim=-1), descending=True, stable=True)
        upto = torch.cumsum(chances, dim=-1)
        kept = int((upto - chances < self._decoding.top_p).sum())
        drawn = torch.rand(1, generator=self._generator, dtype=torch.float64) * upto[kept - 1]
        place = int(torch.searchsorted(upto[:kept], drawn, right=True))
        return int(order[min(place, kept - 1)])
