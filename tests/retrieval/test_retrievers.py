from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.contracts import NeedsEmbedder
from pipeline.registry import COMPONENTS, component_class, make
from pipeline.retrieval.dense import Dense
from pipeline.retrieval.hybrid import Hybrid, fuse
from pipeline.retrieval.index import DocumentIndex
from pipeline.retrieval.mmr import chosen
from pipeline.types import Passage, Question
from tests.retrieval.folders import read, update, write
from tests.retrieval.letters import Letters

RETRIEVERS = [
    name
    for name in COMPONENTS
    if name.startswith("retrieve.") and getattr(component_class(name), "searches_index", True)
]
FILES = {
    "a/harbour.md": "The harbour lies in the north.\n\nSeven grey herons stand on the harbour wall.\n",
    "a/lamp.txt": "The keeper of the lamp is called Odd. He trims the lamp at noon.\n",
    "b/salt.txt": "Salt is won from the sea by patience. It is sold in sacks of nine stone.\n",
    "b/echo.txt": "Seven grey herons stand on the harbour wall.\n",
    "b/wall.txt": "Herons grey seven stand on the harbour wall.\n",
}


@pytest.fixture
def index(tmp_path: Path) -> Any:
    update(tmp_path / "index", write(tmp_path / "docs", FILES), Letters())
    with read(tmp_path / "index", Letters()) as opened:
        yield opened


def runtime(index: DocumentIndex) -> Any:
    return SimpleNamespace(index=index, embedder=index.embedder, note=lambda text, once=False: None)


def passage(name: str, start: int = 0) -> Passage:
    return Passage(name, start, start + 3, "abc")


@pytest.mark.parametrize("name", RETRIEVERS)
class TestEveryRetriever:
    def test_gives_at_most_k_each_once_and_best_first(self, name: str, index: DocumentIndex) -> None:
        for k in (1, 3, 99):
            settings = (("k", k), *((("pool", 99),) if name == "retrieve.hybrid" else ()))
            found = make(name, dict(settings)).search(Question("grey herons on the harbour wall"), runtime(index))
            assert len(found) == len({p.span for p in found}) <= k
            assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)
            for p in found:
                assert p.text == index.document(p.source).text[p.start : p.end]

    def test_breaks_ties_by_source(self, name: str, index: DocumentIndex) -> None:
        found = make(name).search(Question("seven grey herons stand on the harbour wall."), runtime(index))
        assert [Path(p.source).name for p in found[:2]] == ["echo.txt", "wall.txt"]
        if name in ("retrieve.dense", "retrieve.bm25"):  # the others score by ranks
            assert found[0].score == found[1].score

    def test_keeps_to_its_own_glob_and_to_the_questions(self, name: str, index: DocumentIndex) -> None:
        retriever = make(name, {"glob": "*.txt"})
        found = retriever.search(Question("the harbour wall and the lamp", glob="*/a/*"), runtime(index))
        assert {Path(p.source).name for p in found} == {"lamp.txt"}

    def test_says_what_is_out_of_range(self, name: str, index: DocumentIndex) -> None:
        with pytest.raises(ValueError, match="k must be at least 1, was: 0"):
            component_class(name)(k=0)


def test_fusion_by_hand() -> None:
    a, b, c = passage("a"), passage("b"), passage("c")
    fused = fuse([([a, b], 1.0), ([b, c], 2.0)], rrf_k=60)
    assert [p.source for p in fused] == ["b", "c", "a"]
    assert [p.score for p in fused] == pytest.approx([1 / 62 + 2 / 61, 2 / 62, 1 / 61])


def test_fusion_breaks_ties_by_source_and_then_by_offset() -> None:
    lists = [([passage("b", 9), passage("a")], 1.0), ([passage("a"), passage("b", 9)], 1.0), ([passage("b", 3)], 1e9)]
    assert [(p.source, p.start) for p in fuse(lists, rrf_k=60)] == [("b", 3), ("a", 0), ("b", 9)]


def test_a_weight_of_0_leaves_the_other_list_alone(index: DocumentIndex) -> None:
    question = Question("patience of the harbour keeper")
    words = Hybrid(dense_weight=0, copies="keep").search(question, runtime(index))
    assert [p.span for p in words] == [p.span for p in index.search_bm25(question.text, 8)]


def test_mmr_by_hand() -> None:
    vectors = np.array([[1, 0], [1, 0], [0.6, 0.8], [0, 1]], np.float32)
    relevance = np.array([1.0, 0.9, 0.8, 0.1], np.float32)
    assert chosen(relevance, vectors, 4, 1.0) == [0, 1, 2, 3]
    # second pick at 0.5: 0.45 - 0.5 = -0.05, 0.4 - 0.3 = 0.1, 0.05 - 0 = 0.05; third: -0.05, 0.05 - 0.4 = -0.35
    assert chosen(relevance, vectors, 4, 0.5) == [0, 2, 1, 3]
    # at 0 only novelty counts: farthest from the first is [0, 1]
    assert chosen(relevance, vectors, 2, 0.0) == [0, 3]
    assert chosen(relevance[:0], vectors[:0], 4, 0.5) == []


def test_mmr_does_not_say_the_same_twice(index: DocumentIndex) -> None:
    question = Question("seven grey herons stand on the wall")
    for plain in (Dense(k=2), Hybrid(k=2), Dense(k=2, mmr=1.0), Hybrid(k=2, mmr=1.0)):
        assert [Path(p.source).name for p in plain.search(question, runtime(index))] == ["echo.txt", "wall.txt"]
    for diverse in (Dense(k=2, mmr=0.3), Hybrid(k=2, mmr=0.3)):
        first, second = diverse.search(question, runtime(index))
        assert Path(first.source).name == "echo.txt"
        assert Path(second.source).name not in ("echo.txt", "wall.txt")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"pool": 7}, r"pool must be at least k \(8\), was: 7"),
        ({"rrf_k": -1}, "rrf_k must be at least 0, was: -1"),
        ({"dense_weight": -0.5}, "dense_weight must be at least 0, was: -0.5"),
        ({"bm25_weight": -1.0}, "bm25_weight must be at least 0, was: -1"),
        ({"bm25_weight": 0.0, "dense_weight": 0.0}, "must not both be 0"),
        ({"mmr": 1.5}, r"mmr must be in \[0, 1\], was: 1.5"),
    ],
)
def test_hybrid_says_what_is_out_of_range(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Hybrid(**settings)


def test_only_bm25_does_without_an_embedder() -> None:
    components = {name: make(name) for name in RETRIEVERS}
    needs = {name: isinstance(one, NeedsEmbedder) and one.needs_embedder for name, one in components.items()}
    assert needs == {"retrieve.dense": True, "retrieve.bm25": False, "retrieve.hybrid": True, "retrieve.hops": False}
