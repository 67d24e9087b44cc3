"""Chunks with exact offsets, sized in the embedder's own tokens, cut where the text itself pauses.

A document is laid out as words with their token counts. Chunks are then packed from left to right: they end before a
heading if they can, else after a paragraph, else after a sentence, else after a word, and inside a giant word only
where nothing else is left. The separators of code come from langchain-text-splitters. Its own splitter is not used:
with lengths in tokens its `add_start_index` takes the overlap for characters, and gave no offset (-1) for 618 of 2515
chunks of three novels; and it leaves the rest of a long paragraph alone, which fills chunks of 200 tokens with 141 on
average, against 172 here.

Words are counted one by one, each distinct one once, and added up. That is exact for WordPiece and an estimate for
others, so every finished chunk is counted again, and cut further while it is too long.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, pairwise
from typing import Literal, get_args

from pipeline.checks import at_least
from pipeline.documents.chunk_tree import are_paragraphs, pack_tree
from pipeline.documents.information import Informed, ModelBits, Unit, pack_information
from pipeline.documents.places import Places
from pipeline.errors import SettingError
from pipeline.text.sentences import sentences
from pipeline.types import Document, Passage

Chunks = Literal["auto", "tokens", "structure", "information"]
AUTO: Literal["tokens", "structure"] = "structure"
"""How a new index is cut by default (docs/decisions/0053)."""
Count = Callable[[Sequence[str]], list[int]]
"""Tokens of each text as the embedder reads it, special ones included, never cut."""

_WORD = re.compile(r"\S+")
_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*")
_LINE = re.compile(r"\n\s*")
BLOCK_CHARS = 2_000_000
"""Characters that are laid out at once, which takes some 150 bytes each."""
_ATOM_CHARS = 24  # a longer word is laid out in pieces of so many characters; so is a longer gap between words
_SECTION_FILL = 0.25  # a chunk that is less full than this goes on behind the next heading
_PARAGRAPH_FILL = 0.6  # how much of the fair share of its section a chunk must hold to end at a mere pause
_SENTENCE_FILL = 0.3


_MODEL = ModelBits()


@dataclass(frozen=True)
class Chunker:
    """Cuts a document into passages that hold all of its text.

    :param tokens: the longest chunk, in the embedder's tokens, special ones included.
    :param overlap: how many of these tokens a chunk repeats at most from the one before, in whole sentences where they
        fit, else in whole words. Nothing is repeated across a heading.
    :param chunks: `tokens` fills each chunk as far as its section allows; `structure` makes chunks of whole parts of
        the text (chunk_tree.py), without overlap; `information` makes chunks of equal information (information.py),
        without overlap. `auto` is AUTO, or `tokens` where there is an overlap.
    :param informed: measures the information of sentences, for `chunks: information`.
    """

    tokens: int = 200
    overlap: int = 0
    chunks: Chunks = "auto"
    informed: Informed = _MODEL

    def __post_init__(self) -> None:
        at_least("tokens", self.tokens, 1)
        if not 0 <= self.overlap < max(self.tokens / 2, 1):
            raise SettingError("overlap", f"must be in [0, tokens / 2), was: {self.overlap}")
        if self.overlap and self.chunks in ("structure", "information"):
            raise SettingError("overlap", f"must be 0 with chunks: {self.chunks}, was: {self.overlap}")

    @property
    def mode(self) -> Literal["tokens", "structure", "information"]:
        if self.chunks == "auto":
            return "tokens" if self.overlap else AUTO
        return self.chunks

    @property
    def settings(self) -> dict[str, str | int]:
        """What the chunks depend on, for an index's manifest: `version` changes whenever the rules of cutting do."""
        if self.mode == "structure":
            return {"chunker": "tree", "version": 1, "tokens": self.tokens}
        if self.mode == "information":
            return {"chunker": "information", "version": 1, "tokens": self.tokens, "model": self.informed.name}
        return {"chunker": "structure", "version": 1, "tokens": self.tokens, "overlap": self.overlap}

    def for_index(self, settings: Mapping[str, object]) -> Chunker:
        """The chunker that goes on with an index whose chunks have these settings.

        With `chunks: auto` an index stays cut as it was made, whatever AUTO was at that time.
        """
        if self.chunks == "auto":
            for mode in get_args(Chunks):
                if mode != "auto" and not (self.overlap and mode != "tokens"):
                    chunker = replace(self, chunks=mode)
                    if chunker.settings == settings:
                        return chunker
        return self

    def chunk(
        self, document: Document, count: Count, max_tokens: int, progress: Callable[[int, int], None] | None = None
    ) -> list[Passage]:
        """Passages in the order of the text; each takes at most min(tokens, max_tokens) tokens, counted on its text.

        They begin and end with a character that is not white space, and together hold every such character. A text
        longer than BLOCK_CHARS is cut in blocks, and `progress` hears the characters that are done. Raises ValueError
        where the limit leaves no room for a single character.
        """
        limit = min(self.tokens, max_tokens)
        special = count([""])[0]
        room = limit - special
        if room < 1:
            raise ValueError(f"a chunk of at most {limit} tokens has no room beside {special} special tokens")
        spans: list[tuple[int, int]] = []
        for offset, block in _blocks(document):
            spans += [(offset + start, offset + end) for start, end in self._spans(block, count, limit, special)]
            if progress is not None and len(block.text) < len(document.text):
                progress(offset + len(block.text), len(document.text))
        return _passages(document, spans)

    def _spans(self, document: Document, count: Count, limit: int, special: int) -> list[tuple[int, int]]:
        room = limit - special
        layout = _lay_out(document, count, special)
        if self.mode == "structure":
            ends = pack_tree(layout.sums, _ranks(document, layout), room, partial(_cuts, layout, room))
            spans = [(layout.starts[first], layout.ends[last - 1]) for first, last in ends]
        elif self.mode == "information":
            spans = list(_pack_information(document, layout, room, self.informed))
        else:
            spans = list(_pack(layout, room, min(self.overlap, room // 2)))
        return _within(document.text, spans, layout, count, limit)


def _blocks(document: Document) -> Iterator[tuple[int, Document]]:
    """The document in parts of at most BLOCK_CHARS, each with its offset. They end before headings where they can."""
    text, start = document.text, 0
    if len(text) <= BLOCK_CHARS:
        yield 0, document
        return
    headings = [heading.start for heading in document.headings]
    while start < len(text):
        end = _block_end(text, headings, start)
        first, last = bisect_left(headings, start), bisect_left(headings, end)
        inside = [replace(h, start=h.start - start) for h in document.headings[first:last]]
        yield start, Document(document.source, text[start:end], document.kind, headings=tuple(inside))
        start = end


def _block_end(text: str, headings: Sequence[int], start: int) -> int:
    """Where a block ends: before a heading, else behind a paragraph, a line or a word of its second half."""
    end = start + BLOCK_CHARS
    if end >= len(text):
        return len(text)
    half = start + BLOCK_CHARS // 2
    heading = bisect_right(headings, end) - 1
    if heading >= 0 and headings[heading] > half:
        return headings[heading]
    for mark in ("\n\n", "\n", " "):
        place = text.rfind(mark, half, end)
        if place >= 0:
            return place + len(mark)
    return _whole_character(text, end, half)


@dataclass(frozen=True, slots=True)
class _Layout:
    """The text as atoms: words, or pieces of giant ones.

    Atom i lies at [starts[i], ends[i]) and the first i atoms take sums[i] tokens. The others are positions of atoms,
    ascending, before which a cut is good: sections best, then paragraphs, then sentences.
    """

    starts: list[int]
    ends: list[int]
    sums: list[int]
    sections: list[int]
    paragraphs: list[int]
    sentences: list[int]

    def reach(self, first: int, room: int) -> int:
        """The position behind the last atom that fits when `first` begins: at least one atom."""
        return max(bisect_right(self.sums, self.sums[first] + room) - 1, first + 1)


def _lay_out(document: Document, count: Count, special: int) -> _Layout:
    text = document.text
    pauses = _line_starts(text) if document.kind.startswith("code") else [start for start, _ in sentences(text)]
    starts, ends = _atoms(text, pauses)
    words = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    distinct = list(dict.fromkeys(words))
    tokens = {word: n - special for word, n in zip(distinct, count(distinct), strict=True)} if distinct else {}
    gaps = [(after - end) // _ATOM_CHARS for end, after in zip(ends, [*starts[1:], *ends[-1:]], strict=True)]
    sums = list(accumulate((tokens[word] + gap for word, gap in zip(words, gaps, strict=True)), initial=0))

    def positions(offsets: Iterator[int]) -> list[int]:
        return sorted({bisect_left(starts, offset) for offset in offsets})

    return _Layout(
        starts,
        ends,
        sums,
        positions(heading.start for heading in document.headings),
        positions(iter([match.end() for match in _BLANK_LINE.finditer(text)] + _structure(document))),
        positions(iter(pauses)),
    )


def _ranks(document: Document, layout: _Layout) -> list[list[int]]:
    """Positions of atoms to cut a document at, the strongest first: headings by level, functions, paragraphs, lines."""
    levels = sorted({heading.level for heading in document.headings})
    kinds = [[heading.start for heading in document.headings if heading.level == level] for level in levels]
    kinds += [_structure(document), [match.end() for match in _BLANK_LINE.finditer(document.text)]]
    if are_paragraphs(document.text):
        kinds.append(_line_starts(document.text))
    return [sorted({bisect_left(layout.starts, offset) for offset in kind}) for kind in kinds]


def _cuts(layout: _Layout, room: int, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Spans of atoms between two positions, each of about equal size, that end behind sentences where they can."""
    within = replace(layout, sections=[last], paragraphs=[])
    while first < last:
        is_rest = layout.sums[last] - layout.sums[first] <= room
        end = last if is_rest else min(_cut(within, first, room), last)
        yield first, end
        first = end


def _pack_information(document: Document, layout: _Layout, room: int, informed: Informed) -> Iterator[tuple[int, int]]:
    """Character spans of chunks of equal information."""
    n = len(layout.starts)
    if not n:
        return
    headings, paragraphs = set(layout.sections), set(layout.paragraphs)
    edges = sorted({0, *layout.sections, *layout.paragraphs, *layout.sentences, n})
    # A sentence that no chunk can hold is cut first.
    spans = [span for first, last in pairwise(edges) for span in _fitting(layout, room, first, last)]
    bits = informed(document.text, [(layout.starts[first], layout.ends[last - 1]) for first, last in spans])
    units = [
        Unit(layout.sums[last] - layout.sums[first], value, first in headings, first in paragraphs)
        for (first, last), value in zip(spans, bits, strict=True)
    ]
    for first, last in pack_information(units, room):
        yield layout.starts[spans[first][0]], layout.ends[spans[last - 1][1] - 1]


def _fitting(layout: _Layout, room: int, first: int, last: int) -> Iterator[tuple[int, int]]:
    if layout.sums[last] - layout.sums[first] <= room:
        yield first, last
    else:
        yield from _cuts(layout, room, first, last)


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in _LINE.finditer(text))]


def _structure(document: Document) -> list[int]:
    """Where the separators that langchain knows for a programming language stand: classes, functions and the like."""
    if not document.kind.startswith("code:"):
        return []
    from langchain_text_splitters import Language, RecursiveCharacterTextSplitter

    name = document.kind.removeprefix("code:")
    if name not in {language.value for language in Language}:
        return []
    separators = RecursiveCharacterTextSplitter.get_separators_for_language(Language(name))
    telling = [separator for separator in separators if separator.strip()]
    matches = re.finditer("|".join(f"(?:{separator})" for separator in telling), document.text)
    return [match.start() + len(match[0]) - len(match[0].lstrip()) for match in matches]


def _atoms(text: str, pauses: Sequence[int]) -> tuple[list[int], list[int]]:
    """Starts and ends of words, cut further where a sentence begins inside one and where it is longer than an atom."""
    inside = [pause for pause in pauses if 0 < pause < len(text) and not text[pause - 1].isspace()]
    inside.append(len(text) + 1)
    starts: list[int] = []
    ends: list[int] = []
    n = 0  # the first pause inside a word that is not behind us
    for match in _WORD.finditer(text):
        start, end = match.span()
        if end - start > _ATOM_CHARS or inside[n] < end:
            while inside[n] <= start:
                n += 1
            edges = inside[n : bisect_left(inside, end)]
            n += len(edges)
            for a, b in zip([start, *edges], [*edges, end], strict=True):
                for piece_start, piece_end in _pieces(text, a, b):
                    starts.append(piece_start)
                    ends.append(piece_end)
        else:
            starts.append(start)
            ends.append(end)
    return starts, ends


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A giant word in pieces; an accent or a joiner stays with the character before it, unless they go on and on."""
    while end - start > _ATOM_CHARS:
        cut = _whole_character(text, start + _ATOM_CHARS, start)
        yield start, cut
        start = cut
    yield start, end


def _whole_character(text: str, cut: int, start: int) -> int:
    """The nearest place at or before `cut` that does not tear a character from its marks, else `cut`."""
    for place in range(cut, max(start, cut - 8), -1):
        if unicodedata.category(text[place])[0] != "M" and "\u200d" not in text[place - 1 : place + 1]:
            return place
    return cut


def _pack(layout: _Layout, room: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Character spans of chunks whose atoms add up to at most `room`, from left to right."""
    first, before = 0, 0
    n = len(layout.starts)
    while first < n:
        begin = _reach_back(layout, first, before, overlap)
        end = _cut(layout, first, room - (layout.sums[first] - layout.sums[begin]))
        yield layout.starts[begin], layout.ends[end - 1]
        before, first = begin + 1, end


def _cut(layout: _Layout, first: int, room: int) -> int:
    """The position of the atom before which the chunk that begins at `first` ends.

    What is left of a section is shared out evenly among the chunks that it needs, so that none is left with a crumb.
    """
    sums = layout.sums
    section = _section_end(layout, first, room)
    left = sums[section] - sums[first]
    if left <= room:
        return section
    last = layout.reach(first, room)
    share = left / -(-left // room)
    for places, fill in ((layout.paragraphs, _PARAGRAPH_FILL), (layout.sentences, _SENTENCE_FILL)):
        least = max(bisect_left(sums, sums[first] + share * fill), first + 1)
        fair = bisect_left(sums, sums[first] + share)
        good = places[bisect_left(places, least) : bisect_right(places, last)]
        if good:
            return min(good, key=lambda place: abs(sums[place] - sums[fair]))
    return last


def _section_end(layout: _Layout, first: int, room: int) -> int:
    """Where the section ends that `first` stands in; a section that is too short to stand alone takes the next."""
    enough = bisect_left(layout.sums, layout.sums[first] + room * _SECTION_FILL)
    n = bisect_left(layout.sections, max(enough, first + 1))
    return layout.sections[n] if n < len(layout.sections) else len(layout.starts)


def _reach_back(layout: _Layout, first: int, before: int, overlap: int) -> int:
    """Where a chunk begins that repeats up to `overlap` tokens from behind `before`: at a sentence if there is one."""
    heading = bisect_right(layout.sections, first) - 1
    section = layout.sections[heading] if heading >= 0 else 0
    least = max(bisect_left(layout.sums, layout.sums[first] - overlap), before, section)
    if not overlap or least >= first:
        return first
    n = bisect_left(layout.sentences, least)
    return layout.sentences[n] if n < len(layout.sentences) and layout.sentences[n] < first else least


def _within(
    text: str, spans: list[tuple[int, int]], layout: _Layout, count: Count, limit: int
) -> list[tuple[int, int]]:
    """The spans, those that count more than `limit` halved until none does."""
    done: list[tuple[int, int]] = []
    while spans:
        halves: list[tuple[int, int]] = []
        for span, n in zip(spans, count([text[start:end] for start, end in spans]), strict=True):
            if n <= limit:
                done.append(span)
            elif span[1] - span[0] == 1:
                raise ValueError(f"one character takes {n} tokens, and a chunk may take {limit}: raise the limit")
            else:
                halves += _halves(text, span, layout)
        spans = halves
    return _uncontained(done)


def _uncontained(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans in order, without those that lie inside another, as halves of overlapping chunks may."""
    kept: list[tuple[int, int]] = []
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not kept or end > kept[-1][1]:
            kept.append((start, end))
    return kept


def _halves(text: str, span: tuple[int, int], layout: _Layout) -> list[tuple[int, int]]:
    """A span of at least two characters in two, at the atom nearest to its middle, or inside its only atom."""
    start, end = span
    middle = (start + end) // 2
    near_middle = bisect_left(layout.starts, middle)
    near = [
        layout.starts[i]
        for i in (near_middle - 1, near_middle)
        if 0 <= i < len(layout.starts) and start < layout.starts[i] < end
    ]
    cut = min(near, key=lambda offset: abs(offset - middle)) if near else _whole_character(text, middle, start)
    return [(start, start + len(text[start:cut].rstrip())), (cut, end)]


def _passages(document: Document, spans: Sequence[tuple[int, int]]) -> list[Passage]:
    """The spans as passages with their places."""
    text, places = document.text, Places(document)
    return [
        Passage(document.source, start, end, text[start:end], place=places.at(start, end), title=document.title)
        for start, end in spans
    ]
