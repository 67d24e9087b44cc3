"""Facts are short strings drawn from turns. A newer fact supersedes an older one about the same.

A fact states what something is: `about` is its subject and relation ("Anna's favourite colour"), `value` the rest
("green"). Two facts are about the same if their `about` has the same content words, or if the embedder calls both
similar and they share half of their words. If their values differ, the fact of the later turn supersedes the other.
Both stay, with their dates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.contracts import Embedder
from pipeline.text.sentences import sentences
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
    """A statement of a turn. `id` counts from 1 in its session; `superseded_by` is the id of its successor."""

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
    """The person's statements that match patterns such as "my X is Y" or "I live in Y". Questions have none."""
    facts: dict[str, str] = {}
    for start, end in sentences(turn.question):
        sentence = " ".join(turn.question[start:end].split())
        if sentence.endswith("?"):
            continue
        if name := _NAME.search(sentence):
            facts["my name"] = name["value"]
            continue
        if place := _LIVE.search(sentence):
            facts[_VERBS[place["verb"]]] = _without_full_stop(place["value"])
        elif (match := _IS.search(sentence)) and content_words(match["about"]) and content_words(match["value"]):
            facts[match["about"]] = _without_full_stop(match["value"])
    return [Fact(turn.number, clipped(about), clipped(value), turn.time) for about, value in facts.items()]


def _without_full_stop(value: str) -> str:
    """Removes the full stop at the end, and keeps those inside: "Dr. Bo Lind", "3.5 km"."""
    return value.strip().rstrip(".")


def checked(raw: object, turns: Sequence[Turn]) -> list[Fact]:
    """Those facts of a model whose words occur in the turn that they name. The model made up the others."""
    by_number = {turn.number: turn for turn in turns}
    facts: list[Fact] = []
    for entry in raw if isinstance(raw, list) else []:
        if not isinstance(entry, dict) or not isinstance(entry.get("turn"), int) or entry["turn"] not in by_number:
            continue
        about, value = (" ".join(str(entry.get(key, "")).split()) for key in ("about", "value"))
        turn = by_number[entry["turn"]]
        text = f"{turn.question} {turn.answer}"
        words = content_words(value)
        if words and coverage(words, text) == 1.0 and coverage(content_words(about), text) >= 0.5:
            facts.append(Fact(turn.number, clipped(about), clipped(value), turn.time))
    return facts


def clipped(text: str) -> str:
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1].rstrip() + "…"


def is_about_the_same(fact: Fact, other: Fact, embedder: Embedder | None) -> bool:
    """Compares words, then meaning if there is an embedder and half of the words are shared."""
    words, other_words = set(content_words(fact.about)), set(content_words(other.about))
    if words == other_words and (words or fact.about.casefold() == other.about.casefold()):
        return True
    shared = words & other_words
    if embedder is None or not shared or len(shared) * 2 < max(len(words), len(other_words)):
        return False
    vectors = embedder.embed([fact.about, other.about])
    return float(vectors[0] @ vectors[1]) >= SAME_COSINE


def says_the_same(fact: Fact, other: Fact) -> bool:
    return set(content_words(fact.value)) == set(content_words(other.value))


def newest_of(fact: Fact, by_id: dict[int, Fact]) -> Fact | None:
    """The last successor of a superseded fact; None if the fact is current."""
    newer = None
    while fact.superseded_by is not None:
        fact = newer = by_id[fact.superseded_by]
    return newer
