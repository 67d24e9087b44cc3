"""The probe on real weights: cells, windows, budgets, and that the attention finds the answer."""

from __future__ import annotations

import numpy as np
import pytest

from compressors.calibration.store import Head, ProbeCalibration, stored
from compressors.features import overlap
from compressors.links import Links
from compressors.probe import Probe, _prompt, _windows, log_mass
from compressors.selection import Units
from compressors.votes import nearest_tokens, votes
from pipeline.errors import ModelError
from pipeline.models.engine import Engine
from pipeline.pipeline import Pipeline
from pipeline.text.words import content_words
from pipeline.types import Question, Text
from tests.compressors.workbench import passage, scripted_runtime

HEADS: tuple[Head, ...] = (
    (17, 4, "question"), (14, 3, "question"), (17, 4, "answer"), (17, 3, "question"), (18, 6, "answer"),
)  # fmt: skip
QUESTION = "When was the lighthouse first used?"
ANSWER = "It was lit in 1874."
PAPER = [
    passage(
        "The lighthouse stands on a rock. Its lamp burns oil. The keeper is called Osric Blane. It was lit in 1874. "
        "The stairs have 212 steps.",
        0,
        "a.txt",
        "The lighthouse",
    ),
    passage("The harbour has two cranes. The older one was built in 1902. A dog may not enter the sheds.", 0, "b.txt"),
]


def silent(what: str, done: int, total: int) -> None:
    """No progress display."""


def units_of(runtime: Pipeline) -> Units:
    return Units.of(PAPER, runtime)


def test_each_unit_knows_its_cells(real: Pipeline) -> None:
    engine = real.reader
    assert isinstance(engine, Engine)
    units = units_of(real)
    (window,) = _windows(QUESTION, units, engine, 2048)
    prefix, query, owners, question_cells = _prompt(QUESTION, units, window, engine)

    def text(prompt: tuple[Text, ...], low: int, high: int) -> str:
        keys = engine.cells(prompt).keys[low:high]
        return b"".join(engine.weights.piece(int(key)) for key in keys).decode()

    assert [text(prefix, low, high).strip() for _, low, high in owners] == [part.text for part in units.parts]  # type: ignore[arg-type]
    assert text(query, *question_cells) == f" {QUESTION}"  # type: ignore[arg-type]
    rendered = "".join(span.text for span in (*prefix, *query) if isinstance(span, Text))
    assert "The lighthouse\nThe lighthouse stands on a rock. Its lamp" in rendered
    assert f"A dog may not enter the sheds.\n\nQuestion: {QUESTION}<|im_end|>" in rendered


def test_the_attention_finds_what_words_do_not(real: Pipeline) -> None:
    """Five questions that share no word with their answer; of eight sentences, chance finds less than one of the five.

    By attention alone SmolLM2 finds three: its heads rest on the first sentence when they are not sure.
    """
    attending = {
        QUESTION: ANSWER,
        "What fuel does the light use?": "Its lamp burns oil.",
        "What is the name of the man who works there?": "The keeper is called Osric Blane.",
        "May I bring my pet?": "A dog may not enter the sheds.",
        "Which animal is forbidden?": "A dog may not enter the sheds.",
    }
    units = units_of(real)
    n_found = 0
    for question, answer in attending.items():
        assert not set(content_words(question)) & set(content_words(answer))
        scores = Probe(model=None, similarity=False).scores(question, units, real)
        n_found += units.parts[int(scores.argmax())].text == answer
    assert n_found >= 3


def test_the_measure_is_the_attention_summed_over_the_sentence(real: Pipeline) -> None:
    units = units_of(real)
    (window,) = _windows(QUESTION, units, real.reader, 2048)
    prefix, query, owners, (low, high) = _prompt(QUESTION, units, window, real.reader)
    assert isinstance(real.reader, Engine)
    mass = real.reader.attend(prefix, query, [(layer, head) for layer, head, _ in HEADS]).mass
    tokens = {"question": slice(low, high), "answer": slice(high, None)}
    masses = log_mass(QUESTION, units, real.reader, HEADS, 2048, silent)
    for unit, start, end in owners:
        expected = [
            np.log(mass[h, tokens[position], start:end].sum(axis=1).mean() + 1e-6)
            for h, (_, _, position) in enumerate(HEADS)
        ]
        assert masses[unit] == pytest.approx(expected, abs=1e-4)


def test_without_heads_it_gives_all_by_the_question_and_then_all_by_the_answer(real: Pipeline) -> None:
    units = units_of(real)
    named = log_mass(QUESTION, units, real.reader, HEADS, 2048, silent)
    whole = log_mass(QUESTION, units, real.reader, None, 2048, silent)
    assert whole.shape == (len(units), 2 * 30 * 9)
    columns = [(30 * 9 if position == "answer" else 0) + 9 * layer + head for layer, head, position in HEADS]
    assert whole[:, columns] == pytest.approx(named, abs=1e-4)


def test_windows_are_about_equal_and_the_answer_is_found_in_any(real: Pipeline) -> None:
    filler = [
        passage(f"Crate {n} holds rope. Crate {n} is dry. Nobody opened crate {n} today.", 0, f"c{n}")
        for n in range(12)
    ]
    for start in (0, 6, 12):
        units = Units.of([*filler[:start], *PAPER, *filler[start:]], real)
        pieces = _windows(QUESTION, units, real.reader, 256)
        sizes = [sum(real.reader.count_text(text) for _, text in window) for window in pieces]
        assert len(pieces) >= 2
        assert max(sizes) < 1.35 * min(sizes)
        scores = Probe(model=None, window=256).scores(QUESTION, units, real)
        assert units.parts[int(scores.argmax())].text == ANSWER


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("similarity", [True, False])
def test_a_score_is_what_its_features_weigh(similarity: bool, links: bool, runtime: Pipeline) -> None:
    """Log attention, the logarithm of the votes, and the words in common, each standardised over all sentences."""
    shipped = stored(ProbeCalibration, runtime.reader)
    assert shipped is not None
    units = units_of(runtime)
    question = "When was the older lighthouse crane built?"
    attention = log_mass(question, units, runtime.reader, shipped.heads, 2048, silent)
    shares = votes(nearest_tokens(question, units, runtime.embedder), shipped.temperature)
    embedder = np.column_stack([np.log(shares * len(units) + 0.1), overlap(question, units)])
    columns = np.hstack([attention, embedder]) if similarity else attention
    weighing = shipped.with_similarity if similarity else shipped.alone
    logits = (columns - columns.mean(axis=0)) / columns.std(axis=0) @ np.array(weighing.weights) + weighing.bias
    if links:
        named = Links.of(units).strengths(logits)
        named = (named - named.mean(axis=0)) / np.where(named.std(axis=0), named.std(axis=0), 1)
        logits = np.column_stack([logits, named]) @ np.array(shipped.links.weights) + shipped.links.bias
    scores = Probe(model=None, similarity=similarity, links=links).scores(question, units, runtime)
    assert scores == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-5)
    assert len(set(scores.round(6))) > 3


@pytest.mark.parametrize("similarity", [True, False])
def test_another_embedder_than_that_of_the_calibration_is_noted(similarity: bool, runtime: Pipeline) -> None:
    runtime.take_notes()
    Probe(model=None, similarity=similarity).scores("When?", units_of(runtime), runtime)
    noted = [note for note in runtime.take_notes() if "calibrated with another embedder than" in note]
    assert len(noted) == similarity  # the embedder here counts words


def test_shipped_heads_are_those_of_the_shipped_file(real: Pipeline) -> None:
    shipped = stored(ProbeCalibration, real.reader)
    assert shipped is not None
    assert shipped.evidence.n_questions >= 100
    assert max(layer for layer, _, _ in shipped.heads) < 24, "the upper layers need not run"


def test_it_compresses_with_the_shipped_heads(real: Pipeline) -> None:
    kept = Probe(model=None, top_k=1, keep_ratio=None).compress(Question(QUESTION), PAPER, real)
    assert [result.text for result in kept] == [ANSWER]
    both = Probe(model=None, keep_ratio=0.5).compress(Question(QUESTION), PAPER, real)
    assert ANSWER in " ".join(result.text for result in both)
    assert all(0 <= result.score <= 1 for result in both)


def test_a_model_beside_the_reader_is_opened_once_and_closed_with_the_pipeline() -> None:
    with scripted_runtime() as runtime:
        Probe().compress(Question(QUESTION), PAPER, runtime)
        (beside,) = runtime.resources.models.values()
        Probe(keep_ratio=0.9).compress(Question(QUESTION), PAPER, runtime)
        assert list(runtime.resources.models.values()) == [beside]
        assert runtime.reader.name == "scripted"
    assert isinstance(beside, Engine)
    assert beside.is_closed


def test_a_model_without_heads_is_told_the_command(runtime: Pipeline) -> None:
    object.__setattr__(runtime.reader, "__class__", type("Other", (type(runtime.reader),), {"name": "other.gguf"}))
    with pytest.raises(
        ModelError, match=r"nobody has looked yet which heads of other\.gguf .* 'longthread calibrate MODEL"
    ):
        Probe(model=None).compress(Question(QUESTION), PAPER, runtime)


def test_settings_that_make_no_sense(runtime: Pipeline) -> None:
    for settings, message in (
        ({"threshold": -1.0}, r"threshold must be in \[0, 1\], was: -1"),
        ({"window": 5}, "window must be at least 128, was: 5"),
        ({"neighbours": -1}, "neighbours must be at least 0, was: -1"),
        ({"mass": 0.0}, "mass must be in"),
    ):
        with pytest.raises(ValueError, match=message):
            Probe(**settings)
    with pytest.raises(ModelError, match=r"the question takes .* tokens, which leaves no room for the passages"):
        Probe(model=None, window=128).compress(Question("why " * 200), PAPER, runtime)
