"""The same text in several files: one vector, one hit, all its places; and near copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.retrieval.dense import Dense
from pipeline.retrieval.generations import MANIFEST
from pipeline.retrieval.hybrid import Hybrid
from pipeline.retrieval.near_copies import folded
from pipeline.retrieval.scope import Scope
from pipeline.types import Copy, Passage, Place, Question
from tests.retrieval.folders import contents, counts, generation, make_old, read, update, write
from tests.retrieval.letters import Letters
from tests.retrieval.test_retrievers import runtime

FERRY = "The ferry leaves at noon.\n\nIt carries forty goats and no dogs at all.\n"
FILES = {"a/ferry.txt": FERRY, "b/ferry.txt": FERRY, "c/old.txt": FERRY, "lamp.txt": "The lamp burns oil.\n"}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write(tmp_path / "docs", FILES)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


def test_a_text_is_embedded_once_and_found_with_all_its_places(docs: Path, index: Path) -> None:
    embedder = Letters()
    report = update(index, docs, embedder)
    assert (counts(report), report.n_chunks) == ((4, 0, 0, 0, 0), 4)
    assert len(embedder.embedded) == 2
    with read(index, Letters()) as opened:
        for found in (opened.search_dense("forty goats", 8), opened.search_bm25("goats ferry", 8)):
            ferry = next(passage for passage in found if "goats" in passage.text)
            assert [passage.text for passage in found].count(ferry.text) == 1
            assert ferry.source == f"{docs}/a/ferry.txt"
            places = [(copy.source, copy.start, copy.place.line) for copy in ferry.copies]
            assert places == [(f"{docs}/b/ferry.txt", 0, 1), (f"{docs}/c/old.txt", 0, 1)]
            quote = ferry.part(27, 33)
            assert (quote.text, quote.place.line) == ("It car", 3)
            assert [(copy.start, copy.place.line) for copy in quote.copies] == [(27, 3), (27, 3)]
        assert opened.counts[f"{docs}/b/ferry.txt"] == 1
        assert opened.passages(f"{docs}/b/ferry.txt")[0].source == f"{docs}/b/ferry.txt"


def test_a_scope_shows_the_copies_inside_it(docs: Path, index: Path) -> None:
    update(index, docs, Letters())
    with read(index, Letters()) as opened:
        scope = Scope(filters=("folder=b or folder=c",))
        for found in (opened.search_dense("goats", 1, scope), opened.search_bm25("goats", 1, scope)):
            assert [passage.source for passage in found] == [f"{docs}/b/ferry.txt"]
            assert [copy.source for copy in found[0].copies] == [f"{docs}/c/old.txt"]


def test_the_text_stays_as_long_as_one_file_has_it(docs: Path, index: Path, tmp_path: Path) -> None:
    update(index, docs, Letters())
    (docs / "a/ferry.txt").unlink()
    (docs / "c/old.txt").write_text("Nothing of that.")
    embedder = Letters()
    update(index, docs, embedder)
    assert embedder.embedded == ["Nothing of that."]
    update(tmp_path / "fresh", docs, Letters())
    assert contents(index, Letters()) == contents(tmp_path / "fresh", Letters())
    with read(index, Letters()) as opened:
        (found,) = opened.search_bm25("goats", 3)
        assert (found.source, found.copies) == (f"{docs}/b/ferry.txt", ())
    (docs / "b/ferry.txt").unlink()
    update(index, docs, Letters())
    with read(index, Letters()) as opened:
        assert opened.search_bm25("goats", 3) == []
        assert opened._vectors.count() == 2


def test_a_renamed_file_is_not_embedded_again(docs: Path, index: Path) -> None:
    update(index, docs, Letters())
    (docs / "lamp.txt").rename(docs / "light.txt")
    embedder = Letters()
    assert counts(update(index, docs, embedder)) == (1, 0, 1, 3, 0)
    write(docs, {"again.txt": "The lamp burns oil.\n"})
    update(index, docs, embedder)
    assert embedder.embedded == []
    with read(index, Letters()) as opened:
        (found,) = opened.search_dense("the lamp", 1)
        assert (found.source, found.copies[0].source) == (f"{docs}/again.txt", f"{docs}/light.txt")


def test_an_index_of_before_gets_its_copies_as_they_are_read(docs: Path, index: Path) -> None:
    update(index, docs, Letters())
    make_old(generation(index) / MANIFEST, 3)
    with read(index, Letters()) as opened:
        assert len(opened.search_bm25("goats", 3)) == 1
    write(docs, {"d.txt": FERRY})
    update(index, docs, Letters())
    with read(index, Letters()) as opened:
        (found,) = opened.search_bm25("goats", 3)
        assert f"{docs}/d.txt" in {copy.source for copy in found.copies}


# ------------------------------------------------------------------------------------------------------- near copies
RULES = (
    "the harbour master opens the gate at dawn and closes it when the last boat has come in from the sea and the "
    "lamp on the wall is lit so that nobody who walks there in the dark falls into the water below the steps"
)


def passage(text: str, source: str = "/a") -> Passage:
    return Passage(source, 0, len(text), text, 1.0, Place(1))


def kept(*texts: str) -> list[str]:
    notes: list[str] = []
    found = folded([passage(text, f"/{n}") for n, text in enumerate(texts)], 8, "fold", notes.append)
    assert len(found) + sum(note.count(", line 1") for note in notes) == len(texts)
    return [one.source for one in found]


@pytest.mark.parametrize(
    ("other", "is_copy"),
    [
        (RULES, True),
        (RULES.replace("opens the gate", "opens the great gate"), True),
        (f"{RULES} and so", True),
        (RULES.split(" and the ")[0], True),
        (RULES.replace("dawn", "5"), False),
        (RULES.replace("closes it", "never closes it"), False),
        (RULES.replace("the lamp", "the lamp of Odd"), False),
        (f"{RULES} {'what follows here was said of no harbour before and is therefore new ' * 2}", False),
        ("the lamp on the wall is lit by hand every evening unless it rains", False),
    ],
)
def test_a_near_copy_says_nothing_new(other: str, is_copy: bool) -> None:
    assert kept(RULES, other) == (["/0"] if is_copy else ["/0", "/1"])


def test_two_passages_above_may_hold_it_together() -> None:
    words = RULES.split()
    first, second, across = " ".join(words[:22]), " ".join(words[22:]), " ".join(words[2:40])
    assert kept(first, second, across) == ["/0", "/1"]


def test_copies_do_not_fill_the_top_k_and_the_setting_keeps_them(tmp_path: Path) -> None:
    rules = " ".join(RULES.split()[:28])
    versions = {f"v{n}.txt": f"{rules}{' and so'[: 4 * n]}" for n in range(3)}
    docs = write(tmp_path / "docs", {**versions, "dogs.txt": "a dog may walk on the wall at the harbour gate"})
    update(tmp_path / "index", docs, Letters())
    with read(tmp_path / "index", Letters()) as opened:
        question = Question("who opens the gate of the harbour wall")
        for retriever in (Hybrid(k=3), Dense(k=3)):
            found = retriever.search(question, runtime(opened))
            assert sorted(Path(one.source).name[0] for one in found) == ["d", "v"]
        found = Hybrid(k=3, copies="keep").search(question, runtime(opened))
        assert sorted(Path(one.source).name[0] for one in found) in (["d", "v", "v"], ["v", "v", "v"])


def test_copies_are_no_part_of_where_a_passage_stands() -> None:
    one = Passage("/a", 0, 3, "abc", copies=(Copy("/b", 5, Place(2)),))
    assert one.part(1, 3).copies == (Copy("/b", 6, Place(2)),)


def test_a_near_copy_is_a_place_of_the_passage_that_stands_for_it() -> None:
    words = [f"w{n}" for n in range(40)]
    whole = Passage("/a.txt", 0, 10, " ".join(words))
    other = Passage("/b.txt", 0, 10, "Something else that nobody has said before.")
    copy = Copy("/d.txt", 5, Place(7))
    near = Passage("/c.txt", 3, 9, " ".join(words[4:]), place=Place(2), copies=(copy,))
    notes: list[str] = []
    first, second = folded([other, whole, near], 8, "fold", notes.append)
    assert (first.near_copies, second.near_copies) == ((), (Copy("/c.txt", 3, Place(2)), copy))
    assert second.part(0, 5).near_copies == ()
    assert notes == ["near copies of passages above were left out: c.txt, line 2"]
