"""Measures a model's effective context: doubles the size of a text until a task fails, then bisects.

A size holds if the lower bound of Wilson's 95 % interval of the accuracy is at least the threshold, there and at all
smaller sizes tried. This is the effective context of Needle Threading (https://arxiv.org/abs/2411.05000), which reads
it off a contour at 75 % instead. Replies count by the tolerant score (see scoring.py). The measurement of a size stops
early once it can no longer hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from time import monotonic

from pipeline.config import PipelineConfig
from pipeline.contracts import Progress
from pipeline.errors import ConfigError
from pipeline.evaluation.needles.grid import NeedleCell, NeedleGrid
from pipeline.evaluation.needles.haystack import PAIR_CHARS
from pipeline.evaluation.needles.scoring import score
from pipeline.evaluation.needles.table import TASKS
from pipeline.evaluation.needles.task import NeedleTask, parameter_names, parameters_of
from pipeline.evaluation.needles.trials import NeedleTrial
from pipeline.evaluation.statistics import wilson
from pipeline.listener import Listener
from pipeline.models.effective import EffectiveContext, Measured, TaskContext, settings_of
from pipeline.models.identity import model_key
from pipeline.pipeline import Pipeline
from pipeline.settings import nearest
from pipeline.stages import run_stage
from pipeline.types import Document, Prompt, Question, State

SMALLEST = 6
STEP = 1.2
"""Bisection ends when the smallest failing size is at most this multiple of the largest holding one."""
_GROWTH = 1.3
"""Exponent of the time of a size over its characters: prefill grows a little faster than linearly."""

OnSize = Callable[[str, Measured], None]


@dataclass(frozen=True)
class LimitSettings:
    """What to measure. `tasks` are names, for threads with their length (`thread:2`); see `parse_task`.

    :param threshold: for the lower bound of the accuracy, in (0, 1).
    :param n: questions at each size.
    :param minutes: time limit for all tasks together.
    :param book: documents to hide the sentences in. Default: generated prose.
    """

    tasks: tuple[str, ...] = ("sentences", "single", "thread:2")
    threshold: float = 0.75
    n: int = 20
    minutes: float = 20.0
    seed: int = 0
    book: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for task in self.tasks:
            parse_task(task)
        if not 0 < self.threshold < 1:
            raise ConfigError(f"`threshold` must be in (0, 1), was: {self.threshold}")
        if not 0 < self.minutes < math.inf:
            raise ConfigError(f"`minutes` must be greater than 0, was: {self.minutes}")
        best = wilson(max(self.n, 1), max(self.n, 1)).low or 0.0
        if self.n < 1 or best < self.threshold:
            raise ConfigError(
                f"`n` {self.n} is too few for a threshold of {self.threshold:.0%}: with all right the lower bound is "
                f"{best:.0%}. Ask more questions a size"
            )


def parse_task(text: str) -> NeedleTask:
    """Parses `thread:5` into a task with this length. Other parameters have their defaults."""
    name, _, length = text.partition(":")
    possible = [name for name, task in TASKS.items() if task.has_limit]
    if name not in possible:
        raise ConfigError(f"`tasks`: '{text}' has no limit to find{nearest(name, possible)}: {', '.join(possible)}")
    if not length:
        return TASKS[name]()
    with_length = sorted(name for name in possible if "length" in parameter_names(TASKS[name]))
    if name not in with_length or not length.isdigit() or int(length) < 1:
        raise ConfigError(f"`tasks`: '{text}': only {', '.join(with_length)} have a length, a number from 1 up")
    make: Callable[..., NeedleTask] = TASKS[name]
    return make(length=int(length))


def find_limit(
    settings: LimitSettings,
    config: PipelineConfig,
    progress: Progress,
    on_size: OnSize,
    clock: Callable[[], float] = monotonic,
) -> EffectiveContext:
    """Measures the reader of a pipeline that gives it whole texts (the method `full`). Does not store the result."""
    with Pipeline(config, Path("no index"), Listener(progress)) as pipeline:
        pipeline.window  # noqa: B018 - loads the model, which is not part of the measured time
        started = clock()
        end = started + 60 * settings.minutes
        searches = [_Search(settings, task, pipeline, progress, on_size, clock) for task in settings.tasks]
        share_time(searches, end, clock)
        share_time([search for search in searches if not search.is_settled], end, clock)
        return EffectiveContext(
            model=pipeline.reader.name,
            key=model_key(pipeline.reader),
            settings=settings_of(pipeline.reader),
            threshold=settings.threshold,
            tasks=tuple(search.result() for search in searches),
            n=settings.n,
            seed=settings.seed,
            minutes=round((clock() - started) / 60, 2),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def share_time(searches: Sequence[_Search], end: float, clock: Callable[[], float]) -> None:
    """Runs each search for an equal share of the time left. A search that ran before resumes."""
    for number, search in enumerate(searches):
        search.run(clock() + (end - clock()) / (len(searches) - number))


class _Search:
    """The search for one task. `is_settled` says whether it finished, and did not run out of time."""

    def __init__(
        self,
        settings: LimitSettings,
        name: str,
        pipeline: Pipeline,
        progress: Progress,
        on_size: OnSize,
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.name = name
        self.task = parse_task(name)
        self.pipeline = pipeline
        self.progress = progress
        self.on_size = on_size
        self.clock = clock
        self.until = 0.0
        self.is_settled = False
        self.tried: dict[int, Measured] = {}
        self.seconds: dict[int, float] = {}

    def run(self, until: float) -> None:
        """Searches until a time of the clock. Sizes measured before are not measured again."""
        self.until = until
        self.is_settled = self.search()

    def result(self) -> TaskContext:
        tried = tuple(self.tried[pairs] for pairs in sorted(self.tried))
        return TaskContext(self.name, largest(tried, self.settings.threshold), tried, self.is_settled)

    def search(self) -> bool:
        """Doubles, then bisects. False if the time runs out."""
        max_pairs = self.max_pairs()
        low, high = 0, max(SMALLEST, self.task.smallest)
        if high > max_pairs:
            return True
        while True:
            holds = self.holds(high)
            if holds is None:
                return False
            if not holds:
                break
            low = high
            if high == max_pairs:
                return True
            high = min(2 * high, max_pairs)
        while low and high / low > STEP and high - low > 1:
            middle = round((low * high) ** 0.5)  # the geometric mean, because STEP bounds a ratio
            if middle in (low, high):
                break
            holds = self.holds(middle)
            if holds is None:
                return False
            low, high = (middle, high) if holds else (low, middle)
        return True

    def holds(self, pairs: int) -> bool | None:
        """Whether a size holds; None if there is no time left to measure it."""
        if pairs not in self.tried:
            if self.expected_s(pairs) > self.until - self.clock():
                return None
            started = self.clock()
            self.tried[pairs] = self.measure(pairs)
            self.seconds[pairs] = self.clock() - started
            self.on_size(self.name, self.tried[pairs])
        return self.tried[pairs].low >= self.settings.threshold

    def expected_s(self, pairs: int) -> float:
        if not self.seconds:
            return 0.0
        nearest_size = min(self.seconds, key=lambda size: abs(size - pairs))
        return float(self.seconds[nearest_size] * (pairs / nearest_size) ** _GROWTH)

    def measure(self, pairs: int) -> Measured:
        """Asks up to n questions at a size, as many at once as the engine has sequences."""
        trials = self.grid.trials(NeedleCell(self.task, pairs))
        at_a_time = self.pipeline.config.generator.n_parallel
        hits = n_asked = tokens = 0
        left = iter(trials)
        while batch := list(islice(left, at_a_time)):
            prompts = [self.prompt(trial) for trial in batch]
            tokens = max(tokens, *(self.pipeline.reader.count(prompt) for prompt in prompts))
            for trial, reply in zip(batch, self.answers(prompts), strict=True):
                hits += score(reply, trial.fields, trial.strays or None).tolerant
                n_asked += 1
            self.progress(f"{self.name} at {pairs} pairs", n_asked, len(trials))
            # Stop if the size would fail even with all remaining answers right.
            if (wilson(hits + len(trials) - n_asked, len(trials)).low or 0.0) < self.settings.threshold:
                break
        chars = len(trials[0].haystack)
        return Measured(pairs, chars, tokens, hits, n_asked, round(wilson(hits, n_asked).low or 0.0, 4))

    def answers(self, prompts: Sequence[Prompt]) -> Iterator[str]:
        sampling = self.pipeline.config.generator.sampling
        for stream in self.pipeline.reader.generate(prompts, sampling):
            yield stream.result().text

    def prompt(self, trial: NeedleTrial) -> Prompt:
        """The prompt that the pipeline gives its reader."""
        document = Document(trial.haystack_name, trial.haystack)
        state = State(Question(trial.question, trial.id, documents=(document,)), ledger=self.pipeline.ledger)
        for stage in self.pipeline.config.stages[:-1]:
            state = run_stage(stage, state, self.pipeline, self.pipeline.reserve)
        return state.prompt

    def max_pairs(self) -> int:
        """The largest size whose prompt is certain to fit the window."""
        room = self.pipeline.window - self.pipeline.reserve
        low, high = 0, max(SMALLEST, room)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.fits(middle, room) else (low, middle - 1)
        return low

    def fits(self, pairs: int, room: int) -> bool:
        """Whether a text of `pairs` pairs fits. Extrapolates from the tokens of a small text, with 3 % to spare."""
        return pairs * self.tokens_per_pair + self.tokens_of_question <= room

    @property
    def tokens_per_pair(self) -> float:
        if not hasattr(self, "_per_pair"):
            trial = self.probe
            count = self.pipeline.reader.count_text
            pairs = max(1, len(trial.haystack) / PAIR_CHARS)
            self._per_pair = 1.03 * count(trial.haystack) / pairs
            self._question = count(trial.question) + 64
        return self._per_pair

    @property
    def tokens_of_question(self) -> int:
        self.tokens_per_pair  # noqa: B018 - counts both
        return self._question

    @property
    def probe(self) -> NeedleTrial:
        """One trial of about 40 pairs, to count its tokens."""
        pairs = max(40, self.task.smallest, parameters_of(self.task).get("length", 1))
        return replace(self.grid, n=1).trials(NeedleCell(self.task, pairs))[0]

    @property
    def grid(self) -> NeedleGrid:
        settings = self.settings
        return NeedleGrid((self.task.name,), n=settings.n, seed=settings.seed, book=settings.book)


def largest(tried: Sequence[Measured], threshold: float) -> Measured | None:
    """The largest size that holds together with all smaller ones. `tried` is in ascending order."""
    effective = None
    for measured in tried:
        if measured.low < threshold:
            break
        effective = measured
    return effective
