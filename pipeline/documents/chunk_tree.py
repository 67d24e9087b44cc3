"""Chunks that follow the structure of a text: sections, functions, paragraphs, with small neighbours put together.

A part that fits is a chunk: a section with all below it, else each section below, else each paragraph, else as many
sentences as fit. Then neighbours are put together as long as they fit, siblings before cousins: so a chunk is at least
half full or next to one that it does not fit with.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

Span = tuple[int, int]
"""Positions of atoms: the first, and the one behind the last."""
_UNWRAPPED_CHARS = 200  # lines that are longer on average are paragraphs


def pack_tree(
    sums: Sequence[int], ranks: Sequence[Sequence[int]], room: int, pack: Callable[[int, int], Iterator[Span]]
) -> Iterator[Span]:
    """Spans of atoms whose tokens add up to at most `room` each, from left to right.

    The first i atoms take sums[i] tokens. `ranks` are positions to cut at, ascending, the strongest kind first. `pack`
    cuts what has none of them inside.
    """

    def size(span: Span) -> int:
        return sums[span[1]] - sums[span[0]]

    def cut(first: int, last: int, rank: int) -> list[Span]:
        if size((first, last)) <= room:
            return [(first, last)]
        for lower in range(rank, len(ranks)):
            inside = ranks[lower][bisect_right(ranks[lower], first) : bisect_left(ranks[lower], last)]
            if inside:
                edges = [first, *inside, last]
                parts = [cut(start, end, lower + 1) for start, end in pairwise(edges)]
                return merged([span for part in parts for span in part])
        return list(pack(first, last))

    def merged(spans: Sequence[Span]) -> list[Span]:
        """The spans, each taken together with the one before where both fit."""
        joined: list[Span] = []
        for start, end in spans:
            if joined and size((joined[-1][0], end)) <= room:
                joined[-1] = (joined[-1][0], end)
            else:
                joined.append((start, end))
        return joined

    if len(sums) > 1:
        yield from cut(0, len(sums) - 1, 0)


def are_paragraphs(text: str) -> bool:
    """Whether each line is a paragraph: text that was not wrapped."""
    n_lines = text.count("\n") + 1
    return len(text) > _UNWRAPPED_CHARS * n_lines
