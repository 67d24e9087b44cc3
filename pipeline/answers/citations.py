"""Post-hoc citations: each sentence of the answer is tied to the sentence of the documents that supports it.

A quote is chosen by checkable evidence: the answer's numbers and names that it holds, the share of the answer's content
words, and its relevance to the question. The model does not have to cite; a small model that is asked to cite answers
`[1]`. A number that the model writes is accepted if the words match. Each quote has its offsets in its source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from pipeline.answers.value_kinds import holds_value, value_kind
from pipeline.text.languages import ENGLISH, stop_words
from pipeline.text.numbers import number_forms, number_spans
from pipeline.text.words import content_words, coverage, word_forms
from pipeline.types import Answer, Citation, CiteBy, Passage

MIN_MATCH = 0.5
"""Least share of a sentence's content words that a quote must hold to count as its source."""
MIN_FIT = 0.5
"""Least relevance of a sentence with a value of the kind that is asked for, as a share of the best sentence's, so that
such sentences go before all others.
"""
MAX_QUOTES = 2
"""Quotes of a one-sentence answer: its source, and the sentence nearest to the question."""
MAX_EVIDENCE = 6
"""Upper bound on the quotes of a longer answer."""

REFUSAL = "The documents do not hold the answer."
"""The text that replaces the answer when the model or a gate abstains."""

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
"""Capitalised sentence openers that are no names."""


@dataclass(frozen=True)
class Evidence:
    """A sentence of the prompt's passages.

    `number` is its passage's number. `score` is its relevance to the question. `words` holds every form of its content
    words, `n_words` counts the distinct ones; 0 for a heading.
    """

    number: int
    passage: Passage
    quote: Passage
    words: frozenset[str]
    score: float
    n_words: int = 0


def cite(text: str, shown: Sequence[Passage], question: str, by: CiteBy = "evidence", query: str = "") -> Answer:
    """Adds citations to an answer, checked against the passages that the model saw (numbered from 1).

    `query` is what a follow-up was searched for, if it is another wording: the sentences nearest to the question are
    nearest to it. What is new in the answer is what `question` lacks.
    """
    text = text.strip()
    evidence = evidence_in(shown, query or question)
    if says_not_found(text):
        return Answer(text, nearest(evidence, 1, query or question), is_abstention=True, why="the model says so")
    citations: list[Citation] = list(by_model(text, shown, query or question, keep_unsupported=by == "model"))
    if by != "model":
        quotes = [c.quote for c in citations if c.quote is not None]
        spans = {quote.span for quote in quotes}
        for citation in by_match(text, evidence, question, quotes):
            if len(citations) < MAX_EVIDENCE and citation.quote is not None and citation.quote.span not in spans:
                citations.append(citation)
        citations += _beside(evidence, citations, query or question)
    missing = unsupported(text, [c for c in citations if c.by != "question"], question, shown)
    return Answer(text, tuple(citations), unsupported=missing)


def says_not_found(text: str) -> bool:
    """Whether the text says that the documents do not hold the answer, and little else."""
    n_words = len(content_words(_MARK.sub("", text)))
    return bool((_NOT_IN.search(text) and n_words <= 6) or (_DOES_NOT_SAY.search(text) and n_words <= 14))


def without_marks(text: str) -> str:
    """The text with a space for each number that cites: for comparing what was said."""
    return _MARK.sub(" ", text).strip()


def evidence_in(shown: Sequence[Passage], question: str) -> list[Evidence]:
    """Returns every sentence of the passages, in order. A summary counts as one sentence, because no source holds it.

    The score is the compressor's, or else the share of the question's words in the sentence. The two scales are never
    mixed in one result, since a compressor scores every sentence that it keeps.
    """
    words = content_words(question)
    is_scored = any(passage.sentences for passage in shown)
    evidence: list[Evidence] = []
    for number, passage in enumerate(shown, 1):
        for quote in _sentences(passage):
            n_words = 0 if _HEADING.fullmatch(quote.text.strip()) else len(content_words(quote.text))
            sentence_words = forms_of(quote.text, words.language)
            score = (
                _score(passage, quote)
                if is_scored
                else sum(word in sentence_words for word in words) / max(1, len(words))
            )
            evidence.append(Evidence(number, passage, quote, sentence_words, score, n_words))
    return evidence


def fitting(evidence: Sequence[Evidence], question: str) -> list[Evidence]:
    """Returns the sentences that hold a value of the kind that the question asks for, such as a port or a price.

    Returns all of them if the question asks for no such kind, or if no such sentence bears on the question at least
    MIN_FIT times as well as the best.
    """
    kind = value_kind(question)
    best = max((sentence.score for sentence in evidence), default=0.0)
    if kind is None:
        return list(evidence)
    holding = [
        sentence
        for sentence in evidence
        if sentence.n_words > 1
        and not sentence.quote.text.rstrip().endswith("?")
        and holds_value(kind, sentence.quote.text, question)
    ]
    is_near = any(sentence.score >= MIN_FIT * best for sentence in holding)
    return holding if is_near else list(evidence)


def nearest(evidence: Sequence[Evidence], n: int, question: str = "") -> tuple[Citation, ...]:
    """Cites the n sentences nearest to the question, nearest first. Skips headings and questions.

    With `question`, a sentence with a value of the kind that it asks for is the first.
    """
    if question and (fits := fitting(evidence, question)) and len(fits) < len(evidence) and n > 0:
        first = nearest(fits, 1)
        rest = [sentence for sentence in evidence if first[0].quote != sentence.quote]
        return (*first, *nearest(rest, n - 1))
    statements = [sentence for sentence in evidence if not sentence.quote.text.rstrip().endswith("?")] or evidence
    candidates = [sentence for sentence in statements if sentence.n_words > 1] or list(evidence)
    best = sorted(range(len(candidates)), key=lambda i: (-candidates[i].score, i))[:n]
    return tuple(Citation(candidates[i].number, "question", candidates[i].passage, candidates[i].quote) for i in best)


def by_model(text: str, shown: Sequence[Passage], question: str = "", keep_unsupported: bool = True) -> list[Citation]:
    """Returns the citations that the model wrote, in order, each number once. A number without a passage is invalid.

    If the model wrote only a number, the quote is found by the question's words. Brackets that occur in the passages or
    the question are document text and are ignored. Without `keep_unsupported`, citations whose passage lacks the
    sentence's words are left out.
    """
    seen = "\n".join([question, *(f"{passage.title}\n{passage.text}" for passage in shown)])
    citations: dict[int, Citation] = {}
    for sentence in answer_sentences(text):
        words = content_words(_MARK.sub(" ", sentence)) or content_words(question)
        for number in _numbers(sentence, seen):
            passage = shown[number - 1] if 1 <= number <= len(shown) else None
            quote, support = best_quote(words, passage) if passage else (None, 0.0)
            if passage is not None and support < MIN_MATCH and not keep_unsupported:
                continue
            if number not in citations or support > citations[number].support:
                citations[number] = Citation(number, "model", passage, quote, support)
    return list(citations.values())


def by_match(text: str, evidence: Sequence[Evidence], question: str, quoted: Sequence[Passage] = ()) -> list[Citation]:
    """Returns the supporting passage sentences for each sentence of the answer.

    The first holds most of the sentence's new words, numbers and names before others. Further ones add numbers and
    names that the earlier ones lack. Words in `quoted` count as supported already.
    """
    citations: list[Citation] = []
    question_words = frozenset(content_words(question))
    held = {word for quote in quoted for word in forms_of(quote.text)}
    for sentence in answer_sentences(text):
        words = content_words(_MARK.sub(" ", sentence))
        claims = frozenset(word for claim in claims_in(sentence) for word in claim.words) - question_words
        new = frozenset(words) - question_words
        if not words or (quoted and (new or frozenset(words)) <= held):
            continue
        best = _best(evidence, words, new, claims)
        if best is None:
            continue
        citations.append(_citation(best, words))
        missing = claims - best.words - forms_of(_heading(best.passage))
        while missing and len(citations) < MAX_EVIDENCE:
            further = _best(
                [sentence_evidence for sentence_evidence in evidence if sentence_evidence.words & missing],
                words,
                new,
                missing,
            )
            if further is None:
                break
            citations.append(_citation(further, words))
            missing -= further.words
    return list({(citation.quote and citation.quote.span): citation for citation in reversed(citations)}.values())[::-1]


def _best(
    evidence: Sequence[Evidence], words: tuple[str, ...], new: frozenset[str], claims: frozenset[str]
) -> Evidence | None:
    """Returns the sentence with the most support; None if none holds half of the words, or a number or name.

    Words of the passage's heading count as well.
    """

    def rank(sentence: Evidence) -> tuple[float, float, float, float]:
        new_share = len(new & sentence.words) / len(new) if new else 0.0
        share = sum(word in sentence.words for word in words) / len(words)
        return (len(claims & sentence.words) / len(claims) if claims else 0.0, new_share, sentence.score, share)

    best = max(evidence, key=rank, default=None)
    if best is None:
        return None
    n_claims, _, _, _ = rank(best)
    heading = forms_of(_heading(best.passage))
    beyond = new - heading
    new_share = len(beyond & best.words) / len(beyond) if beyond else 0.0
    share = sum(word in best.words or word in heading for word in words) / len(words)
    if n_claims > 0 or (claims <= heading and (new_share >= MIN_MATCH or (not beyond and share >= MIN_MATCH))):
        return best
    return None


def _citation(evidence: Evidence, words: tuple[str, ...]) -> Citation:
    support = coverage(words, evidence.quote.text)
    return Citation(evidence.number, "match", evidence.passage, replace(evidence.quote, score=support), support)


def _beside(evidence: Sequence[Evidence], citations: Sequence[Citation], question: str) -> list[Citation]:
    """Adds the sentences nearest to the question that are not quoted yet, up to MAX_QUOTES quotes.

    A heading is quoted only where nothing else is: beside a quote it adds nothing.
    """
    quoted = {citation.quote.span for citation in citations if citation.quote is not None}
    room = MAX_QUOTES - len(quoted)
    others = [
        sentence for sentence in evidence if sentence.quote.span not in quoted and (sentence.n_words > 1 or not quoted)
    ]
    return list(nearest(others, room, "" if quoted else question)) if room > 0 else []


def best_quote(words: tuple[str, ...], passage: Passage) -> tuple[Passage, float]:
    """The sentence of the passage that holds the largest share of the words (the first of equals), and that share."""
    parts = _sentences(passage)
    scored = [(coverage(words, part.text), -i) for i, part in enumerate(parts)]
    support, position = max(scored)
    return replace(parts[-position], score=support), support


def unsupported(
    text: str, citations: Sequence[Citation], question: str, shown: Sequence[Passage] = ()
) -> tuple[str, ...]:
    """Returns the answer's numbers and names that occur in no quote, no heading of its passage, and not in the
    question.
    """
    quoted = [c for c in citations if c.quote is not None and c.passage is not None]
    seen = [question, *(f"{_heading(c.passage)} {c.quote.text}" for c in quoted if c.passage and c.quote)]
    missing = [claim.text for claim in claims_in(_without_own_marks(text, shown)) if not is_held(claim, seen)]
    return tuple(dict.fromkeys(missing))


@dataclass(frozen=True)
class Claim:
    """A number or name of an answer that a quote must hold. `words` are its normalised forms for comparison."""

    text: str
    words: frozenset[str]


def claims_in(text: str) -> list[Claim]:
    """Finds the numbers and names of a text, in order: numbers in digits and in words, and capitalised words.

    A capitalised word at the start of a sentence is a name unless it is a known opener. German capitalises every noun:
    there a name has two words, or is the whole text.
    """
    text = _MARK.sub(" ", text)
    numbers = [n for n in number_spans(text) if not _DECADE.fullmatch(text[n.start : n.end])]
    claims = [(n.start, Claim(text[n.start : n.end], frozenset((_shorter(n.value),)))) for n in numbers]
    language = content_words(text).language
    names = [m for m in _CAPITAL.finditer(text) if _is_name(m, text, language)]
    if language == "german" and re.search(r"\b[^\W\d_A-ZÄÖÜ]\w", text):
        beside = {m.start() for a, b in pairwise(names) if not text[a.end() : b.start()].strip() for m in (a, b)}
        names = [m for m in names if m.start() in beside]
    taken = [(n.start, n.end) for n in number_spans(text)]
    for m in names:
        if not any(start <= m.start() < end for start, end in taken):
            claims.append((m.start(), Claim(m.group(), frozenset(content_words(m.group())))))
    return [claim for _, claim in sorted(claims, key=lambda item: item[0]) if claim.words]


def claims_of(text: str) -> list[str]:
    """Returns the numbers and names of a text, as written."""
    return [claim.text for claim in claims_in(text)]


def is_held(claim: Claim, texts: Sequence[str]) -> bool:
    """Whether the texts hold the number or name, in any form."""
    return claim.words <= frozenset[str]().union(*map(forms_of, texts))


@lru_cache(maxsize=4096)
def forms_of(text: str, language: str = ENGLISH) -> frozenset[str]:
    """Returns every equivalent form of the text's words and numbers: 6 for 6.00 and for 6:00."""
    numbers = number_forms(text)
    return word_forms(text, language) | numbers | {_shorter(form.removesuffix(":00")) for form in numbers}


def _shorter(number: str) -> str:
    """Shortens 6.00 to 6."""
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
    """Splits the passage into sentences, as the compressor did if there was one."""
    if passage.spans or not passage.text:
        return [passage]
    if passage.sentences:
        inside = [s for s in passage.sentences if passage.start <= s.start < s.end <= passage.end]
        return [passage.part(s.start, s.end, s.score) for s in inside] or [passage]
    from pipeline.text.sentences import sentences

    spans = sentences(passage.text) or [(0, len(passage.text))]
    return [passage.part(passage.start + start, passage.start + end) for start, end in spans]


def _score(passage: Passage, quote: Passage) -> float:
    return next((s.score for s in passage.sentences if (s.start, s.end) == (quote.start, quote.end)), 0.0)


def answer_sentences(text: str) -> list[str]:
    """Splits the answer into sentences. A citation after the full stop belongs to the sentence before it."""
    from pipeline.text.sentences import sentences

    parts: list[str] = []
    for start, end in sentences(text):
        sentence = text[start:end]
        leading = re.match(r"(?:\s*" + _MARK.pattern + r")+", sentence, re.IGNORECASE)
        if leading and parts:
            parts[-1] += " " + leading.group(0)
            sentence = sentence[leading.end() :]
        if sentence.strip(" ."):
            parts.append(sentence)
    return parts or ([text] if text else [])


def _numbers(sentence: str, seen: str) -> Iterator[int]:
    """Yields the numbers of citation marks, without brackets that are document text."""
    for mark in _MARK.finditer(sentence):
        if mark.group() not in seen:
            yield from (int(number) for number in re.findall(r"\d+", mark.group(1)))
