"""What earlier turns of a chat were searched for, and whether the model gives one answer to all of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.corrections import corrected
from pipeline.text.words import content_words
from pipeline.types import Turn
from pipeline.utterances import read_utterance

SEARCHED = ("question", "summary", "correction")
"""Lines that a follow-up can go on from. Sessions of an older longthread have greetings among their turns."""


def recovered(turns: Sequence[Turn]) -> dict[int, str]:
    """What corrections among the turns of an earlier chat were searched for: the question before, corrected."""
    found: dict[int, str] = {}
    before = ""
    for turn in turns:
        utterance = read_utterance(turn.question)
        if utterance.kind == "correction" and before:
            found[turn.number] = before = corrected(before, utterance.about).text
        elif utterance.kind == "question":
            before = turn.question
    return found


def n_questions_with_this_answer(query: str, answer: str, said: Sequence[tuple[str, str]]) -> int:
    """How many different questions have this answer, the newest included. Questions that share half of their content
    words are one: asking the same thing in other words may well have the same answer.
    """
    told = comparable(answer)
    different = [query]
    for other, text in said:
        if told and comparable(text) == told and not any(_is_alike(other, one) for one in different):
            different.append(other)
    return len(different)


def comparable(answer: str) -> str:
    """The answer's words alone, case folded, without citations."""
    return " ".join(re.findall(r"\w+", re.sub(r"\[\d+\]", " ", answer).casefold()))


def _is_alike(one: str, other: str) -> bool:
    words, others = set(content_words(one)), set(content_words(other))
    return words == others or len(words & others) * 2 >= len(words | others)
