"""A file to a document, by the reader of its format; a member of an archive or of a mail as well."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import cast

from pipeline.documents.archives import read_member
from pipeline.documents.formats import ReadWithoutOcr, find_format
from pipeline.documents.left_out import NOT_RECOGNISED
from pipeline.documents.limits import check_lines, read_file
from pipeline.documents.properties import with_properties
from pipeline.errors import DocumentError
from pipeline.types import Document


def load(path: Path, ocr: bool = True) -> Document:
    """The file as one text, with its title, headings, pages and notes on what was left out.

    Without `ocr` no text is recognised in pictures and scanned pages, even if the extra is installed.
    Raises DocumentError for a file that is missing, unreadable, empty, binary, encrypted, broken, nested too deeply or
    of no encoding that we can tell, and MissingExtraError where the library for its format is not installed.
    """
    path = Path(path).absolute()
    data = _read(path)
    return _checked(path, path.as_posix(), data, ocr)


def _checked(path: Path, source: str, data: bytes, ocr: bool = True) -> Document:
    try:
        document = _parsed(path, data, ocr)
    except RecursionError:  # in whichever library reads this format
        raise DocumentError(f"{path}: its parts are nested too deeply") from None
    check_lines(str(path), document.text)
    if not document.text.strip():
        notes = "; ".join(document.notes)
        raise DocumentError(f"{path}: holds no text{': ' + notes if notes else ''}")
    document = with_properties(document, data)
    return replace(document, source=source, sha256=hashlib.sha256(data).hexdigest())


def _parsed(path: Path, data: bytes, ocr: bool) -> Document:
    format_ = find_format(path, data)
    if format_.name == "picture" and not ocr:
        raise DocumentError(f"{path}: {NOT_RECOGNISED}")
    read = format_.open(path)
    is_without = format_.uses_ocr and not ocr
    document = cast("ReadWithoutOcr", read)(path, data, use_ocr=False) if is_without else read(path, data)
    return replace(document, format=format_.name)


def load_bytes(name: str, data: bytes) -> Document:
    """Like `load`, for bytes that are no file: the name is the document's source, the format is told by the bytes."""
    if not data.strip():
        raise DocumentError(f"{name}: holds no text")
    return _checked(Path(name), name, data)


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise DocumentError(f"{path}: not a file")
        data = read_file(path)
    except FileNotFoundError:
        raise DocumentError(f"{path}: no such file") from None
    except NotADirectoryError:
        data = read_member(path)
    except PermissionError:
        raise DocumentError(f"{path}: may not be read: give yourself the right to (chmod +r)") from None
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not data.strip():
        raise DocumentError(f"{path}: an empty file")
    return data
