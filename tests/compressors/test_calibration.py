"""Calibrations: what is found on made-up figures with a known answer, and what is kept and read again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressors.calibration import exit_threshold, probe_heads
from compressors.calibration.exit_threshold import JudgedUnits, threshold_for
from compressors.calibration.labelled import read_labelled
from compressors.calibration.listwise import Questions
from compressors.calibration.probe_heads import QuestionFeatures
from compressors.calibration.ranking import auc, recall_at
from compressors.calibration.store import SHIPPED, ExitCalibration, ProbeCalibration, Weighing, store, stored
from compressors.probe import Probe
from pipeline.errors import DataError, ModelError
from pipeline.pipeline import Pipeline
from pipeline.storage.cache import cache_folder
from pipeline.types import Question
from tests.compressors.workbench import passage


def test_auc_by_example_and_by_its_definition() -> None:
    assert auc(np.array([0.9, 0.1, 0.5, 0.5]), [True, False, False, True]) == pytest.approx(3.5 / 4)
    rng = np.random.default_rng(0)
    scores, right = rng.integers(0, 5, 40).astype(float), [True] * 7 + [False] * 33
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[:7] for b in scores[7:]]
    assert auc(scores, right) == pytest.approx(float(np.mean(pairs)))
    with pytest.raises(ValueError, match="auc needs sentences of both kinds"):
        auc(scores, [True] * 40)


def test_recall_at_a_ratio() -> None:
    scores, right, costs = np.array([0.9, 0.2, 0.8, 0.1]), [True, False, False, True], [10, 10, 20, 60]
    assert recall_at(scores, right, costs, 0.1) == 0.5
    assert recall_at(scores, right, costs, 0.4) == 0.5
    assert recall_at(scores, right, costs, 1.0) == 1.0


@given(st.lists(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1), min_size=1), st.floats(0.05, 0.99))
def test_a_threshold_keeps_the_share_and_is_the_highest_that_does(
    rows: list[list[tuple[float, bool]]], recall: float
) -> None:
    judged = [
        JudgedUnits(np.array([p for p, _ in row]), tuple(is_right for _, is_right in row), (1,) * len(row))
        for row in rows
    ]
    right = [p for row in rows for p, is_right in row if is_right]
    if not right:
        return
    least = threshold_for(judged, recall)
    assert sum(p >= least for p in right) >= recall * len(right) - 1e-6
    assert sum(p > least for p in right) < recall * len(right) + 1e-6 or least == max(right)


def judged(n: int, seed: int = 0) -> list[JudgedUnits]:
    """Questions of ten sentences, the first of which supports: P(Yes) about 0.4, that of others about 0.2."""
    rng = np.random.default_rng(seed)
    return [
        JudgedUnits(rng.normal([0.4] + [0.2] * 9, 0.05).clip(0, 1), (True, *[False] * 9), (5,) * 10) for _ in range(n)
    ]


def test_a_threshold_with_its_evidence(runtime: Pipeline) -> None:
    calibration = exit_threshold.fit(judged(200), runtime.reader, ["mine"], 0, 0.9)
    assert calibration.threshold == pytest.approx(0.4 - 1.28 * 0.05, abs=0.01)
    assert calibration.evidence.recall == pytest.approx(0.9, abs=0.04)
    assert calibration.evidence.kept_ratio == pytest.approx(0.1, abs=0.03)
    assert calibration.evidence.auc > 0.99
    assert (calibration.evidence.n_questions, calibration.evidence.n_sentences, calibration.evidence.n_supporting) == (
        200,
        2000,
        200,
    )
    with pytest.raises(DataError, match=r"19 telling questions .* are too few to fit a threshold on: at least 20"):
        exit_threshold.fit(judged(19), runtime.reader, ["mine"], 0, 0.9)


def seen(n: int, informative: Sequence[int], n_heads: int = 1, seed: int = 0) -> list[QuestionFeatures]:
    """Questions of twelve sentences, two of which support; the named features are higher there, by about 1.5."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(n):
        right = np.zeros(12, bool)
        right[rng.choice(12, 2, replace=False)] = True
        features = rng.normal(size=(12, n_heads))
        features[:, list(informative)] += 1.5 * right[:, None]
        similarity = rng.normal(size=(12, 2)) + right[:, None]
        result.append(
            QuestionFeatures(
                features.astype(np.float32), similarity.astype(np.float32), tuple(right.tolist()), (1,) * 12
            )
        )
    return result


def test_planted_heads_are_found_and_low_layers_are_enough(monkeypatch: pytest.MonkeyPatch, runtime: Pipeline) -> None:
    """Of 10 layers of 4 heads four in layers 3 and 4 know; four copies of them in layer 9 add nothing."""
    planted = [12, 15, 17, 18]
    rows = seen(120, planted, 80)
    for row in rows:
        row.features[:, 36:40] = row.features[:, planted]
    monkeypatch.setattr(probe_heads, "_heads_of", lambda _: tuple((n // 4, n % 4) for n in range(40)))
    progress: list[tuple[str, int, int]] = []
    calibration = probe_heads.fit(rows, runtime.reader, ["mine"], 0, progress=lambda *step: progress.append(step))
    assert [done for _, done, _ in progress] == list(range(1, len(progress) + 1))
    assert progress[-1] == ("weigh heads", len(progress), len(progress))
    assert set(calibration.heads) >= {(layer, head, "question") for layer, head in ((3, 0), (3, 3), (4, 1), (4, 2))}
    assert max(layer for layer, _, _ in calibration.heads) <= 4
    assert calibration.with_similarity.weights[-2] > 0.1
    assert calibration.evidence.auc > 0.95
    with pytest.raises(DataError, match=r"3 telling questions .* are too few to choose heads by"):
        probe_heads.fit(rows[:3], runtime.reader, ["mine"], 0)


def test_the_order_of_the_questions_makes_no_difference(monkeypatch: pytest.MonkeyPatch, runtime: Pipeline) -> None:
    """Questions of two files, one after the other and in turns."""
    monkeypatch.setattr(probe_heads, "_heads_of", lambda _: ((0, 0), (0, 1), (1, 0), (1, 1)))
    rows = [replace(row, file="a" if n < 30 else "b") for n, row in enumerate(seen(60, [1], 8))]
    in_turns = [rows[n // 2 + 30 * (n % 2)] for n in range(60)]
    calibration, other = (probe_heads.fit(some, runtime.reader, ["mine"], 0) for some in (rows, in_turns))
    assert calibration.heads == other.heads
    for name in ("alone", "with_similarity", "links"):
        row, same = getattr(calibration, name), getattr(other, name)
        assert (*row.weights, row.bias) == pytest.approx((*same.weights, same.bias), abs=0.01), name
    assert calibration.alone.weights[calibration.heads.index((0, 1, "question"))] > 1
    columns = np.vstack([row.features[:, probe_heads_of(calibration)] for row in rows]).astype(float)
    questions = Questions.of([[row.supports for row in rows if row.file == file] for file in ("a", "b")])
    assert questions.sureness(calibration.alone.logits(columns)) == pytest.approx((1, 0), abs=0.02), (
        "it is as sure as it says"
    )


def probe_heads_of(calibration: ProbeCalibration) -> list[int]:
    """The columns of the features of a model of two layers of two heads."""
    return [4 * (position == "answer") + 2 * layer + head for layer, head, position in calibration.heads]


def test_the_ranking_of_heads_is_that_of_their_aucs() -> None:
    rows = seen(30, [2, 5], 7, seed=3)
    means = [np.mean([auc(row.features[:, head], row.supports) for row in rows]) for head in range(7)]
    ranked = [means[head] for head in probe_heads.best_heads(rows)]
    assert ranked == pytest.approx(sorted(means, reverse=True))


def test_a_calibration_is_kept_and_goes_before_the_shipped_one(runtime: Pipeline) -> None:
    shipped = stored(ProbeCalibration, runtime.reader)
    assert shipped is not None
    changed = replace(shipped, alone=Weighing((5.0,), 0.0))
    path = store(changed)
    assert path == cache_folder() / "calibrations" / "scripted" / "probe.json"
    assert stored(ProbeCalibration, runtime.reader) == changed
    assert stored(ExitCalibration, runtime.reader) is None


@pytest.mark.parametrize("text", ["{", "[1]", '{"key": "scripted"}', '{"key": "scripted", "model": 3}'])
def test_a_damaged_calibration_is_told_and_not_passed_over(text: str, runtime: Pipeline) -> None:
    path = cache_folder() / "calibrations" / "scripted" / "probe.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ModelError, match=r"probe\.json.*calibrat"):
        Probe(model=None).compress(Question("?"), [passage("One. Two.")], runtime)


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*-*.json")), ids=lambda path: path.name)
def test_what_ships_can_be_read_and_has_its_evidence(path: Path) -> None:
    value = json.loads(path.read_text("utf-8"))
    from pydantic import TypeAdapter

    kind: Any = ExitCalibration if path.name.startswith("exit-") else ProbeCalibration
    calibration: Any = TypeAdapter(kind).validate_json(json.dumps(value), strict=True, extra="forbid")
    assert calibration.key == "scripted" or len(calibration.key) == 64
    assert calibration.key == "scripted" or calibration.evidence.n_questions >= 100
    assert not any("eval" in name or "literaptor" in name or "xquad" in name for name in calibration.evidence.data)


def test_the_whole_way_with_the_scripted_model(runtime: Pipeline) -> None:
    questions = read_labelled(Path(SHIPPED) / "questions.json")
    rows = probe_heads.look(questions, runtime.reader, runtime.embedder, 2048, lambda *_: None)
    calibration = probe_heads.fit(rows, runtime.reader, ["questions.json"], 0)
    assert (0, 0, "question") in calibration.heads
    assert calibration.alone.weights[0] > 0
    assert calibration.evidence.auc > 0.8
    verdicts = exit_threshold.judge(questions, runtime.reader, 1024, lambda *_: None)
    threshold = exit_threshold.fit(verdicts, runtime.reader, ["questions.json"], 0, 0.9)
    assert 0 < threshold.threshold < 1
