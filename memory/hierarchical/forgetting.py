"""Takes turns out of every tier of a session, and whatever repeats words that only they had."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from memory.hierarchical.digest import Digest
from memory.hierarchical.summaries import weightiest
from memory.hierarchical.units import UnitTables
from memory.transcribed import turn_text
from pipeline.text.words import content_words
from pipeline.types import Turn


def forget_turns(units: UnitTables, digest: Digest, numbers: tuple[int, ...], next_number: int | None = None) -> None:
    """Deletes turns, their pieces and facts, in one transaction. Makes the summaries that they went into again.

    Summaries are remade by extraction, because forgetting must not need a model.
    """
    transcript = units.transcript
    forgotten = set(numbers)
    lost_words = _words_of(turn for turn in transcript.turns if turn.number in forgotten)
    lost_words -= _words_of(turn for turn in transcript.turns if turn.number not in forgotten)
    with transcript.transaction():
        transcript.delete(numbers, next_number)
        for unit in units.all():
            is_touched = any(unit.first <= number <= unit.last for number in forgotten)
            if is_touched or lost_words & set(content_words(unit.summary or "")):
                digest.remake(unit)
        units.forget(numbers, [fact for fact in units.facts() if lost_words & set(content_words(fact.text))])
        digest.relink()
        running = units.running
        if running.text and running.upto >= min(forgotten):
            parts = " ".join(unit.summary or "" for unit in units.all() if unit.last <= running.upto)
            text = weightiest(parts, digest.settings.summary_tokens, digest.runtime.reader)
            units.running = replace(running, text=text, by="extract")
        if next_number is not None:
            transcript.set("closed", min(units.closed, next_number - 1))


def _words_of(turns: Iterable[Turn]) -> set[str]:
    return {word for turn in turns for word in content_words(turn_text(turn))}
