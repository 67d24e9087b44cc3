"""A pipeline of other settings: nothing of the old ones stays, and what both share is loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Budget, IndexSettings, PipelineConfig
from pipeline.errors import LongthreadError, WindowError
from pipeline.pipeline import Pipeline
from pipeline.registry import make
from pipeline.types import Question
from tests.models.zoo import TINY

WORDS = IndexSettings(embedder="none")


def config(window: Any = None, **settings: Any) -> PipelineConfig:
    """The scripted model unless the settings name another."""
    name = "generate.llama" if "model" in settings else "generate.scripted"
    return PipelineConfig("a.yaml", (make("assemble.cited"), make(name, settings)), WORDS, budget=Budget(window=window))


@pytest.fixture
def small() -> Iterator[Pipeline]:
    with Pipeline(config(n_ctx=300, max_tokens=64), Path("nowhere")) as pipeline:
        assert pipeline.window == 300
        yield pipeline


def test_another_context_has_another_window(small: Pipeline) -> None:
    reader = small.reader
    large = small.changed(config(n_ctx=900, max_tokens=400), Path("nowhere"))
    assert (large.window, large.ledger.window, large.reader.window) == (900, 900, 900)
    assert large.reader is not reader
    assert large.ask(Question("Is anyone there?")).answer is not None
    assert (small.window, small.ledger.window, small.reader.window) == (300, 300, 300)


def test_a_budget_has_its_window_at_once(small: Pipeline) -> None:
    reader = small.reader
    assert small.changed(config(200, n_ctx=300, max_tokens=64), Path("nowhere")).ledger.window == 200
    with pytest.raises(WindowError, match=r"budget\.window is 600, but the context of .* holds 300"):
        small.changed(config(600, n_ctx=300, max_tokens=64), Path("nowhere")).window  # noqa: B018
    assert small.reader is reader, "what both share stays loaded"
    assert small.ledger.window == 300


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_to_go_back_to(small: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"no model")
    other = small.changed(config(model=str(tmp_path / "no.gguf")), Path("nowhere"))
    with pytest.raises(LongthreadError, match=r"no\.gguf"):
        other.reader  # noqa: B018
    assert small.ask(Question("Is anyone there?")).answer is not None


def test_notes_and_the_day_are_those_of_one_pipeline(small: Pipeline) -> None:
    small.set_day("2026-01-31")
    small.note("of the first")
    other = small.changed(config(n_ctx=900), Path("nowhere"))
    assert (other.take_notes(), other.day) == ((), "2026-01-31")
    assert small.take_notes() == ("of the first",)


def models(q4: Path) -> list[tuple[dict[str, Any], int]]:
    """Settings of real models, and the window that each has."""
    real = [({"model": str(q4), "n_ctx": n_ctx, "max_tokens": 16}, n_ctx) for n_ctx in (512, 1024)]
    tiny = [path for path in TINY if path.stem == "gemma3"][:1]
    return [*real, *(({"model": str(path), "n_ctx": 256, "max_tokens": 16}, 256) for path in tiny)]


@pytest.mark.timeout(600)
def test_real_models_take_turns_and_each_has_its_own_window(q4: Path) -> None:
    (first, window), *others = models(q4)
    with Pipeline(config(**first), Path("nowhere")) as pipeline:
        assert pipeline.ledger.window == window
        for settings, expected in others:
            other = pipeline.changed(config(**settings), Path("nowhere"))
            assert (other.ledger.window, other.window, other.reader.window) == (expected,) * 3
            state = other.ask(Question("Is anyone there?"))
            assert state.answer is not None
            assert state.ledger.window == expected
        warm = pipeline.changed(config(**{**first, "temperature": 0.7}), Path("nowhere"))
        assert warm.reader is pipeline.reader, "the sampling is no setting of the engine"
        assert (pipeline.window, warm.window) == (window, window)
