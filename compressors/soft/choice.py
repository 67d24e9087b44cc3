"""Chooses the tokens of a text that become soft vectors: whole sentences, those with the rarest words first.

The paper takes every k-th token. A frozen reader understands running text far better than a list of words, however rare
(see the figures in docs/experiments.md), so adjacent tokens are taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST = 64
"""Most tokens of a sentence. A longer sentence counts as several."""
_ENDS = tuple(mark.encode() for mark in ".!?…。！？")
_CLOSING = b" \"')]"


def ends_sentence(piece: bytes) -> bool:
    """Whether a token with these bytes ends a sentence: with a mark (before quotes or brackets) or a line break."""
    return b"\n" in piece or piece.rstrip(_CLOSING).endswith(_ENDS)


def chosen(
    tokens: NDArray[np.integer], information: NDArray[np.floating], ends: NDArray[np.bool_], n: int
) -> NDArray[np.intp]:
    """Positions of `n` of the tokens, ascending; all of them if there are no more than `n`.

    A sentence's rarity is the mean over its tokens. Whole sentences that still fit are taken, the rarest first and ties
    by position. The remaining room goes to the beginning of the rarest sentence that did not fit. `information` is the
    rarity of each token and `ends` whether it ends a sentence, both for the whole vocabulary, (n_vocab,).
    """
    if n >= len(tokens):
        return np.arange(len(tokens))
    starts = _starts(ends[tokens])
    lengths = np.diff(starts, append=len(tokens))
    order = np.argsort(-np.add.reduceat(information[tokens], starts) / lengths, kind="stable")
    is_chosen = np.zeros(len(tokens), np.bool_)
    room, left = n, []
    for sentence in order:
        if lengths[sentence] <= room:
            is_chosen[starts[sentence] : starts[sentence] + lengths[sentence]] = True
            room -= int(lengths[sentence])
        else:
            left.append(starts[sentence])
    if room:
        is_chosen[left[0] : left[0] + room] = True
    return np.flatnonzero(is_chosen)


def _starts(is_end: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The first tokens of sentences. A sentence longer than LONGEST is split after every LONGEST tokens."""
    first = np.concatenate([[0], np.flatnonzero(is_end[:-1]) + 1])
    last = np.append(first[1:], len(is_end))
    return np.concatenate([np.arange(*span, LONGEST) for span in zip(first, last, strict=True)])
