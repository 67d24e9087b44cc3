"""Passages of documents, and questions about them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pipeline.document import Document, Place
from pipeline.types.prompts import Soft


@dataclass(frozen=True, slots=True)
class Span:
    """Characters of one source: `start` included, `end` excluded."""

    source: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class ScoredSentence:
    """A sentence of a source and its relevance to the question: compare scores within one compressor's result."""

    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Copy:
    """Another occurrence of a passage's text: `start` is an offset into that source, `place` its place."""

    source: str
    start: int
    place: Place


@dataclass(frozen=True, slots=True)
class Passage:
    """A span of one source document.

    `start` and `end` are character offsets into the source's text, end excluded, so text == source[start:end].
    `score` is on the scale of the component that ranked it: compare scores within one result list only. `place` is that
    of `start`. `title` is the document's. An abstractive passage has its sources in `spans`; an extractive one leaves
    `spans` empty, and is its own span. `soft`, if set, replaces the text in the prompt. `sentences` holds the sentences
    inside that a compressor scored against the question, in order; empty if none did. `copies` are the other
    occurrences of the same text, and `near_copies` those of passages that were left out because this one says all that
    they say.
    """

    source: str
    start: int
    end: int
    text: str
    score: float = 0.0
    place: Place = field(default_factory=lambda: Place(1))
    title: str = ""
    spans: tuple[Span, ...] = ()
    soft: Soft | None = field(default=None, compare=False, repr=False)
    sentences: tuple[ScoredSentence, ...] = field(default=(), compare=False, repr=False)
    copies: tuple[Copy, ...] = field(default=(), repr=False)
    near_copies: tuple[Copy, ...] = field(default=(), compare=False, repr=False)

    @property
    def span(self) -> Span:
        return Span(self.source, self.start, self.end)

    def part(self, start: int, end: int, score: float | None = None) -> Passage:
        """Returns the sub-passage [start, end) of the source, with its own place.

        The result is text, even if this passage is soft. It has no near copies, which may lack this part.
        """
        if not self.start <= start <= end <= self.end:
            raise ValueError(f"a part must lie in [{self.start}, {self.end}), was: [{start}, {end})")
        n = start - self.start
        text, before = self.text[n : end - self.start], self.text[:n]
        place = self.place.after(before)
        score = self.score if score is None else score
        inside = tuple(sentence for sentence in self.sentences if start <= sentence.start and sentence.end <= end)
        copies = tuple(Copy(copy.source, copy.start + n, copy.place.after(before)) for copy in self.copies)
        return replace(
            self, start=start, end=end, text=text, place=place, score=score, soft=None, sentences=inside,
            copies=copies, near_copies=(),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """A question, as the model reads it.

    :param glob: restricts retrieval to sources whose path matches (fnmatch on the posix path).
    :param documents: the question's own documents, for `retrieve.given`; empty if an index is searched.
    :param search_query: another wording for search and recall; `query` returns it, or else the text.
    :param json_schema: the text of a JSON schema that the answer must obey; empty for free text.
    """

    text: str
    id: str = ""
    glob: str | None = None
    documents: tuple[Document, ...] = ()
    search_query: str = ""
    json_schema: str = ""
    filter: str = ""

    @property
    def query(self) -> str:
        """The wording for search and recall."""
        return self.search_query or self.text
