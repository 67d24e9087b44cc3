"""Files of cells: checksummed, written atomically, private, with LRU eviction.

Layout: a magic line, the length of a JSON header, the header, and its sections. The header holds the sizes of the
sections, their checksum and its own. Torn, foreign and damaged files are logged and not loaded. Cells reveal their
text, so folders and files are private to their owner.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import struct
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.storage import lru
from pipeline.storage.cache import make_private
from pipeline.text.normal import fold_case, fold_shapes

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOG = logging.getLogger("longthread.cells")
_MAGIC = b"longthread-kv-2\n"
_MAX_HEADER = 1 << 20
_STALE_S = 600
"""Age after which a temporary file's writer counts as killed."""


@dataclass(frozen=True)
class Header:
    """A file's header: `fields` are the caller's, `sizes` the bytes of each section."""

    fields: Mapping[str, Any]
    sizes: tuple[int, ...]
    checksum: str


def write(path: Path, fields: Mapping[str, object], sections: Sequence[NDArray[np.generic]]) -> None:
    """Writes a file under a temporary name and renames it: several processes may do so at once. Raises OSError."""
    temporary = write_part(path, fields, sections)
    try:
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_part(path: Path, fields: Mapping[str, object], sections: Sequence[NDArray[np.generic]]) -> Path:
    """Writes a temporary file for `path`; the caller renames it. Raises OSError, and then leaves no file."""
    make_private(path.parent.parent)
    make_private(path.parent)
    data = [np.ascontiguousarray(section).reshape(-1).view(np.uint8) for section in sections]
    sizes = [section.nbytes for section in data]
    content = {"fields": dict(fields), "sizes": sizes, "checksum": _checksum(data)}
    content["seal"] = _seal(content)
    text = json.dumps(content).encode()
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        try:
            file.write(_MAGIC + struct.pack("<I", len(text)) + text)
            for section in data:
                file.write(section.data)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    return Path(file.name)


def read_header(path: Path) -> Header | None:
    """Reads a file's header; returns None and logs for a foreign or incomplete file."""
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise ValueError("it holds no cells")
            (size,) = struct.unpack("<I", file.read(4))
            if size > _MAX_HEADER:
                raise ValueError("its header is damaged")
            content = json.loads(file.read(size))
            if content.pop("seal") != _seal(content):
                raise ValueError("its header is damaged")
            header = Header(content["fields"], tuple(content["sizes"]), content["checksum"])
            expected = len(_MAGIC) + 4 + size + sum(header.sizes)
            if os.fstat(file.fileno()).st_size != expected:
                raise ValueError(f"it holds {path.stat().st_size} of {expected} bytes")
            return header
    except (OSError, ValueError, TypeError, KeyError, struct.error) as error:
        if not isinstance(error, FileNotFoundError):
            LOG.warning("%s: not loaded: %s", path, error)
        return None


def read(path: Path) -> tuple[Mapping[str, Any], list[NDArray[np.uint8]]] | None:
    """Reads a file's fields and sections; returns None and logs if a checksum fails."""
    header = read_header(path)
    if header is None:
        return None
    try:
        with path.open("rb") as file:
            file.seek(-sum(header.sizes), os.SEEK_END)
            sections = [np.fromfile(file, np.uint8, size) for size in header.sizes]
    except OSError as error:
        LOG.warning("%s: not loaded: %s", path, error)
        return None
    if _checksum(sections) != header.checksum:
        LOG.warning("%s: not loaded: its checksum is wrong; the file is deleted", path)
        path.unlink(missing_ok=True)
        return None
    return header.fields, sections


def read_first(path: Path, n: int) -> list[bytes] | None:
    """Reads the first n sections of a file without checking their checksum; None for a torn or foreign file."""
    header = read_header(path)
    if header is None or len(header.sizes) < n:
        return None
    try:
        with path.open("rb") as file:
            file.seek(-sum(header.sizes), os.SEEK_END)
            return [file.read(size) for size in header.sizes[:n]]
    except OSError:
        return None


def flat(text: str) -> str:
    """Normalises a text for comparison (text/normal.py), with white space collapsed."""
    return " ".join(fold_case(fold_shapes(text)).split())


def holds(path: Path, wanted: str, n_texts: int) -> bool:
    """Whether one of a file's first sections (texts) contains a flat text; True for an unreadable file."""
    texts = read_first(path, n_texts)
    return texts is None or any(wanted in flat(text.decode("utf-8", "replace")) for text in texts)


def forget(root: Path, text: str, n_texts: int) -> int:
    """Deletes all files below `root` with a text in one of their first sections; returns their number.

    Files that are being written are deleted too, since they may hold it. White space is collapsed; an empty text
    matches nothing.
    """
    wanted = flat(text)
    paths = [path for path in root.glob("*/*.kv") if wanted and holds(path, wanted, n_texts)]
    for path in paths:
        path.unlink(missing_ok=True)
    if wanted:
        sweep(root, 0)
    return len(paths)


def evict(root: Path, max_bytes: int, keep: Path | None = None) -> None:
    """Deletes the remains of killed writers, then the least recently used files below `root`, down to `max_bytes`.

    Files that are being written count as well.
    """
    sweep(root, _STALE_S)
    lru.evict(root.glob("*/*.kv"), max_bytes - lru.bytes_of(root.glob("*/*.part")), keep)


def sweep(root: Path, age_s: float) -> None:
    """Deletes temporary files of at least this age."""
    for path in root.glob("*/*.part"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime <= time.time() - age_s:
                path.unlink()


def size_of(root: Path) -> tuple[int, int]:
    """Returns the number of cell files below a root, and their bytes."""
    sizes = []
    for path in root.glob("*/*.kv"):
        with contextlib.suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return len(sizes), sum(sizes)


def _checksum(sections: Sequence[NDArray[np.uint8]]) -> str:
    digest = hashlib.sha256()
    for section in sections:
        digest.update(section.data)
    return digest.hexdigest()


def _seal(content: Mapping[str, object]) -> str:
    """Computes the checksum of a header."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
