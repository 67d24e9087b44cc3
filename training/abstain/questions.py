"""Reads questions on rows marked train, with the documents that answer them and related ones.

Documents are paragraphs. The paragraphs of one article, or the candidates of one question, are in one corpus, so that
very similar documents remain when the right one is taken out. WikiQA has no titles. Half of SelQA's questions are
paraphrased. Each step of MuSiQue is a question. HotpotQA's questions need two paragraphs.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.evaluation.data.hotpotqa import Paragraphs, joined
from pipeline.evaluation.data.items import json_items
from pipeline.types import Document

FILES = {
    "selqa": ("selqa/selqa-ass-test.json",),
    "wikiqa": ("wikiqa/WikiQASent-train.txt",),
    "musique": ("musique/hipporag_train100.json",),
    "hotpotqa": ("hotpotqa/hipporag_train100.json", "hotpotqa/amor_train100.json"),
}
N_CORPORA = 4
"""Number of corpora per set, so that a corpus has the size of a folder: a few hundred paragraphs."""
_STEP = re.compile(r"#(\d+)")


@dataclass(frozen=True)
class SourcedQuestion:
    """A question and the sources of the documents that its answer needs."""

    question: str
    sources: frozenset[str]


@dataclass(frozen=True)
class Corpus:
    documents: tuple[Document, ...]
    questions: tuple[SourcedQuestion, ...]


def corpora(name: str, folder: Path, n_questions: int, seed: int, n_corpora: int | None = None) -> list[Corpus]:
    """The corpora of a set (or the first `n_corpora`), with at most `n_questions` random questions each.

    Raises DataError for a file that cannot be read.
    """
    read = {"selqa": _selqa, "wikiqa": _wikiqa, "musique": _musique}.get(name, _hops)
    try:
        groups = list(read([folder / path for path in FILES[name]]))
    except (OSError, KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{folder}: {name} cannot be read: {type(error).__name__}: {error}") from None
    draw = random.Random(seed)  # noqa: S311 - no secret
    draw.shuffle(groups)
    result = []
    for n in range(N_CORPORA)[:n_corpora]:
        dealt = groups[n::N_CORPORA]
        documents = {document.source: document for group in dealt for document in group.documents}
        questions = list({question.question: question for group in dealt for question in group.questions}.values())
        draw.shuffle(questions)
        result.append(Corpus(tuple(documents.values()), tuple(questions[:n_questions])))
    return result


def _document(title: str, text: str) -> Document:
    return Document(f"{title}: {text}", text, title=title)


def _rows(paths: Sequence[Path]) -> list[dict[str, Any]]:
    return [item for path in paths for _, item in json_items(path)]


def _selqa(paths: Sequence[Path]) -> Iterator[Corpus]:
    """Yields each article with its sections as documents."""
    articles: dict[str, list[tuple[str, Document]]] = {}
    for item in _rows(paths):
        text = " ".join(sentence.strip() for sentence in item["candidates"])
        articles.setdefault(item["article"], []).append((item["question"], _document(item["article"], text)))
    for pairs in articles.values():
        questions = tuple(SourcedQuestion(question, frozenset({document.source})) for question, document in pairs)
        yield Corpus(tuple(document for _, document in pairs), questions)


def _wikiqa(paths: Sequence[Path]) -> Iterator[Corpus]:
    """Yields each question with its document. If no sentence answers the question, yields only the document."""
    by_question: dict[str, list[tuple[str, bool]]] = {}
    for path in paths:
        for line in path.read_text("utf-8").splitlines():
            if line.strip():
                question, sentence, label = line.split("\t")
                by_question.setdefault(question, []).append((sentence.strip(), label.strip() == "1"))
    for question, sentences in by_question.items():
        document = _document("", " ".join(text for text, _ in sentences if text))
        answerable = SourcedQuestion(_as_typed(question), frozenset({document.source}))
        yield Corpus((document,), (answerable,) if any(label for _, label in sentences) else ())


def _as_typed(question: str) -> str:
    """Removes WikiQA's spaces before punctuation and capitalises the first letter."""
    return re.sub(r"\s+(?=[?.,!'’])", "", question[:1].upper() + question[1:])


def _musique(paths: Sequence[Path]) -> Iterator[Corpus]:
    """Yields each item's paragraphs, and its steps in words ("Who founded #1?", with the answer filled in)."""
    for item in _rows(paths):
        documents = {p["idx"]: _document(p["title"], p["paragraph_text"]) for p in item["paragraphs"]}
        steps = item["question_decomposition"]
        answers = [str(step["answer"]) for step in steps]
        questions = [
            SourcedQuestion(
                _filled(step["question"], answers),
                frozenset({documents[step["paragraph_support_idx"]].source}),
            )
            for step in steps
            if ">>" not in step["question"]  # a relation, not a question: "Brand >> author"
        ]
        yield Corpus(tuple(documents.values()), tuple(questions))


def _filled(step: str, answers: Sequence[str]) -> str:
    """Fills in the answers of earlier steps, which a step names by their numbers."""
    return _STEP.sub(lambda match: answers[int(match[1]) - 1], step)


def _hops(paths: Sequence[Path]) -> Iterator[Corpus]:
    for item in _rows(paths):
        paragraphs = Paragraphs.of(item)
        documents = {title: _document(title, joined(sentences)) for title, sentences in paragraphs.parts}
        sources = frozenset(documents[title].source for title, _ in paragraphs.facts if title in documents)
        yield Corpus(tuple(documents.values()), (SourcedQuestion(item["question"], sources),) if sources else ())
