"""llama.cpp's own words: their levels, as the installed library uses them, and its reasons in our errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import ModelError
from pipeline.models import llama
from pipeline.models.weights import Vocabulary, Weights
from tests.models.gguf_file import TINY, WHOLE, gguf, tiny_llama

LISTEN = """
import json, sys
from llama_cpp import llama_cpp as lib

heard = []
listener = lib.llama_log_callback(lambda level, text, _: heard.append((level, text.decode())))
lib.llama_log_set(listener, None)
lib.llama_backend_init()
lib.llama_model_load_from_file(b"/no/such/file.gguf", lib.llama_model_default_params())
model = lib.llama_model_load_from_file(sys.argv[1].encode(), lib.llama_model_default_params())
parameters = lib.llama_context_default_params()
parameters.n_ctx, parameters.pooling_type = 256, 1
lib.llama_init_from_model(model, parameters)
print(json.dumps(heard))
"""
"""Provokes an error, an information and a warning, and prints every line with its level."""


def test_the_levels_are_those_of_the_installed_library(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(tiny_llama())
    command = [sys.executable, "-c", LISTEN, str(tmp_path / "tiny.gguf")]
    heard = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)

    def level(part: str) -> set[int]:
        return {level for level, text in heard if part in text}

    assert level("error loading model") == {llama.ERROR}
    assert level("loaded meta data with") == {llama.INFO}
    assert level("model default pooling_type is") == {llama.WARN}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"general.architecture": "foonet"},
            r"unknown model architecture: 'foonet'\. A newer llama-cpp-python than .* may know it",
        ),
        (
            {"tokenizer.ggml.pre": "foosplit"},
            r"error loading model vocabulary: unknown pre-tokenizer type: 'foosplit'\. A newer llama-cpp-python",
        ),
        (
            {"llama.feed_forward_length": 96},
            r"check_tensor_dims: tensor 'blk\.0\.ffn_gate\.weight' has wrong shape; expected 64, 96, got 64, 128, .*"
            "take another conversion of it$",
        ),
        (
            {"llama.attention.layer_norm_rms_epsilon": "small"},
            r"error loading model hyperparameters: key llama\.attention\.layer_norm_rms_epsilon has wrong type str",
        ),
    ],
)
def test_the_reason_reaches_the_user(tmp_path: Path, changes: dict[str, object], reason: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(tiny_llama(changes=changes))
    with pytest.raises(ModelError, match=rf"bad\.gguf: llama\.cpp cannot load this file: {reason}"):
        Weights(path)


def test_errors_hide_warnings_and_are_forgotten_once_told(tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(gguf({**TINY, "general.architecture": "foonet"}))
    for _ in range(2):
        with pytest.raises(ModelError) as raised:
            Vocabulary(path)
        assert str(raised.value).count("foonet") == 1
    assert llama.complaints() == ""
    llama._COMPLAINTS.extend(
        [(llama.WARN, "f: odd"), (llama.ERROR, "f: g: wrong"), (llama.ERROR, "failed to load model")]
    )
    assert llama.complaints() == "wrong"
    llama._COMPLAINTS.append((llama.WARN, "f: odd"))
    assert llama.complaints() == "odd"


def test_a_file_without_weights_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "bare.gguf").write_bytes(WHOLE)
    with pytest.raises(ModelError, match=r"llama\.cpp cannot load this file: .*key not found in model"):
        Weights(tmp_path / "bare.gguf")
