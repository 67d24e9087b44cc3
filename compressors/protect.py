"""compress.protect: keep numbers, names and negations that decide the question. Ours; no paper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from compressors.exit_mini import ExitMini
from compressors.selection import Units, score_of, units_in
from compressors.wrapper import Wrapper
from pipeline.checks import at_least
from pipeline.contracts import Runtime
from pipeline.registry import Inner, check_types
from pipeline.types import Passage, Question

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_NAME = re.compile(r"(?<!^)(?<![.!?]\s)\b[A-ZÄÖÜÇŞİĞ]\w+")
NEGATION = re.compile(
    r"\b(?:not|no|never|none|nobody|nothing|nowhere|neither|nor|without|except|unless|cannot|\w+n['’]t)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Protect(Wrapper):
    """Compresses, and restores sentences that decide the question.

    If the compressor dropped all sentences with a number or a name of the question, the first such sentence comes back.
    A negating sentence ("not", "never", "except") comes back if it shares at least `shared_words` content words with
    the question, since without it the rest may say the opposite.

    Example: `compress.protect: {of: compress.exit_mini, names: false}`

    :param of: the compressor.
    :param numbers: whether to protect numbers.
    :param names: whether to protect names (capitalised words inside the question).
    :param negations: whether to protect negations.
    :param shared_words: number of shared content words that make a negation relevant to the question, at least 1.
    """

    of: Inner = field(default_factory=ExitMini)
    numbers: bool = True
    names: bool = True
    negations: bool = True
    shared_words: int = 2

    def __post_init__(self) -> None:
        check_types(self, Protect)
        at_least("shared_words", self.shared_words, 1)

    @property
    def why_dropped(self) -> str:
        return f"{self.why_not_kept}, and not protected"

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        kept = self.of.compress(question, passages, runtime)
        units = Units.of(passages, runtime)
        chosen = units_in(units, kept)
        seen = "\n".join(passage.text for passage in kept)
        missed = [(n, why) for n, why in self.turned_on(question.query, units, seen) if n not in chosen]
        for n, why in missed:
            runtime.note(f"kept for {why}: {' '.join(units.parts[n].text.split())[:80]}")
        if not missed:
            return kept
        made = [passage for passage in kept if passage.spans and passage not in passages]
        return [*units.merged(chosen | {n for n, _ in missed}, score_of(units, kept)), *made]

    def turned_on(self, question: str, units: Units, seen: str) -> list[tuple[int, str]]:
        """The positions of protected sentences, each with the reason."""
        protected: list[tuple[int, str]] = []
        for word in self.words(question):
            pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
            if not pattern.search(seen):
                first = next((n for n, part in enumerate(units.parts) if pattern.search(part.text)), None)
                protected += [(first, f"'{word}'")] if first is not None else []
        return [*protected, *self._negated(question, units)]

    def words(self, question: str) -> list[str]:
        """The question's numbers and names that are to be protected."""
        numbers = _NUMBER.findall(question) if self.numbers else []
        return list(dict.fromkeys([*numbers, *(_NAME.findall(question) if self.names else [])]))

    def _negated(self, question: str, units: Units) -> list[tuple[int, str]]:
        from pipeline.text.words import content_words

        if not self.negations:
            return []
        question_words = set(content_words(question))
        return [
            (n, f"'{negation[0]}'")
            for n, part in enumerate(units.parts)
            if (negation := NEGATION.search(part.text))
            and len(question_words & set(content_words(part.text))) >= self.shared_words
        ]
