"""The words of a text in the form in which all parts compare them: folded, without stop words, stemmed.

A text in another language than English gets its own stemmer. Each word also keeps its form in an English text, so that
a word always matches itself, whatever language the two texts are taken for. A name such as `tideGauge` or `tide_gauge`
matches by its parts and as a whole, in either convention. Scripts without spaces are compared by pairs of characters.
Numbers are in canonical form.
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
"""Increase this whenever the words of a text change, so that saved word indexes are rebuilt."""

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
"""Chinese characters that connect words and are rarely part of one: they split a run, like a space."""
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
    """The content words of a text, and the language of their stemmer."""

    language: str = ENGLISH


def words(text: str) -> list[str]:
    """All forms of a text's words, in order, with repetitions. Empty for a text of only stop words."""
    text_tokens = tokens(text)
    return list(chain.from_iterable(map(_searched_in(_language(text_tokens)).__getitem__, text_tokens)))


@lru_cache(maxsize=4096)
def content_words(text: str) -> ContentWords:
    """The distinct stems of a text's content words, in order of first appearance. Numbers are words."""
    text_tokens = tokens(text)
    language = _language(text_tokens)
    result = ContentWords(dict.fromkeys(stem for token in text_tokens for stem in _terms(token, language, True)[0]))
    result.language = language
    return result


@lru_cache(maxsize=16384)
def word_forms(text: str, language: str = ENGLISH) -> frozenset[str]:
    """All forms of a text's content words: in its own language, in English, and in `language`.

    Content words of a question in `language` are found among these, whatever language the text is taken for.
    """
    text_tokens = tokens(text)
    spoken = {ENGLISH, language, _language(text_tokens)}
    return frozenset(
        form for token in text_tokens for name in spoken for forms in _terms(token, name, True) for form in forms
    )


def coverage(words: tuple[str, ...], text: str) -> float:
    """The share of the words, in [0, 1], that occur in the text; 0 without words.

    The words are content words of another text. The text may hold them in any of its `word_forms`.
    """
    if not words:
        return 0.0
    there = word_forms(text, getattr(words, "language", ENGLISH))
    return sum(word in there for word in words) / len(words)


def _language(text_tokens: list[str]) -> str:
    if may_be_foreign(text_tokens):
        return language_of({_folded(token) for token in text_tokens})
    return ENGLISH


@lru_cache(maxsize=65536)
def _folded(token: str) -> str:
    """The case-folded token, up to an apostrophe: `istanbul` for `İstanbul'un`."""
    return fold_case(token).partition("'")[0]


class _Searched(dict[str, tuple[str, ...]]):
    """Maps each token to its forms in an index: its words, their other forms, and its forms in an English text.

    A dictionary that fills itself, so that known tokens need no function call.
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
    """The words of a token, and its other forms: the whole of a compound, the parts of `tideGauge`.

    With `content`, leaves out all English function words and question words, not only stop words.
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
    """The whole of a compound without its separators, and the parts of a name in camel case."""
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
    """The stem of a word, by the stemmer of its script if there is one. The Turkish dotless i becomes i."""
    if word[0].isdigit():
        return word
    if word.isascii():
        return stemmer(language)(word)
    script_stemmer = script_language(word)
    if script_stemmer is not None:
        return word if word in stop_words(script_stemmer) else stemmer(script_stemmer)(word)
    return stemmer(language)(word).replace("ı", "i")


def _pairs(run: str) -> list[str]:
    """The pairs of adjacent characters of a run without spaces, or the single character of a run of one.

    A character is a letter with its marks. In Chinese and Japanese, only characters of the same script form a pair.
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
