"""Archives and mails as folders: `ships.zip/2025/log.txt` is a document of its own, and so is `offer.eml/price.pdf`.

Nothing is unpacked to the disk. An archive's sizes are added up before any of it is unpacked, and what is unpacked is
counted again, since a header may lie.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from pipeline.documents.formats import ARCHIVES, MAILS
from pipeline.documents.left_out import LEFT_OUT
from pipeline.documents.limits import BROKEN_ZIP, check_unpacked_bytes
from pipeline.errors import DocumentError, MissingExtraError

MAX_MEMBERS = 20_000
MAX_DEPTH = 3
"""An archive in an archive is opened as long as no more than this many are inside one another."""
_BROKEN = (*BROKEN_ZIP, tarfile.TarError)


_COMPRESSIONS: dict[bytes, Callable[[BinaryIO], object]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
Content = bytes | str
"""A file's bytes, or in words why it cannot be read."""
_IS_ENCRYPTED, _IS_UTF8 = 0x1, 0x800
_WINDOWS = 0  # of the system that packed a ZIP: some programs there part folders by backslashes
_DRIVE = re.compile(r"[A-Za-z]:/")


def is_archive(path: Path | PurePosixPath) -> bool:
    return path.name.lower().endswith(ARCHIVES)


def is_container(path: Path | PurePosixPath) -> bool:
    """Whether documents may be inside the file: an archive, or a mail with attachments."""
    return is_archive(path) or path.suffix.lower() in MAILS


def container_of(path: Path) -> Path | None:
    """The file on the disk that a member is inside of; None for a path that leads through no file."""
    return next((parent for parent in path.parents if parent.is_file()), None)


def members(path: Path) -> dict[str, str]:
    """What is inside a container on the disk, and inside its archives: each name with why it cannot be read, or "".

    Raises DocumentError for an archive that is broken or too large.
    """
    return {name: content if isinstance(content, str) else "" for name, content in _contents(path).items()}


def is_member(path: Path) -> bool:
    """Whether the path leads to something inside a container."""
    outer = container_of(path)
    try:
        return outer is not None and is_container(outer) and path.relative_to(outer).as_posix() in members(outer)
    except DocumentError:
        return False


def read_member(path: Path) -> bytes:
    """The bytes of `archive.zip/name`. Raises DocumentError where there is no such member, or it cannot be read."""
    outer = container_of(path)
    if outer is None or not is_container(outer):
        raise DocumentError(f"{path}: no such file")
    content = _contents(outer).get(path.relative_to(outer).as_posix())
    if content is None:
        raise DocumentError(f"{path}: no such file in {outer.name}")
    if isinstance(content, str):
        raise DocumentError(f"{path}: {content}")
    return content


def _contents(path: Path) -> dict[str, Content]:
    status = path.stat()
    return _unpacked(path.as_posix(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1)
def _unpacked(path: str, size: int, mtime_ns: int) -> dict[str, Content]:
    """All members of a container, which is unpacked once and not once a member."""
    try:
        contents: dict[str, Content] = {}
        for name, content in _Unpacker(path).unpack(PurePosixPath(path), Path(path).read_bytes(), "", 1):
            contents[_unused(name, contents)] = content
        return contents
    except _BROKEN as error:
        raise DocumentError(f"{path}: a broken archive ({error}): pack it again") from None


def _unused(name: str, taken: Container[str]) -> str:
    """The name, or where an archive has it twice, `a (2).txt` for the second `a.txt`."""
    place, unused, n = PurePosixPath(name), name, 2
    while unused in taken:
        unused = place.with_name(f"{place.stem} ({n}){place.suffix}").as_posix()
        n += 1
    return unused


@dataclass
class _Unpacker:
    """Unpacks one container with all inside it, as long as there is room."""

    path: str
    n_bytes: int = 0
    n_members: int = 0

    def unpack(self, name: PurePosixPath, data: bytes, prefix: str, depth: int) -> Iterator[tuple[str, Content]]:
        left_out: set[PurePosixPath] = set()
        for inner, content in self.entries(name, data):
            place = PurePosixPath(inner)
            if hidden := _hidden_part(place):
                if hidden not in left_out:
                    yield f"{prefix}{hidden}", f"{LEFT_OUT}hidden in its archive"
                left_out.add(hidden)
                continue
            if place.is_absolute() or ".." in place.parts or _DRIVE.match(inner):
                yield f"{prefix}{place.name}", "its name leads out of the archive"
                continue
            if isinstance(content, str) or not is_container(place):
                yield f"{prefix}{place}", content
                continue
            if not is_archive(place):
                yield f"{prefix}{place}", content  # a mail is a document beside what is attached to it
            if depth == MAX_DEPTH:
                yield f"{prefix}{place}", f"an archive inside {depth} others: unpack it"
                continue
            try:
                yield from self.unpack(place, content, f"{prefix}{place}/", depth + 1)
            except _BROKEN as error:
                yield f"{prefix}{place}", f"a broken archive ({error}): pack it again"

    def entries(self, name: PurePosixPath, data: bytes) -> Iterator[tuple[str, Content]]:
        """The files of one container, unpacked."""
        if name.suffix.lower() in MAILS:
            from pipeline.documents.mail import attachments

            # A mail is a document as well, and reading it says what is wrong with it.
            with suppress(DocumentError, MissingExtraError):
                yield from attachments(Path(name), data)
        elif name.suffix.lower() == ".zip":
            yield from self.zip_entries(data)
        else:
            yield from self.tar_entries(data)

    def zip_entries(self, data: bytes) -> Iterator[tuple[str, Content]]:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            for info in files:
                self.make_room(info.file_size)
            for info in files:
                name = info.filename if info.flag_bits & _IS_UTF8 else _as_utf8(info.filename)
                if info.create_system == _WINDOWS:
                    name = name.replace("\\", "/")
                if info.flag_bits & _IS_ENCRYPTED:
                    yield name, "encrypted in its archive: unpack it"
                    continue
                try:
                    yield name, archive.read(info)  # stops at the size that was counted
                except _BROKEN as error:
                    yield name, f"broken in its archive ({error})"

    def tar_entries(self, data: bytes) -> Iterator[tuple[str, Content]]:
        # Opened here and not by tarfile: a header may be as large as it likes, and is read whole.
        stream = _LimitedReads(self.path, _decompressed(data))
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for info in archive:
                self.make_room(info.size)  # before what it holds is passed over, which unpacks it
                if info.issym() or info.islnk():
                    yield info.name, "a link in its archive: unpack it"
                elif info.isfile() and (file := archive.extractfile(info)) is not None:
                    yield info.name, file.read()

    def make_room(self, n_bytes: int) -> None:
        self.n_bytes += n_bytes
        self.n_members += 1
        check_unpacked_bytes(self.path, self.n_bytes)
        if self.n_members > MAX_MEMBERS:
            raise DocumentError(f"{self.path}: holds more than {MAX_MEMBERS} files: unpack it into a folder")


class _LimitedReads:
    """A stream of which nobody reads more than the limit at once. Raises DocumentError for that."""

    def __init__(self, path: str, stream: BinaryIO) -> None:
        self.path = path
        self.stream = stream

    def read(self, n: int) -> bytes:
        check_unpacked_bytes(self.path, n)
        return self.stream.read(n)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _decompressed(data: bytes) -> BinaryIO:
    """The bytes of a TAR file, whatever it is compressed with."""
    for magic, open_ in _COMPRESSIONS.items():
        if data.startswith(magic):
            return cast("BinaryIO", open_(io.BytesIO(data)))
    return io.BytesIO(data)


def _hidden_part(place: PurePosixPath) -> PurePosixPath | None:
    """The outermost folder of a name that is hidden or a cache, or the file itself; None for one that is read."""
    for n, part in enumerate(place.parts, 1):
        if (part.startswith(".") and not part.startswith("..")) or part in ("__MACOSX", "__pycache__"):
            return PurePosixPath(*place.parts[:n])
    return None


def _as_utf8(name: str) -> str:
    """A name that its archive does not call UTF-8, and that is UTF-8 all the same, as Unix tools write it."""
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name
