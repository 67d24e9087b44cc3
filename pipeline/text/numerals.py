"""Translates written numbers into canonical form: 6,018 and 6 018 are 6018, thirty-four is 34, 21st is 21.

`first` and `second` stay words (a second is also a unit), and 1st and 2nd become them. `one` is a number only beside
another one (`one hundred`, `twenty-one`): alone it is a pronoun. German and Turkish number words are read as well. A
comma groups thousands only if it does not separate a row: `Hana,4,007,Liberia` holds 4 and 007.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

_UNITS = "zero one two three four five six seven eight nine".split()
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_VALUES = {
    **{word: value for value, word in enumerate(_UNITS + _TEENS)},
    **{word: 10 * value for value, word in enumerate(_TENS, 2)},
}
_ORDINALS = {
    **dict(
        zip("third fourth fifth sixth seventh eighth ninth twelfth".split(), [3, 4, 5, 6, 7, 8, 9, 12], strict=True)
    ),
    **{f"{word}th": _VALUES[word] for word in _TEENS if word != "twelve"},
    **{f"{word[:-1]}ieth": _VALUES[word] for word in _TENS},
}
_AFTER_TENS = {"first": 1, "second": 2}
_SPOKEN = {"1st": "first", "2nd": "second"}
_NAMES = frozenset({*_VALUES, *_ORDINALS, *_AFTER_TENS, *_SCALES, "hundred"})
CONTINUED = frozenset({*_TENS, *_TEENS, *_SCALES, "hundred"})
"""English number words that may be followed by a space and another word of the same number."""

_TURKISH = {
    **dict(zip("iki üç dört beş altı yedi sekiz dokuz".split(), range(2, 10), strict=True)),
    **dict(zip("yirmi otuz kırk elli altmış yetmiş seksen doksan".split(), range(20, 100, 10), strict=True)),
}
_TURKISH_BESIDE = {"bir": 1, "on": 10, "yüz": 100, "bin": 1000}
"""Numbers only beside another number word: alone they mean `a`, or something else."""
TURKISH = frozenset(_TURKISH)

NUMBER = (
    r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d|,\w)"  # 6,018
    r"|(?<![\w.,])(?<!\d )\d{1,3}(?: \d{3})+(?!\w| \d|[.,:]\d)"  # 6 018
    r"|(?<![\w.,])\d{1,3}(?:'\d{3})+(?![\w'])"  # 6'018
    r"|(?<![\w.,])\d{1,3}(?:\.\d{3})+,\d+(?!\d|,\w)"  # 6.018,5
    r"|(?<![\w.,])\d+,\d+(?!\d|,\w|\.\d)"  # 10,5: two numbers, or one where a comma is decimal
    r"|\d+(?:\.\d+)+"  # 10.2, 24.12.2024
    r"|(?<!\d)\d{1,2}:\d{2}(?::\d{2})?(?![\d:])"  # 7:40
)
"""Regular expression for numbers with more than digits, in a text from `fold_shapes`."""

_RUN = re.compile(
    r"\b(?:{0})(?:(?: and |[ -]|\n)(?:{0}))+\b|\d[\d.,]*[ -](?:{1})\b".format(
        "|".join(sorted(_NAMES, key=len, reverse=True)), "|".join(_SCALES)
    ),
    re.IGNORECASE,
)
_TURKISH_RUN = re.compile(r"\b(?:{0})(?: (?:{0}))+\b".format("|".join([*_TURKISH, *_TURKISH_BESIDE])), re.IGNORECASE)
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")


def is_number_word(token: str) -> bool:
    """Whether a token is, or begins with, a word that may be part of a number of several words."""
    word = token.partition("-")[0].casefold()
    return word in _NAMES or word in _TURKISH or word in _TURKISH_BESIDE or word == "and"


def merge_words(text: str) -> str:
    """Replaces each number of several words, such as `two hundred and six` or `6 million`, with digits."""
    merged = _RUN.sub(lambda run: _as_digits(run.group()), text)
    return _TURKISH_RUN.sub(lambda run: _turkish_digits(run.group()), merged)


def run_spans(text: str) -> list[tuple[int, int, str]]:
    """(start, end, digits) of each number of several words, in order."""
    read_runs = [(*run.span(), _as_digits(run.group())) for run in _RUN.finditer(text)]
    read_runs += [(*run.span(), _turkish_digits(run.group())) for run in _TURKISH_RUN.finditer(text)]
    return sorted((start, end, digits) for start, end, digits in read_runs if digits.isdigit())


def _turkish_digits(run: str) -> str:
    """A run of Turkish number words as digits, or unchanged if it is not a single number."""
    total, current = 0, 0
    for word in run.casefold().split():
        value = _TURKISH.get(word, _TURKISH_BESIDE.get(word, 0))
        if value == 1000 and not total:
            total, current = max(1, current) * 1000, 0
        elif value == 100 and current < 10:
            current = max(1, current) * 100
        elif 0 < value < 100 and current % (10 if value < 10 else 100) == 0:
            current += value
        else:
            return run
    return str(total + current)


@cache
def _single_words() -> dict[str, int]:
    """One-word numbers in German and Turkish, without those that are also English words (`elf`, `null`, `on`)."""
    units = "ein zwei drei vier fünf sechs sieben acht neun".split()
    below_20 = [*units, *"zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn".split()]
    tens = "zwanzig dreissig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
    small = {word: value for value, word in enumerate(below_20, 1)}
    for ten, word in enumerate(tens, 2):
        small[word] = 10 * ten
        small.update({f"{unit}und{word}": 10 * ten + value for value, unit in enumerate(units, 1)})
    large = {"hundert": 100, **{f"{unit}hundert": 100 * value for value, unit in enumerate(units, 1)}}
    hundreds = {f"{word}{link}{rest}": value + n for word, value in large.items() for rest, n in small.items()
                for link in ("", "und")}  # fmt: skip
    thousands = {f"{word}tausend": 1000 * value for word, value in {"": 1, **small, **large}.items()}
    years = {f"{word}hundert{rest}": 100 * value + n for word, value in small.items() if 10 < value < 20
             for rest, n in {"": 0, **small}.items()}  # fmt: skip
    ambiguous = ("ein", "elf")
    clear = {word: value for word, value in small.items() if word not in ambiguous}
    return {**clear, **large, **hundreds, **thousands, **years, **_TURKISH}


def _as_digits(run: str) -> str:
    if run[0].isdigit():
        digits, scale = re.split(r"[ -]", run, maxsplit=1)
        (plain, *rest) = of_digits(digits.rstrip(".,"))
        if rest or plain.count(".") > 1:
            return run
        return f"{_scaled(plain, _SCALES[scale.casefold()])}"
    pieces = re.split(r"([ \n-]+)", run)
    words, gaps = [word.casefold() for word in pieces[::2]], pieces[1::2]
    result, place = [], 0
    while place < len(words):
        value, n_words = read(words[place:])
        n_words = max(1, n_words)
        result.append(str(value) if n_words > 1 and value is not None else pieces[2 * place])
        place += n_words
        result.append(gaps[place - 1] if place < len(words) else "")
    return "".join(result)


def _scaled(plain: str, scale: int) -> str:
    whole, _, part = plain.partition(".")
    zeros = len(str(scale)) - 1
    if len(part) > zeros:
        return plain
    return str(int(whole + part.ljust(zeros, "0")))


def read(words: Sequence[str]) -> tuple[int | None, int]:
    """The number at the beginning of case-folded words, and how many words it takes; (None, 0) without a number.

    Takes the longest single number: `three four` begins with 3, and `nineteen eighty-seven`, as three words, is 1987.
    """
    total, current, place, last = 0, 0, 0, ""
    best: tuple[int | None, int] = (None, 0)
    smallest = 10**15
    while place < len(words):
        word = words[place]
        # "and" continues a number only in the middle: "two hundred and six".
        if word == "and" and last in ("hundred", "scale") and place + 1 < len(words) and words[place + 1] in _VALUES:
            place += 1
            continue
        if word in _VALUES or word in _ORDINALS or (word in _AFTER_TENS and last == "tens"):
            value = _VALUES.get(word, _ORDINALS.get(word, _AFTER_TENS.get(word, 0)))
            kind = "unit" if value < 10 else "teen" if value < 20 else "tens"
            # "nineteen eighty", "twenty ten": the first number of a year counts hundreds.
            is_year = not total and 10 < current <= 20 and last in ("teen", "tens") and kind != "unit"
            if is_year:
                current *= 100
            elif last not in ("", "hundred", "scale") and not (last == "tens" and kind == "unit" and value):
                break
            current += value
            last = kind
            best = (total + current, place + 1)
            if word not in _VALUES:  # an ordinal ends its number
                break
        elif word == "hundred" and (0 < current < 100 or last in ("", "scale")):
            current = max(1, current) * 100
            last = "hundred"
            best = (total + current, place + 1)
        elif word in _SCALES and _SCALES[word] < smallest and last != "scale":  # scales must fall: million, thousand
            smallest = _SCALES[word]
            total += max(1, current) * smallest
            current, last = 0, "scale"
            best = (total, place + 1)
        else:
            break
        place += 1
    return best


def of_words(words: Sequence[str]) -> list[str]:
    """Replaces numbers among case-folded words with digits. `one` alone, `first` and `second` stay words."""
    if _NAMES.isdisjoint(words):
        known = _single_words()
        return [str(known[word]) if word in known else word for word in words]
    result: list[str] = []
    place = 0
    while place < len(words):
        value, n_words = read(words[place:])
        if value is None or (n_words == 1 and words[place] == "one"):
            result.append(words[place])
            place += 1
        else:
            result.append(str(value))
            place += n_words
    return result


@cache
def of_digits(token: str, comma_is_decimal: bool = False) -> tuple[str, ...]:
    """The numbers in a token that begins with a digit: one, or the two of a pair such as 10,5."""
    plain = token.replace(" ", "").replace("'", "")
    if ":" in plain:
        return (plain,)
    n_dots, n_commas = plain.count("."), plain.count(",")
    if n_dots and n_commas:
        decimal = plain[max(plain.rfind("."), plain.rfind(","))]
        group = "," if decimal == "." else "."
        return (plain.replace(group, "").replace(decimal, "."),)
    is_grouped = re.fullmatch(r"\d{1,3}([.,]\d{3})+", plain) is not None
    if n_commas:
        if comma_is_decimal and n_commas == 1:
            return (plain.replace(",", "."),)
        return (plain.replace(",", ""),) if is_grouped else tuple(plain.split(","))
    if n_dots and is_grouped and (comma_is_decimal or n_dots > 1):
        return (plain.replace(".", ""),)
    return (plain,)


def ordinal(word: str) -> str:
    """Translates an ordinal in digits: 21st to 21, and 1st to the word `first`. Other words stay unchanged."""
    if not word[0].isdigit():
        return word
    match = _ORDINAL.fullmatch(word)
    return _SPOKEN.get(word, match.group(1)) if match else word
