"""An index of files that are read by formats: a new version of a reader, archives and their members."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import IndexSettings
from pipeline.docs_index import update_index
from pipeline.documents import formats
from pipeline.retrieval.generations import MANIFEST, newest
from pipeline.retrieval.manifest import Manifest

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
