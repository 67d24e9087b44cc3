"""How much of a file is read: limits with a message, so that no file takes all memory. Each can be set.

LONGTHREAD_MAX_FILE_MB       bytes of one file, or of what is piped in
LONGTHREAD_MAX_UNPACKED_MB   bytes that an archive (ZIP, tar, DOCX and the like) says that it unpacks to
LONGTHREAD_MAX_LINE_MB       characters of a text without a line break
LONGTHREAD_MAX_PDF_PAGES     pages of one PDF
LONGTHREAD_MAX_OCR_PAGES     pages of one PDF or TIFF that are recognised, which takes seconds for each

They are read from the environment at each use, because they are the machine's and not a pipeline's. Readers of
archives call `check_unpacked` or `check_unpacked_data` before they unpack; files and streams are read by `read_file`
and `read_stream`.
"""

from __future__ import annotations

import io
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import ConfigError, DocumentError, LongthreadError

BROKEN_ZIP = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError, NotImplementedError, ValueError,
)  # fmt: skip
"""What zipfile raises for an archive that is broken, encrypted, or packed in a way that it does not know."""
_MB = 1_000_000
_DEFAULTS_MB = {"LONGTHREAD_MAX_FILE_MB": 200.0, "LONGTHREAD_MAX_UNPACKED_MB": 500.0, "LONGTHREAD_MAX_LINE_MB": 5.0}
PDF_PAGES, OCR_PAGES = "LONGTHREAD_MAX_PDF_PAGES", "LONGTHREAD_MAX_OCR_PAGES"
_DEFAULT_PAGES = {PDF_PAGES: 10_000, OCR_PAGES: 500}
_CHUNK = 1 << 20


def max_bytes(name: str) -> int:
    """A limit in bytes, or in characters. Raises ConfigError for a setting that is no number above 0."""
    text = os.environ.get(name, "").strip()
    try:
        megabytes = float(text) if text else _DEFAULTS_MB[name]
    except ValueError:
        megabytes = 0.0
    if not 0 < megabytes < 1e9:
        raise ConfigError(f"{name} must be a number of megabytes above 0, was: {text}")
    return int(megabytes * _MB)


def max_pages(name: str) -> int:
    """A limit in pages. Raises ConfigError for a setting that is no whole number above 0."""
    text = os.environ.get(name, "").strip()
    if text and not (text.isascii() and text.isdigit() and int(text) > 0):
        raise ConfigError(f"{name} must be a whole number of pages above 0, was: {text}")
    return int(text) if text else _DEFAULT_PAGES[name]


def limits_met(names: Iterable[str]) -> list[str]:
    """Limits in pages as they are set now: `LONGTHREAD_MAX_PDF_PAGES=100`."""
    return [f"{name}={max_pages(name)}" for name in names]


def read_file(path: Path, error: type[LongthreadError] = DocumentError) -> bytes:
    """The bytes of a regular file. Raises OSError, and `error` for one that is too large or is no regular file.

    The size is looked at first, so that a sparse file costs nothing; what grows while it is read stops at the limit.
    """
    if stat.S_ISFIFO(path.stat().st_mode):  # to open one waits until something writes into it
        raise error(f"{path}: a pipe, not a file: save what it gives in a file, and name that")
    with path.open("rb") as stream:
        status = os.fstat(stream.fileno())
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            raise error(f"{path}: a device, not a file")
        if status.st_size > max_bytes("LONGTHREAD_MAX_FILE_MB"):
            raise error(_too_large(str(path), f"{status.st_size / _MB:.0f} MB"))
        return read_stream(stream, str(path), error)


def read_stream(stream: BinaryIO, name: str, error: type[LongthreadError] = DocumentError) -> bytes:
    """All that a stream has. Raises `error` where that is more than the limit, having read no more than that."""
    limit = max_bytes("LONGTHREAD_MAX_FILE_MB")
    parts: list[bytes] = []
    n = 0
    while part := stream.read(_CHUNK):
        n += len(part)
        if n > limit:
            raise error(_too_large(name, f"more than {limit / _MB:g} MB"))
        parts.append(part)
    return b"".join(parts)


def check_unpacked(name: str, parts: Iterable[zipfile.ZipInfo]) -> None:
    """Raises DocumentError for an archive that unpacks to more than the limit. zipfile unpacks no more than it says."""
    check_unpacked_bytes(name, sum(part.file_size for part in parts))


def check_unpacked_data(name: str, data: bytes) -> None:
    """`check_unpacked` for a ZIP in memory. Raises zipfile.BadZipFile for what is none."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        check_unpacked(name, archive.infolist())


def check_unpacked_bytes(name: str, n: int) -> None:
    """Raises DocumentError for more bytes than an archive may unpack to."""
    limit = max_bytes("LONGTHREAD_MAX_UNPACKED_MB")
    if n > limit:
        raise DocumentError(
            f"{name}: unpacks to {n / _MB:.0f} MB, and at most {limit / _MB:g} MB are unpacked: set "
            "LONGTHREAD_MAX_UNPACKED_MB higher if you trust this file"
        )


def check_lines(name: str, text: str) -> None:
    """Raises DocumentError for a line that is longer than the limit: cutting it takes seconds for each megabyte."""
    limit = max_bytes("LONGTHREAD_MAX_LINE_MB")
    if len(text) <= limit:
        return
    longest = max(map(len, text.split("\n")))
    if longest > limit:
        raise DocumentError(
            f"{name}: a line of {longest / _MB:.0f} million characters, and at most {limit / _MB:g} million are read: "
            "break it into lines, or set LONGTHREAD_MAX_LINE_MB higher"
        )


def _too_large(name: str, size: str) -> str:
    limit = max_bytes("LONGTHREAD_MAX_FILE_MB") / _MB
    return (
        f"{name}: holds {size}, and at most {limit:g} MB of a file are read: split it, or set LONGTHREAD_MAX_FILE_MB "
        "higher"
    )
