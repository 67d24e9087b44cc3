"""Scores a reply against the accepted answers, as SQuAD's official script does (https://arxiv.org/abs/1606.05250).

Both texts are lowercased and lose their ASCII punctuation, the articles (a, an, the) and repeated spaces. The best
accepted answer counts. A question without an answer has the accepted answer "", so an empty reply scores 1.
Unlike the script, this composes letters first (NFC): a decomposed accepted answer is the same answer.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

from pipeline.text.tokens import units

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)


@lru_cache(4096)
def normal(text: str) -> str:
    """Normalises a text like the script."""
    composed = unicodedata.normalize("NFC", text)
    return " ".join(_ARTICLES.sub(" ", composed.lower().translate(_PUNCTUATION)).split())


def exact_match(reply: str, gold: str) -> float:
    """1 if both texts are the same once normalised, else 0."""
    return float(normal(reply) == normal(gold))


def f1(reply: str, gold: str) -> float:
    """The harmonic mean of precision and recall over words. If a text has no words: 1 if both have none, else 0."""
    a, b = normal(reply).split(), normal(gold).split()
    if not a or not b:
        return float(a == b)
    common = (Counter(a) & Counter(b)).total()
    return 2 * common / (len(a) + len(b))


def contains(reply: str, gold: str) -> float:
    """1 if the reply holds the accepted answer as whole, adjacent words, else 0."""
    if not normal(gold):
        return float(not normal(reply))
    return float(f" {normal(gold)} " in f" {normal(reply)} ")


def holds(text: str, answer: str) -> bool:
    """Whether a text holds an accepted answer as whole, adjacent words, compared as `pipeline.text` does.

    Case, punctuation, articles and the spelling of letters and numbers are ignored: 6,018 is 6018, thirty-four is 34.
    Only a text without words holds an answer without words.
    """
    wanted, there = units(answer), units(text)
    if not wanted:
        return not there
    n = len(wanted)
    first = wanted[0]
    return any(there[i] == first and there[i : i + n] == wanted for i in range(len(there) - n + 1)) or (
        bool(normal(answer)) and contains(text, answer) == 1
    )


def best(measure: Callable[[str, str], float], reply: str, answers: Sequence[str]) -> float:
    """The highest score over the accepted answers. Without accepted answers, the score against the empty one.

    Like the script, this ignores answers made only of articles and punctuation if there are others.
    """
    worded = [answer for answer in answers if normal(answer)] or [""]
    return max(measure(reply, answer) for answer in worded)
