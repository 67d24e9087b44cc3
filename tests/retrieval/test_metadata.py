"""What an index knows of its documents: kept, searched by, and added to indexes of before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.documents.discover import discover
from pipeline.errors import DataError
from pipeline.retrieval.bm25 import Bm25
from pipeline.retrieval.embedder import NoVectors
from pipeline.retrieval.generations import MANIFEST
from pipeline.retrieval.metadata import Metadata
from pipeline.retrieval.open_index import open_index
from pipeline.retrieval.scope import Scope, check_scope, scope_of, size_of
from pipeline.types import Question
from tests.documents.pdf_file import pdf
from tests.retrieval.folders import CHUNKER, generation, make_old, read, silent, update, write
from tests.retrieval.letters import Letters

NOON = 1_700_000_000  # 2023-11-14
FARES = "---\nauthor: Ada\ndate: 2024-05-17\n---\n# Fares\n\nA ticket for the ferry is sold at the wall.\n"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = write(
        tmp_path / "docs", {"fares.md": FARES, "log.txt": "The ferry was late again, and so was the boat.\n"}
    )
    pages = [[f"The ferry of page {n} is called number {n}."] for n in (1, 2, 3)]
    (folder / "book.pdf").write_bytes(pdf(pages, about="/Author (Odd)"))
    for path in folder.iterdir():
        os.utime(path, (NOON, NOON))
    return folder


def names(index: Path, scope: Scope) -> tuple[list[str], list[str]]:
    with read(index, Letters()) as opened:
        dense = {Path(p.source).name for p in opened.search_dense("the ferry", 20, scope)}
        return sorted(dense), sorted({Path(p.source).name for p in opened.search_bm25("the ferry", 20, scope)})


def test_it_is_kept(docs: Path, tmp_path: Path) -> None:
    update(tmp_path / "index", docs, Letters())
    with read(tmp_path / "index", Letters()) as opened:
        known = opened.metadata
        assert opened.document(str(docs / "fares.md")).author == "Ada"
    stamp = NOON * 10**9
    assert known == {
        f"{docs}/book.pdf": Metadata(f"{docs}/book.pdf", "pdf", "book", "Odd", "", stamp, "en", 3),
        f"{docs}/fares.md": Metadata(f"{docs}/fares.md", "markdown", "Fares", "Ada", "2024-05-17", stamp, "en"),
        f"{docs}/log.txt": Metadata(f"{docs}/log.txt", "text", "log", "", "", stamp, "en"),
    }
    assert known[f"{docs}/log.txt"].date == "2023-11-14"


@pytest.mark.parametrize(
    ("filter_text", "expected"),
    [
        ("kind=pdf or author=ada", ["book.pdf", "fares.md"]),
        ("year>=2024", ["fares.md"]),
        ("file_date<2024", ["book.pdf", "fares.md", "log.txt"]),
        ("kind=docx", []),
    ],
)
@pytest.mark.parametrize("is_by_chroma", [False, True])
def test_both_searches_keep_to_a_filter(
    docs: Path,
    tmp_path: Path,
    filter_text: str,
    expected: list[str],
    is_by_chroma: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if is_by_chroma:
        monkeypatch.setattr("pipeline.retrieval.saved_vectors.load", lambda folder, n: None)
    update(tmp_path / "index", docs, Letters())
    assert names(tmp_path / "index", Scope(filters=(filter_text,))) == (expected, expected)


def test_a_page_is_one_of_those_that_a_passage_goes_over(docs: Path, tmp_path: Path) -> None:
    update(tmp_path / "index", docs, Letters())
    with read(tmp_path / "index", Letters()) as opened:
        passages = opened.passages(f"{docs}/book.pdf")
        n_found = 0
        for page in (1, 2, 3):
            found = opened.search_bm25("the ferry", 50, Scope(filters=(f"page={page}",)))
            assert {p.span for p in found} == {p.span for p in passages if f"page {page} " in p.text}
            n_found += len(found)
        assert n_found > len(passages)  # one goes over several pages
        assert opened.pages(f"{docs}/book.pdf") == (1, 2, 3)


def test_a_scope_that_leaves_nothing_is_told(docs: Path, tmp_path: Path) -> None:
    update(tmp_path / "index", docs, Letters())
    with read(tmp_path / "index", Letters()) as opened:
        check_scope(opened, None)
        check_scope(opened, Scope(("*.pdf",), ("page=3",)))
        with pytest.raises(DataError, match=r"'page=4' leaves none of 3 documents .* page is 1 to 3"):
            check_scope(opened, Scope(filters=("page=4",)))
        with pytest.raises(
            DataError, match=r"'year=2024' leaves none of 1 document to search\. What there is: year is 2023"
        ):
            check_scope(opened, Scope(("*.pdf",), ("year=2024",)))


def test_a_scope_has_a_size(docs: Path, tmp_path: Path) -> None:
    update(tmp_path / "index", docs, Letters())
    with read(tmp_path / "index", Letters()) as opened:
        counts = {Path(source).name: n for source, n in opened.counts.items()}
        assert size_of(opened, None) == (opened.n_chunks, 3) == (sum(counts.values()), 3)
        assert size_of(opened, Scope(("fares.md",))) == (counts["fares.md"], 1)
        assert size_of(opened, Scope(filters=("kind!=pdf",))) == (counts["fares.md"] + counts["log.txt"], 2)
        assert size_of(opened, Scope(("*.pdf",), ("page=2",))) == (counts["book.pdf"], 1)
        assert size_of(opened, Scope(("*.pdf",), ("page=9",))) == (0, 0)


def test_a_retriever_has_a_filter_of_its_own() -> None:
    assert scope_of(Bm25(glob="*.md", filter="kind=pdf"), Question("q", glob="a/*")) == Scope(
        ("*.md", "a/*"), ("kind=pdf",)
    )
    assert scope_of(Bm25(), Question("q")) is None
    with pytest.raises(ValueError, match=r"^filter 'kind': expected an operator"):
        Bm25(filter="kind")


@pytest.mark.parametrize("format_", [2, 3])
def test_an_index_of_before_is_searched_and_upgraded(docs: Path, tmp_path: Path, format_: int) -> None:
    index = tmp_path / "index"
    with open_index(index, NoVectors(), CHUNKER, mode="write") as opened:
        opened.update(discover([str(docs)]), silent)
    make_old(generation(index) / MANIFEST, format_)
    with open_index(index, NoVectors(), CHUNKER) as opened:
        assert opened.metadata[f"{docs}/log.txt"] == Metadata(f"{docs}/log.txt", "text", "log", mtime_ns=NOON * 10**9)
        found = opened.search_bm25("the ferry", 9, Scope(filters=("kind=text",)))
        assert [Path(p.source).name for p in found] == ["log.txt"]
    write(docs, {"new.txt": "Ein neues Boot ist da, und es wird nicht das letzte sein."})
    with open_index(index, NoVectors(), CHUNKER, mode="write") as opened:
        report = opened.update(discover([str(docs)]), silent)
    assert report.added == 1
    with open_index(index, NoVectors(), CHUNKER) as opened:
        known = {Path(source).name: about for source, about in opened.metadata.items()}
        assert {name: about.language for name, about in known.items()} == {
            "book.pdf": "en", "fares.md": "en", "log.txt": "en", "new.txt": "de",
        }  # fmt: skip
        assert known["fares.md"].author == "Ada"  # its reader's version has gone up: read again
        assert opened.manifest.settings() is not None
