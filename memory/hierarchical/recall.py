"""Chooses what a prompt shows of a session: the last turns, the summary, and recalled turns, within their budgets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from memory.hierarchical.facts import newest_of
from memory.hierarchical.search import TurnSearch
from memory.hierarchical.settings import Hierarchical
from memory.hierarchical.summaries import clipped
from memory.hierarchical.units import Unit, UnitTables
from memory.transcribed import newest, softmax, turn_text
from pipeline.contracts import Runtime
from pipeline.text.sentences import sentences
from pipeline.text.words import content_words, coverage
from pipeline.types import Passage, Question, Recall, Recalled, Turn


class Recaller:
    """Recalls from the tables of a session, ranked by its search."""

    def __init__(self, units: UnitTables, search: TurnSearch, settings: Hierarchical) -> None:
        self.units = units
        self.transcript = units.transcript
        self.search = search
        self.settings = settings

    def recall(self, question: Question, runtime: Runtime, room: int) -> Recall:
        """If `room` is less than the budgets together, each budget shrinks in proportion."""
        settings, turns = self.settings, self.transcript.turns
        budgets = settings.sensory_tokens + settings.summary_tokens + settings.recall_tokens
        share = min(1.0, room / max(1, budgets))
        closed = self.units.closed
        open_turns = [turn for turn in turns if turn.number > closed]
        shown = newest(open_turns, int(settings.sensory_tokens * share), runtime.reader)
        summary = self._summary(int(settings.summary_tokens * share), runtime)
        left_out = {turn.number for turn in open_turns if turn not in shown}
        among = {turn.number for turn in turns if turn.number <= closed} | left_out
        query = settings.query(question.query)
        pieces = self.units.pieces()
        budget = int(settings.recall_tokens * share)
        passages = self.passages(query, among & pieces.keys(), budget, runtime)
        budget -= sum(runtime.reader.count_text(passage.text) for passage in passages)
        recalled = self._turns(query, among - pieces.keys(), budget, runtime)
        return Recall(shown, (*summary, *recalled), passages)

    def passages(self, query: str, among: set[int], budget: int, runtime: Runtime) -> tuple[Passage, ...]:
        """The best pieces of documents that fit the budget, best first. Their scores are their weights."""
        pieces = self.units.pieces()
        best, weights = self._best(query, among)
        passages: list[Passage] = []
        for number in best:
            size = runtime.reader.count_text(pieces[number].text)
            if size <= budget:
                budget -= size
                passages.append(replace(pieces[number], score=weights[number]))
        return tuple(passages)

    def _best(self, query: str, among: set[int]) -> tuple[list[int], dict[int, float]]:
        """The numbers of the best turns, best first, and the weight of each."""
        ranked = self.search.ranked(query, among)[: self.settings.recall_turns] if among else []
        numbers = [number for number, _ in ranked]
        weights = softmax([score for _, score in ranked], self.settings.temperature)
        return numbers, dict(zip(numbers, weights, strict=True))

    def _summary(self, cap: int, runtime: Runtime) -> tuple[Recalled, ...]:
        running = self.units.running
        text = clipped(running.text, cap, runtime.reader) if running.text and cap else ""
        if not text:
            return ()
        if running.by == "extract" and self.settings.summarise == "model":
            runtime.note("the running summary is made of sentences of the conversation: the model's was of no use")
        turns = tuple(turn.number for turn in self.transcript.turns if turn.number <= running.upto)
        return (Recalled("summary", text, runtime.reader.count_text(text), None, turns, running.time),)

    def _turns(self, query: str, among: set[int], budget: int, runtime: Runtime) -> list[Recalled]:
        """The best turns that fit the budget, as runs in the order of the conversation."""
        best, weights = self._best(query, among)
        texts = self._texts(best, query, budget, runtime)
        runs = _Runs(self.transcript.turns, self.units.all())
        chosen: list[int] = []
        recalled: list[Recalled] = []
        for number in best:
            # The runs are formed again with each turn: a turn between two runs joins them, and costs a line break.
            candidate = [
                Recalled(
                    tier="unit",
                    text=(text := "\n".join(texts[n] for n in run)),
                    tokens=runtime.reader.count_text(text),
                    weight=round(min(1.0, sum(weights[n] for n in run)), 6),
                    turns=tuple(run),
                    time=runs.times[run[-1]],
                )
                for run in runs.of([*chosen, number])
            ]
            if sum(run.tokens for run in candidate) <= budget:
                chosen.append(number)
                recalled = candidate
        if len(chosen) < len(best):
            runtime.note(
                f"{len(best) - len(chosen)} of {len(best)} turns that bear on the question exceed recall_tokens"
            )
        return recalled

    def _texts(self, numbers: Sequence[int], query: str, budget: int, runtime: Runtime) -> dict[int, str]:
        """The text of each turn, with the facts that supersede its own. A long turn is cut to the nearest sentences."""
        turns = {turn.number: turn for turn in self.transcript.turns}
        facts = self.units.facts()
        by_id = {fact.id: fact for fact in facts}
        max_tokens = max(budget // 2, 1)
        texts: dict[int, str] = {}
        for number in numbers:
            text = turn_text(turns[number])
            if runtime.reader.count_text(text) > max_tokens:
                text = _excerpt(text, query, max_tokens, runtime)
            for fact in facts:
                newer = newest_of(fact, by_id)
                if fact.turn == number and newer is not None:
                    text += f"\n(Later, on {newer.time[:10]}: {newer.text})"
            texts[number] = text
        return texts


class _Runs:
    """Groups adjacent turns of the same unit, which are shown together."""

    def __init__(self, turns: Sequence[Turn], units: Sequence[Unit]) -> None:
        self.times = {turn.number: turn.time for turn in turns}
        self._places = {turn.number: n for n, turn in enumerate(turns)}
        self._firsts = [unit.first for unit in units]

    def of(self, numbers: Sequence[int]) -> list[list[int]]:
        def run(entry: tuple[int, int]) -> tuple[int, int]:
            n, number = entry
            return self._places[number] - n, bisect_right(self._firsts, number)

        return [[number for _, number in group] for _, group in groupby(enumerate(sorted(numbers)), run)]


def _excerpt(text: str, query: str, max_tokens: int, runtime: Runtime) -> str:
    """The sentences of a long text that share most words with the query, in their order, within `max_tokens`."""
    words = content_words(query)
    pieces = [" ".join(text[start:end].split()) for start, end in sentences(text)]
    chosen: list[int] = []
    excerpt = ""
    for n in sorted(range(len(pieces)), key=lambda n: -coverage(words, pieces[n])):
        candidate = " … ".join(pieces[m] for m in sorted([*chosen, n]))
        if runtime.reader.count_text(candidate) <= max_tokens:
            chosen.append(n)
            excerpt = candidate
    return excerpt or clipped(text, max_tokens, runtime.reader)
