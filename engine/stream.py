"""An answer piece by piece, and the result that it ends in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from memql.engine.bind.parameters import Parameters
from memql.engine.result import Result
from memql.engine.rights import rights_changed

if TYPE_CHECKING:
    from memql.engine.session import Session


class AnswerStream(Iterator[str]):
    """The pieces of one answer; joined, they are its text.

    Nothing is held between two pieces, so that a program may take its time, and closing it at any
    piece ends the work. Rights are looked at again before each piece is given out.

    Args:
        session: whose statement it is.
        text: the query.
        parameters: values for ``?`` or ``$name``.

    Raises:
        Error: as executing the statement would.
    """

    def __init__(self, session: Session, text: str, parameters: Parameters) -> None:
        self.result: Result | None = None
        """The row that the answer is in, once all pieces were given."""
        self._session = session
        with session._lock:
            session._check_open()
            self._context, self._deadline = session._begun(text)
            with session._watched(self._context, self._deadline, session.interrupt):
                session.note(self._context)
                planned, values = session.planned(self._context, parameters)
                self._running = session.executor(self._context, values).stream(planned)

    def __next__(self) -> str:
        """Return the next piece.

        Raises:
            Error: as executing the statement would; no more pieces come after it.
        """
        try:
            with self._turn():
                try:
                    return next(self._running)
                except StopIteration as end:
                    self.result = end.value or self.result
        except BaseException:
            self.close()
            raise
        raise StopIteration

    def close(self) -> None:
        """End the work, whatever is left of it."""
        self._running.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        session = self._session
        with (
            session._lock,
            session._watched(self._context, self._deadline, session.interrupt),
        ):
            session._check_open()
            yield
            if not session._rights_hold(self._context):
                raise rights_changed()
