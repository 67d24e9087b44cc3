"""What is measured of one answered question, as one table.

A metric either applies to a question or not, by what is known of it. Where it applies it has a value, or a reason why
there is none: a reason is kept and counted, and never averaged as if it were a number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from pipeline.answers.citations import without_marks
from pipeline.evaluation.answers import best, contains, exact_match, f1
from pipeline.evaluation.data.dataset import Gold
from pipeline.evaluation.ranking import ranking
from pipeline.evaluation.spans import n_chars, n_common, touches
from pipeline.types import Span

Value = bool | int | float | None


class CannotMeasureError(Exception):
    """The metric applies, and has no value: the message says why."""


@dataclass(frozen=True)
class Seen:
    """One record, as metrics look at it."""

    record: Mapping[str, Any]
    gold: Gold

    @property
    def said(self) -> str:
        """The answer without the numbers that cite; nothing where the pipeline says that there is none."""
        return "" if self.record["is_abstention"] else without_marks(self.record["answer"] or "")

    @cached_property
    def shown(self) -> tuple[Span, ...]:
        """The spans of the prompt's passages; of a summary those that it was made from."""
        return tuple(span for passage in self.record["shown"] for span in _spans(passage))

    @property
    def citations(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.record["citations"]
        return found

    @property
    def supports(self) -> tuple[Span, ...]:
        return self.gold.supports or ()

    @property
    def generation(self) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self.record["ledger"]["generation"]
        return found

    @cached_property
    def ranking(self) -> dict[str, float]:
        return ranking([one["source"] for one in self.record.get("found", ())], self.gold.gains or {})

    def stage_s(self, kind: str = "") -> float:
        return sum(float(e["seconds"]) for e in self.record["ledger"]["stages"] if e["stage"].startswith(kind))

    def generated(self, name: str) -> float:
        """A number of the generation; 0 where the pipeline answered without one."""
        return float(self.generation[name]) if self.generation else 0.0


def _spans(passage: Mapping[str, Any]) -> Iterable[Span]:
    if passage["spans"]:
        return [Span(one["source"], one["start"], one["end"]) for one in passage["spans"]]
    return [Span(passage["source"], passage["start"], passage["end"])]


@dataclass(frozen=True)
class Metric:
    """One column. `better` says which way is better; `applies` to which questions, by what is known of them."""

    name: str
    title: str
    better: Literal["more", "less"]
    what: str
    measure: Callable[[Seen], float] = field(repr=False)
    applies: Callable[[Gold], bool] = field(repr=False, default=lambda gold: True)
    is_cost: bool = False


def _has_answers(gold: Gold) -> bool:
    return bool(gold.answers) or gold.is_answerable is False


def _has_supports(gold: Gold) -> bool:
    return bool(gold.supports)


def _has_gains(gold: Gold) -> bool:
    return bool(gold.gains)


def _answerability(seen: Seen) -> float:
    return float(bool(seen.record["is_abstention"]) != seen.gold.is_answerable)


def _support_recall(seen: Seen) -> float:
    return n_common(seen.supports, seen.shown) / n_chars(seen.supports)


def _support_precision(seen: Seen) -> float:
    n_shown = n_chars(seen.shown)
    if not n_shown:
        raise CannotMeasureError("no passage was shown")
    return n_common(seen.supports, seen.shown) / n_shown


def _citation_precision(seen: Seen) -> float:
    if not seen.citations:
        raise CannotMeasureError("the answer cites nothing")
    return sum(touches(span, seen.supports) for span in _quotes(seen)) / len(seen.citations)


def _citation_recall(seen: Seen) -> float:
    quotes = _quotes(seen)
    return sum(touches(span, quotes) for span in seen.supports) / len(seen.supports)


def _quotes(seen: Seen) -> list[Span]:
    """The quote of each citation that has one. An invalid number has none."""
    quotes = [citation["quote"] for citation in seen.citations if citation["quote"]]
    return [Span(quote["source"], quote["start"], quote["end"]) for quote in quotes]


def _rate(tokens: str, seconds: str) -> Callable[[Seen], float]:
    def measure(seen: Seen) -> float:
        if not seen.generation or not seen.generation[seconds]:
            raise CannotMeasureError("nothing was read or written")
        n = seen.generation[tokens]
        if tokens == "prompt_tokens":  # records of earlier versions have no restored tokens
            n -= seen.generation["reused_tokens"] + seen.generation.get("restored_tokens", 0)
            n += seen.generation.get("stored_tokens", 0)
        return float(n / seen.generation[seconds])

    return measure


def _ranked(name: str) -> Callable[[Seen], float]:
    return lambda seen: seen.ranking[name]


METRICS: tuple[Metric, ...] = (
    Metric(
        "em",
        "EM",
        "more",
        "the answer is an accepted one",
        lambda s: best(exact_match, s.said, s.gold.answers),
        _has_answers,
    ),
    Metric(
        "f1",
        "F1",
        "more",
        "words shared with an accepted answer",
        lambda s: best(f1, s.said, s.gold.answers),
        _has_answers,
    ),
    Metric(
        "contained",
        "contained",
        "more",
        "an accepted answer stands in the answer",
        lambda s: best(contains, s.said, s.gold.answers),
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
        lambda s: float(s.record["ledger"]["prompt_tokens"]),
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
        _rate("prompt_tokens", "prefill_s"),
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
class Measured:
    """The values of one question by metric, and why a metric that applies has none."""

    values: Mapping[str, float] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


def measure(line: Mapping[str, Any]) -> Measured:
    """Everything that applies to one line of a run's records. Nothing can be measured of a sample that failed."""
    gold = Gold.from_json((line.get("fields") or {}).get("gold") or {})
    metrics = [metric for metric in METRICS if metric.applies(gold)]
    if line["status"] != "ok" or not line["record"]:
        why = (line.get("error") or {}).get("message") or "the sample has no record"
        return Measured({}, {metric.name: f"not answered: {why}" for metric in metrics})
    seen = Seen(line["record"], gold)
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    for metric in metrics:
        try:
            values[metric.name] = metric.measure(seen)
        except CannotMeasureError as error:
            missing[metric.name] = str(error)
    return Measured(values, missing)
