"""Downloads one file from the Hugging Face hub. This is the only module that uses the network, on request only."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pipeline.errors import ModelError
from pipeline.gguf.header import inspect
from pipeline.storage.files import check_room, write_json
from pipeline.storage.hashes import sha256_of
from pipeline.storage.locks import HeldError, locked

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from pipeline.contracts import Progress

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PIECE = 1 << 20
"""Bytes per write, the most that an interrupted download loses (the hub's library: 10 MB)."""
_NETWORK = ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")
"""Libraries whose errors mean a network failure; the hub's library uses one of them, by version."""


OnSize = Callable[[int, Path], None]
"""Called before a download with the number of bytes and the target folder."""


def note_of(path: Path) -> Path:
    """Returns the file beside a pulled file that holds the hub's metadata as JSON."""
    return path.with_name(path.name + ".json")


def download(
    repo: str, file: str, path: Path, expected: str | None, progress: Progress, on_size: OnSize | None = None
) -> None:
    """Downloads a GGUF file to `path`, where it appears only after its hash and header are checked.

    `expected` is its known sha256, or None; the hub's hash is checked too. An interrupted download stays beside `path`,
    and the next one resumes it. Raises ModelError without a network, without disk space, for a missing or refused file,
    and for a wrong hash.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f"{path.name}.lock")), _online():
            _download(repo, file, path, expected, progress, on_size)
    except HeldError:
        raise ModelError(f"another process is pulling {file}; wait for it") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error.strerror}") from None


@contextmanager
def _online() -> Iterator[None]:
    """Lifts the command line's ban on the hub during a download.

    huggingface_hub reads the environment once, at import, and checks its constant before each request.
    """
    from huggingface_hub import constants

    switches = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    saved = {switch: os.environ.pop(switch) for switch in switches if switch in os.environ}
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, False
    pieces, constants.DOWNLOAD_CHUNK_SIZE = constants.DOWNLOAD_CHUNK_SIZE, _PIECE
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, constants.DOWNLOAD_CHUNK_SIZE = before, pieces
        os.environ.update(saved)


def _download(
    repo: str, file: str, path: Path, expected: str | None, progress: Progress, on_size: OnSize | None
) -> None:
    name = f"hf:{repo}/{file}"
    with _translate_errors(name):
        part, declared, revision = _fetch(repo, file, path, progress, on_size)
    _check(name, part, {"the table of models": expected, "the hub": declared})
    os.replace(part, path)
    if declared is not None:
        write_json(note_of(path), {"source": name, "revision": revision, "sha256": declared})


def _fetch(
    repo: str, file: str, path: Path, progress: Progress, on_size: OnSize | None
) -> tuple[Path, str | None, str | None]:
    """Downloads the file under a temporary name; returns it with the hub's hash and its commit.

    `hf_hub_download` deletes an interrupted download (huggingface_hub 2.4), so it cannot be used here.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    about = get_hf_file_metadata(hf_hub_url(repo, file))
    etag, size = about.etag or "", about.size
    part = path.with_name(f"{path.name}.{etag[:16]}.part")
    arrived = part.stat().st_size if part.is_file() else 0
    if size is not None:
        if arrived > size:
            part.unlink()
            arrived = 0
        if on_size is not None:
            on_size(size - arrived, path.parent)
        check_room(part.parent, size - arrived)
    url = hf_hub_url(repo, file, revision=about.commit_hash)
    with _Counted(part, size or 0, progress) as out:
        http_get(url, out, resume_size=out.tell(), headers=build_hf_headers(), expected_size=size)
    return part, etag if _SHA256.fullmatch(etag) else None, about.commit_hash


class _Counted(FileIO):
    """A file opened for appending that reports its size."""

    def __init__(self, path: Path, total: int, progress: Progress) -> None:
        super().__init__(path, "ab")
        self.total = total
        self.report = progress

    def write(self, data: Buffer, /) -> int:
        rest = memoryview(data)
        n = len(rest)
        while rest:
            rest = rest[super().write(rest) :]
        self.report("download (MB)", self.tell() >> 20, self.total >> 20)
        return n


def _check(name: str, part: Path, expected: dict[str, str | None]) -> None:
    actual = sha256_of(part)
    for by, sha256 in expected.items():
        if sha256 is not None and sha256 != actual:
            part.unlink()
            raise ModelError(
                f"{name}: what was downloaded has the sha256 {actual}, and {by} says {sha256}; it was deleted. Pull it "
                "again"
            )
    try:
        inspect(part)
    except ModelError:
        part.unlink()
        raise


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    """Converts errors of the hub's library and its dependencies to ModelError."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        _say_http(name, error.response.status_code, error)
    except OSError as error:
        _say(name, error)
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _NETWORK:
            raise
        _say(name, error)


def _say_http(name: str, status: int, error: Exception) -> NoReturn:
    if status == 404:
        raise ModelError(f"{name}: the hub has no such file; check owner, repository and file") from None
    if status in (401, 403):
        raise ModelError(
            f"{name}: the hub does not give you this file ({status}): either there is no such repository, or its "
            "licence must be accepted on its page, and you must be logged in ('hf auth login')"
        ) from None
    _say(name, error)


def _say(name: str, error: Exception) -> NoReturn:
    why = " ".join(str(error).split())[:200] or type(error).__name__
    raise ModelError(
        f"{name} cannot be downloaded: {why}. Pull again, and it goes on from what it has; without a "
        "network, copy any GGUF file to this machine and name its path"
    ) from None
