"""Pack contexts with all their questions into one batch, and read exact answers off the logits.

One row of the batch is a context followed by its questions. A block mask lets every question see
the context and itself only, and its positions start again right after the context: each question
stands exactly as it would alone, but the context is computed once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from tokenizers import Tokenizer
from torch import Tensor

from memql.engine.model.template import PLAIN
from memql.engine.model.tiny.corpus import Fact

# The value is what has to be learned; the key before it is a plain copy of the question's words.
_KEY_WEIGHT, _VALUE_WEIGHT = 0.2, 1.0


@dataclass(frozen=True)
class Packed:
    """One batch.

    Args:
        input_ids: ``[rows, tokens]``.
        position_ids: ``[rows, tokens]``.
        mask: ``[rows, 1, tokens, tokens]`` bool, true where a token may look.
        where: ``[answer tokens]`` flat indices of the tokens that predict an answer's token.
        targets: ``[answer tokens]`` the tokens to predict.
        weights: ``[answer tokens]`` share of each in the loss.
        answer: ``[answer tokens]`` number of the answer that a token belongs to.
        known: for each answer, whether its value is a known word.
    """

    input_ids: Tensor
    position_ids: Tensor
    mask: Tensor
    where: Tensor
    targets: Tensor
    weights: Tensor
    answer: Tensor
    known: tuple[bool, ...]


class Packer:
    """Turn facts into batches with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        bos, eos = tokenizer.token_to_id("<bos>"), tokenizer.token_to_id("<eos>")
        assert bos is not None and eos is not None, "not the tokenizer of tiny"
        self._bos, self._eos = bos, eos
        self.ids = lru_cache(maxsize=200_000)(self._ids)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def prefix(self, statements: Sequence[str]) -> list[list[int]]:
        """Return the ids of head and segments, each tokenized alone."""
        parts = [[self._bos, *self.ids(PLAIN.head)]]
        parts.extend(list(self.ids(PLAIN.render_segment(statement))) for statement in statements)
        return parts

    def prompt(self, statements: Sequence[str], question: str) -> list[int]:
        """Return the ids of a whole prompt, up to where the answer starts."""
        ids = [token for part in self.prefix(statements) for token in part]
        return [*ids, *self.ids(PLAIN.render_tail(question))]

    def pack(
        self,
        contexts: Sequence[Sequence[Fact | str]],
        rng: random.Random,
        questions: int,
        gap_share: float = 0.0,
        gap_tokens: int = 0,
    ) -> Packed:
        """Return the batch of `contexts`, each with at most `questions` of its questions.

        Args:
            contexts: facts and other memories, in context order.
            rng: chooses the questions and the gaps.
            questions: most questions of one context.
            gap_share: share of contexts with random gaps in the positions between segments, which
                stand for longer contexts.
            gap_tokens: most positions that all gaps of a context skip together.
        """
        rows = [
            self._row(
                lines, rng, questions, rng.randint(1, gap_tokens) if rng.random() < gap_share else 0
            )
            for lines in contexts
        ]
        longest = max(len(row.ids) for row in rows)
        longest = -(-longest // 16) * 16  # few different shapes
        input_ids = torch.zeros(len(rows), longest, dtype=torch.long)
        position_ids = torch.zeros(len(rows), longest, dtype=torch.long)
        block = torch.full((len(rows), longest), -1, dtype=torch.long)
        where: list[int] = []
        targets: list[int] = []
        weights: list[float] = []
        answer: list[int] = []
        known: list[bool] = []
        for index, row in enumerate(rows):
            size = len(row.ids)
            input_ids[index, :size] = torch.tensor(row.ids)
            position_ids[index, :size] = torch.tensor(row.positions)
            block[index, :size] = torch.tensor(row.blocks)
            where.extend(index * longest + place for place in row.where)
            targets.extend(row.targets)
            weights.extend(row.weights)
            answer.extend(len(known) + number for number in row.answer)
            known.extend(row.known)
        same = block[:, :, None] == block[:, None, :]
        context = (block == 0)[:, None, :] & (block >= 0)[:, :, None]
        causal = torch.ones(longest, longest, dtype=torch.bool).tril()
        # Padding sees itself (block -1), so that no row of the softmax is empty.
        mask = ((same | context) & causal)[:, None]
        return Packed(
            input_ids=input_ids,
            position_ids=position_ids,
            mask=mask,
            where=torch.tensor(where),
            targets=torch.tensor(targets),
            weights=torch.tensor(weights),
            answer=torch.tensor(answer),
            known=tuple(known),
        )

    def _row(
        self, lines: Sequence[Fact | str], rng: random.Random, questions: int, gap_tokens: int
    ) -> _Row:
        row = _Row([], [], [], [], [], [], [], [])
        cuts = sorted(rng.randint(0, gap_tokens) for _ in lines) if gap_tokens else [0] * len(lines)
        parts = self.prefix([line if isinstance(line, str) else line.statement for line in lines])
        facts = [line for line in lines if isinstance(line, Fact)]
        for part, skipped in zip(parts, [0, *cuts], strict=True):
            start = len(row.ids) + skipped
            row.positions.extend(range(start, start + len(part)))
            row.ids.extend(part)
            row.blocks.extend([0] * len(part))
        end = row.positions[-1] + 1
        asked = rng.sample(facts, min(questions, len(facts)))
        for number, fact in enumerate(asked):
            tail = self.ids(PLAIN.render_tail(fact.question))
            reply = (*self.ids(f" {fact.statement}"), self._eos)
            # The key is what stands before the value in the statement.
            key = len(self.ids(f" {fact.statement[: fact.statement.rindex(fact.value)].rstrip()}"))
            first = len(row.ids) + len(tail) - 1
            row.where.extend(range(first, first + len(reply)))
            row.targets.extend(reply)
            row.weights.extend(
                _KEY_WEIGHT if place < key else _VALUE_WEIGHT for place in range(len(reply))
            )
            row.answer.extend([number] * len(reply))
            row.known.append(fact.known)
            # The end token predicts nothing, so it need not go in.
            row.ids.extend((*tail, *reply[:-1]))
            size = len(tail) + len(reply) - 1
            row.positions.extend(range(end, end + size))
            row.blocks.extend([number + 1] * size)
        return row


@dataclass(frozen=True)
class _Row:
    ids: list[int]
    positions: list[int]
    blocks: list[int]
    where: list[int]
    targets: list[int]
    weights: list[float]
    answer: list[int]
    known: list[bool]


def exact_answers(logits: Tensor, packed: Packed) -> Tensor:
    """Return which answers greedy decoding would give exactly.

    Decoding goes on with the right tokens as long as each most likely token is the right one, so
    an answer is exact if and only if all of its tokens are the most likely ones here.

    Args:
        logits: ``[answer tokens, vocabulary]`` at ``packed.where``.
        packed: the batch.

    Returns:
        ``[answers]`` bool.
    """
    right = (logits.argmax(-1) == packed.targets).long()
    exact = torch.ones(len(packed.known), dtype=torch.long)
    return exact.scatter_reduce(0, packed.answer, right, "amin").bool()
