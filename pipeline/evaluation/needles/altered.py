"""Questions whose numeric answers are altered in the text: does the answer come from the text, or from memory?

AlteredNumericQA of Giraffe (https://arxiv.org/abs/2308.10882): years move by up to 10, other numbers become others of
as many digits, everywhere in the text. A reply is scored by presence, as there.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DataError
from pipeline.evaluation.needles.draws import Draws
from pipeline.evaluation.needles.trials import Trial

QUESTION = "{question} Answer from the text above, with the number alone.\n"
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_YEAR = re.compile(r"1\d{3}|20\d{2}")


@dataclass(frozen=True, slots=True)
class NumberQuestion:
    """A question about a paragraph whose answer holds one number, `number`."""

    id: str
    paragraph: str
    question: str
    number: str


def read_questions(path: Path) -> list[NumberQuestion]:
    """The questions of a SQuAD file with one number in the answer. Raises DataError for a file that is none."""
    try:
        articles = json.loads(path.read_text("utf-8"))["data"]
        found = [
            NumberQuestion(str(asked["id"]), str(paragraph["context"]), str(asked["question"]), numbers[0])
            for article in articles
            for paragraph in article["paragraphs"]
            for asked in paragraph["qas"]
            if len(numbers := _NUMBER.findall(asked["answers"][0]["text"])) == 1
            and len(re.findall(r"\w+", asked["answers"][0]["text"])) <= 4
        ]
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path}: cannot be read as SQuAD ({type(error).__name__}: {error})") from None
    if not found:
        raise DataError(f"{path}: holds no question whose answer is a number")
    return found


def other_number(number: str, draws: Draws) -> str:
    """Another number of the same look: a year at most 10 away, else one of as many digits, none of them leading 0."""
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
    """The text with a number replaced wherever it stands as a whole."""
    return re.sub(rf"(?<![\d.,]){re.escape(number)}(?!\d|[.,]\d)", other, text)


def trials(questions: list[NumberQuestion], n_chars: int, seed: int, n: int) -> list[Trial]:
    """`n` questions, each twice: over its paragraph as it is and with the number altered, among other paragraphs up to
    about `n_chars` characters.
    """
    draws = Draws(seed, f"altered {n_chars}")
    paragraphs = list(dict.fromkeys(one.paragraph for one in questions))
    found = []
    for number, one in enumerate(draws.sample(questions, min(n, len(questions)))):
        others: list[str] = []
        for paragraph in draws.shuffled(paragraphs):
            if len(one.paragraph) + sum(map(len, others)) >= n_chars:
                break
            if paragraph != one.paragraph:
                others.append(paragraph)
        place = draws.below(len(others) + 1)
        other = other_number(one.number, draws)
        for is_altered in (False, True):
            own = alter(one.paragraph, one.number, other) if is_altered else one.paragraph
            texts = [alter(text, one.number, other) if is_altered else text for text in others]
            name = "altered" if is_altered else "unaltered"
            found.append(
                Trial(
                    id=f"{name}-{n_chars}-{seed}-{number}",
                    question=QUESTION.format(question=one.question),
                    haystack_name=f"{name}-{n_chars}-{seed}-{number}.txt",
                    haystack="\n\n".join([*texts[:place], own, *texts[place:]]),
                    needles=own,
                    expected=(other if is_altered else one.number,),
                    cell=(("task", name), ("chars", n_chars)),
                    kind="number",
                    passed=(one.number,) if is_altered else (),
                )
            )
    return found
