"""Alters the numeric answers in a text: does the model answer from the text or from memory?

AlteredNumericQA of Giraffe (https://arxiv.org/abs/2308.10882): years move by up to 10, other numbers change to ones of
the same length, everywhere in the text. As in the paper, a reply is scored by presence.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.errors import DataError
from pipeline.evaluation.needles.draws import Draws
from pipeline.evaluation.needles.task import Sources, chars_of
from pipeline.evaluation.needles.trials import NeedleTrial

QUESTION = "{question} Answer from the text above, with the number alone.\n"
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_YEAR = re.compile(r"1\d{3}|20\d{2}")


@dataclass(frozen=True, slots=True)
class NumberQuestion:
    """A question about a paragraph. Its answer holds one number, `number`."""

    id: str
    paragraph: str
    question: str
    number: str


@dataclass(frozen=True)
class Altered:
    """Numeric answers, each over the original text and over an altered one, in turn."""

    name: ClassVar[str] = "altered"
    data: ClassVar[str] = "a SQuAD file"
    has_limit: ClassVar[bool] = False

    @property
    def smallest(self) -> int:
        return 1

    def check(self, pairs: int) -> None:
        """A paragraph that is longer than the size is the whole text."""

    def trials(self, pairs: int, seed: int, n: int, sources: Sources) -> list[NeedleTrial]:
        return trials(read_questions(Path(sources.data or "")), chars_of(pairs), seed, n)[:n]


def read_questions(path: Path) -> list[NumberQuestion]:
    """Reads the questions of a SQuAD file with one number in the answer. Raises DataError for any other file."""
    try:
        articles = json.loads(path.read_text("utf-8"))["data"]
        questions = [
            NumberQuestion(str(item["id"]), str(paragraph["context"]), str(item["question"]), numbers[0])
            for article in articles
            for paragraph in article["paragraphs"]
            for item in paragraph["qas"]
            if len(numbers := _NUMBER.findall(item["answers"][0]["text"])) == 1
            and len(re.findall(r"\w+", item["answers"][0]["text"])) <= 4
        ]
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path}: cannot be read as SQuAD ({type(error).__name__}: {error})") from None
    if not questions:
        raise DataError(f"{path}: holds no question whose answer is a number")
    return questions


def other_number(number: str, draws: Draws) -> str:
    """A different number of the same form: a year at most 10 away, or as many digits without a new leading 0."""
    while True:
        if _YEAR.fullmatch(number):
            other = str(int(number) - 10 + draws.below(21))
        else:
            digits = [str(draws.below(10)) if letter.isdigit() else letter for letter in number]
            if number[0] != "0" and digits[0] == "0":
                digits[0] = str(1 + draws.below(9))
            other = "".join(digits)
        if other != number:
            return other


def alter(text: str, number: str, other: str) -> str:
    """Replaces a number wherever it occurs as a whole."""
    return re.sub(rf"(?<![\d.,]){re.escape(number)}(?!\d|[.,]\d)", other, text)


def trials(questions: list[NumberQuestion], n_chars: int, seed: int, n: int) -> list[NeedleTrial]:
    """Makes `n` questions, each twice: over its original paragraph, and over the altered one.

    Other paragraphs fill the text up to about `n_chars` characters.
    """
    draws = Draws(seed, f"altered {n_chars}")
    paragraphs = list(dict.fromkeys(question.paragraph for question in questions))
    results = []
    for number, question in enumerate(draws.sample(questions, min(n, len(questions)))):
        others: list[str] = []
        for paragraph in draws.shuffled(paragraphs):
            if len(question.paragraph) + sum(map(len, others)) >= n_chars:
                break
            if paragraph != question.paragraph:
                others.append(paragraph)
        place = draws.below(len(others) + 1)
        other = other_number(question.number, draws)
        for is_altered in (False, True):
            changed = alter(question.paragraph, question.number, other) if is_altered else question.paragraph
            texts = [alter(text, question.number, other) if is_altered else text for text in others]
            name = "altered" if is_altered else "unaltered"
            results.append(
                NeedleTrial(
                    id=f"{name}-{n_chars}-{seed}-{number}",
                    question=QUESTION.format(question=question.question),
                    haystack_name=f"{name}-{n_chars}-{seed}-{number}.txt",
                    haystack="\n\n".join([*texts[:place], changed, *texts[place:]]),
                    needles=changed,
                    expected=(other if is_altered else question.number,),
                    cell=(("task", name), ("chars", n_chars)),
                    kind="number",
                    passed=(question.number,) if is_altered else (),
                )
            )
    return results
