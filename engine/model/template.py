"""How memories and a question become one prompt: head, segments, tail."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Template:
    """The text around the memories of a prompt.

    A prompt is head + one segment for each row + tail. Each part is tokenized alone, so that a
    segment has the same token ids wherever it stands, as text or inside an activation.

    Args:
        head: text before the first segment (the model's BOS id is put before it).
        segment: text of one row; ``{row}`` stands for the rendered row.
        tail: text after the last segment; ``{question}`` stands for the question.
    """

    head: str
    segment: str
    tail: str

    def render_segment(self, row: str) -> str:
        """Return the text of one row's segment.

        >>> PLAIN.render_segment("Alice has a cat.")
        '- Alice has a cat.\\n'
        """
        return self.segment.replace("{row}", row)

    def render_tail(self, question: str) -> str:
        """Return the text after the memories.

        >>> PLAIN.render_tail("Who has a cat?")
        'Question: Who has a cat?\\nAnswer:'
        """
        return self.tail.replace("{question}", question)


PLAIN = Template(
    head="Memories:\n",
    segment="- {row}\n",
    tail="Question: {question}\nAnswer:",
)
