"""From the model's output to the final answer: repaired, cited, retried, or replaced by a quote.

If the answer is unusable (pipeline/answers/contract.py), or no shown text holds one of its names or numbers, the model
is asked once more, in another layout and with a repetition penalty. If that fails, the sentence nearest to the question
replaces the answer. Only prompts of assemble.cited, which name their layout, are judged: other prompts follow a
benchmark's protocol.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.answers.afterwards import UNSURE, doubt, doubt_of_words
from pipeline.answers.answerable import QuestionEvidence
from pipeline.answers.citations import (
    MAX_QUOTES,
    MIN_MATCH,
    REFUSAL,
    Evidence,
    cite,
    claims_in,
    evidence_in,
    fitting,
    is_held,
    nearest,
)
from pipeline.answers.clauses import is_other_clause
from pipeline.answers.contract import check, has_words, without_lead
from pipeline.answers.table_rows import is_other_column, mixes_rows, named_row, rows_of_table
from pipeline.answers.value_kinds import STRICT, answers_kind, value_kind
from pipeline.contracts import Runtime
from pipeline.errors import ModelError
from pipeline.text.words import content_words, coverage
from pipeline.types import Answer, Citation, Generation, Passage, Sampling, State

MIN_RELEVANCE = 0.75
"""Threshold on the score of an answer's evidence, as a share of the best sentence's. Below it the answer is off topic.

On 60 questions about our own documents: with Qwen 0.5B, 4 of 7 wrong answers and 1 of 51 right ones lie below it; with
SmolLM2-135M, 9 of 16 and 3 of 33.
"""
MIN_RELEVANCE_LED = 0.95
"""The threshold for a model whose answers a quote leads; from it on the model's words are shown.

An answer that is a title has to reach it as well. At and above it 27 of SmolLM2's 30 answers were right. The best
sentence held the answer of 49 in 60 questions.
"""
NO_EVIDENCE = "no sentence that was shown says this"
OTHER_ROW = "it stands in another row or column of the table than the one that the question names"
OTHER_CLAUSE = "it stands in another part of the sentence than the one that the question names"
OFF_QUESTION = "what it stands on bears on the question less than other sentences"
_YES_NO = re.compile(r"\W*(?:yes|no|ja|nein|evet|hayır)\b", re.IGNORECASE)
RETRY_PENALTY = 1.15
"""Repetition penalty of the second attempt."""


@dataclass(frozen=True)
class Judged:
    """An answer of the model, and the reason not to show it; `unusable` is empty for a good answer.

    `is_formal`: a grammar or JSON schema determined its form, so it is neither repaired nor replaced.
    """

    answer: Answer
    unusable: str
    generation: Generation
    is_formal: bool = False


def judge(state: State, generation: Generation, is_formal: bool = False) -> Judged:
    """Repairs and cites the answer to the question of `state`. A formal answer is only cited."""
    question, query = state.question.text, state.question.query
    if is_formal:
        cited = cite(generation.text, state.shown, question, state.cite_by, query)
        return Judged(Answer(generation.text.strip(), cited.citations), "", generation, is_formal=True)
    if not state.ledger.layout or generation.finish == "cancelled":
        answer = cite(generation.text, state.shown, question, state.cite_by, query)
        return Judged(answer, "", generation)
    checked = check(generation.text, generation.finish, question)
    text = without_heading(without_lead(checked.text), state.shown)
    answer = cite(text, state.shown, question, state.cite_by, query)
    answer = replace(answer, faults=checked.faults)
    if checked.unusable or answer.is_abstention or not state.shown:
        return Judged(answer, checked.unusable, generation)
    missing = _missing(answer, state)
    answer = replace(answer, unsupported=missing)
    if missing:
        return Judged(answer, f"{', '.join(missing)} stands in nothing that was shown", generation)
    is_plain_yes = bool(_YES_NO.match(text))
    if not _has_evidence(answer) and content_words(text) and not is_plain_yes and not _said_before(text, state):
        return Judged(answer, NO_EVIDENCE, generation)
    evidence = evidence_in(state.shown, query)
    if _stands_in_other_row(answer, evidence, query):
        return Judged(answer, OTHER_ROW, generation)
    if _stands_in_other_clause(answer, query):
        return Judged(answer, OTHER_CLAUSE, generation)
    fits = fitting(evidence, query)
    kind = value_kind(query)
    if kind is not None and len(fits) < len(evidence) and not answers_kind(kind, text, query):
        return Judged(answer, f"the question asks for {STRICT[kind]}, and it holds none", generation)
    share = relevance(answer, evidence, fits)
    least = MIN_RELEVANCE_LED if _is_title(text, state.shown, query) else MIN_RELEVANCE
    if share is not None and share < least and not _said_before(text, state):
        return Judged(answer, OFF_QUESTION, generation)
    return Judged(answer, "", generation)


def relevance(answer: Answer, evidence: Sequence[Evidence], fits: Sequence[Evidence]) -> float | None:
    """Returns the relevance of the answer's quotes: the least score among them over the best score of all sentences.

    `fits` are the sentences with a value of the kind that is asked for. Quotes that come near to the best of these
    count as shares of its score: no answer stands in a better sentence without such a value. A row of a table counts
    as the nearest of its rows: which of them the question names is checked apart. None if no compressor scored the
    sentences, or if no quote is evidence.
    """
    if not any(sentence.passage.sentences for sentence in evidence):
        return None
    quoted = {c.quote.span for c in answer.citations if c.quote is not None and c.by != "question"}
    scores = [
        max(row.score for row in rows_of_table(evidence, sentence) or [sentence])
        for sentence in evidence
        if sentence.quote.span in quoted
    ]
    best, best_fit = (max((sentence.score for sentence in group), default=0.0) for group in (evidence, fits))
    if not scores or best <= 0:
        return None
    share_of_fit = min(scores) / best_fit if best_fit > 0 else 0.0
    return share_of_fit if share_of_fit >= MIN_RELEVANCE_LED else min(scores) / best


def _stands_in_other_row(answer: Answer, evidence: Sequence[Evidence], question: str) -> bool:
    """Whether every quote of the answer is a table row, and the question names another row or column, or this row alone
    where the answer has numbers of others too.
    """
    quoted = {c.quote.span for c in answer.citations if c.quote is not None and c.by != "question"}
    rows = [sentence for sentence in evidence if sentence.quote.span in quoted]
    return bool(rows) and all(
        named_row(evidence, row, question) is not None
        or is_other_column(row, answer.text, question)
        or mixes_rows(evidence, row, answer.text, question)
        for row in rows
    )


def _stands_in_other_clause(answer: Answer, question: str) -> bool:
    """Whether every quote of the answer is a sentence of which the question names another clause."""
    quotes = [c.quote for c in answer.citations if c.quote is not None and c.by != "question"]
    return bool(quotes) and all(is_other_clause(quote.text, answer.text, question) for quote in quotes)


def _is_title(text: str, shown: Sequence[Passage], question: str) -> bool:
    """Whether a title or heading of a shown passage makes at least half of what the answer adds to the question.

    Small models repeat it from the prompt.
    """
    words = set(content_words(text))
    new_words = words - set(content_words(question))
    titles = {title for passage in shown for title in (passage.title, *passage.place.heading)}
    return any(
        len(title_words) > 1 and title_words <= words and 2 * len(title_words & new_words) >= max(1, len(new_words))
        for title_words in (set(content_words(title)) for title in titles)
    )


def _stands_in_nearest(state: State, answer: Answer) -> bool:
    """Whether the answer's evidence is about as near to the question as the best sentence."""
    query = state.question.query
    evidence = evidence_in(state.shown, query)
    share = relevance(answer, evidence, fitting(evidence, query))
    return share is not None and share >= MIN_RELEVANCE_LED


def without_heading(text: str, shown: Sequence[Passage]) -> str:
    """Strips a passage's heading from the start of the answer: small models repeat it from the prompt."""
    for passage in shown:
        parts = [part for part in dict.fromkeys((passage.title, *passage.place.heading)) if part]
        for head in (" > ".join(" ".join(part.split()) for part in parts), *parts):
            if head and text.startswith(f"{head}: ") and has_words(text[len(head) + 2 :]):
                return text[len(head) + 2 :].strip()
    return text


def is_asked_again(state: State, first: Judged) -> bool:
    """Whether the model gets a second attempt; never if quotes lead its answers."""
    return bool(first.unusable and state.second_prompt) and state.lead == "generate"


def second_sampling(sampling: Sampling) -> Sampling:
    """Returns the sampling of the second attempt."""
    return replace(sampling, repeat_penalty=max(sampling.repeat_penalty or 1.0, RETRY_PENALTY))


def settle(state: State, first: Judged, second: Judged | None) -> tuple[State, tuple[str, ...]]:
    """Chooses the final answer; returns the state with it, and the ledger's line on the choice."""
    is_agreed = second is not None and agree(state, first, second)
    chosen = first if second is None or is_agreed or not first.unusable else second
    ledger = replace(state.ledger, generation=chosen.generation)
    if chosen.is_formal:
        cut = ("the answer was cut at max_tokens, so its form is not whole",)
        return replace(state, answer=chosen.answer, ledger=ledger), cut if chosen.generation.finish == "length" else ()
    if chosen is second:
        ledger = replace(ledger, parts=state.second_parts, layout=state.second_layout)
    notes: list[str] = []
    if second is not None:
        cost = second.generation
        notes.append(
            f"asked again in another layout because the first answer was unusable: {first.unusable} "
            f"({cost.read_tokens} tokens read, {cost.answer_tokens} written in "
            f"{cost.prefill_s + cost.decode_s:.1f} s); the first answer: {_short(first.generation.text)}"
        )
    if is_agreed:
        notes.append("both answers say the same, and the first is shown")
        chosen = replace(chosen, unusable="")
    answer = chosen.answer
    is_named = chosen.unusable == OTHER_ROW  # the cell that is asked for is there, and its row takes the answer's place
    doubted = ""
    if not answer.is_abstention:
        doubted = "" if is_named else doubt(state.answerable, chosen.unusable, state.lead == "quote")
        doubted = doubted or _doubt_of_words(state)
    if chosen.generation.finish == "cancelled":
        pass  # whoever stopped it sees what was written so far, and nothing in its place
    elif doubted:
        answer = Answer(REFUSAL, nearest_to(state, MAX_QUOTES), True, doubted, by="gate", said=_said(chosen))
        notes.append(f"refused after the model had answered: {doubted}")
    elif chosen.unusable and state.shown:
        answer = quoted(state, chosen)
        notes.append(f"a sentence of the documents takes the answer's place: {chosen.unusable}")
    elif chosen.unusable:
        answer = replace(answer, faults=tuple(dict.fromkeys((*answer.faults, chosen.unusable))))
    elif state.lead == "quote" and not answer.is_abstention and state.shown and not _stands_in_nearest(state, answer):
        answer = quoted(state, chosen)
    elif answer.is_abstention:
        answer = replace(answer, text=REFUSAL, by="gate", said=answer.text)
    notes += [f"the answer: {fault}" for fault in answer.faults]
    if chosen.generation.is_thought_cut:
        notes.append(f"the thoughts before the answer were cut after {chosen.generation.thought_tokens} tokens")
    if chosen.generation.finish == "length" and not answer.faults:
        notes.append("the answer was cut at max_tokens")
    return replace(state, answer=answer, ledger=ledger), tuple(notes)


def _doubt_of_words(state: State) -> str:
    """Returns the doubt that the question's words give, which stand in few of the passages found."""
    if state.answerable is None or state.answerable >= UNSURE:
        return ""
    evidence = QuestionEvidence.of(state.question.query, state.found or state.shown)
    return doubt_of_words(state.answerable, evidence.held, evidence.missing)


def nearest_to(state: State, n: int = 1) -> tuple[Citation, ...]:
    """Cites the n shown sentences nearest to the question, first one that holds the kind of value that it asks for; in
    a table, first the row that the question names.
    """
    question = state.question.query
    evidence = evidence_in(state.shown, question)
    best = nearest(evidence, 1, question)
    row = next(
        (sentence for sentence in evidence if best and best[0].quote is not None and sentence.quote == best[0].quote),
        None,
    )
    named = None if row is None else named_row(evidence, row, question)
    if named is None:
        return nearest(evidence, n, question)
    first = Citation(named.number, "question", named.passage, named.quote)
    return (first, *nearest([sentence for sentence in evidence if sentence is not named], n - 1))


def _said(judged: Judged) -> str:
    return judged.generation.text.strip()


def agree(state: State, first: Judged, second: Judged) -> bool:
    """Whether two attempts in two layouts agree, on off-question evidence that a shared name links to the question.

    Such answers are accepted: the answer to a multi-hop question stands in a sentence with few of the question's words.
    Without a shared name, 1 of 10 of them was right (steps of MuSiQue, Qwen 0.5B).
    """
    if not first.unusable == second.unusable == OFF_QUESTION or not is_bridged(state, first.answer):
        return False
    question_words = set(content_words(state.question.text))
    new_words = [set(content_words(judged.answer.text)) - question_words for judged in (first, second)]
    return bool(new_words[0] and new_words[1]) and (new_words[0] <= new_words[1] or new_words[1] <= new_words[0])


def is_bridged(state: State, answer: Answer) -> bool:
    """Whether a quote of the answer, or its document's title, shares a name with the sentence nearest to the question.

    The name must not occur in the question, and the two must be from different documents.
    """
    question = state.question.query
    best = max(evidence_in(state.shown, question), key=lambda sentence: sentence.score, default=None)
    if best is None:
        return False
    linked = _names(best.quote.text) - _names(question)
    return any(
        bool(linked & _names(f"{citation.passage.title}: {citation.quote.text}"))
        for citation in answer.citations
        if citation.quote is not None
        and citation.passage is not None
        and citation.by != "question"
        and citation.passage.source != best.passage.source
    )


def _names(text: str) -> frozenset[str]:
    """Returns the words of a text's names, without numbers."""
    claims = (claim.words for claim in claims_in(text) if not claim.text[0].isdigit())
    return frozenset[str]().union(*claims)


def quoted(state: State, judged: Judged) -> Answer:
    """The sentences nearest to the question in the place of an answer: the first is the text.

    `why` stays empty where quotes lead the model's answers anyway.
    """
    citations = nearest_to(state, MAX_QUOTES)
    quote = citations[0].quote if citations else None
    text = " ".join(quote.text.split()) if quote is not None else ""
    why = "" if state.lead == "quote" else judged.unusable
    return Answer(text, citations, by="quote", said=_said(judged), why=why, faults=judged.answer.faults)


def attributed(state: State, judged: Judged, runtime: Runtime) -> Judged:
    """Cites an answer without evidence by attribution; returns it unchanged if no passage makes it likely."""
    from pipeline.answers.attribution import attribute

    try:
        grounds = attribute(replace(state, answer=judged.answer), runtime.assembler, runtime)
    except ModelError as error:
        runtime.note(f"no attribution: {error}")
        return judged
    runtime.note(f"no words of the answer stand in what was shown: {grounds.account} in {grounds.seconds:.1f} s")
    quoted = []
    for sentence in grounds.sentences:
        if sentence.best is not None and sentence.quote is not None:
            best, quote = sentence.best, sentence.quote
            quoted.append(Citation(best.number, "attribution", best.passage, quote.quote, drop=round(quote.drop, 2)))
    if not quoted:
        return judged
    rest = [
        c for c in judged.answer.citations if c.quote and c.quote.span not in {f.quote.span for f in quoted if f.quote}
    ]
    answer = replace(judged.answer, citations=(*quoted, *rest)[: max(MAX_QUOTES, len(quoted))])
    return Judged(answer, "", judged.generation)


def _has_evidence(answer: Answer) -> bool:
    return any(citation.is_valid and citation.by != "question" for citation in answer.citations)


def _said_before(text: str, state: State) -> bool:
    """Whether the conversation holds at least half of the text's words."""
    before = [part for turn in state.turns for part in (turn.question, turn.answer)]
    before += [memory.text for memory in state.recalled]
    return bool(before) and coverage(content_words(text), "\n".join(before)) >= MIN_MATCH


def _missing(answer: Answer, state: State) -> tuple[str, ...]:
    """Returns the answer's unsupported names and numbers that the conversation does not hold either."""
    if not answer.unsupported:
        return ()
    before = [text for turn in state.turns for text in (turn.question, turn.answer)]
    held = [*before, *(memory.text for memory in state.recalled)]
    return tuple(text for text in answer.unsupported if not all(is_held(claim, held) for claim in claims_in(text)))


def _short(text: str, n: int = 120) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= n else flat[:n] + " (shortened here)")
