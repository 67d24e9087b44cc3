"""Slow files begin first; each of them exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.order import ALONE, SLOW_FILES, in_order, unlisted

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", SLOW_FILES)
def test_a_slow_file_is_there(name: str) -> None:
    assert (ROOT / name).is_file()


def test_the_makefile_names_the_places_of_tests_that_run_alone() -> None:
    assert f"ALONE := {' '.join(ALONE)}" in (ROOT / "Makefile").read_text().splitlines()


def test_slow_files_come_first_and_then_those_with_most_tests() -> None:
    slow, slower = f"{SLOW_FILES[1]}::a", f"{SLOW_FILES[0]}::z"
    tests = ["tests/a.py::1", "tests/b.py::2", slow, "tests/b.py::1", slower]
    ordered = in_order(tests, lambda test: test.partition("::")[0])
    assert ordered == [slower, slow, "tests/b.py::2", "tests/b.py::1", "tests/a.py::1"]


def test_files_with_equally_many_tests_stay_whole() -> None:
    tests = ["tests/a.py::1", "tests/b.py::1", "tests/a.py::2", "tests/b.py::2"]
    ordered = in_order(tests, lambda test: test.partition("::")[0])
    assert ordered == ["tests/a.py::1", "tests/a.py::2", "tests/b.py::1", "tests/b.py::2"]


def test_slow_files_that_are_not_listed_are_named() -> None:
    seconds = {SLOW_FILES[0]: 90.0, "tests/quick.py": 20.0, "tests/new.py": 21.4, "tests/newer.py": 300.0}
    assert unlisted(seconds) == ["300 s: tests/newer.py", "21 s: tests/new.py"]
