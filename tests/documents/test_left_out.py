"""Ignore files, hidden files, and folders of caches and builds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.documents.discover import discover
from pipeline.errors import DocumentError
from tests.retrieval.folders import write

FILES = {
    "a.txt": "a",
    "b.log": "b",
    "logs/c.log": "c",
    "logs/keep.log": "k",
    "private/d.txt": "d",
    "notes/private/e.txt": "e",
    "notes/f.txt": "f",
    "notes/draft-1.md": "g",
    "notes/final.md": "h",
}


def names(folder: Path, *paths: str) -> list[str]:
    found = discover([str(folder / path) for path in paths] or [str(folder)])
    return [path.relative_to(folder).as_posix() for path in found.files]


def reasons(folder: Path) -> dict[str, str]:
    return {Path(path).relative_to(folder).as_posix(): why for path, why in discover([str(folder)]).skipped}


def test_an_ignore_file_has_the_rules_of_gitignore(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", FILES)
    (docs / ".longthreadignore").write_text("# logs, but for one\n*.log\n!keep.log\n\n/private/\n")
    assert names(docs) == [
        "a.txt",
        "logs/keep.log",
        "notes/draft-1.md",
        "notes/f.txt",
        "notes/final.md",
        "notes/private/e.txt",
    ]
    why = "left out: named by docs/.longthreadignore"
    assert reasons(docs) == {"b.log": why, "logs/c.log": why, "private": why}


def test_the_deepest_ignore_file_decides_and_an_ignored_folder_is_not_entered(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", FILES)
    (docs / ".longthreadignore").write_text("*.md\nprivate\n")
    (docs / "notes/.longthreadignore").write_text("!final.md\nf.txt\n!private/e.txt\n")
    assert names(docs) == ["a.txt", "b.log", "logs/c.log", "logs/keep.log", "notes/final.md"]
    assert reasons(docs)["notes/f.txt"] == "left out: named by notes/.longthreadignore"


def test_what_is_named_is_read_and_ignore_files_above_it_do_not_count(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", FILES)
    (docs / ".longthreadignore").write_text("private\nb.log\n")
    assert names(docs, "private", "b.log") == ["b.log", "private/d.txt"]


def test_patterns_keep_to_the_ignore_file_as_well(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", FILES)
    (docs / ".longthreadignore").write_text("private/\n")
    assert names(docs, "**/*.txt") == ["a.txt", "notes/f.txt"]
    assert names(docs, "notes/*") == ["notes/draft-1.md", "notes/f.txt", "notes/final.md", "notes/private/e.txt"]


def test_build_folders_are_known_by_the_project_beside_them(tmp_path: Path) -> None:
    files = {"build/plans.txt": "house", "app/package.json": "{}", "app/dist/out.txt": "x", "app/read.txt": "y"}
    docs = write(tmp_path / "docs", {**files, "cargo/CACHEDIR.TAG": "Signature", "cargo/z.txt": "z"})
    write(docs, {"env/pyvenv.cfg": "home = /usr", "env/lib/x.txt": "x"})
    assert names(docs) == ["app/package.json", "app/read.txt", "build/plans.txt"]
    assert reasons(docs) == {
        "app/dist": "left out: build folder",
        "cargo": "left out: cache folder",
        "env": "left out: Python environment",
    }


def test_an_exclamation_mark_keeps_what_is_hidden_or_built(tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", {"package.json": "{}", "dist/out.txt": "x", ".plan/p.txt": "p", ".git/q.txt": "q"})
    (docs / ".longthreadignore").write_text("!dist/\n!.plan\n")
    assert names(docs) == [".plan/p.txt", "dist/out.txt", "package.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"*.log\n!\n", r"/docs/\.longthreadignore:2: not a pattern of gitignore: '!'"),
        (b"\xff\xfe\xff", r"/docs/\.longthreadignore: the ignore file is not UTF-8"),
    ],
)
def test_a_broken_ignore_file_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    docs = write(tmp_path / "docs", FILES)
    (docs / ".longthreadignore").write_bytes(content)
    with pytest.raises(DocumentError, match=message):
        discover([str(docs)])


def test_a_relative_path_has_the_same_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = write(tmp_path / "docs", FILES)
    (docs / ".longthreadignore").write_text("/logs\n*.md\n")
    monkeypatch.chdir(docs)
    assert [path.relative_to(docs).as_posix() for path in discover(["."]).files] == names(docs)
    assert os.path.exists("logs/c.log")
    assert "logs/c.log" not in names(docs)
