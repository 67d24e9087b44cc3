"""Facts: short strings drawn from turns, and the rule by which a newer one supersedes an older.

A fact says what something is: `about` is its subject and relation ("Anna's favourite colour"), `value` the rest
("green"). Two facts are about the same where their `about` has the same content words, or where it means the same to
the embedder and shares half of its words. Of two facts about the same with different values, the one of the later turn
supersedes the other; both stay, with their dates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.contracts import Embedder
from pipeline.documents.sentences import sentences
from pipeline.text.words import content_words, coverage
from pipeline.types import Turn

SAME_COSINE = 0.9
MAX_CHARS = 120

_IS = re.compile(
    r"(?:^|\b(?:and|but|so|well|yes|no|ok|okay|actually|now|hi|hello|that)[,:]?\s+)"
    r"(?P<about>(?:my|our|the|[A-Z]\w+(?:'s|’s))\s+(?:[\w'’-]+\s+){0,5}?[\w'’-]+)\s+"
    r"(?:is|are|was|were)\s+(?:now\s+|called\s+)?(?P<value>[^!?;\n]+)",
    re.IGNORECASE,
)
_LIVE = re.compile(
    r"\bI(?:'ve| have)?\s+(?:just\s+|now\s+)?(?P<verb>live|moved|work)\w*\s+"
    r"(?P<value>(?:in|to|at|as|for)\s+[^!?;,\n]+)"
)
_VERBS = {"live": "where I live", "moved": "where I live", "work": "where I work"}
_NAME = re.compile(r"\b(?:my name is|I am called|call me)\s+(?P<value>[\w'’-]+(?:\s+[A-Z][\w'’-]+)?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Fact:
    """What a turn says. `id` counts from 1 in its session; `superseded_by` is the id of the fact that replaced it."""

    turn: int
    about: str
    value: str
    time: str
    id: int = 0
    superseded_by: int | None = None

    @property
    def text(self) -> str:
        return f"{self.about}: {self.value}"


def drawn(turn: Turn) -> list[Fact]:
    """What the person states about things, by patterns: "my X is Y", "I live in Y". Questions state nothing."""
    found: dict[str, str] = {}
    for start, end in sentences(turn.question):
        sentence = " ".join(turn.question[start:end].split())
        if sentence.endswith("?"):
            continue
        if name := _NAME.search(sentence):
            found["my name"] = name["value"]
            continue
        if place := _LIVE.search(sentence):
            found[_VERBS[place["verb"]]] = _ended(place["value"])
        elif (said := _IS.search(sentence)) and content_words(said["about"]) and content_words(said["value"]):
            found[said["about"]] = _ended(said["value"])
    return [Fact(turn.number, clipped(about), clipped(value), turn.time) for about, value in found.items()]


def _ended(value: str) -> str:
    """Without the full stop of the sentence; those inside stay: "Dr. Bo Lind", "3.5 km"."""
    return value.strip().rstrip(".")


def checked(raw: object, turns: Sequence[Turn]) -> list[Fact]:
    """A model's facts, those alone whose words stand in the turn that they name: the others it made up."""
    by_number = {turn.number: turn for turn in turns}
    found: list[Fact] = []
    for one in raw if isinstance(raw, list) else []:
        if not isinstance(one, dict) or not isinstance(one.get("turn"), int) or one["turn"] not in by_number:
            continue
        about, value = (" ".join(str(one.get(key, "")).split()) for key in ("about", "value"))
        turn = by_number[one["turn"]]
        said = f"{turn.question} {turn.answer}"
        words = content_words(value)
        if words and coverage(words, said) == 1.0 and coverage(content_words(about), said) >= 0.5:
            found.append(Fact(turn.number, clipped(about), clipped(value), turn.time))
    return found


def clipped(text: str) -> str:
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1].rstrip() + "…"


def is_about_the_same(one: Fact, other: Fact, embedder: Embedder | None) -> bool:
    """By words, or by meaning where there is an embedder and half of the words are shared."""
    mine, theirs = set(content_words(one.about)), set(content_words(other.about))
    if mine == theirs and (mine or one.about.casefold() == other.about.casefold()):
        return True
    if embedder is None or len(mine & theirs) * 2 < max(len(mine), len(theirs)) or not mine & theirs:
        return False
    vectors = embedder.embed([one.about, other.about])
    return float(vectors[0] @ vectors[1]) >= SAME_COSINE


def says_the_same(one: Fact, other: Fact) -> bool:
    return set(content_words(one.value)) == set(content_words(other.value))
