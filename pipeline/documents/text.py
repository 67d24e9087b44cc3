"""Text files: bytes to characters, whatever the encoding, and the plain-text loader.

The line ends of Windows and of old Macs become newlines, so that a line has one meaning everywhere.
"""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from pipeline.errors import DocumentError
from pipeline.types import Document

_MARKS = (  # the longest first: UTF-32's mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TITLE_LINE = re.compile(r"^Title:[ \t]+(\S.*?)[ \t]*$", re.MULTILINE)
_HEAD_CHARS = 3000


def load_text(path: Path, data: bytes, kind: str = "text") -> Document:
    """The file's text as it is. The title is that of a line "Title: ..." near its top, else the file's name."""
    text, notes = decode(path, data)
    found = _TITLE_LINE.search(text[:_HEAD_CHARS]) if kind == "text" else None
    title = found[1] if found else (path.name if kind.startswith("code") else readable_name(path))
    return Document(path.as_posix(), text, kind, title=title, notes=notes)


def decode(path: Path, data: bytes) -> tuple[str, tuple[str, ...]]:
    """The text of a file's bytes, without its byte order mark, and a note where the encoding was guessed.

    A byte order mark decides, else UTF-8 if the bytes are valid in it, else the best guess of charset-normalizer.
    Raises DocumentError for binary files and for text that no encoding fits.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _decoded(path, data, encoding), ()
    if is_binary(data):
        raise DocumentError(f"{path}: a binary file, not text: give a text, Markdown, HTML, PDF or DOCX file")
    try:
        return _plain(data.decode("utf-8")), ()
    except UnicodeDecodeError:
        encoding = _guess(path, data)
    return _decoded(path, data, encoding), (f"not UTF-8: decoded as {encoding}, which is a guess",)


def is_binary(data: bytes) -> bool:
    """Whether these bytes, a whole file or its beginning, are no text: a NUL byte, and no mark of UTF-16 or UTF-32."""
    return b"\0" in data and not data.startswith(tuple(mark for mark, _ in _MARKS))


def readable_name(path: Path) -> str:
    """The file's name without suffix, its dashes and underscores made spaces."""
    return re.sub(r"[-_\s]+", " ", path.stem).strip() or path.name


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(path: Path, data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"{path}: byte {error.start} is not valid {encoding.removesuffix('-sig').upper()}, which the file's first "
            "bytes announce: save the file again, as UTF-8"
        ) from None
    if "\0" in text:
        raise DocumentError(f"{path}: a binary file, not text: give a text, Markdown, HTML, PDF or DOCX file")
    return _plain(text)


def _guess(path: Path, data: bytes) -> str:
    """The encoding that fits best; where too few letters tell, the most common one (cp1252) if the bytes are valid."""
    from charset_normalizer import from_bytes

    telling = sum(byte >= 0x80 for byte in data)
    if telling < 8 and _fits(data, "cp1252"):
        return "cp1252"
    matches = from_bytes(data)
    best = matches.best()
    if best is None:
        raise DocumentError(f"{path}: cannot tell the text's encoding: save the file as UTF-8")
    as_good = {
        encoding
        for match in matches
        if (match.chaos, match.coherence) == (best.chaos, best.coherence)
        for encoding in match.could_be_from_charset
    }
    return "cp1252" if "cp1252" in as_good else best.encoding


def _fits(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
