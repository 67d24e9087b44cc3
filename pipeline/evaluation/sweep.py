"""Runs all variants of a sweep, and finds the Pareto front of quality, seconds and tokens."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config import PipelineConfig
from pipeline.default import with_default_model, with_model
from pipeline.errors import DataError
from pipeline.evaluation.data.dataset import DataSet
from pipeline.evaluation.evaluate import EvalListener, EvalOptions, Method, evaluate
from pipeline.evaluation.report.plots import COSTS
from pipeline.evaluation.runs import Measures, summary
from pipeline.evaluation.sweep_file import Halving, Sweep, Variant
from pipeline.storage.whole import write_whole

PIPELINES, POINTS = "pipelines", "sweep.json"


@dataclass(frozen=True)
class Point:
    """A variant's means. `is_front`: no other finalist is as good in all three and better in one."""

    variant: Variant
    measures: Measures
    quality: float
    costs: tuple[float, ...]
    is_finalist: bool = True
    is_front: bool = False


def run_sweep(sweep: Sweep, data: DataSet, output: Path, options: EvalOptions, listener: EvalListener) -> list[Point]:
    """Answers the questions without a record. Gives the finalists first, each group by descending quality."""
    write_pipelines(sweep, output)
    settings = sweep.settings
    options = replace(options, limit=settings.limit, sample=settings.sample, seed=settings.seed)
    n = min(x for x in (settings.limit, settings.sample, len(data.items)) if x is not None)
    stay, left = list(sweep.variants), list[Point]()
    for size in rungs(n, sweep.halving, len(stay)):
        # With one seed a larger sample contains the smaller ones, so each round reuses the answers of those before.
        sampling = replace(options, sample=size if sweep.halving or settings.sample else settings.sample)
        methods = [Method(variant.name, _config(variant, settings.model)) for variant in stay]
        measures = evaluate(methods, data, sweep.data, output, sampling, listener, sweep.docs)
        points = sorted(map(lambda v, m: _point(v, m, settings.metric), stay, measures), key=lambda p: -p.quality)
        if size == n:
            return [*_with_front(points), *left]
        n_best = max(1, math.ceil(len(points) / (sweep.halving.factor if sweep.halving else 1)))
        left = [*(replace(point, is_finalist=False) for point in points[n_best:]), *left]
        stay = [point.variant for point in points[:n_best]]
        listener.on_note(f"after {size} questions: {len(stay)} of {len(points)} variants go on")
    raise AssertionError("the last rung is the whole sample")


def rungs(n: int, halving: Halving | None, n_variants: int) -> list[int]:
    """The number of questions in each round. The last round asks all of them. A single variant needs no other round."""
    sizes = []
    size = halving.start if halving else n
    while halving and size < n and n_variants > 1:
        sizes.append(size)
        size *= halving.factor
        n_variants = math.ceil(n_variants / halving.factor)
    return [*sizes, n]


def _config(variant: Variant, model: str | None) -> PipelineConfig:
    return with_model(variant.config, model) if model else with_default_model(variant.config)


def _point(variant: Variant, measures: Measures, metric: str) -> Point:
    quality = measures.interval(metric)
    costs = [measures.interval(cost) for cost in COSTS]
    if quality is None or None in costs:
        raise DataError(f"{variant.name}: not one question has a value of {metric}: see {measures.folder}")
    return Point(variant, measures, quality.mean, tuple(cost.mean for cost in costs if cost is not None))


def _with_front(points: Sequence[Point]) -> list[Point]:
    return [replace(point, is_front=not any(beats(other, point) for other in points)) for point in points]


def beats(point: Point, other: Point) -> bool:
    """Whether `point` is as good as `other` in quality and every cost, and better in at least one."""
    gains = [point.quality - other.quality, *(b - a for a, b in zip(point.costs, other.costs, strict=True))]
    return min(gains) >= 0 and max(gains) > 0


def write_pipelines(sweep: Sweep, output: Path) -> None:
    """Writes each variant as a pipeline file that any command can use."""
    from ruamel.yaml import YAML

    folder = output / PIPELINES
    folder.mkdir(parents=True, exist_ok=True)
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    for variant in sweep.variants:
        kept = {name: part for name, part in variant.value.items() if part}
        text = io.StringIO()
        yaml.dump(kept, text)
        head = f"# {variant.name}: one of {Path(sweep.path).name}\n"
        write_whole(folder / f"{variant.name}.yaml", head + text.getvalue())


def sweep_to_dict(points: Sequence[Point], sweep: Sweep) -> dict[str, object]:
    """The variants with their settings and means, as plain values."""
    metric = sweep.settings.metric
    return {
        "metric": metric,
        "variants": [
            {
                "chosen": dict(point.variant.chosen),
                "is_finalist": point.is_finalist,
                "is_front": point.is_front,
                metric: point.quality,
                **dict(zip(COSTS, point.costs, strict=True)),
                **summary(point.measures, sweep.settings.seed),
            }
            for point in points
        ],
    }


def write_sweep(folder: Path, points: Sequence[Point], sweep: Sweep) -> None:
    """Writes the variants as sweep.json."""
    write_whole(folder / POINTS, json.dumps(sweep_to_dict(points, sweep), indent=1))
