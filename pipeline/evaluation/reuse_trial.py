"""Measures what a model loses when the kept cells of passages are put together in the place of reading them.

`longthread models try` asks its answerable questions in four ways: the retrieved passages and the chosen sentences are
each read, in the layout that it chose, and each put together from kept cells (`assemble.cited: {reuse: ...}`). Kept
cells are asked in other layouts too: one that repeats sentences behind the question makes up for much of what passages
miss that have not seen one another (docs/experiments.md). The best one is kept for prompts of that kind. Beside right
answers and F1, which say little on thirty questions, it takes the likelihood of the right answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

from pipeline.answers.contract import check
from pipeline.answers.tried import ReuseResult, ReuseTried, Way, best_in_way, best_reuse
from pipeline.contracts import Progress
from pipeline.evaluation.answers import best, f1, holds
from pipeline.models.capabilities import Scorer, before_answer, why_not_compose
from pipeline.pipeline import Pipeline
from pipeline.registry import with_settings
from pipeline.stages import run_stage, sampling_for
from pipeline.types import State

WAYS: tuple[tuple[Way, str, bool], ...] = (
    ("read_passages", "exact", False),
    ("passages", "passages", False),
    ("read_sentences", "exact", True),
    ("sentences", "sentences", True),
)
"""Each way with its `reuse`, and whether a compressor chooses sentences."""

REUSE_LAYOUTS = ("focus", "focus-2", "focus-sentence")
"""The layouts that are tried for kept cells, beside the one that suits the model when it reads everything."""


class Answerable(Protocol):
    """A question of the trial."""

    @property
    def answers(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class _Row:
    """How one question was answered in one way."""

    is_right: bool
    f1: float
    gold_logprob: float
    first_token_s: float
    read: int


def try_reuse(
    pipeline: Pipeline,
    questions: Sequence[Answerable],
    found: Sequence[State],
    chosen: Sequence[State],
    layout: str,
    progress: Progress,
) -> ReuseTried:
    """What putting kept cells together costs on these questions, and what is recommended.

    `found` are the questions' states after retrieval, `chosen` those after a compressor chose sentences.
    """
    why = why_not_compose(pipeline.reader)
    if why or not isinstance(pipeline.reader, Scorer):
        return ReuseTried("exact", (), why or f"{pipeline.reader.name} gives no probabilities")
    start = perf_counter()
    others = tuple(name for name in REUSE_LAYOUTS if name != layout)
    layouts = {way: (layout,) if reuse == "exact" else (layout, *others) for way, reuse, _ in WAYS}
    rows: dict[tuple[Way, str], list[_Row]] = {(way, name): [] for way in layouts for name in layouts[way]}
    for n, question in enumerate(questions):
        for way, reuse, is_compressed in WAYS:
            for name in layouts[way]:
                state = (chosen if is_compressed else found)[n]
                rows[way, name].append(_asked(pipeline, question, state, name, reuse))
        progress("put cells together", n + 1, len(questions))
    results = tuple(
        best_in_way([_result(way, name, rows[way, name]) for name in layouts[way]], len(questions)) for way in layouts
    )
    return ReuseTried(best_reuse(results, len(questions)), results, "", round(perf_counter() - start, 1))


def _asked(pipeline: Pipeline, question: Answerable, state: State, layout: str, reuse: str) -> _Row:
    reader, generator = pipeline.reader, pipeline.config.generator
    assert isinstance(reader, Scorer)  # noqa: S101 - try_reuse checked it
    assembler = with_settings(pipeline.config.assembler, {"layout": layout, "reuse": reuse})
    state = run_stage(assembler, state, pipeline, pipeline.reserve)
    (stream,) = reader.generate([state.prompt], sampling_for(generator, state))
    done = stream.result()
    text = check(done.text, done.finish, state.question.text).text
    scores = reader.score(before_answer(reader, state.prompt), [""], question.answers)[0]
    return _Row(
        any(holds(text, answer) for answer in question.answers),
        best(f1, text, question.answers),
        max(float(p) / reader.count_text(answer) for p, answer in zip(scores, question.answers, strict=True)),
        done.prefill_s - done.stored_s,
        done.read_tokens - done.stored_tokens,
    )


def _result(way: Way, layout: str, rows: Sequence[_Row]) -> ReuseResult:
    n = len(rows)
    return ReuseResult(
        way=way,
        right=sum(row.is_right for row in rows),
        f1=round(sum(row.f1 for row in rows) / n, 3),
        gold_logprob=round(sum(row.gold_logprob for row in rows) / n, 3),
        first_token_s=round(sum(row.first_token_s for row in rows) / n, 3),
        read=round(sum(row.read for row in rows) / n),
        layout=layout,
    )
