"""An unknown file is opened in a child process first: what ends that process is a message in ours."""

import json
import sys
from pathlib import Path

import pytest

from pipeline.errors import ModelError
from pipeline.gguf.catalogue import resolve
from pipeline.models import first_look
from pipeline.models.engine import open_engine
from pipeline.models.first_look import SHIPPED, header_key, look_first
from pipeline.models.settings import EngineSettings
from pipeline.models.weights import Vocabulary
from tests.models.gguf_file import tiny_llama, vocabulary


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(first_look, "_seen", set())
    return tmp_path / "cache"


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The settings of each child process that is started."""
    started: list[dict[str, object]] = []
    start = first_look._try

    def counted(path: Path, relevant: dict[str, object]) -> str | None:
        started.append(relevant)
        return start(path, relevant)

    monkeypatch.setattr(first_look, "_try", counted)
    return started


def equal_tokens(folder: Path) -> Path:
    tokens = vocabulary()["tokenizer.ggml.tokens"]
    assert isinstance(tokens, list)
    path = folder / "twins.gguf"
    path.write_bytes(tiny_llama(changes={"tokenizer.ggml.tokens": [*tokens[:-1], "a"]}))
    return path


def known(folder: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "opened").glob("*.json"))]


def test_equal_tokens_are_named_without_a_child(tmp_path: Path, children: list[dict[str, object]]) -> None:
    with pytest.raises(ModelError, match=r"twins\.gguf: the tokens \d+ and 257 of its vocabulary are both 'a', and"):
        Vocabulary(equal_tokens(tmp_path))
    assert children == []


def test_an_assertion_nobody_foresaw_is_a_message(
    tmp_path: Path, cache: Path, children: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_look, "check_vocabulary", lambda path: None)
    path = equal_tokens(tmp_path)
    message = (
        r"twins\.gguf: llama\.cpp cannot run this file with these settings, it ends the process: "
        r"GGML_ASSERT\(id_to_token\.size\(\) == token_to_id\.size\(\)\) failed\. Take another"
    )
    for _ in range(2):
        with pytest.raises(ModelError, match=message):
            open_engine(EngineSettings(model=str(path)), path)
    assert len(children) == 1, "a crash is remembered"
    assert [str(entry["crash"])[:11] for entry in known(cache)] == ["GGML_ASSERT"]


def test_a_file_is_looked_at_once_for_each_of_its_settings(
    tmp_path: Path, cache: Path, children: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(tiny_llama())
    q8 = EngineSettings(model=str(path), kv_k="q8_0")
    for settings in (q8, q8, EngineSettings(model=str(path)), EngineSettings(model=str(path), n_ctx=128)):
        open_engine(settings, path).close()
    assert [child["kv_k"] for child in children] == ["q8_0"], "other settings that open cover the defaults"
    assert {entry["crash"] for entry in known(cache)} == {""}
    monkeypatch.setattr(first_look, "_seen", set())  # as in another process
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(path.read_bytes())
    look_first(copy, q8)
    assert len(children) == 1, "a copy is the same file"
    copy.write_bytes(tiny_llama(changes={"general.name": "Other"}))
    look_first(copy, q8)
    assert len(children) == 2


def test_the_models_that_come_along_need_no_child(children: list[dict[str, object]]) -> None:
    for name in ("smollm2-135m", "gemma3-270m"):
        path = resolve(name)
        assert header_key(path) in SHIPPED
        look_first(path, EngineSettings(kv_k="q4_0"))
    assert children == []


def test_where_no_child_can_be_started_nothing_is_checked(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(tiny_llama())
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    look_first(path)
    assert known(cache) == []


def test_a_load_that_is_refused_with_a_reason_is_left_to_the_load(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(tiny_llama(changes={"general.architecture": "foonet"}))
    look_first(path)
    with pytest.raises(ModelError, match="unknown model architecture: 'foonet'"):
        open_engine(EngineSettings(model=str(path)), path)
