"""EXIT on real weights: the paper's prompt, P(Yes), the calibration, the adapter."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from compressors.calibration.store import Evidence, ExitCalibration, store
from compressors.exit import Exit, prompt
from compressors.selection import Units
from pipeline.default import default_pipeline
from pipeline.errors import ModelError
from pipeline.gguf.catalogue import resolve
from pipeline.models.engine import Engine
from pipeline.models.identity import model_key
from pipeline.pipeline import Pipeline
from pipeline.types import Question, Text
from tests.compressors.workbench import passage, scripted_runtime

QUESTION = Question("When does the ferry leave in winter?")
FERRY = "The ferry sails from the quay. In winter it leaves at nine. Dogs pay too."


def engine_of(runtime: Pipeline) -> Engine:
    assert isinstance(runtime.reader, Engine)
    return runtime.reader


def units_of(runtime: Pipeline, text: str = FERRY, title: str = "Ferry") -> Units:
    return Units.of([passage(text, title=title)], runtime)


def test_the_prompt_is_the_papers_word_for_word(real: Pipeline) -> None:
    prefix, after = prompt("Q?", "Title\nOne. Two.", real.reader)
    rendered = "".join(span.text for span in prefix if isinstance(span, Text))
    assert rendered.endswith("Query:\nQ?\nFull context:\nTitle\nOne. Two.\nSentence:\n")
    assert "<|im_start|>user\n" in rendered
    assert "".join(span.text for span in after if isinstance(span, Text)) == "<|im_end|>\n<|im_start|>assistant\n"


def test_a_forked_prefix_says_what_the_whole_prompt_says(real: Pipeline) -> None:
    engine = engine_of(real)
    scores = Exit().p_of(QUESTION.text, units_of(real), engine)
    prefix, after = prompt(QUESTION.text, f"Ferry\n{FERRY}", engine)
    ask = '\nIs this sentence useful in answering the query? Answer only "Yes" or "No".'
    for n, sentence in enumerate(["The ferry sails from the quay.", "In winter it leaves at nine.", "Dogs pay too."]):
        logs = engine.next_logprobs((*prefix, Text(sentence + ask), *after))
        yes, no = (int(engine.weights.tokenize(word)[0]) for word in ("Yes", "No"))
        expected = 1 / (1 + np.exp(-(logs[yes] - logs[no])))
        assert scores[n] == pytest.approx(expected, abs=0.05)  # quantised weights round: see tests/models/conftest.py


def calibrated(engine: Engine, threshold: float) -> ExitCalibration:
    evidence = Evidence(("mine",), 30, 300, 40, 0, "2026-01-01", 0.95, 0.6, 0.7)
    return ExitCalibration(engine.name, model_key(engine), threshold, 0.95, evidence)


def test_without_a_calibration_it_says_so_once(real: Pipeline) -> None:
    real.take_notes()
    real._noted.clear()
    Exit().compress(QUESTION, [passage(FERRY)], real)
    (note,) = real.take_notes()
    assert note.startswith("P(Yes) >= 0.5, the paper's threshold for its own classifier: SmolLM2-135M-Instruct")
    Exit().compress(QUESTION, [passage(FERRY)], real)
    assert real.take_notes() == ()


def test_a_calibration_gives_the_threshold_and_its_evidence(real: Pipeline) -> None:
    engine = engine_of(real)
    scores = Exit().p_of(QUESTION.text, units_of(real), engine)
    least = float(np.sort(scores)[-2] + np.sort(scores)[-1]) / 2
    store(calibrated(engine, least))
    real.take_notes()
    kept = Exit().compress(QUESTION, [passage(FERRY, title="Ferry")], real)
    best = units_of(real).parts[int(scores.argmax())]
    assert [result.text for result in kept] == [best.text]
    assert kept[0].score == pytest.approx(float(scores.max()))
    assert real.take_notes() == (f"P(Yes) >= {least:.4g}, fitted on 30 questions: recall 0.95 at 0.60 of the tokens",)
    assert len(Exit(threshold=0.0).compress(QUESTION, [passage(FERRY)], real)) == 1


def test_a_long_passage_is_read_in_windows_and_a_giant_sentence_in_pieces() -> None:
    with scripted_runtime() as runtime:
        text = "One boat sails. " * 60 + "word " * 300 + "in winter the ferry leaves at nine."
        units = Units.of([passage(text, title="Ferry")], runtime)
        pieces = list(Exit(window=128).windows(QUESTION.text, units, runtime.reader))
        assert [n for owners, _, _ in pieces for n in owners if n < 60] == list(range(60))
        assert all(runtime.reader.count_text(context) <= 90 for _, context, _ in pieces)
        assert all(context.startswith("Ferry\n") for owners, context, _ in pieces if owners[0] < 60)
        scores = Exit(window=128).p_of(QUESTION.text, units, runtime.reader)
        assert int(scores.argmax()) == 60
        with pytest.raises(ModelError, match=r"the question takes .* tokens, which leaves no room for a context"):
            Exit(window=128).p_of("why " * 100, units, runtime.reader)


def adapter(path: Path, engine: Engine, scale: float) -> Path:
    """A LoRA adapter of rank 2 on the queries of the first layer, with random numbers of this scale."""
    rng = np.random.default_rng(0)
    width = engine.weights.n_embd
    writer = gguf.GGUFWriter(path, engine.weights.architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 2.0)
    for layer in range(0, engine.weights.n_layer, 3):
        name = f"blk.{layer}.attn_q.weight"
        writer.add_tensor(f"{name}.lora_a", (scale * rng.normal(size=(2, width))).astype(np.float32))
        writer.add_tensor(f"{name}.lora_b", (scale * rng.normal(size=(width, 2))).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_an_adapter_judges_and_has_a_calibration_of_its_own(real: Pipeline, tmp_path: Path) -> None:
    engine = engine_of(real)
    file = adapter(tmp_path / "exit.gguf", engine, 0.4)
    plain = Exit().p_of(QUESTION.text, units_of(real), engine)
    with_adapter = Exit(model="smollm2-135m", lora=str(file), window=512)
    with Pipeline(default_pipeline(), Path("nowhere")) as runtime:
        judge = with_adapter.classifier(runtime)
        assert judge is with_adapter.classifier(runtime)
        judged = with_adapter.p_of(QUESTION.text, units_of(real), judge)
        assert np.abs(judged - plain).max() > 0.02
        assert model_key(judge) not in (model_key(engine), model_key(real.reader))
        store(calibrated(engine, 0.9))
        with_adapter.compress(QUESTION, [passage(FERRY)], runtime)
        assert "is not calibrated" in runtime.take_notes()[-1]
    with pytest.raises(ModelError, match="the model is closed"):
        with_adapter.p_of(QUESTION.text, units_of(real), judge)


def test_settings_that_make_no_sense() -> None:
    for settings, message in (
        ({"threshold": 1.5}, r"threshold must be in \[0, 1\] or auto, was: 1.5"),
        ({"lora": "a.gguf"}, "lora needs 'model'"),
        ({"window": 50}, "window must be at least 128, was: 50"),
        ({"keep_ratio": 0.0}, "keep_ratio must be in"),
    ):
        with pytest.raises(ValueError, match=message):
            Exit(**settings)


def test_the_key_is_that_of_the_file(real: Pipeline) -> None:
    import hashlib

    assert model_key(real.reader) == hashlib.sha256(resolve("smollm2-135m").read_bytes()).hexdigest()
