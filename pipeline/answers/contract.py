"""What an answer must be before it is shown: words, without loops or echoes, and complete or marked as cut.

Repairs come in a fixed order: echoes of the prompt and repetitions are cut at their first occurrence, then what is left
is judged. An answer that is judged unusable is asked for once more (pipeline/executors/stages.py), and if that fails a
sentence of the documents takes its place. Whether an answer's names and numbers stand in the documents is checked in
pipeline/answers/citations.py, which knows the documents.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.text.words import content_words
from pipeline.types import Finish

LOOPED, ECHOED, CUT = "it repeated itself", "it repeated the prompt", "it was cut at max_tokens"
WORDLESS, NOTHING_NEW = "it has no words", "it only repeats the question"

_MARKS = re.compile(r"\[\s*(?:passages?\s*)?\d{1,4}(?:\s*[,;&]\s*\d{1,4})*\s*\]", re.IGNORECASE)
_DELIMITER = re.compile(r"</?\s*(?:passage|memory)\d*\b[^>\n]{0,40}>?|\bpassage\s+\d+\s*:", re.IGNORECASE)
_NEXT_QUESTION = re.compile(r"(?:\A|\n)\s*(?:Question|Passages?|Context|User|Human)\s*:", re.IGNORECASE)
_LEAD = re.compile(
    r"\A\W*(?:(?:sure|certainly|of course)[,.!]\s*)?(?:(?:the\s+)?(?:final\s+|correct\s+)?answer(?:\s+to the question)?"
    r"(?:\s+is)?\s*[:.]\s*|answer\s+)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»)\]]*(?=\s|\Z)")
_YES_NO = re.compile(
    r"\A\W*(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|may|must|should|shall)\b", re.I
)
_WORD = re.compile(r"\S+")
MAX_PERIOD = 40
"""The longest repeated phrase, in words, that is looked for."""


@dataclass(frozen=True)
class Checked:
    """An answer after repair. `faults` says what was repaired; `unusable` why it must not be shown, empty if it may."""

    text: str
    faults: tuple[str, ...]
    unusable: str = ""


def check(text: str, finish: Finish, question: str) -> Checked:
    """The answer, repaired as far as it can be, and whether it may be shown.

    An answer that was cut at max_tokens ends after its last whole sentence, if it has one.
    """
    faults: list[str] = []
    whole = text.strip()
    text, is_echo = _without_echo(whole)
    if is_echo:
        faults.append(ECHOED)
    text, is_loop = _without_loop(text)
    if is_loop:
        faults.append(LOOPED)
    if finish == "length" and not is_loop and not is_echo:
        faults.append(CUT)
        ends = [match.end() for match in _SENTENCE_END.finditer(text)]
        text = text[: ends[-1]] if ends else text
    text = text.strip()
    if not has_words(text):
        return Checked(text, tuple(faults), faults[0] if faults else WORDLESS)
    if says_nothing_new(text, question):
        return Checked(text, tuple(faults), NOTHING_NEW)
    return Checked(text, tuple(faults))


def has_words(text: str) -> bool:
    """Whether anything is said: a letter or a digit outside citation marks and phrases such as `The answer is:`."""
    bare = _LEAD.sub("", _MARKS.sub(" ", text))
    bare = re.sub(r"\A\W*(?:the\s+)?answer(?:\s+is)?\W*\Z", "", bare, flags=re.IGNORECASE)
    return any(map(str.isalnum, bare))


def says_nothing_new(text: str, question: str) -> bool:
    """Whether every content word of the answer stands in the question, although the question asks for one.

    Questions that can be answered with yes, no, or one of the things that they name are left alone.
    """
    if _YES_NO.match(question) or re.search(r"\b(?:or|oder|veya|yoksa|which|welche[rsn]?|hangi)\b", question, re.I):
        return False
    said = set(content_words(_MARKS.sub(" ", text)))
    return bool(said) and said <= set(content_words(question))


def without_lead(text: str) -> str:
    """The answer without an opening such as `Answer:`; the text itself where nothing would be left."""
    bare = _LEAD.sub("", text, count=1).strip()
    return bare or text


def _without_echo(text: str) -> tuple[str, bool]:
    """The text without delimiters of the prompt, up to where it begins another question or passage."""
    cut = _NEXT_QUESTION.search(text)
    is_echo = cut is not None
    if cut is not None:
        text = text[: cut.start()]
    opening = _DELIMITER.match(text.lstrip())
    if opening:  # it copies a passage, tags and all: what stands between them may answer
        text, is_echo = text.lstrip()[opening.end() :], True
    inside = _DELIMITER.search(text)
    if inside:
        text, is_echo = text[: inside.start()], True
    return text.strip(), is_echo


def _without_loop(text: str) -> tuple[str, bool]:
    """The text up to its first repetition: a phrase said three times in a row (twice if it has four words or more), or
    a sentence that was said before.
    """
    words = list(_WORD.finditer(text))
    plain = [word.group().casefold().strip(".,;:!?*_\"'") for word in words]
    for start in range(len(plain)):
        for period in range(1, min(MAX_PERIOD, (len(plain) - start) // 2) + 1):
            times = 2 if period >= 4 else 3
            phrase = plain[start : start + period]
            if not any(phrase) or len(plain) < start + period * times:
                continue
            if all(plain[start + n * period : start + (n + 1) * period] == phrase for n in range(1, times)):
                return text[: words[start + period - 1].end()], True
    seen: set[str] = set()
    at = 0
    for match in [*_SENTENCE_END.finditer(text), None]:
        end = match.end() if match else len(text)
        sentence = " ".join(re.findall(r"\w+", text[at:end].casefold()))
        if sentence and sentence in seen and len(sentence) > 12:
            return text[:at], True
        seen.add(sentence)
        at = end
    return text, False
