"""The table of formats: which reader reads which file.

A file's first bytes decide where they tell the format, else its suffix does; everything else is text. Formats that no
reader reads stand in unread_formats.py.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, cast

from pipeline.documents.charsets import is_binary
from pipeline.documents.limits import BROKEN_ZIP, limits_met
from pipeline.documents.unread_formats import OLE, unread_by_suffix, unread_kind
from pipeline.errors import DocumentError, MissingExtraError
from pipeline.types import Document

Read = Callable[[Path, bytes], Document]


class ReadWithoutOcr(Protocol):
    """A reader that recognises pictures, and can be told not to."""

    def __call__(self, path: Path, data: bytes, /, *, use_ocr: bool) -> Document: ...


READABLE = (
    "text, Markdown, HTML, PDF, DOCX, ODT, RTF, EPUB, spreadsheets, slides, mail, notebooks, subtitles, JSON, XML, "
    "YAML, archives and source code"
)
BINARY = f"a binary file, not text: what can be read is {READABLE}"
_OPENING = 8192
_NEAR_START = 1024  # readers of PDF accept other bytes in front of its mark


@dataclass(frozen=True, slots=True)
class Signature:
    """How the bytes of a file tell its format, whatever its name is.

    `starts` are the possible first bytes, and `near_start` is a mark among the first 1024. `tags` are the possible
    first tags, and `opening` matches the beginning, of a file whose name says text or XML. A ZIP file has a member
    `part`, or a member `mimetype` that holds one of `mimetypes`. `is_ole` is a compound file.
    """

    starts: tuple[bytes, ...] = ()
    near_start: bytes = b""
    tags: tuple[bytes, ...] = ()
    opening: re.Pattern[bytes] | None = None
    part: str = ""
    mimetypes: tuple[str, ...] = ()
    is_ole: bool = False

    @property
    def is_zip(self) -> bool:
        return bool(self.part or self.mimetypes)

    @property
    def is_binary(self) -> bool:
        """Whether files of this format are no text. RTF is."""
        is_binary_start = any(not mark.isascii() for mark in self.starts)
        return is_binary_start or bool(self.near_start or self.is_zip or self.is_ole)

    def matches_start(self, head: bytes) -> bool:
        if self.starts and head.startswith(self.starts):
            return True
        # Text that speaks of PDF holds the mark too, so that further back it counts in binary files alone.
        head = head[:_NEAR_START].lstrip()
        return bool(self.near_start) and (
            head.startswith(self.near_start) or (self.near_start in head and is_binary(head))
        )

    def matches_text(self, start: bytes) -> bool:
        """Whether a text that begins like this, in lower case, is of this format."""
        return start.startswith(self.tags) if self.tags else bool(self.opening and self.opening.match(start))


@dataclass(frozen=True, slots=True)
class Format:
    """A format and its reader, `module:function` below pipeline.documents.

    `version` goes up with every change of the text that the reader makes of a file: an index then reads its files
    again. `libraries` are the modules that the reader imports and that the install extra `extra` brings. The files of
    a format that `has_attachments` hold documents of their own. A reader that `uses_ocr` takes `use_ocr` as a third
    argument.
    """

    name: str
    suffixes: tuple[str, ...]
    reader: str
    version: int = 1
    libraries: tuple[str, ...] = ()
    extra: str = ""
    signature: Signature = Signature()
    has_attachments: bool = False
    uses_ocr: bool = False

    def open(self, path: Path) -> Read:
        """The reader. Raises MissingExtraError where one of its libraries is not installed."""
        try:
            for library in self.libraries:
                __import__(library)
        except ImportError:
            names = " and ".join(filter(None, (", ".join(self.libraries[:-1]), self.libraries[-1])))
            raise MissingExtraError(
                f"{path}: reading {self.name.upper()} needs {names}: pip install 'longthread[{self.extra}]'"
            ) from None
        module, _, function = self.reader.partition(":")
        return cast("Read", getattr(import_module(f"pipeline.documents.{module}"), function))


LANGUAGES = {
    ".c": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".cs": "csharp",
    ".css": "css",
    ".cxx": "cpp",
    ".ex": "elixir",
    ".exs": "elixir",
    ".go": "go",
    ".h": "c",
    ".hpp": "cpp",
    ".hs": "haskell",
    ".java": "java",
    ".jl": "julia",
    ".js": "js",
    ".jsx": "js",
    ".kt": "kotlin",
    ".lua": "lua",
    ".mjs": "js",
    ".php": "php",
    ".pl": "perl",
    ".proto": "proto",
    ".ps1": "powershell",
    ".py": "python",
    ".pyi": "python",
    ".r": "r",
    ".rb": "ruby",
    ".rs": "rust",
    ".scala": "scala",
    ".sh": "shell",
    ".sol": "sol",
    ".sql": "sql",
    ".swift": "swift",
    ".ts": "ts",
    ".tsx": "ts",
}
"""Suffixes of source code, and the language's name: langchain-text-splitters' where it knows the language."""

_LXML = ("lxml",)
_DOCX = ("mammoth", "lxml")
_OCR = ("rapidocr", "onnxruntime")
_ODF = "application/vnd.oasis.opendocument"
_TEXT_OF_ODF = (f"{_ODF}.text", f"{_ODF}.presentation")
_SLIDES = "ppt/presentation.xml"
_PAGE = (b"<!doctype html", b"<html")
_HEADERS = rb"(?:[\w-]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*?"
_MAIL = re.compile(_HEADERS + rb"(?:mime-version|message-id|content-transfer-encoding):")
"""The headers that programs write; people who copy a mail into a text keep others."""
_MAILBOX = re.compile(
    rb"from \S+ +(?:mon|tue|wed|thu|fri|sat|sun) [a-z]{3} [^\n]*\d{4}[^\n]*\n"
    + _HEADERS
    + rb"(?:from|subject|message-id):"
)
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
_PICTURE_NAMES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif")


def _part(name: str) -> Signature:
    return Signature(part=name)


def _mimetypes(*names: str) -> Signature:
    return Signature(mimetypes=names)


# fmt: off
_TABLE = (  # one line a format: name, suffixes, reader, its version, libraries, extra, signature
    Format("text", (".txt",), "text:load_text", 3),
    Format("code", tuple(LANGUAGES), "text:load_code", 3),
    Format("markdown", (".md", ".markdown", ".mdown", ".mkd"), "markdown:load_markdown", 4),
    Format("html", (".html", ".htm", ".xhtml"), "html:load_html", 4, _LXML, "html", Signature(tags=_PAGE)),
    Format("mhtml", (".mhtml", ".mht"), "mhtml:load_mhtml", 3, _LXML, "html"),
    Format("pdf", (".pdf",), "pdf:load_pdf", 4, ("pypdfium2",), "pdf", Signature(near_start=b"%PDF-"), uses_ocr=True),
    Format("docx", (".docx", ".docm"), "docx:load_docx", 3, _DOCX, "docx,html", _part("word/document.xml")),
    Format("odt", (".odt", ".odp"), "opendocument:load_odt", 2, _LXML, "html", _mimetypes(*_TEXT_OF_ODF)),
    Format("ods", (".ods",), "opendocument:load_ods", 2, _LXML, "html", _mimetypes(f"{_ODF}.spreadsheet")),
    Format("rtf", (".rtf",), "rtf:load_rtf", 2, ("striprtf",), "office", Signature(starts=(b"{\\rtf",))),
    Format("epub", (".epub",), "epub:load_epub", 3, _LXML, "html", _mimetypes("application/epub+zip")),
    Format("xlsx", (".xlsx", ".xlsm"), "spreadsheet:load_xlsx", 4, ("openpyxl",), "office", _part("xl/workbook.xml")),
    Format("csv", (".csv", ".tsv"), "delimited:load_delimited", 2),
    Format("pptx", (".pptx", ".pptm", ".ppsx"), "slides:load_pptx", 2, ("pptx",), "office", _part(_SLIDES)),
    Format("eml", (".eml",), "mail:load_eml", 3, signature=Signature(opening=_MAIL), has_attachments=True),
    Format("mbox", (".mbox",), "mail:load_mbox", 2, signature=Signature(opening=_MAILBOX), has_attachments=True),
    Format("msg", (".msg",), "mail:load_msg", 2, ("oxmsg",), "office", Signature(is_ole=True), has_attachments=True),
    Format("ipynb", (".ipynb",), "notebook:load_notebook", 2),
    Format("json", (".json",), "keyed:load_json", 2),
    Format("jsonl", (".jsonl", ".ndjson"), "keyed:load_jsonl", 2),
    Format("yaml", (".yaml", ".yml"), "keyed:load_yaml", 2),
    Format("toml", (".toml",), "keyed:load_toml", 2),
    Format("xml", (".xml",), "xml:load_xml", 2, _LXML, "html", Signature(tags=(b"<?xml",))),
    Format("vtt", (".vtt", ".srt"), "subtitles:load_subtitles", 2),
    Format("tex", (".tex",), "markup:load_tex", 3),
    Format("rst", (".rst",), "markup:load_rst", 3),
    Format("adoc", (".adoc", ".asciidoc"), "markup:load_adoc", 3),
    Format("org", (".org",), "markup:load_org", 3),
    Format("picture", _PICTURE_NAMES, "ocr:load_picture", 1, _OCR, "ocr", Signature(starts=_PICTURES), uses_ocr=True),
)
# fmt: on
FORMATS = {format_.name: format_ for format_ in _TABLE}
TEXT = FORMATS["text"]
MAILS = tuple(suffix for format_ in _TABLE if format_.has_attachments for suffix in format_.suffixes)
"""Suffixes of mails: documents that hold other documents."""
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tbz2", ".txz")
ARCHIVE_NAMES = f"one of {', '.join(ARCHIVES)}, so that the files in it are read"
_BY_SUFFIX = {suffix: format_ for format_ in _TABLE for suffix in format_.suffixes}
_ZIP = b"PK\x03\x04"


def find_format(path: Path, data: bytes) -> Format:
    """The format of a file with these bytes, which are all of them. Raises DocumentError for one that is not read."""
    named = by_suffix(path)
    if named.name == "pdf":
        return named  # its reader says what is wrong with the file
    if data.startswith(_ZIP):
        return _zip_format(path, data, named)
    if data.startswith(OLE):
        if named.signature.is_zip:
            named.open(path)(path, data)  # says what is wrong with it
        if why := unread_kind(path, data):
            raise DocumentError(f"{path}: {why}")
        return next(format_ for format_ in _TABLE if format_.signature.is_ole)
    for format_ in _TABLE:
        if format_.signature.matches_start(data):
            return format_
    if (why := unread_by_suffix(path)) and is_binary(data):
        raise DocumentError(f"{path}: {why}")
    if named.name in ("text", "xml"):
        start = data[:_OPENING].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        return next((f for f in _TABLE if f.signature.matches_text(start)), named)
    return named


def is_ours(path: Path, head: bytes) -> bool:
    """Whether a file with this beginning is read though it is binary."""
    named = by_suffix(path).signature
    if head.startswith(OLE):
        return named.is_ole
    if named.is_binary:
        return True
    if head.startswith(_ZIP):
        return b"mimetypeapplication/" in head or any(
            format_.signature.part and format_.signature.part.encode() in head for format_ in _TABLE
        )
    return any(format_.signature.matches_start(head) for format_ in _TABLE)


def by_suffix(path: Path) -> Format:
    """The format that the file's name says; text where it says none."""
    return _BY_SUFFIX.get(path.suffix.lower(), TEXT)


def reader_version(path: Path, ocr: bool = True, limits: Iterable[str] = (), name: str = "") -> str:
    """The reader of a file with its version: `csv/1`. An index keeps it, and reads again what differs.

    `name` is the format that the file was read as; "" is the one that its suffix says. `pdf/4+ocr` also recognises
    scanned pages: `ocr` allows it, and the extra is installed. Behind it stand the limits that left pages of the file
    out, as they are set now: `pdf/4 LONGTHREAD_MAX_PDF_PAGES=100`.
    """
    format_ = FORMATS[name] if name else by_suffix(path)
    recognises = format_.uses_ocr and ocr and _can_recognise()
    version = f"{format_.name}/{format_.version}{'+ocr' if recognises else ''}"
    return " ".join([version, *limits_met(limits)])


def would_read_the_same(reader: str, path: Path, ocr: bool) -> bool:
    """Whether a file that a reader of this version has read would be read by the same one, up to the same limits.

    A format that the bytes told, whatever the file is called, is told by the same bytes again.
    """
    name = reader.partition("/")[0]
    is_told = name in FORMATS and FORMATS[name].signature != Signature()
    limits = [limit.partition("=")[0] for limit in reader.split()[1:]]
    return reader == reader_version(path, ocr, limits, name if is_told else "")


@cache
def _can_recognise() -> bool:
    """Whether the libraries of OCR are installed. Looked up once: an index asks for each of its pictures."""
    return all(find_spec(library) is not None for library in _OCR)


def _zip_format(path: Path, data: bytes, named: Format) -> Format:
    """The format of a ZIP file by what it holds, else by its name."""
    inner = _zip_contents(data)
    if inner is not None or named.signature.is_zip:
        return inner or named
    broken = "a broken archive: pack it again" if path.name.lower().endswith(ARCHIVES) else ""
    why = broken or unread_by_suffix(path) or f"an archive: name it {ARCHIVE_NAMES}"
    raise DocumentError(f"{path}: {why}")


def _zip_contents(data: bytes) -> Format | None:
    """The format whose member or MIME type a ZIP file holds; None for any other, or a broken one."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            mimetype = _start(archive, "mimetype") if "mimetype" in names else ""
    except BROKEN_ZIP:
        return None
    mimetype = mimetype.removesuffix("-template")
    by_part = (f for f in _TABLE if f.signature.part and f.signature.part in names)
    return next(by_part, None) or next((f for f in _TABLE if mimetype in f.signature.mimetypes), None)


def _start(archive: zipfile.ZipFile, name: str) -> str:
    """The first characters of a part, however large it is."""
    with archive.open(name) as part:
        return part.read(100).decode("ascii", "replace").strip()
