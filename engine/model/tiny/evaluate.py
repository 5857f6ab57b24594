"""Measure recall: ``python -m memql.engine.model.tiny.evaluate``.

Every question stands alone with its own context and is answered by greedy decoding. Made-up words
are from the side of the hold-out rule that training never saw. An answer counts only if it is the
memory's whole sentence, letter for letter.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from memql.engine.model.tiny.corpus import Fact, make_context, with_noise
from memql.engine.model.tiny.packing import Packer

WEIGHTS = Path(__file__).parent / "weights"
# Longer than the longest statement of the corpus.
_ANSWER_TOKENS = 40
_BATCH = 50


@dataclass(frozen=True)
class Question:
    """One question with its context.

    Args:
        lines: the context: facts and other memories, in order.
        asked: the fact that is asked for.
        grid: whether the context is a grid of few names and relations (the hard kind).
    """

    lines: tuple[Fact | str, ...]
    asked: Fact
    grid: bool


@dataclass(frozen=True)
class Outcome:
    """A question and what the model said."""

    question: Question
    answer: str

    @property
    def exact(self) -> bool:
        """Whether the answer is the memory's sentence."""
        return self.answer == f" {self.question.asked.statement}"

    @property
    def error(self) -> str:
        """Return what kind of error the answer is, for the table of errors."""
        asked = self.question.asked
        key = asked.statement[: asked.statement.rindex(asked.value)]
        if not self.answer.startswith(f" {key}"):
            return "another key"
        said = self.answer[1 + len(key) :].rstrip(".")
        for fact in self.question.lines:
            if isinstance(fact, Fact) and fact.value == said:
                return "same relation" if fact.relation == asked.relation else "other relation"
        return "a word of no memory"


def make_questions(
    count: int, facts: int, seed: int, noise: int = 0, new_names: bool = False
) -> list[Question]:
    """Return `count` questions over contexts of `facts` facts, half of them grids.

    Args:
        count: questions, each with a context of its own.
        facts: facts of a context.
        seed: the same seed gives the same questions.
        noise: memories beside the facts that no question asks for.
        new_names: whether half of the people have made-up names.
    """
    rng = random.Random(f"{seed}/{facts}")
    questions = []
    for number in range(count):
        grid = number % 2 == 0
        context = make_context(
            rng, facts, float(grid), 0.5, held_out=True, new_name_share=float(new_names)
        )
        lines = with_noise(rng, context, noise, held_out=True)
        questions.append(Question(tuple(lines), rng.choice(context), grid))
    return questions


def load(folder: Path) -> tuple[LlamaForCausalLM, Tokenizer]:
    """Return the model as float32, as the database runs it, and its tokenizer."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.train(False)
    return model, Tokenizer.from_file(str(folder / "tokenizer.json"))


def answer_questions(
    model: LlamaForCausalLM, tokenizer: Tokenizer, questions: Sequence[Question]
) -> list[Outcome]:
    """Answer each question by greedy decoding, in batches padded on the left."""
    packer = Packer(tokenizer)
    eos, pad = tokenizer.token_to_id("<eos>"), tokenizer.token_to_id("<pad>")
    outcomes: list[Outcome] = []
    for start in range(0, len(questions), _BATCH):
        batch = questions[start : start + _BATCH]
        prompts = [
            packer.prompt(
                [line if isinstance(line, str) else line.statement for line in question.lines],
                question.asked.question,
            )
            for question in batch
        ]
        longest = max(map(len, prompts))
        ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts])
        seen = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        with torch.no_grad():
            replies = model.generate(  # type: ignore[misc]
                input_ids=ids,
                attention_mask=seen,
                do_sample=False,
                max_new_tokens=_ANSWER_TOKENS,
                eos_token_id=eos,
                pad_token_id=pad,
            )
        for question, reply in zip(batch, replies[:, longest:].tolist(), strict=True):
            words = reply[: reply.index(eos)] if eos in reply else reply
            outcomes.append(Outcome(question, tokenizer.decode(words, skip_special_tokens=False)))
    return outcomes


def exact_share(outcomes: Sequence[Outcome]) -> float:
    """Return the share of exact answers (nan for none)."""
    return sum(o.exact for o in outcomes) / len(outcomes) if outcomes else float("nan")


def report(outcomes: Sequence[Outcome], facts: int, seed: int, seconds: float) -> str:
    """Return the figures of one context length as a line, and its errors by kind."""
    asked = [(o, o.question) for o in outcomes]
    parts = {
        "exact": list(outcomes),
        "known": [o for o, q in asked if q.asked.known],
        "made-up": [o for o, q in asked if not q.asked.known],
        "grid": [o for o, q in asked if q.grid],
        "loose": [o for o, q in asked if not q.grid],
    }
    kinds: dict[str, int] = {}
    for outcome in outcomes:
        if not outcome.exact:
            kinds[outcome.error] = kinds.get(outcome.error, 0) + 1
    errors = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items())) or "none"
    figures = "  ".join(f"{name} {exact_share(part):.3f}" for name, part in parts.items())
    return (
        f"facts {facts}  questions {len(outcomes)}  seed {seed}  {figures}  "
        f"seconds {seconds:.1f}\n  errors: {errors}"
    )


def main() -> None:
    """Read the command line, ask and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=WEIGHTS)
    parser.add_argument("--count", type=int, default=1000, help="questions for each length")
    parser.add_argument("--facts", type=int, nargs="+", default=[4, 12])
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--noise", type=int, default=0, help="memories that nothing asks for")
    parser.add_argument("--new-names", action="store_true", help="half of the names are made up")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="wrong answers to print")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, tokenizer = load(options.folder)
    for facts in options.facts:
        began = time.monotonic()
        questions = make_questions(
            options.count, facts, options.seed, options.noise, options.new_names
        )
        outcomes = answer_questions(model, tokenizer, questions)
        print(report(outcomes, facts, options.seed, time.monotonic() - began), flush=True)
        wrong = [outcome for outcome in outcomes if not outcome.exact]
        for outcome in wrong[: options.show]:
            print(f"  wanted {outcome.question.asked.statement!r} got {outcome.answer!r}")


if __name__ == "__main__":
    main()
