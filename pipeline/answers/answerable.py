"""Signals of answerability: how well the retrieved passages match a question. The gate decides by them.

If the documents hold the answer, one sentence or passage matches every part of the question. If they do not, most parts
match and one is missing: the name, the year, the verb. The signal is therefore the worst-matched part; a cosine gives
the mean. Each token of the question is compared with the tokens of each sentence (late interaction: Khattab and
Zaharia, ColBERT, arXiv 2004.12832). A sentence's score is a soft AND over them with fitted weights and thresholds.
Differs from ColBERT, which ranks by a sum: here the score is absolute. Word overlap gives further signals for pipelines
without vectors. Fitted by training/abstain.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pipeline.answers.answer_kinds import holds, kind_of
from pipeline.retrieval.token_windows import Block, token_states
from pipeline.text.ranges import numbers_within
from pipeline.text.words import content_words
from pipeline.types import Passage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.contracts import Embedder

_HEADING = re.compile(r"#{1,6}\s[^\n]*$")
_NAME = re.compile(r"(?<=\s)[^\W\d_a-zà-öø-ÿ][\w'’-]*|\d[\d.,:]*")
_WORD = re.compile(r"\w+")
_WRITTEN = re.compile(r"\w+(?:[-'’]\w+)*")
_JOINED = re.compile(r"(?<=[^\W\d_])[,:;|](?=\w)|(?<=\d)[,:;|](?=[^\W\d_])|_")
_QUESTION_WORDS = frozenset("who whom whose what which when where why how many much".split())
_PEAK_TEMPERATURE = 0.06

WORD_SIGNALS = (
    "coverage",
    "passage_coverage",
    "all_coverage",
    "names",
    "names_in_sentence",
    "kind_coverage",
    "rarest_missing",
    "n_words",
    "asks_name",
    "asks_number",
    "asks_time",
)
"""The signals that need no vectors.

`coverage`: the largest share of the question's content words that stand in one sentence or in its title; each weighs by
how rare it is among the sentences found (Robertson's idf). `passage_coverage`, `all_coverage`: in one passage, in all.
`names`, `names_in_sentence`: the share of the question's capitalised words and numbers that stand in the passage, the
sentence, that has most of them; 1 for a question without. `kind_coverage`: `coverage` over the sentences that hold a
thing of the kind that is asked for. `rarest_missing`: the weight of the heaviest word that the best passage lacks, as a
share of all. `n_words`: the log of the number of content words in the question. `asks_...`: the kind, 1 or 0.
"""
VECTOR_SIGNALS = ("match", "passage_match", "mean_match", "kind_match", "cosine", "peak")
"""The signals that vectors add to WORD_SIGNALS.

`match`: the best sentence's soft AND; `passage_match` the best passage's, to which its sentences contribute each
token's nearest; `mean_match`: the best sentence's mean cosine over all tokens; `kind_match`: `match` over the
sentences that hold a thing of the kind that is asked for. `cosine`: of the question and the nearest passage. `peak`:
the logarithm of the best sentence's share of votes (compressors/votes.py), times the number of sentences.
"""
TOKEN_CLASSES = ("any", "stop word", "question word", "name", "number", "rarity", "mark")
"""Columns that describe a question's token: 1 or 0, except `rarity`, the idf of its word among the sentences."""


def words_of(text: str) -> tuple[str, ...]:
    """Returns the content words; splits words joined by only a comma, bar or underscore, as in table cells."""
    return content_words(_JOINED.sub(" ", text))


@dataclass(frozen=True)
class Matching:
    """A soft AND over the tokens of a question.

    A token contributes log(sigmoid(steepness * (similarity + exact * [its word stands there] - threshold))); a
    sentence's score is the mean of that, weighted by softplus of the token's weight. `weights` and `thresholds` are
    for the columns of TOKEN_CLASSES.
    """

    weights: tuple[float, ...]
    thresholds: tuple[float, ...]
    steepness: float
    exact: float

    def __post_init__(self) -> None:
        if not len(self.weights) == len(self.thresholds) == len(TOKEN_CLASSES):
            raise ValueError(f"matching needs a weight and a threshold for each of {', '.join(TOKEN_CLASSES)}")

    def scores(
        self, nearest: NDArray[np.float64], exact: NDArray[np.float64], classes: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Scores each row of `nearest`; returns (n_rows,), at most 0.

        `nearest` holds the similarity of each question token in each row, `exact` whether its word occurs there; both
        are (n_rows, n_tokens). `classes` is (n_tokens, n_classes).
        """
        import numpy as np

        weights = np.logaddexp(0, classes @ np.array(self.weights))
        met = nearest + self.exact * exact - classes @ np.array(self.thresholds)
        logs = -np.logaddexp(0, -self.steepness * met)
        return np.asarray(logs @ weights / max(float(weights.sum()), 1e-6))


@dataclass(frozen=True)
class QuestionEvidence:
    """A question and the sentences of its passages. `owners` holds the position of each sentence's passage."""

    question: str
    passages: tuple[Passage, ...]
    sentences: tuple[Passage, ...]
    owners: tuple[int, ...]

    @classmethod
    def of(cls, question: str, passages: Sequence[Passage]) -> QuestionEvidence:
        cut = [_sentences(passage) for passage in passages]
        owners = tuple(owner for owner, parts in enumerate(cut) for _ in parts)
        return cls(question, tuple(passages), tuple(part for parts in cut for part in parts), owners)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The question's content words."""
        return words_of(self.question)

    @cached_property
    def sentence_words(self) -> list[frozenset[str]]:
        """The content words of each sentence, and the question's numbers that lie in a range which it states."""
        return [frozenset(words_of(part.text)) | numbers_within(self.words, part.text) for part in self.sentences]

    @cached_property
    def title_words(self) -> list[frozenset[str]]:
        """The content words of each passage's title and headings."""
        return [frozenset(words_of(" ".join((p.title, *p.place.heading)))) for p in self.passages]

    @cached_property
    def passage_words(self) -> list[frozenset[str]]:
        """The content words of each passage with its title."""
        return [
            self.title_words[n].union(*(words for words, owner in self._owned if owner == n))
            for n in range(len(self.passages))
        ]

    @property
    def held(self) -> float:
        """The weighted share of the question's words that stand in any passage, in [0, 1]; 0 without words."""
        return self._share(frozenset[str]().union(*self.passage_words))

    @property
    def missing(self) -> list[str]:
        """The question's words, as written, that no passage holds."""
        known = frozenset[str]().union(*self.passage_words)
        written = _WRITTEN.findall(self.question)
        return list(dict.fromkeys(word for word in written if (stems := words_of(word)) and known.isdisjoint(stems)))

    @property
    def _owned(self) -> list[tuple[frozenset[str], int]]:
        return list(zip(self.sentence_words, self.owners, strict=True))

    @cached_property
    def rarity(self) -> dict[str, float]:
        """The idf of each of the question's words among the sentences."""
        n = len(self.sentences)
        counts = {word: sum(word in words for words in self.sentence_words) for word in self.words}
        return {word: math.log(1 + (n + 0.5) / (count + 0.5)) for word, count in counts.items()}

    @cached_property
    def coverage(self) -> list[float]:
        """The weighted share of the question's words in each sentence and its title; without words 0."""
        return [self._share(words | self.title_words[owner]) for words, owner in self._owned]

    @cached_property
    def has_kind(self) -> list[bool]:
        """Whether each sentence holds something of the kind that the question asks for."""
        kind, question_words = kind_of(self.question), frozenset(self.words)
        return [holds(kind, part.text, question_words) for part in self.sentences]

    def _share(self, words: frozenset[str]) -> float:
        return sum(self.rarity[word] for word in self.words if word in words) / (sum(self.rarity.values()) or 1.0)

    def word_signals(self) -> dict[str, float]:
        """The values of WORD_SIGNALS. Needs at least one sentence."""
        kind = kind_of(self.question)
        names = frozenset(word for name in _NAME.findall(self.question) for word in words_of(name))
        passages = [self._share(words) for words in self.passage_words]
        best = passages.index(max(passages))
        missing = [self.rarity[word] for word in self.words if word not in self.passage_words[best]]
        owned = [words | self.title_words[owner] for words, owner in self._owned]
        return {
            "coverage": max(self.coverage),
            "passage_coverage": passages[best],
            "all_coverage": self.held,
            "names": _most(names, self.passage_words),
            "names_in_sentence": _most(names, owned),
            "kind_coverage": max(c * h for c, h in zip(self.coverage, self.has_kind, strict=True)),
            "rarest_missing": max(missing, default=0.0) / (sum(self.rarity.values()) or 1.0),
            "n_words": math.log(1 + len(self.words)),
            "asks_name": float(kind == "name"),
            "asks_number": float(kind == "number"),
            "asks_time": float(kind == "time"),
        }

    def vector_signals(self, tokens: TokenMatch, matching: Matching) -> dict[str, float]:
        """The values of VECTOR_SIGNALS. Needs at least one sentence."""
        import numpy as np

        owners = np.array(self.owners)
        scores = matching.scores(tokens.nearest, tokens.exact, tokens.classes)
        groups = [owners == n for n in sorted(set(self.owners))]
        together = matching.scores(
            np.stack([tokens.nearest[group].max(axis=0) for group in groups]),
            np.stack([tokens.exact[group].max(axis=0) for group in groups]),
            tokens.classes,
        )
        shares = np.exp((tokens.nearest - tokens.nearest.max(axis=0)) / _PEAK_TEMPERATURE)
        votes = (shares / shares.sum(axis=0)).mean(axis=1)
        return {
            "match": float(scores.max()),
            "passage_match": float(together.max()),
            "mean_match": float(tokens.nearest.mean(axis=1).max()),
            "kind_match": float(np.where(self.has_kind, scores, scores.min()).max()),
            "cosine": tokens.cosine,
            "peak": math.log(float(votes.max()) * len(votes)),
        }

    def token_match(self, embedder: Embedder) -> TokenMatch:
        """The question's tokens against every sentence, by the embedder's vectors."""
        import numpy as np

        blocks = []
        for n, passage in enumerate(self.passages):
            parts = [part for part, owner in zip(self.sentences, self.owners, strict=True) if owner == n]
            starts = [0 if passage.spans else part.start - passage.start for part in parts]
            places = tuple((start, start + len(part.text)) for start, part in zip(starts, parts, strict=True))
            blocks.append(Block(passage.title, passage.text, places))
        states = token_states(self.question, blocks, embedder)
        nearest = np.full((len(self.sentences), len(states.question_tokens)), -1.0)
        for n, pieces in enumerate(states.sentences):
            for rows in pieces:
                nearest[n] = np.maximum(nearest[n], (rows @ states.question_tokens.T).max(axis=0))
        (spans,) = embedder.token_spans([self.question])
        classes, words = self._token_classes(spans)
        sentence_words = [known | self.title_words[owner] for known, owner in self._owned]
        exact = np.array([[word in known if word else False for word in words] for known in sentence_words], np.float64)
        if not len(states.question_tokens):
            nearest, exact, classes = (
                np.zeros((len(sentence_words), 1)),
                np.zeros((len(sentence_words), 1)),
                np.zeros((1, len(TOKEN_CLASSES))),
            )
        return TokenMatch(nearest, exact, classes, float((states.windows @ states.question).max()))

    def _token_classes(self, spans: Sequence[tuple[int, int]]) -> tuple[NDArray[np.float64], list[str]]:
        """Returns TOKEN_CLASSES and the content word of each question token at these spans."""
        import numpy as np

        written = [(match.start(), match.end(), match.group()) for match in _WORD.finditer(self.question)]
        rows, stems = [], []
        for start, end in spans:
            word = next((text for low, high, text in written if low <= start < high), self.question[start:end])
            stem = next(iter(words_of(word)), "")
            rows.append(
                (
                    1.0,
                    float(not stem),
                    float(word.casefold() in _QUESTION_WORDS),
                    float(bool(stem) and word[:1].isupper() and start > 0),
                    float(any(map(str.isdigit, word))),
                    self.rarity.get(stem, 0.0),
                    float(not any(map(str.isalnum, word))),
                )
            )
            stems.append(stem)
        return np.array(rows, np.float64).reshape(-1, len(TOKEN_CLASSES)), stems


@dataclass(frozen=True, eq=False)
class TokenMatch:
    """A question's tokens against sentences.

    `nearest`: best cosine of each question token in each sentence, (n_sentences, n_tokens). `exact`: whether the
    token's word occurs there, 1 or 0, same shape. `classes`: (n_tokens, n_classes), the columns of TOKEN_CLASSES.
    `cosine`: of the question and the nearest window of text.
    """

    nearest: NDArray[np.float64]
    exact: NDArray[np.float64]
    classes: NDArray[np.float64]
    cosine: float


def _most(names: frozenset[str], texts: Sequence[frozenset[str]]) -> float:
    """Returns the largest share of the names that occurs in one text; 1 without names."""
    return max(len(names & words) / len(names) for words in texts) if names else 1.0


def _sentences(passage: Passage) -> list[Passage]:
    """Splits the passage into sentences without headings, as compressors do. A summary is one sentence.

    The rows of a comma, semicolon or tab table form one sentence, because only the first row names the columns. A row
    that names its columns is a sentence of its own.
    """
    from pipeline.text.sentences import is_record, n_cells, sentences

    if passage.spans or not passage.text:
        return [passage]
    spans: list[tuple[int, int]] = []
    shape = ("", 1)
    for start, end in sentences(passage.text):
        text = passage.text[start:end]
        before, shape = shape, ("", 1) if is_record(text) else n_cells(text)
        if spans and shape == before and shape[0] in (",", ";", "\t"):
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    parts = [passage.part(passage.start + start, passage.start + end) for start, end in spans]
    return [part for part in parts if not _HEADING.match(part.text)] or parts or [passage]
