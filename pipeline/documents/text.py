"""Text files: bytes to characters, whatever the encoding, and the plain-text loader.

The line ends of Windows and of old Macs become newlines, so that a line has one meaning everywhere.
"""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.documents import charsets
from pipeline.documents.formats import BINARY, LANGUAGES
from pipeline.documents.unread_formats import unread_kind
from pipeline.errors import DocumentError
from pipeline.types import Document

_TITLE_LINE = re.compile(r"^Title:[ \t]+(\S.*?)[ \t]*$", re.MULTILINE)
_HEAD_CHARS = 3000


def load_text(path: Path, data: bytes, kind: str = "text") -> Document:
    """The file's text as it is. The title is that of a line "Title: ..." near its top, else the file's name."""
    text, notes = decode(path, data)
    match = _TITLE_LINE.search(text[:_HEAD_CHARS]) if kind == "text" else None
    title = match[1] if match else (path.name if kind.startswith("code") else readable_name(path))
    return Document(path.as_posix(), text, kind, title=title, notes=notes)


def load_code(path: Path, data: bytes) -> Document:
    """Source code in the language that the file's suffix names."""
    return load_text(path, data, f"code:{LANGUAGES[path.suffix.lower()]}")


def decode(path: Path, data: bytes, label: str | None = None) -> tuple[str, tuple[str, ...]]:
    """The text of a file's bytes, without its byte order mark, and a note on what was guessed or left out.

    A byte order mark decides, else zero bytes as in UTF-16, else UTF-8 if the bytes are valid in it, or all but a few,
    else the label that the file itself carries, else the letters of Turkish or the best guess of charset-normalizer.
    A stray NUL is left out. Raises DocumentError for binary files and for text that no encoding fits.
    """
    for mark, encoding in charsets.MARKS:
        if data.startswith(mark):
            return _without_nul(path, _decoded(path, data, encoding))
    if encoding_16 := charsets.utf16_without_mark(data):
        text, notes = _without_nul(path, _decoded(path, data, encoding_16))
        return text, (f"read as {encoding_16.upper()}, as every other byte is zero", *notes)
    if charsets.is_binary(data):
        raise DocumentError(f"{path}: {unread_kind(path, data) or BINARY}")
    try:
        return _without_nul(path, data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    if mostly := charsets.decode_mostly_utf8(data):
        text, notes = _without_nul(path, mostly[0])
        n = mostly[1]
        return text, (*notes, f"{n} byte{'s are' if n > 1 else ' is'} no UTF-8: read as windows-1252, which is a guess")
    if label and (encoding_named := charsets.by_label(label)):
        labelled = charsets.decode_labelled(data, encoding_named)
        if labelled:
            text, notes = _without_nul(path, labelled[0])
            return text, (*notes, *([f"{labelled[1]} characters are broken in the file"] if labelled[1] else []))
    guessed = charsets.guess(data)
    if guessed is None:
        raise DocumentError(f"{path}: cannot tell the text's encoding: save the file as UTF-8")
    text, notes = _without_nul(path, _decoded(path, data, guessed))
    return text, (f"not UTF-8: decoded as {guessed}, which is a guess", *notes)


def _without_nul(path: Path, text: str) -> tuple[str, tuple[str, ...]]:
    n_nul = text.count("\0")
    if n_nul > max(1, len(text) // 100) or (n_nul and len(text) < 16):
        raise DocumentError(f"{path}: {BINARY}")
    notes = (f"{n_nul} NUL character{'s' if n_nul > 1 else ''} left out",) if n_nul else ()
    return _plain(text.replace("\0", "")), notes


def readable_name(path: Path) -> str:
    """The file's name without suffix, its dashes and underscores made spaces."""
    return re.sub(r"[-_\s]+", " ", path.stem).strip() or path.name


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decoded(path: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"{path}: byte {error.start} is not valid {encoding.removesuffix('-sig').upper()}, which the file's first "
            "bytes announce: save the file again, as UTF-8"
        ) from None
