"""A file to a document: by its first bytes where they tell, else by its suffix."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from pipeline.documents.limits import check_lines, read_file
from pipeline.errors import DocumentError
from pipeline.types import Document

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
    ".json": "json",
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
    ".toml": "toml",
    ".ts": "ts",
    ".tsx": "ts",
    ".yaml": "yaml",
    ".yml": "yaml",
}
"""Suffixes of source code, and the language's name: langchain-text-splitters' where it knows the language."""

_MARKDOWN = {".md", ".markdown", ".mdown", ".mkd"}
_HTML = {".html", ".htm", ".xhtml"}
_ZIP = b"PK\x03\x04"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def load(path: Path) -> Document:
    """The file as one text, with its title, headings, pages and notes on what was left out.

    Raises DocumentError for a file that is missing, unreadable, empty, binary, encrypted, broken or of no encoding
    that we can tell, and MissingExtraError where the library for its format is not installed.
    """
    path = Path(path).absolute()
    data = _read(path)
    return _checked(path, path.as_posix(), data)


def _checked(path: Path, source: str, data: bytes) -> Document:
    document = _parse(path, data)
    check_lines(str(path), document.text)
    if not document.text.strip():
        notes = "; ".join(document.notes)
        raise DocumentError(f"{path}: holds no text{': ' + notes if notes else ''}")
    return replace(document, source=source, sha256=hashlib.sha256(data).hexdigest())


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
    except PermissionError:
        raise DocumentError(f"{path}: may not be read: give yourself the right to (chmod +r)") from None
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not data.strip():
        raise DocumentError(f"{path}: an empty file")
    return data


def _parse(path: Path, data: bytes) -> Document:
    suffix = path.suffix.lower()
    if suffix == ".pdf" or b"%PDF-" in data[:1024]:
        from pipeline.documents.pdf import load_pdf

        return load_pdf(path, data)
    if suffix == ".docx" or _is_docx(data):
        from pipeline.documents.docx import load_docx

        return load_docx(path, data)
    if data.startswith(_OLE):
        raise DocumentError(f"{path}: an old Office file, or one with a password: save it as DOCX without a password")
    if suffix in _MARKDOWN:
        from pipeline.documents.markdown import load_markdown

        return load_markdown(path, data)
    if suffix in _HTML or (suffix not in LANGUAGES and _looks_like_html(data)):
        from pipeline.documents.html import load_html

        return load_html(path, data)
    from pipeline.documents.text import load_text

    return load_text(path, data, f"code:{LANGUAGES[suffix]}" if suffix in LANGUAGES else "text")


def _is_docx(data: bytes) -> bool:
    return data.startswith(_ZIP) and b"word/document.xml" in data


def _looks_like_html(data: bytes) -> bool:
    start = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype html", b"<html"))
