"""The reader's own attention chooses among kept cells: which cells are whose, what is read, and what is found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compressors.attention import (
    LAYOUT,
    Attention,
    Part,
    _cells_of_units,
    _groups,
    _owned,
    calibration,
    log_mass,
    n_of_share,
)
from compressors.calibration import attention_heads, probe_heads
from compressors.calibration.labelled import Labelled
from compressors.calibration.store import AttentionCalibration, Evidence, Head, Weighing, store, stored
from compressors.selection import Units
from pipeline.answers.candidates import Candidates
from pipeline.answers.cited import Cited
from pipeline.answers.plain import Plain
from pipeline.answers.writing import ADDED, Writing
from pipeline.contracts import Model
from pipeline.default import default_pipeline
from pipeline.errors import ModelError
from pipeline.models.engine import Engine
from pipeline.models.identity import model_key
from pipeline.models.scripted import ScriptedModel
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.stages import run_stage, stage_ledger
from pipeline.types import Document, Excerpt, Passage, Question, Sampling, State, Text
from tests.compressors.workbench import Chooser, WordCounts, passage, scripted_runtime
from tests.models.random_file import random_model

QUESTION = "When was the lighthouse first used?"
ANSWER = "It was lit in 1874."
PAPER = [
    passage(
        "The lighthouse stands on a rock. Its lamp burns oil.\nThe keeper is called Osric Blane. It was lit in 1874. "
        "The stairs have 212 steps.",
        40,
        "a.txt",
        "The lighthouse",
    ),
    passage("  The harbour has two cranes. The older one was built in 1902. A dog may not enter.\n", 0, "b.txt"),
]
HEADS: tuple[Head, ...] = ((2, 3, "question"), (0, 1, "question"), (1, 2, "answer"))
"""Some heads of the random model."""
QUICK = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Keeping(ScriptedModel):
    """A scripted model that could put cells together: what excerpts hold is read as text."""

    why_not_compose = ""


def silent(what: str, done: int, total: int) -> None:
    """No progress display."""


def units_of(passages: list[Passage]) -> Units:
    with scripted_runtime() as runtime:
        return Units.of(passages, runtime)


def texts_of_units(shown: Candidates, group: list[Part], units: Units, words: list[str]) -> dict[int, str]:
    """For each unit the text of the cells that count as its own; `words` are the prefix's cells as text."""
    cells, owners = _cells_of_units(shown, group, _owned(units), units)
    found: dict[int, str] = {}
    for cell, owner in zip(cells.tolist(), owners.tolist(), strict=True):
        found[owner] = found.get(owner, "") + words[cell]
    return {owner: " ".join(text.split()) for owner, text in found.items()}


@pytest.mark.parametrize("reader", [ScriptedModel(4096), Keeping(4096)], ids=["read", "kept"])
def test_each_sentence_has_its_own_cells(reader: ScriptedModel) -> None:
    units = units_of(PAPER)
    group = [Part(n, p) for n, p in enumerate(PAPER)]
    shown = Cited().candidates(QUESTION, PAPER, reader)
    assert any(isinstance(span, Excerpt) for span in shown.prefix) == isinstance(reader, Keeping)
    texts = texts_of_units(shown, group, units, reader._words(shown.prefix))
    assert texts == {n: " ".join(part.text.split()) for n, part in enumerate(units.parts)}
    low, high = shown.question
    assert "".join(reader._words(shown.query)[low:high]) == f"\nQuestion: {QUESTION}"


SENTENCES = st.lists(
    st.text(alphabet="abc é-", min_size=1, max_size=12).map(lambda t: f"X{t}y."), min_size=1, max_size=5
)


@QUICK
@given(st.lists(SENTENCES, min_size=1, max_size=4), st.booleans())
def test_no_cell_belongs_to_two_sentences_and_none_is_lost(texts: list[list[str]], is_kept: bool) -> None:
    passages = [passage(" ".join(sentences), 7, f"{n}.txt") for n, sentences in enumerate(texts)]
    units = units_of(passages)
    reader = Keeping(8192) if is_kept else ScriptedModel(8192)
    group = [Part(n, p) for n, p in enumerate(passages)]
    shown = Cited().candidates(QUESTION, passages, reader)
    cells, _ = _cells_of_units(shown, group, _owned(units), units)
    assert len(set(cells.tolist())) == len(cells)
    found = texts_of_units(shown, group, units, reader._words(shown.prefix))
    assert found == {n: " ".join(part.text.split()) for n, part in enumerate(units.parts)}


def test_a_passage_longer_than_the_window_is_shown_in_parts() -> None:
    long = passage(" ".join(f"Crate {n} holds rope." for n in range(200)), 3, "long.txt", "Crates")
    given_ = [PAPER[0], long, PAPER[1]]
    units = units_of(given_)
    reader = ScriptedModel(4096)
    groups = [group for group, _ in _groups(QUESTION, units, reader, Cited(), 512)]
    assert len(groups) > 1
    assert [part.number for group in groups for part in group] == sorted(part.number for g in groups for part in g)
    shown = "".join(part.passage.text for group in groups for part in group if part.number == 1)
    assert shown == long.text
    for group in groups:
        candidates = Cited().candidates(QUESTION, [part.passage for part in group], reader)
        assert len(candidates.owners) + reader.count(candidates.query) <= 512
    with pytest.raises(ModelError, match="raise 'window' or n_ctx, or ask shorter"):
        _groups("Why? " * 240, units, reader, Cited(), 256)


@QUICK
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1)), min_size=1, max_size=12), st.floats(0.01, 1))
def test_a_share_is_held_by_the_best_and_by_no_fewer(rows: list[tuple[float, float]], share: float) -> None:
    scores, attention = np.array(rows).T
    n = n_of_share(scores, attention, share)
    best_first = attention[np.argsort(-scores, kind="stable")]
    assert best_first[:n].sum() >= share * attention.sum() - 1e-6
    assert n == 1 or best_first[: n - 1].sum() < share * attention.sum()


def test_a_share_keeps_few_sentences_where_the_attention_rests_on_few() -> None:
    """The scripted model's words attend to equal words: all of the attention is on the sentence with the ferry."""
    given_ = [passage("Boats rot. The ferry sails in winter. Dogs pay. Nine men row. It rains. Cats sleep.")]
    with scripted_runtime() as runtime:
        chooser = Attention(keep_ratio=None, share=0.9, similarity=False)
        kept = chooser.compress(Question("When does the ferry sail?"), given_, runtime)
    assert [p.text for p in kept] == ["The ferry sails in winter."]


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"share": 0.0}, r"share must be in \(0, 1\], was: 0.0"),
        ({"window": 100}, "window must be at least 256, was: 100"),
        ({"threshold": 2.0}, r"threshold must be in \[0, 1\], was: 2.0"),
        ({"neighbours": -1}, "neighbours must be at least 0, was: -1"),
    ],
)
def test_settings_out_of_range(settings_: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Attention(**settings_)  # type: ignore[arg-type]


def test_a_reader_that_keeps_no_cells_reads_and_says_so() -> None:
    with scripted_runtime() as runtime:
        Attention().compress(Question(QUESTION), PAPER, runtime)
        assert any(
            line.startswith("compress.attention reads all passages for each question: ")
            for line in runtime.take_notes()
        )


def test_another_assembler_is_noted() -> None:
    config = replace(
        default_pipeline(), stages=(make("retrieve.given"), make("assemble.plain"), make("generate.scripted"))
    )
    with Pipeline(config, Path("nowhere")) as runtime:
        assert isinstance(runtime.assembler, Plain)
        assert Attention(top_k=1, similarity=False).compress(Question(QUESTION), PAPER, runtime)
        assert any("lays passages out as assemble.cited does" in line for line in runtime.take_notes())


# ------------------------------------------------------------------- llama.cpp, with a tiny model of random weights
@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline with `reuse: sentences` and a calibration that names some heads."""
    folder = tmp_path_factory.mktemp("cells")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LONGTHREAD_CACHE", str(folder))
        path = random_model(folder)
        stages = (
            make("retrieve.given"),
            make("compress.attention", {"top_k": 1, "keep_ratio": None, "similarity": False}),
            make("assemble.cited", {"reuse": "sentences", "layout": "brief"}),
            make("generate.llama", {"model": str(path), "max_tokens": 8, "n_ctx": 2048, "threads": 1}),
        )
        with Pipeline(replace(default_pipeline(), stages=stages), Path("nowhere")) as pipeline:
            engine = pipeline.reader
            assert isinstance(engine, Engine)
            assert not engine.why_not_compose
            assert engine.pieces.store.root == folder / "pieces"
            yield pipeline


@pytest.fixture
def calibrated(kept: Pipeline) -> Iterator[AttentionCalibration]:
    """A calibration of the random model: nothing was measured."""
    evidence = Evidence((), 0, 0, 0, 0, "2026-11-30", 0.0, 0.0, 0.0)
    weighing = Weighing((1.0, 1.0, 1.0), 0.0)
    more = Weighing((1.0, 1.0, 1.0, 0.5, 0.5), 0.0)
    key = model_key(kept.reader)
    calibration = AttentionCalibration(
        kept.reader.name, key, LAYOUT, HEADS, 0.06, weighing, more, Weighing((1.0, 0.0, 0.0), 0.0), evidence
    )
    with pytest.MonkeyPatch.context() as patch:
        engine = kept.reader
        assert isinstance(engine, Engine)
        patch.setenv("LONGTHREAD_CACHE", str(engine.pieces.store.root.parent))
        path = store(calibration)
        yield calibration
        path.unlink()


def test_cells_of_a_real_vocabulary(kept: Pipeline) -> None:
    engine = kept.reader
    assert isinstance(engine, Engine)
    units = units_of(PAPER)
    shown = Cited(layout="brief").candidates(QUESTION, PAPER, engine)
    spans = [span for span in shown.prefix if isinstance(span, Excerpt)]
    assert [span.text for span in spans] == [
        "<passage 1>\n",
        "The lighthouse: " + PAPER[0].text.replace("\n", " ") + "\n</passage>\n",
        "<passage 2>\n",
        f"{PAPER[1].text.strip()}\n</passage>\n",
    ]
    words: list[str] = []
    for span in shown.prefix:
        if isinstance(span, Excerpt):
            tokens = [token for text in span.texts if text != "<passage>\n" for token in engine.tokenize(text).tolist()]
            words += [engine.weights.piece(token).decode() for token in tokens]
        else:
            words += ["?"] * engine.count((span,))
    assert len(words) == len(shown.owners) == engine.count(shown.prefix)
    texts = texts_of_units(shown, [Part(n, p) for n, p in enumerate(PAPER)], units, words)
    assert texts == {n: " ".join(part.text.split()) for n, part in enumerate(units.parts)}


def test_the_measure_is_the_attention_summed_over_the_sentence(kept: Pipeline) -> None:
    engine, units, cited = kept.reader, units_of(PAPER), Cited(layout="brief")
    assert isinstance(engine, Engine)
    shown = cited.candidates(QUESTION, PAPER, engine)
    mass = engine.attend(shown.prefix, shown.query, [(layer, head) for layer, head, _ in HEADS]).mass
    cells, owners = _cells_of_units(shown, [Part(n, p) for n, p in enumerate(PAPER)], _owned(units), units)
    low, high = shown.question
    tokens = {"question": slice(low, high), "answer": slice(high, None)}
    found = log_mass(QUESTION, units, engine, cited, HEADS, 2048, silent)
    for unit in range(len(units)):
        expected = [
            np.log(mass[h, tokens[where]][:, cells[owners == unit]].sum(axis=1).mean() + 1e-6)
            for h, (_, _, where) in enumerate(HEADS)
        ]
        assert found[unit] == pytest.approx(expected, abs=1e-4)


def test_passages_are_read_once_and_the_answer_takes_the_same_cells(
    kept: Pipeline, calibrated: AttentionCalibration
) -> None:
    """The compressor reads the passages, the prompt of the answer takes stretches of them, and later questions read
    nothing but themselves: the choice, the placing, and another choice among the same passages.
    """
    engine = kept.reader
    assert isinstance(engine, Engine)
    state = State(Question(QUESTION), tuple(PAPER), ledger=stage_ledger(2048, 64, ""), found=tuple(PAPER))
    compress, assemble = kept.config.stages[1:3]
    run_stage(compress, state, kept, 64)
    n_read = engine.pieces.n_read
    assert n_read > 0
    for text in (QUESTION, "What animal may not enter?", "Who keeps the light?"):
        asked = replace(state, question=Question(text))
        asked = run_stage(compress, asked, kept, 64)
        assert len(asked.passages) == 1
        asked = run_stage(assemble, asked, kept, 64)
        cells = engine.cells(asked.prompt)
        assert cells.stretches
        assert sum(stretch.n for stretch in cells.stretches) < engine.count_text(PAPER[0].text)
        assert engine.pieces.n_read <= n_read + 2 * 8, "only tags with new numbers and spaces are read"


def test_what_is_written_looks_at_the_sentences_like_the_question(kept: Pipeline) -> None:
    engine, units, cited = kept.reader, units_of(PAPER), Cited(layout="brief")
    assert isinstance(engine, Engine)
    shown = cited.candidates(QUESTION, PAPER, engine)
    answer = Text("It was first used by Osric", "answer")
    n = engine.count((answer,))
    query = (*shown.query, answer)
    mass = engine.attend(shown.prefix, query, [(layer, head) for layer, head, _ in HEADS]).mass
    cells, owners = _cells_of_units(shown, [Part(n, p) for n, p in enumerate(PAPER)], _owned(units), units)
    (low, high), end = shown.question, engine.count(query)
    tokens = {"question": [*range(low, high), *range(end - n, end)], "answer": [*range(high, end)]}
    found = log_mass(QUESTION, units, engine, cited, HEADS, 2048, silent, answer.text)
    for unit in range(len(units)):
        expected = [
            np.log(mass[h, tokens[where]][:, cells[owners == unit]].sum(axis=1).mean() + 1e-6)
            for h, (_, _, where) in enumerate(HEADS)
        ]
        assert found[unit] == pytest.approx(expected, abs=1e-4)


def test_what_is_chosen_later_is_not_read_and_the_answer_goes_on(kept: Pipeline) -> None:
    engine = kept.reader
    assert isinstance(engine, Engine)
    documents = tuple(Document(p.source, " " * p.start + p.text, title=p.title) for p in PAPER)
    question = Question(QUESTION, documents=documents)
    choosing = kept.config.replacing("compress", Chooser(4, (2, 4)))
    with kept.changed(choosing, Path("nowhere")) as pipeline:
        state = State(question, ledger=pipeline.ledger)
        for stage in pipeline.config.stages[:-1]:
            state = run_stage(stage, state, pipeline, pipeline.reserve)
        n_read = engine.pieces.n_read
        writing = Writing(state, Sampling(max_tokens=12), pipeline)
        n_parts = 0
        while not writing.is_over:
            n_parts += 1
            writing.take(pipeline.config.generator.generate(writing.prompt, pipeline, writing.sampling))
            if not writing.is_over:
                writing.choose_again()
        assert writing.state.candidates
        assert n_parts == 3
        shown = ["The lighthouse stands on a rock.", "The keeper is called Osric Blane.", "The stairs have 212 steps."]
        assert [p.text for p in writing.state.shown] == shown
        assert engine.pieces.n_read <= n_read + 2 * 8, "only tags with new numbers and spaces are read"
        added = [note for note in writing.notes if note.endswith(ADDED)]
        assert len(added) == 2
        whole = writing.generation
        assert whole.prompt_tokens == writing.state.ledger.prompt_tokens == engine.count(writing.state.prompt)
        assert whole.answer_tokens == 12
        assert whole.restored_tokens + whole.reused_tokens < whole.prompt_tokens
        assert whole.is_composed


def test_attention_over_kept_cells_is_that_over_read_ones(kept: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """A passage right behind what it was read behind has the very cells of reading, laid out for another context."""
    engine = kept.reader
    assert isinstance(engine, Engine)
    shown = Cited(layout="focus-plain").candidates(QUESTION, PAPER[1:], engine)
    assert engine.cells(shown.prefix).is_exact
    heads = [(layer, head) for layer, head, _ in HEADS]
    placed = engine.attend(shown.prefix, shown.query, heads).mass
    monkeypatch.setattr(engine, "_verdict", replace(engine.verdict, why="as if"))
    assert not engine.cells(shown.prefix).stretches
    read = engine.attend(shown.prefix, shown.query, heads).mass
    assert placed == pytest.approx(read, abs=1e-3)


def test_the_answer_is_found_by_attention_alone(real: Pipeline) -> None:
    """SmolLM2, by the heads of its calibration."""
    questions = {
        QUESTION: ANSWER,
        "What fuel does the light use?": "Its lamp burns oil.",
        "What is the name of the man who works there?": "The keeper is called Osric Blane.",
        "May I bring my pet?": "A dog may not enter.",
        "How many steps are there?": "The stairs have 212 steps.",
    }
    units = units_of(PAPER)
    chooser = Attention(links=False, similarity=False)
    best = [units.parts[int(chooser.scores(text, units, real).argmax())].text for text in questions]
    n_right = sum(text == answer for text, answer in zip(best, questions.values(), strict=True))
    assert n_right >= 3, best


def test_an_answer_in_parts_is_the_answer_in_one(real: Pipeline) -> None:
    """SmolLM2 writes the same whether it is stopped after every four tokens or not, if nothing is added."""
    documents = tuple(Document(p.source, " " * p.start + p.text, title=p.title) for p in PAPER)
    stages = (make("retrieve.given"), Chooser(4), make("assemble.cited"), real.config.generator)
    pipeline = real.changed(replace(real.config, stages=stages), Path("nowhere"))
    question = Question(
        "Describe the lighthouse: what is it like, who works there, and how old is it?", documents=documents
    )
    state = State(question, ledger=pipeline.ledger)
    for stage in stages[:-1]:
        state = run_stage(stage, state, pipeline, pipeline.reserve)
    generator, sampling = pipeline.config.generator, Sampling(max_tokens=40)
    whole = generator.generate(state.prompt, pipeline, sampling)
    writing = Writing(state, sampling, pipeline)
    while not writing.is_over:
        writing.take(generator.generate(writing.prompt, pipeline, writing.sampling))
        writing.choose_again()
    assert whole.answer_tokens > 8
    assert (writing.generation.text, writing.generation.finish) == (whole.text, whole.finish)
    assert writing.generation.answer_tokens == whole.answer_tokens


def test_heads_are_calibrated_on_passages_that_are_put_together(
    kept: Pipeline, calibrated: AttentionCalibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_heads, "LEAST_QUESTIONS", 2)
    units = units_of(PAPER)
    questions = [
        Labelled(text, units, tuple(part.text == answer for part in units.parts), (answer,), f"file {n}")
        for n, (text, answer) in enumerate(((QUESTION, ANSWER), ("What does the lamp burn?", "Its lamp burns oil.")))
    ]
    fitted = attention_heads.fit(questions, kept.reader, WordCounts(), 2048, ["mine"], 0, silent)
    assert isinstance(fitted, AttentionCalibration)
    assert fitted.evidence.notes == ("3 layers of 4 heads", "passages were put together")
    assert {layer for layer, _, _ in fitted.heads} <= {0, 1, 2}
    assert stored(AttentionCalibration, kept.reader) == calibrated
    assert calibration(kept.reader, kept) == calibrated
    store(fitted)
    assert stored(AttentionCalibration, kept.reader) == fitted


def test_without_any_calibration_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from compressors import attention

    def nothing(kind: type, model: Model) -> None:
        return None

    monkeypatch.setattr(attention, "stored", nothing)
    with scripted_runtime() as runtime, pytest.raises(ModelError, match=r"calibrate MODEL --method attention"):
        Attention().compress(Question(QUESTION), PAPER, runtime)
