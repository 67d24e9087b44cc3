"""The contract of an answer: it has words, no loops and no echoes, and is complete or marked as cut.

Repairs have a fixed order: echoes of the prompt and repetitions are cut at their first occurrence, then the rest is
judged. The model is asked once more for an unusable answer (pipeline/stages.py); if that fails, a sentence of the
documents replaces it. pipeline/answers/citations.py, which knows the documents, checks the answer's names and numbers.
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
"""Least length of a loop of characters, repeated eight times without a space: 10000000000 is a number."""
MAX_PERIOD = 40
"""Upper bound on the length of a repeated phrase, in words."""
MIN_SENTENCE_CHARS = 4
"""Shorter sentences may repeat: `Yes. Yes.`"""


@dataclass(frozen=True)
class Checked:
    """An answer after repair. `faults` lists the repairs; `unusable` is the reason not to show it, or empty."""

    text: str
    faults: tuple[str, ...]
    unusable: str = ""


def check(text: str, finish: Finish, question: str) -> Checked:
    """Repairs the answer and decides whether it may be shown.

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
    """Whether the text has a letter or digit outside citation marks and phrases such as `The answer is:`."""
    bare = _LEAD.sub("", _MARKS.sub(" ", text))
    return any(map(str.isalnum, _BARE_LEAD.sub("", bare)))


def says_nothing_new(text: str, question: str) -> bool:
    """Whether every content word of the answer occurs in the question, although the question asks for a new one.

    For `who` and `where`, a time counts as nothing new. Yes-no questions, and questions that name the choices, are
    exempt.
    """
    if _YES_NO.search(question) or _CHOICE.search(question):
        return False
    answer_words = set(content_words(_MARKS.sub(" ", text)))
    new_words = answer_words - set(content_words(question))
    return bool(answer_words) and (not new_words or (bool(_WHO_OR_WHERE.match(question)) and is_only_a_time(new_words)))


def asks_back(text: str, question: str) -> bool:
    """Whether the answer is itself a question, in the words of the user's question."""
    answer_words = content_words(_MARKS.sub(" ", text))
    if not text.rstrip().endswith("?") or not answer_words:
        return False
    question_words = set(content_words(question))
    return sum(word in question_words for word in answer_words) >= 0.6 * len(answer_words)


def without_lead(text: str) -> str:
    """Strips an opening such as `Answer:`; returns the text unchanged if nothing would be left."""
    bare = _LEAD.sub("", text, count=1).strip()
    return bare or text


def _without_echo(text: str) -> tuple[str, bool]:
    """Removes the prompt's delimiters, and everything from the next question or passage on.

    The rest may begin with another delimiter, so this repeats until nothing changes.
    """
    shorter, is_echo = _without_first_echo(text)
    while shorter != text:
        text = shorter
        shorter, is_more = _without_first_echo(text)
        is_echo |= is_more
    return text, is_echo


def _without_first_echo(text: str) -> tuple[str, bool]:
    repeated_question = _OWN_QUESTION.match(text)
    if repeated_question:  # it copies the question first, and answers it
        text = text[repeated_question.end() :]
    cut = _NEXT_QUESTION.search(text)
    is_echo = cut is not None or repeated_question is not None
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
    """Cuts the text at its first loop.

    A loop is a phrase of at least four words twice in a row; a shorter phrase four times, or three times at the end;
    the same characters again and again; or final sentences that all occurred before. A repetition before something new,
    such as a refrain or the digits 4 4 4 2, is no loop.
    """
    ends = [end for end in (_end_of_phrase(text), _end_of_run(text), _end_of_sentences(text)) if end is not None]
    return (text[: min(ends)], True) if ends else (text, False)


def _end_of_phrase(text: str) -> int | None:
    """Returns the end of the first phrase that repeats in a row; the shortest on a tie."""
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
    """Returns the end of the characters that repeat without a space: `1,1,1,1,1,1,...`."""
    for match in _RUN.finditer(text):
        if match.end() - match.start() >= MIN_RUN_CHARS and any(map(str.isalnum, match.group(1))):
            return match.end(1)
    return None


def _end_of_sentences(text: str) -> int | None:
    """Returns the end of the last new sentence, if all sentences after it occurred before."""
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
    """Cuts the text after its last whole sentence; returns all of it if there is none."""
    from pipeline.text.sentences import sentences

    ends = [end for start, end in sentences(text) if _SENTENCE_END.search(text[start:end][-4:])]
    return text[: ends[-1]] if ends else text
