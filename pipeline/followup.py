"""Follow-up questions, made to stand alone for retrieval: only where a rule says so, and with words that were said.

"How often is it washed?" finds nothing without what `it` is. The rule (`need`) decides from the question's own words
whether it leans on what came before; most do not, and are left as they are. Where it does, the model is asked one
thing, under a JSON schema: which of a few phrases of the conversation is meant. It can answer nothing else, so that
every content word of the rewritten query stands in the question or in the conversation, however small the model is.
The prompt keeps the user's own words: the rewritten query is for retrieval alone. The rule knows English.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.contracts import Model, Progress
from pipeline.text.words import content_words
from pipeline.types import Message, Sampling, Text

MAX_TURNS = 3
MAX_CHOICES = 8
MAX_PHRASE_WORDS = 4

_PERSON = {"he", "she", "him", "his", "her", "hers"}
_PLURAL = {"they", "them", "their", "theirs", "these", "those"}
_POINTERS = _PERSON | _PLURAL | {"it", "its", "this", "that", "there"}
_POSSESSIVE = {"its", "his", "their", "hers", "theirs"}
_PREPOSITIONS = set("about at by for from in into of on over to under with".split())
_DETERMINERS = set("the a an this that these those".split())
_OWNERS = set("its his her their our my your".split())
_BE = {"is", "are", "was", "were", "be", "been"}
_HELPERS = set("do does did can could will would shall should may might must".split())
_NOT_NOUNS = set("one ones first last second other another else more same often long far old big way".split())
_TIMES = set("day days week weeks month months year years morning evening night time times kind way".split())
_PARTICIPLES = set(
    "built bought sold made found held kept lost paid known given taken shown written open closed".split()
)
_OPENING = re.compile(r"(?:and|but|or|so|also|then|what about|how about|what if)\b", re.IGNORECASE)
_ONE = re.compile(r"\b(?:which|what|the (?:\w+ )?(?:first|second|last|other|same|next|new|old)\w*) ones?\b|"
                  r"\bthe (?:former|latter)\b", re.IGNORECASE)  # fmt: skip
_EXPLETIVE = re.compile(
    r"\bit (?:is |was )?(?:true|possible|allowed|necessary|worth|safe|legal|permitted|correct|known|said)\b|"
    r"\bit (?:take|takes|took|cost|costs) (?:\w+ ){0,2}to\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+(?:['’.-]\w+)*")
_CITATION = re.compile(r"\s*\[\d+\]")


@dataclass(frozen=True, slots=True)
class Need:
    """Why a question does not stand alone. `start` and `end` are where the word stands that points back.

    `pointer`: that word is replaced. `fragment`: the question is no whole one, and an earlier one goes before it.
    """

    kind: Literal["pointer", "fragment"]
    start: int
    end: int
    why: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A query for retrieval. `about` is the phrase or question that was put in; `by` says who chose it."""

    text: str
    about: str
    why: str
    by: Literal["model", "rule"]


def rewrite(
    question: str, earlier: Sequence[tuple[str, str]], model: Model, progress: Progress | None = None
) -> Rewritten | None:
    """The question as one that stands alone, or None where it does already.

    `earlier` holds (question, answer) of the turns before, oldest first; a question that was rewritten itself is given
    in its rewritten form. Where there is only one choice, or the model keeps to none, the rule takes the nearest one.
    """
    found = need(question) if earlier else None
    if found is None:
        return None
    recent = [(asked, _CITATION.sub("", answer)) for asked, answer in earlier[-MAX_TURNS:]]
    choices = choices_for(question, found, recent)
    if not choices:
        found = Need("fragment", 0, 0, found.why)
        choices = choices_for(question, found, recent)
    about = choose(question, found, recent, choices, model, progress) if len(choices) > 1 else None
    return Rewritten(
        text=put_in(question, found, about or choices[0]),
        about=about or choices[0],
        why=found.why,
        by="model" if about else "rule",
    )


# ------------------------------------------------------------------------------------------------------------ the rule
def need(question: str) -> Need | None:
    """Why the question leans on what was said before, or None where it does not.

    In this order: a word such as `it` or `there` that nothing before it in the question explains; `which one`, `the
    latter`; an opening such as `and` or `what about` with at most two content words after it; no content word at all,
    or one in at most three words.
    """
    pointer = _pointer(question)
    if pointer is not None:
        return pointer
    one = _ONE.search(question)
    if one is not None:
        return Need("fragment", one.start(), one.end(), f"'{one.group()}' chooses among things said before")
    words = content_words(question)
    opening = _OPENING.match(question.strip())
    if opening is not None and len(words) <= 2:
        return Need("fragment", 0, 0, f"it goes on with '{opening.group().casefold()}'")
    if not words or (len(words) == 1 and len(_WORD.findall(question)) <= 3):
        return Need("fragment", 0, 0, "it is too short to be searched for alone")
    return None


def _pointer(question: str) -> Need | None:
    expletives = [found.span() for found in _EXPLETIVE.finditer(question)]
    words = list(_WORD.finditer(question))
    for n, word in enumerate(words):
        said = word.group().casefold()
        before = words[n - 1].group().casefold() if n else ""
        after = words[n + 1].group() if n + 1 < len(words) else ""
        if said not in _POINTERS or any(start <= word.start() < end for start, end in expletives):
            continue
        if said in _DETERMINERS and _announces(words, n, before):
            continue
        if said == "there" and (before in _BE or after.casefold() in _BE):
            continue
        if not _is_explained(question[: word.start()], said, before):
            return Need("pointer", word.start(), word.end(), f"'{word.group()}' stands for something said before")
    return None


def _announces(words: Sequence[re.Match[str]], n: int, before: str) -> bool:
    """Whether `that` or `this` belongs to what follows: 'that comet', 'true that the ...', not 'does that cost'."""
    after = [word.group().casefold() for word in words[n + 1 : n + 3]]
    if after and after[0] in _DETERMINERS | _OWNERS | _TIMES:
        return True
    n_content = sum(bool(content_words(word)) for word in after)
    return bool(after and content_words(after[0])) and not (before in _HELPERS and n_content == 1)


def _is_explained(text: str, pointer: str, before: str) -> bool:
    """Whether the question itself names, before the pointer, what it can stand for."""
    found = list(_spans(text))
    if pointer == "there":
        return any(
            text[:start].split()[-1:] and text[:start].split()[-1].casefold() in _PREPOSITIONS for start, _ in found
        )
    if found and not (before in _PREPOSITIONS and text[found[-1][1] :].split() == [before]):
        return True
    words = _WORD.findall(text.casefold())
    asked = {"who", "what", "which", "that"}  # "who keeps them": such a word is followed by a verb
    return pointer in _PLURAL and any(
        word.endswith("s") and content_words(word) and before not in asked
        for before, word in zip(["", *words], words, strict=False)
    )


# ------------------------------------------------------------------------------------------------------------- choices
def choices_for(question: str, found: Need, earlier: Sequence[tuple[str, str]]) -> list[str]:
    """What it can be about, the nearest first: phrases of the turns before, or for a fragment the questions before.

    For `he` and `she` only names, where any was said.
    """
    if found.kind == "fragment":
        return list(dict.fromkeys(asked.strip() for asked, _ in reversed(earlier)))
    said = question[found.start : found.end].casefold()
    choices: dict[tuple[str, ...], str] = {}
    for asked, answer in reversed(earlier):
        for phrase in (*phrases(asked), *phrases(answer)):
            choices.setdefault(content_words(phrase), phrase)
    nearest = list(choices.values())
    if said in _PERSON:
        nearest = [phrase for phrase in nearest if _is_name(phrase)] or nearest
    return nearest[:MAX_CHOICES]


def phrases(text: str) -> list[str]:
    """Names, and nouns with the word that announces them, in order: 'the main mirror', 'Lucia Ferrand'."""
    return [text[start:end] for start, end in _spans(text)]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    words = list(_WORD.finditer(text))
    n = 0
    while n < len(words):
        first = words[n].group()
        announced = first.casefold() in _DETERMINERS | _OWNERS
        begin = n + 1 if announced else n
        end = _run(text, words, begin, names_only=not announced)
        before = words[n - 1].group().casefold() if n else ""
        if announced and before in _HELPERS and end - begin > 1 and not words[end - 1].group()[0].isupper():
            end -= 1  # "does the ferry leave": the last word is what it does
        while announced and end > begin and _is_participle(words[end - 1].group().casefold()):
            end -= 1
        if end > begin and any(_is_noun(word.group()) for word in words[begin:end]):
            shown = n if first.casefold() in _DETERMINERS else begin
            yield words[shown].start(), words[end - 1].end()
        n = max(end, n + 1)


def _run(text: str, words: Sequence[re.Match[str]], begin: int, names_only: bool) -> int:
    """The end of the content words that follow each other from `begin` on, with only spaces between."""
    n = begin
    while n < len(words) and n - begin < MAX_PHRASE_WORDS:
        word = words[n].group()
        is_apart = n > 0 and n > begin and text[words[n - 1].end() : words[n].start()].strip() != ""
        if is_apart or not content_words(word) or (names_only and not word[0].isupper()):
            break
        n += 1
    return n


def _is_name(phrase: str) -> bool:
    return phrase[0].isupper() and phrase.split()[0].casefold() not in _DETERMINERS


def _is_participle(word: str) -> bool:
    """Whether the word, at the end of a phrase, says what was done to it: 'was the tower built'."""
    return word.endswith("ed") or word in _PARTICIPLES


def _is_noun(word: str) -> bool:
    return bool(content_words(word)) and word.casefold() not in _NOT_NOUNS | _TIMES and not word.isdigit()


# -------------------------------------------------------------------------------------------------------------- choose
def choose(
    question: str,
    found: Need,
    earlier: Sequence[tuple[str, str]],
    choices: Sequence[str],
    model: Model,
    progress: Progress | None = None,
) -> str | None:
    """The choice that the model makes under a schema that allows no other; None where its window holds no question.

    A model that does not heed schemas (the scripted one) makes no choice either.
    """
    sampling = Sampling(
        max_tokens=max(map(model.count_text, choices)) + 16,
        json_schema=json.dumps(
            {"type": "object", "properties": {"about": {"enum": list(choices)}}, "required": ["about"]}
        ),
    )
    prompt = model.render([Message("user", (Text(_asking(question, found, earlier, choices), "question"),))])
    if model.count(prompt) + sampling.max_tokens > model.window:
        return None
    (stream,) = model.generate([prompt], sampling, progress)
    try:
        about = json.loads(stream.result().text)["about"]
    except (ValueError, KeyError, TypeError):
        return None
    except BaseException:
        stream.cancel()
        raise
    return about if about in choices else None


def _asking(question: str, found: Need, earlier: Sequence[tuple[str, str]], choices: Sequence[str]) -> str:
    said = "\n".join(f"Question: {asked}\nAnswer: {answer}" for asked, answer in earlier)
    word = question[found.start : found.end]
    wanted = f'What does "{word}" stand for' if found.kind == "pointer" else "Which question does it go on from"
    listed = "; ".join(choices)
    return f"{said}\nQuestion: {question}\n\n{wanted} in the last question? One of: {listed}."


def put_in(question: str, found: Need, about: str) -> str:
    """The question with the phrase in the pointer's place, or after the earlier question that it goes on from."""
    if found.kind == "fragment":
        return f"{about} {question.strip()}"
    if not _is_name(about):
        about = about[0].lower() + about[1:]
    word = question[found.start : found.end].casefold()
    rest = question[found.end :]
    is_owner = word in _POSSESSIVE or (word == "her" and bool(content_words(rest.strip().partition(" ")[0])))
    place = f"at {about}" if word == "there" else f"{about}{_owner_mark(about)}" if is_owner else about
    return f"{question[: found.start]}{place}{rest}"


def _owner_mark(phrase: str) -> str:
    return "'" if phrase.endswith("s") else "'s"
