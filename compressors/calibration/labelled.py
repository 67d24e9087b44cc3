"""Reads questions with labelled supporting sentences. It detects six layouts by their form.

- HotpotQA's and 2WikiMultihopQA's: `question`, `context` as [title, [sentences]], `supporting_facts` as [title, n];
- WikiQA's: question TAB sentence TAB 1 or 0, the lines of a question one after the other;
- SelQA's: `question`, `candidates`, `answers` as numbers of candidates;
- MuSiQue's: `paragraphs`, `question_decomposition`; each step that is asked in words ("Who founded #1?", with step 1's
  answer put in) is a question about its own paragraph, whose one sentence with the answer supports it;
- SQuAD's, XQuAD's: `data`, `paragraphs`, `qas`; the sentence with the answer's span supports it;
- our own: `documents` as lists of sentences by title, and `questions` with HotpotQA's `supporting_facts`; a question is
  asked of the documents that it needs and of those that follow them, `N_OWN` in all.

JSON may be one value, or one a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compressors.selection import Units, split
from pipeline.errors import DataError
from pipeline.evaluation.data.hotpotqa import Paragraphs
from pipeline.evaluation.data.items import object_rows
from pipeline.evaluation.data.musique import steps
from pipeline.evaluation.data.squad import SquadItem, squad_items
from pipeline.executors.question_files import read_utf8
from pipeline.types import Passage

N_OWN = 4


@dataclass(frozen=True)
class Labelled:
    """One question, its passages cut into units, and which of the units support the answer.

    `answers` are the accepted answers as text, empty if the data has none. `file` is the data's file with its folder.
    """

    question: str
    units: Units
    supports: tuple[bool, ...]
    answers: tuple[str, ...] = ()
    file: str = ""

    @property
    def is_telling(self) -> bool:
        """Whether some units support the answer and others do not; only such questions are useful for fitting."""
        return any(self.supports) and not all(self.supports)


def read_labelled(path: Path) -> list[Labelled]:
    """Reads a file's questions, in order. Raises DataError, with the place, for an unreadable one."""
    questions, faults = read_usable(path)
    if faults:
        raise DataError(faults[0])
    return questions


def read_usable(path: Path) -> tuple[list[Labelled], list[str]]:
    """Reads the readable questions of a file, in order, and the faults of the others, each with its place.

    Raises DataError for an unreadable file, and for one without a readable question.
    """
    data = read_utf8(path)
    faults: list[str] = []
    if data.lstrip().startswith((b"{", b"[")):
        questions = list(_json_questions(data, path, faults))
    else:
        questions = _wikiqa(_decoded(data, path), path, faults)
    if not questions:
        raise DataError(faults[0] if faults else f"{path}: holds no questions")
    file = f"{path.resolve().parent.name}/{path.name}"
    return [replace(question, file=file) for question in questions], faults


def _json_questions(data: bytes, path: Path, faults: list[str]) -> Iterator[Labelled]:
    for row in object_rows(data, path):
        with _noting(faults, row.where):
            if row.fault:
                raise DataError(f"{row.where}: {row.fault}")
            layout = _layout(row.value, row.where)
            if layout is _squad:
                yield from _squad(path, row.value, row.where, faults)
            elif layout is _own:
                yield from _own(row.value, row.where, faults)
            else:
                yield from layout(row.value)


@contextmanager
def _noting(faults: list[str], where: str) -> Iterator[None]:
    """Adds a fault inside the context to `faults`, with its place."""
    try:
        yield
    except DataError as error:
        faults.append(str(error))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        faults.append(f"{where}: not as its layout asks: {type(error).__name__}: {error}")


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _layout(item: dict[str, Any], where: str) -> Callable[..., Iterator[Labelled]]:
    if "supporting_facts" in item and "context" in item:
        return _hotpot
    if "candidates" in item and "answers" in item:
        return _selqa
    if "question_decomposition" in item and "paragraphs" in item:
        return _musique
    if "data" in item:
        return _squad
    if "documents" in item and "questions" in item:
        return _own
    raise DataError(
        f"{where}: no known layout: it must have context and supporting_facts (HotpotQA), candidates and answers "
        "(SelQA), paragraphs and question_decomposition (MuSiQue), data (SQuAD), or documents and questions (ours); "
        "WikiQA is text with tabs"
    )


def _hotpot(item: dict[str, Any]) -> Iterator[Labelled]:
    paragraphs = Paragraphs.of(item)
    labels = [
        (t, n) in paragraphs.facts for t, sentences in paragraphs.parts for n, s in enumerate(sentences) if s.strip()
    ]
    answer = item.get("answer")
    yield Labelled(
        item["question"], _units(paragraphs.parts), tuple(labels), (answer,) if isinstance(answer, str) else ()
    )


def _selqa(item: dict[str, Any]) -> Iterator[Labelled]:
    labels = [n in item["answers"] for n, sentence in enumerate(item["candidates"]) if sentence.strip()]
    yield Labelled(item["question"], _units([(item.get("article", ""), item["candidates"])]), tuple(labels))


def _squad(path: Path, item: dict[str, Any], where: str, faults: list[str]) -> Iterator[Labelled]:
    units_by_source: dict[str, Units] = {}  # the questions of a paragraph follow one another
    for question in squad_items(path, item, where):
        if not isinstance(question, SquadItem):
            faults.append(question.fault)
            continue
        (document,) = question.question.documents
        if document.source not in units_by_source:
            passage = Passage(document.source, 0, len(document.text), document.text, title=document.title)
            units_by_source = {document.source: units_of([passage])}
        units = units_by_source[document.source]
        labels = tuple(any(u.start < end and start < u.end for start, end in question.spans) for u in units.parts)
        yield Labelled(question.question.text, units, labels, question.gold.answers)


def _musique(item: dict[str, object]) -> Iterator[Labelled]:
    for step in steps(item):
        source = f"{step.title} {item['id']} {step.number}"
        units = units_of([Passage(source, 0, len(step.text), step.text, title=step.title)])
        labels = tuple(step.answer.casefold() in unit.text.casefold() for unit in units.parts)
        if sum(labels) == 1:
            yield Labelled(step.question, units, labels, (step.answer,))


def _own(item: dict[str, Any], where: str, faults: list[str]) -> Iterator[Labelled]:
    titles = list(item["documents"])
    for question in item["questions"]:
        with _noting(faults, f"{where}: {str(question)[:60]}"):
            places = [titles.index(title) for title, _ in question["supporting_facts"]]
            last = max(places)
            others = [n % len(titles) for n in range(last + 1, last + len(titles)) if n % len(titles) not in places]
            chosen = sorted([*set(places), *others[: N_OWN - len(set(places))]])
            context = [[titles[n], item["documents"][titles[n]]] for n in chosen]
            yield from _hotpot({**question, "context": context})


def _wikiqa(text: str, path: Path, faults: list[str]) -> list[Labelled]:
    groups: list[tuple[str, list[str], list[bool]]] = []
    for n, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != 3 or cells[2].strip() not in ("0", "1"):
            faults.append(f"{path}:{n}: must be question TAB sentence TAB 1 or 0, was: {line[:60]}")
            continue
        if not groups or groups[-1][0] != cells[0]:
            groups.append((cells[0], [], []))
        if cells[1].strip():
            groups[-1][1].append(cells[1])
            groups[-1][2].append(cells[2].strip() == "1")
    return [Labelled(question, _units([("", sentences)]), tuple(labels)) for question, sentences, labels in groups]


def _units(parts: Sequence[tuple[str, Sequence[str]]]) -> Units:
    """Converts titled lists of sentences to passages, with the sentences as units. Leaves out blank ones."""
    passages, owners, units = [], [], []
    for owner, (title, sentences) in enumerate(parts):
        text = ""
        spans = []
        for sentence in sentences:
            if not sentence.strip():
                continue
            text += " " if text else ""
            spans.append((len(text), len(text) + len(sentence.strip())))
            text += sentence.strip()
        passage = Passage(f"{title or 'passage'} {owner}", 0, len(text), text, title=title)
        passages.append(passage)
        owners += [owner] * len(spans)
        units += [passage.part(start, end) for start, end in spans]
    return Units(tuple(passages), tuple(owners), tuple(units))


def units_of(passages: Sequence[Passage]) -> Units:
    """Cuts passages as the compressors do."""
    cut = [split(passage) for passage in passages]
    owners = tuple(owner for owner, parts in enumerate(cut) for _ in parts)
    return Units(tuple(passages), owners, tuple(part for parts in cut for part in parts))
