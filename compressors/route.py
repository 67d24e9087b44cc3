"""compress.route: sentences for questions about a fact, summaries of clusters for questions about the gist.

Clustering ignores the question, so a fact in a single passage vanishes in it. And a handful of sentences is a poor
picture of a hundred reviews. The rules are readable lists of words. Ours; no paper.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from compressors.alone import WorksAlone
from compressors.crag import Crag
from compressors.exit_mini import ExitMini
from compressors.wrapper import needs_embedder, why_dropped
from pipeline.contracts import Runtime
from pipeline.errors import SettingError
from pipeline.registry import Inner, check_types, stage_name
from pipeline.types import Passage, Question

GIST = (
    r"summar(?:y|i[sz]e)\w*",
    r"overview",
    r"overall",
    r"in general|generally",
    r"on the whole|as a whole",
    r"gist",
    r"main (?:points?|themes?|topics?|ideas?|complaints?|problems?)",
    r"(?:common|typical|frequent) (?:themes?|complaints?|problems?|opinions?|views?|praise)",
    r"opinions?|reviewers|customers|reviews",
    r"(?:people|users|guests|readers|owners) (?:say|think|like|dislike|complain|praise|feel)",
    r"pros and cons|advantages and disadvantages|strengths and weaknesses",
    r"what (?:is|are) (?:this|these|the) (?:documents?|texts?|collection|corpus|files?|book) about",
)
"""Words of a question about the gist, as case-insensitive regular expressions."""

FACT = (
    r"(?:who|whom|whose|when|where)\b",
    r"how (?:many|much|old|long|far|high|tall|often|fast|heavy|large)\b",
    r"which (?:one|year|day|month|person|place|city|town|model|reviewer|customer|page)\b",
    r"what (?:year|day|date|time|number|name|price)\b",
    r"(?:does|do|did|is|are|was|were|has|have|had) (?:any|anyone|anybody|someone|somebody|one)\b",
)
"""Beginnings of a question about a fact, even if it has a word of GIST."""


@dataclass(frozen=True)
class Route(WorksAlone):
    """Sends questions about a fact to one compressor, and questions about the gist to another. A note says why.

    Example: `compress.route: {facts: compress.exit_mini, gist: {compress.crag: {words: 60}}}`

    :param facts: the compressor for questions about a fact, and for all questions that no rule matches.
    :param gist: the compressor for questions about the gist.
    :param gist_words: additional regular expressions for questions about the gist.
    """

    facts: Inner = field(default_factory=ExitMini)
    gist: Inner = field(default_factory=Crag)
    gist_words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_types(self, Route)
        for pattern in self.gist_words:
            try:
                re.compile(pattern)
            except re.error as error:
                raise SettingError("gist_words", f"must be regular expressions: '{pattern}': {error}") from None

    @property
    def needs_embedder(self) -> bool:
        return needs_embedder(self.facts) or needs_embedder(self.gist)

    @property
    def why_dropped(self) -> str:
        return "; or ".join(dict.fromkeys(map(why_dropped, (self.facts, self.gist))))

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        word = self.gist_word(question.query)
        compressor = self.facts if word is None else self.gist
        why = "asks for a fact" if word is None else f"asks for the gist ('{word}')"
        runtime.note(f"the question {why}: {stage_name(compressor)}")
        return compressor.compress(question, passages, runtime)

    def gist_word(self, question: str) -> str | None:
        """The words that mark a question about the gist; None for a question about a fact."""
        if re.match(rf"\W*(?:{'|'.join(FACT)})", question, re.IGNORECASE):
            return None
        match = re.search(rf"\b(?:{'|'.join((*GIST, *self.gist_words))})", question, re.IGNORECASE)
        return match[0] if match else None
