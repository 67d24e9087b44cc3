"""Chunks by structure: sections, functions and paragraphs stay whole, and small neighbours are put together."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.documents.chunking import Chunker
from pipeline.documents.markdown import headings
from pipeline.types import Document
from tests.documents import counting

TREE = Chunker(tokens=20, chunks="structure")


def chunks(text: str, kind: str = "markdown", chunker: Chunker = TREE) -> list[str]:
    document = Document("/d", text, kind, headings=headings(text) if kind == "markdown" else ())
    found = chunker.chunk(document, counting.words, 1000)
    assert all(passage.text == text[passage.start : passage.end] for passage in found)
    return [passage.text for passage in found]


def words(name: str, n: int) -> str:
    return " ".join(f"{name}{i}" for i in range(n))


def test_a_section_that_fits_is_one_chunk_with_its_heading_and_all_below_it() -> None:
    text = f"# A\n\n{words('a', 12)}\n\n# B\n\n{words('b', 6)}\n\n## C\n\n{words('c', 6)}\n\n# D\n\n{words('d', 12)}\n"
    assert [chunk.split()[:2] for chunk in chunks(text)] == [["#", "A"], ["#", "B"], ["#", "D"]]


def test_small_sections_are_put_together_with_their_siblings_and_large_ones_are_cut_inside() -> None:
    text = f"# A\n\n{words('a', 3)}\n\n# B\n\n{words('b', 4)}\n\n# C\n\n{words('c', 15)}\n\n{words('d', 13)}\n"
    assert [chunk.split()[-1] for chunk in chunks(text)] == ["b3", "c14", "d12"]


def test_paragraphs_that_are_large_enough_stay_alone() -> None:
    text = "\n\n".join([words("a", 11), words("b", 4), words("c", 4), words("d", 12), words("e", 30)])
    assert [chunk.split()[0] for chunk in chunks(text)] == ["a0", "d0", "e0", "e20"]


def test_lines_are_paragraphs_where_the_text_was_not_wrapped() -> None:
    line = (
        "The ferry of the north harbour sails at nine and carries forty goats, seven sacks of salt and one bishop, " * 2
    )
    chunker = Chunker(tokens=60, chunks="structure")
    text = "\n".join(f"{n} {line}" for n in range(3))
    assert [chunk[0] for chunk in chunks(text, "text", chunker)] == ["0", "1", "2"]


def test_functions_stay_whole() -> None:
    body = "\n".join(f"    x{n} = {n}" for n in range(5))
    text = f"import os\n\n\ndef first():\n{body}\n\n\ndef second():\n{body}\n\n\nclass Third:\n    y = 1\n"
    starts = [chunk.splitlines()[0] for chunk in chunks(text, "code:python", Chunker(tokens=24, chunks="structure"))]
    assert "def second():" in starts
    assert all(start.startswith(("import", "def", "class")) for start in starts)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["# H\n", "## I\n", "word ", "a b c d. ", "\n\n", "\n", "x" * 60 + " "]), max_size=80))
@example(["# H\n", "a b c d. "] * 3 + ["a b c d. ", "# H\n"] + ["# H\n", "a b c d. "] * 3)
def test_nothing_is_lost_and_no_chunk_is_too_long(parts: list[str]) -> None:
    text = "".join(parts)
    found = chunks(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(n <= TREE.tokens for n in counting.words(found)) if found else not text.strip()


def test_overlap_is_for_tokens_alone() -> None:
    with pytest.raises(ValueError, match="overlap must be 0 with chunks: structure, was: 5"):
        Chunker(tokens=20, overlap=5, chunks="structure")
    assert TREE.settings == {"chunker": "tree", "version": 1, "tokens": 20}
