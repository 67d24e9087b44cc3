"""Calibrates compressors for a model's file on labelled sentences, and stores the result."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from compressors.calibration.labelled import Labelled, read_usable
from compressors.calibration.store import ExitCalibration, ProbeCalibration, store
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.contracts import Progress
    from pipeline.models.engine import Engine

Method = Literal["probe", "exit", "attention"]
METHODS: tuple[Method, ...] = get_args(Method)
DEFAULT_METHODS = METHODS[:2]
OURS = Path(__file__).parent.parent / "calibrated" / "questions.json"
_LEAST_WINDOW = 128


@dataclass(frozen=True)
class CalibrationSettings:
    """What to fit, and to which data.

    :param data: files of labelled questions. Default: those shipped with longthread.
    :param n: questions to draw from each file.
    :param recall: for `exit`: the share of the supporting sentences that its threshold keeps, in (0, 1).
    :param window: tokens that the model reads at a time.
    :param lora: for `exit`: an adapter in GGUF form.
    :param seed: of the draw and of the folds.
    """

    methods: tuple[Method, ...] = DEFAULT_METHODS
    data: tuple[Path, ...] = (OURS,)
    n: int = 200
    recall: float = 0.95
    window: int = 2048
    lora: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.methods:
            if name not in METHODS:
                raise ConfigError(f"`methods` must be one of {', '.join(METHODS)}, was: {name}")
        if not 0 < self.recall < 1:
            raise ConfigError(f"`recall` must be between 0 and 1, was: {self.recall}")
        if self.window < _LEAST_WINDOW:
            raise ConfigError(f"`window` must be at least {_LEAST_WINDOW}, was: {self.window}")
        if self.n < 1:
            raise ConfigError(f"`n` must be at least 1, was: {self.n}")


def calibrate(
    settings: CalibrationSettings, model: str, on_faults: Callable[[Path, list[str]], None], progress: Progress
) -> list[tuple[ExitCalibration | ProbeCalibration, Path]]:
    """Fits each method to the model, stores the calibrations, and returns them with their files.

    `on_faults` receives each data file with the reasons why some of its questions cannot be used.
    """
    questions: list[Labelled] = []
    for path in settings.data:
        usable, faults = read_usable(path)
        on_faults(path, faults)
        questions += sampled(usable, settings.n, settings.seed)
    results = []
    for method in dict.fromkeys(settings.methods):
        calibration = _fit(method, model, questions, settings, progress)
        results.append((calibration, store(calibration)))
    return results


def sampled(questions: Sequence[Labelled], n: int, seed: int) -> list[Labelled]:
    """At most n of the questions that can teach something, drawn with the seed, in their order."""
    telling = [question for question in questions if question.is_telling]
    if len(telling) <= n:
        return telling
    places = sorted(random.Random(seed).sample(range(len(telling)), n))  # noqa: S311 - a sample, no secret
    return [telling[place] for place in places]


def _fit(
    method: Method, model: str, questions: Sequence[Labelled], settings: CalibrationSettings, progress: Progress
) -> ExitCalibration | ProbeCalibration:
    names = list(dict.fromkeys(question.file for question in questions))
    with _open(model, method, settings, progress) as engine:
        if method == "probe":
            from compressors.calibration import probe_heads
            from pipeline.retrieval.embedder import open_embedder

            seen = probe_heads.look(questions, engine, open_embedder("minilm"), settings.window, progress)
            return probe_heads.fit(seen, engine, names, settings.seed, progress=progress)
        if method == "attention":
            from compressors.calibration import attention_heads
            from pipeline.retrieval.embedder import open_embedder

            embedder = open_embedder("minilm")
            return attention_heads.fit(questions, engine, embedder, settings.window, names, settings.seed, progress)
        from compressors.calibration import exit_threshold

        judged = exit_threshold.judge(questions, engine, settings.window, progress)
        return exit_threshold.fit(judged, engine, names, settings.seed, settings.recall)


def _open(model: str, method: Method, settings: CalibrationSettings, progress: Progress) -> Engine:
    """The model, from the file that tuning found fastest, in a context as large as the method needs."""
    from pipeline.gguf.catalogue import resolve
    from pipeline.gguf.tune import tuned
    from pipeline.models.engine import open_engine
    from pipeline.models.settings import EngineSettings, Lora

    path, window = resolve(model), settings.window
    if method == "probe":
        engine_settings = EngineSettings(model=model, n_ctx=window, n_seq_max=1, n_cached=0)
    elif method == "attention":
        engine_settings = EngineSettings(model=model, n_ctx=window, n_seq_max=1, n_cached=1)
    else:
        adapters = (Lora(settings.lora),) if settings.lora else ()
        engine_settings = EngineSettings(model=model, n_ctx=window, n_cells=2 * window, lora=adapters)
    return open_engine(engine_settings, tuned(path, "score") or path, progress)
