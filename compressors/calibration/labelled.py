"""Reads questions with sentences labelled as supporting the answer or not. Recognises six layouts by their content.

- HotpotQA, 2WikiMultihopQA: `question`, `context` as [title, [sentences]], `supporting_facts` as [title, n];
- WikiQA: question TAB sentence TAB 1 or 0, with the lines of a question together;
- SelQA: `question`, `candidates`, `answers` as numbers of candidates;
- MuSiQue: `paragraphs`, `question_decomposition`. Each step in words ("Who founded #1?", with step 1's answer filled
  in) is a question about its own paragraph. The one sentence with the answer supports it;
- SQuAD, XQuAD: `data`, `paragraphs`, `qas`. The sentence with the answer's span supports it;
- longthread's own: `documents` as lists of sentences by title, and `questions` with HotpotQA's `supporting_facts`. Each
  question comes with the documents that it needs and the ones after them, `N_DOCUMENTS` in all.

JSON may be one value, or one value per line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compressors.selection import Units, split
from pipeline.errors import DataError
from pipeline.evaluation.data.hotpotqa import Paragraphs
from pipeline.evaluation.data.items import json_items_of
from pipeline.executors.question_files import read_utf8
from pipeline.types import Passage

N_DOCUMENTS = 4
_STEP = re.compile(r"#(\d+)")


@dataclass(frozen=True)
class Labelled:
    """One question, its passages cut into units, and whether each unit supports the answer.

    `answers` are the accepted answers, empty if the data has none. `file` is the data's file with its folder.
    """

    question: str
    units: Units
    supports: tuple[bool, ...]
    answers: tuple[str, ...] = ()
    file: str = ""

    @property
    def is_telling(self) -> bool:
        """Whether some units support the answer and others do not. Only such questions are useful for fitting."""
        return any(self.supports) and not all(self.supports)


def read_labelled(path: Path) -> list[Labelled]:
    """Reads the questions of a file, in order. Raises DataError with the place of a bad one."""
    data = read_utf8(path)
    is_json = data.lstrip().startswith((b"{", b"["))
    questions = [] if is_json else _wikiqa(_decoded(data, path), path)
    for where, item in json_items_of(data, path) if is_json else ():
        try:
            questions += list(_layout(item, where)(item))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise DataError(f"{where}: not as its layout asks: {type(error).__name__}: {error}") from None
    if not questions:
        raise DataError(f"{path}: holds no questions")
    return [replace(question, file=f"{path.resolve().parent.name}/{path.name}") for question in questions]


def _decoded(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _layout(item: dict[str, Any], where: str) -> Callable[[dict[str, Any]], Iterator[Labelled]]:
    if "supporting_facts" in item and "context" in item:
        return _hotpot
    if "candidates" in item and "answers" in item:
        return _selqa
    if "question_decomposition" in item and "paragraphs" in item:
        return _musique
    if "data" in item:
        return _squad
    if "documents" in item and "questions" in item:
        return _longthread
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


def _squad(item: dict[str, Any]) -> Iterator[Labelled]:
    for article in item["data"]:
        for n, paragraph in enumerate(article["paragraphs"]):
            text, title = paragraph["context"], str(article.get("title", "")).replace("_", " ")
            passage = Passage(f"{title} {n}", 0, len(text), text, title=title)
            units = units_of([passage])
            for qa in paragraph["qas"]:
                spans = [(answer["answer_start"], len(answer["text"])) for answer in qa["answers"]]
                labels = tuple(any(u.start < s + n and s < u.end for s, n in spans) for u in units.parts)
                answers = tuple(dict.fromkeys(answer["text"] for answer in qa["answers"]))
                yield Labelled(qa["question"], units, labels, answers)


def _musique(item: dict[str, Any]) -> Iterator[Labelled]:
    steps = item["question_decomposition"]
    answers = [str(step["answer"]) for step in steps]
    paragraphs = {paragraph["idx"]: paragraph for paragraph in item["paragraphs"]}
    for n, step in enumerate(steps):
        if ">>" in step["question"]:  # a relation, not a question: "Brand >> author"
            continue
        question = _STEP.sub(lambda match: answers[int(match[1]) - 1], step["question"])
        paragraph = paragraphs[step["paragraph_support_idx"]]
        text, title = paragraph["paragraph_text"], paragraph["title"]
        units = units_of([Passage(f"{title} {item['id']} {n}", 0, len(text), text, title=title)])
        labels = tuple(answers[n].casefold() in unit.text.casefold() for unit in units.parts)
        if sum(labels) == 1:
            yield Labelled(question, units, labels, (answers[n],))


def _longthread(item: dict[str, Any]) -> Iterator[Labelled]:
    titles = list(item["documents"])
    for question in item["questions"]:
        places = [titles.index(title) for title, _ in question["supporting_facts"]]
        last = max(places)
        others = [n % len(titles) for n in range(last + 1, last + len(titles)) if n % len(titles) not in places]
        chosen = sorted([*set(places), *others[: N_DOCUMENTS - len(set(places))]])
        context = [[titles[n], item["documents"][titles[n]]] for n in chosen]
        yield from _hotpot({**question, "context": context})


def _wikiqa(text: str, path: Path) -> list[Labelled]:
    groups: list[tuple[str, list[str], list[bool]]] = []
    for n, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != 3 or cells[2].strip() not in ("0", "1"):
            raise DataError(f"{path}:{n}: must be question TAB sentence TAB 1 or 0, was: {line[:60]}")
        if not groups or groups[-1][0] != cells[0]:
            groups.append((cells[0], [], []))
        if cells[1].strip():
            groups[-1][1].append(cells[1])
            groups[-1][2].append(cells[2].strip() == "1")
    return [Labelled(question, _units([("", sentences)]), tuple(labels)) for question, sentences, labels in groups]


def _units(parts: Sequence[tuple[str, Sequence[str]]]) -> Units:
    """Makes passages from titled lists of sentences, with the sentences as units. Skips blank sentences."""
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
