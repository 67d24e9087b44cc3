"""Writes files completely or not at all: a reader sees the old content or the new, and never a part of it."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SUFFIX = ".part"
_PRIVATE = 0o600


def write_whole(path: str | Path, data: bytes | str, private: bool = False) -> None:
    """Replaces the content of a file. Text becomes UTF-8, and a lone surrogate its JSON escape.

    Permissions and errors are those of `new_file`.
    """
    content = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    with new_file(path, private) as temporary:
        temporary.write_bytes(content)


@contextmanager
def new_file(path: str | Path, private: bool = False) -> Iterator[Path]:
    """Yields an empty temporary file beside `path`, which replaces it at the end unless the block raises.

    The content is on the disk (fsync) before it replaces the old one. Links are followed, and their target is replaced.
    The block writes directly into a device or a pipe. The folder must exist. An existing file keeps its mode. A private
    file is readable and writable by its owner alone (0600).

    Raises OSError with `path` as its `filename`, and deletes the temporary file.
    """
    try:
        target = Path(os.path.realpath(path))
        mode = _mode(target)
        if mode is not None and not stat.S_ISREG(mode):
            yield target
            return
        temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}{_SUFFIX}")
        try:
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE if private else 0o666))
            if mode is not None and not private:
                temporary.chmod(stat.S_IMODE(mode))
            yield temporary
            flush(temporary)
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not every system can flush the new name in the folder
            flush(target.parent)
    except OSError as error:
        if error.filename is None or Path(error.filename).suffix == _SUFFIX:
            error.filename, error.filename2 = str(path), None
        raise


def is_left_over(path: Path) -> bool:
    """Whether this is the temporary file of a killed process. It may be deleted while nobody writes."""
    return path.name.startswith(".") and path.suffix == _SUFFIX


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return None


def flush(path: Path) -> None:
    """Flushes a file, or the names in a folder, to the disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
