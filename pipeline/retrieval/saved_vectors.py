"""A plain copy of a generation's vectors, searched exactly: so that a question needs no Chroma where this is enough.

Chroma keeps the vectors while an index changes, and searches large indexes by its graph. To import and open it takes
longer than to compare a question with ten thousand vectors, and a published generation never changes: so each holds
its vectors once more, in a file that is mapped into memory, unless there are too many.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.storage.checked_json import read_object, with_checksum
from pipeline.storage.checksums import crc32_of
from pipeline.storage.whole import write_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = "vectors"
MAX_VECTORS = 20_000
"""31 MB at 384 dimensions: some milliseconds a question. Beyond, Chroma's graph is faster."""
_MARGIN = 16
"""How many more are given than asked for, so that ties at the edge are broken by the index."""
_ABOUT = "about.json"


@dataclass(frozen=True)
class SavedVectors:
    """`ids` in the order of the rows of `rows`, float32 of shape (n, dimension)."""

    ids: tuple[str, ...]
    rows: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    def get(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """In the order of the ids: shape (n, dimension). Raises KeyError for one that is not there."""
        places = {id_: place for place, id_ in enumerate(self.ids)}
        return self.rows[[places[id_] for id_ in ids]]

    def search(
        self, vector: NDArray[np.float32], k: int, allowed: Collection[str] | None = None
    ) -> list[tuple[str, float]]:
        """(id, cosine) of at least the k nearest, best first, and of a few more; of the allowed ids only, if given.

        Cosines are rounded to 6 places, where float32 ends, so that equal texts have equal cosines.
        """
        import numpy as np

        sizes = np.linalg.norm(self.rows, axis=1) * np.linalg.norm(vector)
        cosines = np.round((self.rows @ vector / np.maximum(sizes, 1e-12)).astype(np.float64), 6)
        if allowed is None:
            places = np.arange(len(self.ids))
        else:
            wanted = frozenset(allowed)
            places = np.array([place for place, id_ in enumerate(self.ids) if id_ in wanted], np.int64)
        best = places[np.argsort(-cosines[places], kind="stable")[: k + _MARGIN]]
        return [(self.ids[place], float(cosines[place])) for place in best]


def save(folder: Path, ids: Sequence[str], get: Callable[[Sequence[str]], NDArray[np.float32]]) -> None:
    """Writes the vectors of a generation into its folder, unless there are too many. `get` gives those of some ids."""
    import numpy as np

    target = folder / NAME
    shutil.rmtree(target, ignore_errors=True)
    if not 0 < len(ids) <= MAX_VECTORS:
        return
    target.mkdir()
    np.save(target / "rows.npy", np.concatenate([get(part) for part in _parts(ids)]), allow_pickle=False)
    write_whole(target / "ids.json", json.dumps(list(ids)))
    files = {path.name: crc32_of(path) for path in sorted(target.iterdir())}
    write_whole(target / _ABOUT, json.dumps(with_checksum({"files": files})))


def load(folder: Path, n: int) -> SavedVectors | None:
    """The n vectors of a generation, or None where they were not saved, or are damaged: Chroma has them as well."""
    import numpy as np

    target = folder / NAME
    try:
        about = read_object(target / _ABOUT, needs_checksum=True)
        if any(crc32_of(target / name) != crc for name, crc in about["files"].items()):
            return None
        ids = json.loads((target / "ids.json").read_bytes())
        rows = np.load(target / "rows.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError):
        return None
    return SavedVectors(tuple(ids), rows) if len(ids) == len(rows) == n else None


def _parts(ids: Sequence[str], size: int = 4096) -> Iterable[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
