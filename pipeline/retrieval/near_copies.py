"""Near copies do not fill the top k: of passages that say the same, the best ranked one stands for the others.

Broder, On the resemblance and containment of documents, SEQUENCES 1997
(https://doi.org/10.1109/SEQUEN.1997.666900): the share of a text's shingles, here of four words, that another one has.
Ours compares with all passages ranked above at once, since the cuts of two versions of a document differ. A passage
with a number, a name or a negation that those lack is no copy, however alike the rest is: that word may be the answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from pipeline.types import Copy, Passage

Copies = Literal["fold", "keep"]
POOL = 3
"""How many times k passages are searched for, so that k are left without the copies."""
SHARE = 0.8
"""The share of its shingles from which on a passage is a near copy."""
MAX_NEW_WORDS = 0.05
_WORDS_OF_A_SHINGLE = 4
_WORD = re.compile(r"\w+(?:[.,:'’/-]\w+)*")
_NEGATIONS = frozenset(
    "not no never none nobody nothing neither nor without cannot except unless "
    "nicht kein keine keinen keinem keiner nie niemals niemand nichts ohne weder außer "
    "değil yok hiç asla hiçbir olmadan ne".split()
)


def folded(passages: Sequence[Passage], k: int, copies: Copies, note: Callable[[str], None]) -> list[Passage]:
    """The first k of the passages, which are best first, without near copies of those above.

    `note` names the near copies. Each is also kept as a place of the passage above that has most of its text.
    """
    if copies == "keep":
        return list(passages[:k])
    kept: list[Passage] = []
    left_out: list[str] = []
    near: list[list[Copy]] = []
    shingles_of: list[set[tuple[str, ...]]] = []
    shingles: set[tuple[str, ...]] = set()
    words: set[str] = set()
    for passage in passages:
        if len(kept) == k:
            break
        written = _WORD.findall(passage.text)
        new_shingles = _shingles(written)
        if kept and is_near_copy(written, new_shingles, shingles, words):
            left_out.append(_named(passage))
            nearest = max(range(len(kept)), key=lambda n: len(new_shingles & shingles_of[n]))
            near[nearest] += [Copy(passage.source, passage.start, passage.place), *passage.copies]
            continue
        kept.append(passage)
        near.append([])
        shingles_of.append(new_shingles)
        shingles |= new_shingles
        words.update(word.casefold() for word in written)
    if left_out:
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        note(f"near copies of passages above were left out: {'; '.join(left_out[:3])}{more}")
    return [replace(p, near_copies=tuple(copies)) if copies else p for p, copies in zip(kept, near, strict=True)]


def is_near_copy(
    written: Sequence[str], new_shingles: set[tuple[str, ...]], shingles: set[tuple[str, ...]], words: set[str]
) -> bool:
    """Whether a text's words say nothing beyond `shingles` and `words`, those of the texts above it."""
    if not new_shingles or len(new_shingles & shingles) < SHARE * len(new_shingles):
        return False
    new = [word for word in written if word.casefold() not in words]
    return len(new) <= MAX_NEW_WORDS * len(written) and not any(map(_is_telling, new))


def _is_telling(word: str) -> bool:
    """Whether one such word may make all the difference: a number, a name, a negation."""
    return any(letter.isdigit() for letter in word) or word[0].isupper() or word.casefold() in _NEGATIONS


def _shingles(written: Sequence[str]) -> set[tuple[str, ...]]:
    words = [word.casefold() for word in written]
    n = min(_WORDS_OF_A_SHINGLE, len(words))
    return {tuple(words[start : start + n]) for start in range(len(words) - n + 1)} if n else set()


def _named(passage: Passage) -> str:
    name = passage.source.rpartition("/")[2]
    return f"{name}, {passage.place}" if str(passage.place) else name
