"""What a file says of its own making: author, date and language.

The date is that of sending (mail), of publishing (web pages, e-books) or of creation (PDF, RTF); of an office file it
is the date of its last change. What cannot be understood is left empty: a broken date is no reason not to read a file.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from email.utils import parsedate_to_datetime
from html import unescape
from html.parser import HTMLParser

from pipeline.documents.limits import BROKEN_ZIP
from pipeline.types import Document

_HEAD_CHARS = 100_000
_SAMPLE_CHARS = 20_000
_LEAST_WORDS = 5  # fewer words say nothing about the language
_LEAST_LETTERS = 10
_MAX_PART_BYTES = 1 << 20
_WORD = re.compile(r"[^\W\d_]+")
_ISO = re.compile(r"(\d{4})(?:[-/.]?(\d{1,2})(?:[-/.]?(\d{1,2}))?)?(?!\d)")
_PDF_DATE = re.compile(r"(?:D:)?(\d{4})(\d\d)?(\d\d)?")
_CODES = {
    "english": "en", "german": "de", "french": "fr", "spanish": "es", "italian": "it", "portuguese": "pt",
    "dutch": "nl", "danish": "da", "norwegian": "no", "swedish": "sv", "finnish": "fi", "turkish": "tr",
    "russian": "ru", "polish": "pl", "czech": "cs", "hungarian": "hu", "romanian": "ro", "catalan": "ca",
    "indonesian": "id", "greek": "el", "arabic": "ar", "hindi": "hi", "lithuanian": "lt", "estonian": "et",
    "basque": "eu", "irish": "ga", "armenian": "hy", "tamil": "ta", "serbian": "sr",
}  # fmt: skip
_EASTERN = (
    ("\u3040", "\u30ff", "ja"), ("\uac00", "\ud7af", "ko"), ("\u4e00", "\u9fff", "zh"), ("\u0590", "\u05ff", "he"),
    ("\u0e00", "\u0e7f", "th"),
)  # fmt: skip
"""Scripts for which languages.py has no stemmer."""
LANGUAGE_CODES: Mapping[str, str] = _CODES
"""ISO 639-1 codes by the names of languages.py."""


def with_properties(document: Document, data: bytes) -> Document:
    """The document with what its bytes say of it, where its reader has not said so, and with its language."""
    properties = _READERS.get(document.kind, _nothing)(document, data)
    author, day, language = (" ".join(properties.get(name, "").split()) for name in ("author", "date", "language"))
    return replace(
        document,
        author=document.author or author[:500],
        date=document.date or iso_date(day),
        language=document.language or language_code(language) or language_of_text(document),
    )


def language_of_text(document: Document) -> str:
    """The code of the language that most of a text's beginning is in; "" for source code and for too few words."""
    from pipeline.text.languages import language_of

    if document.kind.startswith("code"):
        return ""
    sample = document.text[:_SAMPLE_CHARS]
    foreign = [letter for letter in sample if letter >= "\u0370" and letter.isalpha()]
    words = _WORD.findall(sample)
    if 2 * len(foreign) > sum(map(len, words)) >= _LEAST_LETTERS:
        return _by_script(foreign)
    return _CODES[language_of({word.casefold() for word in words})] if len(words) >= _LEAST_WORDS else ""


def _by_script(letters: Sequence[str]) -> str:
    """The code of the language that most of the letters belong to. Japanese has kana among its Chinese characters."""
    from pipeline.text.languages import script_language

    eastern = Counter(code for letter in letters for first, last, code in _EASTERN if first <= letter <= last)
    if 10 * eastern["ja"] > eastern["zh"]:
        eastern["ja"] += eastern.pop("zh", 0)
    counts = eastern + Counter(_CODES[name] for letter in letters if (name := script_language(letter)) in _CODES)
    return counts.most_common(1)[0][0] if counts else ""


def language_code(name: str) -> str:
    """`de` for `de-AT`, `DE`, `german`; "" for what is no language's code."""
    name = name.strip().casefold().replace("_", "-").partition("-")[0]
    name = _CODES.get(name, name)
    return name if re.fullmatch(r"[a-z]{2,3}", name) and name != "und" else ""


def iso_date(text: str) -> str:
    """`2024-05-17`, `2024-05` or `2024` for a date that begins so; of another the year; "" where there is none."""
    match = _ISO.match(text.strip())
    if match:
        return _checked(match)
    year = re.search(r"(?<!\d)(?:19|20)\d\d(?!\d)", text)  # "17 May 2024"
    return year[0] if year else ""


def pdf_date(text: str) -> str:
    """The date of a PDF, `D:20240517093000Z`, as iso_date gives it."""
    match = _PDF_DATE.match(text.strip())
    return _checked(match) if match else ""


def mail_date(text: str) -> str:
    """The day of a mail's Date header, where it was sent; "" for one that is broken."""
    try:
        return parsedate_to_datetime(text).date().isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return iso_date(text)


def _checked(match: re.Match[str]) -> str:
    year, month, day = (int(part) if part else None for part in match.groups())
    try:
        whole = date(year or 0, month or 1, day or 1).isoformat()
    except ValueError:
        return ""
    return whole if day else whole[:7] if month else whole[:4]


# ---------------------------------------------------------------------------------------------------------- by format
def _nothing(document: Document, data: bytes) -> Mapping[str, str]:
    return {}


def _office(document: Document, data: bytes) -> Mapping[str, str]:
    """DOCX, XLSX, PPTX: docProps/core.xml."""
    part = _part(data, lambda name: name == "docProps/core.xml")
    return {
        "author": _element(part, "creator"),
        "date": _element(part, "modified") or _element(part, "created"),
        "language": _element(part, "language"),
    }


def _open_document(document: Document, data: bytes) -> Mapping[str, str]:
    part = _part(data, lambda name: name == "meta.xml")
    return {
        "author": _element(part, "initial-creator") or _element(part, "creator"),
        "date": _element(part, "date") or _element(part, "creation-date"),
        "language": _element(part, "language"),
    }


def _epub(document: Document, data: bytes) -> Mapping[str, str]:
    part = _part(data, lambda name: name.endswith(".opf"))
    return {"author": _element(part, "creator"), "date": _element(part, "date"), "language": _element(part, "language")}


def _rtf(document: Document, data: bytes) -> Mapping[str, str]:
    head = data[:_HEAD_CHARS].decode("latin-1")
    author = re.search(r"\{\\author ([^{}\\]*)\}", head)
    made = re.search(r"\\creatim\\yr(\d+)\\mo(\d+)\\dy(\d+)", head)
    return {
        "author": author[1] if author else "",
        "date": f"{made[1]:0>4}-{made[2]:0>2}-{made[3]:0>2}" if made else "",
    }


def _lines_of(author: str, day: str, language: str = r"(?!)") -> Callable[[Document, bytes], Mapping[str, str]]:
    """A reader of text files that say it in lines of their own."""
    patterns = {
        name: re.compile(pattern, re.MULTILINE | re.IGNORECASE)
        for name, pattern in (("author", author), ("date", day), ("language", language))
    }

    def read(document: Document, data: bytes) -> Mapping[str, str]:
        head = data[:_HEAD_CHARS].decode("utf-8", "replace").replace("\r\n", "\n")
        matches = {name: pattern.search(head) for name, pattern in patterns.items()}
        return {name: match[1].strip(" '\"") for name, match in matches.items() if match}

    return read


def _front_matter(document: Document, data: bytes) -> Mapping[str, str]:
    head = data[:_HEAD_CHARS].decode("utf-8-sig", "replace").replace("\r\n", "\n")
    front = re.match(r"---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", head, re.DOTALL)
    return _FRONT_LINES(document, front[1].encode()) if front else {}


class _Head(HTMLParser):
    """The properties of a page: its `meta` elements, and the language of `html`."""

    def __init__(self) -> None:
        super().__init__()
        self.meta: dict[str, str] = {}
        self.language = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "html":
            self.language = values.get("lang") or values.get("xml:lang") or ""
        elif tag == "meta":
            name = values.get("name") or values.get("property") or values.get("itemprop") or ""
            self.meta.setdefault(name.casefold(), values.get("content", ""))

    def first(self, *names: str) -> str:
        return next((self.meta[name] for name in names if self.meta.get(name)), "")


def page_properties(source: str) -> tuple[str, str, str]:
    """Author, date and language of a page of HTML."""
    head = _Head()
    head.feed(source[:_HEAD_CHARS])
    author = head.first("author", "article:author", "dc.creator", "dcterms.creator")
    day = head.first("article:published_time", "datepublished", "dc.date", "dcterms.created", "dcterms.date", "date")
    return " ".join(author.split())[:500], iso_date(day), language_code(head.language)


def _part(data: bytes, is_wanted: Callable[[str], bool]) -> str:
    """A small part of a ZIP file as text; "" where it is missing, broken or larger than a list of properties."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            info = next((info for info in archive.infolist() if is_wanted(info.filename)), None)
            if info is None or info.file_size > _MAX_PART_BYTES:
                return ""
            return archive.read(info).decode("utf-8", "replace")
    except BROKEN_ZIP:
        return ""


def _element(part: str, name: str) -> str:
    """The text of the first element of that name, whatever its namespace is called here."""
    match = re.search(rf"<(?:[\w-]+:)?{name}(?:\s[^<>]*)?>([^<]*)<", part)
    return unescape(match[1]) if match else ""


_FRONT_LINES = _lines_of(r"^authors?:[ \t]*(\S.*)$", r"^date:[ \t]*(\S.*)$", r"^lang(?:uage)?:[ \t]*(\S.*)$")
_READERS: Mapping[str, Callable[[Document, bytes], Mapping[str, str]]] = {
    "docx": _office,
    "xlsx": _office,
    "pptx": _office,
    "odt": _open_document,
    "ods": _open_document,
    "epub": _epub,
    "rtf": _rtf,
    "markdown": _front_matter,
    "tex": _lines_of(r"^\s*\\author\{([^{}]*)\}", r"^\s*\\date\{([^{}]*)\}"),
    "rst": _lines_of(r"^:authors?:[ \t]*(\S.*)$", r"^:date:[ \t]*(\S.*)$"),
    "adoc": _lines_of(r"^:author:[ \t]*(\S.*)$", r"^:(?:revdate|docdate|date):[ \t]*(\S.*)$", r"^:lang:[ \t]*(\S.*)$"),
    "org": _lines_of(r"^#\+author:[ \t]*(\S.*)$", r"^#\+date:[ \t]*[<\[]?(\S.*)$", r"^#\+language:[ \t]*(\S.*)$"),
}
