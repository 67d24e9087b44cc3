"""Which tokens of a text become soft vectors: whole words, the rarest first.

The paper takes every k-th token. A frozen reader makes more of the rare words among them, and of a word it makes little
when a piece of it is missing (docs/experiments.md has the figures).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def begins_word(piece: bytes) -> bool:
    """Whether a token with these bytes begins a word: a space, a line's end or a sign in front, or nothing at all."""
    return not (piece[:1].isalnum() or piece[:1] >= b"\x80")


def chosen(
    tokens: NDArray[np.integer], information: NDArray[np.floating], begins: NDArray[np.bool_], n: int
) -> NDArray[np.intp]:
    """Positions of `n` of the tokens, rising; all of them where there are no more.

    A word is as rare as its rarest token, and half or a third as rare where it comes once or twice again. The rarest
    come first, the earlier of equals, each that still fits. What is left when no word fits any more goes to the rarest
    of the other tokens. `information` says how rare each token is, `begins` whether it begins a word, both for the
    whole vocabulary, (n_vocab,).
    """
    if n >= len(tokens):
        return np.arange(len(tokens))
    rare = information[tokens]
    starts = np.flatnonzero(begins[tokens])
    starts = starts if len(starts) and starts[0] == 0 else np.concatenate([[0], starts])
    lengths = np.diff(starts, append=len(tokens))
    is_chosen = np.zeros(len(tokens), np.bool_)
    room = n
    words = [part.tobytes() for part in np.split(tokens, starts[1:])]
    for word in np.argsort(-np.maximum.reduceat(rare, starts) / (1 + _later(words)), kind="stable"):
        if lengths[word] <= room:
            is_chosen[starts[word] : starts[word] + lengths[word]] = True
            room -= int(lengths[word])
    others = np.flatnonzero(~is_chosen)
    is_chosen[others[np.argsort(-rare[others], kind="stable")[:room]]] = True
    return np.flatnonzero(is_chosen)


def _later(words: Sequence[bytes]) -> NDArray[np.intp]:
    """How often each word comes again after its place."""
    left = Counter(words)
    found = np.empty(len(words), np.intp)
    for n, word in enumerate(words):
        left[word] -= 1
        found[n] = left[word]
    return found
