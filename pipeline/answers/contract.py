"""What an answer must be before it is shown: words, without loops or echoes, and complete or marked as cut.

Repairs come in a fixed order: echoes of the prompt and repetitions are cut at their first occurrence, then what is left
is judged. An answer that is judged unusable is asked for once more (pipeline/stages.py), and if that fails a
sentence of the documents takes its place. Whether an answer's names and numbers stand in the documents is checked in
pipeline/answers/citations.py, which knows the documents.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.answers.answer_kinds import is_only_a_time
from pipeline.text.words import content_words
from pipeline.types import Finish

LOOPED, ECHOED, CUT = "it repeated itself", "it repeated the prompt", "it was cut at max_tokens"
WORDLESS, NOTHING_NEW = "it has no words", "it only repeats the question"

_MARKS = re.compile(r"\[\s*(?:passages?\s*)?\d{1,4}(?:\s*[,;&]\s*\d{1,4})*\s*\]", re.IGNORECASE)
_DELIMITER = re.compile(
    r"</?\s{0,3}(?:passage|memory)\d*\b[^>\n]{0,40}>?|^[ \t]{0,8}passage[ \t]{1,8}\d+[ \t]{0,8}:",
    re.IGNORECASE | re.MULTILINE,
)
_NEXT_QUESTION = re.compile(
    r"(?:\A|\n[ \t]{0,8})(?:Question|Passages?)[ \t]{0,8}:|\n[ \t]{0,8}(?:Context|User|Human)[ \t]{0,8}:", re.IGNORECASE
)
_OWN_QUESTION = re.compile(r"\AQuestion:[^\n]*\n\s{0,8}Answer:[ \t]{0,8}(?=\S)", re.IGNORECASE)
_LEAD = re.compile(
    r"\A\W*(?:(?:sure|certainly|of course)[,.!]\s*)?(?:(?:the\s+)?(?:final\s+|correct\s+)?answer(?:\s+to the question)?"
    r"(?:\s+is)?\s*[:.]\s*|answer\s+|(?:die\s+)?antwort(?:\s+(?:ist|lautet))?\s*:\s*|(?:cevap|yanıt)\s*:\s*)",
    re.IGNORECASE,
)
_BARE_LEAD = re.compile(
    r"\A\W*(?:(?:the\s+)?answer(?:\s+is)?|(?:die\s+)?antwort(?:\s+(?:ist|lautet))?|cevap|yanıt)\W*\Z", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s|\Z)|[。！？][”’」』）]*")
_YES_NO = re.compile(
    r"\A\W*(?:(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|may|must|should|shall)(?:n['’]t)?|ist|sind"
    r"|war|waren|hat|haben|kann|können|darf|dürfen|muss|müssen|soll|sollen|gibt|wird|werden|wurde|wurden)\b"
    r"|\bm[iıuü]\b",
    re.IGNORECASE,
)
_WHO_OR_WHERE = re.compile(r"\W*(?:who|whom|whose|where)\b", re.IGNORECASE)
_CHOICE = re.compile(r"\b(?:or|oder|veya|yoksa)\b|\b(?:which|welche[rsn]?|hangi)\b[^?]*,", re.IGNORECASE)
_WORD = re.compile(r"\S+")
_RUN = re.compile(r"(\S{1,12}?)\1{7,}")
MIN_RUN_CHARS = 24
"""From here on the same characters eight times in a row, without a space, are a loop: 10000000000 is a number."""
MAX_PERIOD = 40
"""The longest repeated phrase, in words, that is looked for."""
MIN_SENTENCE_CHARS = 4
"""Shorter sentences may come again: `Yes. Yes.`"""


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
        text = _whole_sentences(text)
    text = text.strip()
    if not has_words(text):
        return Checked(text, tuple(faults), faults[0] if is_echo or is_loop else WORDLESS)
    if says_nothing_new(text, question) or asks_back(text, question):
        return Checked(text, tuple(faults), NOTHING_NEW)
    return Checked(text, tuple(faults))


def has_words(text: str) -> bool:
    """Whether anything is said: a letter or a digit outside citation marks and phrases such as `The answer is:`."""
    bare = _LEAD.sub("", _MARKS.sub(" ", text))
    return any(map(str.isalnum, _BARE_LEAD.sub("", bare)))


def says_nothing_new(text: str, question: str) -> bool:
    """Whether every content word of the answer stands in the question, although the question asks for one.

    Where it asks who or where, a time is nothing either. Questions that can be answered with yes, no, or one of the
    things that they name are left alone.
    """
    if _YES_NO.search(question) or _CHOICE.search(question):
        return False
    said = set(content_words(_MARKS.sub(" ", text)))
    new = said - set(content_words(question))
    return bool(said) and (not new or (bool(_WHO_OR_WHERE.match(question)) and is_only_a_time(new)))


def asks_back(text: str, question: str) -> bool:
    """Whether the answer is a question itself, in the words of the one that was asked."""
    said = content_words(_MARKS.sub(" ", text))
    if not text.rstrip().endswith("?") or not said:
        return False
    asked = set(content_words(question))
    return sum(word in asked for word in said) >= 0.6 * len(said)


def without_lead(text: str) -> str:
    """The answer without an opening such as `Answer:`; the text itself where nothing would be left."""
    bare = _LEAD.sub("", text, count=1).strip()
    return bare or text


def _without_echo(text: str) -> tuple[str, bool]:
    """The text without delimiters of the prompt, up to where it begins another question or passage.

    What is left may begin with another of them, so it is looked at until nothing more goes.
    """
    shorter, is_echo = _without_first_echo(text)
    while shorter != text:
        text = shorter
        shorter, is_more = _without_first_echo(text)
        is_echo |= is_more
    return text, is_echo


def _without_first_echo(text: str) -> tuple[str, bool]:
    own = _OWN_QUESTION.match(text)
    if own:  # it copies the question first, and answers it
        text = text[own.end() :]
    cut = _NEXT_QUESTION.search(text)
    is_echo = cut is not None or own is not None
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
    """The text up to its first repetition.

    A loop is a phrase of four words or more that is said twice in a row; a shorter one four times, or three times at
    the end; the same characters again and again; or sentences at the end that were all said before. What comes back
    before something new, such as a refrain or the digits 4 4 4 2, is none.
    """
    ends = [end for end in (_end_of_phrase(text), _end_of_run(text), _end_of_sentences(text)) if end is not None]
    return (text[: min(ends)], True) if ends else (text, False)


def _end_of_phrase(text: str) -> int | None:
    """Where the first phrase ends that is repeated in a row, the shortest of those that begin first."""
    words = list(_WORD.finditer(text))
    plain = [word.group().casefold().strip(".,;:!?*_\"'") for word in words]
    first: tuple[int, int] | None = None
    for period in range(1, min(MAX_PERIOD, len(plain) // 2) + 1):
        run, n_said = 0, 0  # words that equal the one a period later, up to here; those of them that are not bare marks
        for n in range(len(plain) - period):
            if first is not None and n - run >= first[0]:
                break
            is_same = plain[n] == plain[n + period]
            run, n_said = (run + 1, n_said + bool(plain[n])) if is_same else (0, 0)
            times = 2 if period >= 4 else 3 if n + period == len(plain) - 1 else 4
            if n_said and run >= period * (times - 1):
                first = (n + 1 - run, period)
                break
    return None if first is None else words[sum(first) - 1].end()


def _end_of_run(text: str) -> int | None:
    """Where the characters end that are repeated without a space: `1,1,1,1,1,1,...`."""
    for match in _RUN.finditer(text):
        if match.end() - match.start() >= MIN_RUN_CHARS and any(map(str.isalnum, match.group(1))):
            return match.end(1)
    return None


def _end_of_sentences(text: str) -> int | None:
    """Where the last sentence ends that says something new, if what comes after it was all said before."""
    seen: set[str] = set()
    start = 0
    end_of_new: int | None = None
    for end in [*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]:
        sentence = " ".join(re.findall(r"\w+", text[start:end].casefold()))
        if sentence in seen and len(sentence) >= MIN_SENTENCE_CHARS:
            end_of_new = start if end_of_new is None else end_of_new
        elif sentence:
            end_of_new = None
        seen.add(sentence)
        start = end
    return end_of_new


def _whole_sentences(text: str) -> str:
    """The text up to the end of its last whole sentence; all of it where there is none."""
    from pipeline.documents.sentences import sentences

    ends = [end for start, end in sentences(text) if _SENTENCE_END.search(text[start:end][-4:])]
    return text[: ends[-1]] if ends else text
