"""memory.hierarchical: the last turns, a running summary, and everything older to be recalled, each within a budget.

Inspired by HMT: Hierarchical Memory Transformer (He et al. 2024, arXiv 2405.06067), which has a sensory memory (tokens
of the last segment), a short-term one (an embedding of it) and a long-term one (the embeddings of earlier segments,
recalled by cross-attention with a summary of the segment's first half, j = L/2). Ours differs: tiers hold text and not
hidden states, so that a stock model can read them and nothing is trained; recall is by the sentence embedder and by
BM25, fused, with the softmax over what was recalled logged as its weights; the store is append-only and unlimited,
where HMT forgets the oldest of N = 300. The first half of the incoming text is the query where it is long; a short one
is used whole. Fidelity: inspired.

Text moves to the next tier because its budget is used up, by arithmetic; no model is asked whether to. When the turns
that are repeated word for word exceed `sensory_tokens`, the oldest `segment_tokens` of them close as a unit.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import ceil
from pathlib import Path
from typing import Any, Literal

from memory.facts import Fact, drawn, is_about_the_same, says_the_same
from memory.summaries import SHORT_TOKENS, clipped, extracted, renew, weightiest
from memory.transcribed import Transcribed, newest, said, softmax
from memory.units import Running, Unit, Units
from memory.vectors import NAME as VECTORS
from memory.vectors import Meaning
from memory.words import Words, standardised
from pipeline.contracts import Progress, Runtime
from pipeline.documents.places import marks_to_json, place_from_json
from pipeline.documents.sentences import sentences
from pipeline.errors import StoreError
from pipeline.text.words import content_words, coverage
from pipeline.transcript import now, told
from pipeline.types import Item, Passage, Question, Recall, Recalled, Turn


@dataclass(frozen=True)
class Hierarchical:
    """Repeats the last turns, keeps a running summary of the rest, and recalls from it what bears on the question.

    A turn's score is the cosine of its own text (or of a fact drawn from it) and the BM25 score of its words and its
    neighbours', each standardised over all turns that are compared, weighted and added; recency and salience may be
    added to that. What is recalled is shown word for word, as runs of turns, with its time and what supersedes it.

    Example: `memory.hierarchical: {sensory_tokens: 400, recall_turns: 6}`

    :param sensory_tokens: largest number of tokens of the turns that are repeated word for word, at least 0.
    :param segment_tokens: smallest number of tokens that leave the repeated turns at a time and become a unit, at least
        1.
    :param summary_tokens: length of the running summary, at least 0; 0: no summary.
    :param recall_tokens: largest number of recalled tokens for a question, at least 0.
    :param recall_turns: largest number of recalled turns, at least 1.
    :param query_share: share of the incoming text, from its beginning, that is the query, in (0, 1].
    :param query_least: smallest number of words of the query, at least 1, as far as the text has them.
    :param around: number of neighbours on either side whose words count for a turn, at least 0.
    :param dense_weight: weight of meaning, at least 0.
    :param bm25_weight: weight of words, at least 0. One of the two weights must be above 0.
    :param recency: weight of being late, at least 0: 1 for the newest turn, 0 for the oldest; in standard deviations of
        a score.
    :param salience: weight of holding facts, at least 0: a turn's number of facts over the highest such number.
    :param temperature: temperature of the softmax over the recalled turns, greater than 0. It changes the weights in
        the ledger and leaves the choice as it is.
    :param summarise: `model`: the reader summarises, under a JSON schema; `extract`: the summary consists of sentences
        of the turns; `none`: no summary.
    :param pool: number of nearest vectors that are compared, at least 1.
    """

    sensory_tokens: int = 600
    segment_tokens: int = 300
    summary_tokens: int = 160
    recall_tokens: int = 600
    recall_turns: int = 10
    query_share: float = 0.5
    query_least: int = 48
    around: int = 2
    dense_weight: float = 1.0
    bm25_weight: float = 1.0
    recency: float = 0.0
    salience: float = 0.0
    temperature: float = 1.0
    summarise: Literal["model", "extract", "none"] = "model"
    pool: int = 1000

    def __post_init__(self) -> None:
        for name in ("segment_tokens", "recall_turns", "query_least", "pool"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, was: {getattr(self, name)}")
        for name in (
            "sensory_tokens", "summary_tokens", "recall_tokens", "around", "dense_weight", "bm25_weight", "recency",
            "salience",
        ):  # fmt: skip
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, was: {getattr(self, name)}")
        if not 0 < self.query_share <= 1:
            raise ValueError(f"query_share must be in (0, 1], was: {self.query_share}")
        if self.temperature <= 0:
            raise ValueError(f"temperature must be greater than 0, was: {self.temperature}")
        if self.dense_weight == self.bm25_weight == 0:
            raise ValueError("dense_weight and bm25_weight must not both be 0")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"embedder"}) if self.dense_weight else frozenset()

    def open(self, folder: Path, runtime: Runtime) -> Tiers:
        return Tiers(folder, self, runtime)

    def query(self, text: str) -> str:
        """The first part of a text by which is recalled: HMT's j = L/2, and a short text whole."""
        words = text.split()
        n = max(ceil(len(words) * self.query_share), self.query_least)
        return text if n >= len(words) else " ".join(words[:n])


class Tiers(Transcribed):
    """The open memory. Vectors, words and units are brought up to date before they are used."""

    def __init__(self, folder: Path, settings: Hierarchical, runtime: Runtime) -> None:
        super().__init__(folder)
        self.settings = settings
        self.runtime = runtime
        self._meaning: Meaning | None = None
        try:
            with told(folder):
                self.units = Units(self.transcript)
        except BaseException:
            self.transcript.close()
            raise
        self._words = Words(settings.around)
        self._lengths: dict[int, int] = {}

    # ------------------------------------------------------------------------------------------------------- recall
    def recall(self, question: Question, runtime: Runtime, room: int) -> Recall:
        """Where the room is less than the budgets together, each has its share of it."""
        self._close_segments(runtime)
        self._index()
        own = self.settings
        share = min(1.0, room / max(1, own.sensory_tokens + own.summary_tokens + own.recall_tokens))
        closed = self.units.closed
        open_turns = [turn for turn in self.turns if turn.number > closed]
        shown = newest(open_turns, int(own.sensory_tokens * share), runtime.reader)
        summary = self._summary(int(own.summary_tokens * share), runtime)
        left_out = [turn.number for turn in open_turns if turn not in shown]
        among = {turn.number for turn in self.turns if turn.number <= closed} | set(left_out)
        query = own.query(question.text)
        pieces = self.units.pieces()
        passages = self._passages(query, among & pieces.keys(), pieces, int(own.recall_tokens * share), runtime)
        used = sum(runtime.reader.count_text(passage.text) for passage in passages)
        units = self._units(query, among - pieces.keys(), int(own.recall_tokens * share) - used, runtime)
        return Recall(shown, (*summary, *units), passages)

    def _passages(
        self, query: str, among: set[int], pieces: dict[int, Passage], budget: int, runtime: Runtime
    ) -> tuple[Passage, ...]:
        """Of what was read the best pieces that fit the budget, best first; their scores are their weights."""
        best = self.ranked(query, among)[: self.settings.recall_turns] if among else []
        found: list[Passage] = []
        for (number, _), weight in zip(
            best, softmax([score for _, score in best], self.settings.temperature), strict=True
        ):
            size = runtime.reader.count_text(pieces[number].text)
            if size <= budget:
                budget -= size
                found.append(replace(pieces[number], score=weight))
        return tuple(found)

    def read(self, pieces: Sequence[Passage], runtime: Runtime, progress: Progress | None = None) -> int:
        """Reads pieces in segments of `segment_tokens`: each becomes a unit, whose summary is made with what its first
        half recalls from earlier ones. Pieces that were read before are passed over.
        """
        own = self.settings
        there = {piece.span for piece in self.units.pieces().values()}
        new = [piece for piece in pieces if piece.span not in there and piece.text.strip()]
        waiting = [turn.number for turn in self.turns if turn.number > self.units.closed]
        if new and waiting:
            self.units.close(waiting[0], waiting[-1])
        done = 0
        while done < len(new):
            if runtime.is_cancelled:
                break
            segment = [new[done]]
            size = runtime.reader.count_text(new[done].text)
            while done + len(segment) < len(new) and size < own.segment_tokens:
                segment.append(new[done + len(segment)])
                size += runtime.reader.count_text(segment[-1].text)
            with told(self.transcript.folder), self.transcript.transaction():
                first = self.next_number
                for piece in segment:
                    number = self.next_number
                    self.transcript.put(Turn(number, piece.text, "", now()))
                    self.units.add_piece(number, piece)
                self.units.close(first, number)
            self._index()
            (unit,) = [unit for unit in self.units.all() if unit.first == first]
            self._summarise(unit, runtime, None, self._recalled_for(unit, runtime))
            done += len(segment)
            if progress is not None:
                progress("read", done, len(new))
        return done

    def _recalled_for(self, unit: Unit, runtime: Runtime) -> str:
        """What the first half of a segment recalls from before it: HMT's query."""
        text = " ".join(said(turn) for turn in self._of(unit))
        among = {turn.number for turn in self.turns if turn.number < unit.first}
        pieces = self.units.pieces()
        found = self._passages(
            self.settings.query(text), among & pieces.keys(), pieces, self.settings.recall_tokens // 2, runtime
        )
        return "\n".join(passage.text for passage in found)

    def _summary(self, cap: int, runtime: Runtime) -> tuple[Recalled, ...]:
        running = self.units.running
        text = clipped(running.text, cap, runtime.reader) if running.text and cap else ""
        if not text:
            return ()
        if running.by == "extract" and self.settings.summarise == "model":
            runtime.note("the running summary is made of sentences of the conversation: the model's was of no use")
        turns = tuple(turn.number for turn in self.turns if turn.number <= running.upto)
        return (Recalled("summary", text, runtime.reader.count_text(text), None, turns, running.time),)

    def _units(self, query: str, among: set[int], budget: int, runtime: Runtime) -> list[Recalled]:
        """The best turns that fit the budget, as runs in the order of the conversation."""
        best = self.ranked(query, among)[: self.settings.recall_turns]
        weights = dict(
            zip(
                [number for number, _ in best],
                softmax([score for _, score in best], self.settings.temperature),
                strict=True,
            )
        )
        texts = self._shown_texts([number for number, _ in best], query, budget, runtime)
        runs = _Runs(self.turns, self.units.all())
        chosen: list[int] = []
        made: list[Recalled] = []
        for number, _ in best:
            tried = [
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
            if sum(one.tokens for one in tried) <= budget:
                chosen.append(number)
                made = tried
        if len(chosen) < len(best):
            runtime.note(
                f"{len(best) - len(chosen)} of {len(best)} turns that bear on the question exceed recall_tokens"
            )
        return made

    def _shown_texts(self, numbers: Sequence[int], query: str, budget: int, runtime: Runtime) -> dict[int, str]:
        """Each turn's text, of a long one the sentences nearest to the query, with what supersedes what it says."""
        turns = {turn.number: turn for turn in self.turns}
        facts = self.units.facts()
        by_id = {fact.id: fact for fact in facts}
        found: dict[int, str] = {}
        for number in numbers:
            text = said(turns[number])
            most = max(budget // 2, 1)
            if runtime.reader.count_text(text) > most:
                text = _excerpt(text, query, most, runtime)
            for fact in facts:
                newer = _last_of(fact, by_id)
                if fact.turn == number and newer is not None:
                    text += f"\n(Later, on {newer.time[:10]}: {newer.text})"
            found[number] = text
        return found

    def ranked(self, query: str, among: set[int]) -> list[tuple[int, float]]:
        """The turns among these that bear on a text, best first, each with its score; of equals the later one first."""
        own = self.settings
        words = {n: s for n, s in self._words.search(query).items() if n in among} if own.bm25_weight else {}
        meaning = self._cosines(query, words, among) if own.dense_weight and self._meaning is not None else {}
        numbers = sorted(words.keys() | meaning.keys())
        dense = standardised([meaning.get(n, 0.0) for n in numbers])
        bm25 = standardised([words.get(n, 0.0) for n in numbers])
        facts = [fact.turn for fact in self.units.facts()] if own.salience else []
        highest = max((facts.count(n) for n in numbers), default=0) or 1
        scored = []
        for place, number in enumerate(numbers):
            score = own.dense_weight * dense[place] + own.bm25_weight * bm25[place]
            score += own.recency * place / max(1, len(numbers) - 1) + own.salience * facts.count(number) / highest
            scored.append((number, score))
        return sorted(scored, key=lambda one: (-one[1], -one[0]))

    def _cosines(self, query: str, words: dict[int, float], among: set[int]) -> dict[int, float]:
        """The cosine of each turn among the nearest vectors, and of those that words found."""
        meaning = self._opened_meaning()
        turn_of = {f"t{n}": n for n in among}
        turn_of |= {f"f{fact.id}": fact.turn for fact in self.units.facts() if fact.turn in among}
        vector = meaning.vector(query)
        found = {id_: cosine for id_, cosine in meaning.search(vector, self.settings.pool).items() if id_ in turn_of}
        found |= meaning.cosines(vector, {f"t{n}" for n in words} - found.keys())
        best: dict[int, float] = {}
        for id_, cosine in found.items():
            number = turn_of[id_]
            best[number] = max(cosine, best.get(number, -1.0))
        return best

    # ------------------------------------------------------------------------------------------- moving between tiers
    def settle(self, runtime: Runtime, progress: Progress | None = None) -> None:
        self._close_segments(runtime)
        self._index(progress)
        pending = self.units.without_summary()
        for n, unit in enumerate(pending):
            if progress is not None:
                progress("remember", n, len(pending))
            if runtime.is_cancelled:
                return
            self._summarise(unit, runtime, progress)
        if pending and progress is not None:
            progress("remember", len(pending), len(pending))
        self._index()

    def _close_segments(self, runtime: Runtime) -> None:
        """By arithmetic: while the open turns exceed the sensory budget, the oldest of them become a unit."""
        own = self.settings
        closed = self.units.closed
        waiting = [turn for turn in self.turns if turn.number > closed]
        total = sum(self._length(turn, runtime) for turn in waiting)
        while waiting and total > own.sensory_tokens:
            first, size = waiting[0], 0
            last = first
            while waiting and size < min(own.segment_tokens, total):
                last = waiting.pop(0)
                size += self._length(last, runtime)
            total -= size
            with told(self.transcript.folder):
                self.units.close(first.number, last.number)

    def _length(self, turn: Turn, runtime: Runtime) -> int:
        if turn.number not in self._lengths:
            count = runtime.reader.count_text
            self._lengths[turn.number] = count(turn.question) + count(turn.answer)
        return self._lengths[turn.number]

    def _index(self, progress: Progress | None = None) -> None:
        """Counts the words of new turns, and embeds new turns and facts."""
        for turn in self.turns:
            if turn.number not in self._words:
                self._words.add(turn.number, said(turn), turn.time)
        if not self._has_vectors:
            return
        meaning = self._opened_meaning()
        texts = {f"t{turn.number}": said(turn) for turn in self.turns if not meaning.has(f"t{turn.number}")}
        texts |= {f"f{fact.id}": fact.text for fact in self.units.facts() if not meaning.has(f"f{fact.id}")}
        meaning.add({id_: text for id_, text in texts.items() if text.strip()})

    def _summarise(self, unit: Unit, runtime: Runtime, progress: Progress | None, recalled: str = "") -> None:
        """The unit's facts and summary, and the running summary renewed by it: all of it or nothing."""
        turns = self._of(unit)
        running = self.units.running
        cap = self.settings.summary_tokens
        pieces = self.units.pieces()
        facts = [fact for turn in turns if turn.number not in pieces for fact in drawn(turn)]
        if self.settings.summarise == "none":
            part, new = "", running
        else:
            if self.settings.summarise == "model" and cap:
                made = renew(running.text, turns, cap, runtime, progress, recalled)
            else:
                made = extracted(running.text, turns, cap, runtime.reader)
            if runtime.is_cancelled:
                return
            part = made.part
            facts += made.facts
            new = running
            if cap and turns and unit.last > running.upto:
                new = Running(made.running, unit.last, made.by, turns[-1].time)
        with told(self.transcript.folder), self.transcript.transaction():
            self.units.summarised(unit, part)
            self._add_facts(facts, runtime)
            self.units.running = new

    def _add_facts(self, facts: Sequence[Fact], runtime: Runtime) -> None:
        """Adds what was not said before; what it differs from, and is older, is superseded."""
        embedder = runtime.embedder if self._has_vectors else None
        there = self.units.facts()
        for fact in sorted(facts, key=lambda fact: fact.turn):
            same = [old for old in there if is_about_the_same(old, fact, embedder)]
            if any(says_the_same(old, fact) and old.superseded_by is None for old in same):
                continue
            added = self.units.add_fact(fact)
            for n, old in enumerate(there):
                if old in same and old.turn <= added.turn and old.superseded_by is None:
                    self.units.supersede(old, added)
                    there[n] = replace(old, superseded_by=added.id)
            there.append(added)

    def _of(self, unit: Unit) -> list[Turn]:
        numbers = [turn.number for turn in self.turns]
        return list(self.turns[bisect_left(numbers, unit.first) : bisect_right(numbers, unit.last)])

    # ------------------------------------------------------------------------------------- what a person sees and does
    def items(self) -> tuple[Item, ...]:
        closed = self.units.closed
        running = self.units.running
        facts = self.units.facts()
        by_id = {fact.id: fact for fact in facts}
        found = []
        if running.text:
            turns = tuple(turn.number for turn in self.turns if turn.number <= running.upto)
            found.append(Item("summary", running.text, turns, running.time))
        for unit in self.units.all():
            turns_of = self._of(unit)
            text = "\n".join(said(turn) for turn in turns_of)
            if unit.summary:
                text = f"{unit.summary}\n\n{text}"
            found.append(Item("unit", text, tuple(turn.number for turn in turns_of), turns_of[-1].time))
        for fact in facts:
            newer = _last_of(fact, by_id)
            then = f"{newer.value} ({newer.time[:10]}, turn {newer.turn})" if newer else ""
            found.append(Item("fact", fact.text, (fact.turn,), fact.time, then))
        sensory = [turn for turn in self.turns if turn.number > closed]
        found += [Item("sensory", said(turn), (turn.number,), turn.time) for turn in sensory]
        return tuple(found)

    def search(self, text: str, k: int = 10) -> tuple[Recalled, ...]:
        """By the same scores as recall, over every turn."""
        self._index()
        turns = {turn.number: turn for turn in self.turns}
        best = self.ranked(text, set(turns))[:k]
        weights = softmax([score for _, score in best], self.settings.temperature)
        return tuple(
            Recalled("unit", said(turns[n]), 0, weight, (n,), turns[n].time)
            for (n, _), weight in zip(best, weights, strict=True)
        )

    def _forget(self, numbers: tuple[int, ...], next_number: int | None = None) -> None:
        """Summaries that turns went into are made anew from what stays, by extraction: no model is needed to forget."""
        gone = set(numbers)
        lost = _words_of(turn for turn in self.turns if turn.number in gone)
        lost -= _words_of(turn for turn in self.turns if turn.number not in gone)
        with told(self.transcript.folder):
            with self.transcript.transaction():
                self.transcript.delete(numbers, next_number)
                for unit in self.units.all():
                    is_touched = any(unit.first <= number <= unit.last for number in gone)
                    if is_touched or lost & set(content_words(unit.summary or "")):
                        self._remake(unit)
                self.units.forget(numbers, [one for one in self.units.facts() if lost & set(content_words(one.text))])
                self._relink()
                running = self.units.running
                if running.text and running.upto >= min(gone):
                    parts = " ".join(unit.summary or "" for unit in self.units.all() if unit.last <= running.upto)
                    text = weightiest(parts, self.settings.summary_tokens, self.runtime.reader)
                    self.units.running = replace(running, text=text, by="extract")
                if next_number is not None:
                    self.transcript.set("closed", min(self.units.closed, next_number - 1))
            self._words = Words(self.settings.around)
            self._lengths.clear()
            if self._has_vectors:
                self._rewrite(self._opened_meaning())
        self.scrub()

    def scrub(self) -> None:
        if self._has_vectors:
            if any(self.transcript.folder.glob(f"{VECTORS}*")):
                self._opened_meaning()  # it drops the vectors of turns that are gone
            self.transcript.scrub()
        else:
            super().scrub()

    def _remake(self, unit: Unit) -> None:
        """A unit that lost turns: its summary of those that stay; none of them: no unit."""
        turns = self._of(unit)
        if not turns:
            self.units.delete(unit)
        elif unit.summary is not None:
            text = "\n".join(said(turn) for turn in turns)
            self.units.summarised(unit, weightiest(text, SHORT_TOKENS, self.runtime.reader))

    def _relink(self) -> None:
        """Facts that nothing supersedes any more are looked at again: a still later one may."""
        embedder = self.runtime.embedder if self._has_vectors else None
        facts = self.units.facts()
        for old in facts:
            if old.superseded_by is not None:
                continue
            later = [new for new in facts if new.turn > old.turn and not says_the_same(old, new)]
            newer = next((new for new in later if is_about_the_same(old, new, embedder)), None)
            if newer is not None:
                self.units.supersede(old, newer)

    def _lines(self) -> list[dict[str, Any]]:
        units = [
            {"kind": "unit", "first": unit.first, "last": unit.last, "summary": unit.summary}
            for unit in self.units.all()
        ]
        facts = [
            {"kind": "fact", "turn": one.turn, "about": one.about, "value": one.value, "time": one.time}
            for one in self.units.facts()
        ]
        pieces = [
            {
                "kind": "piece", "turn": number, "source": one.source, "start": one.start, "end": one.end,
                "line": one.place.line, "page": one.place.page, "heading": one.place.heading, "title": one.title,
                "paragraph": one.place.paragraph, "marks": marks_to_json(one.place),
            }
            for number, one in self.units.pieces().items()
        ]  # fmt: skip
        running = self.units.running
        summary = {"kind": "summary", **{name: getattr(running, name) for name in running.__slots__}}
        return [*super()._lines(), *pieces, *units, *facts, *([summary] if running.text else [])]

    def _take(self, line: dict[str, Any]) -> None:
        if line["kind"] == "unit":
            self.units.close(int(line["first"]), int(line["last"]), line["summary"])
        elif line["kind"] == "piece":
            marks = line.get("marks", "[true,[],[]]")  # written before places had marks
            place = place_from_json(line["line"], line["page"], line["heading"], line.get("paragraph"), marks)
            span = str(line["source"]), int(line["start"]), int(line["end"])
            self.units.add_piece(int(line["turn"]), Passage(*span, "", place=place, title=str(line["title"])))
        elif line["kind"] == "fact":
            fact = Fact(int(line["turn"]), str(line["about"]), str(line["value"]), str(line["time"]))
            self._add_facts([fact], self.runtime)
        elif line["kind"] == "summary":
            self.units.running = Running(line["text"], int(line["upto"]), line["by"], line["time"])
        else:
            super()._take(line)

    def close(self) -> None:
        if self._meaning is not None:
            self._meaning.close()
            self._meaning = None
        super().close()

    # ------------------------------------------------------------------------------------------------------- vectors
    @property
    def _has_vectors(self) -> bool:
        return self.settings.dense_weight > 0

    def _opened_meaning(self) -> Meaning:
        """Vectors of another embedder are made anew."""
        if self._meaning is None:
            if not self.runtime.embedder.dimension:
                raise StoreError("memory.hierarchical needs vectors, but index.embedder is none: set dense_weight to 0")
            fingerprint = self.runtime.embedder.fingerprint
            if self.transcript.get("embedder") != fingerprint:
                with self.transcript.transaction():
                    self.transcript.set("vectors", int(self.transcript.get("vectors", 0)) + 1)
                    self.transcript.set("embedder", fingerprint)
            self._meaning = Meaning(self.transcript.folder, int(self.transcript.get("vectors")), self.runtime.embedder)
            kept = self._vector_ids()
            if any(id_.partition(".")[0] not in kept for id_ in self._meaning.ids):
                self._rewrite(self._meaning)  # forgetting was interrupted
                self.transcript.scrub()
        return self._meaning

    def _vector_ids(self) -> set[str]:
        return {f"t{turn.number}" for turn in self.turns} | {f"f{fact.id}" for fact in self.units.facts()}

    def _rewrite(self, meaning: Meaning) -> None:
        """The vectors without those of what is there no more."""
        kept = self._vector_ids()
        meaning.rewrite(kept.__contains__, lambda generation: self.transcript.set("vectors", generation))


class _Runs:
    """Turns that follow one another and belong to one unit are shown together."""

    def __init__(self, turns: Sequence[Turn], units: Sequence[Unit]) -> None:
        self.times = {turn.number: turn.time for turn in turns}
        self._places = {turn.number: n for n, turn in enumerate(turns)}
        self._firsts = [unit.first for unit in units]

    def of(self, numbers: Sequence[int]) -> list[list[int]]:
        def key(one: tuple[int, int]) -> tuple[int, int]:
            n, number = one
            return self._places[number] - n, bisect_right(self._firsts, number)

        return [[number for _, number in run] for _, run in groupby(enumerate(sorted(numbers)), key)]


def _words_of(turns: Iterable[Turn]) -> set[str]:
    return {word for turn in turns for word in content_words(said(turn))}


def _last_of(fact: Fact, by_id: dict[int, Fact]) -> Fact | None:
    """The fact that stands now where this one is superseded; None where it stands itself."""
    newer = None
    while fact.superseded_by is not None:
        fact = newer = by_id[fact.superseded_by]
    return newer


def _excerpt(text: str, query: str, most: int, runtime: Runtime) -> str:
    """Of a long text its sentences that share most words with the query, in their order, in at most `most` tokens."""
    asked = content_words(query)
    pieces = [" ".join(text[start:end].split()) for start, end in sentences(text)]
    taken: list[int] = []
    result = ""
    for n in sorted(range(len(pieces)), key=lambda n: -coverage(asked, pieces[n])):
        tried = " … ".join(pieces[m] for m in sorted([*taken, n]))
        if runtime.reader.count_text(tried) <= most:
            taken.append(n)
            result = tried
    return result or clipped(text, most, runtime.reader)
