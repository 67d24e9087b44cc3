"""The table of metrics of one answered question.

A question's gold decides which metrics apply. A metric that applies has a value, or a reason why it has none. Reasons
are kept and counted. They are never averaged as if they were numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from pipeline.answers.citations import without_marks
from pipeline.evaluation.answers import best, contains, exact_match, f1
from pipeline.evaluation.data.dataset import Gold
from pipeline.evaluation.ranking import ranking
from pipeline.evaluation.spans import n_chars, n_common, touches
from pipeline.records import QuestionResult, Record
from pipeline.types import Generation, Span

Value = bool | int | float | None


class CannotMeasureError(Exception):
    """The metric applies but has no value. The message says why."""


@dataclass(frozen=True)
class JudgedResult:
    """One result and its gold, with the views that metrics need."""

    result: QuestionResult
    gold: Gold

    @property
    def reply(self) -> str:
        """The answer without citation marks. Empty if the pipeline abstained."""
        return "" if self.result.is_abstention else without_marks(self.result.text or "")

    @cached_property
    def shown(self) -> tuple[Span, ...]:
        """The spans of the prompt's passages. A summary counts as the spans that it was made from."""
        return tuple(span for passage in self.result.shown for span in passage.spans or (passage.span,))

    @property
    def quotes(self) -> list[Span]:
        """The quoted spans. A citation with an invalid number has no quote."""
        return [citation.quote.span for citation in self.result.citations if citation.quote is not None]

    @property
    def supports(self) -> tuple[Span, ...]:
        return self.gold.supports or ()

    @property
    def generation(self) -> Generation | None:
        return self.result.ledger.generation

    @cached_property
    def ranking(self) -> dict[str, float]:
        return ranking([passage.source for passage in self.result.found], self.gold.gains or {})

    def stage_s(self, kind: str = "") -> float:
        return sum(entry.seconds for entry in self.result.ledger.stages if entry.stage.startswith(kind))

    def generated(self, name: str) -> float:
        """A number of the generation. 0 if the pipeline answered without generating."""
        return float(getattr(self.generation, name)) if self.generation else 0.0


@dataclass(frozen=True)
class Metric:
    """One column. `better` says which direction is better, `applies` whether a question with this gold has it."""

    name: str
    title: str
    better: Literal["more", "less"]
    what: str
    measure: Callable[[JudgedResult], float] = field(repr=False)
    applies: Callable[[Gold], bool] = field(repr=False, default=lambda gold: True)
    is_cost: bool = False


def _has_answers(gold: Gold) -> bool:
    return bool(gold.answers) or gold.is_answerable is False


def _has_supports(gold: Gold) -> bool:
    return bool(gold.supports)


def _has_gains(gold: Gold) -> bool:
    return bool(gold.gains)


def _answerability(seen: JudgedResult) -> float:
    return float(seen.result.is_abstention != seen.gold.is_answerable)


def _support_recall(seen: JudgedResult) -> float:
    return n_common(seen.supports, seen.shown) / n_chars(seen.supports)


def _support_precision(seen: JudgedResult) -> float:
    n_shown = n_chars(seen.shown)
    if not n_shown:
        raise CannotMeasureError("no passage was shown")
    return n_common(seen.supports, seen.shown) / n_shown


def _citation_precision(seen: JudgedResult) -> float:
    citations = seen.result.citations
    if not citations:
        raise CannotMeasureError("the answer cites nothing")
    return sum(touches(span, seen.supports) for span in seen.quotes) / len(citations)


def _citation_recall(seen: JudgedResult) -> float:
    return sum(touches(span, seen.quotes) for span in seen.supports) / len(seen.supports)


def _rate(tokens: str, seconds: str) -> Callable[[JudgedResult], float]:
    def measure(seen: JudgedResult) -> float:
        if not seen.generated(seconds):
            raise CannotMeasureError("nothing was read or written")
        return seen.generated(tokens) / seen.generated(seconds)

    return measure


def _ranked(name: str) -> Callable[[JudgedResult], float]:
    return lambda seen: seen.ranking[name]


METRICS: tuple[Metric, ...] = (
    Metric(
        "em",
        "EM",
        "more",
        "the answer is an accepted one",
        lambda s: best(exact_match, s.reply, s.gold.answers),
        _has_answers,
    ),
    Metric(
        "f1",
        "F1",
        "more",
        "words shared with an accepted answer",
        lambda s: best(f1, s.reply, s.gold.answers),
        _has_answers,
    ),
    Metric(
        "contained",
        "contained",
        "more",
        "an accepted answer stands in the answer",
        lambda s: best(contains, s.reply, s.gold.answers),
        _has_answers,
    ),
    Metric(
        "answerability",
        "answerability",
        "more",
        "it answers what can be answered, and says so where nothing can",
        _answerability,
        lambda gold: gold.is_answerable is not None,
    ),
    Metric(
        "support_recall",
        "support recall",
        "more",
        "share of the supporting text that the prompt showed",
        _support_recall,
        _has_supports,
    ),
    Metric(
        "support_precision",
        "support precision",
        "more",
        "share of the text that the prompt showed that supports",
        _support_precision,
        _has_supports,
    ),
    Metric(
        "citation_recall",
        "citation recall",
        "more",
        "share of the supporting spans that a citation's quote touches",
        _citation_recall,
        _has_supports,
    ),
    Metric(
        "citation_precision",
        "citation precision",
        "more",
        "share of the citations whose quote touches supporting text",
        _citation_precision,
        _has_supports,
    ),
    Metric("ndcg_at_10", "nDCG@10", "more", "of the documents found", _ranked("ndcg_at_10"), _has_gains),
    Metric("recall_at_10", "recall@10", "more", "of the documents found", _ranked("recall_at_10"), _has_gains),
    Metric("recall_at_100", "recall@100", "more", "of the documents found", _ranked("recall_at_100"), _has_gains),
    Metric("mrr", "MRR", "more", "1 / rank of the first relevant document", _ranked("mrr"), _has_gains),
    Metric(
        "prompt_tokens",
        "prompt tokens",
        "less",
        "tokens that the model was given",
        lambda s: float(s.result.ledger.prompt_tokens),
        is_cost=True,
    ),
    Metric("seconds", "seconds", "less", "of all stages of the question", lambda s: s.stage_s(), is_cost=True),
    Metric("compress_s", "compress s", "less", "of the compressors", lambda s: s.stage_s("compress."), is_cost=True),
    Metric("prefill_s", "prefill s", "less", "of reading the prompt", lambda s: s.generated("prefill_s"), is_cost=True),
    Metric("decode_s", "decode s", "less", "of writing the answer", lambda s: s.generated("decode_s"), is_cost=True),
    Metric(
        "prefill_tokens_per_s",
        "read tokens/s",
        "more",
        "while reading, tokens of the cache apart",
        _rate("read_tokens", "prefill_s"),
        is_cost=True,
    ),
    Metric(
        "decode_tokens_per_s",
        "written tokens/s",
        "more",
        "while writing",
        _rate("answer_tokens", "decode_s"),
        is_cost=True,
    ),
)
BY_NAME = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True)
class MetricValues:
    """The values of one question by metric, and the reasons of applicable metrics without a value."""

    values: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


def measure(record: Record) -> MetricValues:
    """Measures one record of a run. A failed sample has no values, only reasons. Raises DataError for a bad gold."""
    gold = Gold.from_json(record.fields.get("gold"))
    metrics = [metric for metric in METRICS if metric.applies(gold)]
    if record.error is not None or record.result is None:
        why = record.error.message if record.error else "the sample has no record"
        return MetricValues({}, {metric.name: f"not answered: {why}" for metric in metrics})
    seen = JudgedResult(record.result, gold)
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    for metric in metrics:
        try:
            values[metric.name] = metric.measure(seen)
        except CannotMeasureError as error:
            missing[metric.name] = str(error)
    return MetricValues(values, missing)
