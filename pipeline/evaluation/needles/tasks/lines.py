"""LongChat-Lines: find the number in one line of many (https://lmsys.org/blog/2023-06-29-longchat/).

Fidelity: faithful in the lines and the question. The words of the line indices are ours, unless the user names a file
of the original prompts.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.errors import DataError
from pipeline.evaluation.needles.draws import Draws
from pipeline.evaluation.needles.nouns import ADJECTIVES, NOUNS
from pipeline.evaluation.needles.task import Sources, chars_of, over_texts
from pipeline.evaluation.needles.trials import NeedleTrial

HEAD = (
    "Below is a record of lines that you have to remember. Each line begins with 'line <line index>' and holds a "
    "'<REGISTER_CONTENT>' at its end, which is a number. Keep in mind the <REGISTER_CONTENT> of each line index. After "
    "the record you will be asked for the one of a certain line index. The record starts here:\n"
)
QUESTION = (
    "The record is over. Tell me what the <REGISTER_CONTENT> in line {index} is. I need the number, and nothing else.\n"
)


LINE_CHARS = 56


@dataclass(frozen=True)
class Lines:
    """The number in a line. With data, the prompts of an original file."""

    name: ClassVar[str] = "lines"
    data: ClassVar[str] = ""
    has_limit: ClassVar[bool] = True

    @property
    def smallest(self) -> int:
        return 1

    def check(self, pairs: int) -> None:
        """A record of one line fits every size."""

    def trials(self, pairs: int, seed: int, n: int, sources: Sources) -> list[NeedleTrial]:
        if sources.data is not None:
            return read_trials(Path(sources.data), n)
        n_lines = max(1, chars_of(pairs) // LINE_CHARS)
        return over_texts(lambda seed, n: trials(n_lines, seed, min(n, 10)), seed, n)


def trials(n_lines: int, seed: int, n: int) -> list[NeedleTrial]:
    """Makes up to `n` questions over one record of lines, at evenly spaced depths."""
    if n_lines < 1:
        raise DataError(f"a record needs at least 1 line, asked for: {n_lines}")
    draws = Draws(seed, f"lines {n_lines}")
    max_lines = len(ADJECTIVES) * len(NOUNS)
    if n_lines > max_lines:
        raise DataError(f"there are names for {max_lines} lines, asked for: {n_lines}")
    names = draws.sample([f"{adjective}-{noun}" for adjective in ADJECTIVES for noun in NOUNS], n_lines)
    numbers = [str(1 + draws.below(49_999)) for _ in names]
    lines = [f"line {name}: REGISTER_CONTENT is <{number}>" for name, number in zip(names, numbers, strict=True)]
    text = HEAD + "\n".join(lines)
    n = min(n, n_lines)
    places = [round(step * (n_lines - 1) / max(1, n - 1)) for step in range(n)]
    return [
        NeedleTrial(
            id=f"lines-{n_lines}-{seed}-{number}",
            question=QUESTION.format(index=names[place]),
            haystack_name=f"lines-{n_lines}-{seed}.txt",
            haystack=text,
            needles=lines[place],
            expected=(numbers[place],),
            cell=(("task", "lines"), ("lines", n_lines)),
            kind="number",
            strays=frozenset(numbers) - {numbers[place]},
            depth=place / max(1, n_lines - 1),
        )
        for number, place in enumerate(places)
    ]


def read_trials(path: Path, n: int) -> list[NeedleTrial]:
    """Reads the first `n` prompts of an original file (JSON lines with `prompt` and `expected_number`)."""
    results = []
    for number, line in enumerate(_lines(path)[:n], 1):
        try:
            row = json.loads(line)
            prompt, answer = str(row["prompt"]), str(row["expected_number"])
            n_lines = int(row["num_lines"])
            needle = str(row["correct_line"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}:{number}: is no prompt of LongChat-Lines ({type(error).__name__}: {error}): it needs prompt, "
                "expected_number, correct_line and num_lines"
            ) from None
        record, question = _split(prompt)
        place = record.find(needle)
        results.append(
            NeedleTrial(
                id=f"lines-{path.stem}-{number}",
                question=question,
                haystack_name=f"lines-{path.stem}-{number}.txt",
                haystack=record,
                needles=needle.strip(),
                expected=(answer,),
                cell=(("task", "lines"), ("lines", n_lines)),
                kind="number",
                strays=frozenset(re.findall(r"<(\d+)>", record)) - {answer},
                depth=max(0, place) / max(1, len(record)),
            )
        )
    return results


def _split(prompt: str) -> tuple[str, str]:
    """Splits a prompt into the record and the question after it."""
    last = [match.end() for match in re.finditer(r"^line [^\n]*<\d+>[^\n]*$", prompt, re.MULTILINE)]
    end = last[-1] if last else 0
    return prompt[:end], prompt[end:].strip()


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
