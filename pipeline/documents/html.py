"""HTML: the page's visible text in reading order, laid out like Markdown, with the offsets of its headings.

The text is our own rendering of lxml's tree, because extractors of main text drop paragraphs now and then. A block is
left out only when two judges agree: it stands in something that the page itself marks as navigation, and trafilatura
does not count it as main text. How many words that concerns is told in a note.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.documents import charsets
from pipeline.documents.html_tables import Cell, Table, read_cell
from pipeline.documents.lines import (
    Lines,
    SourceLines,
    can_be_marked,
    mark_lines,
    settled,
    take_lines,
    without_repeats,
)
from pipeline.documents.properties import page_properties
from pipeline.documents.tables import count_of
from pipeline.documents.text import decode, readable_name
from pipeline.errors import DocumentError, MissingExtraError
from pipeline.types import Document, Heading

if TYPE_CHECKING:
    from lxml.etree import _Element

_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_UNSEEN = {"head", "script", "style", "template", "noscript", "iframe", "object", "svg", "datalist", "audio", "video"}
_BLOCKS = _HEADINGS | set(
    "html body p div section article main header footer nav aside ul ol menu li dl dt dd table caption thead tbody "
    "tfoot tr td th blockquote pre figure figcaption address form fieldset legend details summary center hr "
    "option".split()
)
_NAVIGATION = {"nav", "footer", "aside", "menu"}
_NAVIGATION_ROLES = {"navigation", "banner", "contentinfo", "search", "complementary"}
_NAVIGATION_NAMES = set(
    "nav navbar navigation menu footer sidebar breadcrumb breadcrumbs cookie cookies share social skip-link".split()
)
_MAIN = {"main", "article"}
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_CHARSET = re.compile(
    rb"<meta[^>]+charset\s*=\s*[\"']?\s*([\w.:-]+)|^\s*<\?xml[^>]+encoding\s*=\s*[\"']([\w.:-]+)", re.IGNORECASE
)
_USELESS = "navigation was kept, for trafilatura cannot be imported: pip install 'longthread[html]'"
_LEAST_SHARE = 0.3  # with less of its words left than this, the page is kept whole


def load_html(path: Path, data: bytes, label: str | None = None) -> Document:
    """The page as text. The title: its first h1, else its <title>, else its first heading.

    `label` is the charset that the page was sent with, which counts before the one that it names.

    Raises DocumentError for a page that cannot be parsed, MissingExtraError without lxml.
    """
    source, notes = decode_html(path, data, label)
    # lxml does not tell the line of running text, so every line end carries a mark through the parser.
    is_marked = can_be_marked(source)
    root = parse(path, mark_lines(source) if is_marked else source)
    blocks, images = render(root, is_marked)
    kept, left_out = _without_navigation(source, blocks)
    source_lines = SourceLines(source)
    layout = lay_out(
        block if block.is_row else replace(block, lines=source_lines.check(block.text, block.lines)) for block in kept
    )
    title = _title(layout.headings, root, is_marked) or readable_name(path)
    author, date, language = page_properties(source)
    notes += (f"{images} image{'s' if images > 1 else ''} without text",) if images else ()
    return Document(
        source=path.as_posix(),
        text=layout.text,
        kind="html",
        title=title,
        headings=layout.headings,
        notes=notes + left_out,
        lines=layout.lines,
        author=author,
        date=date,
        language=language,
    )


def decode_html(path: Path, data: bytes, label: str | None = None) -> tuple[str, tuple[str, ...]]:
    """The page's characters: a byte order mark or UTF-8 first, then the encoding that the page is labelled with."""
    if not label and (named := _CHARSET.search(data[:100_000])):
        label = (named[1] or named[2]).decode("ascii")
    if label and (charsets.by_label(label) or "").startswith("iso2022"):  # valid UTF-8, and not meant as such
        return decode(path, data.decode(label, "replace").encode())
    return decode(path, data, label)


def parse(path: Path, source: str) -> _Element:
    """The tree of a page. Nothing is fetched, and no entity of its own is expanded."""
    try:
        from lxml import etree, html
    except ImportError:
        raise MissingExtraError(f"{path}: reading HTML needs lxml: pip install 'longthread[html]'") from None
    # libxml2's usual limits on depth and text size would cut long pages short.
    parser = html.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=True)
    try:
        root = html.document_fromstring(source.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError) as error:
        raise DocumentError(f"{path}: cannot be parsed as HTML: {error}") from None
    fatal = next((entry for entry in parser.error_log if entry.level_name == "FATAL"), None)
    if fatal is not None:  # lxml gives what stands before it, as if that were all
        raise DocumentError(f"{path}: cannot be read to its end: {fatal.message} (line {fatal.line})")
    return root


# ---------------------------------------------------------------------------------------------------------- blocks
@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, heading, list item, table row or preformatted text.

    `text` is what the page shows; `mark` is what stands before it in our layout. `level` is that of a heading, else 0.
    Blocks that are `tight` follow one another without a blank line. `lines` says on which line of the file each part of
    the text stands; empty where that was not marked. `is_row` says that it is a table's, with names from its header.
    """

    text: str
    mark: str = ""
    level: int = 0
    is_tight: bool = False
    is_navigation: bool = False
    lines: Lines = ()
    is_row: bool = False


@dataclass(slots=True)
class _Renderer:
    """Walks the tree once, without recursion, and gathers blocks."""

    is_marked: bool = False
    blocks: list[Block] = field(default_factory=list)
    images: int = 0
    inline: list[str] = field(default_factory=list)
    lists: list[int] = field(default_factory=list)  # of each open list the next number, 0 for bullets
    mark: str = ""
    tags: list[str] = field(default_factory=list)
    navigation: list[bool] = field(default_factory=lambda: [False])
    unseen: int = 0
    pre: int = 0
    cells: list[Cell] | None = None
    table: Table | None = None

    def start(self, element: _Element) -> None:
        tag = _tag(element)
        if self.unseen or tag in _UNSEEN or _is_hidden(element):
            self.unseen += 1
            return
        self.navigation.append(_is_navigation(element, tag, self.navigation[-1]))
        if tag in _BLOCKS:
            self.begin_block(element, tag)
        elif tag == "br":
            self.inline.append("\n")
        elif tag == "img":
            self.image(element)
        # Without a sign, 10<sup>6</sup> would read as the number 106.
        elif tag == "sup" and not len(element) and re.fullmatch(r"\s*[+−-]?\d+\s*", self.plain(element.text or "")):
            self.inline.append("^")
        elif tag == "input" and element.get("type") in (None, "text", "submit", "button"):
            self.inline.append(f" {element.get('value', '')} ")
        self.say(element.text)

    def end(self, element: _Element) -> None:
        if self.unseen:
            self.unseen -= 1
        else:
            tag = _tag(element)
            if tag in _BLOCKS:
                self.end_block(element, tag)
            self.navigation.pop()
        if not self.unseen:
            self.say(element.tail)

    def say(self, text: str | None) -> None:
        """Adds running text, in which a line's end is a space like any other, except in preformatted text."""
        if text:
            text = settled(text) if self.is_marked else text
            self.inline.append(text if self.pre else text.replace("\n", " "))

    def plain(self, text: str) -> str:
        return take_lines(text)[0] if self.is_marked else text

    def take_lines(self, text: str) -> tuple[str, Lines]:
        return take_lines(text) if self.is_marked else (text, ())

    def begin_block(self, element: _Element, tag: str) -> None:
        if self.cells is not None:
            if tag in ("td", "th"):
                self.inline.clear()
            # A list inside a cell becomes one line, as the cell has to.
            elif tag == "li" and "".join(self.inline).strip():
                self.inline = ["".join(self.inline).rstrip(), ", "]
            else:
                self.inline.append(" ")
            return
        self.flush()
        if tag in ("ul", "ol", "menu"):
            self.lists.append(_first_number(element) if tag == "ol" else 0)
        elif tag == "li":
            self.mark = self.item_mark()
        elif tag == "pre":
            self.pre += 1
        elif tag == "table" and self.table is None and _is_data(element):
            self.table = Table(element)
        elif tag == "tr" and self.table is not None:
            self.cells = []

    def end_block(self, element: _Element, tag: str) -> None:
        if self.cells is not None:
            if tag in ("td", "th"):
                self.cells.append(read_cell(element, " ".join("".join(self.inline).split())))
                self.inline.clear()
            elif tag == "tr":
                self.row()
            else:
                self.inline.append(" ")
            return
        self.flush(int(tag[1]) if tag in _HEADINGS else 0)
        if tag in ("ul", "ol", "menu") and self.lists:
            self.lists.pop()
        elif tag == "li":
            self.mark = ""
        elif tag == "pre":
            self.pre -= 1
        # The flush above has just made a block of the caption's text.
        elif tag == "caption" and self.table is not None and self.blocks:
            self.table.caption = " ".join(self.blocks[-1].text.split())
        elif self.table is not None and element is self.table.element:
            for text, lines in self.table.lines():
                block = Block(text, "", 0, True, self.navigation[-1], lines if self.is_marked else (), True)
                self.blocks.append(block)
            self.table = None

    def item_mark(self) -> str:
        indent = "  " * (len(self.lists) - 1)
        if self.lists and self.lists[-1]:
            self.lists[-1] += 1
            return f"{indent}{self.lists[-1] - 1}. "
        return f"{indent}- "

    def row(self) -> None:
        """Ends a row; what stood between its cells is kept in a cell of its own."""
        cells, between = self.cells or [], " ".join("".join(self.inline).split())
        self.cells = None
        self.inline.clear()
        if between:
            cells.append(Cell(between))
        if self.table is not None and any(cell.text for cell in cells):
            self.table.rows.append(cells)

    def flush(self, level: int = 0) -> None:
        """Makes a block of the inline text so far, if there is any."""
        written = "".join(self.inline)
        self.inline.clear()
        # Leading spaces of preformatted text are content: they indent code.
        text = written.strip("\n").rstrip() if self.pre else _collapse(written)
        if level:
            text = " ".join(text.split())
        text, lines = self.take_lines(text)
        if not text.strip():
            return
        if self.pre:
            self.blocks.append(Block(text, "```", is_navigation=self.navigation[-1], lines=lines))
            return
        mark = f"{'#' * level} " if level else self.mark
        self.blocks.append(Block(text, mark, level, bool(self.lists) and not level, self.navigation[-1], lines))
        self.mark = "  " * len(self.lists)

    def image(self, element: _Element) -> None:
        description = _collapse(element.get("alt", ""))
        if description:
            self.inline.append(f" [image: {description}] ")
        else:
            self.images += 1


def render(root: _Element, is_marked: bool = False) -> tuple[list[Block], int]:
    """The visible blocks in reading order, and how many images there are that say nothing.

    `is_marked` says that the page holds the marks of `mark_lines`.
    """
    from lxml import etree

    renderer = _Renderer(is_marked)
    for event, element in etree.iterwalk(root, events=("start", "end")):
        (renderer.start if event == "start" else renderer.end)(element)
    renderer.flush()
    return renderer.blocks, renderer.images


@dataclass(frozen=True, slots=True)
class Layout:
    """Blocks as one text: its headings, where each other block starts, and the lines of the file it stands on."""

    text: str
    headings: tuple[Heading, ...]
    paragraphs: tuple[int, ...]
    lines: Lines


def lay_out(blocks: Iterable[Block]) -> Layout:
    """The blocks as one text: blank lines between them, but not between items of a list or rows of a table."""
    parts: list[str] = []
    headings: list[Heading] = []
    paragraphs: list[int] = []
    lines: list[tuple[int, int | None]] = []
    length, was_tight = 0, False
    for block in blocks:
        gap = "" if not parts else "\n" if was_tight and block.is_tight else "\n\n"
        start = length + len(gap)
        if block.level:
            headings.append(Heading(start, block.level, block.text))
        else:
            paragraphs.append(start)
        lines += [(start + offset, line) for offset, line in _laid_out_lines(block)]
        shown = f"```\n{block.text}\n```" if block.mark == "```" else block.mark + _hang(block.text, block.mark)
        parts.append(gap + shown)
        length += len(parts[-1])
        was_tight = block.is_tight
    return Layout("".join(parts), tuple(headings), tuple(paragraphs), without_repeats(lines))


def _laid_out_lines(block: Block) -> Iterator[tuple[int, int | None]]:
    """The block's lines with offsets into its layout, whose mark stands on the first of them."""
    for offset, line in block.lines:
        if not offset:
            yield 0, line
        elif block.mark == "```":
            yield offset + len("```\n"), line
        else:
            yield offset + len(block.mark) * (1 + block.text.count("\n", 0, offset)), line


def _hang(text: str, mark: str) -> str:
    """Lines after the first indented as far as the mark is wide."""
    return text.replace("\n", "\n" + " " * len(mark)) if mark else text


def _tag(element: _Element) -> str:
    return element.tag.lower() if isinstance(element.tag, str) else ""


def _collapse(text: str) -> str:
    """White space as a browser shows it: runs are one space, only <br> ends a line."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def _is_hidden(element: _Element) -> bool:
    return element.get("hidden") is not None or bool(_HIDDEN.search(element.get("style", "")))


def _is_data(table: _Element) -> bool:
    """A table whose rows are rows: not one that lays out a page, with headings or tables in its cells, nor one with
    words outside its cells.
    """
    inner = table.iter("table", "pre", *_HEADINGS)
    rows = table.iter("table", "thead", "tbody", "tfoot", "tr")
    outside = (text for row in rows for text in (row.text, *(child.tail for child in row)))
    return all(element is table for element in inner) and not any(text and text.strip() for text in outside)


def _first_number(element: _Element) -> int:
    start = count_of(element.get("start"), 10**6)
    return start if start < 10**6 else 1


def _is_navigation(element: _Element, tag: str, is_inside: bool) -> bool:
    if tag in _MAIN:
        return False
    names = f"{element.get('class', '')} {element.get('id', '')}".lower().split()
    return (
        is_inside
        or tag in _NAVIGATION
        or element.get("role", "").lower() in _NAVIGATION_ROLES
        or not _NAVIGATION_NAMES.isdisjoint(names)
    )


# ------------------------------------------------------------------------------------------------------ navigation
def _without_navigation(source: str, blocks: list[Block]) -> tuple[list[Block], tuple[str, ...]]:
    """The blocks without those that both judges call navigation, and a note on them."""
    if not any(block.is_navigation for block in blocks):
        return blocks, ()
    try:
        main = _main_text(source)
    except ImportError:
        return blocks, (_USELESS,)
    kept = [block for block in blocks if not block.is_navigation or main.holds(block.text)]
    left_out = [block for block in blocks if block.is_navigation and not main.holds(block.text)]
    n_kept, n_left = _words(kept), _words(left_out)
    if not left_out or n_kept < _LEAST_SHARE * (n_kept + n_left):
        return blocks, ()
    opening = " ".join(" ".join(block.text for block in left_out).split()[:8])
    more = " ..." if n_left > 8 else ""
    return kept, (f"{n_left} word{'s' if n_left > 1 else ''} of navigation left out: {opening}{more}",)


def _words(blocks: Iterable[Block]) -> int:
    return sum(len(block.text.split()) for block in blocks)


@dataclass(frozen=True, slots=True)
class _MainText:
    """What trafilatura takes for the page's main text; everything, where it finds none."""

    lines: frozenset[str] | None
    whole: str

    def holds(self, text: str) -> bool:
        text = " ".join(text.split())
        # A short text may stand inside any sentence by chance, so it must match a line of its own.
        return self.lines is None or text in self.lines or (len(text) >= 40 and text in self.whole)


def _main_text(source: str) -> _MainText:
    import trafilatura

    main_text = trafilatura.extract(source, favor_recall=True, include_comments=True, include_tables=True)
    if not main_text:
        return _MainText(None, "")
    lines = [" ".join(line.strip("-|# ").split()) for line in main_text.split("\n")]
    return _MainText(frozenset(lines), " ".join(lines))


def _title(headings: tuple[Heading, ...], root: _Element, is_marked: bool) -> str:
    first = next((heading.title for heading in headings if heading.level == 1), "")
    named = " ".join(element.text or "" for element in root.iter("title"))
    named = take_lines(named)[0] if is_marked else named
    return first or " ".join(named.split()) or (headings[0].title if headings else "")
