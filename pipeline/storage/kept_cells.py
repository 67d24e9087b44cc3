"""All files of cells in the cache, of all models: snapshots of prompts, pieces, vectors of tokens. For forgetting."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pipeline.storage import cell_files
from pipeline.storage.cache import cache_folder

N_TEXTS = {
    "snapshots": 1,  # the text of its cells
    "pieces": 2,  # the piece's text, and that of its prefix
    "token_vectors": 1,  # the text that was read
}
"""The folders of the cache with files of cells, and how many of a file's first sections are texts."""


def forget_text(text: str) -> int:
    """Deletes the cells that hold a text or were read behind it; gives the number of files."""
    return sum(cell_files.forget(cache_folder() / name, text, n) for name, n in N_TEXTS.items())


def forget_since(time: datetime, names: Sequence[str] = tuple(N_TEXTS)) -> int:
    """Deletes the cells that were written or used since a time, in the folders of these names; gives how many files.

    They may hold what was made of a conversation in other words, such as a summary.
    """
    n = 0
    for name in names:
        root = cache_folder() / name
        cell_files.sweep(root, 0)
        late = [path for path in root.glob("*/*.kv") if path.stat().st_mtime >= time.timestamp()]
        for path in late:
            path.unlink(missing_ok=True)
        n += len(late)
    return n
