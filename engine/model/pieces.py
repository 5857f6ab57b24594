"""The text of an answer while its tokens come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_HALF = "\N{REPLACEMENT CHARACTER}"  # what tokens decode to that are not a whole character yet


class Pieces:
    """Turns the tokens of an answer into pieces of text that are never taken back.

    What could still become a stop text or another character is held back, and so is white space
    at the ends: joined, the pieces are the answer.

    Args:
        decode: ids to text.
        stop: texts that end the answer.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str]) -> None:
        self._decode = decode
        self._stop = tuple(stop)
        self._given = 0
        self.text = ""
        """The answer so far, white space at its ends left out."""
        self.stopped = False
        """Whether a stop text came."""

    def add(self, ids: Sequence[int], *, last: bool = False) -> str:
        """Return the next piece, perhaps empty.

        Args:
            ids: all of the answer's tokens so far.
            last: whether no more will come.
        """
        text = self._decode(ids)
        found = [
            (place + len(stop), place) for stop in self._stop if (place := text.find(stop)) >= 0
        ]
        if found:
            # The one that is whole first, however many characters a token has.
            text, self.stopped = text[: min(found)[1]], True
        self.text = text.strip()
        if last or self.stopped:
            sure = len(self.text)
        else:
            sure = len(self._sure(text).strip())
        piece = self.text[self._given : sure]
        self._given = max(self._given, sure)
        return piece

    def _sure(self, text: str) -> str:
        """Return the part of a text that no later token can change."""
        text = text.rstrip(_HALF)
        for stop in self._stop:
            for size in range(min(len(stop) - 1, len(text)), 0, -1):
                if text.endswith(stop[:size]):
                    text = text[:-size]
                    break
        return text
