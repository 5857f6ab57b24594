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

_SHOWN_LINES = 40  # of a prompt, in a terminal or a notebook


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

    >>> import memql
    >>> con = memql.connect()
    >>> _ = con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
    >>> query = "SELECT generate('Where does Alice live?') FROM memories"
    >>> (answer,) = con.execute(query).fetchone()
    >>> answer, answer.form, answer.tokens == answer.reused_tokens + answer.computed_tokens
    ('Alice lives in Lisbon.', 'PLAINTEXT', True)
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

    @property
    def taken(self) -> str:
        """What the answer took, in words.

        >>> import memql
        >>> con = memql.connect()
        >>> _ = con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
        >>> query = "SELECT generate('Where does Alice live?') FROM memories"
        >>> con.execute(query).fetchone()[0].taken.partition(";")[0]
        'PLAINTEXT for tiny: 14 tokens = 0 reused + 14 computed'
        """
        whole = f"{self.form} for {self.model}: {self.tokens:,} tokens"
        if self.reused_tokens is None or self.first_token_seconds is None:
            return f"{whole}; what was reused is not told where a memory is another owner's"
        return (
            f"{whole} = {self.reused_tokens:,} reused + {self.computed_tokens:,} computed; "
            f"first token after {self.first_token_seconds * 1000:.1f} ms"
        )

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # IPython's own form of repr; elsewhere an answer stands in rows, as a text does.
        from memql.cli.values import printable

        printer.text(f"{printable(self)}\n({self.taken})")

    def _repr_html_(self) -> str:
        from memql import html

        bar = html.reuse(self.reused_tokens, self.computed_tokens)
        return html.preformatted(self) + bar + html.note(self.taken)


class Prompt:
    """Memories as text, ready for any model.

    Attributes:
        id: of this materialization.
        text: the prompt up to where the question belongs.
        rows: the rendered rows, in prompt order.
        memory_ids: the memories, in prompt order.
        tokens: tokens of the text for ``model``.
        model: the name of the model whose prompt it is.

    >>> import memql
    >>> con = memql.connect()
    >>> _ = con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
    >>> query = "SELECT content FROM memories MATERIALIZE AS PLAINTEXT"
    >>> con.execute(query).fetchone()[0]
    <Prompt of 1 row, 14 tokens for tiny>
    """

    def __init__(self, made: Materialized) -> None:
        self.id = made.id
        self.text = made.text
        self.rows = made.rows
        self.memory_ids = made.memory_ids
        self.tokens = made.tokens
        self.model = made.model

    def messages(self, question: str | None = None) -> list[dict[str, str]]:
        """Return the prompt, and a question, in the OpenAI chat format.

        The memories come first and unchanged, which is what a provider's prompt cache rewards.

        Args:
            question: what to ask; None leaves it to whoever adds messages.

        >>> import memql
        >>> con = memql.connect()
        >>> _ = con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
        >>> (prompt, *_) = con.execute("FROM memories MATERIALIZE AS PLAINTEXT").fetchone()
        >>> [message["role"] for message in prompt.messages("Where does Alice live?")]
        ['system', 'user']
        """
        messages = [{"role": "system", "content": self.text}]
        if question is not None:
            messages.append({"role": "user", "content": question})
        return messages

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        rows = f"{len(self.rows):,} row{'' if len(self.rows) == 1 else 's'}"
        return f"<Prompt of {rows}, {self.tokens:,} tokens for {self.model}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        from memql.cli.values import printable

        printer.text(f"{self!r}\n{printable(self._shown())}")

    def _repr_html_(self) -> str:
        from memql import html

        return html.note(repr(self)[1:-1]) + html.preformatted(self._shown())

    def _shown(self) -> str:
        lines = self.text.splitlines()
        if len(lines) <= _SHOWN_LINES:
            return self.text.rstrip("\n")
        cut = len(lines) - _SHOWN_LINES
        return "\n".join([*lines[:_SHOWN_LINES], f"... {cut:,} more lines; .text has them all"])


class Activation:
    """Memories as a KV cache of one model.

    Attributes:
        id: the boundary that names it in the store; stays the same for the same rows.
        model: the name of the model whose cache it is.
        token_ids: the token ids that it holds, in order.
        memory_ids: the memories, in prompt order.
        tokens, reused_tokens, computed_tokens: tokens in all, loaded, and computed just now.
        bytes: size of its K and V.

    What was reused and computed, and the bytes, are None where a memory is another owner's.

    >>> import memql
    >>> con = memql.connect()
    >>> _ = con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
    >>> (activation, *_) = con.execute("FROM memories MATERIALIZE AS ACTIVATION").fetchone()
    >>> activation.tokens == len(activation.token_ids), activation.bytes
    (True, 53760)
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

        Each layer's keys and values are ``[1, kv_heads, tokens, head_dim]`` in the model's dtype.
        It is yours: whatever a model does to it changes nothing in the store. Feed it only what
        follows ``token_ids``, or the full ids with a full mask.

        Raises:
            InterfaceError: the connection that made it is closed.

        >>> import memql
        >>> con = memql.connect()
        >>> _ = con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
        >>> (activation, *_) = con.execute("FROM memories MATERIALIZE AS ACTIVATION").fetchone()
        >>> activation.to_cache().get_seq_length() == activation.tokens
        True
        """
        return self._load(0).to_cache()

    def generate(self, question: str, *, max_tokens: int = 64) -> str:
        """Answer a question from these memories, as ``generate`` does in a query.

        Args:
            question: what to ask.
            max_tokens: the longest answer, in tokens.

        Raises:
            InterfaceError: the connection that made it is closed.
            DataError: the answer would not fit the model's context.

        >>> import memql
        >>> con = memql.connect()
        >>> _ = con.execute("INSERT INTO memories (content) VALUES ('Alice lives in Lisbon.')")
        >>> (activation, *_) = con.execute("FROM memories MATERIALIZE AS ACTIVATION").fetchone()
        >>> activation.generate("Where does Alice live?")
        'Alice lives in Lisbon.'
        """
        from memql.engine.model.decoding import Decoding
        from memql.engine.model.runtime import load_runtime

        runtime = load_runtime(self._made.spec)
        tail = runtime.tokens.tail(question)
        prefix = self._load(len(tail) + max_tokens)
        return runtime.generate(prefix, tail, Decoding(max_tokens)).text

    def __repr__(self) -> str:
        return f"<Activation {self.id[:12]} of {self.tokens:,} tokens for {self.model}>"

    def _repr_html_(self) -> str:
        from memql import html

        pairs: list[tuple[str, Any]] = [
            ("activation", self.id[:12]),
            ("model", self.model),
            ("memories", len(self.memory_ids)),
            ("tokens", f"{self.tokens:,}"),
        ]
        if self.reused_tokens is not None:
            pairs += [
                ("reused", f"{self.reused_tokens:,}"),
                ("computed", f"{self.computed_tokens:,}"),
                ("bytes", f"{self.bytes:,}"),
            ]
        return html.record(pairs) + html.reuse(self.reused_tokens, self.computed_tokens)


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
