"""A hit with its section around it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.retrieval.bm25 import Bm25
from pipeline.retrieval.hybrid import Hybrid
from pipeline.retrieval.index import DocumentIndex
from pipeline.types import Question
from tests.retrieval.folders import read, update, write
from tests.retrieval.letters import Letters

PARTS = [" ".join(f"{name}{i}" for i in range(30)) for name in ("ash", "bog", "cod", "dew", "elm")]
TEXT = f"# One\n\n{PARTS[0]}\n\n{PARTS[1]}\n\n{PARTS[2]}\n\n# Two\n\n{PARTS[3]}\n\n## Below\n\n{PARTS[4]}\n"


@pytest.fixture
def index(tmp_path: Path) -> Any:
    update(tmp_path / "index", write(tmp_path / "docs", {"a.md": TEXT, "b.txt": f"{PARTS[1][:60]} other"}), Letters())
    with read(tmp_path / "index", Letters()) as opened:
        yield opened


def search(index: DocumentIndex, question: str, parents: int | None, k: int = 1) -> list[str]:
    reader = SimpleNamespace(count_text=lambda text: len(text.split()))
    runtime: Any = SimpleNamespace(index=index, embedder=index.embedder, note=print, reader=reader)
    found = Bm25(k=k, parents=parents).search(Question(question), runtime)
    for passage in found:
        document = index.document(passage.source)
        assert passage.text == document.text[passage.start : passage.end]
        assert passage.place == document.place(passage.start)
    return [" ".join(sorted({word[:3] for word in passage.text.split() if word[-1].isdigit()})) for passage in found]


def test_a_section_that_fits_is_given_whole_and_never_more(index: DocumentIndex) -> None:
    assert search(index, "cod3", None) == ["cod"]
    assert search(index, "cod3", 30) == ["cod"]
    assert search(index, "cod3", 62) == ["bog cod"]
    assert search(index, "cod3", 1000) == ["ash bog cod"]
    assert search(index, "elm3", 1000) == ["elm"]
    assert search(index, "dew3", 1000) == ["dew elm"]  # with what is below it


def test_hits_of_one_section_are_given_together_and_once(index: DocumentIndex) -> None:
    assert search(index, "ash1 cod1 dew1", 1000, k=3) == ["ash bog cod", "dew elm"]
    assert search(index, "ash1 cod1", 62, k=3) == ["bog cod", "ash"]


def test_the_limit_is_checked() -> None:
    with pytest.raises(ValueError, match=r"^parents must be at least 1, was: 0"):
        Hybrid(parents=0)
