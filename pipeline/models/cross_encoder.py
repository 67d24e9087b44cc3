"""A cross-encoder: a GGUF with a rank head, which reads question and passage together.

The file's template `rerank` formats the pair; without one it follows the model family's training: question and passage
with the vocabulary's own marks between and around them. Questions and passages are plain text: control tokens in them
are not parsed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import ModelError
from pipeline.gguf.header import tensor_places
from pipeline.models.embedding_tokens import LlamaTokens, Tokenizer, tokenizer_of
from pipeline.models.encoder import Encoder, longest_text
from pipeline.models.llama import library

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.contracts import Progress
    from pipeline.models.weights import Vocabulary

_TEMPLATE = "tokenizer.chat_template.rerank"
_PLACES = re.compile(r"(\{query\}|\{document\})")
_YES = ("yes", "relevant", "true")
_BATCH = 256
"""Pairs between two reports of progress."""


class CrossEncoder:
    """A loaded rank head; `window` is the token limit of a pair. Concurrent calls wait for one another."""

    def __init__(self, path: Path) -> None:
        """Raises ModelError for a file without a rank head, and for one that llama.cpp cannot load."""
        tensors = tensor_places(path)
        if not any(name.startswith("cls.") for name in tensors):
            raise ModelError(
                f"{path} has no rank head (no tensor cls), so it is no reranker. An instruct model ranks by "
                "rerank.yes_no, and an embedder goes into index.embedder"
            )
        self._encoder = Encoder(path, "ranks")
        weights = self._encoder.weights
        self.name = path.name
        self.window = longest_text(self._encoder.n_ctx_trained, weights.n_vocab)
        self._tokenizer = tokenizer_of(weights)
        self._template = weights.metadata.get(_TEMPLATE, "")
        self._between = _between(weights, self._tokenizer)
        self._output = self._yes()
        types = tensors.get("token_types.weight")
        self.has_two_types = types is not None and types.shape[0] > 1
        """Whether it was trained to tell the passage by a token type of its own, which llama.cpp does not set."""

    def rank(self, question: str, passages: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Scores each passage as an answer to the question, float32 (n_passages,): higher is better.

        A passage that does not fit the window is read in pieces, and its best piece counts. Raises ModelError for a
        question longer than half of the window.
        """
        n_question = len(self._pair(question, ""))
        if n_question > self.window // 2:
            raise ModelError(
                f"{self.name}: the question takes {n_question} of {self.window} tokens, which leaves too little room "
                "for a passage: ask shorter"
            )
        pieces = [self._pairs(question, passage) for passage in passages]
        pairs = list(dict.fromkeys(pair for of_one in pieces for pair in of_one))  # equal ones get equal scores
        scores: dict[tuple[int, ...], float] = {}
        for start in range(0, len(pairs), _BATCH):
            part = pairs[start : start + _BATCH]
            scores.update(zip(part, self._encoder.ranks(part)[:, self._output].tolist(), strict=True))
            if progress is not None:
                progress("rank passages", len(scores), len(pairs))
        return np.array([max(scores[pair] for pair in of_one) for of_one in pieces], np.float32)

    def close(self) -> None:
        self._encoder.close()

    def _pairs(self, question: str, passage: str) -> list[tuple[int, ...]]:
        """The passage with the question, or its halves where it is too long."""
        pair = self._pair(question, passage)
        if len(pair) <= self.window or len(passage) < 2:
            return [pair]
        half = len(passage) // 2
        return [*self._pairs(question, passage[:half]), *self._pairs(question, passage[half:])]

    def _pair(self, question: str, passage: str) -> tuple[int, ...]:
        if self._template:
            return self._by_template({"{query}": question, "{document}": passage})
        first, second = self._tokenizer.ids([question, passage])
        return (*self._tokenizer.head, *first, *self._between, *second, *self._tokenizer.tail)

    def _by_template(self, texts: dict[str, str]) -> tuple[int, ...]:
        """Control tokens are read in the template's own text alone."""
        tokenizer = self._tokenizer
        ids: list[int] = []
        for part in _PLACES.split(self._template):
            if part in texts:
                ids += tokenizer.ids([texts[part]])[0]
            elif isinstance(tokenizer, LlamaTokens):
                ids += tokenizer.tokenize(part, parse_special=True)
            else:
                ids += tokenizer.ids([part])[0]
        return tuple(ids)

    def _yes(self) -> int:
        """The output named `yes`, if the file names its outputs; else the first."""
        labels = [self._encoder.class_label(n).casefold() for n in range(self._encoder.n_classes)]
        return next((n for n, label in enumerate(labels) if label in _YES), 0)


def _between(weights: Vocabulary, tokenizer: Tokenizer) -> tuple[int, ...]:
    """Returns the tokens between question and passage: `[SEP]` for BERT, an end of text and a separator for others.

    XLM-RoBERTa has the end twice. Its files say so (`add_sep_token`) only of late.
    """
    if not isinstance(tokenizer, LlamaTokens):
        return tokenizer.tail
    lib = library()
    separator = lib.llama_vocab_sep(weights.vocab)
    is_xlm_roberta = weights.metadata.get("tokenizer.ggml.model") == "t5"
    if separator < 0 and is_xlm_roberta:
        return tokenizer.tail * 2
    has_mark = separator >= 0 and (is_xlm_roberta or lib.llama_vocab_get_add_sep(weights.vocab))
    return (*tokenizer.tail, separator) if has_mark else tokenizer.tail
