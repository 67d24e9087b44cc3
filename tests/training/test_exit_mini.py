"""The fit of compress.exit_mini on questions whose answer is known by how they were made."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compressors.features import FEATURES, standardised
from compressors.links import Links
from tests.compressors.workbench import WordCounts
from training.exit_mini.train import EVAL_FROM, TEMPERATURES, Example, fit, log_loss, parted, questions_of, sureness

DATA = Path(__file__).parent.parent.parent.parent / "shared" / "data"


TELLING = 2
"""Which temperature's columns tell something in `examples`; those of the others are noise."""


def examples(n: int, column: int, seed: int) -> list[Example]:
    """Questions of eight sentences, of which the one with the highest value in a column supports, mostly."""
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        columns = [standardised(draw.normal(size=(8, len(FEATURES)))) for _ in TEMPERATURES]
        supports = np.zeros(8, bool)
        supports[int((columns[TELLING][:, column] + 0.3 * draw.normal(size=8)).argmax())] = True
        made.append(Example(tuple(columns), supports, (10,) * 8, Links(), draw.normal(size=8)))
    return made


def test_what_tells_is_weighed_and_what_does_not_is_not() -> None:
    sets = {"a": examples(200, 1, 0), "b": examples(50, 1, 1)}
    classifier = fit(sets, WordCounts(), "a command", 0)
    assert classifier.temperature == TEMPERATURES[TELLING]
    assert classifier.alone[1] > 2
    assert abs(classifier.alone[0]) < 0.5
    assert (classifier.metrics["a"]["n"], classifier.metrics["b"]["n"]) == (40, 10)
    assert classifier.metrics["a"]["auc"] > 0.9 > classifier.metrics["a"]["auc_likeness"]
    assert (classifier.n_questions, classifier.n_sentences) == (200, 1600)
    assert classifier.embedder == "word counts"


def test_a_small_set_weighs_as_much_as_a_large_one() -> None:
    """Where two sets disagree, neither wins by its size."""
    classifier = fit({"a": examples(400, 0, 0), "b": examples(100, 1, 1)}, WordCounts(), "", 0)
    assert classifier.alone[0] == pytest.approx(classifier.alone[1], rel=0.25)


def test_scores_become_the_probabilities_that_they_are() -> None:
    """Scores that are twice too large and one too high are brought back."""
    draw = np.random.default_rng(0)
    true = draw.normal(size=(400, 8)) * 2
    supports = draw.random((400, 8)) < 1 / (1 + np.exp(-true))
    sets = {"a": [replace(examples(1, 0, 0)[0], supports=row) for row in supports]}
    scores = {"a": [2 * row + 2 for row in true]}
    slope, shift = sureness(sets, scores)
    assert slope == pytest.approx(0.5, rel=0.1)
    assert shift == pytest.approx(-1, abs=0.15)
    assert log_loss(sets, scores, (slope, shift)) < log_loss(sets, scores, (1.0, 0.0))
    assert log_loss(sets, scores, (0.0, 0.0)) == pytest.approx(math.log(2))


def test_nothing_that_is_held_back_is_learned_from() -> None:
    sets = {"a": examples(10, 0, 0)}
    train, held = parted(sets)
    assert [*held["a"], *train["a"]] == sets["a"]
    assert (len(train["a"]), len(held["a"])) == (8, 2)


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data sets are not here")
def test_rows_that_are_marked_eval_are_not_learned_from() -> None:
    from compressors.calibration.labelled import read_labelled

    learned = {question.question for questions in questions_of(DATA, 0).values() for question in questions}
    rows = read_labelled(DATA / "2wikimultihopqa" / "migres_train500.json")[EVAL_FROM["2wiki"] :]
    measured = [*rows, *read_labelled(DATA / "hotpotqa" / "literaptor_100.json")]
    assert len(measured) == 200
    assert not learned & {question.question for question in measured}
    assert questions_of(DATA, 0).keys() == questions_of(DATA, 1).keys()
