"""SHA-256 of files: read anew, or for large ones cached by path, size and modification time."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from pipeline.storage.cache import cache_folder
from pipeline.storage.whole import write_whole


def sha256_of(path: Path) -> str:
    """Returns the hex digest of a file's bytes, in about a second for 1 GB. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sha256(path: Path) -> str:
    """Returns the hex digest of a file's bytes, cached on disk, so that a model is hashed once. Raises OSError."""
    stat = path.stat()
    key = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    memory = cache_folder() / "hashes" / f"{name}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(memory.read_text("utf-8"))
        if known["file"] == key and len(known["sha256"]) == 64:
            return str(known["sha256"])
    sha256 = sha256_of(path)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_whole(memory, json.dumps({"file": key, "sha256": sha256}))
    return sha256
