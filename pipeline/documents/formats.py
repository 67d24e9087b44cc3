"""The table of formats: which reader reads which file, and what the files are that no reader reads.

A file's first bytes decide where they tell the format, else its suffix does; everything else is text.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

from pipeline.documents.charsets import is_binary
from pipeline.documents.limits import BROKEN_ZIP
from pipeline.errors import DocumentError, MissingExtraError
from pipeline.types import Document

Read = Callable[[Path, bytes], Document]
READABLE = (
    "text, Markdown, HTML, PDF, DOCX, ODT, RTF, EPUB, spreadsheets, slides, mail, notebooks, subtitles, JSON, XML, "
    "YAML, archives and source code"
)


@dataclass(frozen=True, slots=True)
class Format:
    """A format and its reader, `module:function` below pipeline.documents.

    `version` goes up with every change of the text that the reader makes of a file: an index then reads its files
    again. `libraries` are the modules that the reader imports and that the install extra `extra` brings.
    """

    name: str
    suffixes: tuple[str, ...]
    reader: str
    version: int = 1
    libraries: tuple[str, ...] = ()
    extra: str = ""

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

TEXT = Format("text", (".txt",), "text:load_text", 2)
CODE = Format("code", tuple(LANGUAGES), "text:load_code", 2)
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif")
_LXML = ("lxml",)
_LIST = (
    TEXT,
    CODE,
    Format("markdown", (".md", ".markdown", ".mdown", ".mkd"), "markdown:load_markdown", 3),
    Format("html", (".html", ".htm", ".xhtml"), "html:load_html", 3, _LXML, "html"),
    Format("mhtml", (".mhtml", ".mht"), "mhtml:load_mhtml", 2, _LXML, "html"),
    Format("pdf", (".pdf",), "pdf:load_pdf", 3, ("pypdfium2",), "pdf"),
    Format("docx", (".docx", ".docm"), "docx:load_docx", 3, ("mammoth", "lxml"), "docx,html"),
    Format("odt", (".odt", ".odp"), "opendocument:load_odt", 2, _LXML, "html"),
    Format("ods", (".ods",), "opendocument:load_ods", 2, _LXML, "html"),
    Format("rtf", (".rtf",), "rtf:load_rtf", 2, ("striprtf",), "office"),
    Format("epub", (".epub",), "epub:load_epub", 2, _LXML, "html"),
    Format("xlsx", (".xlsx", ".xlsm"), "spreadsheet:load_xlsx", 3, ("openpyxl",), "office"),
    Format("csv", (".csv", ".tsv"), "delimited:load_delimited"),
    Format("pptx", (".pptx", ".pptm", ".ppsx"), "slides:load_pptx", 2, ("pptx",), "office"),
    Format("eml", (".eml",), "mail:load_eml", 2),
    Format("mbox", (".mbox",), "mail:load_mbox"),
    Format("msg", (".msg",), "mail:load_msg", 2, ("oxmsg",), "office"),
    Format("ipynb", (".ipynb",), "notebook:load_notebook"),
    Format("json", (".json",), "keyed:load_json"),
    Format("jsonl", (".jsonl", ".ndjson"), "keyed:load_jsonl"),
    Format("yaml", (".yaml", ".yml"), "keyed:load_yaml"),
    Format("toml", (".toml",), "keyed:load_toml"),
    Format("xml", (".xml",), "xml:load_xml", 1, _LXML, "html"),
    Format("vtt", (".vtt", ".srt"), "subtitles:load_subtitles"),
    Format("tex", (".tex",), "markup:load_tex", 2),
    Format("rst", (".rst",), "markup:load_rst", 2),
    Format("adoc", (".adoc", ".asciidoc"), "markup:load_adoc", 2),
    Format("org", (".org",), "markup:load_org", 2),
    Format("picture", PICTURES, "ocr:load_picture", 1, ("rapidocr", "onnxruntime"), "ocr"),
)
FORMATS = {format_.name: format_ for format_ in _LIST}
_BY_SUFFIX = {suffix: format_ for format_ in _LIST for suffix in format_.suffixes}

BINARY = f"a binary file, not text: what can be read is {READABLE}"
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tbz2", ".txz")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLD_OFFICE = {  # the name of a stream that only this format has, in UTF-16
    "__properties_version1.0": "",  # a mail of Outlook, which is read
    "EncryptedPackage": "Office file with a password: save it without one",
    "WordDocument": "document of Word 97: save it as DOCX",
    "Workbook": "spreadsheet of Excel 97: save it as XLSX",
    "PowerPoint Document": "presentation of PowerPoint 97: save it as PPTX",
}
_OLD = "old Office file, or one with a password: save it as DOCX, XLSX or PPTX without a password"
_AUDIO = "recording: make a transcript of it (whisper), as VTT or text"
_UNREAD = {
    ".doc .dot": "document of Word 97: save it as DOCX",
    ".xls .xlt": "spreadsheet of Excel 97: save it as XLSX",
    ".xlsb": "binary spreadsheet of Excel: save it as XLSX",
    ".ppt .pps": "presentation of PowerPoint 97: save it as PPTX",
    ".pages": "document of Apple Pages: export it as DOCX or PDF",
    ".numbers": "spreadsheet of Apple Numbers: export it as XLSX",
    ".key": "presentation of Apple Keynote: export it as PPTX or PDF",
    ".wpd .wps": "document of an old word processor: open it in LibreOffice and save it as ODT",
    ".mobi .azw .azw3": "e-book for Kindle: convert it to EPUB (ebook-convert)",
    ".djvu": "scan in DjVu: convert it to PDF (ddjvu -format=pdf)",
    ".ps .eps": "PostScript file: convert it to PDF (ps2pdf)",
    ".pst .ost": "mailbox of Outlook: export it as MBOX (readpst)",
    ".one": "notebook of OneNote: export it as PDF or DOCX",
    ".vsdx .vsd": "drawing of Visio: export it as PDF",
    ".mdb .accdb .sqlite .sqlite3 .db": "database: export its tables as CSV",
    ".parquet .feather .arrow .avro .orc .h5 .hdf5 .npy .npz .pkl .rds .mat .sav .dta": ("data file: export it as CSV"),
    ".7z .rar": "archive of an unread kind: unpack it",
    ".gz .bz2 .xz .zst .lz4": "compressed file: unpack it",
    ".mp3 .wav .m4a .flac .ogg .opus .aac .wma": _AUDIO,
    ".mp4 .mkv .mov .avi .webm .wmv .m4v .mpg .mpeg": _AUDIO.replace("recording", "video"),
    ".heic .heif .avif .psd .ico .raw .cr2 .nef": "picture of an unread kind: save it as PNG or JPEG",
    ".gguf .safetensors .onnx .pt .pth": "model's weights",
    ".ttf .otf .woff .woff2": "font",
    ".exe .dll .so .dylib .bin .o .a .class .jar .pyc .wasm .apk .dmg .iso .img .msi": "program",
}
_WHY_UNREAD = {suffix: why for suffixes, why in _UNREAD.items() for suffix in suffixes.split()}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "picture"),
    (b"\xff\xd8\xff", "picture"),
    (b"GIF8", "picture"),
    (b"II*\0", "picture"),
    (b"MM\0*", "picture"),
    (b"{\\rtf", "rtf"),
)
_ZIP = b"PK\x03\x04"
_ZIP_PARTS = (("word/document.xml", "docx"), ("xl/workbook.xml", "xlsx"), ("ppt/presentation.xml", "pptx"))
_MIMETYPES = {
    "application/epub+zip": "epub",
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.presentation": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
}


def find_format(path: Path, data: bytes) -> Format:
    """The format of a file with these bytes, which are all of them. Raises DocumentError for one that is not read."""
    named = by_suffix(path)
    if named.name == "pdf" or b"%PDF-" in data[:1024]:
        return FORMATS["pdf"]
    if data.startswith(_ZIP):
        inner = _zip_format(data)
        if inner is None and named.name not in _ZIP_FORMATS:
            broken = "a broken archive: pack it again" if path.name.lower().endswith(ARCHIVES) else ""
            why = broken or unread_kind(path, data) or f"an archive: name it {ARCHIVE_NAMES}"
            raise DocumentError(f"{path}: {why}")
        return inner or named
    if data.startswith(_OLE):
        if named.name in _ZIP_FORMATS:
            named.open(path)(path, data)  # says what is wrong with it
        if why := unread_kind(path, data):
            raise DocumentError(f"{path}: {why}")
        return FORMATS["msg"]
    start = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    is_page = start.startswith((b"<!doctype html", b"<html"))
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return FORMATS[name]
    if path.suffix.lower() in _WHY_UNREAD and is_binary(data):
        raise DocumentError(f"{path}: {_WHY_UNREAD[path.suffix.lower()]}")
    return FORMATS["html"] if is_page and named.name in ("text", "xml") else named


_ZIP_FORMATS = {"docx", "xlsx", "pptx", "odt", "ods", "epub"}
ARCHIVE_NAMES = f"one of {', '.join(ARCHIVES)}, so that the files in it are read"


def unread_kind(path: Path, head: bytes) -> str:
    """What a file is that no reader reads, and what helps: `spreadsheet of Excel 97: save it as XLSX`, or ""."""
    if head.startswith(_OLE):
        why = _old_office(head)
        return _WHY_UNREAD.get(path.suffix.lower(), why) if why == _OLD and path.suffix.lower() != ".msg" else why
    return _WHY_UNREAD.get(path.suffix.lower(), "")


def is_ours(path: Path, head: bytes) -> bool:
    """Whether a file with this beginning is read though it is binary."""
    named = by_suffix(path).name
    if named in _ZIP_FORMATS | {"pdf", "msg", "picture"} or b"%PDF-" in head[:1024]:
        return not (head.startswith(_OLE) and named != "msg")
    return any(head.startswith(magic) for magic, _ in _MAGIC) or (
        head.startswith(_ZIP) and (b"word/document.xml" in head or b"mimetypeapplication/" in head)
    )


def _zip_format(data: bytes) -> Format | None:
    """What a ZIP file holds: an Office document, an OpenDocument, an e-book; None for anything else or a broken one."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            mimetype = _start(archive, "mimetype") if "mimetype" in names else ""
    except BROKEN_ZIP:
        return None
    name = next(
        (name for part, name in _ZIP_PARTS if part in names), _MIMETYPES.get(mimetype.removesuffix("-template"))
    )
    return FORMATS[name] if name else None


def _start(archive: zipfile.ZipFile, name: str) -> str:
    """The first characters of a part, however large it is."""
    with archive.open(name) as part:
        return part.read(100).decode("ascii", "replace").strip()


def _old_office(data: bytes) -> str:
    """What an OLE file is, by the names of its streams; "" for a mail of Outlook."""
    return next((why for name, why in _OLD_OFFICE.items() if name.encode("utf-16-le") in data), _OLD)


def by_suffix(path: Path) -> Format:
    """The format that the file's name says; text where it says none."""
    return _BY_SUFFIX.get(path.suffix.lower(), TEXT)


def reader_version(path: Path) -> str:
    """The reader of a file of this name with its version: `csv/1`. An index keeps it, and reads again what differs."""
    format_ = by_suffix(path)
    return f"{format_.name}/{format_.version}"
