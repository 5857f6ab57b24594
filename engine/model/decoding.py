"""How the tokens of an answer are chosen, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from memql.errors import ProgrammingError

# Of temperatures: past it every token is about as likely as every other.
HOTTEST = 100.0
MOST_STOPS = 16


@dataclass(frozen=True)
class Decoding:
    """How an answer is made.

    Args:
        max_tokens: the most tokens that it has.
        temperature: 0 takes the likeliest token each time; above it tokens are drawn, the likelier
            the more often, with 1 as the model learned it.
        top_p: tokens are drawn from the likeliest ones that together have this probability.
        stop: texts that end the answer, which does not hold them.
        seed: of the drawing; None draws otherwise each time.

    Raises:
        ProgrammingError: a value out of its range.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise _refused(f"max_tokens is {self.max_tokens}", "ask for at least 1 token")
        if not 0 <= self.temperature <= HOTTEST:
            raise _refused(
                f"temperature is a number from 0 to {HOTTEST:g}, found {self.temperature!r}",
                "0 takes the likeliest token each time",
            )
        if not 0 < self.top_p <= 1:
            raise _refused(
                f"top_p is a number above 0 and at most 1, found {self.top_p!r}",
                "1 draws from all tokens",
            )
        if len(self.stop) > MOST_STOPS or not all(self.stop):
            raise _refused(
                f"stop is at most {MOST_STOPS} texts, none of them empty; found {self.stop!r}",
                "leave it out for an answer that ends by itself",
            )

    @property
    def is_repeatable(self) -> bool:
        """Whether the same prompt has the same answer each time."""
        return self.temperature == 0 or self.seed is not None


def _refused(found: str, hint: str) -> ProgrammingError:
    return ProgrammingError(found, hint=hint, code="22023")
