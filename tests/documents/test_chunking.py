"""Chunks: exact offsets, nothing lost, never longer than what the embedder reads, cut where the text pauses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.documents import chunking
from pipeline.documents.chunking import Chunker, Count
from pipeline.documents.load import load
from pipeline.documents.markdown import headings
from pipeline.types import Document, Heading, Passage, Place
from tests.documents import counting
from tests.documents.counting import characters, minilm_tokens, words
from tests.documents.texts import TEXTS, without_space

ROOT = Path(__file__).parents[2]
OURS = sorted([*ROOT.glob("configs/demo/documents/*"), *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
CODE = sorted(path for path in ROOT.glob("pipeline/*.py") if path.stat().st_size)
BOOKS = ROOT.parent / "shared" / "data" / "gutenberg"
MAX_TOKENS = 256


def check(document: Document, chunker: Chunker, count: Count, max_tokens: int = MAX_TOKENS) -> list[Passage]:
    """Every promise of `Chunker.chunk`."""
    chunks = chunker.chunk(document, count, max_tokens)
    text = document.text
    assert all(chunk.text == text[chunk.start : chunk.end] == chunk.text.strip() != "" for chunk in chunks)
    assert all(n <= min(chunker.tokens, max_tokens) for n in count([chunk.text for chunk in chunks]))
    assert all(a.start < b.start and a.end < b.end for a, b in pairwise(chunks))
    assert without_space(union(text, chunks)) == without_space(text)
    assert all(chunk.place == document.place(chunk.start) for chunk in chunks[:: 1 + len(chunks) // 50])
    assert {(chunk.source, chunk.title) for chunk in chunks} <= {(document.source, document.title)}
    return chunks


def union(text: str, chunks: Sequence[Passage]) -> str:
    """What the chunks hold, each character once; where none overlap, they are just put together."""
    ends = [0, *(chunk.end for chunk in chunks)]
    return "".join(text[max(chunk.start, end) : chunk.end] for chunk, end in zip(chunks, ends, strict=False))


def prose(n_sentences: int, start: int = 0) -> str:
    return " ".join(f"The keeper counted {n} lamps on the pier." for n in range(start, start + n_sentences))


def lines(chunks: Sequence[Passage]) -> list[str]:
    return [chunk.text for chunk in chunks]


@settings(deadline=None)
@given(TEXTS, st.sampled_from([words, characters]), st.integers(1, 40), st.integers(1, 60), st.data())
def test_promises_hold_for_random_texts(
    text: str, count: Count, tokens: int, max_tokens: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, max((tokens - 1) // 2, 0)))
    headings = sorted(data.draw(st.sets(st.integers(0, max(len(text) - 1, 0)), max_size=4)))
    document = Document("a.md", text, headings=tuple(Heading(start, 1 + start % 3, str(start)) for start in headings))
    check(document, Chunker(tokens, overlap), count, max_tokens)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(8, 40), st.booleans())
def test_promises_hold_for_random_texts_and_minilm(text: str, tokens: int, is_overlapping: bool) -> None:
    check(Document("a.txt", text), Chunker(tokens, tokens // 3 if is_overlapping else 0), minilm_tokens)


@settings(max_examples=30, deadline=None)
@given(TEXTS, st.sampled_from(["code:python", "code:js", "code:cpp", "code:latex", "code:toml"]))
def test_promises_hold_for_code(text: str, kind: str) -> None:
    check(Document("a", text, kind), Chunker(20), words)


@pytest.mark.parametrize("overlap", [0, 40])
@pytest.mark.parametrize("path", [*OURS, *CODE], ids=lambda path: path.name)
def test_promises_hold_for_our_own_documents(path: Path, overlap: int) -> None:
    check(load(path), Chunker(200, overlap), minilm_tokens)
    check(load(path), Chunker(60, overlap // 2), minilm_tokens)


@pytest.mark.skipif(not BOOKS.is_dir(), reason="the Gutenberg books are not on this machine")
def test_promises_hold_for_whole_books_in_seconds() -> None:
    documents = [load(path) for path in sorted(BOOKS.glob("*.txt"))]
    started = time.process_time()
    chunks = [chunk for document in documents for chunk in Chunker().chunk(document, minilm_tokens, MAX_TOKENS)]
    assert time.process_time() - started < 20
    assert len(chunks) > 1500
    for document in documents:
        check(document, Chunker(), minilm_tokens)


def test_the_limit_is_the_smaller_of_what_is_asked_and_what_the_embedder_reads() -> None:
    document = Document("a.txt", prose(200))
    assert max(minilm_tokens(lines(check(document, Chunker(500), minilm_tokens, 64)))) <= 64
    assert max(minilm_tokens(lines(check(document, Chunker(64), minilm_tokens, 256)))) <= 64


def test_chunks_end_with_a_sentence() -> None:
    chunks = check(Document("a.txt", prose(60)), Chunker(50), minilm_tokens)
    assert [chunk.text[-5:] for chunk in chunks] == ["pier."] * len(chunks)


def test_chunks_end_with_a_paragraph_where_one_ends_in_time() -> None:
    paragraphs = [prose(3, 10 * n) for n in range(6)]
    chunks = check(Document("a.txt", "\n\n".join(paragraphs)), Chunker(60), words)
    assert lines(chunks) == ["\n\n".join(paragraphs[:2]), "\n\n".join(paragraphs[2:4]), "\n\n".join(paragraphs[4:])]


def test_chunks_end_before_a_heading_and_none_is_a_heading_alone() -> None:
    text = f"# Harbour\n\n{prose(4)}\n\n## Lamps\n\n{prose(12)}\n\n## Boats\n\n{prose(3)}"
    starts = [text.index("# Harbour"), text.index("## Lamps"), text.index("## Boats")]
    headings = tuple(
        Heading(at, level, title)
        for at, level, title in zip(starts, (1, 2, 2), ("Harbour", "Lamps", "Boats"), strict=True)
    )
    chunks = check(Document("a.md", text, "markdown", title="Harbour", headings=headings), Chunker(60), words)
    assert [chunk.start for chunk in chunks if chunk.text.startswith("#")] == starts
    assert [chunk.place for chunk in chunks] == [
        Place(1, None, ("Harbour",)),
        Place(5, None, ("Harbour", "Lamps")),
        Place(7, None, ("Harbour", "Lamps")),
        Place(9, None, ("Harbour", "Boats")),
    ]
    assert min(words(lines(chunks))) > 20


def test_what_is_left_of_a_section_is_shared_out_evenly() -> None:
    chunks = check(Document("a.txt", prose(9)), Chunker(64), words)  # 72 words: not 64 and a crumb of 8
    assert words(lines(chunks)) == [32, 40]


def test_code_is_cut_before_its_functions() -> None:
    functions = [f"def f{n}(x):\n    y = x + {n}\n    return y * {n} - x\n" for n in range(6)]
    chunks = check(Document("a.py", "\n\n".join(functions), "code:python"), Chunker(26), words)
    assert lines(chunks) == ["\n\n".join(functions[n : n + 2]).strip() for n in (0, 2, 4)]


@pytest.mark.parametrize("word", ["x" * 5000, "你" * 5000, "😀" * 5000, "e\u0301" * 2000, "/usr/lib/a.b?c=d&" * 300])
def test_a_giant_word_is_cut_inside(word: str) -> None:
    text = f"before {word} after"
    for count in (minilm_tokens, words, characters):
        chunks = check(Document("a.txt", text), Chunker(100), count)
        assert len(chunks) > 1 or count is words
        assert max(len(chunk.text) for chunk in chunks) <= 100 * 24


def test_an_accent_stays_with_its_letter() -> None:
    chunks = check(Document("a.txt", "e\u0301" * 300), Chunker(20), characters)
    assert {chunk.text[0] for chunk in chunks} == {"e"}


def test_a_chunk_repeats_whole_sentences_from_the_one_before() -> None:
    chunks = check(Document("a.txt", prose(40)), Chunker(64, 20), words)
    shared = [before.text[after.start - before.start :] for before, after in pairwise(chunks)]
    assert {len(text.split()) for text in shared} == {16}
    assert all(text.startswith("The keeper") for text in shared)


def test_nothing_is_repeated_across_a_heading() -> None:
    text = f"# One\n\n{prose(5)}\n\n# Two\n\n{prose(5)}"
    headings = (Heading(0, 1, "One"), Heading(text.index("# Two"), 1, "Two"))
    chunks = check(Document("a.md", text, "markdown", headings=headings), Chunker(50, 20), words)
    assert [chunk.start for chunk in chunks] == [0, text.index("# Two")]


def test_pages() -> None:
    text = "\n".join(prose(2, n) for n in range(0, 40, 2))
    document = Document("a.pdf", text, "pdf", pages=(0, text.index("counted 20") - 11))
    places = [chunk.place for chunk in check(document, Chunker(32), words)]
    assert places == [Place(None, 1 if line < 11 else 2) for line in range(1, 21, 2)]


@pytest.mark.parametrize("text", ["", " \n\t\u00a0"])
def test_a_text_without_characters_has_no_chunks(text: str) -> None:
    assert Chunker().chunk(Document("a.txt", text), minilm_tokens, MAX_TOKENS) == []


def test_a_wide_gap_does_not_make_a_giant_chunk() -> None:
    chunks = check(Document("a.txt", f"a{' ' * 100_000}b"), Chunker(50), words)
    assert lines(chunks) == ["a", "b"]


def test_a_counter_that_does_not_add_up_is_counted_again() -> None:
    def squares(texts: Sequence[str]) -> list[int]:
        return [len(text.split()) ** 2 for text in texts]

    assert max(squares(lines(check(Document("a.txt", prose(30)), Chunker(100), squares)))) <= 100


def test_time_grows_with_the_length_and_not_with_its_square() -> None:
    paragraphs = "\n\n".join(prose(8, n) for n in range(6000))
    headings = tuple(Heading(at, 1 + at % 4, str(at)) for at in range(0, len(paragraphs), 200))
    started = time.process_time()
    check(Document("a.txt", paragraphs, headings=headings), Chunker(), words)
    assert time.process_time() - started < 15


def test_settings_name_what_the_chunks_depend_on() -> None:
    assert Chunker(100, 10).settings == {"chunker": "structure", "version": 1, "tokens": 100, "overlap": 10}


def test_a_setting_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tokens must be at least 1, was: 0"):
        Chunker(0)
    with pytest.raises(ValueError, match=r"overlap must be in \[0, tokens / 2\), was: 50"):
        Chunker(100, 50)
    with pytest.raises(ValueError, match=r"at most 2 tokens has no room beside 2 special tokens"):
        Chunker(2).chunk(Document("a.txt", "word"), minilm_tokens, MAX_TOKENS)
    with pytest.raises(ValueError, match=r"one character takes 4 tokens, and a chunk may take 3"):
        Chunker(3).chunk(Document("a.txt", "😀"), lambda texts: [len(text.encode()) for text in texts], MAX_TOKENS)


def test_a_long_text_is_cut_in_blocks_and_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "BLOCK_CHARS", 400)
    sections = [f"# Part {n}\n\n" + " ".join(f"w{n}x{i}." for i in range(40)) + "\n\n" for n in range(8)]
    text = "".join(sections)
    document = Document("/d", text, "markdown", headings=headings(text))
    heard: list[tuple[int, int]] = []
    passages = Chunker(tokens=20).chunk(document, counting.words, 1000, lambda done, total: heard.append((done, total)))
    assert all(passage.text == text[passage.start : passage.end] for passage in passages)
    assert "".join("".join(passage.text.split()) for passage in passages) == "".join(text.split())
    assert [passage.place.heading for passage in passages if passage.text.startswith("#")] == [
        (f"Part {n}",) for n in range(8)
    ]
    assert heard[-1] == (len(text), len(text))
    assert len(heard) > 4
    assert heard == sorted(heard)


@pytest.mark.parametrize("text", ["x" * 1000, "word " * 300, "a line\n" * 200, "é" * 3 + "\u0301" * 900])
def test_blocks_hold_every_character_of_texts_without_headings(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(chunking, "BLOCK_CHARS", 100)
    blocks = list(chunking._blocks(Document("/d", text, "text")))
    assert "".join(block.text for _, block in blocks) == text
    assert [offset for offset, _ in blocks] == [sum(len(b.text) for _, b in blocks[:n]) for n in range(len(blocks))]
    assert all(0 < len(block.text) <= 100 for _, block in blocks)


def test_auto_is_the_default_and_an_index_stays_cut_as_it_was_made() -> None:
    assert Chunker(overlap=20).mode == "tokens"
    assert Chunker().mode == chunking.AUTO
    assert Chunker().for_index(Chunker(chunks="tokens").settings).mode == "tokens"
    assert Chunker(overlap=8).for_index(Chunker(chunks="structure").settings) == Chunker(overlap=8)
    assert Chunker(chunks="structure").for_index(Chunker(chunks="tokens").settings).mode == "structure"
