"""Gemma-3-270m: sliding-window layers, a SentencePiece vocabulary, a token that begins each text."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.gguf.catalogue import resolve
from pipeline.gguf.requantise import requantise
from pipeline.models.engine import Engine, open_engine
from pipeline.models.settings import EngineSettings
from pipeline.types import Message, Prompt, Sampling, Text

LONG = "The ferry sails at seven. The garden opens at nine. The key of the tower is 7431. " * 28
"""About 700 tokens: more than the window of 512."""


@pytest.fixture(scope="module")
def gemma() -> Iterator[Engine]:
    with open_engine(EngineSettings(n_ctx=2048, n_seq_max=4, n_cached=4), resolve("gemma3-270m")) as engine:
        yield engine


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    return float((np.exp(p) * (p - q)).sum())


def test_the_text_begins_with_the_token_that_the_vocabulary_asks_for(gemma: Engine) -> None:
    prompt = gemma.render([Message("user", (Text("Hello"),))])
    first = gemma.cells(prompt).keys[0]
    assert gemma.weights.text_of(int(first)) == "<bos>"
    assert (gemma.cells(prompt).keys == first).sum() == 1


def test_a_forked_prefix_longer_than_the_window_reads_as_a_fresh_one(gemma: Engine) -> None:
    ends = [" The key of the tower is", " The ferry sails at", " The garden opens at"]
    prompts: list[Prompt] = [(Text("<bos>", special=True), Text(LONG), Text(end)) for end in ends]
    shared = [gemma.next_logprobs(prompt) for prompt in prompts]
    for prompt, logprobs in zip(prompts, shared, strict=True):
        gemma.pool.forget()
        fresh = gemma.next_logprobs(prompt)
        assert divergence(fresh, logprobs) < 0.05
        assert fresh.argmax() == logprobs.argmax()
    assert divergence(shared[0], shared[1]) > 1


def test_answers_side_by_side_are_those_of_one_by_one(gemma: Engine) -> None:
    prompts: list[Prompt] = [
        (Text("<bos>", special=True), Text(LONG), Text(f" The key of tower {n} is")) for n in range(4)
    ]
    together = [stream.result() for stream in gemma.generate(prompts, Sampling(max_tokens=3))]
    assert [answer.reused_tokens > 600 for answer in together[1:]] == [True] * 3
    assert all("7431"[:1] in answer.text for answer in together)


def test_a_snapshot_restores_what_the_window_has_left_behind(
    gemma: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On F16 weights, as quantised ones round by the batch's shape (on one processor by 2e-3, on another by less)."""
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path))
    path = tmp_path / "gemma.F16.gguf"
    path.touch()
    requantise(gemma.weights.path, path, "F16", 1, lambda *_: None)
    prompt: Prompt = (Text("<bos>", special=True), Text(LONG))
    with open_engine(EngineSettings(n_ctx=2048), path) as first:
        fresh = first.next_logprobs((*prompt, Text(" The key")))
        first.snapshot(prompt)
    with open_engine(EngineSettings(n_ctx=2048), path) as second:
        assert second.restore(prompt) == second.count(prompt)
        assert divergence(fresh, second.next_logprobs((*prompt, Text(" The key")))) < 1e-3
        end = (Text("<bos>", special=True), Text(LONG[-300:]), Text(" The key"))
        assert divergence(fresh, second.next_logprobs(end)) > 5e-3, "what lies before the last sentences shows"


def test_scores_of_continuations_tell_right_from_wrong(gemma: Engine) -> None:
    prefix: Prompt = (Text("<bos>", special=True), Text(LONG + "The key of the tower is"))
    scores = gemma.score(prefix, [" 7431", " 9265"], ["."])
    assert scores.shape == (2, 1)
    whole = gemma.score(prefix, [""], [" 7431", " 9265"])[0]
    assert whole[0] > whole[1] + 2
