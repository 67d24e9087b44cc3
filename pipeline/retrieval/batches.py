"""What embedders that read texts in batches have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.contracts import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a model made of some texts: `rows` are their positions, `vectors` float32 (n_rows, dimension), any length.

    `states` are, of each text, those of its tokens without the special ones, (n_tokens, dimension); none where they
    were not wanted.
    """

    rows: Sequence[int]
    vectors: NDArray[np.float32]
    states: Sequence[NDArray[np.float32]] = ()


class Batched:
    """The embedding half of an embedder, on top of `_batches`."""

    @property
    def dimension(self) -> int:
        raise NotImplementedError

    def _batches(self, texts: Sequence[str], with_states: bool) -> Iterator[Batch]:
        """The texts batch by batch, in any order. Raises ValueError for one that is too long."""
        raise NotImplementedError

    def embed(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        return gathered(self._batches(texts, False), len(texts), self.dimension, progress)

    def token_vectors(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        import numpy as np

        vectors = np.empty((len(texts), self.dimension), np.float32)
        states: list[NDArray[np.float32]] = [np.empty((0, self.dimension), np.float32)] * len(texts)
        for batch in self._batches(texts, True):
            vectors[batch.rows] = batch.vectors
            for row, state in zip(batch.rows, batch.states, strict=True):
                states[row] = normalised(state)
        return normalised(vectors), states


def gathered(batches: Iterator[Batch], n: int, dimension: int, progress: Progress | None = None) -> NDArray[np.float32]:
    """The unit vectors of n texts in their order, (n, dimension)."""
    import numpy as np

    vectors = np.empty((n, dimension), np.float32)
    done = 0
    for batch in batches:
        vectors[batch.rows] = batch.vectors
        done += len(batch.rows)
        if progress is not None:
            progress("embed passages", done, n)
    return normalised(vectors)


def normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows at length 1; a row of zeros stays one."""
    import numpy as np

    result: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return result


def check_length(n_tokens: int, max_tokens: int) -> None:
    """Raises ValueError for a text that is longer than what the embedder reads whole."""
    if n_tokens > max_tokens:
        raise ValueError(f"a text must have at most {max_tokens} tokens, was: {n_tokens}")
