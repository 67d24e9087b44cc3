"""Ranks turns for a query by the words and the vectors of the turns and their facts."""

from __future__ import annotations

from memory.hierarchical.settings import Hierarchical
from memory.hierarchical.units import UnitTables
from memory.hierarchical.vectors import NAME as VECTORS
from memory.hierarchical.vectors import Meaning
from memory.hierarchical.words import Words, standardised
from memory.transcribed import turn_text
from pipeline.contracts import Runtime
from pipeline.errors import StoreError


class TurnSearch:
    """The words and vectors of a session. `update` brings both up to date; vectors are opened on first use."""

    def __init__(self, units: UnitTables, settings: Hierarchical, runtime: Runtime) -> None:
        self.units = units
        self.transcript = units.transcript
        self.settings = settings
        self.runtime = runtime
        self._words = Words(settings.around)
        self._meaning: Meaning | None = None

    @property
    def has_vectors(self) -> bool:
        return self.settings.dense_weight > 0

    def update(self) -> None:
        """Counts the words of new turns, and embeds new turns and facts."""
        turns = self.transcript.turns
        for turn in turns:
            if turn.number not in self._words:
                self._words.add(turn.number, turn_text(turn), turn.time)
        if not self.has_vectors:
            return
        meaning = self._opened()
        texts = {f"t{turn.number}": turn_text(turn) for turn in turns if not meaning.has(f"t{turn.number}")}
        texts |= {f"f{fact.id}": fact.text for fact in self.units.facts() if not meaning.has(f"f{fact.id}")}
        meaning.add({id_: text for id_, text in texts.items() if text.strip()})

    def ranked(self, query: str, among: set[int]) -> list[tuple[int, float]]:
        """Those of these turns that match a text, with their scores, best first. Of equal scores, the later first."""
        settings = self.settings
        words = {n: s for n, s in self._words.search(query).items() if n in among} if settings.bm25_weight else {}
        cosines = self._cosines(query, words, among) if settings.dense_weight and self._meaning is not None else {}
        numbers = sorted(words.keys() | cosines.keys())
        dense = standardised([cosines.get(n, 0.0) for n in numbers])
        bm25 = standardised([words.get(n, 0.0) for n in numbers])
        facts = [fact.turn for fact in self.units.facts()] if settings.salience else []
        highest = max((facts.count(n) for n in numbers), default=0) or 1
        scored = []
        for place, number in enumerate(numbers):
            score = settings.dense_weight * dense[place] + settings.bm25_weight * bm25[place]
            score += settings.recency * place / max(1, len(numbers) - 1)
            score += settings.salience * facts.count(number) / highest
            scored.append((number, score))
        return sorted(scored, key=lambda entry: (-entry[1], -entry[0]))

    def _cosines(self, query: str, words: dict[int, float], among: set[int]) -> dict[int, float]:
        """The cosine of each turn among the nearest vectors, and of each turn in `words`."""
        meaning = self._opened()
        turn_of = {f"t{n}": n for n in among}
        turn_of |= {f"f{fact.id}": fact.turn for fact in self.units.facts() if fact.turn in among}
        vector = meaning.vector(query)
        cosines = {id_: cosine for id_, cosine in meaning.search(vector, self.settings.pool).items() if id_ in turn_of}
        cosines |= meaning.cosines(vector, {f"t{n}" for n in words} - cosines.keys())
        best: dict[int, float] = {}
        for id_, cosine in cosines.items():
            number = turn_of[id_]
            best[number] = max(cosine, best.get(number, -1.0))
        return best

    def forget(self) -> None:
        """Drops the words and vectors of everything that the tables no longer hold."""
        self._words = Words(self.settings.around)
        if self.has_vectors:
            self._rewrite(self._opened())

    def drop_stale_vectors(self) -> None:
        """Like `forget`, for vectors alone, where an earlier forgetting was interrupted."""
        if any(self.transcript.folder.glob(f"{VECTORS}*")):
            self._opened()

    def close(self) -> None:
        if self._meaning is not None:
            self._meaning.close()
            self._meaning = None

    def _opened(self) -> Meaning:
        """The vectors. Those of another embedder, or of deleted turns, are made again."""
        if self._meaning is None:
            embedder, transcript = self.runtime.embedder, self.transcript
            if not embedder.dimension:
                raise StoreError("memory.hierarchical needs vectors, but index.embedder is none: set dense_weight to 0")
            if transcript.get("embedder") != embedder.fingerprint:
                with transcript.transaction():
                    transcript.set("vectors", int(transcript.get("vectors", 0)) + 1)
                    transcript.set("embedder", embedder.fingerprint)
            self._meaning = Meaning(transcript.folder, int(transcript.get("vectors")), embedder)
            kept = self._ids()
            if any(id_.partition(".")[0] not in kept for id_ in self._meaning.ids):
                self._rewrite(self._meaning)  # forgetting was interrupted
                transcript.scrub()
        return self._meaning

    def _ids(self) -> set[str]:
        facts = {f"f{fact.id}" for fact in self.units.facts()}
        return {f"t{turn.number}" for turn in self.transcript.turns} | facts

    def _rewrite(self, meaning: Meaning) -> None:
        """Writes the vectors again, without those of deleted turns and facts."""
        kept = self._ids()
        meaning.rewrite(kept.__contains__, lambda generation: self.transcript.set("vectors", generation))
