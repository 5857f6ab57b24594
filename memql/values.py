"""Results that are not tables: answers, prompts and activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from transformers import DynamicCache

    from memql.engine.model.prefix import Prefix
    from memql.engine.run.executor import Materialized
    from memql.engine.run.trace import Answered

    # Loads an activation into a fresh prefix with room for so many tokens.
    Load = Callable[[int], Prefix]


class Answer(str):
    """What a model answered: a text that knows where it came from.

    Attributes:
        memory_ids: the memories that the model read, in prompt order.
        form: PLAINTEXT or ACTIVATION.
        model: the model's name.
        tokens: tokens of head and memories: reused_tokens + computed_tokens.
        reused_tokens: tokens whose KV was loaded.
        computed_tokens: tokens that went through the model.
        question_tokens: tokens of the question.
        answer_tokens: tokens of the answer.
        first_token_seconds: from the rows to the answer's first token.
        seconds: from the rows to the whole answer.

    Reused and computed tokens and seconds are None where the model read another owner's memory:
    they would tell what others have asked.
    """

    memory_ids: tuple[UUID, ...]
    form: str
    model: str
    tokens: int
    reused_tokens: int | None
    computed_tokens: int | None
    question_tokens: int
    answer_tokens: int
    first_token_seconds: float | None
    seconds: float | None

    @classmethod
    def of(cls, answered: Answered) -> Answer:
        """Return the answer that the engine gave."""
        answer = cls(answered.text)
        for name in cls.__annotations__:
            setattr(answer, name, getattr(answered, name))
        return answer


class Prompt:
    """Memories as text, ready for any model.

    Attributes:
        text: the prompt up to where the question belongs.
        rows: the rendered rows, in prompt order.
        memory_ids: the memories, in prompt order.
        tokens: tokens of the text for ``model``.
    """

    def __init__(self, made: Materialized) -> None:
        self.id = made.id
        self.text = made.text
        self.rows = made.rows
        self.memory_ids = made.memory_ids
        self.tokens = made.tokens
        self.model = made.model

    def messages(self, question: str) -> list[dict[str, str]]:
        """Return the prompt and a question in the OpenAI chat format.

        The memories come first and unchanged, which is what a provider's prompt cache rewards.
        """
        return [{"role": "system", "content": self.text}, {"role": "user", "content": question}]

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Prompt of {len(self.rows)} rows, {self.tokens} tokens>"


class Activation:
    """Memories as a KV cache of one model.

    Attributes:
        id: the boundary that names it in the store; stays the same for the same rows.
        token_ids: the token ids that it holds, in order.
        memory_ids: the memories, in prompt order.
        tokens, reused_tokens, computed_tokens: tokens in all, loaded, and computed just now.
        bytes: size of its K and V.

    What was reused and computed, and the bytes, are None where a memory is another owner's.
    """

    def __init__(self, made: Materialized, load: Load) -> None:
        self.id = made.id
        self.model = made.model
        self.token_ids = made.token_ids
        self.memory_ids = made.memory_ids
        self.tokens = made.tokens
        self.reused_tokens = made.reused_tokens
        self.computed_tokens = made.computed_tokens
        self.bytes = made.bytes
        self._made = made
        self._load = load

    def to_cache(self) -> DynamicCache:
        """Return a fresh transformers cache that holds these tokens.

        It is yours: whatever a model does to it changes nothing in the store. Feed it only what
        follows ``token_ids``, or the full ids with a full mask.
        """
        return self._load(0).to_cache()

    def generate(self, question: str, *, max_tokens: int = 64) -> str:
        """Answer a question from these memories, as ``generate`` does in a query.

        Args:
            question: what to ask.
            max_tokens: the longest answer, in tokens.
        """
        from memql.engine.model.decoding import Decoding
        from memql.engine.model.runtime import load_runtime

        runtime = load_runtime(self._made.spec)
        tail = runtime.tokens.tail(question)
        prefix = self._load(len(tail) + max_tokens)
        return runtime.generate(prefix, tail, Decoding(max_tokens)).text

    def __repr__(self) -> str:
        return f"<Activation {self.id[:12]} of {self.tokens} tokens for {self.model}>"


def value_of(found: Any, load: Callable[[Materialized, int], Prefix]) -> Any:
    """Return the connector's value for one of the engine's."""
    from memql.engine.run.trace import Answered

    if found is None:
        return None
    if isinstance(found, Answered):
        return Answer.of(found)
    if found.form == "PLAINTEXT":
        return Prompt(found)
    return Activation(found, lambda room_tokens: load(found, room_tokens))
