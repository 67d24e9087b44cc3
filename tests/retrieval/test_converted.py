"""MiniLM through llama.cpp gives what sentence-transformers gives, from a file that is converted once."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from compressors.classifier import shipped
from pipeline.gguf.header import inspect
from pipeline.models import bert
from pipeline.retrieval.converted import ConvertedEmbedder
from pipeline.retrieval.embedder import SentenceEmbedder, minilm_folder, open_embedder

ROOT = Path(__file__).parent.parent.parent
WORDS = [word for word in (ROOT / "docs" / "experiments.md").read_text("utf-8").split() if len(word) < 20]
TEXTS = [
    *(" ".join(WORDS[start : start + n]) for n in (3, 11, 30, 90) for start in range(0, 1800, 180)),
    "",
    "a",
    "İstanbul kışın soğuk olur: vapur dokuzda kalkar.",
    "日本語のテキスト と 한국어",
    "😀😀 naïve café — ﬁancé",
    "\x00\x01\t\u200b",
    "the " * 250,
]


@pytest.fixture(scope="module")
def converted() -> ConvertedEmbedder:
    embedder = open_embedder("minilm")
    assert isinstance(embedder, ConvertedEmbedder)
    return embedder


@pytest.fixture(scope="module")
def torch_model() -> SentenceEmbedder:
    return SentenceEmbedder("torch", minilm_folder())


def test_vectors_token_vectors_and_offsets_are_those_of_sentence_transformers(
    converted: ConvertedEmbedder, torch_model: SentenceEmbedder
) -> None:
    vectors, states = converted.token_vectors(TEXTS)
    expected, expected_states = torch_model.token_vectors(TEXTS)
    assert np.abs(vectors - expected).max() < 1e-3
    assert [state.shape for state in states] == [state.shape for state in expected_states]
    assert max(np.abs(a - b).max() for a, b in zip(states, expected_states, strict=True) if len(a)) < 1e-3
    assert converted.token_spans(TEXTS) == torch_model.token_spans(TEXTS)
    assert converted.count_tokens(TEXTS) == torch_model.count_tokens(TEXTS)


def test_indexes_and_fitted_files_of_either_serve_both(
    converted: ConvertedEmbedder, torch_model: SentenceEmbedder
) -> None:
    from pipeline.answers.classifier import shipped as abstaining

    assert converted.fingerprint == torch_model.fingerprint == shipped().embedder == abstaining().embedder
    assert (converted.dimension, converted.max_tokens) == (torch_model.dimension, torch_model.max_tokens) == (384, 256)


def test_the_errors_of_llama_cpps_gelu_are_small_and_one_sided() -> None:
    """So their mean, taken out of the bias behind each unit, is worth having."""
    from scipy.special import erf

    x = np.linspace(-6, 6, 20001).astype(np.float32)
    error = bert.llama_gelu(x) - x * 0.5 * (1 + erf(x / np.sqrt(2)))
    assert 4e-4 < np.abs(error).max() < 3e-3

    shape = bert.shape_of(minilm_folder())
    assert shape is not None
    tensors = bert._read(minilm_folder(), shape)
    ids = bert.samples(list(range(2000, 2400)), 101, 102)[:4]
    errors = bert.gelu_errors(tensors, shape, ids)
    assert [layer.shape for layer in errors] == [(1536,)] * 6
    assert max(np.abs(layer).max() for layer in errors) < 3e-3
    means = np.concatenate(errors)
    assert abs(means.mean()) > 0.3 * np.abs(means).mean()


def test_the_exact_model_of_the_conversion_is_bert(torch_model: SentenceEmbedder) -> None:
    """Its last states are those of transformers: so the errors are measured where the model really is."""
    shape = bert.shape_of(minilm_folder())
    assert shape is not None
    tensors = bert._read(minilm_folder(), shape)
    ids = bert.samples(list(range(2000, 2100)), 101, 102)[:2]
    features = torch_model._forward([row.tolist() for row in ids])
    assert np.abs(bert.exact_states(tensors, shape, ids) - features["token_embeddings"].numpy()).max() < 1e-4


def test_it_is_converted_once_and_again_only_where_the_file_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path))
    first = open_embedder("minilm").embed(["grey herons"])
    (kept,) = (tmp_path / "embedders").iterdir()
    before = kept.stat()
    assert inspect(kept).architecture == "bert"
    assert np.array_equal(open_embedder("minilm").embed(["grey herons"]), first)
    assert kept.stat() == before
    with kept.open("r+b") as file:
        file.truncate(1000)
    assert np.array_equal(open_embedder("minilm").embed(["grey herons"]), first)
    assert inspect(kept).file_bytes == before.st_size


def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    embedder = open_embedder("minilm")
    assert embedder.embed(["grey herons"]).shape == (1, 384)
    (folder,) = tmp_path.glob("longthread-*")
    del embedder
    assert not folder.exists()


def test_another_model_is_not_converted(tmp_path: Path) -> None:
    for path in minilm_folder().rglob("*.json"):
        target = tmp_path / path.relative_to(minilm_folder())
        target.parent.mkdir(exist_ok=True)
        target.write_text(path.read_text().replace('"gelu"', '"relu"'))
    (tmp_path / "model.safetensors").touch()
    assert ConvertedEmbedder.of("other", tmp_path) is None


def test_ask_imports_neither_torch_nor_transformers(tmp_path: Path) -> None:
    """The whole command, with the default pipeline, on the demo's documents: index, search, and an answer."""
    code = (
        "import sys\nfrom cli.main import app\n"
        "try:\n    app(['ask', 'Who repaired the clock in 1987?', 'configs/demo/documents'])\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "assert 'llama_cpp' in sys.modules\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "LONGTHREAD_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1987" in done.stdout
