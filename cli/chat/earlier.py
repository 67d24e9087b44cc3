"""The queries of earlier turns, and whether the model gives the same answer to all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.conversation.corrections import corrected
from pipeline.conversation.utterances import read_utterance
from pipeline.text.words import content_words
from pipeline.types import Turn

SEARCHED = ("question", "summary", "correction")
"""Kinds of lines that a follow-up can refer to. Sessions of an older longthread also stored greetings as turns."""


def recovered(turns: Sequence[Turn]) -> dict[int, str]:
    """The query of each correction among the turns: the question before it, corrected."""
    queries: dict[int, str] = {}
    before = ""
    for turn in turns:
        utterance = read_utterance(turn.question)
        if utterance.kind == "correction" and before:
            queries[turn.number] = before = corrected(before, utterance.about).text
        elif utterance.kind == "question":
            before = turn.question
    return queries


def n_questions_with_this_answer(query: str, answer: str, answered: Sequence[tuple[str, str]]) -> int:
    """How many different questions have this answer, including the newest.

    Questions that share half of their content words count as one, because they may have the same answer.
    """
    words = comparable(answer)
    different = [query]
    for other, text in answered:
        if words and comparable(text) == words and not any(_is_alike(other, question) for question in different):
            different.append(other)
    return len(different)


def comparable(answer: str) -> str:
    """The answer's words, case folded, without citations."""
    return " ".join(re.findall(r"\w+", re.sub(r"\[\d+\]", " ", answer).casefold()))


def _is_alike(question: str, other: str) -> bool:
    words, others = set(content_words(question)), set(content_words(other))
    return words == others or len(words & others) * 2 >= len(words | others)
