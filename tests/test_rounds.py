"""Of all rounds some run always; no round is lost."""

from __future__ import annotations

import pytest

from tests.rounds import rounds


def is_thorough(value: object) -> bool:
    return not isinstance(value, int)


@pytest.mark.parametrize(("n_all", "n"), [(20, 8), (60, 20), (40, 12), (10, 4), (3, 1), (2, 5), (0, 3)])
def test_every_round_is_there_once_and_so_many_run_always(n_all: int, n: int) -> None:
    parameters = rounds(range(n_all), n)
    values = [parameter.values[0] if is_thorough(parameter) else parameter for parameter in parameters]
    assert values == list(range(n_all))
    assert sum(not is_thorough(parameter) for parameter in parameters) == min(n, n_all)
    assert all(parameter.marks[0].name == "thorough" for parameter in parameters if is_thorough(parameter))


def test_the_usual_rounds_are_spread_over_all() -> None:
    assert [value for value in rounds(range(12), 4) if not is_thorough(value)] == [0, 3, 6, 9]
