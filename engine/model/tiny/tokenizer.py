"""Train `tiny`'s tokenizer: ``python -m memql.engine.model.tiny.tokenizer FOLDER``.

Byte-level BPE, so that every text has token ids. Names and the words of the relations get a token
each: a name of one token is far easier to match than one of three.
"""

from __future__ import annotations

import importlib
import inspect
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from memql.engine.model.template import PLAIN
from memql.engine.model.tiny.corpus import make_context
from memql.engine.model.tiny.english import COMMON_WORDS, SENTENCES
from memql.engine.model.tiny.vocabulary import NAMES, RELATIONS

# Enough for more than three characters a token on ordinary English; at width 192 the embedding
# still takes less than 2 MB as float16.
VOCABULARY_TOKENS = 4096
BOS, EOS, PAD = "<bos>", "<eos>", "<pad>"

# Modules whose documentation is mostly prose; a fixed list, so that every run reads the same.
_MODULES = (
    "argparse", "asyncio", "collections", "concurrent.futures", "contextlib", "csv", "dataclasses",
    "datetime", "decimal", "difflib", "doctest", "email", "enum", "fractions", "functools",
    "heapq", "http.client", "inspect", "io", "itertools", "json", "logging", "os", "pathlib",
    "pickle", "random", "re", "shutil", "sqlite3", "statistics", "string", "subprocess",
    "tempfile", "textwrap", "threading", "typing", "unittest", "urllib.request", "zipfile",
)  # fmt: skip


def frame_words() -> list[str]:
    """Return the words of all statements and questions without names and values, sorted."""
    words: set[str] = set()
    for relation in RELATIONS:
        for text in (relation.statement, *relation.questions):
            plain = text.format(n="", v="").replace("'s", " ").strip(".?")
            words.update(plain.split())
    return sorted(words)


def _docstrings() -> Iterator[str]:
    for key in sorted(topics):
        yield topics[key]
    for name in _MODULES:
        module = importlib.import_module(name)
        yield inspect.getdoc(module) or ""
        for attribute in sorted(vars(module)):
            yield inspect.getdoc(getattr(module, attribute)) or ""


def _texts() -> Iterator[str]:
    # Each name and frame word stands so often that its whole word is merged before rarer English.
    for word in [*NAMES, *frame_words()]:
        yield f" {word}" * 400
    for relation in RELATIONS:
        for value in sorted(relation.values):
            yield f" {value}" * 100
    for word in COMMON_WORDS:
        yield f" {word}" * 100
    rng = random.Random(1)
    for _ in range(400):
        for fact in make_context(rng, 8, made_up_share=0.5):
            yield PLAIN.render_segment(fact.statement)
            yield PLAIN.render_tail(fact.question)
    for _ in range(40):
        yield from SENTENCES
    yield from _docstrings()


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer, trained anew; the same on every run of one Python version."""
    tokenizer = Tokenizer(models.BPE())
    # Digits stand alone, so that numbers are copied digit by digit and need no tokens of their own.
    # No space is put before a text: " Emma" is one token after "-" and after "Answer:" alike.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_TOKENS,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
        model_max_length=32768,
        padding_side="left",
        # Text of a memory must never become a special token: "<eos>" is five characters.
        split_special_tokens=True,
    )


def main() -> None:
    """Train the tokenizer and save it to the folder named on the command line."""
    folder = Path(sys.argv[1])
    tokenizer = train_tokenizer()
    split = [w for w in [*NAMES, *frame_words()] if len(tokenizer.encode(f" {w}")) != 1]
    tokenizer.save_pretrained(folder)
    print(f"{len(tokenizer)} tokens in {folder}; names and words of several tokens: {split}")


if __name__ == "__main__":
    main()
