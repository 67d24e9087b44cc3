"""The words that BM25 compares: lower-cased, without stop words, stemmed."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_WORD = re.compile(r"\w+")
VERSION = 1
"""Goes up whenever the words of a text change, so that a saved word index is made anew."""


def words(text: str) -> list[str]:
    """The stems of a text's words in their order, repeated as often as they stand there; a text of stop words: none."""
    stop = _stop_words()
    return list(_stemmer().stemWords([word for word in _WORD.findall(text.lower()) if word not in stop]))


@cache
def _stop_words() -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_EN

    return frozenset(STOPWORDS_EN)


@cache
def _stemmer() -> Any:
    import Stemmer

    return Stemmer.Stemmer("english")
