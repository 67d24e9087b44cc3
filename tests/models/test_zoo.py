"""Every file of the zoo is opened: it answers, or a message says why it cannot; nothing aborts."""

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ModelError
from pipeline.gguf.header import inspect
from pipeline.gguf.purpose import purpose
from pipeline.models.engine import open_engine
from pipeline.models.settings import EngineSettings
from pipeline.types import Sampling, Text
from tests.models.zoo import TINY, VOCABULARIES, needs_vocabularies, needs_zoo

REFUSED = {
    "badshape": r"tensor 'blk\.1\.ffn_gate\.weight' has wrong shape",
    "bert": r"is an embedding model \(pooling: cls\)",
    "split-00002-of-00003": r"is part 2 of 3 of a model; name its first part, 'split-00001-of-00003\.gguf'$",
    "split-00003-of-00003": r"is part 3 of 3 of a model",
    "unknown-arch": r"unknown model architecture: 'nosucharch'",
    "unknown-pre": r"unknown pre-tokenizer type: 'nosuchpre'",
}
SETTINGS: tuple[dict[str, Any], ...] = (
    {"kv_k": "q8_0", "flash_attention": "off"},
    {"rope_scaling": "ntk", "rope_factor": 2.0},
    {"n_ctx": 4096, "rope_scaling": "yarn", "rope_factor": 8.0},
)
REASONS = re.compile(r"^rope_scaling: |^kv_[kv]: |^n_ctx: |needs flash|requires|not support|quantized V cache")


def answer(path: Path, **settings: Any) -> int:
    given = EngineSettings(**{"model": str(path), "n_ctx": 256, "threads": 1, "n_seq_max": 2, **settings})
    with open_engine(given, path) as engine:
        return (
            engine.generate([(Text("The garden has seven hives."),)], Sampling(max_tokens=4))[0].result().answer_tokens
        )


@needs_zoo
@pytest.mark.parametrize("path", TINY, ids=lambda path: path.stem)
def test_a_file_answers_or_says_why_not(path: Path) -> None:
    if (reason := REFUSED.get(path.stem)) is not None:
        with pytest.raises(ModelError, match=reason):
            answer(path)
        return
    assert purpose(inspect(path)).kind == "generator"
    assert answer(path)
    refusals = [message for settings in SETTINGS if (message := refusal(path, settings))]
    assert [message for message in refusals if not REASONS.search(message)] == []


def refusal(path: Path, settings: dict[str, Any]) -> str:
    """Why the file cannot be used with these settings; empty where it can."""
    try:
        answer(path, **settings)
    except ModelError as error:
        return str(error)
    return ""


@needs_vocabularies
@pytest.mark.parametrize("path", VOCABULARIES, ids=lambda path: path.stem)
def test_a_vocabulary_is_told_as_one(path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds a vocabulary and no weights|is an embedding model|holds a vocabulary"):
        answer(path)
