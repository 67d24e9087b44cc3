"""Citations by evidence: each sentence of the answer is tied to the sentence of the documents that says it.

A quote is chosen by what can be checked: the numbers and names of the answer's sentence that stand in it, the share of
its content words, and how well it bears on the question. The model need not cite, and small models that are asked to
answer `[1]`. A number that the model does write is taken at its word where the words fit. Each quote stands at its
offsets in its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from pipeline.text.languages import ENGLISH, stop_words
from pipeline.text.numbers import number_forms, number_spans
from pipeline.text.words import content_words, coverage, word_forms
from pipeline.types import Answer, Citation, CiteBy, Passage

MIN_MATCH = 0.5
"""The share of a sentence's content words from which a quote counts as its source."""
MAX_QUOTES = 2
"""Quotes that an answer of one sentence is shown with: what it stands on, and the sentence nearest to the question."""
MAX_EVIDENCE = 6
"""Quotes of a longer answer."""

REFUSAL = "The documents do not hold the answer."
"""What is shown where the model or a gate says that they do not."""

_MARK = re.compile(r"\[\s*(?:passages?\s*)?(\d{1,4}(?:\s*[,;&]\s*\d{1,4})*)\s*\]", re.IGNORECASE)
_NOT_IN = re.compile(
    r"\bnot (?:\w+ ){0,3}(?:in|by|from) (?:the|these|this|any of the) (?:documents?|passages?|texts?|context)\b",
    re.IGNORECASE,
)
_DOES_NOT_SAY = re.compile(
    r"\b(?:documents?|passages?|texts?|context) (?:do(?:es)? not|don't|doesn't) (?:\w+ )?"
    r"(?:contain|hold|say|mention|state|provide|specify|give|include)\b",
    re.IGNORECASE,
)
_HEADING = re.compile(r"#{1,6}\s[^\n]*")
_CAPITAL = re.compile(r"\b[^\W\d_][\w'’-]*\w\b")
_DECADE = re.compile(r"\d{1,3}0s")
_BEFORE_SENTENCE = re.compile(r"(?:\A|[.!?:;…\n])[\s\"'“”‘„«»*•(\[-]*\Z")
_CLAUSE_OPENERS = frozenset(
    "yes no not indeed however therefore thus hence so also additionally moreover furthermore overall finally then "
    "according based given see note sure certainly unfortunately sorry unknown there here this that these those they "
    "it he she we i you each every some many most several both all any none nobody nothing neither either another "
    "other while although though because since if when where after before during until approximately about around "
    "ja nein nicht doch evet hayır oui non sí si".split()
)
"""Words that open a sentence with a capital, and name nothing."""


@dataclass(frozen=True)
class Evidence:
    """A sentence of the passages that were shown.

    `number` is its passage's. `score` says how well it bears on the question. `words` are its content words in every
    form that they may be meant in, of `n_words` different ones; 0 for a heading.
    """

    number: int
    passage: Passage
    quote: Passage
    words: frozenset[str]
    score: float
    n_words: int = 0


def cite(text: str, shown: Sequence[Passage], question: str, by: CiteBy = "evidence") -> Answer:
    """The answer with its citations, checked against the passages that the model saw (numbered from 1)."""
    text = text.strip()
    evidence = evidence_in(shown, question)
    if says_not_found(text):
        return Answer(text, nearest(evidence, 1), is_abstention=True, why="the model says so")
    found: list[Citation] = list(by_model(text, shown, question, keep_unsupported=by == "model"))
    if by != "model":
        quotes = [c.quote for c in found if c.quote is not None]
        spans = {quote.span for quote in quotes}
        for citation in by_match(text, evidence, question, quotes):
            if len(found) < MAX_EVIDENCE and citation.quote is not None and citation.quote.span not in spans:
                found.append(citation)
        found += _beside(evidence, found)
    missing = unsupported(text, [c for c in found if c.by != "question"], question, shown)
    return Answer(text, tuple(found), unsupported=missing)


def says_not_found(text: str) -> bool:
    """Whether the text says that the documents do not hold the answer, and little else."""
    n_words = len(content_words(_MARK.sub("", text)))
    return bool((_NOT_IN.search(text) and n_words <= 6) or (_DOES_NOT_SAY.search(text) and n_words <= 14))


def without_marks(text: str) -> str:
    """The text with a space for each number that cites: for comparing what was said."""
    return _MARK.sub(" ", text).strip()


def evidence_in(shown: Sequence[Passage], question: str) -> list[Evidence]:
    """Every sentence of the passages, in their order. A summary is one sentence: its own stand in no source.

    The score is that of the compressor that judged the sentence, else the share of the question's words in it; scores
    of both kinds do not meet in one result, since a compressor judges every sentence that it keeps.
    """
    words = content_words(question)
    is_scored = any(passage.sentences for passage in shown)
    found: list[Evidence] = []
    for number, passage in enumerate(shown, 1):
        for quote in _sentences(passage):
            n_words = 0 if _HEADING.fullmatch(quote.text.strip()) else len(content_words(quote.text))
            said = forms_of(quote.text, words.language)
            score = _score(passage, quote) if is_scored else sum(word in said for word in words) / max(1, len(words))
            found.append(Evidence(number, passage, quote, said, score, n_words))
    return found


def nearest(evidence: Sequence[Evidence], n: int) -> tuple[Citation, ...]:
    """Citations of the n sentences nearest to the question, nearest first; headings and questions are passed over."""
    telling = [one for one in evidence if not one.quote.text.rstrip().endswith("?")] or evidence
    whole = [one for one in telling if one.n_words > 1] or list(evidence)
    best = sorted(range(len(whole)), key=lambda i: (-whole[i].score, i))[:n]
    return tuple(Citation(whole[i].number, "question", whole[i].passage, whole[i].quote) for i in best)


def by_model(text: str, shown: Sequence[Passage], question: str = "", keep_unsupported: bool = True) -> list[Citation]:
    """The citations that the model wrote, in order, each number once; a number without a passage stays, as invalid.

    A model that writes nothing but a number has its quote looked for by the question's words. Brackets that stand in
    the passages or in the question are the documents' own. Without `keep_unsupported` a citation is left out where the
    passage does not hold the sentence's words.
    """
    seen = "\n".join([question, *(f"{passage.title}\n{passage.text}" for passage in shown)])
    found: dict[int, Citation] = {}
    for sentence in answer_sentences(text):
        words = content_words(_MARK.sub(" ", sentence)) or content_words(question)
        for number in _numbers(sentence, seen):
            passage = shown[number - 1] if 1 <= number <= len(shown) else None
            quote, support = best_quote(words, passage) if passage else (None, 0.0)
            if passage is not None and support < MIN_MATCH and not keep_unsupported:
                continue
            if number not in found or support > found[number].support:
                found[number] = Citation(number, "model", passage, quote, support)
    return list(found.values())


def by_match(text: str, evidence: Sequence[Evidence], question: str, quoted: Sequence[Passage] = ()) -> list[Citation]:
    """For each sentence of the answer the sentences of the passages that say it.

    The first holds most of what the sentence says beyond the question: its numbers and names before its other words.
    Further ones hold numbers and names that those before lack. What is in `quoted` counts as said already.
    """
    found: list[Citation] = []
    asked = frozenset(content_words(question))
    held = {word for quote in quoted for word in forms_of(quote.text)}
    for sentence in answer_sentences(text):
        words = content_words(_MARK.sub(" ", sentence))
        claims = frozenset(word for claim in claims_in(sentence) for word in claim.words) - asked
        new = frozenset(words) - asked
        if not words or (quoted and (new or frozenset(words)) <= held):
            continue
        best = _best(evidence, words, new, claims)
        if best is None:
            continue
        found.append(_citation(best, words))
        missing = claims - best.words - forms_of(_heading(best.passage))
        while missing and len(found) < MAX_EVIDENCE:
            more = _best([one for one in evidence if one.words & missing], words, new, missing)
            if more is None:
                break
            found.append(_citation(more, words))
            missing -= more.words
    return list({(citation.quote and citation.quote.span): citation for citation in reversed(found)}.values())[::-1]


def _best(
    evidence: Sequence[Evidence], words: tuple[str, ...], new: frozenset[str], claims: frozenset[str]
) -> Evidence | None:
    """The sentence that says most of it; None where none says enough: half of the words, or a number or name.

    What the heading says, the sentence need not say again.
    """

    def rank(one: Evidence) -> tuple[float, float, float, float]:
        said_new = len(new & one.words) / len(new) if new else 0.0
        share = sum(word in one.words for word in words) / len(words)
        return (len(claims & one.words) / len(claims) if claims else 0.0, said_new, one.score, share)

    best = max(evidence, key=rank, default=None)
    if best is None:
        return None
    n_claims, _, _, _ = rank(best)
    heading = forms_of(_heading(best.passage))
    beyond = new - heading
    said_new = len(beyond & best.words) / len(beyond) if beyond else 0.0
    share = sum(word in best.words or word in heading for word in words) / len(words)
    if n_claims > 0 or (claims <= heading and (said_new >= MIN_MATCH or (not beyond and share >= MIN_MATCH))):
        return best
    return None


def _citation(evidence: Evidence, words: tuple[str, ...]) -> Citation:
    support = coverage(words, evidence.quote.text)
    return Citation(evidence.number, "match", evidence.passage, replace(evidence.quote, score=support), support)


def _beside(evidence: Sequence[Evidence], found: Sequence[Citation]) -> list[Citation]:
    """The sentences nearest to the question that are not quoted yet, until there are two quotes.

    A heading stands alone only: beside a quote it says nothing.
    """
    quoted = {citation.quote.span for citation in found if citation.quote is not None}
    room = MAX_QUOTES - len(quoted)
    others = [one for one in evidence if one.quote.span not in quoted and (one.n_words > 1 or not quoted)]
    return list(nearest(others, room)) if room > 0 else []


def best_quote(words: tuple[str, ...], passage: Passage) -> tuple[Passage, float]:
    """The sentence of the passage that holds the largest share of the words (the first of equals), and that share."""
    parts = _sentences(passage)
    scored = [(coverage(words, part.text), -i) for i, part in enumerate(parts)]
    support, position = max(scored)
    return replace(parts[-position], score=support), support


def unsupported(
    text: str, citations: Sequence[Citation], question: str, shown: Sequence[Passage] = ()
) -> tuple[str, ...]:
    """The numbers and names of the answer that stand neither in a quote, nor in its passage's heading, nor in the
    question.
    """
    quoted = [c for c in citations if c.quote is not None and c.passage is not None]
    seen = [question, *(f"{_heading(c.passage)} {c.quote.text}" for c in quoted if c.passage and c.quote)]
    missing = [claim.text for claim in claims_in(_without_own_marks(text, shown)) if not is_held(claim, seen)]
    return tuple(dict.fromkeys(missing))


@dataclass(frozen=True)
class Claim:
    """A number or a name of an answer, which must stand in a quote. `words` are those that it is compared by."""

    text: str
    words: frozenset[str]


def claims_in(text: str) -> list[Claim]:
    """The numbers and names of a text, in order: numbers in digits and in words, and words with a capital.

    A word that opens a sentence is a name unless it is known not to be one. German writes every noun with a capital:
    there a name has two words, or stands alone.
    """
    text = _MARK.sub(" ", text)
    numbers = [n for n in number_spans(text) if not _DECADE.fullmatch(text[n.start : n.end])]
    found = [(n.start, Claim(text[n.start : n.end], frozenset((_shorter(n.value),)))) for n in numbers]
    language = content_words(text).language
    names = [m for m in _CAPITAL.finditer(text) if _is_name(m, text, language)]
    if language == "german" and re.search(r"\b[^\W\d_A-ZÄÖÜ]\w", text):
        beside = {m.start() for a, b in pairwise(names) if not text[a.end() : b.start()].strip() for m in (a, b)}
        names = [m for m in names if m.start() in beside]
    taken = [(n.start, n.end) for n in number_spans(text)]
    for m in names:
        if not any(start <= m.start() < end for start, end in taken):
            found.append((m.start(), Claim(m.group(), frozenset(content_words(m.group())))))
    return [claim for _, claim in sorted(found, key=lambda item: item[0]) if claim.words]


def claims_of(text: str) -> list[str]:
    """The numbers and names of a text, as it has them."""
    return [claim.text for claim in claims_in(text)]


def is_held(claim: Claim, texts: Sequence[str]) -> bool:
    """Whether the number or name stands in the texts, in whichever form."""
    return claim.words <= frozenset[str]().union(*map(forms_of, texts))


@lru_cache(maxsize=4096)
def forms_of(text: str, language: str = ENGLISH) -> frozenset[str]:
    """Every form that a word or a number of the text may be meant in: 6 for 6.00 and for 6:00."""
    numbers = number_forms(text)
    return word_forms(text, language) | numbers | {_shorter(form.removesuffix(":00")) for form in numbers}


def _shorter(number: str) -> str:
    """6.00 as 6."""
    return number.rstrip("0").rstrip(".") if number.count(".") == 1 else number


def _is_name(match: re.Match[str], text: str, language: str) -> bool:
    word = match.group()
    if not word[0].isupper() or not content_words(word):
        return False
    if not _BEFORE_SENTENCE.search(text[: match.start()]):
        return True
    plain = word.casefold()
    return plain not in _CLAUSE_OPENERS and plain not in stop_words(language)


def _heading(passage: Passage) -> str:
    return " ".join((passage.title, *passage.place.heading))


def _without_own_marks(text: str, shown: Sequence[Passage]) -> str:
    seen = "\n".join(passage.text for passage in shown)
    return _MARK.sub(lambda match: match.group() if match.group() in seen else " ", text)


def _sentences(passage: Passage) -> list[Passage]:
    """The passage's sentences: as the compressor cut them, where one did."""
    if passage.spans or not passage.text:
        return [passage]
    if passage.sentences:
        inside = [s for s in passage.sentences if passage.start <= s.start < s.end <= passage.end]
        return [passage.part(s.start, s.end, s.score) for s in inside] or [passage]
    from pipeline.documents.sentences import sentences

    spans = sentences(passage.text) or [(0, len(passage.text))]
    return [passage.part(passage.start + start, passage.start + end) for start, end in spans]


def _score(passage: Passage, quote: Passage) -> float:
    return next((s.score for s in passage.sentences if (s.start, s.end) == (quote.start, quote.end)), 0.0)


def answer_sentences(text: str) -> list[str]:
    """The answer's sentences; a citation that follows the full stop belongs to the sentence before it."""
    from pipeline.documents.sentences import sentences

    found: list[str] = []
    for start, end in sentences(text):
        sentence = text[start:end]
        leading = re.match(r"(?:\s*" + _MARK.pattern + r")+", sentence, re.IGNORECASE)
        if leading and found:
            found[-1] += " " + leading.group(0)
            sentence = sentence[leading.end() :]
        if sentence.strip(" ."):
            found.append(sentence)
    return found or ([text] if text else [])


def _numbers(sentence: str, seen: str) -> Iterator[int]:
    """The numbers of the marks that are not the documents' own brackets."""
    for mark in _MARK.finditer(sentence):
        if mark.group() not in seen:
            yield from (int(number) for number in re.findall(r"\d+", mark.group(1)))
