import json
import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from pipeline.documents.chunking import AUTO, Chunker
from pipeline.documents.discover import Discovery, discover
from pipeline.documents.load import load
from pipeline.errors import StoreError
from pipeline.retrieval.embedder import NoVectors
from pipeline.retrieval.index import OUTDATED
from pipeline.retrieval.open_index import open_index
from pipeline.retrieval.questions import question_vector
from pipeline.retrieval.scope import Scope
from pipeline.storage.checked_json import read_object, with_checksum
from pipeline.storage.checksums import save_checksum
from pipeline.text.words import VERSION
from pipeline.types import Document
from tests.retrieval.folders import CHUNKER, contents, counts, generation, read, silent, update, write
from tests.retrieval.letters import Letters

FILES = {
    "harbour.md": "# The harbour\n\nThe harbour lies in the north. Seven grey herons stand on its wall.\n",
    "lamp.txt": "The keeper of the lamp is called Odd. He trims the lamp at noon.\n",
    "deep/salt.txt": "Salt is won from the sea by patience. It is sold in sacks of nine stone.\n",
}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write(tmp_path / "docs", FILES)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "index"


def test_what_is_new_changed_and_gone_is_taken_in_and_the_rest_is_not_read_again(docs: Path, index: Path) -> None:
    assert counts(update(index, docs, Letters())) == (3, 0, 0, 0, 0)
    again = Letters()
    assert counts(update(index, docs, again)) == (0, 0, 0, 3, 0)
    assert again.embedded == []

    write(docs, {"lamp.txt": "The lamp is out.", "new.txt": "A new page on pepper."})
    (docs / "deep/salt.txt").unlink()
    third = Letters()
    report = update(index, docs, third)
    assert counts(report) == (1, 1, 1, 1, 0)
    assert sorted(third.embedded) == ["A new page on pepper.", "The lamp is out."]
    with read(index, Letters()) as opened:
        assert opened.n_chunks == report.n_chunks == 3
        assert opened.sources == tuple(str(docs / name) for name in ("harbour.md", "lamp.txt", "new.txt"))
        assert opened.search_bm25("salt keeper", 5) == []
        assert [p.text for p in opened.search_dense("the lamp is out.", 1)] == ["The lamp is out."]


def test_an_index_brought_up_to_date_equals_a_fresh_one(docs: Path, index: Path, tmp_path: Path) -> None:
    update(index, docs, Letters())
    write(docs, {"harbour.md": "No heron, no harbour, no wall.", "zoo.txt": "Grey salt."})
    (docs / "lamp.txt").unlink()
    update(index, docs, Letters())
    update(tmp_path / "fresh", docs, Letters())
    assert contents(index, Letters()) == contents(tmp_path / "fresh", Letters())


def test_a_file_that_was_only_touched_is_unchanged(docs: Path, index: Path) -> None:
    update(index, docs, Letters())
    os.utime(docs / "lamp.txt", (1, 1))
    embedder = Letters()
    assert counts(update(index, docs, embedder)) == (0, 0, 0, 3, 0)
    assert embedder.embedded == []


def test_indexing_another_path_adds_and_keeps_what_is_still_there(docs: Path, index: Path, tmp_path: Path) -> None:
    update(index, docs, Letters())
    other = write(tmp_path / "other", {"x.txt": "Pepper."})
    (docs / "lamp.txt").unlink()
    assert counts(update(index, other, Letters())) == (1, 0, 1, 0, 0)
    with read(index, Letters()) as opened:
        assert len(opened.sources) == 3


def test_a_file_that_is_passed_over_now_is_forgotten(docs: Path, index: Path) -> None:
    update(index, docs, Letters())
    (docs / "lamp.txt").write_bytes(b"\0\1\2\3" * 100)
    report = update(index, docs, Letters())
    assert counts(report) == (0, 0, 1, 2, 0)
    assert report.skipped == ((str(docs / "lamp.txt"), "binary file"),)


def test_a_file_that_fails_is_listed_and_its_old_passages_go(docs: Path, index: Path) -> None:
    update(index, docs, Letters())
    lamp = docs / "lamp.txt"
    lamp.write_bytes(b"\0\1\2\3" * 100)
    with open_index(index, Letters(), CHUNKER, mode="write") as opened:
        files = tuple(path.resolve() for path in docs.rglob("*") if path.is_file())
        report = opened.update(Discovery(files), silent)
    assert counts(report) == (0, 0, 0, 2, 1)
    assert report.failed[0][0] == str(lamp)
    assert report.notes == ((str(lamp), "its earlier 1 passage left the index"),)
    with read(index, Letters()) as opened:
        assert str(lamp) not in opened.sources


def test_each_chunk_is_what_stands_at_its_offsets(docs: Path, index: Path) -> None:
    update(index, docs, Letters())
    for chunk in contents(index, Letters())["chunks"]:
        with read(index, Letters()) as opened:
            document = opened.document(chunk.source)
        assert chunk.text == document.text[chunk.start : chunk.end]
        assert chunk.place == document.place(chunk.start)
        assert chunk.title == document.title


def test_a_glob_keeps_to_its_sources_and_several_globs_must_all_match(docs: Path, index: Path) -> None:
    update(index, docs, Letters())
    with read(index, Letters()) as opened:
        for search in (opened.search_dense, opened.search_bm25):
            question = "the salt in the harbour lamp"
            assert {Path(p.source).name for p in search(question, 9)} == {"harbour.md", "lamp.txt", "salt.txt"}
            assert {Path(p.source).name for p in search(question, 9, Scope(("*.txt",)))} == {"lamp.txt", "salt.txt"}
            assert {Path(p.source).name for p in search(question, 9, Scope(("*.txt", "*/deep/*")))} == {"salt.txt"}
            assert search(question, 9, Scope(("*.pdf",))) == []


def test_ties_go_by_source_and_then_by_offset(tmp_path: Path, index: Path) -> None:
    pages = [" ".join([*["grey"] * n, "stone", *["grey"] * (31 - n)]) for n in range(6)]  # the same words each
    files = {name: f"{pages[n]}\n\n{pages[n + 1]}\n" for name, n in (("c.txt", 0), ("a.txt", 2), ("b.txt", 4))}
    update(index, write(tmp_path / "same", files), Letters())
    with read(index, Letters()) as opened:
        for search in (opened.search_dense, opened.search_bm25):
            found = search("grey", 5)
            assert len({p.score for p in found}) == 1
            places = [(Path(p.source).name, p.start) for p in found]
            assert places == [("a.txt", 0), ("a.txt", 162), ("b.txt", 0), ("b.txt", 162), ("c.txt", 0)]


def test_an_index_without_vectors_searches_by_words_and_has_no_chroma(docs: Path, index: Path) -> None:
    update(index, docs, NoVectors())
    assert not (generation(index) / "chroma").exists()
    with read(index, NoVectors()) as opened:
        assert [Path(p.source).name for p in opened.search_bm25("who keeps the lamp", 2)] == ["lamp.txt"]


def test_another_embedder_or_chunker_is_refused_and_taken_on_rebuild(docs: Path, index: Path) -> None:
    update(index, docs, Letters())
    with pytest.raises(StoreError, match=r"embedder letters \(letters-64, 64 dim.*letters-32.*--rebuild"):
        update(index, docs, Letters(32))
    with pytest.raises(StoreError, match=r"embedder letters .*none \(none, 0 dimensions\) is asked for"):
        read(index, NoVectors())
    with pytest.raises(StoreError, match=r"cut with chunks: \w+.*tokens 32, and chunks: .*tokens 16 is.*--rebuild"):
        open_index(index, Letters(), Chunker(tokens=16))
    assert counts(update(index, docs, Letters(32), rebuild=True)) == (3, 0, 0, 0, 0)
    with read(index, Letters(32)) as opened:
        assert len(opened.search_dense("salt", 9)) == opened.n_chunks


@pytest.mark.parametrize("mode", ["tokens", "structure"])
def test_by_default_an_index_stays_cut_as_it_was_made(
    docs: Path, index: Path, mode: Literal["tokens", "structure"]
) -> None:
    made = Chunker(tokens=32, chunks=mode)
    with open_index(index, Letters(), made, mode="write") as opened:
        opened.update(discover([str(docs)]), silent)
        before = opened.n_chunks
    with read(index, Letters()) as opened:
        assert (opened.chunker, opened.n_chunks) == (made, before)
    write(docs, {"new.txt": "A new pier. " * 20})
    assert counts(update(index, docs, Letters())) == (1, 0, 0, 3, 0)
    with open_index(index, Letters(), made) as opened:
        assert opened.n_chunks > before
    other = Chunker(tokens=32, chunks="structure" if mode == "tokens" else "tokens")
    with pytest.raises(StoreError, match=rf"was cut with chunks: {mode}.*chunks: {other.mode}.*--rebuild"):
        open_index(index, Letters(), other)
    update(index, docs, Letters(), rebuild=True)
    with open_index(index, Letters(), Chunker(tokens=32, chunks=AUTO)) as opened:
        assert opened.n_chunks


def test_an_index_of_another_format_is_refused(docs: Path, index: Path) -> None:
    update(index, docs, Letters())
    with sqlite3.connect(generation(index) / "manifest.sqlite") as db:
        db.execute("UPDATE settings SET value = '99' WHERE key = 'format'")
    db.close()
    save_checksum(generation(index) / "manifest.sqlite")
    with pytest.raises(StoreError, match=r"has format 99, and this longthread reads 4.*--rebuild"):
        read(index, Letters())


def test_what_is_missing_empty_or_something_else_is_told(docs: Path, index: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no index here: make one with longthread index PATH"):
        read(index, Letters())
    assert not index.exists()
    open_index(index, Letters(), CHUNKER, mode="write").close()
    with pytest.raises(StoreError, match="the index is unfinished"):
        read(index, Letters())
    bad = write(tmp_path / "bad", {"bad.pdf": "%PDF-1.4 and then nothing of the kind"})
    assert counts(update(index, bad, Letters())) == (0, 0, 0, 0, 1)
    with pytest.raises(StoreError, match="the index is empty"):
        read(index, Letters())
    with pytest.raises(StoreError, match=r"holds no index, but other files \(deep, harbour\.md, lamp\.txt\)"):
        update(docs, docs, Letters(), rebuild=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"file: File exists: give a folder"):
        update(tmp_path / "file", docs, Letters())
    with sqlite3.connect(tmp_path / "strangers.sqlite") as db:
        db.execute("CREATE TABLE files (precious TEXT)")
    db.close()
    (tmp_path / "strangers").mkdir()
    (tmp_path / "strangers.sqlite").rename(tmp_path / "strangers" / "manifest.sqlite")
    with pytest.raises(StoreError, match="the manifest is not one of longthread's"):
        update(tmp_path / "strangers", docs, Letters())
    theirs = write(tmp_path / "theirs", {"chroma/chroma.sqlite3": "precious"})
    with pytest.raises(StoreError, match=r"holds no index, but other files \(chroma\)"):
        update(theirs, docs, Letters(), rebuild=True)


@pytest.mark.parametrize("damage", ["manifest", "vectors", "no vectors"])
def test_a_damaged_index_is_told_and_made_anew(docs: Path, index: Path, damage: str) -> None:
    update(index, docs, Letters())
    if damage == "manifest":
        (generation(index) / "manifest.sqlite").write_bytes(b"no database at all" * 1000)
    elif damage == "vectors":
        (generation(index) / "chroma" / "chroma.sqlite3").write_bytes(b"no database at all" * 1000)
    else:
        shutil.rmtree(generation(index) / "chroma")
    shutil.rmtree(generation(index) / "vectors")
    with pytest.raises(StoreError, match=r"(cannot be used|are missing).*--rebuild"), read(index, Letters()) as opened:
        opened.search_dense("salt", 1)
    update(index, docs, Letters(), rebuild=True)
    assert len(contents(index, Letters())["dense"][3]) == 3


def test_a_damaged_word_index_is_made_anew_from_the_manifest(docs: Path, index: Path) -> None:
    update(index, docs, Letters())
    before = contents(index, Letters())
    (generation(index) / "bm25" / "longthread.json").write_text("{")
    assert contents(index, Letters()) == before
    update(index, docs, Letters())
    assert (generation(index) / "bm25" / "longthread.json").stat().st_size > 1


@pytest.mark.parametrize("without_copy", [True, False])
def test_files_whose_vectors_are_missing_are_read_again(docs: Path, index: Path, without_copy: bool) -> None:
    update(index, docs, Letters())
    before = contents(index, Letters())
    with open_index(index, Letters(), CHUNKER, mode="write") as opened:
        opened._vectors.delete(opened.manifest.ids([str(docs / "lamp.txt")]))
    if without_copy:
        shutil.rmtree(generation(index) / "vectors")
        expected = (0, 1, 0, 2, 0)
    else:  # the plain copy answers, so that nothing is wrong until the next change is taken in
        assert counts(update(index, docs, Letters())) == (0, 0, 0, 3, 0)
        assert contents(index, Letters())["documents"] == before["documents"]
        write(docs, {"deep/salt.txt": "Pepper is dearer than gold."})
        expected = (0, 2, 0, 1, 0)
    report = update(index, docs, Letters())
    assert counts(report) == expected
    assert report.notes == ((str(docs / "lamp.txt"), "some of its vectors were missing: read again"),)
    with open_index(index, Letters(), CHUNKER, mode="write") as opened:
        assert opened._vectors.ids() == set(opened.manifest.ids())


def test_an_update_needs_an_index_that_is_open_to_write(docs: Path, index: Path) -> None:
    update(index, docs, Letters())
    with read(index, Letters()) as opened, pytest.raises(StoreError, match="open it with mode='write'"):
        opened.update(discover([str(docs)]), silent)


def test_a_question_longer_than_the_embedder_reads_counts_whole(docs: Path, index: Path) -> None:
    embedder = Letters()
    parts = [" ".join(["salt"] * 40) + ".", " ".join(["lamp"] * 40) + "."]
    mean = embedder.embed(parts).mean(axis=0)
    assert question_vector(embedder, "\n\n".join(parts)) == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    assert question_vector(embedder, "salt") == pytest.approx(embedder.embed(["salt"])[0])
    update(index, docs, embedder)
    with read(index, embedder) as opened:
        found = opened.search_dense(" ".join(["harbour"] * 60 + ["lamp"] * 60), 2)
    assert {Path(p.source).name for p in found} == {"harbour.md", "lamp.txt"}


def test_an_index_among_its_documents_does_not_index_itself(docs: Path) -> None:
    assert counts(update(docs / "index", docs, Letters())) == (3, 0, 0, 0, 0)
    report = update(docs / "index", docs, Letters())
    assert counts(report) == (0, 0, 0, 3, 0)
    assert report.skipped == ((str(docs / "index"), "part of the index"),)


def test_a_bad_file_that_stays_bad_costs_the_others_nothing(docs: Path, index: Path) -> None:
    write(docs, {"bad.pdf": "%PDF-1.4 and then nothing of the kind"})
    assert counts(update(index, docs, Letters())) == (3, 0, 0, 0, 1)
    saved = (generation(index) / "bm25" / "longthread.json").stat().st_mtime_ns
    report = update(index, docs, Letters())
    assert counts(report) == (0, 0, 0, 3, 1)
    assert report.failed[0][0] == str(docs / "bad.pdf")
    assert (generation(index) / "bm25" / "longthread.json").stat().st_mtime_ns == saved
    read(index, Letters()).close()


def test_a_file_whose_name_or_text_cannot_be_written_down_is_listed(
    docs: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (docs / os.fsdecode(b"caf\xe9.txt")).write_text("Coffee.")
    write(docs, {"half.txt": "Half a character: HALF"})

    def torn(path: Path, ocr: bool) -> Document:
        document = load(path, ocr)
        return replace(document, text=document.text.replace("HALF", "\ud800"))

    monkeypatch.setattr("pipeline.retrieval.update.load", torn)
    report = update(index, docs, Letters())
    assert counts(report) == (3, 0, 0, 0, 2)
    assert dict(report.failed) == {
        str(docs / "caf?.txt"): "its name is not UTF-8: rename it",
        str(docs / "half.txt"): "holds halves of characters (lone surrogates): save it as UTF-8 again",
    }


def test_progress_knows_its_end_from_the_start(docs: Path, index: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    with open_index(index, Letters(), CHUNKER, mode="write") as opened:
        opened.update(discover([str(docs)]), lambda *step: seen.append(step))
    assert seen[0] == ("check files", 1, 3)
    assert list(dict.fromkeys(what for what, _, _ in seen)) == [
        "check files",
        "index files (kB)",
        "index words",
    ]
    for what in {what for what, _, _ in seen}:
        steps = [(done, total) for other, done, total in seen if other == what]
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1] == steps[0][1]


def test_words_that_an_older_version_split_are_split_anew_and_that_is_said(docs: Path, index: Path) -> None:
    update(index, docs, Letters())
    about = generation(index) / "bm25" / "longthread.json"
    about.write_text(json.dumps(with_checksum({**read_object(about), "words": VERSION - 1})))
    seen: list[str] = []
    with open_index(index, Letters(), CHUNKER, mode="write") as opened:
        report = opened.update(discover([str(docs)]), lambda what, done, total: seen.append(what))
        assert [Path(passage.source).name for passage in opened.search_bm25("who trims the lamp", 1)] == ["lamp.txt"]
    assert counts(report)[0] == 0  # no file was read for it
    assert OUTDATED in seen
    assert f'"words": {VERSION}' in (generation(index) / "bm25" / "longthread.json").read_text()


def test_the_first_group_is_small_so_that_a_small_folder_is_not_lost_whole(tmp_path: Path, index: Path) -> None:
    docs = write(tmp_path / "docs", {f"{n:03}.txt": f"Page {n} of the log." for n in range(400)})
    sizes: list[int] = []
    with open_index(index, Letters(), CHUNKER, mode="write") as opened:
        updater = opened._updater(silent)
        for group in updater.groups(discover([str(docs)]).files):
            sizes.append(sum(len(file.chunks) for file in group))
    assert sizes == [64, 128, 208]
