"""Asks a model the same questions in every layout and chooses the best layout for it.

The questions are ours, about ten short documents of invented facts, which no model has read before
(pipeline/answers/trial): 30 whose answer stands in a document, and 10 whose answer stands in none. They pass the
built-in pipeline's retrieval and compression once, without its gate: every question reaches the model. Then its prompt
is laid out in each layout. All prompts are one batch, question by question: layouts that differ only after the passages
share the cells of what stands before. Layouts are compared by the model's first answer after the repairs of
pipeline/answers/contract.py. In the best one the whole policy is run, with second attempts, once with the model's words
in the lead and once with quotes: which is right more often as it is shown leads from then on. What putting kept cells
together costs in that layout is measured last (pipeline/evaluation/reuse_trial.py).
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from pipeline.answers.citations import cite
from pipeline.answers.cited import Cited
from pipeline.answers.contract import ECHOED, LOOPED, check, has_words
from pipeline.answers.judging import is_asked_again, judge, second_sampling, settle
from pipeline.answers.layouts import LAYOUTS
from pipeline.answers.tried import FOLDER, Result, ReuseTried, Tried, answer_first, best_layout, stored
from pipeline.contracts import Progress
from pipeline.default import default_pipeline, with_generator_settings, with_model
from pipeline.docs_index import update_index
from pipeline.errors import ConfigError, ModelError
from pipeline.evaluation.answers import best, f1, holds
from pipeline.evaluation.reuse_trial import try_reuse
from pipeline.listener import Listener
from pipeline.models.identity import model_key
from pipeline.pipeline import Pipeline
from pipeline.registry import kind_of
from pipeline.stages import run_stage, sampling_for
from pipeline.types import Generation, Passage, Question, State

RETRIEVAL = ("retrieve", "rerank")
SHARED_STAGES = (*RETRIEVAL, "compress")


@dataclass(frozen=True)
class TrialQuestion:
    """A question about the trial's documents. `answers` are all accepted forms; empty if unanswerable."""

    id: str
    question: str
    answers: tuple[str, ...]

    @property
    def is_answerable(self) -> bool:
        return bool(self.answers)


def trial_questions(folder: Path = FOLDER, n: int | None = None, seed: int = 0) -> list[TrialQuestion]:
    """Reads a folder's questions, in order; or a sample of n, stratified by answerability, drawn with the seed."""
    lines = (folder / "questions.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    questions = [TrialQuestion(row["id"], row["question"], tuple(row["answers"])) for row in rows]
    if n is None or n >= len(questions):
        return questions
    answerable = [question for question in questions if question.is_answerable]
    others = [question for question in questions if not question.is_answerable]
    n_answerable = max(1, round(n * len(answerable) / len(questions)))
    draw = random.Random(seed)  # noqa: S311 - a sample, no secret
    chosen = {*draw.sample(answerable, n_answerable), *draw.sample(others, n - n_answerable)}
    return [question for question in questions if question in chosen]


def try_layouts(
    model: str,
    progress: Progress,
    n: int | None = None,
    seed: int = 0,
    layouts: Sequence[str] = tuple(LAYOUTS),
    folder: Path = FOLDER,
) -> Tried:
    """Finds the best layout for a model by n questions of the folder (None: all). Raises ModelError for a bad model."""
    questions = trial_questions(folder, n, seed)
    # llama.cpp attends over the cells of all prompts under way: with those of one question, which share most, a token
    # costs least.
    with _opened(model, len(layouts), folder, progress) as pipeline:
        found, states = _prepared(pipeline, questions, progress)
        start = perf_counter()
        answers = ask_all(pipeline, states, layouts, progress)
        seconds = perf_counter() - start
        results = [_result(questions, name, rows) for name, rows in zip(layouts, answers, strict=True)]
        n_answerable = sum(question.is_answerable for question in questions)
        sentence_right = sum(
            _is_right(nearest_sentence(state), question)
            for question, state in zip(questions, states, strict=True)
            if question.is_answerable
        )
        layout = best_layout(results, n_answerable)
        in_best = answers[[result.layout for result in results].index(layout)]
        generated, quoted = answers_shown(pipeline, in_best, progress)
        generated_right = _n_right(questions, generated)
        quoted_right = _n_right(questions, quoted)
        reuse = _reuse(pipeline, questions, found, states, layout, progress)
        return Tried(
            model=pipeline.reader.name,
            key=model_key(pipeline.reader),
            layout=layout,
            answer=answer_first(generated_right, quoted_right, n_answerable),
            results=tuple(results),
            n=len(questions),
            n_answerable=n_answerable,
            sentence_right=sentence_right,
            generated_right=generated_right,
            quoted_right=quoted_right,
            seconds=round(seconds, 1),
            seed=seed,
            date=datetime.now(UTC).date().isoformat(),
            reuse=reuse,
        )


def try_reuse_again(
    model: str, progress: Progress, n: int | None = None, seed: int = 0, folder: Path = FOLDER
) -> Tried:
    """The stored result of a model, with what putting kept cells together costs in its layout, measured now.

    Raises ModelError for a model that was not tried.
    """
    questions = trial_questions(folder, n, seed)
    with _opened(model, 1, folder, progress) as pipeline:
        tried = stored(pipeline.reader)
        if tried is None:
            raise ModelError(
                f"{pipeline.reader.name} was not tried yet: run 'longthread models try' without --reuse, for both"
            )
        found, states = _prepared(pipeline, questions, progress)
        return replace(tried, reuse=_reuse(pipeline, questions, found, states, tried.layout, progress))


@contextmanager
def _opened(model: str, n_seq_max: int, folder: Path, progress: Progress) -> Iterator[Pipeline]:
    """The built-in pipeline on the folder's documents. Raises ModelError for a bad model, before it indexes them."""
    config = with_generator_settings(with_model(default_pipeline(), model), {"n_seq_max": n_seq_max, "n_cached": 1})
    config.generator.check()
    with TemporaryDirectory() as index, Pipeline(config, Path(index), Listener(progress)) as pipeline:
        update_index(Path(index), [str(folder / "documents")], config.index, progress)
        yield pipeline


def _prepared(
    pipeline: Pipeline, questions: Sequence[TrialQuestion], progress: Progress
) -> tuple[list[State], list[State]]:
    """The questions' states after retrieval, and those after compression."""
    found, chosen = [], []
    for number, question in enumerate(questions):
        found.append(prepared(pipeline, question, RETRIEVAL))
        chosen.append(prepared(pipeline, question))
        progress("find passages", number + 1, len(questions))
    return found, chosen


def _reuse(
    pipeline: Pipeline,
    questions: Sequence[TrialQuestion],
    found: Sequence[State],
    chosen: Sequence[State],
    layout: str,
    progress: Progress,
) -> ReuseTried:
    places = [place for place, question in enumerate(questions) if question.is_answerable]
    answerable = [questions[place] for place in places]
    both = ([found[place] for place in places], [chosen[place] for place in places])
    return try_reuse(pipeline, answerable, *both, layout, progress)


def prepared(pipeline: Pipeline, question: TrialQuestion, kinds: Sequence[str] = SHARED_STAGES) -> State:
    """The question's state after the stages of these kinds: by default, before its prompt is laid out."""
    state = State(Question(question.question, question.id), ledger=pipeline.ledger)
    for stage in pipeline.config.stages:
        if kind_of(stage) in kinds:
            state = run_stage(stage, state, pipeline, pipeline.reserve)
    return state


def ask_all(
    pipeline: Pipeline, states: Sequence[State], layouts: Sequence[str], progress: Progress
) -> list[list[tuple[State, Generation]]]:
    """Assembles and asks every question in every layout; returns (state, generation) pairs per layout."""
    assembler = pipeline.config.assembler
    if not isinstance(assembler, Cited):
        raise ConfigError(f"{pipeline.config.path}: layouts are those of assemble.cited")
    rows = [
        [run_stage(replace(assembler, layout=name), state, pipeline, pipeline.reserve) for name in layouts]
        for state in states
    ]
    laid_out = [state for row in rows for state in row]
    generate = pipeline.config.generator
    samplings = [sampling_for(generate, state) for state in laid_out]
    streams = pipeline.reader.generate([state.prompt for state in laid_out], samplings)
    generations: list[Generation] = []
    for stream in streams:
        progress(f"ask {pipeline.reader.name}", len(generations), len(streams))
        generations.append(stream.result())  # reading one serves all that are in the batch
    answers = list(zip(laid_out, generations, strict=True))
    return [answers[number :: len(layouts)] for number in range(len(layouts))]


def answers_shown(
    pipeline: Pipeline, answers: Sequence[tuple[State, Generation]], progress: Progress
) -> tuple[list[State], list[State]]:
    """Returns the final states for these first answers: with the model's words in the lead (second attempts included),
    and with quotes in the lead.
    """
    generate = pipeline.config.generator
    led = [replace(state, lead="generate") for state, _ in answers]
    first = [judge(state, generation) for state, (_, generation) in zip(led, answers, strict=True)]
    again = [n for n, state in enumerate(led) if is_asked_again(state, first[n])]
    samplings = [second_sampling(sampling_for(generate, led[n])) for n in again]
    streams = pipeline.reader.generate([led[n].second_prompt for n in again], samplings)
    second = {}
    for number, (n, stream) in enumerate(zip(again, streams, strict=True)):
        progress("ask again", number, len(again))
        second[n] = judge(led[n], stream.result())
    generated = [settle(state, first[n], second.get(n))[0] for n, state in enumerate(led)]
    quoted = [settle(replace(state, lead="quote"), judged, None)[0] for state, judged in zip(led, first, strict=True)]
    return generated, quoted


def _n_right(questions: Sequence[TrialQuestion], states: Sequence[State]) -> int:
    """Counts the answerable questions that are answered right."""
    return sum(
        state.answer is not None and not state.answer.is_abstention and _is_right(state.answer.text, question)
        for question, state in zip(questions, states, strict=True)
        if question.is_answerable
    )


def _result(questions: Sequence[TrialQuestion], layout: str, answers: Sequence[tuple[State, Generation]]) -> Result:
    rows = [
        _Row.of(question, state, generation) for question, (state, generation) in zip(questions, answers, strict=True)
    ]
    n_answerable = sum(question.is_answerable for question in questions)
    return Result(
        layout=layout,
        right=sum(row.is_right for row in rows),
        f1=round(sum(row.f1 for row in rows) / n_answerable, 3),
        wordless=sum(row.is_wordless for row in rows),
        looped=sum(row.is_looped for row in rows),
        echoed=sum(row.is_echoed for row in rows),
        faulty=sum(row.is_wordless or row.is_looped or row.is_echoed for row in rows),
        abstained_right=sum(row.is_abstention and not row.is_answerable for row in rows),
        abstained_wrong=sum(row.is_abstention and row.is_answerable for row in rows),
        tokens=sum(generation.prompt_tokens + generation.answer_tokens for _, generation in answers),
    )


@dataclass(frozen=True)
class _Row:
    """One answer, judged. `f1` is 0 for a question without an answer."""

    is_answerable: bool
    is_right: bool
    f1: float
    is_wordless: bool
    is_looped: bool
    is_echoed: bool
    is_abstention: bool

    @classmethod
    def of(cls, question: TrialQuestion, state: State, generation: Generation) -> _Row:
        checked = check(generation.text, generation.finish, question.question)
        return cls(
            is_answerable=question.is_answerable,
            is_right=question.is_answerable and _is_right(checked.text, question),
            f1=best(f1, checked.text, question.answers) if question.is_answerable else 0.0,
            is_wordless=not has_words(generation.text),
            is_looped=LOOPED in checked.faults,
            is_echoed=ECHOED in checked.faults,
            is_abstention=cite(checked.text, state.shown, question.question).is_abstention,
        )


def _is_right(text: str, question: TrialQuestion) -> bool:
    return any(holds(text, answer) for answer in question.answers)


def nearest_sentence(state: State) -> str:
    """Returns the sentence with the compressor's best score, or the best passage if none was scored."""
    if not state.passages:
        return ""
    scored = [(sentence.score, passage, sentence) for passage in state.passages for sentence in passage.sentences]
    if scored:
        _, passage, sentence = max(scored, key=lambda row: row[0])
        return passage.text[sentence.start - passage.start : sentence.end - passage.start]
    best_passage: Passage = max(state.passages, key=lambda passage: passage.score)
    return best_passage.text
