"""An index of files that are read by formats: a new version of a reader, archives and their members."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import IndexSettings
from pipeline.docs_index import update_index
from pipeline.documents import formats, ocr
from pipeline.retrieval.generations import MANIFEST, newest
from pipeline.retrieval.manifest import Manifest
from tests.documents.pdf_file import pdf

WORDS_ONLY = IndexSettings(embedder="none")


def silent(what: str, done: int, total: int) -> None:
    pass


def pack(path: Path, **members: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(f"{name}.txt", text)


def sources(index: Path) -> list[str]:
    generation = newest(index)
    assert generation is not None
    manifest = Manifest(generation / MANIFEST)
    try:
        return [Path(source).name for source in manifest.sources()]
    finally:
        manifest.close()


def test_a_file_is_read_again_when_its_reader_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.csv").write_text("boat,crew,year\nIda,3,1990\n")
    (tmp_path / "docs/b.txt").write_text("The boat.")
    index, paths = tmp_path / "index", [str(tmp_path / "docs")]
    assert update_index(index, paths, WORDS_ONLY, silent).added == 2
    assert update_index(index, paths, WORDS_ONLY, silent).unchanged == 2
    newer = replace(formats.FORMATS["csv"], version=99)
    monkeypatch.setitem(formats._BY_SUFFIX, ".csv", newer)
    monkeypatch.setitem(formats.FORMATS, "csv", newer)
    report = update_index(index, paths, WORDS_ONLY, silent)
    assert (report.changed, report.unchanged) == (1, 1)
    assert update_index(index, paths, WORDS_ONLY, silent).unchanged == 2


def test_members_of_an_archive_come_change_and_go_with_it(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    pack(tmp_path / "docs/a.zip", one="The mast.", two="The sail.")
    index, paths = tmp_path / "index", [str(tmp_path / "docs")]
    assert update_index(index, paths, WORDS_ONLY, silent).added == 2
    assert update_index(index, paths, WORDS_ONLY, silent).unchanged == 2
    pack(tmp_path / "docs/a.zip", two="The sail is red.", three="The keel.")
    report = update_index(index, paths, WORDS_ONLY, silent)
    assert (report.added, report.changed, report.removed) == (1, 1, 1)
    assert sources(index) == ["three.txt", "two.txt"]
    (tmp_path / "docs/a.zip").unlink()
    (tmp_path / "docs/b.txt").write_text("The boat.")
    assert update_index(index, paths, WORDS_ONLY, silent).removed == 2


@pytest.fixture
def can_recognise(monkeypatch: pytest.MonkeyPatch) -> None:
    """OCR that reads `A sign.` on every scan."""
    monkeypatch.setattr(ocr, "is_installed", lambda: True)
    monkeypatch.setattr(ocr, "recognise", lambda image: ocr.Recognised("A sign.", 1.0))
    monkeypatch.setattr(formats, "_can_recognise", lambda: True)


@pytest.mark.usefixtures("can_recognise")
@pytest.mark.parametrize("name", ["scan.pdf", "scan", "scan.txt", "scan.docx"])
def test_a_pdf_of_any_name_is_read_again_when_ocr_is_switched_on_or_off(tmp_path: Path, name: str) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / name).write_bytes(pdf([["Typed."], []]))
    (tmp_path / "docs" / "note.txt").write_text("A note.")
    index, paths = tmp_path / "index", [str(tmp_path / "docs")]
    without = replace(WORDS_ONLY, ocr="off")
    assert update_index(index, paths, without, silent).added == 2
    assert "A sign." not in text_of(index, name)
    for settings, n in ((without, 0), (WORDS_ONLY, 1), (WORDS_ONLY, 0), (without, 1)):
        report = update_index(index, paths, settings, silent)
        assert (report.changed, report.unchanged) == (n, 2 - n)
        assert ("A sign." in text_of(index, name)) is (settings is WORDS_ONLY)


def test_a_file_of_a_format_that_its_bytes_tell_is_read_again_when_that_reader_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.txt").write_text("<!doctype html><title>Boats</title><p>The boat is red.")
    (tmp_path / "docs" / "note.txt").write_text("A note.")
    index, paths = tmp_path / "index", [str(tmp_path / "docs")]
    assert update_index(index, paths, WORDS_ONLY, silent).added == 2
    monkeypatch.setitem(formats.FORMATS, "html", replace(formats.FORMATS["html"], version=99))
    assert update_index(index, paths, WORDS_ONLY, silent).changed == 1


def text_of(index: Path, name: str) -> str:
    """What the index holds of the file of this name."""
    generation = newest(index)
    assert generation is not None
    manifest = Manifest(generation / MANIFEST)
    try:
        return next(manifest.document(source).text for source in manifest.sources() if Path(source).name == name)
    finally:
        manifest.close()
