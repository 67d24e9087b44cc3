"""Hides the facts of a bAbI story in a book, after BABILong (https://arxiv.org/abs/2406.10149): tasks 1 to 3.

Fidelity: approximate. The books and the example prompts differ. The facts keep their order, with sentences of the book
between them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.errors import DataError
from pipeline.evaluation.needles.draws import Draws
from pipeline.evaluation.needles.prose import excerpt, filler, hide
from pipeline.evaluation.needles.task import Sources, chars_of, over_texts
from pipeline.evaluation.needles.trials import NeedleTrial

QUESTION = (
    "Facts about persons, and about where they and the things they carry are, are scattered through the text. The "
    "later fact counts. {question} Answer with one word.\n"
)
_LINE = re.compile(r"(\d+) (.*)")
_PARTS = re.compile(r"\s*[\t|]\s*")


@dataclass(frozen=True, slots=True)
class Story:
    """A question with the facts before it. `supports` are the indices of the facts that decide the answer."""

    facts: tuple[str, ...]
    question: str
    answer: str
    supports: tuple[int, ...]


@dataclass(frozen=True)
class Babi1:
    """The first task of bAbI: one supporting fact."""

    name: ClassVar[str] = "babi1"
    data: ClassVar[str] = "a folder with its files (qa1..., qa2..., qa3...)"
    has_limit: ClassVar[bool] = False

    @property
    def smallest(self) -> int:
        return 1

    def check(self, pairs: int) -> None:
        """A text that is too short is noticed when it is made: the lengths of the stories differ."""

    def trials(self, pairs: int, seed: int, n: int, sources: Sources) -> list[NeedleTrial]:
        stories = read_stories(self._file(Path(sources.data or "")))
        chars, book = chars_of(pairs), sources.book_text
        return over_texts(lambda seed, n: trials(stories, self.name, chars, seed, n, book), seed, n)

    def _file(self, path: Path) -> Path:
        if path.is_file():
            return path
        pattern = f"qa{self.name[-1]}_*.txt"
        files = sorted(path.glob(pattern))
        if not files:
            raise DataError(f"{path}: there is no file {pattern} of bAbI in it")
        return files[-1]


@dataclass(frozen=True)
class Babi2(Babi1):
    """The second task of bAbI: two supporting facts."""

    name = "babi2"


@dataclass(frozen=True)
class Babi3(Babi1):
    """The third task of bAbI: three supporting facts."""

    name = "babi3"


def read_stories(path: Path) -> list[Story]:
    """Reads the questions of a bAbI file, each with its story so far. Raises DataError with the place of a bad line."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    stories: list[Story] = []
    facts: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise DataError(f"{path}:{number}: is no line of bAbI: it must begin with a number, such as '1 John ...'")
        position, text = int(match[1]), match[2]
        if position == 1:
            facts = {}
        parts = _PARTS.split(text)
        if len(parts) < 3:
            facts[position] = text
            continue
        order = list(facts)
        supports = tuple(order.index(int(support)) for support in parts[2].split() if int(support) in facts)
        stories.append(Story(tuple(facts.values()), parts[0].strip(), parts[1].strip(), supports))
    if not stories:
        raise DataError(f"{path}: holds no question of bAbI")
    return stories


def trials(
    stories: Sequence[Story], task: str, n_chars: int, seed: int, n: int, book: str | None = None
) -> list[NeedleTrial]:
    """Hides `n` stories, each in its own text of about `n_chars` characters. With 0, the facts are the text."""
    draws = Draws(seed, f"babi {task} {n_chars}")
    words = sorted({story.answer for story in stories})
    results = []
    for number, story in enumerate(draws.sample(list(stories), min(n, len(stories)))):
        room = n_chars - sum(len(fact) + 1 for fact in story.facts)
        if n_chars and room < 200:
            raise DataError(f"a story of {len(story.facts)} facts leaves no room for a text in {n_chars} characters")
        if n_chars:
            hay = filler(room, draws) if book is None else excerpt(book, room, draws)
            text = hide(hay, [(story.facts, "forward")], draws)
        else:
            text = "\n".join(story.facts)
        results.append(
            NeedleTrial(
                id=f"{task}-{n_chars}-{seed}-{number}",
                question=QUESTION.format(question=story.question),
                haystack_name=f"{task}-{n_chars}-{seed}-{number}.txt",
                haystack=text,
                needles="\n".join(story.facts[place] for place in story.supports),
                expected=(story.answer,),
                cell=(("task", task), ("chars", n_chars)),
                kind="word",
                strays=frozenset(words) - {story.answer},
            )
        )
    return results
