"""Training examples: each question is searched with its answer in the corpus, and with it taken out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.answers.answerable import QuestionEvidence, TokenMatch
from pipeline.contracts import Embedder
from pipeline.documents.chunking import Chunker
from pipeline.retrieval import remembered
from pipeline.retrieval.hybrid import Hybrid
from pipeline.retrieval.word_index import WordIndex
from pipeline.types import Document, Passage, Question
from training.abstain.questions import Corpus, SourcedQuestion

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(eq=False)
class MemoryIndex:
    """Chunks of a corpus in memory, searched like an index. `hidden` sources are left out.

    With `is_quick`, a chunk's vector is that of its title and text, as the gate reads it. An index reads only the text.
    So each chunk is read once instead of twice.
    """

    chunks: Sequence[Passage]
    embedder: Embedder
    hidden: frozenset[str] = frozenset()
    is_quick: bool = True
    vectors: NDArray[np.float32] = field(init=False, repr=False)
    words: WordIndex = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.is_quick:
            texts = [f"{chunk.title}: {chunk.text}" if chunk.title else chunk.text for chunk in self.chunks]
            self.vectors, _ = remembered.token_vectors(self.embedder, texts)
        else:
            self.vectors = self.embedder.embed([chunk.text for chunk in self.chunks])
        self.words = WordIndex.build((n, chunk.text) for n, chunk in enumerate(self.chunks))

    def search_dense(self, question: str, k: int, glob: Any = None) -> list[Passage]:
        (vector,) = remembered.embed(self.embedder, [question])
        scores = self.vectors @ vector
        return [self.chunks[n] for n in np.argsort(-scores, kind="stable") if self._is_there(int(n))][:k]

    def search_bm25(self, question: str, k: int, glob: Any = None) -> list[Passage]:
        hits = self.words.search(question, len(self.chunks))
        return [self.chunks[n] for n, _ in hits if self._is_there(n)][:k]

    @property
    def n_chunks(self) -> int:
        return sum(self._is_there(n) for n in range(len(self.chunks)))

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple({chunk.source: None for chunk in self.chunks if chunk.source not in self.hidden})

    def _is_there(self, n: int) -> bool:
        return self.chunks[n].source not in self.hidden


@dataclass(frozen=True, eq=False)
class Example:
    """The gate's view of a question. `is_answerable` says whether the documents with its answer were searched."""

    question: str
    is_answerable: bool
    evidence: QuestionEvidence
    tokens: TokenMatch
    words: dict[str, float]


def examples(corpus: Corpus, embedder: Embedder, k: int = 8, chunk_tokens: int = 200) -> Iterator[Example]:
    """Yields two examples for each question. It counts as answerable even if the search misses its passages."""
    index = MemoryIndex(chunks_of(corpus.documents, embedder, chunk_tokens), embedder)
    for question in corpus.questions:
        for hidden in (frozenset[str](), question.sources):
            index.hidden = hidden
            passages = Hybrid(k=k).search(Question(question.question), SimpleNamespace(index=index, note=print))
            if passages:
                yield example(question, passages, not hidden, embedder)


def chunks_of(documents: Sequence[Document], embedder: Embedder, chunk_tokens: int = 200) -> list[Passage]:
    """Cuts the documents into chunks as an index does."""
    chunker = Chunker(tokens=chunk_tokens)
    return [chunk for d in documents for chunk in chunker.chunk(d, embedder.count_tokens, embedder.max_tokens)]


def example(question: SourcedQuestion, passages: Sequence[Passage], is_answerable: bool, embedder: Embedder) -> Example:
    evidence = QuestionEvidence.of(question.question, passages)
    return Example(question.question, is_answerable, evidence, evidence.token_match(embedder), evidence.word_signals())
