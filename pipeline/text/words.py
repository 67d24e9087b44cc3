"""The words of a text as they are compared, everywhere: folded, without stop words, stemmed, numbers in one form.

A text in another language than English is stemmed by its own stemmer; besides, each word keeps the form that it has in
an English text, so that the same word always meets itself, in whatever language the two texts are taken to be. A name
such as `tideGauge` or `tide_gauge` is found by its parts and as a whole, by whichever convention it is written.
Scripts without spaces are compared by pairs of characters.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from itertools import chain, pairwise

from pipeline.text.languages import (
    COMMA_DECIMAL,
    ENGLISH,
    english_function_words,
    language_of,
    may_be_foreign,
    script_language,
    stemmer,
    stop_words,
)
from pipeline.text.normal import fold_case
from pipeline.text.tokens import UNSPACED, pieces, tokens

VERSION = 2
"""Goes up whenever the words of a text change, so that a saved word index is made anew."""

_QUESTION_WORDS = frozenset(
    "who whom whose what which when where why how many much did do does done is are was were be been being "
    "have has had "
    "can could will would shall should may might must there their them they he she it its his her you your me my we us "
    "tell give name list say says said according document documents passage passages".split()
)
_AFTER_APOSTROPHE = frozenset("s t d m ll re ve".split())
_MAX_KNOWN = 200_000

_UNSPACED = re.compile(f"[{UNSPACED}]")
_SEPARATORS = re.compile(r"[-_]+")
_CAMEL = re.compile(r"[^\W\d_]*[a-z][A-Z][^\W_]*", re.ASCII)
_CAMEL_PARTS = re.compile(r"[A-Z]{2,}(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_EMPTY_CHARS = frozenset("的了是在和吗呢吧啊嘛着过也就都与及或把被个们这那哪谁么")
"""Chinese characters that join words and seldom make one: they part a run, as a space would."""
_HAN = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff々]+|[\u30a0-\u30ff\u31f0-\u31ff]+|[\u3040-\u309f]+"
    "|[^\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff々]+"
)
_PARTICLES = frozenset("はがをにのでともへやかねよ")
_HIRAGANA_STOPS = frozenset(
    "です ます した して いる ある する から まで より など この その あの どの これ それ だれ どこ いつ なに でし "
    "とい いう って ない なり れる られ せん ませ だっ った たち んで ほど だけ しか でも".split()
)


class ContentWords(tuple[str, ...]):
    """The content words of a text, and the language that they were stemmed in."""

    language: str = ENGLISH


def words(text: str) -> list[str]:
    """All forms of a text's words in their order, repeated as often as they stand there; a text of stop words: none."""
    found = tokens(text)
    return list(chain.from_iterable(map(_searched_in(_language(found)).__getitem__, found)))


@lru_cache(maxsize=4096)
def content_words(text: str) -> ContentWords:
    """The stems of a text's content words, in order of first appearance, none twice. Numbers are words."""
    found = tokens(text)
    language = _language(found)
    result = ContentWords(dict.fromkeys(stem for token in found for stem in _terms(token, language, True)[0]))
    result.language = language
    return result


@lru_cache(maxsize=16384)
def word_forms(text: str, language: str = ENGLISH) -> frozenset[str]:
    """Every form of a text's content words: in its own language, as in an English text, and in the one given.

    What is looked for among the words of a text is looked for here: content words of a question in `language` are
    found, whatever language the text is taken to be in.
    """
    found = tokens(text)
    spoken = {ENGLISH, language, _language(found)}
    return frozenset(
        form for token in found for name in spoken for forms in _terms(token, name, True) for form in forms
    )


def coverage(words: tuple[str, ...], text: str) -> float:
    """The share of the words, in [0, 1], that stand in the text. No words: 0.

    The words are content words of another text; the text may hold them in any of its `word_forms`.
    """
    if not words:
        return 0.0
    there = word_forms(text, getattr(words, "language", ENGLISH))
    return sum(word in there for word in words) / len(words)


def _language(found: list[str]) -> str:
    if may_be_foreign(found):
        return language_of({_folded(token) for token in found})
    return ENGLISH


@lru_cache(maxsize=65536)
def _folded(token: str) -> str:
    """The token without case; of `İstanbul'un` what stands before the apostrophe."""
    return fold_case(token).partition("'")[0]


class _Searched(dict[str, tuple[str, ...]]):
    """What each token is in an index: its words, its other forms, and the form that it has in an English text.

    A dictionary that fills itself: a text's tokens are looked up without a call for each.
    """

    def __init__(self, language: str) -> None:
        super().__init__()
        self.language = language

    def __missing__(self, token: str) -> tuple[str, ...]:
        if len(self) >= _MAX_KNOWN:
            self.clear()
        self[token] = forms = self._forms(token)
        return forms

    def _forms(self, token: str) -> tuple[str, ...]:
        first, others = _terms(token, self.language, False)
        if self.language == ENGLISH or not (first or others):
            return first + others
        plain = _terms(token, ENGLISH, False)
        more = (form for form in others + plain[0] + plain[1] if form not in first and len(form) > 1)
        return first + tuple(dict.fromkeys(more))


@cache
def _searched_in(language: str) -> _Searched:
    return _Searched(language)


@lru_cache(maxsize=65536)
def _terms(token: str, language: str, content: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of a token, and other forms of it: of a compound the whole, of `tideGauge` the parts.

    `content`: without all function words and question words of English, and not only without its stop words.
    """
    word = token
    if language == "turkish":
        word = word.replace("I", "ı").partition("'")[0]
    stops = _stops(language, content)
    parts = pieces(word, language in COMMA_DECIMAL)
    if "'" in word:
        parts = (parts[0], *(part for part in parts[1:] if part not in _AFTER_APOSTROPHE))
    first: list[str] = []
    for part in parts:
        if not part.isascii() and _UNSPACED.search(part):
            first.extend(_pairs(part))
        elif part not in stops:
            first.append(_stem(part, language))
    others = [_stem(part, language) for part in _other_forms(word, parts) if part not in stops]
    return tuple(first), tuple(dict.fromkeys(form for form in others if form not in first))


def _other_forms(word: str, parts: tuple[str, ...]) -> list[str]:
    """The whole of a compound without what joins it, and the parts of a name in camel case."""
    forms: list[str] = []
    chunks = [chunk for chunk in _SEPARATORS.split(word.partition("'")[0]) if chunk]
    if not chunks:
        return []
    is_name = "_" in word or len(chunks[0]) == 1 or any(char.isdigit() for char in word)  # F-16, e-mail; not two-phase
    if len(chunks) > 1 and len(parts) > 1 and is_name and any(chunk.isalpha() for chunk in chunks):
        forms.append(fold_case("".join(chunks)))
    if len(parts) > 1 and parts[0].isdigit() and parts[0] + parts[1] == fold_case(word):
        forms.append(fold_case(word))  # 10kg
    if parts and parts[0].count(".") > 1:
        forms.extend(parts[0].split("."))  # the year of 24.12.2024
    for chunk in chunks:
        if _CAMEL.fullmatch(chunk):
            forms.extend(piece for part in _CAMEL_PARTS.findall(chunk) for piece in pieces(part))
    return forms


@cache
def _stops(language: str, content: bool) -> frozenset[str]:
    if language == ENGLISH and content:
        return english_function_words() | _QUESTION_WORDS
    return stop_words(language)


def _stem(word: str, language: str) -> str:
    """The stem of a word, by its script where that says which; the Turkish letters i are one letter in it."""
    if word[0].isdigit():
        return word
    if word.isascii():
        return stemmer(language)(word)
    own = script_language(word)
    if own is not None:
        return word if word in stop_words(own) else stemmer(own)(word)
    return stemmer(language)(word).replace("ı", "i")


def _pairs(run: str) -> list[str]:
    """The pairs of neighbouring characters of a run without spaces, a lone one where it has no neighbour.

    A character is a letter with its marks. In Chinese and Japanese only characters of one script make a pair.
    """
    result: list[str] = []
    for part in _HAN.findall(run):
        if "\u3040" <= part[0] <= "\u309f":
            pairs = _joined(part)
            kept = [pair for pair in pairs if len(pairs) == 1 or pair[-1] not in _PARTICLES]
            result.extend(pair for pair in kept if len(pair) > 1 and pair not in _HIRAGANA_STOPS)
        else:
            for piece in re.split(f"[{''.join(_EMPTY_CHARS)}]", part):
                result.extend(_joined(piece))
    return result


def _joined(run: str) -> list[str]:
    letters: list[str] = []
    for char in run:
        if letters and unicodedata.category(char)[0] == "M":
            letters[-1] += char
        else:
            letters.append(char)
    return ["".join(pair) for pair in pairwise(letters)] or letters
