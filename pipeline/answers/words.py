"""The words of a text that carry its content: without stop words, stemmed, so that forms of one word are one."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

_WORD = re.compile(r"\w+(?:[.,:]\d+)*", re.UNICODE)
_QUESTION_WORDS = frozenset(
    "who whom whose what which when where why how many much did do does done is are was were be been being "
    "have has had "
    "can could will would shall should may might must there their them they he she it its his her you your me my we us "
    "tell give name list say says said according document documents passage passages".split()
)


@cache
def _stop_words() -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_EN_PLUS

    return frozenset(STOPWORDS_EN_PLUS) | _QUESTION_WORDS


@cache
def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")


@lru_cache(maxsize=4096)
def content_words(text: str) -> tuple[str, ...]:
    """The stems of a text's content words, in order of first appearance, none twice. Numbers are words."""
    words = [word for word in _WORD.findall(text.casefold()) if word not in _stop_words()]
    return tuple(dict.fromkeys(_stemmer().stemWords(words)))


def coverage(words: tuple[str, ...], text: str) -> float:
    """The share of the words, in [0, 1], that stand in the text. No words: 0."""
    if not words:
        return 0.0
    found = set(content_words(text))
    return sum(word in found for word in words) / len(words)
