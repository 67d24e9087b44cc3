"""Extraction: asks the same questions of each document alone, for a table with a row per document.

    samples = extraction_samples(read_samples(Path("questions.jsonl")), index.sources)
    run(config, folder, samples, Path("out"))
    write_table(Path("table.csv"), table_of(samples, read_run(Path("out"))))

Each pair of a document and a question is a sample of a batch, restricted to that document. Extraction therefore
resumes, retries and runs on Ray as a batch does, and every cell has a record. A question may have a `type`, which
constrains its answers by a JSON schema: `number`, `integer`, `boolean`, `date`, `text`, or a list of choices.

A schema can force a model to invent a number. A number or date therefore counts only if the shown passages hold it.
Otherwise the only one in the sentence nearest to the question replaces it, and a note says so.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import DataError
from pipeline.executors.folder import Run
from pipeline.executors.samples import Sample
from pipeline.records import QuestionResult, Record
from pipeline.storage.whole import write_whole
from pipeline.text.counting import counted
from pipeline.text.dates import dates
from pipeline.text.numbers import number_spans
from pipeline.types import Passage

FORMATS = (".csv", ".tsv", ".jsonl")
_SCHEMAS: dict[str, object] = {
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
}
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?[\d.,\s]+%?")


Value = str | int | float | bool
"""The value of a cell: JSON without objects and lists."""


@dataclass(frozen=True)
class ExtractedCell:
    """The answer of one document to one question.

    `value` is None if the document does not hold the answer, or if there is no record yet; `note` gives the reason and
    other remarks. `place` and `quote` are those of the sentence that holds the value. `confidence` is the gate's
    probability, in [0, 1], that the document holds the answer; None without a gate.
    """

    value: Value | None = None
    place: str = ""
    quote: str = ""
    confidence: float | None = None
    note: str = ""


@dataclass(frozen=True)
class ExtractedTable:
    """A table of answers. `rows` holds (document, cells); cells are in the order of `questions`, the questions' ids."""

    questions: tuple[str, ...]
    rows: tuple[tuple[str, tuple[ExtractedCell, ...]], ...]

    @property
    def account(self) -> str:
        """`3 documents, 2 questions, 5 of 6 cells filled`."""
        n_filled = sum(cell.value is not None for _, cells in self.rows for cell in cells)
        n = len(self.rows) * len(self.questions)
        size = f"{counted(len(self.rows), 'document')}, {counted(len(self.questions), 'question')}"
        return f"{size}, {n_filled} of {counted(n, 'cell')} filled"


def extraction_samples(questions: Sequence[Sample], sources: Sequence[str]) -> list[Sample]:
    """Makes a sample of every question for every document, document by document.

    Raises DataError for a question with a fault, and for a duplicate id: each column needs its own question.
    """
    faults = [sample.fault for sample in questions if sample.fault]
    if faults:
        raise DataError("\n".join(faults))
    ids = [sample.question.id for sample in questions]
    for id_ in ids:
        if ids.count(id_) > 1:
            raise DataError(f"the id {id_!r} is used by {ids.count(id_)} questions: each column needs its own")
    return [_of_document(sample, source) for source in sources for sample in questions]


def _of_document(sample: Sample, source: str) -> Sample:
    question = replace(
        sample.question,
        id=f"{source}#{sample.question.id}",
        glob=glob.escape(source),
        json_schema=schema_of(sample.fields.get("type")),
    )
    fields = {"document": source, "column": sample.question.id, **sample.fields}
    return replace(sample, question=question, fields=fields, n=None)


def schema_of(type_: object) -> str:
    """Returns the JSON schema of a type, as text; empty for free text. Every schema allows null, for a missing value.

    Raises DataError for an unknown type.
    """
    if type_ in (None, "", "text"):
        return ""
    if isinstance(type_, list) and type_ and all(isinstance(choice, str) for choice in type_):
        return json.dumps({"enum": [*type_, None]})
    schema = _SCHEMAS.get(type_) if isinstance(type_, str) else None
    if schema is None:
        raise DataError(
            f"the type of a question must be {', '.join(_SCHEMAS)}, text, or a list of choices, was: "
            f"{json.dumps(type_, ensure_ascii=False)[:60]}"
        )
    return json.dumps({"anyOf": [schema, {"type": "null"}]})


def table_of(samples: Sequence[Sample], run: Run) -> ExtractedTable:
    """Builds the table of a run's records, with an empty cell for each missing record."""
    records = {record.id: record for record in run.records}
    questions = tuple(dict.fromkeys(str(sample.fields["column"]) for sample in samples))
    rows: dict[str, list[ExtractedCell]] = {}
    for sample in samples:
        cell = _cell(records.get(sample.question.id), sample.fields.get("type"))
        rows.setdefault(str(sample.fields["document"]), []).append(cell)
    return ExtractedTable(questions, tuple((document, tuple(cells)) for document, cells in rows.items()))


def _cell(record: Record | None, type_: object) -> ExtractedCell:
    if record is None:
        return ExtractedCell(note="not answered yet")
    result = record.result
    if record.error is not None or result is None:
        return ExtractedCell(note=f"failed: {record.error.message if record.error else 'no result'}")
    confidence = result.answerable
    if result.answer is None or result.is_abstention:
        why = result.answer.why if result.answer else ""
        return ExtractedCell(confidence=confidence, note=why or "the document does not hold the answer")
    text = result.answer.text
    quotes = [citation.quote for citation in result.citations if citation.quote is not None]
    if not schema_of(type_):
        return _with_quote(text, quotes[:1], confidence, "")
    try:
        value = json.loads(text)
    except ValueError:
        return ExtractedCell(confidence=confidence, note=f"the answer is not of its type: {text[:80]}")
    if value is None:
        return ExtractedCell(confidence=confidence, note="the model found none")
    if not isinstance(type_, str) or type_ not in _READERS:
        return _with_quote(value, quotes[:1], confidence, "")
    return _checked(value, type_, result, quotes, confidence)


def _checked(
    value: Value, type_: str, result: QuestionResult, quotes: Sequence[Passage], confidence: float | None
) -> ExtractedCell:
    """Returns the number or date if a shown sentence holds it, else the only one in a sentence near the question."""
    read = _READERS[type_]
    form = read(json.dumps(value) if not isinstance(value, str) else value)
    sentences = [*quotes, *result.shown]
    holders = [sentence for sentence in sentences if form and form <= read(sentence.text)]
    if holders:
        return _with_quote(value, holders[:1], confidence, "")
    wrote = f"the model wrote {json.dumps(value)}, which stands nowhere"
    in_question = read(result.question)
    for quote in quotes:
        others = read(quote.text) - in_question
        if len(others) == 1:
            (only,) = others
            note = f"{wrote}: this is the only {type_} in a sentence near the question"
            return _with_quote(only if type_ == "date" else json.loads(only), [quote], confidence, note)
    return ExtractedCell(confidence=confidence, note=wrote)


def _with_quote(value: Value, quotes: Sequence[Passage], confidence: float | None, note: str) -> ExtractedCell:
    if not quotes:
        return ExtractedCell(value, confidence=confidence, note=note)
    return ExtractedCell(value, _place(quotes[0]), " ".join(quotes[0].text.split()), confidence, note)


def _numbers(text: str) -> frozenset[str]:
    """Returns the numbers of a text in JSON's form: 510, 10.2, -3; times and dates do not count."""
    values = (
        number.value.rstrip("0").rstrip(".") if "." in number.value else number.value for number in number_spans(text)
    )
    return frozenset(value for value in values if re.fullmatch(r"-?(?:0|[1-9]\d*)(?:\.\d+)?", value))


def _dates(text: str) -> frozenset[str]:
    return frozenset(date.value for date in dates(text))


_READERS = {"number": _numbers, "integer": _numbers, "date": _dates}


def _place(quote: Passage) -> str:
    place = quote.place
    if place.label:
        return place.label
    return f"p. {place.page}" if place.page else f"line {place.line}"


def write_table(path: Path, table: ExtractedTable) -> None:
    """Writes the table whole or not at all. Raises DataError for a suffix of another kind, and OSError."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise DataError(f"{path}: a table is written as {', '.join(FORMATS)}, by its name")
    write_whole(
        path, _json_lines(table) if suffix == ".jsonl" else _delimited(table, "\t" if suffix == ".tsv" else ",")
    )


def _json_lines(table: ExtractedTable) -> str:
    lines = []
    for document, cells in table.rows:
        values = {
            id_: {"value": c.value, "place": c.place, "quote": c.quote, "confidence": c.confidence, "note": c.note}
            for id_, c in zip(table.questions, cells, strict=True)
        }
        lines.append(json.dumps({"document": document, **values}, ensure_ascii=False))
    return "".join(f"{line}\n" for line in lines)


def _delimited(table: ExtractedTable, delimiter: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(["document", *(name for id_ in table.questions for name in _column_names(id_))])
    for document, cells in table.rows:
        writer.writerow([_safe(document), *(_safe(part) for cell in cells for part in _parts(cell))])
    return text.getvalue()


def _column_names(id_: str) -> tuple[str, ...]:
    return id_, f"{id_}: place", f"{id_}: quote", f"{id_}: confidence", f"{id_}: note"


def _parts(cell: ExtractedCell) -> tuple[str, ...]:
    value = "" if cell.value is None else cell.value if isinstance(cell.value, str) else json.dumps(cell.value)
    confidence = "" if cell.confidence is None else f"{cell.confidence:.2f}"
    return value, cell.place, cell.quote, confidence, cell.note


def _safe(text: str) -> str:
    """The text behind an apostrophe where a spreadsheet would take it for a formula: documents wrote it."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text
