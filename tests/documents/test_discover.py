"""Which files the paths name, and what is passed over and why."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.documents.discover import Discovery, discover
from pipeline.documents.left_out import NOT_RECOGNISED
from pipeline.errors import DocumentError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    files = {
        "a.txt": b"a",
        "b.md": b"b",
        "deep/er/c.py": b"c",
        "deep/photo.mp4": b"\xff\xd8\0\0",
        "deep/empty.txt": b"",
        "deep/utf16.txt": "text".encode("utf-16"),
        "deep/d.pdf": b"%PDF-1.4\0",
        ".hidden/e.txt": b"e",
        "deep/.secret.txt": b"f",
        ".git/config": b"g",
        "__pycache__/h.txt": b"h",
        "node_modules/i/j.js": b"i",
        ".venv/k.txt": b"k",
    }
    for name, data in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path


def names(found: Discovery, folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found.files]


def test_a_folder_gives_all_below_it_that_can_be_read(tree: Path) -> None:
    found = discover([str(tree)])
    assert names(found, tree) == ["a.txt", "b.md", "deep/d.pdf", "deep/er/c.py", "deep/utf16.txt"]
    assert found.skipped == (
        (f"{tree}/.git", "left out: hidden folder"),
        (f"{tree}/.hidden", "left out: hidden folder"),
        (f"{tree}/.venv", "left out: hidden folder"),
        (f"{tree}/__pycache__", "left out: cache folder"),
        (f"{tree}/deep/.secret.txt", "left out: hidden file"),
        (f"{tree}/deep/empty.txt", "empty file"),
        (f"{tree}/deep/photo.mp4", "video: make a transcript of it (whisper), as VTT or text"),
        (f"{tree}/node_modules", "left out: cache folder"),
    )


def test_a_glob_may_go_into_folders(tree: Path) -> None:
    assert names(discover([f"{tree}/*.txt"]), tree) == ["a.txt"]
    assert names(discover([f"{tree}/**/*.txt"]), tree) == ["a.txt", "deep/utf16.txt"]
    assert names(discover([f"{tree}/dee*"]), tree) == ["deep/d.pdf", "deep/er/c.py", "deep/utf16.txt"]


def test_a_file_comes_once_and_in_order_however_often_it_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "again.txt").symlink_to(tree / "a.txt")
    monkeypatch.chdir(tree)
    found = discover(["b.md", "a.txt", str(tree / "a.txt"), "*.txt", "deep/../b.md"])
    assert found == Discovery((tree / "a.txt", tree / "b.md"))


def test_a_named_file_is_kept_whatever_it_is_so_that_its_fault_is_told(tree: Path) -> None:
    found = discover([str(tree / "deep/photo.mp4"), str(tree / "deep"), str(tree / ".hidden/e.txt")])
    assert tree / "deep/photo.mp4" in found.files
    assert found.skipped == (
        (f"{tree}/deep/.secret.txt", "left out: hidden file"),
        (f"{tree}/deep/empty.txt", "empty file"),
    )


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("a")
    assert names(discover([str(tmp_path / "a[1].txt")]), tmp_path) == ["a[1].txt"]


def test_links_in_a_circle_end(tree: Path) -> None:
    (tree / "deep" / "up").symlink_to(tree)
    (tree / "deep" / "self").symlink_to(tree / "deep" / "self")
    (tree / "deep" / "nothing").symlink_to(tree / "gone")
    found = discover([str(tree)])
    assert names(found, tree) == ["a.txt", "b.md", "deep/d.pdf", "deep/er/c.py", "deep/utf16.txt"]
    assert names(discover([f"{tree}/**/*.md"]), tree) == ["b.md"]
    assert dict(found.skipped)[f"{tree}/deep/nothing"] == "a link to nothing"
    assert dict(found.skipped)[f"{tree}/deep/self"] == "a link in a circle"


def test_a_pipe_is_not_waited_for(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    assert (f"{tree}/pipe", "not a regular file") in discover([str(tree)]).skipped
    with pytest.raises(DocumentError, match=r"/pipe: neither a file nor a folder"):
        discover([str(tree / "pipe")])


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (lambda tree: [], r"^no documents were named: give a file, a folder or a glob"),
        (lambda tree: [""], r"^'': no such file or folder"),
        (lambda tree: [f"{tree}/b.mb"], r"/b\.mb: no such file or folder, did you mean '.*/b\.md'\?$"),
        (lambda tree: [f"{tree}/x/y"], r"/x/y: no such file or folder$"),
        (lambda tree: [f"{tree}/*.docx"], r"/\*\.docx: the pattern matches nothing: use \*\*"),
        (
            lambda tree: [f"{tree}/deep/*.mp4"],
            r"holds nothing to read \(1 passed over: video: .*\): what can be read",
        ),
        (lambda tree: [f"{tree}/a.txt", f"{tree}/bare"], r"/bare: holds nothing to read: what can be read is text,"),
        (lambda tree: ["x" * 5000], r"x: no such file or folder$"),
        (lambda tree: ["a\0b"], r"no such file or folder"),
    ],
)
def test_what_cannot_be_found_is_told(tree: Path, paths: Callable[[Path], list[str]], message: str) -> None:
    (tree / "bare").mkdir()
    with pytest.raises(DocumentError, match=message):
        discover(paths(tree))


def test_without_ocr_pictures_are_left_out_of_archives_as_well(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("a.txt", "photo.png"):
            archive.writestr(name, "A")
    archive_path = tmp_path / "a.zip"
    for path in (tmp_path, archive_path):
        found = discover([str(path)], ocr=False)
        assert names(found, tmp_path) == ["a.zip/a.txt"]
        assert found.skipped == ((f"{archive_path}/photo.png", NOT_RECOGNISED),)
        assert names(discover([str(path)]), tmp_path) == ["a.zip/a.txt", "a.zip/photo.png"]
    assert names(discover([f"{archive_path}/photo.png"], ocr=False), tmp_path) == ["a.zip/photo.png"], "it was named"
