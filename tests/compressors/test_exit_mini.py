"""The classifier without a language model: its features are what they say, its numbers are the ones that ship, and on
real vectors it finds what likeness alone does not.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compressors import classifier
from compressors.classifier import Classifier, shipped
from compressors.exit_mini import ExitMini
from compressors.features import features, overlap
from compressors.links import Links
from compressors.selection import Units
from compressors.votes import nearest_tokens
from pipeline.errors import ModelError
from pipeline.retrieval.embedder import open_embedder
from pipeline.types import Passage, Question
from tests.compressors.workbench import passage, scripted_runtime

FERRY = "The ferry sails from the quay. In winter it leaves at nine. A ticket costs six marks."


def units_of(*passages: Passage) -> Units:
    with scripted_runtime() as runtime:
        return Units.of(passages, runtime)


def a_classifier(slope: float = 1.0) -> Classifier:
    return replace(
        shipped(), alone=(1.0, 0.0), linked=(1.0, 2.0, 0.0), alone_sure=(slope, -1.0), linked_sure=(1.0, 0.0)
    )


def test_words_that_both_have_weigh_by_how_rare_they_are() -> None:
    """Of 'ferry', 'leave', 'winter', each in one sentence, the title has two; the second sentence has two, one new."""
    units = units_of(passage(FERRY, title="The Winter Ferry"))
    assert overlap("When does the ferry leave in winter?", units) == pytest.approx([2 / 3, 1, 2 / 3])
    units = units_of(passage(FERRY))
    assert overlap("When does the ferry leave in winter?", units) == pytest.approx([1 / 3, 2 / 3, 0])
    assert overlap("When?", units) == pytest.approx([0, 0, 0])


def test_a_word_in_many_sentences_counts_for_less() -> None:
    units = units_of(passage("The ferry is old. The ferry is red. The ferry leaves."))
    common, rare = math.log(1 + 3.5 / 3.5), math.log(1 + 3.5 / 1.5)
    assert overlap("When does the ferry leave?", units) == pytest.approx([common / (common + rare)] * 2 + [1])


def test_features_do_not_depend_on_how_many_sentences_there_are() -> None:
    """Two sentences with all votes between them, alone and beside many with none."""
    few = units_of(*[passage("The ferry sails.")] * 2)
    many = units_of(*[passage("The ferry sails.")] * 202)
    nearest = np.full((202, 1), -1.0)
    nearest[:2, 0] = 1.0, 1.0
    logs = features("Aa", few, nearest[:2], 0.05)[:, 0], features("Aa", many, nearest, 0.05)[:, 0]
    assert logs[0] == pytest.approx(math.log(1.1))
    assert logs[1][:2] == pytest.approx(math.log(101.1))
    assert logs[1][2:] == pytest.approx(math.log(0.1))


def test_a_probability_is_a_weighed_sum_of_what_stands_out() -> None:
    columns = np.zeros((3, 2))
    columns[:, 0] = (1.0, 2.0, 3.0)
    for slope in (1.0, 0.5):
        probabilities = a_classifier(slope).probabilities(columns, None)
        logits = [slope * x - 1 for x in (-math.sqrt(1.5), 0, math.sqrt(1.5))]
        assert probabilities == pytest.approx([1 / (1 + math.exp(-z)) for z in logits])


def test_a_passage_that_a_good_sentence_names_is_raised() -> None:
    units = units_of(
        passage("The keeper was born in Merrow. He was old.", 0, "a", "Keeper"),
        passage("It lies by the sea.", 0, "b", "Merrow"),
        passage("It lies by the sea.", 0, "c", "Hallow"),
    )
    columns = np.zeros((len(units), 2))
    columns[0, 0] = 1.0
    without = a_classifier().probabilities(columns, None)
    linked = a_classifier().probabilities(columns, Links.of(units))
    assert without[2] == without[3]
    assert linked[2] > linked[3]


def test_a_file_that_is_no_classifier_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = json.loads(classifier.SHIPPED.read_text())
    path = tmp_path / "exit-mini.json"
    monkeypatch.setattr(classifier, "SHIPPED", path)
    for damage, match in (
        ({"features": ["cosine"]}, "a weight is needed for each"),
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"seed": "x"}, "seed"),
    ):
        path.write_text(json.dumps(value | damage))
        shipped.cache_clear()
        with pytest.raises(ModelError, match=rf"exit-mini\.json is not a classifier of this version: .*{match}"):
            shipped()
    shipped.cache_clear()


@pytest.mark.parametrize("setting", [{"threshold": 1.5}, {"neighbours": -1}, {"keep_ratio": 0.0}, {"top_k": 0}])
def test_bad_settings(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        ExitMini(**setting)  # type: ignore[arg-type]


def test_the_temperature_is_the_one_that_was_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a high one the votes say little, and the score is near to what the words alone give."""
    question = "When does the ferry leave in winter?"
    scores = {}
    for temperature in (0.05, 5.0):
        fitted = replace(a_classifier(), temperature=temperature)
        monkeypatch.setattr("compressors.exit_mini.shipped", lambda fitted=fitted: fitted)
        with scripted_runtime() as runtime:
            units = Units.of([passage(FERRY)], runtime)
            scores[temperature] = ExitMini(links=False).scores(question, units, runtime)
            columns = features(question, units, nearest_tokens(question, units, runtime.embedder), temperature)
        assert scores[temperature] == pytest.approx(fitted.probabilities(columns, None))
    assert scores[0.05] != pytest.approx(scores[5.0])


def test_another_embedder_is_noted() -> None:
    with scripted_runtime() as runtime:
        ExitMini().compress(Question("When?"), [passage(FERRY)], runtime)
        assert any("fitted with another embedder than word counts" in note for note in runtime.take_notes())


def test_the_classifier_that_ships_knows_its_embedder() -> None:
    fitted = shipped()
    assert fitted.embedder == open_embedder("minilm").fingerprint
    assert classifier.SHIPPED.stat().st_size < 10_000_000
    for name in ("hotpotqa", "2wiki", "wikiqa"):
        assert fitted.metrics[name]["n"] >= 20
        assert fitted.metrics[name]["auc_linked"] > fitted.metrics[name]["auc_likeness"]


def test_the_second_hop_is_found_on_real_vectors() -> None:
    """No word of the question stands in the sentence that answers it, but the first hop names its document."""
    given = [
        passage("Merrow Light is a lighthouse in the north. Its first keeper was Osric Blane.", 0, "a", "Merrow Light"),
        passage("Hallow Light is a lighthouse in the south. Its keepers came from many towns.", 0, "b", "Hallow Light"),
        passage("Osric Blane (1790-1852) was a sailor. He was born in Tarn.", 0, "c", "Osric Blane"),
        passage("Marit Holm was a baker. She was born in Lund.", 0, "d", "Marit Holm"),
    ]
    question = Question("In which town was the first keeper of Merrow Light born?")
    with scripted_runtime() as runtime:
        runtime.use(embedder=open_embedder("minilm"))
        kept = ExitMini(keep_ratio=None, top_k=3).compress(question, given, runtime)
        runtime.take_notes()
        alone = ExitMini(keep_ratio=None, top_k=3, links=False).compress(question, given, runtime)
        assert runtime.take_notes() == ()
    assert "born in Tarn" in " ".join(result.text for result in kept)
    assert "first keeper was Osric" in " ".join(result.text for result in kept)
    assert kept != alone
