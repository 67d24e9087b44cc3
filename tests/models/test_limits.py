"""What an architecture cannot do is refused with a message, where llama.cpp would abort or answer nonsense."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.gguf.catalogue import resolve
from pipeline.gguf.header import inspect
from pipeline.gguf.purpose import purpose
from pipeline.models.engine import open_engine
from pipeline.models.limits import CACHE_TYPES
from pipeline.models.settings import EngineSettings
from pipeline.types import Sampling, Text
from tests.models.gguf_file import TENSORS, TINY, gguf, tiny_gpt2, tiny_llama, tiny_mamba, vocabulary


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))

    def _write(data: bytes) -> Path:
        path = tmp_path / "a.gguf"
        path.write_bytes(data)
        return path

    return _write


def answer(path: Path, prompt: str = "The garden has seven hives.", **settings: Any) -> str:
    with open_engine(EngineSettings(model=str(path), threads=1, **settings), path) as engine:
        return engine.generate([(Text(prompt),)], Sampling(max_tokens=8))[0].result().text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_ctx": 129}, r"n_ctx: 129 is more than the 128 positions that a\.gguf has learned .* lower n_ctx to 128$"),
        ({"rope_scaling": "linear", "rope_factor": 2.0}, r"^rope_scaling: a\.gguf \(gpt2\) looks its 128 positions up"),
        ({"rope_scaling": "yarn", "rope_factor": 2.0}, r"leave rope_scaling out$"),
        ({"rope_scaling": "ntk", "rope_factor": 2.0}, r"which cannot be stretched; leave rope_scaling out$"),
        ({"rope_freq_base": 50000.0}, r"^rope_freq_base: a\.gguf \(gpt2\) looks its 128 positions up"),
    ],
)
def test_learned_positions_end_where_the_table_ends(
    write: Callable[[bytes], Path], settings: dict[str, Any], message: str
) -> None:
    path = write(tiny_gpt2())
    with pytest.raises(ModelError, match=message):
        answer(path, **settings)


def test_learned_positions_work_up_to_their_end(write: Callable[[bytes], Path]) -> None:
    path = write(tiny_gpt2())
    with open_engine(EngineSettings(model=str(path), threads=1), path) as engine:
        assert engine.window == 128
        whole = engine.generate([(Text("x" * 120),)], Sampling(max_tokens=8))[0].result()
        assert (whole.prompt_tokens, whole.answer_tokens) == (120, 8)
        with pytest.raises(ModelError, match=r"the window of a\.gguf holds 128"):
            engine.generate([(Text("x" * 121),)], Sampling(max_tokens=8))


@pytest.mark.parametrize("scaling", ["linear", "yarn", "ntk"])
def test_a_recurrent_model_has_no_positions_to_scale(write: Callable[[bytes], Path], scaling: Any) -> None:
    path = write(tiny_mamba())
    with pytest.raises(ModelError, match=r"^rope_scaling: a\.gguf \(mamba\) has no rotary positions to scale; leave"):
        answer(path, rope_scaling=scaling, rope_factor=2.0)
    with pytest.raises(
        ModelError, match=r"trained on \(512\), and mamba has no rotary positions .* lower n_ctx to 512$"
    ):
        answer(path, n_ctx=1024)
    assert answer(path)


@pytest.mark.parametrize("flash", ["auto", "on", "off"])
def test_a_head_that_blocks_do_not_divide_is_refused(write: Callable[[bytes], Path], flash: Any) -> None:
    path = write(tiny_llama(n_embd=160))
    message = r"^kv_k: q8_0 stores blocks of 32 values, and a head of a\.gguf has 80, which 32 does not divide"
    with pytest.raises(ModelError, match=message):
        answer(path, kv_k="q8_0", flash_attention=flash)
    assert answer(path, flash_attention=flash)


def test_values_of_the_cache_are_checked_as_keys_are(write: Callable[[bytes], Path]) -> None:
    with pytest.raises(ModelError, match=r"^kv_v: q4_0 stores blocks of 32 values, .* set kv_v to f16$"):
        answer(write(tiny_llama(n_embd=160)), kv_v="q4_0")


@pytest.mark.parametrize("kv_type", list(CACHE_TYPES))
def test_every_type_of_the_cache_answers_nearly_as_f16(kv_type: Any) -> None:
    path = resolve("smollm2-135m")
    states = []
    for kind in ("f16", kv_type):
        with open_engine(EngineSettings(n_ctx=256, kv_k=kind, kv_v=kind), path) as engine:
            states.append(engine.embed(["The ferry crosses the strait twice a day, as long as the wind"])[0][0])
            assert engine.resolved.kv_bytes == 256 * 30 * 3 * 2 * 64 * CACHE_TYPES[kind][2] / CACHE_TYPES[kind][1]
    likeness = np.dot(*states) / np.prod([np.linalg.norm(state) for state in states])
    assert likeness > (0.95 if "4" in kv_type else 0.99)


def test_another_base_of_the_frequencies_changes_what_is_read(write: Callable[[bytes], Path]) -> None:
    path = write(tiny_llama())
    assert answer(path, rope_freq_base=10000.0) == answer(path)
    assert answer(path, rope_freq_base=100.0) != answer(path)
    with pytest.raises(ValueError, match=r"^rope_freq_base must be greater than 0, was: 0\.0$"):
        EngineSettings(rope_freq_base=0)


# ------------------------------------------------------------------------------------------- files that do not answer
BERT = {"general.architecture": "bert", "bert.pooling_type": 2, "bert.attention.causal": False, **vocabulary()}


@pytest.mark.parametrize(
    ("metadata", "kind", "message"),
    [
        (BERT, "embedder", r"is an embedding model \(pooling: cls\): it turns .* take a model that writes text$"),
        (
            {"general.architecture": "qwen3", "qwen3.pooling_type": 3},
            "embedder",
            r"is an embedding model \(pooling: last\): .* It can stand under index\.embedder",
        ),
        ({"general.architecture": "gemma-embedding"}, "embedder", r"is an embedding model \(gemma-embedding\)"),
        ({"general.architecture": "qwen3", "qwen3.pooling_type": 4}, "reranker", "is a reranker"),
        ({"general.architecture": "llama", "llama.attention.causal": False}, "embedder", "attention is not causal"),
        ({"general.architecture": "t5"}, "encoder", r"has an encoder \(t5\), which longthread does not run"),
        ({"general.architecture": "llada"}, "diffusion", r"writes by diffusion \(llada\)"),
        ({"general.architecture": "clip"}, "part of a model", r"is the part of a model that sees pictures"),
        ({"general.architecture": "llama", "general.type": "mmproj"}, "part of a model", "sees pictures"),
        ({"general.architecture": "llama", "general.type": "adapter"}, "part of a model", r"is an adapter: .*lora"),
        ({"general.architecture": "controlvector"}, "part of a model", r"is a control vector: name it under"),
    ],
)
def test_a_file_that_cannot_answer_says_what_it_is_for(
    write: Callable[[bytes], Path], metadata: dict[str, object], kind: str, message: str
) -> None:
    path = write(gguf(metadata, TENSORS, bytes(480)))
    assert purpose(inspect(path)).kind == kind
    with pytest.raises(ModelError, match=rf"a\.gguf {message.removeprefix('^')}|{message}"):
        answer(path)


def test_a_vocabulary_alone_is_no_model(write: Callable[[bytes], Path]) -> None:
    with pytest.raises(ModelError, match=r"a\.gguf holds a vocabulary and no weights: take the model's own file$"):
        answer(write(gguf(TINY)))


def test_a_generator_is_told_as_one(write: Callable[[bytes], Path]) -> None:
    assert purpose(inspect(write(tiny_llama()))).kind == "generator"
