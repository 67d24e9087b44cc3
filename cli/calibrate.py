"""`longthread calibrate`: fits compressors to a model's file on labelled sentences, and keeps what it found."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from cli.output import SafeConsole, print_json, print_line
from cli.printing import table
from cli.progress import Display
from compressors.calibration.labelled import Labelled, read_usable
from compressors.calibration.store import ExitCalibration, ProbeCalibration, store
from pipeline.errors import ConfigError
from pipeline.text.visible import one_line

if TYPE_CHECKING:
    from pipeline.contracts import Progress
    from pipeline.models.engine import Engine

METHODS = ("probe", "exit", "attention")
DEFAULTS = METHODS[:2]
MOST = 200
_LISTED = 10
OURS = Path(__file__).parent.parent / "compressors" / "calibrated" / "questions.json"


def run(
    model: str,
    data: Sequence[str] | None,
    method: Sequence[str] | None,
    n: int | None,
    recall: float,
    window: int,
    lora: str | None,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> int:
    methods = _checked(method, recall, window, n)
    paths = [Path(path) for path in data] if data else [OURS]
    sample = [question for path in paths for question in sampled(_read(path), n or MOST, seed)]
    names = list(dict.fromkeys(one.file for one in sample))
    with Display(quiet) as display:
        kept = []
        for name in methods:
            found = _fit(name, model, sample, names, recall, window, lora, seed, display)
            kept.append((found, store(found)))
        display.stop()
    if as_json:
        said = [{"method": one.method, "path": str(path), **asdict(one)} for one, path in kept]
        print_json(said)
        return 0
    rows = [_row(one, path) for one, path in kept]
    SafeConsole().print(table("", ("method", "found", "on", "AUC", "recall", "kept", "file"), rows))
    return 0


def _read(path: Path) -> list[Labelled]:
    """The questions of a file that can be used; of the others it is said why not."""
    questions, faults = read_usable(path)
    for fault in faults[:_LISTED]:
        print_line(f"left out: {one_line(fault)}", is_error=True)
    if len(faults) > _LISTED:
        print_line(f"left out: {len(faults) - _LISTED} more of {path}", is_error=True)
    return questions


def _checked(method: Sequence[str] | None, recall: float, window: int, n: int | None) -> Sequence[str]:
    methods = tuple(dict.fromkeys(method or DEFAULTS))
    for name in methods:
        if name not in METHODS:
            raise ConfigError(f"--method must be one of {', '.join(METHODS)}, was: {name}")
    if not 0 < recall < 1:
        raise ConfigError(f"--recall must be between 0 and 1, was: {recall}")
    if window < 128:
        raise ConfigError(f"--window must be at least 128, was: {window}")
    if n is not None and n < 1:
        raise ConfigError(f"-n must be at least 1, was: {n}")
    return methods


def sampled(questions: Sequence[Labelled], n: int, seed: int) -> list[Labelled]:
    """At most n of the questions that can teach something, drawn with the seed, in their order."""
    telling = [one for one in questions if one.is_telling]
    if len(telling) <= n:
        return telling
    places = sorted(random.Random(seed).sample(range(len(telling)), n))  # noqa: S311 - a sample, no secret
    return [telling[place] for place in places]


def _fit(
    method: str,
    model: str,
    sample: Sequence[Labelled],
    names: Sequence[str],
    recall: float,
    window: int,
    lora: str | None,
    seed: int,
    progress: Progress,
) -> ExitCalibration | ProbeCalibration:
    with opened(model, method, window, lora if method == "exit" else None, progress) as engine:
        if method == "probe":
            from compressors.calibration import probe_heads
            from pipeline.retrieval.embedder import open_embedder

            seen = probe_heads.look(sample, engine, open_embedder("minilm"), window, progress)
            return probe_heads.fit(seen, engine, names, seed, progress=progress)
        if method == "attention":
            from compressors.calibration import attention_heads
            from pipeline.retrieval.embedder import open_embedder

            return attention_heads.fit(sample, engine, open_embedder("minilm"), window, names, seed, progress)
        from compressors.calibration import exit_threshold

        judged = exit_threshold.judge(sample, engine, window, progress)
        return exit_threshold.fit(judged, engine, names, seed, recall)


def opened(model: str, method: str, window: int, lora: str | None, progress: Progress) -> Engine:
    """The model, from the file that tuning found fastest, in a context that is as large as the method needs."""
    from pipeline.models.catalogue import resolve
    from pipeline.models.engine import open_engine
    from pipeline.models.settings import EngineSettings, Lora
    from pipeline.models.tune import tuned

    path = resolve(model)
    adapters = (Lora(lora),) if lora else ()
    if method == "probe":
        settings = EngineSettings(model=model, n_ctx=window, n_seq_max=1, n_cached=0)
    elif method == "attention":
        settings = EngineSettings(model=model, n_ctx=window, n_seq_max=1, n_cached=1)
    else:
        settings = EngineSettings(model=model, n_ctx=window, n_cells=2 * window, lora=adapters)
    return open_engine(settings, tuned(path, "score") or path, progress)


def _row(one: ExitCalibration | ProbeCalibration, path: Path) -> tuple[str, ...]:
    evidence = one.evidence
    found = f"P(Yes) >= {one.threshold:.4g}" if isinstance(one, ExitCalibration) else f"{len(one.heads)} heads"
    on = f"{evidence.n_questions} questions, {evidence.n_sentences} sentences"
    figures = (f"{evidence.auc:.3f}", f"{evidence.recall:.3f}", f"{evidence.kept_ratio:.2f}")
    return (one.method, found, on, *figures, str(path))
