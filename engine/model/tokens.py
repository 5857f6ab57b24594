"""Texts to token ids: head, segments and tail, each part tokenized alone."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from memql.engine.model.folder import file_digest
from memql.engine.model.spec import ModelSpec
from memql.engine.model.vocabulary import ControlToken, read_vocabulary
from memql.errors import DataError, OperationalError


class Tokens:
    """The tokenizer of one model, with its template around it.

    Memories and questions are plain text: what looks like a special token in them is spelled out.
    Only the template writes special tokens. A segment has the same ids wherever it stands.

    Args:
        spec: the model.

    Raises:
        OperationalError: tokenizer.json cannot be used, or is not the one that `spec` describes.
    """

    def __init__(self, spec: ModelSpec) -> None:
        vocabulary = read_vocabulary(spec.folder)
        if vocabulary.digest != spec.tokenizer_digest:
            raise OperationalError(
                f"the tokenizer of model {spec.name} in {spec.folder} changed on disk",
                hint="open the store again, so that the model is described anew",
            )
        self._spec = spec
        path = vocabulary.path
        self._encoder, self._decoder = _tokenizers(path, file_digest(path), vocabulary.control)
        self._control = {token.text: token for token in vocabulary.control}
        self._control_ids = frozenset(token.id for token in vocabulary.control)
        longest_first = sorted(self._control, key=lambda text: (-len(text), text))
        self._marks = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")")
        bos = [] if spec.bos_id is None else [spec.bos_id]
        self.head: list[int] = [*bos, *self._encode_template(spec.template.head, None)]

    def segment_text(self, row: str) -> str:
        """Return the text of one row's segment; a row that leaves nothing is an empty line."""
        return self._spec.template.render_segment(row) or "\n"

    def segments(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each row's segment, at least one for each.

        Args:
            texts: rendered rows, without the template around them.

        Raises:
            DataError: the tokenizer has no token for a row.
        """
        rendered = [self.segment_text(text) for text in texts]
        batch = self._encoder.encode_batch(rendered, add_special_tokens=False)
        segments = [
            self._spelled_out(text, encoding.ids, encoding.offsets)
            for text, encoding in zip(rendered, batch, strict=True)
        ]
        for text, ids in zip(texts, segments, strict=True):
            if not ids:
                raise DataError(
                    f"the tokenizer of model {self._spec.name} has no token for {text!r}",
                    hint="give the model a template whose segment has words around {row}",
                    code="22021",
                )
        return segments

    def tail(self, question: str) -> list[int]:
        """Return the ids after the last segment: the question and what the template puts around."""
        return self._encode_template(self._spec.template.tail, question)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`, without special tokens."""
        return str(self._decoder.decode(list(ids), skip_special_tokens=True))

    def _encode_template(self, part: str, question: str | None) -> list[int]:
        """Return the ids of a template's text: its control tokens are such, a question's are not.

        A run of text between two control tokens is encoded whole, with the question in it, because
        that is how models see it in training ("Question: Who" is not "Question: " and "Who").
        """
        runs = self._marks.split(part) if self._control else [part]
        ids: list[int] = []
        for number, run in enumerate(runs):
            if number % 2:
                ids.append(self._control[run].id)
                continue
            text = run
            if number > 0 and self._control[runs[number - 1]].strips_right:
                text = text.lstrip()
            if number + 1 < len(runs) and self._control[runs[number + 1]].strips_left:
                text = text.rstrip()
            if question is not None:
                text = text.replace("{question}", question)
            ids.extend(self._encode(text))
        return ids

    def _encode(self, text: str) -> list[int]:
        if not text:
            return []
        encoding = self._encoder.encode(text, add_special_tokens=False)
        return self._spelled_out(text, encoding.ids, encoding.offsets)

    def _spelled_out(self, text: str, ids: list[int], offsets: list[tuple[int, int]]) -> list[int]:
        """Return `ids`, encoded anew in two halves where the vocabulary held a look-alike whole.

        SentencePiece vocabularies list ``</s>`` among their pieces, so a text that holds it can get
        its id although special tokens are not looked for.
        """
        if self._control_ids.isdisjoint(ids):
            return ids
        start, end = next(
            place for token, place in zip(ids, offsets, strict=True) if token in self._control_ids
        )
        if end - start < 2:
            raise DataError(
                f"model {self._spec.name} has no way to write {text[start:end]!r} as plain text",
                hint="leave the character out of memories and questions for this model",
                code="22021",
            )
        middle = (start + end) // 2
        return self._encode(text[:middle]) + self._encode(text[middle:])


@lru_cache(maxsize=16)
def _tokenizers(
    path: Path, digest: bytes, control: tuple[ControlToken, ...]
) -> tuple[Tokenizer, Tokenizer]:
    """Return the tokenizer for texts and the one for answers, which may be the same."""
    content = json.loads(path.read_text(encoding="utf-8"))
    names = {token.text for token in control}
    marked = False
    try:
        decoder = Tokenizer.from_str(json.dumps(content))
        for entry in content.get("added_tokens") or []:
            if entry["content"] in names and not entry["special"]:
                entry["special"] = marked = True
        # An answer shows what only steers the model (<think>), a text must not be able to write it.
        encoder = Tokenizer.from_str(json.dumps(content)) if marked else decoder
    except Exception as error:  # the package raises plain Exception
        raise OperationalError(
            f"{path} cannot be used as a tokenizer: {error}",
            hint="save the tokenizer again with transformers' save_pretrained",
        ) from error
    encoder.no_padding()
    encoder.no_truncation()
    encoder.encode_special_tokens = True
    return encoder, decoder
