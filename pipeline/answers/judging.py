"""From what the model wrote to what is shown: repaired, cited, asked for again, or replaced by a quote.

Where the answer is unusable (pipeline/answers/contract.py) or a name or number of it stands in nothing that was shown,
the model is asked once more, in another layout and with a repetition penalty. If that fails, the sentence nearest to
the question takes the answer's place. Only prompts of assemble.cited, which name their layout, are judged: others are
prescribed by a protocol.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.answers.citations import REFUSAL, cite, evidence_in, nearest
from pipeline.answers.contract import check, without_lead
from pipeline.types import Answer, Generation, Sampling, State

RETRY_PENALTY = 1.15
"""Repetition penalty of the second attempt."""


@dataclass(frozen=True)
class Judged:
    """An answer of the model, and why it must not be shown as it is; `unusable` is empty where it may."""

    answer: Answer
    unusable: str
    generation: Generation


def judge(state: State, generation: Generation) -> Judged:
    """The answer to the question of `state`, repaired and cited."""
    question = state.question.wording
    if not state.ledger.layout or generation.finish == "cancelled":
        answer = cite(generation.text, state.shown, question, state.cite_by)
        return Judged(answer, "", generation)
    checked = check(generation.text, generation.finish, question)
    answer = cite(without_lead(checked.text), state.shown, question, state.cite_by)
    answer = replace(answer, faults=checked.faults)
    if checked.unusable or answer.is_abstention:
        return Judged(answer, checked.unusable, generation)
    missing = _missing(answer, state)
    answer = replace(answer, unsupported=missing)
    return Judged(answer, f"{', '.join(missing)} stands in nothing that was shown" if missing else "", generation)


def second_sampling(sampling: Sampling) -> Sampling:
    """The sampling of the second attempt."""
    return replace(sampling, repeat_penalty=max(sampling.repeat_penalty, RETRY_PENALTY))


def settle(state: State, first: Judged, second: Judged | None) -> tuple[State, tuple[str, ...]]:
    """The state with the answer that is shown, and what the ledger says of how it was chosen."""
    chosen = first if not first.unusable or second is None else second
    ledger = replace(state.ledger, generation=chosen.generation)
    notes: list[str] = []
    if second is not None:
        cost = second.generation
        notes.append(
            f"asked again in another layout because the first answer was unusable: {first.unusable} "
            f"({cost.prompt_tokens - cost.reused_tokens} tokens read, {cost.answer_tokens} written in "
            f"{cost.prefill_s + cost.decode_s:.1f} s); the first answer: {_short(first.generation.text)}"
        )
    answer = chosen.answer
    if chosen.unusable and state.shown:
        answer = quoted(state, chosen)
        notes.append(f"a sentence of the documents takes the answer's place: {chosen.unusable}")
    elif chosen.unusable:
        answer = replace(answer, faults=(*answer.faults, chosen.unusable))
    elif state.lead == "quote" and not answer.is_abstention and state.shown:
        answer = quoted(state, chosen)
    elif answer.is_abstention:
        answer = replace(answer, text=REFUSAL, by="gate", said=answer.text)
    notes += [f"the answer: {fault}" for fault in answer.faults]
    if chosen.generation.finish == "length" and not answer.faults:
        notes.append("the answer was cut at max_tokens")
    return replace(state, answer=answer, ledger=ledger), tuple(notes)


def quoted(state: State, judged: Judged) -> Answer:
    """The sentences nearest to the question in the place of an unusable answer: the first is the text."""
    citations = nearest(evidence_in(state.shown, state.question.wording), 2)
    quote = citations[0].quote if citations else None
    text = " ".join(quote.text.split()) if quote is not None else ""
    said = judged.generation.text.strip()
    return Answer(text, citations, by="quote", said=said, why=judged.unusable, faults=judged.answer.faults)


def _missing(answer: Answer, state: State) -> tuple[str, ...]:
    """The answer's unsupported names and numbers that stand in the conversation neither."""
    from pipeline.text.words import content_words

    if not answer.unsupported:
        return ()
    if not state.shown and not state.turns and not state.recalled:
        return ()
    before = [text for turn in state.turns for text in (turn.question, turn.answer)]
    held = set(content_words("\n".join([*before, *(one.text for one in state.recalled)])))
    return tuple(claim for claim in answer.unsupported if not set(content_words(claim)) <= held)


def _short(text: str, n: int = 120) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= n else flat[:n] + " (shortened here)")
