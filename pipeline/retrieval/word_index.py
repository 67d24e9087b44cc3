"""BM25 over the words of chunks, saved beside the manifest and mapped into memory.

Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009, in Lucene's form, as computed by
bm25s (Lù, arXiv 2407.03618): every word's part of every score is worked out when the index is built.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.storage.checked_json import read_object, with_checksum
from pipeline.storage.checksums import crc32_of
from pipeline.storage.whole import write_whole
from pipeline.text.words import VERSION, words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K1 = 1.5
B = 0.75
TEMPORARY = ".bm25-"
_ABOUT = "longthread.json"
_SETTINGS = {"method": "lucene", "k1": K1, "b": B, "words": VERSION}


@dataclass
class WordIndex:
    """`rows` are the manifest's numbers of the chunks, int64 of shape (n_chunks,), by source and offset."""

    rows: NDArray[np.int64]
    bm25: Any

    @classmethod
    def build(cls, chunks: Iterable[tuple[int, str]]) -> WordIndex:
        """From (row, text) of each chunk, in the order of source and offset."""
        import bm25s
        import numpy as np

        rows: list[int] = []
        vocabulary: dict[str, int] = {}
        texts: list[list[int]] = []
        for row, text in chunks:
            rows.append(row)
            texts.append([vocabulary.setdefault(word, len(vocabulary)) for word in words(text)])
        bm25 = bm25s.BM25(method="lucene", k1=K1, b=B)
        if vocabulary:
            bm25.index((texts, vocabulary), create_empty_token=False, show_progress=False)
        else:
            bm25 = None
        return cls(np.array(rows, np.int64), bm25)

    def search(self, question: str, k: int, allowed: Sequence[int] | None = None) -> list[tuple[int, float]]:
        """(row, score) of the best chunks that share a word with the question; `allowed` rows only, if given.

        Best first; equal scores keep the order of the rows, which is that of source and offset.
        """
        import numpy as np

        tokens = self.bm25.get_tokens_ids(words(question)) if self.bm25 is not None else []
        if not tokens:
            return []
        scores = self.bm25.get_scores_from_ids(tokens)
        if allowed is not None:
            scores = np.where(np.isin(self.rows, np.asarray(allowed, np.int64)), scores, 0)
        matches = np.flatnonzero(scores > 0)
        best = matches[np.argsort(-scores[matches], kind="stable")[:k]]
        return [(int(self.rows[i]), float(scores[i])) for i in best]

    def save(self, folder: Path, generation: int) -> None:
        """Replaces the index in the folder: an interrupted save leaves the old one or none, never half of one."""
        import numpy as np

        part = folder.with_name(f"{TEMPORARY}{os.getpid()}")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        np.save(part / "rows.npy", self.rows, allow_pickle=False)
        if self.bm25 is not None:
            self.bm25.save(part, show_progress=False)
        sums = {path.name: crc32_of(path) for path in sorted(part.iterdir())}
        about = {**_SETTINGS, "generation": generation, "empty": self.bm25 is None, "files": sums}
        write_whole(part / _ABOUT, json.dumps(with_checksum(about)))
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)

    @staticmethod
    def is_outdated(folder: Path) -> bool:
        """Whether the folder holds an index whose words an older version of longthread split."""
        try:
            return bool(read_object(folder / _ABOUT).get("words") != VERSION)
        except (OSError, ValueError):
            return False

    @classmethod
    def load(cls, folder: Path, generation: int) -> WordIndex | None:
        """The saved index, or None where there is none of that generation of the manifest and of these settings.

        None also for a damaged one, which its checksums tell: it is made again from the manifest's texts.
        """
        import bm25s
        import numpy as np

        try:
            about = read_object(folder / _ABOUT, needs_checksum=True)
            if any(about.get(name) != value for name, value in {**_SETTINGS, "generation": generation}.items()):
                return None
            if any(crc32_of(folder / name) != crc for name, crc in about["files"].items()):
                return None
            rows = np.load(folder / "rows.npy", mmap_mode="r", allow_pickle=False)
            return cls(rows, None if about["empty"] else bm25s.BM25.load(folder, mmap=True, show_progress=False))
        except (OSError, ValueError, KeyError):
            return None
