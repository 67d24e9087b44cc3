"""The open memory of a session. Text moves to the next tier when its budget is used up.

This is arithmetic, and no model decides. When the turns that are repeated word for word exceed `sensory_tokens`, the
oldest `segment_tokens` of them close as a unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memory.hierarchical.digest import Digest
from memory.hierarchical.export import take_line, tier_lines
from memory.hierarchical.facts import newest_of
from memory.hierarchical.forgetting import forget_turns
from memory.hierarchical.recall import Recaller
from memory.hierarchical.search import TurnSearch
from memory.hierarchical.settings import Hierarchical
from memory.hierarchical.units import Unit, UnitTables
from memory.transcribed import Transcribed, softmax, turn_text
from pipeline.contracts import Progress, Runtime
from pipeline.conversation.transcript import now, session_errors
from pipeline.retrieval.vectors import load_library
from pipeline.types import Item, Passage, Question, Recall, Recalled, Turn


class Tiers(Transcribed):
    """The turns of a session, the units that they closed into, and what searches and digests them."""

    def __init__(self, folder: Path, settings: Hierarchical, runtime: Runtime) -> None:
        super().__init__(folder)
        self.settings = settings
        try:
            with session_errors(folder):
                self.units = UnitTables(self.transcript)
        except BaseException:
            self.transcript.close()
            raise
        self._search = TurnSearch(self.units, settings, runtime)
        self._recaller = Recaller(self.units, self._search, settings)
        self._digest = Digest(self.units, settings, runtime)
        self._lengths: dict[int, int] = {}

    def warm_up(self) -> None:
        """Imports Chroma if there are turns to search; without them the first answer does not wait for it."""
        if self.turns and self._search.has_vectors:
            load_library()

    def recall(self, question: Question, runtime: Runtime, room: int) -> Recall:
        self._close_segments(runtime)
        self._search.update()
        return self._recaller.recall(question, runtime, room)

    def settle(self, runtime: Runtime, progress: Progress | None = None) -> None:
        self._close_segments(runtime)
        self._search.update()
        pending = self.units.without_summary()
        for n, unit in enumerate(pending):
            if progress is not None:
                progress("remember", n, len(pending))
            if runtime.is_cancelled:
                return
            self._digest.summarise(unit, runtime, progress)
        if pending and progress is not None:
            progress("remember", len(pending), len(pending))
        self._search.update()

    def _close_segments(self, runtime: Runtime) -> None:
        """Closes the oldest open turns as units until the rest fits the sensory budget."""
        settings = self.settings
        closed = self.units.closed
        waiting = [turn for turn in self.turns if turn.number > closed]
        total = sum(self._length(turn, runtime) for turn in waiting)
        while waiting and total > settings.sensory_tokens:
            first, size = waiting[0], 0
            last = first
            while waiting and size < min(settings.segment_tokens, total):
                last = waiting.pop(0)
                size += self._length(last, runtime)
            total -= size
            with session_errors(self.transcript.folder):
                self.units.close(first.number, last.number)

    def _length(self, turn: Turn, runtime: Runtime) -> int:
        if turn.number not in self._lengths:
            count = runtime.reader.count_text
            self._lengths[turn.number] = count(turn.question) + count(turn.answer)
        return self._lengths[turn.number]

    def read(self, pieces: Sequence[Passage], runtime: Runtime, progress: Progress | None = None) -> int:
        """Reads pieces in segments of `segment_tokens`. Skips pieces that were read before.

        Each segment becomes a unit. Its summary also sees what the segment's first half recalls from earlier ones.
        """
        known = {piece.span for piece in self.units.pieces().values()}
        new = [piece for piece in pieces if piece.span not in known and piece.text.strip()]
        waiting = [turn.number for turn in self.turns if turn.number > self.units.closed]
        if new and waiting:
            self.units.close(waiting[0], waiting[-1])
        done = 0
        while done < len(new):
            if runtime.is_cancelled:
                break
            segment = self._segment(new[done:], runtime)
            unit = self._add_segment(segment)
            self._search.update()
            self._digest.summarise(unit, runtime, None, self._recalled_for(unit, runtime))
            done += len(segment)
            if progress is not None:
                progress("read", done, len(new))
        return done

    def _segment(self, pieces: Sequence[Passage], runtime: Runtime) -> list[Passage]:
        """The first pieces that together have `segment_tokens`, or all of them."""
        segment: list[Passage] = []
        size = 0
        for piece in pieces:
            if segment and size >= self.settings.segment_tokens:
                break
            segment.append(piece)
            size += runtime.reader.count_text(piece.text)
        return segment

    def _add_segment(self, segment: Sequence[Passage]) -> Unit:
        """Writes the pieces as turns, and closes them as a unit."""
        with session_errors(self.transcript.folder), self.transcript.transaction():
            first = self.next_number
            for piece in segment:
                number = self.next_number
                self.transcript.put(Turn(number, piece.text, "", now()))
                self.units.add_piece(number, piece)
            self.units.close(first, number)
        (unit,) = [unit for unit in self.units.all() if unit.first == first]
        return unit

    def _recalled_for(self, unit: Unit, runtime: Runtime) -> str:
        """What the first half of a segment recalls from the documents before it: HMT's query."""
        text = " ".join(turn_text(turn) for turn in self.units.turns(unit))
        earlier = {number for number in self.units.pieces() if number < unit.first}
        budget = self.settings.recall_tokens // 2
        passages = self._recaller.passages(self.settings.query(text), earlier, budget, runtime)
        return "\n".join(passage.text for passage in passages)

    def ranked(self, query: str, among: set[int]) -> list[tuple[int, float]]:
        """Those of these turns that match a text, with their scores, best first. Of equal scores, the later first."""
        return self._search.ranked(query, among)

    def search(self, text: str, k: int = 10) -> tuple[Recalled, ...]:
        """Ranks every turn with the scores of `recall`."""
        self._search.update()
        turns = {turn.number: turn for turn in self.turns}
        best = self.ranked(text, set(turns))[:k]
        weights = softmax([score for _, score in best], self.settings.temperature)
        return tuple(
            Recalled("unit", turn_text(turns[n]), 0, weight, (n,), turns[n].time)
            for (n, _), weight in zip(best, weights, strict=True)
        )

    def items(self) -> tuple[Item, ...]:
        closed = self.units.closed
        sensory = [turn for turn in self.turns if turn.number > closed]
        return (
            *self._summary_items(),
            *self._unit_items(),
            *self._fact_items(),
            *(Item("sensory", turn_text(turn), (turn.number,), turn.time) for turn in sensory),
        )

    def _summary_items(self) -> list[Item]:
        running = self.units.running
        turns = tuple(turn.number for turn in self.turns if turn.number <= running.upto)
        return [Item("summary", running.text, turns, running.time)] if running.text else []

    def _unit_items(self) -> list[Item]:
        items = []
        for unit in self.units.all():
            turns = self.units.turns(unit)
            if not turns:  # an older version imported units whose turns were forgotten
                continue
            text = "\n".join(map(turn_text, turns))
            if unit.summary:
                text = f"{unit.summary}\n\n{text}"
            items.append(Item("unit", text, tuple(turn.number for turn in turns), turns[-1].time))
        return items

    def _fact_items(self) -> list[Item]:
        facts = self.units.facts()
        by_id = {fact.id: fact for fact in facts}
        items = []
        for fact in facts:
            newer = newest_of(fact, by_id)
            superseded_by = f"{newer.value} ({newer.time[:10]}, turn {newer.turn})" if newer else ""
            items.append(Item("fact", fact.text, (fact.turn,), fact.time, superseded_by))
        return items

    def scrub(self) -> None:
        if self._search.has_vectors:
            self._search.drop_stale_vectors()
            self.transcript.scrub()
        else:
            super().scrub()

    def _forget(self, numbers: tuple[int, ...], next_number: int | None = None) -> None:
        with session_errors(self.transcript.folder):
            forget_turns(self.units, self._digest, numbers, next_number)
            self._lengths.clear()
            self._search.forget()
        self.scrub()

    def _lines(self) -> list[dict[str, Any]]:
        return [*super()._lines(), *tier_lines(self.units)]

    def _take(self, line: dict[str, object]) -> None:
        if not take_line(line, self.units, self._digest):
            super()._take(line)

    def close(self) -> None:
        self._search.close()
        super().close()
