import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.selection import Limits, Units, split, units_in, windows
from tests.compressors.workbench import passage, scripted_runtime

SCORES = [0.2, 0.9, 0.9, 0.1, 0.5]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(), [1, 2, 4, 0, 3]),
        (Limits(top_k=2), [1, 2]),
        (Limits(threshold=0.5), [1, 2, 4]),
        (Limits(threshold=2.0), []),
        (Limits(budget=25), [1, 2]),
        (Limits(budget=3), [1]),
        (Limits(keep_ratio=0.6), [1, 2, 4]),
        (Limits(mass=0.5), [1, 2]),
        (Limits(mass=1.0), [1, 2, 4, 0, 3]),
        (Limits(top_k=3, threshold=0.3, budget=12), [1]),
    ],
    ids=str,
)
def test_limits_by_example(limits: Limits, expected: list[int]) -> None:
    assert limits.choose(SCORES, lambda: [10] * 5) == expected


def test_a_long_unit_is_passed_over_for_a_shorter_one() -> None:
    assert Limits(budget=25).choose([0.9, 0.8, 0.7, 0.6], lambda: [10, 20, 10, 10]) == [0, 2]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 30)), min_size=1, max_size=12),
    st.floats(0.01, 1),
)
def test_a_ratio_is_never_exceeded_by_more_than_the_best(units: list[tuple[float, int]], ratio: float) -> None:
    scores, costs = [score for score, _ in units], [cost for _, cost in units]
    kept = Limits(keep_ratio=ratio).choose(scores, lambda: costs)
    assert kept[0] == max(range(len(scores)), key=lambda n: (scores[n], -n))
    assert len(kept) == 1 or sum(costs[n] for n in kept) <= ratio * sum(costs)


@pytest.mark.parametrize(
    ("name", "value"), [("top_k", 0), ("budget", 0), ("keep_ratio", 0), ("keep_ratio", 1.1), ("mass", 2)]
)
def test_limits_that_make_no_sense(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be .*, was: {value}"):
        Limits(**{name: value})  # type: ignore[arg-type]


def test_units_and_their_gaps_are_the_passage() -> None:
    text = "# Ferry\n\nOne.  Two.\n\n- three\n- four\n\n| a | b |\n"
    parts = split(passage(text, 40))
    assert [(part.text, part.start, part.place.line) for part in parts] == [
        ("One.", 49, 3),
        ("Two.", 55, 3),
        ("- three", 61, 5),
        ("- four", 69, 6),
        ("| a | b |", 77, 8),
    ]
    with scripted_runtime() as runtime:
        units = Units.of([passage(text, 40)], runtime)
    assert "".join(units.with_gap(n) for n in range(len(units))) == text[9:].rstrip("\n")


def test_neighbours_are_joined_with_what_stands_between_them() -> None:
    given_ = [passage("One. Two.\nThree. Four.", 5), passage("Five. Six.", 0, "b.txt")]
    with scripted_runtime() as runtime:
        units = Units.of(given_, runtime)
    merged = units.merged([4, 1, 0, 3], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert [(part.text, part.score) for part in merged] == [("One. Two.", 0.2), ("Four.", 0.4), ("Five.", 0.5)]
    assert units_in(units, merged) == {0, 1, 3, 4}
    assert units.widened([3], 1) == {2, 3}


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(18, 60))
def test_windows_hold_everything_once_in_order_and_are_not_too_full(lengths: list[int], room: int) -> None:
    text = " ".join(" ".join(["word"] * (n - 1) + ["end."]) for n in lengths)
    with scripted_runtime() as runtime:
        units = Units.of([passage(text)], runtime)
        pieces = windows(units, runtime.reader, room)
        assert [n for window in pieces for n, _ in window] == list(range(len(units)))
        sizes = [sum(runtime.reader.count_text(text) for _, text in window) for window in pieces]
    assert max(sizes) <= room


def test_a_giant_unit_comes_in_pieces() -> None:
    with scripted_runtime() as runtime:
        units = Units.of([passage("word " * 100 + "end.")], runtime)
        pieces = windows(units, runtime.reader, 40)
    assert {n for window in pieces for n, _ in window} == {0}
    assert "".join(text for window in pieces for _, text in window) == units.parts[0].text
