"""An answer against the accepted ones, as SQuAD's official script compares them (https://arxiv.org/abs/1606.05250).

Both are put in lower case, without ASCII punctuation, without the articles a, an, the, and with single spaces. The best
accepted answer counts. A question without an answer has the accepted answer "", and so says nothing scores 1.
Letters are composed first (NFC), so that a decomposed accepted answer is the same answer.
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
    """The text as the script compares it."""
    composed = unicodedata.normalize("NFC", text)
    return " ".join(_ARTICLES.sub(" ", composed.lower().translate(_PUNCTUATION)).split())


def exact_match(said: str, gold: str) -> float:
    return float(normal(said) == normal(gold))


def f1(said: str, gold: str) -> float:
    """The harmonic mean of precision and recall of the words; without words on one side, whether both have none."""
    a, b = normal(said).split(), normal(gold).split()
    if not a or not b:
        return float(a == b)
    common = (Counter(a) & Counter(b)).total()
    return 2 * common / (len(a) + len(b))


def contains(said: str, gold: str) -> float:
    """Whether the accepted answer's words stand in the answer, next to each other and whole."""
    if not normal(gold):
        return float(not normal(said))
    return float(f" {normal(gold)} " in f" {normal(said)} ")


def holds(text: str, answer: str) -> bool:
    """Whether an accepted answer stands in a text as whole words next to each other, as `pipeline.text` compares them.

    Case, punctuation, articles, the shape of letters and of numbers do not count: 6,018 is 6018, thirty-four is 34.
    An answer without words is held by a text without words alone.
    """
    wanted, there = units(answer), units(text)
    if not wanted:
        return not there
    n = len(wanted)
    first = wanted[0]
    return any(there[i] == first and there[i : i + n] == wanted for i in range(len(there) - n + 1)) or (
        bool(normal(answer)) and contains(text, answer) == 1
    )


def best(measure: Callable[[str, str], float], said: str, answers: Sequence[str]) -> float:
    """The measure for the accepted answer that it is highest for; with none, for the empty one.

    Like the script, answers that are nothing but articles and punctuation are passed over where there are others.
    """
    telling = [answer for answer in answers if normal(answer)] or [""]
    return max(measure(said, answer) for answer in telling)
