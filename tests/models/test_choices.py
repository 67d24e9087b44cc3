"""Choices of loading and caching: each answers as the default does, or differently where that is its purpose."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.gguf.header import inspect
from pipeline.models.engine import open_engine
from pipeline.models.identity import model_key
from pipeline.models.settings import ControlVector, EngineSettings
from pipeline.types import Prompt, Sampling, Text
from tests.models.gguf_file import gguf, tensor, tiny_gpt2, tiny_llama
from tests.models.zoo import FOLDER, needs_zoo

DOCUMENT = "The garden has seven hives, and the ferry crosses the strait twice a day. "
PROMPTS: list[Prompt] = [(Text(DOCUMENT), Text(question)) for question in ("How many?", "How often?", "Where?")]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(tiny_llama(5))
    return path


def answers(path: Path, **settings: Any) -> list[str]:
    given = EngineSettings(**{"model": str(path), "n_ctx": 256, "threads": 1, "n_seq_max": 3, **settings})
    with open_engine(given, path) as engine:
        texts = [stream.result().text for stream in engine.generate(PROMPTS, Sampling(max_tokens=12))]
        again = [stream.result().text for stream in engine.generate(PROMPTS[:2], Sampling(max_tokens=12))]
        assert again == texts[:2]
        return texts


@pytest.mark.parametrize(
    "settings",
    [
        {"mmap": False},
        {"kv_unified": "off"},
        {"kv_unified": "on"},
        {"swa_full": False},
        {"split_mode": "none", "main_gpu": 0},
        {"split_mode": "row", "tensor_split": (3.0, 1.0)},
        {"kv_unified": "off", "n_seq_max": 1},
    ],
    ids=str,
)
def test_a_choice_of_loading_changes_no_answer(tiny: Path, settings: dict[str, Any]) -> None:
    assert answers(tiny, **settings) == answers(tiny)


def test_split_caches_hold_a_window_for_each_sequence(tiny: Path) -> None:
    settings = EngineSettings(str(tiny), n_ctx=300, n_seq_max=3, n_cached=5, kv_unified="off", threads=1)
    with open_engine(settings, tiny) as engine:
        assert (engine.window, engine.resolved.n_cells, engine.resolved.n_cached) == (300, 4 * 512, 0)
        assert not engine.can_forget
        long: list[Prompt] = [(Text(chr(97 + n) * 280),) for n in range(3)]
        done = [stream.result() for stream in engine.generate(long, Sampling(max_tokens=20))]
        assert [answer.prompt_tokens for answer in done] == [280] * 3
        split = engine.score(PROMPTS[0][:1], [" How many?", " Where?"], ["Yes", "No"])
    with open_engine(EngineSettings(str(tiny), n_ctx=300, threads=1), tiny) as engine:
        assert np.abs(engine.score(PROMPTS[0][:1], [" How many?", " Where?"], ["Yes", "No"]) - split).max() < 0.05


@needs_zoo
@pytest.mark.parametrize("name", ["gemma3", "gemma4", "gpt-oss"])
def test_a_small_cache_of_sliding_windows_answers_the_same(name: str) -> None:
    path = FOLDER / "tiny" / f"{name}.gguf"
    if not path.is_file():
        pytest.skip(f"{path} is not there: make it with the zoo's generator")
    alone = {"n_ctx": 512, "n_seq_max": 1, "n_cached": 0}  # together, another batch shape rounds otherwise
    assert answers(path, swa_full=False, **alone) == answers(path, **alone)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"main_gpu": -1}, "main_gpu must be at least 0"),
        ({"tensor_split": (1.0, -1.0)}, "tensor_split must be shares of at least 0"),
        ({"tensor_split": (0.0,)}, "tensor_split must be shares"),
        ({"kv_unified": "off", "n_cells": 1024}, "n_cells must be auto when kv_unified is off, was: 1024"),
        (
            {"split_mode": "tensor", "flash_attention": "off"},
            "split_mode must not be tensor when flash_attention is off",
        ),
        ({"kv_v": "iq4_nl", "flash_attention": "off"}, "kv_v must be f16, bf16 or f32 when flash_attention is off"),
    ],
)
def test_choices_that_exclude_one_another_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        EngineSettings(**settings)


def test_weights_can_be_locked_where_the_system_lets_us(tiny: Path) -> None:
    try:
        assert answers(tiny, mlock=True) == answers(tiny)
    except ModelError as error:
        assert "ulimit -l unlimited" in str(error)  # noqa: PT017 - either is right, by the limits of this machine


# ----------------------------------------------------------------------------------------------------- control vectors
def control_file(folder: Path, values: np.ndarray[Any, Any], layer: int = 1, name: str = "c.gguf") -> Path:
    path = folder / name
    data = values.astype(np.float32).tobytes()
    head = {"general.architecture": "controlvector", "controlvector.model_hint": "llama"}
    path.write_bytes(gguf(head, (tensor(f"direction.{layer}", (len(values),), 0, 0),), data))
    return path


def state(path: Path, *vectors: ControlVector) -> np.ndarray[Any, Any]:
    settings = EngineSettings(str(path), threads=1, control_vectors=vectors)
    with open_engine(settings, path) as engine:
        (states,) = engine.embed(["The garden"])
        return states.reshape(-1)


def test_a_control_vector_moves_the_hidden_state_along_it(tiny: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    direction = random.normal(0, 1, 64)
    path = str(control_file(tmp_path, direction))
    plain = state(tiny)
    along = {scale: float(np.dot(state(tiny, ControlVector(path, scale)) - plain, direction)) for scale in (2.0, -2.0)}
    assert along[2.0] > 0 > along[-2.0]
    assert np.array_equal(state(tiny, ControlVector(path, 0.0)), plain)
    assert np.array_equal(state(tiny, ControlVector(path, 1.0), ControlVector(path, -1.0)), plain), "they are added up"
    assert np.array_equal(state(tiny, ControlVector(path, 9.0, first_layer=2)), plain), "its layer is left out"


def test_a_control_vector_must_fit(tiny: Path, tmp_path: Path) -> None:
    def refused(message: str, vector: str) -> None:
        with pytest.raises(ModelError, match=message):
            state(tiny, ControlVector(vector))

    refused(r"^control_vectors: there is no such file: /none\.gguf$", "/none.gguf")
    refused("is no control vector: its architecture is llama", str(tiny))
    short = control_file(tmp_path, np.ones(32))
    refused(r"does not fit tiny\.gguf: it has 32 values for layer 1, the model has 64 and layers 1 to 1$", str(short))
    refused("has 64 values for layer 7", str(control_file(tmp_path, np.ones(64), layer=7)))
    with pytest.raises(ValueError, match=r"^control_vectors\.last_layer must be at least 3, was: 2$"):
        ControlVector("c.gguf", first_layer=3, last_layer=2)


def test_a_measurement_belongs_to_the_control_vector_too(tiny: Path, tmp_path: Path) -> None:
    vector = ControlVector(str(control_file(tmp_path, np.ones(64))))
    keys = []
    for vectors in ((), (vector,)):
        with open_engine(EngineSettings(str(tiny), threads=1, control_vectors=vectors), tiny) as engine:
            keys.append(model_key(engine))
    assert keys[0] != keys[1]


def test_a_control_vector_is_read_as_what_it_is(tmp_path: Path) -> None:
    assert inspect(control_file(tmp_path, np.ones(64))).architecture == "controlvector"
    (tmp_path / "g.gguf").write_bytes(tiny_gpt2())
    with pytest.raises(ModelError, match="layers 1 to 0"):
        state(tmp_path / "g.gguf", ControlVector(str(control_file(tmp_path, np.ones(64)))))
