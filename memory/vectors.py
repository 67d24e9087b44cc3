"""The vectors of what is remembered, in Chroma: ids and vectors, and never a text.

What was forgotten must be gone from the files, and Chroma keeps bytes of what it deletes: so the vectors that stay are
written into a new folder, and the old one is deleted. All of it can be made again from the transcript.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.contracts import Embedder
from pipeline.errors import StoreError
from pipeline.retrieval.questions import question_parts, question_vector
from pipeline.retrieval.vectors import Vectors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NAME = "vectors-"


class Meaning:
    """Vectors by id. An id is a letter and a number (`t12`: turn 12, `f3`: fact 3), and `.n` for each of its parts.

    `generation` is that of the folder that counts; others are what an interrupted rewrite left.
    """

    def __init__(self, folder: Path, generation: int, embedder: Embedder) -> None:
        self.folder = folder
        self.embedder = embedder
        self.generation = generation
        self._vectors = self._open()
        for path in folder.glob(f"{_NAME}*"):
            if path != self._path:
                shutil.rmtree(path)
        self.ids = self._vectors.ids()

    @property
    def _path(self) -> Path:
        return self.folder / f"{_NAME}{self.generation}"

    def _open(self) -> Vectors:
        try:
            return Vectors(self._path, create=True)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise StoreError(
                f"{self._path}: the vectors cannot be used ({error}): delete this folder, and they are made again"
            ) from error

    def has(self, id_: str) -> bool:
        return f"{id_}.0" in self.ids

    def add(self, texts: dict[str, str]) -> None:
        """The vectors of texts by id; of one longer than the embedder reads, one for each part."""
        parts = [
            (f"{id_}.{n}", part)
            for id_, text in texts.items()
            for n, part in enumerate(question_parts(self.embedder, text))
        ]
        if parts:
            ids = [id_ for id_, _ in parts]
            self._vectors.add(ids, ids, self.embedder.embed([part for _, part in parts]))
            self.ids.update(ids)

    def search(self, text: str, pool: int) -> dict[str, float]:
        """The cosine of each of the nearest ids: that of its nearest part."""
        if not self.ids:
            return {}
        found: dict[str, float] = {}
        for id_, cosine in self._vectors.search(question_vector(self.embedder, text), min(pool, len(self.ids))):
            whole = id_.partition(".")[0]
            found[whole] = max(cosine, found.get(whole, -1.0))
        return found

    def cosines(self, text: str, ids: Sequence[str]) -> dict[str, float]:
        """The cosine of each of these ids that is there."""
        parts = [id_ for id_ in self.ids if id_.partition(".")[0] in set(ids)]
        if not parts:
            return {}
        vector = question_vector(self.embedder, text)
        found: dict[str, float] = {}
        for id_, cosine in zip(parts, (self._vectors.get(parts) @ vector).tolist(), strict=True):
            whole = id_.partition(".")[0]
            found[whole] = max(cosine, found.get(whole, -1.0))
        return found

    def rewrite(self, keep: Callable[[str], bool], note: Callable[[int], None]) -> None:
        """Goes on in a new folder with the ids to keep alone; `note` is told its generation once it is whole."""
        kept = sorted(id_ for id_ in self.ids if keep(id_.partition(".")[0]))
        vectors: NDArray[np.float32] | None = self._vectors.get(kept) if kept else None
        self._vectors.close()
        old = self._path
        self.generation += 1
        if self._path.exists():
            shutil.rmtree(self._path)
        self._vectors = self._open()
        if vectors is not None:
            self._vectors.add(kept, kept, vectors)
        note(self.generation)
        shutil.rmtree(old)
        self.ids = set(kept)

    def close(self) -> None:
        self._vectors.close()
