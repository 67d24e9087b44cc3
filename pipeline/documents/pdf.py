"""PDF, read by PDFium: the text of its pages in order, with the offset at which each page starts."""

from __future__ import annotations

import ctypes
import math
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.documents import ocr
from pipeline.documents.limits import OCR_PAGES, PDF_PAGES, max_pages
from pipeline.documents.page_layout import Line, PageLines, has_cells, in_paragraphs, lay_out, titles_of, with_boxes
from pipeline.documents.properties import pdf_date
from pipeline.documents.text import readable_name
from pipeline.errors import DocumentError, MissingExtraError
from pipeline.types import Document, Heading

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage, PdfTextPage

_ENDS_SENTENCE = re.compile(r"[.!?:;…。！？]['\"”’»)\]]*\s*$")
_JUNK_TITLE = re.compile(
    r"untitled|^\(?anonymous\)?$|^\(?unspecified\)?$|microsoft (word|powerpoint)|\.(docx?|indd|tex|dvi|pdf|qxd)$",
    re.IGNORECASE,
)
_BROKEN_WORD = re.compile(r"(\w+)(?:[\x02\ufffe]\n?|-\n)(\w+)")
_LISTED = 10
_OCR_DPI = 200
_FAR = 1e6  # points: beyond the edges of any page


def load_pdf(path: Path, data: bytes, use_ocr: bool = True) -> Document:
    """The pages' text, a blank line between two pages unless a sentence runs on. Bookmarks give the headings; without
    any, short lines in large letters do.

    Columns are read one after the other and rows of tables name their columns. A page without text is recognised with
    `use_ocr` where the extra `ocr` is installed. Pages beyond LONGTHREAD_MAX_PDF_PAGES are left out, with a note.

    Raises DocumentError for a PDF that is broken or wants a password, MissingExtraError without pypdfium2.
    """
    try:
        import pypdfium2
    except ImportError:
        raise MissingExtraError(f"{path}: reading PDF needs pypdfium2: pip install 'longthread[pdf]'") from None
    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise DocumentError(_why(path, error)) from None
    try:
        n_pages = len(pdf)
        pages = _read_pages(pdf, use_ocr and ocr.is_installed())
        about, outline = pdf.get_metadata_dict(), _outline(pdf)
    except pypdfium2.PdfiumError as error:
        raise DocumentError(_why(path, error)) from None
    finally:
        pdf.close()
    text, starts = _join(_mend([page.text or "" for page in pages]))
    title, author = (str(about.get(name) or "").strip() for name in ("Title", "Author"))
    if not title or _JUNK_TITLE.search(title):
        title = readable_name(path)
    headings = _headings(text, starts, outline)
    if not outline:
        headings = _headings(text, starts, titles_of([page.lines for page in pages]), r"\s*$")
    document = Document(path.as_posix(), text, "pdf", "", title, starts, headings, _notes(pages, n_pages, use_ocr))
    document = replace(document, limits=_limits_met(pages, n_pages))
    return replace(document, author=author, date=pdf_date(str(about.get("CreationDate") or about.get("ModDate") or "")))


def _why(path: Path, error: Exception) -> str:
    if "password" in str(error).lower() or "security" in str(error).lower():
        return f"{path}: the PDF is encrypted: save it without a password (qpdf --decrypt IN OUT)"
    return f"{path}: a broken PDF, or none at all: open it in a viewer and print it to a new PDF"


@dataclass(frozen=True, slots=True)
class _Page:
    """A page's visible text, None where the page cannot be read, and how many characters lie outside of its edges.

    `is_scan` says that it has no text of its own, inside or outside of its edges: it may be a picture of a text.
    `is_beyond` says that it is one, and that the limit of pages to recognise was reached before it.
    """

    text: str | None
    n_outside: int = 0
    is_scan: bool = False
    recognised: ocr.Recognised | None = None
    is_beyond: bool = False
    lines: PageLines = field(default_factory=list)


def _read_pages(pdf: PdfDocument, use_ocr: bool) -> list[_Page]:
    """The pages up to the limits: OCR_PAGES of them are recognised, and further scans are `is_beyond`."""
    n_ocr = max_pages(OCR_PAGES) if use_ocr else 0
    pages: list[_Page] = []
    for number in range(min(len(pdf), max_pages(PDF_PAGES))):
        page = _read_page(pdf, number, may_recognise=n_ocr > 0)
        n_ocr -= page.recognised is not None
        pages.append(replace(page, is_beyond=use_ocr and page.is_scan and page.recognised is None))
    return pages


def _read_page(pdf: PdfDocument, number: int, may_recognise: bool) -> _Page:
    import pypdfium2

    try:
        page = pdf[number]
    except pypdfium2.PdfiumError:
        return _Page(None)
    try:
        text_page = page.get_textpage()
        visible: str = text_page.get_text_bounded()
        whole: str = text_page.get_text_bounded(-_FAR, -_FAR, _FAR, _FAR)
        lines = _lines(page, text_page) if visible.strip() else []
        visible = visible.replace("\r\n", "\n").replace("\r", "\n")
        laid_out = lay_out(lines) if has_cells(lines) else with_boxes(visible, lines)
        visible = in_paragraphs(laid_out)
        is_scan = not whole.strip()
        if is_scan and may_recognise:
            recognised = ocr.recognise(page.render(scale=_scale(page)).to_pil())
            return _Page(recognised.text, 0, is_scan, recognised)
    finally:
        page.close()
    n_outside = max(len("".join(whole.split())) - len("".join(visible.split())), 0)
    text = visible.replace("\0", "")
    return _Page(re.sub(r"[ \t]+\n", "\n", text).strip(), n_outside, is_scan, lines=laid_out)


def _scale(page: PdfPage) -> float:
    """Pixels a point for recognising a page: _OCR_DPI, or less for a page as large as a poster."""
    width, height = page.get_size()
    return float(min(_OCR_DPI / 72, (ocr.MAX_PIXELS / max(width * height, 1)) ** 0.5))


def _lines(page: PdfPage, text_page: PdfTextPage) -> list[Line]:
    """The pieces of text with their boxes; none for a page whose text does not run from left to right."""
    width, height = page.get_size()
    lines: list[Line] = []
    n_upright = 0
    for number in range(text_page.count_rects()):
        left, bottom, right, top = text_page.get_rect(number)
        text = text_page.get_text_bounded(left, bottom, right, top).strip()
        if not text or right < 0 or left > width or top < 0 or bottom > height:
            continue
        n_upright += len(text) > 3 and top - bottom > 2 * (right - left)
        size, base = _letters(text_page, left, bottom, right, top)
        box = left, height - top, right, height - bottom
        lines.append(Line(" ".join(text.split()), *box, size, height - base if size else 0.0))
    return [] if n_upright > len(lines) / 10 else lines


def _letters(text_page: PdfTextPage, left: float, bottom: float, right: float, top: float) -> tuple[float, float]:
    """The size of the letters in a box, and the height of the line on which they stand; (0, 0): there are none."""
    import pypdfium2.raw as pdfium

    near = max((top - bottom) / 2, 1.0)
    for place in (left + 0.5, left + (right - left) / 3, (left + right) / 2):
        number = text_page.get_index(place, (bottom + top) / 2, near, near)
        if number is not None:
            break
    else:
        return 0.0, 0.0
    matrix, x, y = pdfium.FS_MATRIX(), ctypes.c_double(), ctypes.c_double()
    pdfium.FPDFText_GetMatrix(text_page.raw, number, ctypes.byref(matrix))
    pdfium.FPDFText_GetCharOrigin(text_page.raw, number, ctypes.byref(x), ctypes.byref(y))
    return pdfium.FPDFText_GetFontSize(text_page.raw, number) * math.hypot(matrix.c, matrix.d), y.value


def _mend(pages: list[str]) -> list[str]:
    """The pages with the words joined that a line's end broke.

    PDFium puts a mark of its own in the place of most hyphens. The hyphen goes where the document has the joined word
    elsewhere, and stays where it has not.
    """
    if not any("\x02" in page or "\ufffe" in page or "-\n" in page for page in pages):
        return pages
    known = {word.lower() for page in pages for word in re.findall(r"\w+", page)}

    def mended(match: re.Match[str]) -> str:
        joined = match[1] + match[2]
        return joined if joined.lower() in known else f"{match[1]}-{match[2]}"

    return [_BROKEN_WORD.sub(mended, page).replace("\x02", "-").replace("\ufffe", "-") for page in pages]


def _join(pages: list[str]) -> tuple[str, tuple[int, ...]]:
    """The pages as one text, and the offset of each: the first is 0."""
    parts: list[str] = []
    starts: list[int] = []
    length = 0
    for number, page in enumerate(pages):
        starts.append(length)
        goes_on = number + 1 < len(pages) and pages[number + 1][:1].islower() and not _ENDS_SENTENCE.search(page)
        part = page + ("\n" if goes_on else "\n\n" if number + 1 < len(pages) else "")
        parts.append(part)
        length += len(part)
    return "".join(parts), tuple(starts)


def _outline(pdf: PdfDocument) -> list[tuple[int, int, str]]:
    """The bookmarks as (page counted from 0, level counted from 1, title)."""
    bookmarks: list[tuple[int, int, str]] = []
    for mark in pdf.get_toc():
        target = mark.get_dest()
        page = target.get_index() if target else None
        title = " ".join(mark.get_title().split())
        if page is not None and title:
            bookmarks.append((page, mark.level + 1, title))
    return bookmarks


def _headings(
    text: str, starts: tuple[int, ...], outline: list[tuple[int, int, str]], behind: str = ""
) -> tuple[Heading, ...]:
    """The titles that are found at the start of a line of their page, in the order of the text.

    `behind` is a pattern of what has to follow a title.
    """
    headings: list[Heading] = []
    for page, level, title in outline:
        if page >= len(starts):
            continue
        after = max(starts[page], headings[-1].start + 1 if headings else 0)
        end = starts[page + 1] if page + 1 < len(starts) else len(text)
        match = re.compile(r"^" + r"\s+".join(map(re.escape, title.split())) + behind, re.MULTILINE).search(
            text, after, end
        )
        if match:
            headings.append(Heading(match.start(), level, title))
    return tuple(headings)


def _notes(pages: list[_Page], n_pages: int, use_ocr: bool) -> tuple[str, ...]:
    broken = [number for number, page in enumerate(pages, 1) if page.text is None]
    empty = [number for number, page in enumerate(pages, 1) if page.text == "" and not page.is_beyond]
    beyond = [number for number, page in enumerate(pages, 1) if page.is_beyond]
    outside = [number for number, page in enumerate(pages, 1) if page.n_outside]
    notes = ocr.left(n_pages - len(pages), n_pages, PDF_PAGES)
    if broken:
        notes.append(f"{_pages(broken)} cannot be read")
    if empty:
        way = "" if ocr.is_installed() else ": if these are scans, pip install 'longthread[ocr]' reads them"
        way = way if use_ocr else ": if these are scans, index.ocr: auto reads them"
        may_be_scans = any(page.is_scan and page.text == "" for page in pages)
        notes.append(f"{_pages(empty)} without text{way if may_be_scans else ''}")
    if beyond:
        notes.append(f"{_pages(beyond)} not recognised: set {OCR_PAGES} higher to read them")
    notes += ocr.note({number: page.recognised for number, page in enumerate(pages, 1) if page.recognised})
    if outside:
        n_outside = sum(page.n_outside for page in pages)
        notes.append(f"{n_outside} characters outside of the edges of {_pages(outside)} left out")
    return tuple(notes)


def _limits_met(pages: list[_Page], n_pages: int) -> tuple[str, ...]:
    met = ((PDF_PAGES, len(pages) < n_pages), (OCR_PAGES, any(page.is_beyond for page in pages)))
    return tuple(name for name, is_met in met if is_met)


def _pages(numbers: list[int]) -> str:
    more = f" and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else ""
    return f"page{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:_LISTED]))}{more}"
