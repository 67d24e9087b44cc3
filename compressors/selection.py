"""The base of extractive compressors: cuts passages into units, chooses units within limits, and joins them again.

A unit is a sentence, or a line of a text without sentences (a table, code, JSON). Results keep the order of the source,
and each lies inside one input passage.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from pipeline.contracts import Model, Runtime
from pipeline.errors import SettingError
from pipeline.types import Passage, ScoredSentence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

_HEADING = re.compile(r"#{1,6}\s[^\n]*$")
_ENDS = re.compile(r"[.!?…。！？][\"'”’»)\]*_]*\Z")


@dataclass(frozen=True)
class Units:
    """The units of passages, in order: `parts[n]` lies in `passages[owners[n]]`."""

    passages: tuple[Passage, ...]
    owners: tuple[int, ...]
    parts: tuple[Passage, ...]

    @classmethod
    def of(cls, passages: Sequence[Passage], runtime: Runtime) -> Units:
        """Cuts passages into units, and notes how many have no sentences."""
        cut = [split(passage) for passage in passages]
        owned = [(owner, part) for owner, parts in enumerate(cut) for part in parts]
        units = cls(tuple(passages), tuple(owner for owner, _ in owned), tuple(part for _, part in owned))
        bare = sum(not has_sentences(parts) for parts in cut)
        if bare:
            runtime.note(f"{bare} of {len(passages)} passages have no sentences: they are taken line by line")
        return units

    def __len__(self) -> int:
        return len(self.parts)

    def with_gap(self, n: int) -> str:
        """The unit's text with the gap between it and the unit before it in its passage."""
        part, passage = self.parts[n], self.passages[self.owners[n]]
        if part.spans:
            return part.text
        is_first = n == 0 or self.owners[n - 1] != self.owners[n]
        start = part.start if is_first else self.parts[n - 1].end
        return passage.text[start - passage.start : part.end - passage.start]

    def tokens(self, reader: Model) -> list[int]:
        """The reader's tokens of each unit, including the gap before it."""
        return [reader.count_text(self.with_gap(n)) for n in range(len(self))]

    def widened(self, chosen: Iterable[int], n_neighbours: int) -> set[int]:
        """The chosen positions, with `n_neighbours` before and after each, within the same passage."""
        near = range(-n_neighbours, n_neighbours + 1)
        return {n + d for n in chosen for d in near if 0 <= n + d < len(self) and self.owners[n + d] == self.owners[n]}

    def with_headers(self, chosen: Iterable[int]) -> set[int]:
        """The chosen positions, and the header row of each table that has a chosen row."""
        from pipeline.text.sentences import n_cells

        result = set(chosen)
        for n in tuple(result):
            shape = n_cells(self.parts[n].text)
            first = n
            while first and self.owners[first - 1] == self.owners[n] and n_cells(self.parts[first - 1].text) == shape:
                first -= 1
            if shape[1] > 1:
                result.add(first)
        return result

    def merged(self, kept: Iterable[int], scores: Sequence[float]) -> list[Passage]:
        """Joins adjacent kept units into passages. A passage has the score of its best unit, and keeps all scores."""
        runs: list[list[int]] = []
        for n in sorted(kept):
            if runs and runs[-1][-1] == n - 1 and self.owners[n - 1] == self.owners[n]:
                runs[-1].append(n)
            else:
                runs.append([n])
        return [self._joined(run, scores) for run in runs]

    def _joined(self, run: Sequence[int], scores: Sequence[float]) -> Passage:
        first, last = self.parts[run[0]], self.parts[run[-1]]
        score = max(float(scores[n]) for n in run)
        if first.spans:
            return replace(first, score=score)
        scored = tuple(ScoredSentence(self.parts[n].start, self.parts[n].end, float(scores[n])) for n in run)
        passage = self.passages[self.owners[run[0]]]
        text = passage.text[first.start - passage.start : last.end - passage.start]
        return replace(first, end=last.end, text=text, score=score, sentences=scored)


def split(passage: Passage) -> list[Passage]:
    """Cuts a passage into units with exact offsets. An abstractive or blank passage is one unit.

    Headings are left out. The prompt shows them with each passage, and a heading that only names a thing would score
    higher than every sentence about it.
    """
    from pipeline.text.sentences import sentences

    if passage.spans or not passage.text:
        return [passage]
    parts = []
    place, offset = passage.place, 0
    for start, end in sentences(passage.text):
        place, offset = place.after(passage.text[offset:start]), start
        low, high = passage.start + start, passage.start + end
        part = replace(passage, start=low, end=high, text=passage.text[start:end], place=place, soft=None)
        parts.append(part)
    # A passage of nothing but headings keeps them, and a blank passage stays one unit.
    return [part for part in parts if not _HEADING.match(part.text)] or parts or [passage]


def has_sentences(parts: Sequence[Passage]) -> bool:
    """Whether any unit ends like a sentence. A single line always counts as one."""
    texts = [part.text for part in parts]
    return any(_ENDS.search(text) for text in texts) or (len(texts) == 1 and "\n" not in texts[0])


UnitWindow = list[tuple[int, str]]
"""Units that are read together: (position, text) of each, or a piece of the text if the unit alone is too long."""


def windows(units: Units, model: Model, room: int, extra: Sequence[int] | None = None) -> list[UnitWindow]:
    """Splits the units, in order, into as few windows of at most `room` tokens as possible, of about equal length.

    `extra` are additional tokens for each unit. A unit longer than half of the room is split into pieces.
    """
    texts = [(n, text) for n in range(len(units)) for text in halves(units.with_gap(n), room // 2, model)]
    costs = [model.count_text(text) + (extra[n] if extra else 0) for n, text in texts]
    return balanced(texts, costs, room)


def balanced(items: Sequence[T], costs: Sequence[int], room: int) -> list[list[T]]:
    """Splits items, in order, into as few groups of at most `room` as possible, of about equal cost.

    An item that costs more than the room is a group of its own. Without items there is one empty group.
    """
    fair = sum(costs) / max(1, -(-sum(costs) // room))
    groups: list[list[T]] = [[]]
    used, passed = 0, 0.0
    for item, cost in zip(items, costs, strict=True):
        # A group ends when it is full, or at the item boundary nearest to its fair share.
        if groups[-1] and (used + cost > room or passed + cost / 2 > fair * len(groups)):
            groups.append([])
            used = 0
        groups[-1].append(item)
        used += cost
        passed += cost
    return groups


def halves(text: str, room: int, model: Model) -> list[str]:
    """Halves the text repeatedly until each piece has at most `room` tokens."""
    if model.count_text(text) <= room or len(text) < 2:
        return [text]
    half = len(text) // 2
    return [*halves(text[:half], room, model), *halves(text[half:], room, model)]


@dataclass(frozen=True)
class Limits:
    """Limits of what to keep. All set limits apply. The best unit always stays, unless it is below the threshold.

    :param top_k: most units.
    :param threshold: lowest score.
    :param budget: most tokens of the reader.
    :param keep_ratio: most tokens, as a share of all units' tokens, in (0, 1].
    :param mass: the best units that together hold this share of all scores (which must be 0 or more), in (0, 1].
    """

    top_k: int | None = None
    threshold: float | None = None
    budget: int | None = None
    keep_ratio: float | None = None
    mass: float | None = None

    def __post_init__(self) -> None:
        for name in ("top_k", "budget"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(name, f"must be at least 1, was: {value}")
        for name in ("keep_ratio", "mass"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise SettingError(name, f"must be in (0, 1], was: {value}")

    def __str__(self) -> str:
        names = ("top_k", "threshold", "budget", "keep_ratio", "mass")
        return ", ".join(f"{name} {getattr(self, name)}" for name in names if getattr(self, name) is not None)

    def allow(self, kept: Iterable[int], tokens: Callable[[], Sequence[int]]) -> bool:
        """Whether these units respect the token limits. `tokens` is called only if needed."""
        if self.budget is None and self.keep_ratio is None:
            return True
        costs = tokens()
        return sum(costs[n] for n in kept) <= self._room(costs)

    def _room(self, costs: Sequence[int]) -> float:
        return min(
            float("inf") if self.budget is None else self.budget,
            float("inf") if self.keep_ratio is None else self.keep_ratio * sum(costs),
        )

    def choose(self, scores: Sequence[float], tokens: Callable[[], Sequence[int]]) -> list[int]:
        """The positions within all limits, best first; ties by position. `tokens` is called only if needed."""
        best_first = sorted(range(len(scores)), key=lambda n: (-scores[n], n))
        if self.mass is not None:
            best_first = best_first[: _n_of_mass([float(scores[n]) for n in best_first], self.mass)]
        if self.threshold is not None:
            best_first = [n for n in best_first if scores[n] >= self.threshold]
        best_first = best_first[: self.top_k]
        if self.budget is None and self.keep_ratio is None:
            return best_first
        costs = tokens()
        return _within(best_first, costs, self._room(costs))


def extract(
    passages: Sequence[Passage],
    runtime: Runtime,
    scores: Callable[[Units], NDArray[np.floating]],
    limits: Limits,
    neighbours: int = 0,
) -> list[Passage]:
    """Scores the units, chooses some within the limits, adds neighbours and table headers, and joins them."""
    units = Units.of(passages, runtime)
    if not units:
        return []
    return choose(units, scores(units), runtime, limits, neighbours)


def choose(
    units: Units,
    scores: NDArray[np.floating],
    runtime: Runtime,
    limits: Limits,
    neighbours: int = 0,
    stay: AbstractSet[int] = frozenset(),
) -> list[Passage]:
    """Chooses scored units within the limits, adds neighbours and table headers, and joins them.

    Units of the positions `stay` are kept beside them, whatever the limits are.
    """
    unit_scores = scores.tolist()
    chosen = limits.choose(unit_scores, lambda: units.tokens(runtime.reader))
    kept = units.widened(chosen, neighbours)
    with_headers = units.with_headers(kept)
    if with_headers != kept and limits.allow(with_headers, lambda: units.tokens(runtime.reader)):
        kept = with_headers
    if stay:  # an overlapping passage holds the same sentences: they are there already
        stay_once = {units.parts[n].span: n for n in sorted(stay, reverse=True)}
        kept = {n for n in kept if units.parts[n].span not in stay_once} | set(stay_once.values())
    return units.merged(kept, unit_scores)


def _within(best_first: Sequence[int], costs: Sequence[int], room: float) -> list[int]:
    """The best unit, then each next one that still fits. Skips a long unit if a shorter one fits."""
    chosen: list[int] = []
    for n in best_first:
        if costs[n] <= room or not chosen:
            chosen.append(n)
            room -= costs[n]
    return chosen


def _n_of_mass(scores: Sequence[float], mass: float) -> int:
    """Returns the number of first scores that hold this share of the sum; at least one."""
    wanted, got = mass * sum(scores), 0.0
    for n, score in enumerate(scores, 1):
        got += score
        if got >= wanted - 1e-9:  # tolerates rounding if the mass is 1
            return n
    return len(scores)


def units_in(units: Units, kept: Sequence[Passage]) -> set[int]:
    """The positions of units that overlap a kept passage."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for passage in kept:
        spans.setdefault(passage.source, []).append((passage.start, passage.end))
    return {
        n
        for n, part in enumerate(units.parts)
        if part in kept
        or (not part.spans and any(a < part.end and part.start < b for a, b in spans.get(part.source, [])))
    }


def score_of(units: Units, kept: Sequence[Passage]) -> list[float]:
    """Each unit's best score of the kept passages that overlap it. The others get the lowest score."""
    least = min((passage.score for passage in kept), default=0.0)
    spans: dict[str, list[Passage]] = {}
    for passage in kept:
        spans.setdefault(passage.source, []).append(passage)
    return [
        max((p.score for p in spans.get(u.source, []) if p.start < u.end and u.start < p.end), default=least)
        for u in units.parts
    ]
