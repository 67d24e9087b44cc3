"""Citations that can be trusted: each number is checked, and each quote stands at its offsets.

The model writes `[2]`; we look whether there is a passage 2, and which of its sentences shares most content words with
the sentence that cites it. What the model did not cite, we look for ourselves, and say so (`by="match"`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pipeline.text.words import content_words, coverage
from pipeline.types import Answer, Citation, Passage

MIN_MATCH = 0.5
"""The share of a sentence's content words from which a passage counts as its source when the model cites nothing."""

NOT_FOUND = "Not in the documents."
"""What the prompt asks the model to say when the passages do not hold the answer."""

_MARK = re.compile(r"\[\s*(?:passages?\s*)?(\d{1,4}(?:\s*[,;&]\s*\d{1,4})*)\s*\]", re.IGNORECASE)
_ABSTAIN = re.compile(r"\bnot (?:\w+ ){0,2}in the (?:documents?|passages?)\b", re.IGNORECASE)


def cite(text: str, shown: Sequence[Passage], question: str) -> Answer:
    """The answer with its citations checked against the passages that the model saw (numbered from 1)."""
    text = text.strip()
    if _ABSTAIN.search(text) and len(content_words(_MARK.sub("", text))) <= 6:
        return Answer(text, is_abstention=True, why="the model says so")
    citations = by_model(text, shown, question) or by_match(text, shown)
    return Answer(text, tuple(citations), unsupported=unsupported(text, shown, question))


def without_marks(text: str) -> str:
    """The text with a space for each number that cites: for comparing what was said."""
    return _MARK.sub(" ", text).strip()


def by_model(text: str, shown: Sequence[Passage], question: str = "") -> list[Citation]:
    """The citations that the model wrote, in order, each number once; a number without a passage stays, as invalid.

    A model that writes nothing but a number has its quote looked for by the question's words.
    """
    found: dict[int, Citation] = {}
    for sentence in _answer_sentences(text):
        words = content_words(_MARK.sub(" ", sentence)) or content_words(question)
        for number in _numbers(sentence):
            passage = shown[number - 1] if 1 <= number <= len(shown) else None
            quote, support = best_quote(words, passage) if passage else (None, 0.0)
            if number not in found or support > found[number].support:
                found[number] = Citation(number, "model", passage, quote, support)
    return list(found.values())


def by_match(text: str, shown: Sequence[Passage]) -> list[Citation]:
    """For each sentence of the answer the sentence of the passages that holds most of its content words."""
    found: dict[int, Citation] = {}
    for sentence in _answer_sentences(text):
        words = content_words(sentence)
        matches = [(*best_quote(words, passage), i + 1, passage) for i, passage in enumerate(shown)]
        if not matches:
            continue
        quote, support, number, passage = max(matches, key=lambda match: (match[1], -match[2]))
        if support >= MIN_MATCH and (number not in found or support > found[number].support):
            found[number] = Citation(number, "match", passage, quote, support)
    return list(found.values())


def best_quote(words: tuple[str, ...], passage: Passage) -> tuple[Passage, float]:
    """The sentence of the passage that holds the largest share of the words (the first of equals), and that share.

    A summary is quoted as a whole: its sentences stand in no source, only the spans that it was made from do.
    """
    if passage.spans:
        support = coverage(words, passage.text)
        return replace(passage, score=support), support
    from pipeline.documents.sentences import sentences

    spans = sentences(passage.text) or [(0, len(passage.text))]
    parts = [passage.part(passage.start + start, passage.start + end) for start, end in spans]
    scored = [(coverage(words, part.text), -i) for i, part in enumerate(parts)]
    support, position = max(scored)
    return replace(parts[-position], score=support), support


def unsupported(text: str, shown: Sequence[Passage], question: str) -> tuple[str, ...]:
    """The numbers and capitalised words of the answer that stand neither in what the model saw nor in the question."""
    seen = set(content_words("\n".join([question, *(f"{p.title} {p.text}" for p in shown)])))
    claims = re.findall(r"\b(?:[A-Z]\w+|\d[\d.,:]*\d|\d)\b", _MARK.sub(" ", text))
    missing = [claim for claim in claims if (words := content_words(claim)) and not set(words) <= seen]
    return tuple(dict.fromkeys(missing))


def _answer_sentences(text: str) -> list[str]:
    """The answer's sentences; a citation that follows the full stop belongs to the sentence before it."""
    from pipeline.documents.sentences import sentences

    found: list[str] = []
    for start, end in sentences(text):
        sentence = text[start:end]
        leading = re.match(r"(?:\s*" + _MARK.pattern + r")+", sentence, re.IGNORECASE)
        if leading and found:
            found[-1] += " " + leading.group(0)
            sentence = sentence[leading.end() :]
        if sentence.strip(" ."):
            found.append(sentence)
    return found or ([text] if text else [])


def _numbers(sentence: str) -> list[int]:
    return [int(number) for mark in _MARK.findall(sentence) for number in re.findall(r"\d+", mark)]
