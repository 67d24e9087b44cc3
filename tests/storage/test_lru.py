"""Of a folder's files the least recently used ones are deleted, down to a limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.storage import lru


def make(folder: Path, sizes: dict[str, int]) -> list[Path]:
    """Files of these sizes; the first was used longest ago."""
    for age, (name, size) in enumerate(sizes.items()):
        (folder / name).write_bytes(b"x" * size)
        os.utime(folder / name, (age, age))
    return [folder / name for name in sizes]


@pytest.mark.parametrize(
    ("max_bytes", "left"),
    [(60, "abc"), (59, "bc"), (50, "bc"), (49, "c"), (30, "c"), (29, ""), (-1, "")],
)
def test_the_least_recently_used_are_deleted_first(tmp_path: Path, max_bytes: int, left: str) -> None:
    lru.evict(make(tmp_path, {"a": 10, "b": 20, "c": 30}), max_bytes)
    assert sorted(path.name for path in tmp_path.iterdir()) == list(left)


def test_a_file_that_was_touched_stays_longer(tmp_path: Path) -> None:
    files = make(tmp_path, {"a": 10, "b": 10})
    lru.touch(tmp_path / "a")
    lru.touch(tmp_path / "gone")
    lru.evict(files, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_file_to_keep_stays_whatever_its_size(tmp_path: Path) -> None:
    lru.evict(make(tmp_path, {"a": 100, "b": 10}), 50, keep=tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_files_that_are_gone_do_not_count(tmp_path: Path) -> None:
    files = [*make(tmp_path, {"a": 10}), tmp_path / "gone"]
    assert lru.bytes_of(files) == 10
    lru.evict(files, 10)
    assert (tmp_path / "a").exists()
