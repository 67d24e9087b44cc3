"""Digests closed segments: draws their facts, summarises them, and renews the running summary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from memory.hierarchical.facts import Fact, drawn, is_about_the_same, says_the_same
from memory.hierarchical.settings import Hierarchical
from memory.hierarchical.summaries import SHORT_TOKENS, extracted, renew, weightiest
from memory.hierarchical.units import Running, Unit, UnitTables
from memory.transcribed import turn_text
from pipeline.contracts import Embedder, Progress, Runtime
from pipeline.conversation.transcript import session_errors


class Digest:
    """Writes facts and summaries into the tables of a session."""

    def __init__(self, units: UnitTables, settings: Hierarchical, runtime: Runtime) -> None:
        self.units = units
        self.transcript = units.transcript
        self.settings = settings
        self.runtime = runtime

    @property
    def _embedder(self) -> Embedder | None:
        return self.runtime.embedder if self.settings.dense_weight > 0 else None

    def summarise(self, unit: Unit, runtime: Runtime, progress: Progress | None, recalled: str = "") -> None:
        """Makes the unit's facts and summary, and renews the running summary: all of it, or nothing if cancelled."""
        turns = self.units.turns(unit)
        running = self.units.running
        cap = self.settings.summary_tokens
        pieces = self.units.pieces()
        facts = [fact for turn in turns if turn.number not in pieces for fact in drawn(turn)]
        if self.settings.summarise == "none":
            part, new = "", running
        else:
            if self.settings.summarise == "model" and cap:
                renewed = renew(running.text, turns, cap, runtime, progress, recalled)
            else:
                renewed = extracted(running.text, turns, cap, runtime.reader)
            if runtime.is_cancelled:
                return
            part = renewed.part
            facts += renewed.facts
            new = running
            if cap and turns and unit.last > running.upto:
                new = Running(renewed.running, unit.last, renewed.by, turns[-1].time)
        with session_errors(self.transcript.folder), self.transcript.transaction():
            self.units.set_summary(unit, part)
            self.add_facts(facts)
            self.units.running = new

    def add_facts(self, facts: Sequence[Fact]) -> None:
        """Adds facts that are not known yet. Each supersedes older facts about the same that differ."""
        known = self.units.facts()
        for fact in sorted(facts, key=lambda fact: fact.turn):
            same = [old for old in known if is_about_the_same(old, fact, self._embedder)]
            if any(says_the_same(old, fact) and old.superseded_by is None for old in same):
                continue
            added = self.units.add_fact(fact)
            for n, old in enumerate(known):
                if old in same and old.turn <= added.turn and old.superseded_by is None:
                    self.units.supersede(old, added)
                    known[n] = replace(old, superseded_by=added.id)
            known.append(added)

    def relink(self) -> None:
        """Has later facts supersede those that lost their successor."""
        facts = self.units.facts()
        for old in facts:
            if old.superseded_by is not None:
                continue
            later = [new for new in facts if new.turn > old.turn and not says_the_same(old, new)]
            newer = next((new for new in later if is_about_the_same(old, new, self._embedder)), None)
            if newer is not None:
                self.units.supersede(old, newer)

    def remake(self, unit: Unit) -> None:
        """Summarises a unit again, by extraction, after it lost turns. Deletes a unit that lost them all."""
        turns = self.units.turns(unit)
        if not turns:
            self.units.delete(unit)
        elif unit.summary is not None:
            text = "\n".join(map(turn_text, turns))
            self.units.set_summary(unit, weightiest(text, SHORT_TOKENS, self.runtime.reader))
