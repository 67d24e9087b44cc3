"""Hybrid and recurrent models of the zoo share what they have read, and answer as a fresh engine does."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.models.cells import common
from pipeline.models.engine import Engine, open_engine
from pipeline.models.resolving import cell_bytes
from pipeline.models.scoring import distribution
from pipeline.models.settings import EngineSettings
from pipeline.types import Generation, Message, Prompt, Sampling, Text
from tests.models.zoo import TINY, needs_zoo

RECURRENT = [path for path in TINY if path.stem in ("qwen35", "lfm2", "mamba")]
HYBRID = [path for path in RECURRENT if path.stem != "mamba"]
GENERATORS = [
    path
    for path in TINY
    if not re.match(r"bert|bad|split-0000[23]|unknown", path.stem) and path.stem not in ("raising", "syntax-error")
]
WORDS = "The garden has seven hives and the keeper counts them every morning before the bees are awake".split()

TIE = 0.1
"""Nats between two next tokens below which another batch shape may choose the other: random weights make large logits,
and float16 rounds them by up to 0.05 (measured on all files, attention models too).
"""

pytestmark = needs_zoo
by_name = pytest.mark.parametrize("path", RECURRENT, ids=lambda path: path.stem)


def words(n: int, start: int = 0) -> str:
    return " ".join(WORDS[(start + i) % len(WORDS)] for i in range(n))


def engine_on(path: Path, **settings: Any) -> Engine:
    given = {"n_ctx": 1024, "n_seq_max": 4, "n_cached": 4, "threads": 1, **settings}
    return open_engine(EngineSettings(model=str(path), **given), path)


def asking(engine: Engine, question: str, document: str, turns: Sequence[tuple[str, str]] = ()) -> Prompt:
    """The prompt of a question on a document, after earlier turns, as assemble.cited lays it out."""
    first, *later = [*(question for question, _ in turns), question]
    opening = (Text(f"{document}\n", "passages"), Text(first, "history" if turns else "question"))
    messages = [Message("system", (Text("Answer in a word.", "system"),)), Message("user", opening)]
    for n, (_, answer) in enumerate(turns):
        messages.append(Message("assistant", (Text(answer, "history"),)))
        part = "history" if n + 1 < len(turns) else "question"
        messages.append(Message("user", (Text(later[n], part),)))  # type: ignore[arg-type]
    return engine.render(messages)


def answers(engine: Engine, *prompts: Prompt, n: int = 8) -> list[Generation]:
    return [stream.result() for stream in engine.generate(prompts, Sampling(max_tokens=n))]


# ------------------------------------------------------------------------------------------------------- what is shared
@by_name
def test_a_second_turn_reads_its_own_question_only(path: Path) -> None:
    document = words(200)
    with engine_on(path) as engine:
        (first,) = answers(engine, asking(engine, "How many hives?", document))
        second_prompt = asking(engine, "And who counts them?", document, [("How many hives?", first.text)])
        (second,) = answers(engine, second_prompt)
    assert second.reused_tokens / second.prompt_tokens >= 0.8
    with engine_on(path) as engine:
        (fresh,) = answers(engine, second_prompt)
    assert (fresh.reused_tokens, fresh.text) == (0, second.text)


@by_name
def test_another_question_on_the_same_passages_reads_itself_only(path: Path) -> None:
    with engine_on(path) as engine:
        prompts = [
            asking(engine, question, words(200)) for question in ("How many hives?", "Who counts them? And why?")
        ]
        results = [answers(engine, prompt)[0] for prompt in prompts]
    assert results[1].reused_tokens >= 200
    for prompt, result in zip(prompts, results, strict=True):
        with engine_on(path) as engine:
            assert answers(engine, prompt)[0].text == result.text


@by_name
def test_prompts_of_one_batch_read_their_document_once(path: Path) -> None:
    with engine_on(path) as engine:
        documents = [words(150, start) for start in range(2)]
        prompts = [asking(engine, f"Question {n}?", documents[n % 2]) for n in range(8)]
        before = engine.n_decoded
        results = answers(engine, *prompts)
        n_decoded = engine.n_decoded - before
        n_alone = sum(result.prompt_tokens + result.answer_tokens for result in results)
    assert n_decoded < n_alone / 2
    for prompt, result in zip(prompts, results, strict=True):
        with engine_on(path) as engine:
            assert answers(engine, prompt)[0].text == result.text


@by_name
def test_the_place_where_prompts_part_is_learned(path: Path) -> None:
    """The prompts name no sections: the second shows where they part, and the third goes on from there."""
    with engine_on(path) as engine:
        results = [answers(engine, (Text(words(200)), Text(f" number {n}")))[0] for n in range(3)]
    assert [result.reused_tokens > 190 for result in results] == [False, False, True]


@by_name
def test_without_checkpoints_only_whole_sequences_are_shared(path: Path) -> None:
    with engine_on(path, checkpoint_mb=0) as engine:
        first, second = (asking(engine, question, words(200)) for question in ("How many?", "Who?"))
        assert [answers(engine, prompt)[0].reused_tokens for prompt in (first, second, first)] == [0, 0, 0]
        assert len(engine.pool.checkpoints) == 0


@by_name
def test_checkpoints_keep_their_limit(path: Path) -> None:
    with engine_on(path) as engine:
        size = engine.resolved.state_bytes
        engine.pool.checkpoints.max_bytes = 3 * size + 3 * size // 2  # what llama.cpp adds to a state is small
        for n in range(6):
            answers(engine, asking(engine, "How many?", words(100, n)))
            assert engine.pool.checkpoints.n_bytes <= engine.pool.checkpoints.max_bytes
        assert len(engine.pool.checkpoints) > 0
        engine.pool.forget()
        assert (len(engine.pool.checkpoints), engine.pool.checkpoints.n_bytes) == (0, 0)


# ------------------------------------------------------------------------------------------------------------- scoring
@by_name
def test_a_prefix_is_scored_once_however_many_suffixes_there_are(path: Path) -> None:
    prefix, suffixes = (Text(words(200)),), [f" number {n} of the bees" for n in range(16)]
    targets = ["Yes", " the seven hives"]
    with engine_on(path) as engine:
        before = engine.n_decoded
        scores = engine.score(prefix, suffixes, targets)
        n_decoded = engine.n_decoded - before
        n_prefix = engine.count(prefix)
        again = engine.score(prefix, suffixes[::-1], targets[::-1])[::-1, ::-1]
    assert n_decoded < n_prefix + 16 * 30
    assert np.abs(scores - again).max() < 0.2  # other batches round otherwise; the largest score is below -30
    with engine_on(path, n_seq_max=1, n_cached=0) as engine:
        alone = np.concatenate([engine.score(prefix, [suffix], targets) for suffix in suffixes])
    assert np.abs(scores - alone).max() < 0.2


@by_name
def test_a_branch_is_as_it_was_after_a_long_target(path: Path) -> None:
    """Two targets of several tokens: the second must not see the first."""
    prefix, suffix = (Text(words(60)),), " the bees"
    with engine_on(path) as engine:
        both = engine.score(prefix, [suffix], [" are awake now", " the seven hives"])
        second = engine.score(prefix, [suffix], [" the seven hives"])
    assert np.abs(both[:, 1:] - second).max() < 0.05


@by_name
def test_what_cannot_be_left_out_is_refused(path: Path) -> None:
    with engine_on(path) as engine:
        assert not engine.can_forget
        with pytest.raises(ModelError, match="cannot forget a part of what it read"):
            engine.logprobs((Text(words(60)),), start=40, without=(5, 10))
        assert engine.logprobs((Text(words(60)),), start=40).shape[0] > 10


# ----------------------------------------------------------------------------------------------------------- snapshots
@by_name
def test_a_snapshot_goes_on_in_another_engine(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LONGTHREAD_CACHE", str(tmp_path))
    with engine_on(path) as engine:
        prompt = asking(engine, "How many hives?", words(200))
        n = engine.count(prompt)
        engine.snapshot(prompt)
        (there,) = answers(engine, prompt)
    with engine_on(path) as engine:
        assert engine.restore(prompt) == n - 1
        (result,) = answers(engine, prompt)
    assert (result.reused_tokens, result.text) == (n - 1, there.text)
    with engine_on(path, n_cached=0) as engine:
        assert engine.restore(prompt) == 0
        assert answers(engine, prompt)[0].reused_tokens == 0


# ----------------------------------------------------------------------------------------------------------- attention
@pytest.mark.parametrize("path", HYBRID, ids=lambda path: path.stem)
def test_the_layers_that_attend_are_probed(path: Path) -> None:
    prefix, query = (Text(words(100)),), (Text(" How many hives?"),)
    with engine_on(path) as engine:
        every = engine.attend(prefix, query)
        assert every.heads == ((1, 0), (1, 1), (3, 0), (3, 1))
        assert (every.mass.sum(-1) <= 1.001).all()
        assert every.mass.sum(-1).min() > 0.5
        engine.attend((Text("Another prefix"),), query)
        again = engine.attend(prefix, query)
        assert np.abs(every.mass - again.mass).max() < 1e-3
        low = engine.attend(prefix, query, [(1, 1)])
        assert np.abs(low.mass[0] - every.mass[1]).max() < 1e-3
        with pytest.raises(
            ModelError, match=r"4 layers, of which \[1, 3\] attend of 2 heads, there is no head \(0, 0\)"
        ):
            engine.attend(prefix, query, [(0, 0)])


# -------------------------------------------------------------------------------------------------------------- memory
@pytest.mark.parametrize("path", GENERATORS, ids=lambda path: path.stem)
def test_the_cache_is_as_large_as_llama_cpp_says(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "longthread.llama"), engine_on(path, n_ctx=256, n_cells=2048) as engine:
        n_cells, states = engine.context.n_cells, engine.context.n_sequences * engine.resolved.state_bytes
        ours = n_cells * cell_bytes(engine.weights, "f16", "f16") + states
        assert engine.weights.is_recurrent == (states > 0)
    sizes = re.findall(r"llama_(?:kv_cache|memory_recurrent): size = +([\d.]+) MiB \( *(\d+) cells", caplog.text)
    of_this = [float(size) for size, cells in sizes if int(cells) in (n_cells, engine.context.n_sequences)]
    assert ours / 2**20 == pytest.approx(sum(of_this), abs=0.006 * len(of_this))


# ------------------------------------------------------------------------------------- every file, as a fresh engine
@pytest.mark.parametrize("path", GENERATORS, ids=lambda path: path.stem)
def test_answers_are_those_of_a_fresh_engine(path: Path) -> None:
    """Questions on a document, one after the other and together, in an engine that has read much else."""
    with engine_on(path, n_ctx=256, n_cells=1024) as engine:
        n_words = next(n for n in range(12, 120) if engine.count((Text(words(n)),)) >= 100)
        prompts = [(Text(words(n_words)), Text(f" Question {n}: how many?")) for n in range(3)]
        engine.score((Text(words(n_words)),), [" Yes", " No"], ["a"])
        given = [[written(engine, prompt) for prompt in prompts]]
        answers(engine, *prompts)
        given.append([kept(engine, prompt) for prompt in prompts])
    for n, prompt in enumerate(prompts):
        with engine_on(path, n_ctx=256, n_cells=1024) as engine:
            expected = written(engine, prompt)
            for tokens in (given[0][n], given[1][n]):
                assert tokens == expected or gap(engine, prompt, tokens, expected) < TIE


def written(engine: Engine, prompt: Prompt) -> list[int]:
    """The tokens of the prompt's answer, but for the last."""
    answers(engine, prompt)
    return kept(engine, prompt)


def kept(engine: Engine, prompt: Prompt) -> list[int]:
    """The tokens behind the prompt in the sequence that stayed of it."""
    cells = engine.cells(prompt)
    return next(keys[len(cells) :].tolist() for keys in engine.pool.idle if common(keys, cells.keys) == len(cells))


def gap(engine: Engine, prompt: Prompt, tokens: Sequence[int], expected: Sequence[int]) -> float:
    """How much likelier the expected token was than the other, in nats, where the two answers part."""
    n = common(np.array(tokens), np.array(expected))
    after = distribution(engine.pool, engine.cells(prompt).plus(expected[:n]))
    return float(after[expected[n]] - after[tokens[n]]) if n < min(len(tokens), len(expected)) else np.inf
