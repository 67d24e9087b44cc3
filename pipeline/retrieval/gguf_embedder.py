"""An embedding model in a GGUF file, run by llama.cpp: `index.embedder: /path/embedder.gguf`.

Its pooling stands in its metadata, its instructions are known by its name (instructions.py); both can be named instead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.contracts import Progress
from pipeline.errors import ConfigError
from pipeline.retrieval.batches import Batch, Batched, check_length, gathered
from pipeline.retrieval.instructions import Instructions, known_instructions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.models.embedding_tokens import Tokenizer
    from pipeline.models.encoder import Encoder
    from pipeline.models.weights import Vocabulary

_VERSION = 1
"""Of how vectors are made: part of the fingerprint."""
_POOLING = {1: "mean", 2: "cls", 3: "last", 4: "rank"}
_SLACK = 2
"""An instruction and a text may have a token or two more together than apart."""


class GgufEmbedder(Batched):
    """`embed` reads passages and `embed_questions` questions, each behind its instruction.

    `max_tokens` and the counts are of texts without their instructions, whose tokens are subtracted from what the model
    reads; the vectors of tokens are those of the text alone.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        pooling: str = "auto",
        question_prefix: str | None = None,
        passage_prefix: str | None = None,
    ) -> None:
        self.name = name
        self.path = path
        self._pooling = pooling
        self._prefixes = (question_prefix, passage_prefix)

    # ------------------------------------------------------------------------------------------------ settings
    @cached_property
    def fingerprint(self) -> str:
        from pipeline.storage.hashes import file_sha256

        files = [file_sha256(part) for part in _parts(self.path)]
        instructions = self.instructions
        vectors = [_VERSION, self.pooling, instructions.question, instructions.passage]
        return hashlib.sha256(json.dumps([files, vectors]).encode()).hexdigest()

    @cached_property
    def pooling(self) -> str:
        """How a text's vector is made of its tokens' states: `mean`, `cls` (the first) or `last`.

        Raises ConfigError for a file that names none, or that ranks.
        """
        if self._pooling != "auto":
            return self._pooling
        pooling = _POOLING.get(self._number("pooling_type"), "none")
        if pooling == "rank":
            raise ConfigError(f"index.embedder: {self.path} ranks pairs and gives no vectors: it is for rerank.gguf")
        if pooling == "none":
            raise ConfigError(
                f"index.embedder: {self.path} names no pooling: is it an embedding model? If so, set index.pooling to "
                "mean, cls or last, as its card says"
            )
        return pooling

    @cached_property
    def instructions(self) -> Instructions:
        known = known_instructions(self._vocabulary.metadata, self.path.name)
        question, passage = self._prefixes
        return Instructions(
            known.question if question is None else question,
            known.passage if passage is None else passage,
            known.family,
        )

    @cached_property
    def dimension(self) -> int:
        return self._number("embedding_length_out") or self._number("embedding_length")

    @cached_property
    def max_tokens(self) -> int:
        from pipeline.models.encoder import longest_text

        prefixes = [prefix for prefix in (self.instructions.question, self.instructions.passage) if prefix]
        longest = max((len(ids) + _SLACK for ids in self._tokenizer.ids(prefixes)), default=0)
        limit = longest_text(self._number("context_length"), self._vocabulary.n_vocab)
        if limit - longest < limit // 2:
            raise ConfigError(
                f"index.embedder: {self.path} reads {limit} tokens, and its instruction takes {longest} of them: "
                "shorten index.question_prefix and index.passage_prefix"
            )
        return limit - longest

    # ------------------------------------------------------------------------------------------------ embedding
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        tokenizer = self._tokenizer
        n_around = len(tokenizer.head) + len(tokenizer.tail)
        return [len(ids) + n_around for ids in tokenizer.ids(texts)]

    def embed_questions(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """As `embed`, for questions: behind the instruction that the model was trained to read before them."""
        batches = self._prefixed(texts, self.instructions.question, False)
        return gathered(batches, len(texts), self.dimension, progress)

    def token_spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        prefix = self.instructions.passage
        spans = self._tokenizer.spans([prefix + text for text in texts])
        return [_behind(len(prefix), text_spans) for text_spans in spans] if prefix else spans

    def _batches(self, texts: Sequence[str], with_states: bool) -> Iterator[Batch]:
        return self._prefixed(texts, self.instructions.passage, with_states)

    def _prefixed(self, texts: Sequence[str], prefix: str, with_states: bool) -> Iterator[Batch]:
        import numpy as np

        for count in self.count_tokens(texts):
            check_length(count, self.max_tokens)
        tokenizer, read = self._tokenizer, [prefix + text for text in texts]
        ids = [(*tokenizer.head, *bare, *tokenizer.tail) for bare in tokenizer.ids(read)]
        starts = self._starts(read, len(prefix)) if with_states and prefix else [0] * len(texts)
        for rows, states in self._encoder.states(_never_empty(ids, tokenizer)):
            vectors = np.stack([pooled(state, self.pooling) for state in states])
            begin = len(tokenizer.head)
            kept = [
                state[begin + starts[row] : len(ids[row]) - len(tokenizer.tail)]
                for row, state in zip(rows, states, strict=True)
            ]
            yield Batch(rows, vectors, kept if with_states else ())

    def _starts(self, texts: Sequence[str], n_chars: int) -> list[int]:
        """How many tokens of each text lie in its first characters alone."""
        return [len(text_spans) - len(_behind(n_chars, text_spans)) for text_spans in self._tokenizer.spans(texts)]

    # ------------------------------------------------------------------------------------------------ parts
    def _number(self, key: str) -> int:
        """A number of the file's header; 0 where it does not have it."""
        metadata = self._vocabulary.metadata
        return int(metadata.get(f"{metadata.get('general.architecture', '')}.{key}", 0))

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        """The file's vocabulary and metadata, without its weights."""
        from pipeline.models.weights import Vocabulary

        return Vocabulary(self.path)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        from pipeline.models.embedding_tokens import tokenizer_of

        return tokenizer_of(self._vocabulary)

    @cached_property
    def _encoder(self) -> Encoder:
        from pipeline.models.encoder import Encoder

        return Encoder(self.path)


def pooled(states: NDArray[np.float32], pooling: str) -> NDArray[np.float32]:
    """A text's vector, (n_out,), of its tokens' states, (n_tokens, n_out), special ones included."""
    import numpy as np

    if pooling == "mean":
        return np.asarray(states.mean(axis=0))
    return np.asarray(states[0 if pooling == "cls" else -1])


def _behind(start: int, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans that reach beyond a character, as they lie behind it; those that stand for nothing go with the next."""
    first = next((n for n, (_, end) in enumerate(spans) if end > start), len(spans))
    return [(max(0, low - start), max(0, high - start)) for low, high in spans[first:]]


def _never_empty(ids: Sequence[tuple[int, ...]], tokenizer: Tokenizer) -> list[tuple[int, ...]]:
    """An empty text of a vocabulary without special tokens is read as a space: a model reads one token at least."""
    return [tokens or tokenizer.ids([" "])[0] or (0,) for tokens in ids]


def _parts(path: Path) -> list[Path]:
    """All files of a model that is split over several."""
    from pipeline.gguf.header import inspect

    n = inspect(path).n_parts
    if n == 1:
        return [path]
    return sorted(path.parent.glob(f"{path.name.rpartition('-of-')[0][:-5]}*-of-{n:05d}.gguf"))
