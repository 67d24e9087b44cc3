"""What a glob is compared with."""

import pytest

from pipeline.errors import DataError
from pipeline.retrieval.globs import check_matches, matching

SOURCES = ("/home/a/docs/deep/salt.txt", "/home/a/docs/lamp.txt", "/home/a/docs/old-lamp.txt")


@pytest.mark.parametrize(
    ("glob", "places"),
    [
        ("lamp.txt", [1]),
        ("lamp.*", [1]),
        ("deep/salt.txt", [0]),
        ("docs/*.txt", [0, 1, 2]),
        ("/home/a/docs/lamp.txt", [1]),
        ("*lamp.txt", [1, 2]),
        (("*.txt", "deep/*"), [0]),
        ("amp.txt", []),
        ("home", []),
        (None, [0, 1, 2]),
    ],
)
def test_a_glob_matches_a_path_or_its_end(glob: str, places: list[int]) -> None:
    assert matching(SOURCES, glob) == [SOURCES[n] for n in places]


def test_a_glob_that_leaves_nothing_says_what_it_is_compared_with() -> None:
    check_matches(SOURCES, "lamp.txt")
    check_matches(SOURCES, None)
    check_matches((), "lamp.txt")
    with pytest.raises(DataError, match=r"`glob` 'lamp.md' leaves none of 3 documents .*/deep/salt.txt, .* salt.txt;"):
        check_matches(SOURCES, "lamp.md")
