"""The records of questions: their classes, and the one place of their JSON format.

A `Result` is what the pipeline made of one question: answer, citations, ledger, settings; nothing is shortened. A
`Record` is a line of a run's records.jsonl: a result, or the fault of a sample without one.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.metadata import version
from typing import Any, Literal

from pipeline.config import PipelineConfig
from pipeline.errors import ConfigError, DataError, LongthreadError, MissingExtraError, WindowError
from pipeline.types import (
    Answer,
    Citation,
    Copy,
    Dropped,
    Generation,
    Ledger,
    Passage,
    Place,
    Ranked,
    Recalled,
    Span,
    StageEntry,
    State,
)

_FINAL = (ConfigError, DataError, MissingExtraError, WindowError)
"""Errors that the same sample would meet again: it is not retried."""
_FINAL_NAMES = {kind.__name__ for kind in _FINAL}
_KEYS = ("id", "key", "n", "status", "record")
"""What a line must have to be a record."""


@dataclass(frozen=True)
class TaskFault:
    """Why a sample has no answer. `trace` is that of an error that is not for the user, else empty."""

    type: str
    message: str
    stage: str
    is_final: bool = False
    trace: str = ""

    @classmethod
    def of(cls, error: BaseException, stage: str) -> TaskFault:
        is_known = isinstance(error, LongthreadError)
        trace = "" if is_known else "".join(traceback.format_exception(error))[-4000:]
        return cls(type(error).__name__, str(error), stage, isinstance(error, _FINAL), trace)

    def to_dict(self) -> dict[str, Any]:
        values = {"type": self.type, "message": self.message, "stage": self.stage}
        return {**values, "trace": self.trace} if self.trace else values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TaskFault:
        is_final = values["type"] in _FINAL_NAMES
        return cls(values["type"], values["message"], values["stage"], is_final, values.get("trace", ""))


@dataclass(frozen=True)
class QuestionResult:
    """The outcome of one question.

    `found` are the passages of the retrievers, best first, `shown` those of the prompt, in the order of their numbers.
    `answerable` is the probability of a gate that the documents hold the answer. `config` are the resolved settings;
    a run keeps them once, in run.json, and its results have none.

    Read from JSON, passages lack titles, a citation's passage has its source alone, and a passage of `found` has no
    text: it is among those that were shown, or that the ledger dropped.
    """

    question_id: str
    question: str
    answer: Answer | None
    ledger: Ledger
    found: tuple[Passage, ...] = ()
    shown: tuple[Passage, ...] = ()
    answerable: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    config_hash: str = ""
    version: str = ""

    @classmethod
    def of(cls, state: State, config: PipelineConfig, with_config: bool = True) -> QuestionResult:
        """The outcome of a question that a pipeline has answered."""
        return cls(
            question_id=state.question.id,
            question=state.question.text,
            answer=state.answer,
            ledger=state.ledger,
            found=state.found,
            shown=state.shown,
            answerable=state.answerable,
            config=config.resolved() if with_config else {},
            config_hash=config.hash,
            version=version("longthread"),
        )

    @property
    def text(self) -> str | None:
        """The answer's text; None if the question was stopped before it had one."""
        return None if self.answer is None else self.answer.text

    @property
    def is_abstention(self) -> bool:
        return self.answer is not None and self.answer.is_abstention

    @property
    def citations(self) -> tuple[Citation, ...]:
        return () if self.answer is None else self.answer.citations

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON values."""
        answer, generation = self.answer, self.ledger.generation
        values = {
            "question": {"id": self.question_id, "text": self.question},
            "answer": self.text,
            "is_abstention": self.is_abstention,
            "why": "" if answer is None else answer.why,
            "answerable": None if self.answerable is None else round(self.answerable, 4),
            "by": None if answer is None else answer.by,
            "said": "" if answer is None else answer.said,
            "thoughts": "" if generation is None else generation.thoughts,
            "thought_tokens": 0 if generation is None else generation.thought_tokens,
            "faults": [] if answer is None else list(answer.faults),
            "unsupported": [] if answer is None else list(answer.unsupported),
            "citations": [_citation(citation) for citation in self.citations],
            "found": [_found(passage) for passage in self.found],
            "shown": [_passage(passage) for passage in self.shown],
            "ledger": _ledger(self.ledger),
            "config": dict(self.config),
            "config_hash": self.config_hash,
            "version": self.version,
        }
        return values if self.config else {name: value for name, value in values.items() if name != "config"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> QuestionResult:
        """Reads JSON values, also of older versions. Raises KeyError, TypeError or ValueError for anything else."""
        answer = None
        if values["answer"] is not None:
            answer = Answer(
                values["answer"],
                tuple(_read_citation(citation) for citation in values["citations"]),
                values["is_abstention"],
                values.get("why", ""),
                tuple(values.get("unsupported", ())),
                values.get("by") or "model",
                values.get("said", ""),
                tuple(values.get("faults", ())),
            )
        question = values.get("question") or {}
        return cls(
            question_id=question.get("id", ""),
            question=question.get("text", ""),
            answer=answer,
            ledger=_read_ledger(values["ledger"]),
            found=tuple(
                Passage(passage["source"], passage["start"], passage["end"], "", passage["score"])
                for passage in values.get("found", ())
            ),
            shown=tuple(_read_passage(passage) for passage in values["shown"]),
            answerable=values.get("answerable"),
            config=values.get("config") or {},
            config_hash=values.get("config_hash", ""),
            version=values.get("version", ""),
        )


@dataclass(frozen=True)
class Record:
    """A line of a run: the result of one sample, or its error.

    `n` is the sample's place in the input, from 0, and `key` identifies it with its pipeline and index. `glob` and
    `filter` are the question's own, "" for none. `attempts` are the faults of its retries. `fields` are the input's
    further fields, such as known answers. `run` is the fingerprint of the run that wrote the line; older versions wrote
    none.
    """

    n: int
    id: str
    key: str
    question: str
    result: QuestionResult | None
    error: TaskFault | None = None
    attempts: tuple[TaskFault, ...] = ()
    n_retries: int = 0
    seconds: float = 0.0
    started: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    glob: str = ""
    filter: str = ""

    @property
    def status(self) -> Literal["ok", "error"]:
        return "ok" if self.error is None else "error"

    @property
    def answer(self) -> str | None:
        """The answer's text; None for a sample without one."""
        return None if self.result is None else self.result.text

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON values."""
        scope = {name: value for name, value in (("glob", self.glob), ("filter", self.filter)) if value}
        return {
            "n": self.n,
            "id": self.id,
            "key": self.key,
            "status": self.status,
            "error": None if self.error is None else self.error.to_dict(),
            "retries": self.n_retries,
            "attempts": [attempt.to_dict() for attempt in self.attempts],
            "seconds": self.seconds,
            "started": self.started,
            "fields": dict(self.fields),
            "question": {"id": self.id, "text": self.question} | scope,
            "record": None if self.result is None else self.result.to_dict(),
            **({"run": self.run} if self.run else {}),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """Reads JSON values, also of older versions. Raises ValueError that says what is wrong with them."""
        missing = set(_KEYS) - set(values)
        if missing:
            raise ValueError(f"is no record: it has no {', '.join(sorted(missing))}")
        if not isinstance(values["id"], str) or not isinstance(values["key"], str) or type(values["n"]) is not int:
            raise ValueError("is no record: 'id', 'key' or 'n' has another type")
        has_result = values["status"] == "ok" and isinstance(values["record"], dict)
        error = values.get("error")
        has_error = (
            values["status"] == "error" and isinstance(error, dict) and {"type", "message", "stage"} <= set(error)
        )
        if not has_result and not has_error:
            raise ValueError("is no record: 'status' does not agree with 'record' and 'error'")
        try:
            question = values.get("question") or {}
            return cls(
                n=values["n"],
                id=values["id"],
                key=values["key"],
                question=question.get("text", ""),
                result=None if values["record"] is None else QuestionResult.from_dict(values["record"]),
                error=TaskFault.from_dict(error) if has_error and isinstance(error, dict) else None,
                attempts=tuple(TaskFault.from_dict(attempt) for attempt in values.get("attempts") or ()),
                n_retries=values.get("retries", 0),
                seconds=values.get("seconds", 0.0),
                started=values.get("started", ""),
                fields=values.get("fields") or {},
                run=values.get("run", ""),
                glob=question.get("glob", ""),
                filter=question.get("filter", ""),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as reason:
            raise ValueError(f"is no record of this longthread: {type(reason).__name__}: {reason}") from None


def _ledger(ledger: Ledger) -> dict[str, object]:
    account = asdict(replace(ledger, stages=()))
    stages = [_stage(entry) for entry in ledger.stages]
    return {**account, "stages": stages, "parts": dict(ledger.parts), "prompt_tokens": ledger.prompt_tokens}


def _read_ledger(values: Mapping[str, Any]) -> Ledger:
    generation = values["generation"]
    return Ledger(
        stages=tuple(_read_stage(stage) for stage in values["stages"]),
        parts=tuple(values["parts"].items()),
        window=values["window"],
        reserved=values["reserved"],
        model=values["model"],
        generation=None if generation is None else Generation(**_known(Generation, generation)),
        notes=tuple(values["notes"]),
        recalled=tuple(
            Recalled(**{**_known(Recalled, recalled), "turns": tuple(recalled["turns"])})
            for recalled in values.get("recalled", ())
        ),
        soft=tuple(values.get("soft", (0, 0))),
        layout=values.get("layout", ""),
    )


def _stage(entry: StageEntry) -> dict[str, object]:
    dropped = [
        {"span": asdict(drop.span), "text": drop.text, "place": _place(drop.place), "tokens": drop.tokens}
        | {"why": drop.why}
        for drop in entry.dropped
    ]
    return {**asdict(replace(entry, dropped=())), "dropped": dropped}


def _read_stage(values: Mapping[str, Any]) -> StageEntry:
    dropped = tuple(
        Dropped(Span(**drop["span"]), drop["text"], _read_place(drop["place"]), drop["tokens"], drop["why"])
        for drop in values["dropped"]
    )
    ranked = tuple(Ranked(Span(**passage["span"]), passage["score"]) for passage in values.get("ranked", ()))
    known = {**_known(StageEntry, values), "dropped": dropped, "notes": tuple(values["notes"]), "ranked": ranked}
    return StageEntry(**known)


def _place(place: Place) -> dict[str, Any]:
    return {
        "line": place.line,
        "page": place.page,
        "heading": list(place.heading),
        "paragraph": place.paragraph,
        "label": place.label,
    }


def _read_copies(values: Sequence[Mapping[str, Any]]) -> tuple[Copy, ...]:
    return tuple(Copy(copy["source"], copy["start"], _read_place(copy)) for copy in values)


def _read_place(values: Mapping[str, Any]) -> Place:
    heading = tuple(values["heading"])
    return Place(values["line"], values["page"], heading, values.get("paragraph"), label=values.get("label", ""))


def _citation(citation: Citation) -> dict[str, object]:
    return {
        "number": citation.number,
        "by": citation.by,
        "is_valid": citation.is_valid,
        "support": round(citation.support, 4),
        "drop": None if citation.drop is None else round(citation.drop, 4),
        "source": citation.passage.source if citation.passage else None,
        "quote": _passage(citation.quote) if citation.quote else None,
    }


def _read_citation(values: Mapping[str, Any]) -> Citation:
    source, quote = values["source"], values["quote"]
    return Citation(
        values["number"],
        values["by"],
        None if source is None else Passage(source, 0, 0, ""),
        None if quote is None else _read_passage(quote),
        values.get("support", 0.0),
        values.get("drop"),
    )


def _found(passage: Passage) -> dict[str, object]:
    return {"source": passage.source, "start": passage.start, "end": passage.end, "score": passage.score}


def _copy(copy: Copy) -> dict[str, object]:
    return {"source": copy.source, "start": copy.start, **_place(copy.place)}


def _passage(passage: Passage) -> dict[str, object]:
    return {
        "source": passage.source,
        "start": passage.start,
        "end": passage.end,
        **_place(passage.place),
        "score": passage.score,
        "text": passage.text,
        "spans": [asdict(span) for span in passage.spans],
        **({"near_copies": [_copy(copy) for copy in passage.near_copies]} if passage.near_copies else {}),
        "copies": [_copy(copy) for copy in passage.copies],
    }


def _read_passage(values: Mapping[str, Any]) -> Passage:
    return Passage(
        values["source"],
        values["start"],
        values["end"],
        values["text"],
        values["score"],
        _read_place(values),
        spans=tuple(Span(**span) for span in values["spans"]),
        copies=_read_copies(values.get("copies", ())),
        near_copies=_read_copies(values.get("near_copies", ())),
    )


def _known(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a class has a field for."""
    names = {field.name for field in fields(cls)}
    return {name: value for name, value in values.items() if name in names}
