"""Rewrites follow-up questions for retrieval, so that they stand alone.

"How often is it washed?" finds nothing without the referent of `it`. A rule (`need_of`) decides from the question's
words whether it depends on earlier turns. Most questions do not, and stay as they are. For the others the model
chooses, under a JSON schema, one of a few phrases of the conversation. So every content word of the rewritten query
occurs in the question or in the conversation, however small the model is. The prompt keeps the user's words: the
rewritten query serves retrieval only. The rule knows English, German and Turkish: followup_words.py has a table for
each language.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.contracts import Model, Progress
from pipeline.conversation.followup_words import WORDS, FollowUpWords
from pipeline.conversation.utterances import language_of
from pipeline.text.words import content_words
from pipeline.types import Message, Sampling, Text

MAX_TURNS = 3
MAX_CHOICES = 8
MAX_PHRASE_WORDS = 4

_WORD = re.compile(r"\w+(?:['’.-]\w+)*")
_CITATION = re.compile(r"\s*\[\d+\]")
_FIELD = re.compile(r"(?:^|; )[^:;]+: [^;]+")
"""A field of a table's row as it is quoted: `name: Zephyrus; flag: Liberia`."""


@dataclass(frozen=True, slots=True)
class Need:
    """Why a question does not stand alone. `start` and `end` are the span of the word that points back.

    `pointer`: the word is replaced. `fragment`: the question is incomplete, and an earlier question is put before it.
    """

    kind: Literal["pointer", "fragment"]
    start: int
    end: int
    why: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A query for retrieval. `about` is the inserted phrase or question, and `by` names who chose it.

    `choices` are the phrases to choose from; empty if the choice was among earlier questions.
    """

    text: str
    about: str
    why: str
    by: Literal["model", "rule"]
    choices: tuple[str, ...] = field(default=(), compare=False)


def rewrite(
    question: str, earlier: Sequence[tuple[str, str]], model: Model, progress: Progress | None = None
) -> Rewritten | None:
    """The question in a form that stands alone, or None if it does already.

    `earlier` holds (question, answer) of the earlier turns, oldest first, with questions in their rewritten form. With
    only one choice, or without a valid choice of the model, the rule takes the nearest one.
    """
    need = need_of(question) if earlier else None
    if need is None:
        return None
    recent = [(before, _CITATION.sub("", answer)) for before, answer in earlier[-MAX_TURNS:]]
    choices = choices_for(question, need, recent)
    if not choices:
        need = Need("fragment", 0, 0, need.why)
        choices = choices_for(question, need, recent)
    about = choose(question, need, recent, choices, model, progress) if len(choices) > 1 else None
    return Rewritten(
        text=put_in(question, need, about or choices[0]),
        about=about or choices[0],
        why=need.why,
        by="model" if about else "rule",
        choices=tuple(choices) if need.kind == "pointer" else (),
    )


def need_of(question: str) -> Need | None:
    """Why the question depends on earlier turns, or None if it does not.

    In this order: a word such as `it` or `there` without a referent before it in the question; `which one`, `the
    latter`; an opening such as `and` or `what about` with at most two content words after it; no content word, or one
    in at most three words.
    """
    table = words_of(question)
    pointer = _pointer(question, table)
    if pointer is not None:
        return pointer
    choice = table.choosing.search(question)
    if choice is not None:
        return Need("fragment", choice.start(), choice.end(), f"'{choice.group()}' chooses among things said before")
    words = _content(question, table)
    opening = table.opening.match(question.strip())
    if opening is not None and len(words) <= 2:
        return Need("fragment", 0, 0, f"it goes on with '{opening.group().casefold()}'")
    if not words or (len(words) == 1 and len(_WORD.findall(question)) <= 3):
        return Need("fragment", 0, 0, "it is too short to be searched for alone")
    return None


def words_of(text: str) -> FollowUpWords:
    """The table of the text's language."""
    return WORDS[language_of(text)]


def _content(text: str, table: FollowUpWords) -> tuple[str, ...]:
    """The content words of a text in the table's language. English has its stop words in content_words."""
    if table.nouns == "announced":
        return content_words(text)
    return content_words(" ".join(word for word in _WORD.findall(text) if word.casefold() not in table.function))


def _pointer(question: str, table: FollowUpWords) -> Need | None:
    expletives = [match.span() for match in table.expletive.finditer(question)]
    words = list(_WORD.finditer(question))
    for n, word in enumerate(words):
        lower = word.group().casefold()
        before = words[n - 1].group().casefold() if n else ""
        after = words[n + 1].group() if n + 1 < len(words) else ""
        if lower not in table.pointers or any(start <= word.start() < end for start, end in expletives):
            continue
        if lower in table.polite and word.group()[0].isupper():
            continue
        if lower in table.determiners and _announces(words, n, before, table):
            continue
        if lower in table.places and (before in table.be or after.casefold() in table.be):
            continue
        if not _is_explained(question[: word.start()], lower, before, table):
            return Need("pointer", word.start(), word.end(), f"'{word.group()}' stands for something said before")
    return None


def _announces(words: Sequence[re.Match[str]], n: int, before: str, table: FollowUpWords) -> bool:
    """Whether `that` or `this` belongs to what follows: 'that comet', 'true that the ...', not 'does that cost'."""
    after = [word.group() for word in words[n + 1 : n + 4]]
    if table.nouns == "capital":  # 'das alte Haus', not 'hat das gebaut'
        noun = next((word for word in after if word[0].isupper() or word.casefold() in table.function), "")
        return bool(_content(noun, table))
    folded = [word.casefold() for word in after[:2]]
    if folded and folded[0] in table.determiners | table.owners | table.times:
        return True
    n_content = sum(bool(_content(word, table)) for word in folded)
    return bool(folded and _content(folded[0], table)) and not (before in table.helpers and n_content == 1)


def _is_explained(text: str, pointer: str, before: str, table: FollowUpWords) -> bool:
    """Whether the question has a possible referent before the pointer."""
    spans = list(_spans(text, table))
    if pointer in table.places:
        return any(
            text[:start].split()[-1:] and text[:start].split()[-1].casefold() in table.prepositions
            for start, _ in spans
        )
    if spans and not (before in table.prepositions and text[spans[-1][1] :].split() == [before]):
        return True
    words = _WORD.findall(text.casefold())
    question_words = {"who", "what", "which", "that"}  # "who keeps them": such a word is followed by a verb
    return pointer in table.plural and any(
        word.endswith("s") and content_words(word) and before not in question_words
        for before, word in zip(["", *words], words, strict=False)
    )


def choices_for(question: str, need: Need, earlier: Sequence[tuple[str, str]]) -> list[str]:
    """Possible referents, the nearest first: phrases of earlier turns, or for a fragment the earlier questions.

    For `he` and `she` only names, if there are any; for `they` and the like only plurals and names.
    """
    if need.kind == "fragment":
        return list(dict.fromkeys(before.strip() for before, _ in reversed(earlier)))
    word = question[need.start : need.end].casefold()
    table = words_of(question)
    choices: dict[tuple[str, ...], str] = {}
    for before, answer in reversed(earlier):
        for phrase in (*phrases(before), *_phrases_of_answer(before, answer)):
            choices.setdefault(content_words(phrase), phrase)
    nearest = list(choices.values())
    if word in table.person:
        nearest = [phrase for phrase in nearest if _holds_name(phrase, table)] or nearest
    elif table.quantifiers and word in table.plural:
        nearest = [phrase for phrase in nearest if _is_plural(phrase) or _is_name(phrase)] or nearest
    elif table.quantifiers:
        nearest = [phrase for phrase in nearest if not _is_counted(phrase, table)] or nearest
    return nearest[:MAX_CHOICES]


def _phrases_of_answer(question: str, answer: str) -> list[str]:
    """The phrases of an answer; none of a table's row about a name in the question, whose other fields describe it."""
    is_row = len(_FIELD.findall(answer)) > 1
    if is_row and any(
        _holds_name(name, words_of(question)) and name.split()[-1] in answer for name in phrases(question)
    ):
        return []
    return phrases(answer)


def phrases(text: str) -> list[str]:
    """Names, and nouns with the word that announces them, in order: 'the main mirror', 'Lucia Ferrand'."""
    return [text[start:end] for start, end in _spans(text, words_of(text))]


def _spans(text: str, table: FollowUpWords) -> Iterator[tuple[int, int]]:
    if table.nouns == "capital":
        yield from _capital_spans(text, table)
    elif table.nouns == "runs":
        yield from _run_spans(text, table)
    else:
        yield from _announced_spans(text, table)


def _announced_spans(text: str, table: FollowUpWords) -> Iterator[tuple[int, int]]:
    """Names, and content words behind a determiner, an owner or a quantifier."""
    words = list(_WORD.finditer(text))
    n = 0
    while n < len(words):
        first = words[n].group()
        counted = first.casefold() in table.quantifiers
        announced = counted or first.casefold() in table.determiners | table.owners
        begin = n + 1 if announced else n
        end = _run(text, words, begin, table, names_only=not announced)
        if counted:
            end = _end_of_plural(words, begin, end)
        before = words[n - 1].group().casefold() if n else ""
        if announced and before in table.helpers and end - begin > 1 and not words[end - 1].group()[0].isupper():
            end -= 1  # "does the ferry leave": the last word is what it does
        while announced and end > begin and _is_participle(words[end - 1].group().casefold(), table):
            end -= 1
        if end > begin and any(_is_noun(word.group(), table) for word in words[begin:end]):
            shown = n if first.casefold() in table.determiners else begin
            yield words[shown].start(), words[end - 1].end()
        n = max(end, n + 1)


def _end_of_plural(words: Sequence[re.Match[str]], begin: int, end: int) -> int:
    """The end of what is counted: `stone bridges` of `many stone bridges cross`, `people` of `many people live`."""
    plurals = (n + 1 for n in range(begin, end) if _is_plural(words[n].group()))
    return next(plurals, min(begin + 1, end))


def _capital_spans(text: str, table: FollowUpWords) -> Iterator[tuple[int, int]]:
    """Capitalised content words with their adjectives and determiner: 'die alte Fähre', 'Lucia Ferrand'."""
    words = list(_WORD.finditer(text))
    n = 0
    while n < len(words):
        announced = words[n].group().casefold() in table.determiners | table.owners
        begin = n + 1 if announced else n
        end = _run(text, words, begin, table, names_only=not announced)
        nouns = [m for m in range(begin, end) if words[m].group()[0].isupper() and _is_noun(words[m].group(), table)]
        if nouns:
            last = nouns[0]
            while last + 1 in nouns:
                last += 1
            shown = n if words[n].group().casefold() in table.determiners else begin
            yield words[shown].start(), words[last].end()
            end = last + 1
        n = max(end, n + 1)


def _run_spans(text: str, table: FollowUpWords) -> Iterator[tuple[int, int]]:
    """Runs of content words, without the verb that ends a sentence."""
    words = list(_WORD.finditer(text))
    n = 0
    while n < len(words):
        end = _run(text, words, n, table, names_only=False)
        last = end
        if end > n and (end == len(words) or re.match(r"\s*[.?!]", text[words[end - 1].end() :])):
            last -= 1
        if last > n and any(_is_noun(word.group(), table) for word in words[n:last]):
            yield words[n].start(), words[last - 1].end()
        n = max(end, n + 1)


def _run(text: str, words: Sequence[re.Match[str]], begin: int, table: FollowUpWords, names_only: bool) -> int:
    """The end of the content words that follow each other from `begin` on, with only spaces between."""
    n = begin
    while n < len(words) and n - begin < MAX_PHRASE_WORDS:
        word = words[n].group()
        is_apart = n > 0 and n > begin and text[words[n - 1].end() : words[n].start()].strip() != ""
        if is_apart or not _content(word, table) or (names_only and not word[0].isupper()):
            break
        n += 1
    return n


def inside_sentence(phrase: str) -> str:
    """The phrase in the middle of a sentence: 'the clock' for 'The clock'. Names stay as they are."""
    return phrase if _is_name(phrase) else phrase[0].lower() + phrase[1:]


def _is_name(phrase: str) -> bool:
    first = phrase.split()[0].casefold()
    return phrase[0].isupper() and not any(first in table.determiners for table in WORDS.values())


def _holds_name(phrase: str, table: FollowUpWords) -> bool:
    """Whether a phrase is a name: 'Zephyrus', 'the Zephyrus', not 'The clock'. German has capitals in all nouns."""
    has_capital = table.nouns != "capital" and any(word[0].isupper() for word in phrase.split()[1:])
    return has_capital or _is_name(phrase)


def _is_plural(phrase: str) -> bool:
    last = phrase.split()[-1].casefold()
    return (last.endswith("s") and not last.endswith("ss")) or last in ("people", "children", "men", "women")


def _is_counted(phrase: str, table: FollowUpWords) -> bool:
    """Whether a phrase is a plural without an article, as `_announced_spans` takes it from behind a quantifier."""
    is_bare = phrase.split()[0].casefold() not in table.determiners
    return is_bare and _is_plural(phrase) and not _is_name(phrase)


def _is_participle(word: str, table: FollowUpWords) -> bool:
    """Whether the word, at the end of a phrase, says what was done to it: 'was the tower built'."""
    return word.endswith("ed") or word in table.participles


def _is_noun(word: str, table: FollowUpWords) -> bool:
    return bool(_content(word, table)) and word.casefold() not in table.not_nouns | table.times and not word.isdigit()


def choose(
    question: str,
    need: Need,
    earlier: Sequence[tuple[str, str]],
    choices: Sequence[str],
    model: Model,
    progress: Progress | None = None,
) -> str | None:
    """The model's choice, under a schema that allows no other. None if the request does not fit the model's window.

    None also for a model that ignores schemas, such as the scripted one.
    """
    sampling = Sampling(
        max_tokens=max(map(model.count_text, choices)) + 16,
        json_schema=json.dumps(
            {"type": "object", "properties": {"about": {"enum": list(choices)}}, "required": ["about"]}
        ),
    )
    prompt = model.render([Message("user", (Text(_request(question, need, earlier, choices), "question"),))])
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


def _request(question: str, need: Need, earlier: Sequence[tuple[str, str]], choices: Sequence[str]) -> str:
    conversation = "\n".join(f"Question: {before}\nAnswer: {answer}" for before, answer in earlier)
    word = question[need.start : need.end]
    wanted = f'What does "{word}" stand for' if need.kind == "pointer" else "Which question does it go on from"
    listed = "; ".join(choices)
    return f"{conversation}\nQuestion: {question}\n\n{wanted} in the last question? One of: {listed}."


def put_in(question: str, need: Need, about: str) -> str:
    """The question with the phrase in the place of the pointer, or after the earlier question that it continues.

    In languages that inflect pronouns, the pointer stays, and the phrase follows in brackets.
    """
    if need.kind == "fragment":
        return f"{about} {question.strip()}"
    about = inside_sentence(about)
    table = words_of(question)
    word = question[need.start : need.end].casefold()
    rest = question[need.end :]
    if word not in table.replaced:
        return f"{question[: need.end]} ({about}){rest}"
    is_owner = word in table.possessive or (word == "her" and bool(content_words(rest.strip().partition(" ")[0])))
    place = f"at {about}" if word == "there" else f"{about}{_owner_mark(about)}" if is_owner else about
    return f"{question[: need.start]}{place}{rest}"


def _owner_mark(phrase: str) -> str:
    return "'" if phrase.endswith("s") else "'s"
