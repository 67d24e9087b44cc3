"""compress.crag: Clustered RAG. Similar passages become one summary, which says how many passages it stands for.

Clustered Retrieved Augmented Generation (Akesson and Santos 2024, arXiv 2406.00029): embed, k-means, a summary of each
cluster, one prompt of the summaries. **Not** Corrective RAG (Yan et al. 2024, arXiv 2401.15884), which grades documents
and searches the web, and **not** the CRAG benchmark (Comprehensive RAG Benchmark, KDD Cup 2024).

Ours differs: the paper's rule for k and its prompts are not public. k is a number, or follows from the square root or
the silhouette. The pipeline's embedder makes the vectors. Each summary carries the spans of its passages. Fidelity:
approximate.

Clusters are made without looking at the question. What one passage alone says, a number or a dissent, vanishes in the
summary of its cluster: that is what the method does. Ask it for the gist of many passages, and never for one fact;
compress.route keeps such questions away from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from compressors.alone import WorksAlone
from compressors.summaries import summarise
from pipeline.checks import at_least
from pipeline.contracts import Embedder, Runtime
from pipeline.errors import SettingError
from pipeline.registry import check_types
from pipeline.types import Passage, Question

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INSTRUCTIONS = (
    "Summarise what these passages say, in at most {words} words. Keep numbers, and say where they disagree. "
    "Write only the summary."
)
LARGEST_K = 8


@dataclass(frozen=True)
class Crag(WorksAlone):
    """Clusters the passages and summarises each cluster, the largest first, with the number of its passages.

    The question and the order of the passages do not matter. The same passages always give the same summaries, the
    second time from the cache. It needs many passages: retrieve with a large k.

    Example: `compress.crag: {k: silhouette, words: 60}`

    :param k: number of clusters, at least 1; sqrt: the square root of half the number of passages, from 2 to 8;
        silhouette: the number from 2 to 8 with the best silhouette score.
    :param words: length of a summary in words, as the prompt asks, at least 5.
    :param max_tokens: upper limit of a summary's tokens, at least 8.
    :param least: number of passages from which on they are clustered, at least 2; fewer passages stay unchanged.
    :param seed: seed of k-means, any whole number.
    """

    k: int | Literal["sqrt", "silhouette"] = "sqrt"
    words: int = 40
    max_tokens: int = 96
    least: int = 3
    seed: int = 0

    needs_embedder = True
    why_dropped = "it did not fit into a summary"

    def __post_init__(self) -> None:
        check_types(self, Crag)
        if isinstance(self.k, int) and self.k < 1:
            raise SettingError("k", f"must be at least 1, was: {self.k}")
        for name, least in (("words", 5), ("max_tokens", 8), ("least", 2)):
            at_least(name, getattr(self, name), least)

    def _compress(self, question: Question, passages: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        if len(passages) < self.least:
            runtime.note(
                f"{len(passages)} passages are too few for clusters: they stay as they are"
            ) if passages else None
            return list(passages)
        ordered = sorted(passages, key=lambda passage: (passage.source, passage.start, passage.end))
        groups = self.clusters(ordered, vectors(ordered, runtime.embedder))
        summaries = summarise(groups, INSTRUCTIONS.format(words=self.words), self.max_tokens, runtime)
        n = len(passages)
        runtime.note(f"{n} passages in {len(groups)} clusters of {', '.join(str(len(group)) for group in groups)}")
        return [
            summary.passage(f"Summary of {len(group)} of {n} passages", len(group) / n)
            for summary, group in zip(summaries, groups, strict=True)
        ]

    def clusters(self, passages: Sequence[Passage], points: NDArray[np.float32]) -> list[list[Passage]]:
        """The clusters of passages, the largest first (on a tie the one with the earlier passage).

        In a cluster, the passage nearest to the centre comes first.
        """
        import numpy as np

        labels = self.labels(points)
        groups: list[list[int]] = []
        for label in dict.fromkeys(labels.tolist()):
            inside = np.flatnonzero(labels == label)
            centre = points[inside].mean(axis=0)
            order = np.argsort(-(points[inside] @ centre), kind="stable")
            groups.append(inside[order].tolist())
        groups.sort(key=lambda inside: (-len(inside), min(inside)))
        return [[passages[n] for n in inside] for inside in groups]

    def labels(self, points: NDArray[np.float32]) -> NDArray[np.int32]:
        """The cluster of each point, int32 (n,)."""
        import numpy as np

        n_apart = len(np.unique(points, axis=0))
        if self.k == "silhouette":
            return self._parted_best(points, n_apart)
        k = min(max(round((len(points) / 2) ** 0.5), 2), LARGEST_K) if self.k == "sqrt" else self.k
        return self._k_means(points, min(k, n_apart))

    def _parted_best(self, points: NDArray[np.float32], n_apart: int) -> NDArray[np.int32]:
        from sklearn.metrics import silhouette_score

        # The silhouette score needs at least 2 clusters, and fewer clusters than points.
        tried = [self._k_means(points, k) for k in range(2, min(LARGEST_K, n_apart - 1, len(points) - 1) + 1)]
        if not tried:
            return self._k_means(points, 1)
        return max(tried, key=lambda labels: silhouette_score(points, labels) if len(set(labels.tolist())) > 1 else -1)

    def _k_means(self, points: NDArray[np.float32], k: int) -> NDArray[np.int32]:
        from sklearn.cluster import KMeans

        labels: NDArray[np.int32] = KMeans(k, n_init=10, random_state=self.seed).fit_predict(points)
        return labels


def vectors(passages: Sequence[Passage], embedder: Embedder) -> NDArray[np.float32]:
    """A unit vector of each passage, float32 (n, dimension).

    A passage longer than the embedder's limit gets the mean of the vectors of its pieces.
    """
    import numpy as np

    pieces = [(n, text) for n, passage in enumerate(passages) for text in _readable(passage.text, embedder)]
    piece_vectors = embedder.embed([text for _, text in pieces])
    total = np.zeros((len(passages), piece_vectors.shape[1]), np.float32)
    np.add.at(total, [n for n, _ in pieces], piece_vectors)
    result: NDArray[np.float32] = total / np.linalg.norm(total, axis=1, keepdims=True).clip(min=1e-9)
    return result


def _readable(text: str, embedder: Embedder) -> list[str]:
    if embedder.count_tokens([text])[0] <= embedder.max_tokens or len(text) < 2:
        return [text]
    half = len(text) // 2
    return [*_readable(text[:half], embedder), *_readable(text[half:], embedder)]
