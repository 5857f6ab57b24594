"""What happened while a plan ran: for EXPLAIN, and for the values of answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from memql.engine.reuse import Brought
from memql.engine.run.prompts import Prepared

if TYPE_CHECKING:
    from memql.engine.model.spec import ModelSpec


@dataclass(frozen=True)
class Answered:
    """An answer of the model and what it took.

    Args:
        memory_ids: the memories that were read, in prompt order.
        tokens: tokens of head and segments: reused + computed.
        question_tokens: tokens of the question and what follows it.
        answer_tokens: tokens of the answer.
        first_token_seconds: from the prompt's ids to the first token, loading included.

    What was reused and computed and how long it took are None where a row is another owner's.
    """

    text: str
    form: str
    model: str
    memory_ids: tuple[UUID, ...]
    tokens: int
    reused_tokens: int | None
    computed_tokens: int | None
    question_tokens: int
    answer_tokens: int
    first_token_seconds: float | None
    seconds: float | None


@dataclass(frozen=True)
class PromptTrace:
    """What happened to one prompt.

    Args:
        brought: how it came into the model's cache; None where no model ran.
    """

    prepared: Prepared
    brought: Brought | None = None
    answered: Answered | None = None
    store_seconds: float = 0.0


@dataclass(frozen=True)
class CutTrace:
    """What a limit in tokens left."""

    limit: int
    rows: int
    tokens: int
    model: str


@dataclass
class Trace:
    """What happened while a plan, or a part of one, ran.

    Args:
        relation_rows: rows of the relation, with generate those in all groups; None where it could
            not run, because it reads answers that EXPLAIN does not make.
        parts: of the parts that ran before, by their table.
        spec: the model, where one is asked.
        explains: whether it is for EXPLAIN, which asks why reuse ends where it does.
    """

    relation_rows: int | None = 0
    relation_seconds: float = 0.0
    prompts: list[PromptTrace] = field(default_factory=list)
    parts: dict[str, Trace | CutTrace] = field(default_factory=dict)
    spec: ModelSpec | None = None
    explains: bool = False
