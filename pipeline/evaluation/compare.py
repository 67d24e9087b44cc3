"""Compares runs with the first of them, question by question, and states the result in words.

Runs with different questions, models or indexes are refused, because a difference between them would have several
causes. The caller can name what is allowed to differ.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError, DataError
from pipeline.evaluation.metrics import BY_NAME, Metric
from pipeline.evaluation.runs import Measures
from pipeline.evaluation.statistics import ALPHA, Paired, holm, paired

MAY_DIFFER = ("questions", "models", "indexes")
_MOST_NAMED = 3


@dataclass(frozen=True)
class Difference:
    """One metric of one run against that of the first run. `p` is corrected for the number of runs compared."""

    metric: Metric
    first: str
    second: str
    paired: Paired
    p: float
    n_comparisons: int
    n_left_out: int

    @property
    def is_significant(self) -> bool:
        return self.p < ALPHA

    @property
    def is_better(self) -> bool:
        """Whether the second run's mean is better. This ignores significance."""
        return (self.paired.difference.mean > 0) == (self.metric.better == "more")

    @property
    def verdict(self) -> str:
        """`better` or `worse`, or that there is no (significant) difference."""
        if not self.paired.wins + self.paired.losses:
            return "no difference on any question"
        if not self.is_significant:
            return "no significant difference"
        return "better" if self.is_better else "worse"

    @property
    def p_words(self) -> str:
        """The corrected p: `< 0.001`, `0.010`."""
        return _p(self.p)

    @property
    def words(self) -> str:
        """The verdict with its p values."""
        if not self.paired.wins + self.paired.losses:
            return self.verdict
        evidence = f"p {_p(self.paired.p)}"
        if self.n_comparisons > 1:
            evidence += f", {_p(self.p)} corrected for {self.n_comparisons} comparisons"
        if not self.is_significant:
            return f"{self.verdict} ({evidence})"
        which = "more" if self.paired.difference.mean > 0 else "less"
        return f"{which} than {self.first}: {self.verdict} ({evidence})"


@dataclass(frozen=True)
class RunComparison:
    """Runs and their differences from the first. `notes` list allowed differences and missing questions."""

    runs: tuple[Measures, ...]
    n_common: int
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def compare(
    runs: Sequence[Measures], allow: Collection[str] = (), metrics: Sequence[str] | None = None, seed: int = 0
) -> RunComparison:
    """Compares each run with the first.

    Raises DataError if runs differ in something that `allow` does not name, and ConfigError for unknown names.
    """
    check_names(allow, metrics)
    if len(runs) < 2:
        raise ConfigError("a comparison needs at least two runs")
    notes = _differing(runs, allow)
    common = [row.id for row in runs[0].rows if all(row.id in run.by_id for run in runs)]
    if not common:
        raise DataError("the runs have no question in common: there is nothing to pair")
    if len(common) < max(len(run.rows) for run in runs):
        notes.append(f"{len(common)} questions are in all runs, and only these are compared")
    names = [m.name for m in runs[0].metrics if (metrics is None or m.name in metrics)]
    differences = [d for name in names for d in _of_metric(BY_NAME[name], runs, common, seed)]
    return RunComparison(tuple(runs), len(common), tuple(differences), tuple(notes))


def check_names(allow: Collection[str], metrics: Sequence[str] | None) -> None:
    """Raises ConfigError for an unknown name."""
    from pipeline.settings import nearest

    for what, names, known in (("allow", allow, MAY_DIFFER), ("metrics", metrics or (), tuple(BY_NAME))):
        for name in names:
            if name not in known:
                hint = nearest(name, list(known)) or f"; there are: {', '.join(known)}"
                raise ConfigError(f"`{what}` {name}: there is none of this name{hint}")


def _of_metric(metric: Metric, runs: Sequence[Measures], common: Sequence[str], seed: int) -> list[Difference]:
    """The differences of one metric, with p values corrected together: runs without a common value are left out."""
    first = runs[0]
    results: list[tuple[Measures, Paired, int]] = []
    for run in runs[1:]:
        both = [
            id_
            for id_ in common
            if metric.name in first.by_id[id_].measured.values and metric.name in run.by_id[id_].measured.values
        ]
        if both:
            pair = paired(first.values(metric.name, both), run.values(metric.name, both), metric.better == "more", seed)
            results.append((run, pair, len(common) - len(both)))
    corrected = holm([pair.p for _, pair, _ in results])
    return [
        Difference(metric, first.name, run.name, pair, p, len(results), n_left_out)
        for (run, pair, n_left_out), p in zip(results, corrected, strict=True)
    ]


def _differing(runs: Sequence[Measures], allow: Collection[str]) -> list[str]:
    """Notes on allowed differences. Raises DataError that lists all others."""
    faults, notes = [], []
    for what, message in (("questions", _questions(runs)), ("models", _models(runs)), ("indexes", _indexes(runs))):
        if message and what in allow:
            notes.append(f"allowed: {message}")
        elif message:
            faults.append(f"{message} (to compare them all the same: `allow` {what})")
    if faults:
        raise DataError("these runs cannot be compared:\n" + "\n".join(faults))
    return notes


def _questions(runs: Sequence[Measures]) -> str:
    first = {row.id: row.question_hash for row in runs[0].rows}
    for run in runs[1:]:
        other = {row.id: row.question_hash for row in run.rows}
        changed = [id_ for id_ in first if other.get(id_, first[id_]) != first[id_]]
        if changed:
            return f"{runs[0].name} and {run.name} mean different questions by the same id: {_some(changed)}"
        alone = [*(id_ for id_ in first if id_ not in other), *(id_ for id_ in other if id_ not in first)]
        if alone:
            return (
                f"{runs[0].name} and {run.name} answered different questions: {len(first)} and {len(other)}, "
                f"{len(alone)} of them in one only ({_some(alone)})"
            )
    return ""


def _models(runs: Sequence[Measures]) -> str:
    if len({run.model for run in runs}) < 2:
        return ""
    return "they were read with different models: " + ", ".join(f"{run.name} {run.model_name}" for run in runs)


def _indexes(runs: Sequence[Measures]) -> str:
    if len({run.index for run in runs}) < 2:
        return ""
    return "they searched different indexes: " + ", ".join(
        f"{run.name} {run.index[:12] if run.index else 'none, the documents came with the questions'}" for run in runs
    )


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    return ", ".join(ids[:_MOST_NAMED]) + more


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def as_json(comparison: RunComparison) -> dict[str, Any]:
    """The comparison as JSON values."""
    return {
        "runs": [run.name for run in comparison.runs],
        "n_common": comparison.n_common,
        "notes": list(comparison.notes),
        "differences": [
            {
                "metric": d.metric.name,
                "first": d.first,
                "second": d.second,
                "difference": d.paired.difference.mean,
                "low": d.paired.difference.low,
                "high": d.paired.difference.high,
                "n": d.paired.difference.n,
                "n_left_out": d.n_left_out,
                "p": d.paired.p,
                "p_corrected": d.p,
                "wins": d.paired.wins,
                "losses": d.paired.losses,
                "ties": d.paired.ties,
                "words": d.words,
            }
            for d in comparison.differences
        ],
    }
